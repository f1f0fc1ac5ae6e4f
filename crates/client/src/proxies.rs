//! Proxies on the way to registries.

use std::ffi::OsString;

use pier_content::{Error, Result, Subject};
use reqwest::{ClientBuilder, NoProxy, Proxy};

/// Which proxy is asked for which scheme, and for whom none is.
///
/// The values are those of `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`: URLs, and a list of hosts, domains, addresses and
/// networks with commas between them.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
}

impl Proxies {
    /// No proxy for anybody.
    pub fn none() -> Self {
        Self::default()
    }

    /// What the environment says, read through `lookup`. Lower-case names come first, as curl has it; `HTTP_PROXY` in upper case is ignored
    /// where `REQUEST_METHOD` is set, because a web server's client could have set it.
    ///
    /// # Errors
    /// [`Invalid`](Error::Invalid) when a value is no proxy's URL.
    pub fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let text = |name: &str| {
            let value = lookup(name)?.into_string().ok()?;
            (!value.trim().is_empty()).then_some(value)
        };
        let either = |lower: &str| text(lower).or_else(|| text(&lower.to_uppercase()));
        let all = either("all_proxy");
        let none = either("no_proxy");
        let http = text("http_proxy")
            .or_else(|| text("HTTP_PROXY").filter(|_| lookup("REQUEST_METHOD").is_none()))
            .or_else(|| all.clone());
        let https = either("https_proxy").or(all);
        Self::new(http.as_deref(), https.as_deref(), none.as_deref())
    }

    /// For plain HTTP the proxy `http`, for HTTPS the proxy `https`, and none for the hosts that `none` lists.
    pub fn new(http: Option<&str>, https: Option<&str>, none: Option<&str>) -> Result<Self> {
        let none = none.and_then(NoProxy::from_string);
        let proxy = |url: &str, make: fn(String) -> reqwest::Result<Proxy>| {
            // A bare `host:port` is what people write.
            let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
            // The URL may hold a password and stays out of the message.
            make(url).map(|proxy| proxy.no_proxy(none.clone())).map_err(|_| Error::Invalid {
                subject: Subject::Registry("a proxy".to_owned()),
                reason: "its address is not a URL such as `http://host:3128`".to_owned(),
            })
        };
        Ok(Self {
            http: http.map(|url| proxy(url, Proxy::http::<String>)).transpose()?,
            https: https.map(|url| proxy(url, Proxy::https::<String>)).transpose()?,
        })
    }

    pub(crate) fn apply(&self, mut builder: ClientBuilder) -> ClientBuilder {
        for proxy in [&self.http, &self.https].into_iter().flatten() {
            builder = builder.proxy(proxy.clone());
        }
        builder
    }
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A proxy's URL may hold a password.
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .finish()
    }
}
