//! JSON that says the same to every reader.
//!
//! A digest names bytes, and two readers of the same bytes have to see the same image. JSON does not promise that: it
//! leaves open which of two members of one name counts, and Go's `encoding/json`, in which most registries and
//! engines are written, also takes `Layers`, and even `layerſ`, for `layers`. [`from_slice`] refuses both, wherever
//! in a document a structure is read:
//!
//! - a member that comes twice, known or not, also in maps such as annotations;
//! - a member whose name is that of a known one but for its case;
//! - bytes that are not UTF-8, which some readers replace and others refuse.
//!
//! What nobody here reads, the value of an unknown member, is passed over unseen. It is a wrapper around serde's
//! traits and not a check of its own, so that what is known is said once, by the structures.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IntoDeserializer as _, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use crate::excerpt::excerpt;

/// Reads the one JSON value that `bytes` are.
///
/// # Errors
/// Besides what `serde_json` refuses: members that come twice, members that some readers take for another, and
/// anything that is not UTF-8.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, serde_json::Error> {
    // `serde_json` looks only at the texts that somebody reads.
    let text = str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(Strict(&mut json))?;
    json.end()?;
    Ok(value)
}

/// A deserializer of a value whose members are looked at.
struct Strict<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Watching { visitor, known: &[] })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Watching { visitor, known: &[] })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Watching { visitor, known: &[] })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, known, Watching { visitor, known })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_ignored_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map identifier
    }
}

