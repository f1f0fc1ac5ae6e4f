//! JSON objects that are changed in one place and stay what they are in all others.
//!
//! A credential file belongs to other tools: it holds settings that nobody here knows, and numbers that would not survive a trip
//! through a general JSON value. So members keep their order and, until one is set, their very text. What is wrong is said with the path to it
//! and without the value, which may be a secret; serde's own messages quote values.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::{error::Category, value::RawValue};

/// What is wrong with a document. Holds names and places of it, no values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw(pub(super) String);

/// A JSON object.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    /// Where it is in the document, as in `auths.ghcr.io`; empty for the document itself.
    path: String,
    members: Vec<(String, Node)>,
}

#[derive(Clone, Debug)]
enum Node {
    /// As it was written.
    Raw(Box<RawValue>),
    /// As it was set.
    Object(Object),
    Text(String),
}

impl Object {
    /// Reads a document; nothing at all is an empty one, as it is to Docker and Podman.
    pub(super) fn parse(text: &str) -> Result<Self, Flaw> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        Self::parse_at(text, String::new())
    }

    /// An empty object that is to be the member of that name.
    pub(super) fn at(name: &str) -> Self {
        Self { path: name.to_owned(), members: Vec::new() }
    }

    fn parse_at(text: &str, path: String) -> Result<Self, Flaw> {
        // The kind of value is known by its first character, and said here, since serde would quote the value.
        if !text.trim_start().starts_with('{') {
            return Err(flaw(&path, "is not a JSON object"));
        }
        let members: Members = serde_json::from_str(text).map_err(|error| match error.classify() {
            // The grammar's messages are fixed texts with a line and a column.
            Category::Syntax | Category::Eof => flaw(&path, &format!("is not JSON: {error}")),
            // The only error of our own below.
            Category::Data | Category::Io => flaw(&path, "has a member twice"),
        })?;
        Ok(Self { path, members: members.0 })
    }

    /// The members' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A member that is an object; `null` is as good as none.
    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, Flaw> {
        self.check_spelling(name)?;
        self.entry(name)
    }

    /// A member that is a text; `null` and an empty one are as good as none.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Flaw> {
        self.check_spelling(name)?;
        self.text_of(name)
    }

    /// As [`object`](Self::object), by a name that is data, such as a host, and so has no other spelling to mistake it for.
    pub(super) fn entry(&self, name: &str) -> Result<Option<Self>, Flaw> {
        match self.find(name) {
            Some(Node::Raw(raw)) if raw.get() == "null" => Ok(None),
            Some(Node::Raw(raw)) => Self::parse_at(raw.get(), self.path_to(name)).map(Some),
            Some(Node::Object(object)) => Ok(Some(object.clone())),
            Some(Node::Text(_)) => Err(flaw(&self.path_to(name), "is not a JSON object")),
            None => Ok(None),
        }
    }

    /// As [`text`](Self::text), by a name that is data.
    pub(super) fn text_of(&self, name: &str) -> Result<Option<String>, Flaw> {
        let text = match self.find(name) {
            None => None,
            Some(Node::Text(text)) => Some(text.clone()),
            Some(Node::Object(_)) => return Err(flaw(&self.path_to(name), "is not a text")),
            Some(Node::Raw(raw)) => {
                serde_json::from_str(raw.get()).map_err(|_| flaw(&self.path_to(name), "is not a text"))?
            }
        };
        Ok(text.filter(|text| !text.is_empty()))
    }

    pub(super) fn set_object(&mut self, name: &str, object: Self) {
        self.set(name, Node::Object(object));
    }

    pub(super) fn set_text(&mut self, name: &str, text: impl Into<String>) {
        self.set(name, Node::Text(text.into()));
    }

    /// Takes a member out; whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|(known, _)| known != name);
        self.members.len() < before
    }

    /// The document with tabs, as Docker writes it, and a line break at the end.
    pub(super) fn to_json(&self) -> String {
        let mut json = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, formatter);
        #[expect(clippy::expect_used, reason = "texts and what was JSON before, written to memory")]
        self.serialize(&mut serializer).expect("texts and JSON can be written as JSON");
        json.push(b'\n');
        #[expect(clippy::expect_used, reason = "JSON is written as UTF-8")]
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    fn set(&mut self, name: &str, node: Node) {
        match self.members.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = node,
            None => self.members.push((name.to_owned(), node)),
        }
    }

    fn find(&self, name: &str) -> Option<&Node> {
        self.members.iter().find(|(known, _)| known == name).map(|(_, node)| node)
    }

    /// Docker also takes `Auths` for `auths`. Passing over it would lose credentials in silence, so it has to be written right.
    fn check_spelling(&self, name: &str) -> Result<(), Flaw> {
        match self.names().find(|other| *other != name && other.eq_ignore_ascii_case(name)) {
            Some(other) => Err(flaw(&self.path_to(other), &format!("has to be written `{name}`"))),
            None => Ok(()),
        }
    }

    fn path_to(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A flaw of a member.
    pub(super) fn flaw_of(&self, name: &str, reason: &str) -> Flaw {
        flaw(&self.path_to(name), reason)
    }
}

