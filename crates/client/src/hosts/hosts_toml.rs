//! containerd's `hosts.toml`, parsed. Reads no other file.
//!
//! Where containerd passes over a file that it cannot understand, this is an error: what was meant to be a mirror or a certificate
//! authority would silently not be one. Keys that are not known may be those of a newer containerd, so they are named in a warning.

use std::{path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use toml::{Table, Value};

use super::endpoint::{EndpointUrl, PathIs};

/// What a `hosts.toml` says.
#[derive(Debug, Default)]
pub(super) struct HostsToml {
    /// Where the registry is, when the file says it.
    pub(super) server: Option<EndpointUrl>,
    /// What is set for the registry itself.
    pub(super) own: Entry,
    /// The places to ask before it, in the file's order.
    pub(super) hosts: Vec<(EndpointUrl, Entry)>,
    /// What was not understood, for people.
    pub(super) warnings: Vec<String>,
}

/// What is set for one place.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// `None` for everything.
    pub(super) capabilities: Option<Vec<Capability>>,
    pub(super) ca: Vec<PathBuf>,
    /// A certificate with its key; `None` when both are in one file.
    pub(super) client: Option<(PathBuf, Option<PathBuf>)>,
    pub(super) skip_verify: Option<bool>,
    pub(super) headers: HeaderMap,
    pub(super) dial_timeout: Option<Duration>,
    override_path: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capability {
    Pull,
    Resolve,
    Push,
    Referrers,
}

/// What is wrong with a file, for people.
type Wrong = String;

impl HostsToml {
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let mut table: Table = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            format!("line {line}: {}", error.message().trim_end().replace('\n', ", "))
        })?;
        let mut warnings = Vec::new();
        let server = table.remove("server").map(|value| text_of("server", value)).transpose()?;
        let hosts = match table.remove("host") {
            None => Table::new(),
            Some(Value::Table(hosts)) => hosts,
            Some(_) => return Err("`host` is not a table".to_owned()),
        };
        let own = Entry::take(table, "", &mut warnings)?;
        let server =
            server.filter(|server| !server.is_empty()).map(|server| own.at("server", &server)).transpose()?;
        let hosts = hosts
            .into_iter()
            .map(|(url, value)| {
                let place = format!("host.\"{url}\"");
                let Value::Table(table) = value else { return Err(format!("`{place}` is not a table")) };
                let entry = Entry::take(table, &format!("{place}."), &mut warnings)?;
                Ok((entry.at(&place, &url)?, entry))
            })
            .collect::<Result<_, Wrong>>()?;
        Ok(Self { server, own, hosts, warnings })
    }
}

impl Entry {
    /// Whether this place may be believed what tags name.
    pub(super) fn resolves(&self) -> bool {
        self.can(Capability::Resolve)
    }

    pub(super) fn can(&self, capability: Capability) -> bool {
        self.capabilities.as_ref().is_none_or(|able| able.contains(&capability))
    }

    fn at(&self, key: &str, url: &str) -> Result<EndpointUrl, Wrong> {
        let path = if self.override_path { PathIs::Api } else { PathIs::Root };
        EndpointUrl::parse(url, path).map_err(|error| format!("`{key}`: {error}"))
    }

    fn take(table: Table, prefix: &str, warnings: &mut Vec<String>) -> Result<Self, Wrong> {
        let mut entry = Self::default();
        for (key, value) in table {
            let name = format!("{prefix}{key}");
            match key.as_str() {
                "capabilities" => {
                    let able: Vec<_> = texts_of(&name, value)?
                        .iter()
                        .map(|text| capability(&name, text))
                        .collect::<Result<_, _>>()?;
                    entry.capabilities = (!able.is_empty()).then_some(able);
                }
                "ca" => entry.ca = texts_of(&name, value)?.into_iter().map(PathBuf::from).collect(),
                "client" => entry.client = client(&name, value)?,
                "skip_verify" => entry.skip_verify = Some(flag_of(&name, &value)?),
                "override_path" => entry.override_path = flag_of(&name, &value)?,
                "dial_timeout" => {
                    let text = text_of(&name, value)?;
                    let duration = duration(&text).ok_or_else(|| {
                        format!("`{name}`: `{text}` is not a duration such as `5s` or `1m30s`")
                    })?;
                    entry.dial_timeout = Some(duration);
                }
                "header" => entry.headers = headers(&name, value)?,
                _ => warnings.push(format!("`{name}` is not known and not heeded")),
            }
        }
        Ok(entry)
    }
}

