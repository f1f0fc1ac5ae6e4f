//! Proxies on the way to registries.
//!
//! The rules are those of Go's HTTP client, since Docker, containerd and skopeo have taught people to write `NO_PROXY` for it: ports and
//! networks count, names are not looked up, and this machine is never asked for through a proxy that the environment names.

mod exceptions;

use std::{ffi::OsString, fmt};

use pier_content::{Error, Result, Subject};
use reqwest::{ClientBuilder, Proxy};
use url::Url;

use self::exceptions::Exceptions;

/// Which proxy is asked for which scheme, and for whom none is.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    except: Exceptions,
}

impl Proxies {
    /// No proxy for anybody.
    pub fn none() -> Self {
        Self::default()
    }

    /// This proxy for everything, this machine included.
    ///
    /// # Errors
    /// [`Invalid`](Error::Invalid) when it is no proxy's URL.
    pub fn always(url: &str) -> Result<Self> {
        let url = proxy("a proxy", url)?;
        Ok(Self { http: Some(url.clone()), https: Some(url), except: Exceptions::none() })
    }

    /// What the environment says, read through `lookup`: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` for schemes that have none of their own,
    /// and `NO_PROXY`. Lower-case names come first, as curl has it; `HTTP_PROXY` in upper case is ignored where `REQUEST_METHOD` is set,
    /// because a web server's client could have set it.
    ///
    /// # Errors
    /// [`Invalid`](Error::Invalid) when a value is no proxy's URL; the message names the variable, and leaves out the value, which may
    /// hold a password.
    pub fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let text = |name: &'static str| -> Result<Option<(&'static str, String)>> {
            let Some(value) = lookup(name) else { return Ok(None) };
            let value = value.into_string().map_err(|_| malformed(name))?;
            Ok((!value.trim().is_empty()).then_some((name, value)))
        };
        let first = |names: [&'static str; 2]| -> Result<_> {
            Ok(match text(names[0])? {
                Some(found) => Some(found),
                None => text(names[1])?,
            })
        };
        let http = match first(["http_proxy", "HTTP_PROXY"])? {
            Some(("HTTP_PROXY", _)) if lookup("REQUEST_METHOD").is_some() => None,
            found => found,
        };
        let https = first(["https_proxy", "HTTPS_PROXY"])?;
        let all = first(["all_proxy", "ALL_PROXY"])?;
        let url = |own: Option<(&str, String)>| {
            own.or(all.clone()).map(|(name, value)| proxy(name, value.trim())).transpose()
        };
        let except = first(["no_proxy", "NO_PROXY"])?.map(|(_, list)| list).unwrap_or_default();
        Ok(Self { http: url(http)?, https: url(https)?, except: Exceptions::parse(&except) })
    }

    /// The proxy on the way to `url`.
    pub(crate) fn on_the_way(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        }?;
        (!self.except.covers(url)).then_some(proxy)
    }

    /// Whether a host is one of the proxies.
    pub(crate) fn is_proxy(&self, host: &str) -> bool {
        [&self.http, &self.https].into_iter().flatten().any(|proxy| proxy.host_str() == Some(host))
    }

    /// Whether there is none for anybody.
    pub(crate) fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    pub(crate) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        if self.is_empty() {
            return builder;
        }
        let proxies = self.clone();
        builder.proxy(Proxy::custom(move |url| proxies.on_the_way(url).cloned()))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy's URL may hold a password.
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .finish_non_exhaustive()
    }
}

/// The URL of a proxy. A bare `host:port` is what people write.
fn proxy(name: &str, text: &str) -> Result<Url> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&text).map_err(|_| malformed(name))?;
    let usable = matches!(url.scheme(), "http" | "https") && url.has_host();
    usable.then_some(url).ok_or_else(|| malformed(name))
}

fn malformed(name: &str) -> Error {
    Error::Invalid {
        subject: Subject::Setting(name.to_owned()),
        reason: "its value is not the URL of an HTTP proxy such as `http://host:3128`".to_owned(),
    }
}

#[cfg(test)]
mod tests;
