//! The `WWW-Authenticate` header, with which a registry says how to ask again (RFC 9110, section 11.6.1).
//!
//! One header may hold several challenges, and commas separate both them and their parameters, so a list is read from
//! the front: a word with a `=` behind it is a parameter, any other begins a challenge. What does not follow the
//! grammar is refused as a whole and not guessed at, since credentials go where a challenge says.

use std::fmt;

use crate::excerpt::excerpt;

/// One way to authenticate. Parameters that are not known here are passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A name and a password with each request (RFC 7617).
    Basic {
        /// What for, as a person knows it.
        realm: Option<String>,
    },
    /// A token, to be fetched from elsewhere.
    Bearer(Bearer),
    /// Another way, or `Bearer` without a realm, which does not say where a token is to be had.
    Other {
        /// The scheme, as it was written.
        scheme: String,
    },
}

/// Where to get a token, and which (Docker's token authentication, which registries share). An empty parameter is as
/// good as none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    /// The URL of the token server, unchecked: whether credentials may go there is for the client to decide.
    pub realm: String,
    /// The registry's name at the token server. Some registries have none.
    pub service: Option<String>,
    /// What the request needed, as in `repository:library/alpine:pull`; several have spaces between them.
    pub scope: Option<String>,
    /// Why the token that came with the request does not do: `invalid_token`, `insufficient_scope` (RFC 6750).
    pub error: Option<String>,
}

/// The text is not a list of challenges.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a list of authentication challenges")]
pub struct ChallengeError {
    /// The text, shortened.
    pub found: String,
}

/// The challenges of a header's value, in the server's order. Of several headers, each is read for itself.
///
/// # Errors
/// When the value does not follow the grammar, or a parameter comes twice.
pub fn challenges(header: &str) -> Result<Vec<Challenge>, ChallengeError> {
    let found = read(header).ok_or_else(|| ChallengeError { found: excerpt(header) })?;
    Ok(found.into_iter().map(Read::into_challenge).collect())
}

/// Writes the challenge as a header has it. A header cannot hold control characters; spaces stand for them.
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, parameters) = match self {
            Self::Basic { realm } => ("Basic", vec![("realm", realm.as_deref())]),
            Self::Bearer(Bearer { realm, service, scope, error }) => {
                let parameters = vec![
                    ("realm", Some(realm.as_str())),
                    ("service", service.as_deref()),
                    ("scope", scope.as_deref()),
                    ("error", error.as_deref()),
                ];
                ("Bearer", parameters)
            }
            Self::Other { scheme } => (scheme.as_str(), Vec::new()),
        };
        f.write_str(scheme)?;
        let present = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (place, (name, value)) in present.enumerate() {
            write!(f, "{}{name}=", if place == 0 { " " } else { "," })?;
            write_quoted(f, value)?;
        }
        Ok(())
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in value.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            control if control.is_control() => f.write_str(" ")?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}

/// A challenge as it was read.
struct Read<'a> {
    scheme: &'a str,
    parameters: Vec<(String, String)>,
}

impl Read<'_> {
    /// Takes a parameter in; the name counts in any case. Nothing when it is there already.
    fn add(&mut self, name: &str, value: String) -> Option<()> {
        let name = name.to_ascii_lowercase();
        let is_new = self.parameters.iter().all(|(known, _)| *known != name);
        is_new.then(|| self.parameters.push((name, value)))
    }

    fn into_challenge(mut self) -> Challenge {
        let mut take = |name: &str| {
            let place =
                self.parameters.iter().position(|(known, value)| known == name && !value.is_empty())?;
            Some(self.parameters.swap_remove(place).1)
        };
        if self.scheme.eq_ignore_ascii_case("basic") {
            return Challenge::Basic { realm: take("realm") };
        }
        if self.scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = take("realm")
        {
            let [service, scope, error] = ["service", "scope", "error"].map(take);
            return Challenge::Bearer(Bearer { realm, service, scope, error });
        }
        Challenge::Other { scheme: self.scheme.to_owned() }
    }
}

fn read(header: &str) -> Option<Vec<Read<'_>>> {
    let mut rest = Rest(header);
    let mut found: Vec<Read<'_>> = Vec::new();
    loop {
        // A list may have empty elements (RFC 9110, section 5.6.1).
        rest.skip(&[' ', '\t', ',']);
        if rest.0.is_empty() {
            return Some(found);
        }
        let mut word = rest.token()?;
        let is_spaced = rest.skip(BLANK);
        if !rest.eat('=') {
            found.push(Read { scheme: word, parameters: Vec::new() });
            if rest.is_at_end_of_element() || (is_spaced && rest.token68()) {
                continue;
            }
            word = rest.token().filter(|_| is_spaced)?;
            rest.skip(BLANK);
            if !rest.eat('=') {
                return None;
            }
        }
        rest.skip(BLANK);
        let value = rest.value()?;
        found.last_mut()?.add(word, value)?;
        rest.skip(BLANK);
        if !rest.is_at_end_of_element() {
            return None;
        }
    }
}