fn capability(name: &str, text: &str) -> Result<Capability, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "pull" => Ok(Capability::Pull),
        "resolve" => Ok(Capability::Resolve),
        "push" => Ok(Capability::Push),
        "referrers" => Ok(Capability::Referrers),
        _ => Err(format!("`{name}`: `{text}` is none of `pull`, `resolve`, `push`, `referrers`")),
    }
}

/// A file, a list of files, or a list of pairs of files; a pair's second may be empty. One certificate can be shown, so there may be one.
fn client(name: &str, value: Value) -> Result<Option<(PathBuf, Option<PathBuf>)>, Wrong> {
    let wrong = || format!("`{name}` is neither a file nor a list of files or of pairs of files");
    let pair = |value: Value| match value {
        Value::String(path) => Ok((path.into(), None)),
        Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
            Ok([Value::String(certificate), Value::String(key)]) => {
                Ok((certificate.into(), (!key.is_empty()).then(|| key.into())))
            }
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    };
    match value {
        Value::Array(list) if list.len() > 1 => {
            Err(format!("`{name}` has {} certificates, and only one can be shown to a registry", list.len()))
        }
        Value::Array(list) => list.into_iter().next().map(pair).transpose(),
        value => pair(value).map(Some),
    }
}

fn headers(name: &str, value: Value) -> Result<HeaderMap, Wrong> {
    let Value::Table(table) = value else { return Err(format!("`{name}` is not a table")) };
    let mut headers = HeaderMap::new();
    for (key, value) in table {
        let header: HeaderName =
            key.parse().map_err(|_| format!("`{name}`: `{key}` is not the name of a header"))?;
        for text in texts_of(&format!("{name}.{key}"), value)? {
            // The value may be a secret and stays out of the message.
            let value = HeaderValue::from_str(&text)
                .map_err(|_| format!("`{name}.{key}` has characters that no header has"))?;
            headers.append(&header, value);
        }
    }
    Ok(headers)
}

fn text_of(name: &str, value: Value) -> Result<String, Wrong> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(format!("`{name}` is not a text")),
    }
}

fn flag_of(name: &str, value: &Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| format!("`{name}` is neither `true` nor `false`"))
}

/// A text, or a list of texts.
fn texts_of(name: &str, value: Value) -> Result<Vec<String>, Wrong> {
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(list) => list.into_iter().map(|value| text_of(name, value)).collect(),
        _ => Err(format!("`{name}` is neither a text nor a list of texts")),
    }
}