/// Hands on what is found, and has the members of a map looked at.
struct Watching<V> {
    visitor: V,
    /// The members that the structure has; none when it is no structure.
    known: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watching<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<V::Value, E> {
        self.visitor.visit_bool(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<V::Value, E> {
        self.visitor.visit_i64(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<V::Value, E> {
        self.visitor.visit_u64(value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<V::Value, E> {
        self.visitor.visit_f64(value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<V::Value, E> {
        self.visitor.visit_str(value)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<V::Value, E> {
        self.visitor.visit_borrowed_str(value)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Strict(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Strict(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Elements(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Members { map, known: self.known, seen: 0, others: BTreeSet::new() })
    }
}

/// A seed that reads strictly.
struct StrictSeed<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for StrictSeed<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

struct Elements<A>(A);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(StrictSeed(seed))
    }
}

struct Members<A> {
    map: A,
    known: &'static [&'static str],
    /// A bit for each known member that has come. There is one map for every descriptor, so this has to cost nothing.
    seen: u128,
    /// The unknown members that have come, and what lies beyond the bits.
    others: BTreeSet<String>,
}

impl<A> Members<A> {
    /// Takes a name in; what is wrong with it otherwise.
    fn take(&mut self, name: &str) -> Result<(), String> {
        let place = self.known.iter().position(|known| *known == name);
        let is_new = match place {
            Some(place @ ..128) => {
                let before = self.seen;
                self.seen |= 1 << place;
                self.seen != before
            }
            _ => self.others.insert(name.to_owned()),
        };
        if !is_new {
            return Err(format!("the member `{}` comes twice", excerpt(name)));
        }
        match self.known.iter().find(|known| place.is_none() && is_twin(known, name)) {
            Some(known) => Err(format!("some readers take the member `{}` for `{known}`", excerpt(name))),
            None => Ok(()),
        }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let Some(name) = self.map.next_key::<String>()? else { return Ok(None) };
        self.take(&name).map_err(A::Error::custom)?;
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(StrictSeed(seed))
    }
}

/// Whether Go takes one name for the other: they are equal but for the case, and the Kelvin sign and the long s count
/// as the letters that Unicode folds them to. No other character folds to an ASCII letter.
fn is_twin(one: &str, two: &str) -> bool {
    let folded = |character: char| match character {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        other => other.to_ascii_lowercase(),
    };
    one.chars().map(folded).eq(two.chars().map(folded))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outer {
        kind: Option<String>,
        #[serde(default)]
        inner: Vec<Inner>,
        #[serde(default)]
        map: BTreeMap<String, i64>,
        size: Option<u64>,
        ratio: Option<f64>,
        is_on: Option<bool>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        digest: Newtype,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Newtype(String);

    #[test]
    fn reads_what_every_reader_reads_alike() {
        let text = r#"{ "kind": "\u0061", "inner": [{ "digest": "b", "x": { "X": 1 } }, { "digest": "c" }],
            "map": { "a": 1, "A": -2, "kind": 3 }, "size": 18446744073709551615, "ratio": 0.5, "isOn": true,
            "unknown": { "kind": 1, "Kind": 2, "a": 1, "a": 2 } }"#;
        let inner = |digest: &str| Inner { digest: Newtype(digest.to_owned()) };
        let expected = Outer {
            kind: Some("a".to_owned()),
            inner: vec![inner("b"), inner("c")],
            map: [("a".to_owned(), 1), ("A".to_owned(), -2), ("kind".to_owned(), 3)].into(),
            size: Some(u64::MAX),
            ratio: Some(0.5),
            is_on: Some(true),
        };
        assert_eq!(from_slice::<Outer>(text.as_bytes()).unwrap(), expected);
    }

    fn check(text: &str, expected: &str) {
        let error = from_slice::<Outer>(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }

    #[test]
    fn refuses_what_is_not_utf_8_even_where_nobody_looks() {
        let error = from_slice::<Outer>(b"{ \"unknown\": \"\xe8\" }").unwrap_err().to_string();
        assert!(error.starts_with("invalid utf-8 sequence"), "{error}");
    }

    #[test]
    fn refuses_members_that_come_twice() {
        check(r#"{ "kind": "a", "kind": "a" }"#, "the member `kind` comes twice at line 1");
        check(r#"{ "kind": "a", "k\u0069nd": "b" }"#, "the member `kind` comes twice");
        check(r#"{ "unknown": 1, "unknown": 2 }"#, "the member `unknown` comes twice");
        check(r#"{ "inner": [{ "digest": "a", "digest": "b" }] }"#, "the member `digest` comes twice");
        check(r#"{ "inner": [{ "digest": "a", "x": 1, "x": 1 }] }"#, "the member `x` comes twice");
        check(r#"{ "map": { "a": 1, "a": 1 } }"#, "the member `a` comes twice");
        let any = from_slice::<Value>(br#"[{ "a": { "b": 1, "b": 2 } }]"#).unwrap_err().to_string();
        assert!(any.starts_with("the member `b` comes twice"), "{any}");
    }

    #[test]
    fn refuses_members_that_only_go_knows() {
        for (name, known) in [
            ("Kind", "kind"),
            ("KIND", "kind"),
            ("\u{212a}ind", "kind"),
            ("\\u212aind", "kind"),
            ("\u{17f}ize", "size"),
            ("Size", "size"),
            ("ison", "isOn"),
            ("IsOn", "isOn"),
        ] {
            let shown = name.replace("\\u212a", "\u{212a}");
            check(
                &format!("{{ \"{name}\": null }}"),
                &format!("some readers take the member `{shown}` for `{known}`"),
            );
        }
        check(r#"{ "inner": [{ "Digest": "a" }] }"#, "some readers take the member `Digest` for `digest`");
        // Near is not equal.
        for name in ["kinds", "kin", "ki nd", "kınd", "is_on", ""] {
            assert!(from_slice::<Outer>(format!("{{ \"{name}\": null }}").as_bytes()).is_ok(), "{name}");
        }
    }

    #[test]
    fn refuses_what_is_not_one_json_value() {
        for text in [
            "",
            "{}{}",
            "{} x",
            "\u{feff}{}",
            "{\"kind\":\"a\"",
            "[]",
            "null",
            "{'kind':1}",
            "{\"size\":1.0}",
        ] {
            assert!(from_slice::<Outer>(text.as_bytes()).is_err(), "{text}");
        }
        assert!(from_slice::<Outer>(b"{\"kind\":\"\xff\"}").is_err());
        assert_eq!(from_slice::<Outer>(b" {} \n").unwrap().kind, None);
    }
}