const BLANK: &[char] = &[' ', '\t'];

/// What has not been read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn is_at_end_of_element(&self) -> bool {
        self.0.is_empty() || self.0.starts_with(',')
    }

    /// Passes over these characters; whether there were any.
    fn skip(&mut self, characters: &[char]) -> bool {
        let before = self.0.len();
        self.0 = self.0.trim_start_matches(characters);
        self.0.len() < before
    }

    fn eat(&mut self, character: char) -> bool {
        match self.0.strip_prefix(character) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// What is in front of the first character that is not one of these.
    fn take_while(&mut self, is_one: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|character| !is_one(character)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn token(&mut self) -> Option<&'a str> {
        let token = self.take_while(|character| {
            character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
        });
        (!token.is_empty()).then_some(token)
    }

    /// Passes over data that some schemes have in place of parameters; if there is none, stays where it is.
    fn token68(&mut self) -> bool {
        let mut ahead = Self(self.0);
        let data =
            ahead.take_while(|character| character.is_ascii_alphanumeric() || "-._~+/".contains(character));
        ahead.skip(&['=']);
        ahead.skip(BLANK);
        let is_there = !data.is_empty() && ahead.is_at_end_of_element();
        if is_there {
            self.0 = ahead.0;
        }
        is_there
    }

    /// A token, or a text in quotes without them.
    fn value(&mut self) -> Option<String> {
        if !self.eat('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.0.chars();
        loop {
            let character = match characters.next()? {
                '"' => break,
                '\\' => characters.next()?,
                character => character,
            };
            if character.is_control() && character != '\t' {
                return None;
            }
            value.push(character);
        }
        self.0 = characters.as_str();
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn basic(realm: &str) -> Challenge {
        Challenge::Basic { realm: Some(realm.to_owned()) }
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let [service, scope] = [service, scope].map(|text| text.map(str::to_owned));
        Challenge::Bearer(Bearer { realm: realm.to_owned(), service, scope, error: None })
    }

    fn other(scheme: &str) -> Challenge {
        Challenge::Other { scheme: scheme.to_owned() }
    }

    #[test]
    fn challenges_are_read_in_order() {
        let hub = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:library/alpine:pull"),
        );
        for (header, expected) in [
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",\
                 scope=\"repository:library/alpine:pull\"",
                vec![hub.clone()],
            ),
            // Other spellings of the same.
            (
                " bEARER  Scope = \"repository:library/alpine:pull\" ,\tREALM=\"https://auth.docker.io/token\"  ,,  \
                 service=registry.docker.io , ",
                vec![hub],
            ),
            ("Bearer realm=\"https://r/t\"", vec![bearer("https://r/t", None, None)]),
            ("Bearer realm=\"https://r/t\",service=\"\",scope=\"\"", vec![bearer("https://r/t", None, None)]),
            (
                "Bearer realm=\"https://r/t?a=b,c\",scope=\"repository:a:pull,push repository:b:pull\"",
                vec![bearer("https://r/t?a=b,c", None, Some("repository:a:pull,push repository:b:pull"))],
            ),
            ("Basic realm=\"Registry\"", vec![basic("Registry")]),
            ("BASIC realm=Registry", vec![basic("Registry")]),
            ("Basic realm=\"a \\\"b\\\" \\\\ \\c, d=e\"", vec![basic("a \"b\" \\ c, d=e")]),
            ("Basic realm=\"\", charset=\"UTF-8\"", vec![Challenge::Basic { realm: None }]),
            ("Basic", vec![Challenge::Basic { realm: None }]),
            ("basic ", vec![Challenge::Basic { realm: None }]),
            // Several at once.
            (
                "Bearer realm=\"https://r/t\",service=s, Basic realm=\"b\"",
                vec![bearer("https://r/t", Some("s"), None), basic("b")],
            ),
            ("Basic, Bearer realm=r", vec![Challenge::Basic { realm: None }, bearer("r", None, None)]),
            // Data in place of parameters.
            ("Basic realm", vec![Challenge::Basic { realm: None }]),
            ("Negotiate, Basic realm=b", vec![other("Negotiate"), basic("b")]),
            ("Negotiate YWJj==, Basic realm=b", vec![other("Negotiate"), basic("b")]),
            ("NTLM a+/b , Basic realm=b", vec![other("NTLM"), basic("b")]),
            (
                "Digest realm=\"d\", qop=\"auth, auth-int\", nonce=n, Basic realm=b",
                vec![other("Digest"), basic("b")],
            ),
            // A token that nobody says where to get.
            ("Bearer", vec![other("Bearer")]),
            ("Bearer realm=\"\"", vec![other("Bearer")]),
            ("bearer scope=a, Basic realm=b", vec![other("bearer"), basic("b")]),
            ("", vec![]),
            (" , ,", vec![]),
        ] {
            assert_eq!(challenges(header), Ok(expected), "{header}");
        }
    }

    #[test]
    fn the_reason_for_asking_again_is_read() {
        let read = challenges("Bearer realm=r,error=\"insufficient_scope\"").unwrap();
        let [Challenge::Bearer(bearer)] = &*read else { panic!("{read:?}") };
        assert_eq!(bearer.error.as_deref(), Some("insufficient_scope"));
    }

    #[test]
    fn what_is_no_list_of_challenges_is_refused() {
        for header in [
            "realm=\"a\"",
            "=",
            "\"Basic\"",
            "Basic realm=a b",
            "Basic realm=a Bearer realm=b",
            "Basic realm=\"a",
            "Basic realm=\"a\\",
            "Basic realm=\"a\"b",
            "Basic realm=\"a\"realm=\"b\"",
            "Basic realm=a, realm=b",
            "Bearer realm=a, REALM=b",
            "Basic realm=a;b",
            "Basic;realm=a",
            "Basic realm=\"a\nb\"",
            "Basic realm=\"a\\\nb\"",
            "Basic realm==a",
            "Basic realm=ä",
            "Bäsic",
            "Basic/a b",
        ] {
            assert_eq!(challenges(header), Err(ChallengeError { found: excerpt(header) }), "{header}");
        }
        let long = format!("Basic realm=\"{}", "a".repeat(10_000));
        assert!(challenges(&long).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn challenges_are_written_as_they_are_read() {
        let whole = Challenge::Bearer(Bearer {
            realm: "https://r/t".to_owned(),
            service: Some("s".to_owned()),
            scope: Some("repository:a:pull".to_owned()),
            error: Some("invalid_token".to_owned()),
        });
        for (challenge, expected) in [
            (
                whole,
                "Bearer realm=\"https://r/t\",service=\"s\",scope=\"repository:a:pull\",error=\"invalid_token\"",
            ),
            (bearer("r", None, None), "Bearer realm=\"r\""),
            (basic("a \"b\" \\"), "Basic realm=\"a \\\"b\\\" \\\\\""),
            (Challenge::Basic { realm: None }, "Basic"),
            (other("Negotiate"), "Negotiate"),
        ] {
            assert_eq!(challenge.to_string(), expected);
            assert_eq!(challenges(expected), Ok(vec![challenge]));
        }
        assert_eq!(basic("a\r\nb").to_string(), "Basic realm=\"a  b\"");
    }

    /// Any challenge that a header can hold.
    fn any_challenge() -> impl Strategy<Value = Challenge> {
        let text = || "[^\\p{Cc}]{1,12}";
        prop_oneof![
            prop::option::of(text()).prop_map(|realm| Challenge::Basic { realm }),
            (text(), prop::option::of(text()), prop::option::of(text()), prop::option::of(text())).prop_map(
                |(realm, service, scope, error)| Challenge::Bearer(Bearer { realm, service, scope, error })
            ),
            "X[a-zA-Z0-9-]{0,5}".prop_map(|scheme| Challenge::Other { scheme }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(written in prop::collection::vec(any_challenge(), 0..4)) {
            let header: Vec<_> = written.iter().map(ToString::to_string).collect();
            prop_assert_eq!(challenges(&header.join(", ")), Ok(written.clone()));
            prop_assert_eq!(challenges(&header.join(",")), Ok(written));
        }

        #[test]
        fn any_header_is_read_or_refused(
            header in prop_oneof![".*", "((Basic|Bearer|x) ?|realm|service|=|\"|\\\\|,| |a){0,12}"]
        ) {
            if let Ok(read) = challenges(&header) {
                let again: Vec<_> = read.iter().map(ToString::to_string).collect();
                prop_assert_eq!(challenges(&again.join(",")), Ok(read));
            }
        }
    }
}