/// A duration as Go writes it: `300ms`, `1.5h`, `1m30s`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let unit = rest[number..].find(|letter: char| letter.is_ascii_digit() || letter == '.');
        let (this, next) = rest.split_at(unit.map_or(rest.len(), |length| number + length));
        let seconds = match &this[number..] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let amount: f64 = this[..number].parse().ok()?;
        sum = sum.checked_add(Duration::try_from_secs_f64(amount * seconds).ok()?)?;
        rest = next;
    }
    (!sum.is_zero()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let parsed = HostsToml::parse(
            r#"
            server = "https://registry-1.docker.io"
            ca = "own.pem"

            [host."https://second.example"]
              capabilities = ["pull", "Resolve"]
              ca = ["/a.pem", "b.pem"]
              client = [["c.cert", "c.key"]]
              skip_verify = true
              dial_timeout = "1m30s"
              [host."https://second.example".header]
                x-one = "1"
                X-Many = ["a", "b"]

            [host."http://first.example/us"]
              capabilities = ["pull"]
              client = "both.pem"

            [host."https://third.example/v2/hub"]
              override_path = true
              client = [["d.pem", ""]]
            "#,
        )
        .unwrap();
        assert_eq!(parsed.server.unwrap().to_string(), "https://registry-1.docker.io");
        assert_eq!(parsed.own.ca, [PathBuf::from("own.pem")]);
        assert_eq!(parsed.warnings, Vec::<String>::new());
        let [(second_url, second), (first_url, first), (third_url, third)] = &parsed.hosts[..] else {
            panic!("{:?}", parsed.hosts)
        };
        assert_eq!(second_url.to_string(), "https://second.example");
        assert_eq!(second.capabilities, Some(vec![Capability::Pull, Capability::Resolve]));
        assert_eq!(second.ca, ["/a.pem", "b.pem"].map(PathBuf::from));
        assert_eq!(second.client, Some(("c.cert".into(), Some("c.key".into()))));
        assert_eq!((second.skip_verify, second.dial_timeout), (Some(true), Some(Duration::from_secs(90))));
        assert_eq!(second.headers["x-one"], "1");
        assert_eq!(second.headers.get_all("x-many").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((first_url.to_string().as_str(), first.resolves()), ("http://first.example/us/v2", false));
        assert_eq!(first.client, Some(("both.pem".into(), None)));
        assert_eq!(
            (third_url.to_string().as_str(), third.resolves()),
            ("https://third.example/v2/hub", true)
        );
        assert_eq!(third.client, Some(("d.pem".into(), None)));
    }

    #[test]
    fn what_is_not_known_is_named() {
        let parsed = HostsToml::parse("colour = 1\n[host.\"https://m.io\"]\ntaste = 2\n").unwrap();
        let expected = [
            "`colour` is not known and not heeded",
            "`host.\"https://m.io\".taste` is not known and not heeded",
        ];
        assert_eq!(parsed.warnings, expected);
    }

    #[test]
    fn s23_what_is_wrong_is_an_error_with_its_place() {
        for (text, said) in [
            ("server = 1", "`server` is not a text"),
            ("server = 'ftp://x.io'", "`server`: `ftp://x.io`: a registry is asked over `https` or `http`"),
            ("host = 1", "`host` is not a table"),
            ("\n[host", "line 2: "),
            (
                "capabilities = ['fly']",
                "`capabilities`: `fly` is none of `pull`, `resolve`, `push`, `referrers`",
            ),
            ("ca = 1", "`ca` is neither a text nor a list of texts"),
            ("client = ['a', 'b']", "`client` has 2 certificates, and only one can be shown to a registry"),
            ("client = [['a']]", "`client` is neither a file nor a list of files or of pairs of files"),
            ("skip_verify = 'yes'", "`skip_verify` is neither `true` nor `false`"),
            ("dial_timeout = '5'", "`dial_timeout`: `5` is not a duration such as `5s` or `1m30s`"),
            ("[header]\n'a b' = 'c'", "`header`: `a b` is not the name of a header"),
            ("[header]\na = \"secret\\n\"", "`header.a` has characters that no header has"),
            ("[host.'https://m.io?x']", "`host.\"https://m.io?x\"`: `https://m.io?x`: the URL of a registry"),
        ] {
            let wrong = HostsToml::parse(text).unwrap_err();
            assert!(wrong.starts_with(said), "{text}: {wrong}");
            assert!(!wrong.contains('\n') && !wrong.contains("secret"), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected) in [
            ("1s", Some(1000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("300ms", Some(300)),
            ("2000µs", Some(2)),
            ("", None),
            ("0s", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
        ] {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
