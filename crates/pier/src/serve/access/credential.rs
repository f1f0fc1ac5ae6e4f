//! What a client says to prove who it is: `Authorization: Basic` (RFC 7617).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};

/// A user name and a password, as a client sent them. Neither `Display` nor a `Debug` with anything in it.
pub(super) struct Credential {
    pub(super) name: String,
    pub(super) password: String,
}

/// Why a header says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Unreadable {
    /// It is of another scheme, such as Bearer.
    Scheme,
    /// It is malformed, or there are several.
    Form,
}

impl Unreadable {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Scheme => "this registry takes a user name and a password (Basic) and nothing else",
            Self::Form => "the Authorization header is malformed",
        }
    }
}

impl Credential {
    /// What the headers say; `None` when they say nothing.
    ///
    /// An empty name with an empty password is nothing too: that is what the clients made of containers/image (skopeo, podman)
    /// send to a registry that asks for Basic when they have no credentials.
    pub(super) fn in_headers(headers: &HeaderMap) -> Result<Option<Self>, Unreadable> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Unreadable::Form);
        }
        let value = value.to_str().map_err(|_| Unreadable::Form)?;
        let (scheme, rest) = value.split_once(' ').ok_or(Unreadable::Form)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Unreadable::Scheme);
        }
        let decoded = STANDARD.decode(rest.trim()).map_err(|_| Unreadable::Form)?;
        let decoded = String::from_utf8(decoded).map_err(|_| Unreadable::Form)?;
        let (name, password) = decoded.split_once(':').ok_or(Unreadable::Form)?;
        if name.is_empty() && password.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { name: name.to_owned(), password: password.to_owned() }))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<(String, String)>, Unreadable> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        Ok(Credential::in_headers(&headers)?.map(|credential| (credential.name, credential.password)))
    }

    #[test]
    fn headers_are_read_as_rfc_7617_has_them() {
        let aladdin = |password: &str| Ok(Some(("Aladdin".to_owned(), password.to_owned())));
        for (values, expected) in [
            (&[][..], Ok(None)),
            (&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="], aladdin("open sesame")),
            (&["bASIC  QWxhZGRpbjpvcGVuIHNlc2FtZQ== "], aladdin("open sesame")),
            (&["Basic QWxhZGRpbjphOmI="], aladdin("a:b")),
            (&["Basic QWxhZGRpbjo="], aladdin("")),
            (&["Basic Og=="], Ok(None)),
            (&["Basic"], Err(Unreadable::Form)),
            (&["Basic QWxhZGRpbg=="], Err(Unreadable::Form)),
            (&["Basic //79Og=="], Err(Unreadable::Form)),
            (&["Basic !"], Err(Unreadable::Form)),
            (&["Basic Og==", "Basic Og=="], Err(Unreadable::Form)),
            (&["Bearer abc"], Err(Unreadable::Scheme)),
        ] {
            assert_eq!(read(values), expected, "{values:?}");
        }
    }
}