/// Characters of a path that are shown.
const PATH: usize = 120;

fn flaw(path: &str, reason: &str) -> Flaw {
    if path.is_empty() {
        return Flaw(format!("it {reason}"));
    }
    let mut shown: String = path.chars().take(PATH).flat_map(char::escape_debug).collect();
    if path.chars().nth(PATH).is_some() {
        shown.push('…');
    }
    Flaw(format!("`{shown}` {reason}"))
}

/// An object's members, in order; none comes twice.
struct Members(Vec<(String, Node)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Node)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("a member comes twice"));
                    }
                    members.push((name, Node::Raw(value)));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, node) in &self.members {
            match node {
                Node::Raw(raw) => map.serialize_entry(name, raw)?,
                Node::Object(object) => map.serialize_entry(name, object)?,
                Node::Text(text) => map.serialize_entry(name, text)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_keeps_its_text_and_its_place() {
        let text = "{\"z\": 1e400, \"auths\": {\"b\": {\"auth\": \"x\", \"n\": 18446744073709551616}, \"a\": {}},\n \"list\": [ 1,2 ]}";
        let mut document = Object::parse(text).unwrap();
        let mut auths = document.object("auths").unwrap().unwrap();
        let mut entry = auths.entry("b").unwrap().unwrap();
        entry.set_text("auth", "y");
        auths.set_object("b", entry);
        auths.remove("a");
        document.set_object("auths", auths);
        assert_eq!(
            document.to_json(),
            "{\n\t\"z\": 1e400,\n\t\"auths\": {\n\t\t\"b\": {\n\t\t\t\"auth\": \"y\",\n\t\t\t\"n\": 18446744073709551616\n\t\t}\n\t},\n\t\"list\": [ 1,2 ]\n}\n"
        );
    }

    #[test]
    fn s21_a_flaw_is_named_by_its_place_and_without_values() {
        let flaw = |text: &str| {
            let read = |text: &str| {
                let document = Object::parse(text)?;
                document.text("credsStore")?;
                let Some(auths) = document.object("auths")? else { return Ok(()) };
                for host in auths.names() {
                    let Some(entry) = auths.entry(host)? else { continue };
                    entry.text("auth")?;
                }
                Ok(())
            };
            read(text).map_err(|Flaw(reason)| reason)
        };
        let err = |reason: &str| Err(reason.to_owned());
        assert_eq!(flaw(""), Ok(()));
        assert_eq!(flaw(" \n"), Ok(()));
        assert_eq!(flaw("{\"auths\": null, \"credsStore\": null}"), Ok(()));
        assert_eq!(flaw("{\"auths\": {\"a\": null}}"), Ok(()));
        assert_eq!(flaw("\"hunter2\""), err("it is not a JSON object"));
        assert_eq!(flaw("{\"auths\": \"hunter2\"}"), err("`auths` is not a JSON object"));
        assert_eq!(flaw("{\"auths\": {\"a.io\": \"hunter2\"}}"), err("`auths.a.io` is not a JSON object"));
        assert_eq!(flaw("{\"auths\": {\"a.io\": {\"auth\": 4711}}}"), err("`auths.a.io.auth` is not a text"));
        assert_eq!(flaw("{\"credsStore\": [\"hunter2\"]}"), err("`credsStore` is not a text"));
        assert_eq!(flaw("{\"Auths\": {}}"), err("`Auths` has to be written `auths`"));
        assert_eq!(flaw("{\"a\": 1, \"a\": 2}"), err("it has a member twice"));
        assert_eq!(flaw("{\"auths\": hunter2}"), err("it is not JSON: expected value at line 1 column 11"));
        assert_eq!(
            flaw("{\"auths\": {\"a\": \"hunter2"),
            err("it is not JSON: EOF while parsing a string at line 1 column 24")
        );
    }
}
