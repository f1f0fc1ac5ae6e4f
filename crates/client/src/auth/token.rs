//! Asking a token server for a token (Docker's token authentication, and its OAuth2 form).

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use pier_content::{Error, Result};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::{TokenServer, scope::Scopes, words};
use crate::{credentials::Credential, refusal::delay};

/// What this client calls itself to OAuth2 servers.
const CLIENT_ID: &str = "pier";

/// How long a token lasts whose server does not say.
const LIFETIME: Duration = Duration::from_mins(1);

/// The longest that a token is believed to last.
const LONGEST: Duration = Duration::from_hours(24);

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) realm: &'a Url,
    pub(super) service: Option<&'a str>,
    pub(super) scopes: &'a Scopes,
}

/// A token, as the header that holds it.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    /// Marked sensitive.
    pub(super) header: HeaderValue,
    pub(super) lifetime: Duration,
}

/// What came of it, when the server answered.
#[derive(Debug)]
pub(super) enum Outcome {
    Issued(Issued),
    /// It does not accept the credentials, or wants some.
    Refused {
        /// What it said; may be empty.
        words: String,
    },
}

/// A question in one of the two forms.
#[derive(Clone, Copy)]
enum Form<'a> {
    /// With a name and a password, or as nobody.
    Get(Option<(&'a str, &'a str)>),
    Post(Grant<'a>),
}

/// What OAuth2 exchanges for a token.
#[derive(Clone, Copy)]
enum Grant<'a> {
    RefreshToken(&'a str),
    Password(&'a str, &'a str),
}

/// Asks for a token. A password goes with a GET and, where the server knows none, with an OAuth2 POST; an identity token the other way round.
///
/// # Errors
/// When the server cannot be reached, is busy, or answers what is not a token.
pub(super) async fn fetch(
    server: &dyn TokenServer,
    origin: &str,
    wanted: &Wanted<'_>,
    credential: Option<&Credential>,
) -> Result<Outcome> {
    let forms: &[Form<'_>] = match credential {
        None => &[Form::Get(None)],
        Some(Credential::Basic { username, password }) => {
            let password = password.expose();
            &[Form::Get(Some((username, password))), Form::Post(Grant::Password(username, password))]
        }
        Some(Credential::IdentityToken { username, token }) => {
            let token = token.expose();
            &[Form::Post(Grant::RefreshToken(token)), Form::Get(Some((username, token)))]
        }
        // It is a token already, and no one else's to see.
        Some(Credential::RegistryToken(_)) => &[],
    };
    let mut words = String::new();
    for form in forms {
        let request = wanted.request(*form).ok_or_else(|| nowhere(origin))?;
        let secrets = secrets_of(&request, credential);
        let response = server.ask(request).await?;
        let status = response.status();
        let said = || {
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            words::said(response.body(), &secrets)
        };
        match status {
            _ if status.is_success() => return issued(&response, origin).map(Outcome::Issued),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                return Err(unavailable(origin, response.headers(), status, &said()));
            }
            _ if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                return Err(unavailable(origin, response.headers(), status, &said()));
            }
            // This form is unknown there; the other one may not be.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                words = with_status(&said(), status);
            }
            _ if status.is_client_error() => {
                return Ok(Outcome::Refused { words: with_status(&said(), status) });
            }
            _ => return Err(unusable(origin, &format!("it answers with {status}"))),
        }
    }
    Ok(Outcome::Refused { words })
}

impl Wanted<'_> {
    /// Nothing when the realm is a URL that no request can have.
    fn request(&self, form: Form<'_>) -> Option<Request<Bytes>> {
        let mut url = self.realm.clone();
        url.set_fragment(None);
        let (method, body) = match form {
            Form::Get(_) => {
                if self.service.is_some() || !self.scopes.is_empty() {
                    let mut query = url.query_pairs_mut();
                    query.extend_pairs(self.service.map(|service| ("service", service)));
                    query.extend_pairs(self.scopes.iter().map(|scope| ("scope", scope)));
                }
                (Method::GET, Bytes::new())
            }
            Form::Post(grant) => (Method::POST, self.form(grant).into()),
        };
        let mut request = Request::builder().method(method).uri(url.as_str()).body(body).ok()?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        match form {
            Form::Get(None) => {}
            Form::Get(Some((username, password))) => {
                headers.insert(AUTHORIZATION, basic(username, password));
            }
            Form::Post(_) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            }
        }
        Some(request)
    }

    fn form(&self, grant: Grant<'_>) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        match grant {
            Grant::RefreshToken(token) => {
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
            }
            Grant::Password(username, password) => {
                form.append_pair("grant_type", "password");
                form.append_pair("username", username).append_pair("password", password);
            }
        }
        form.append_pair("client_id", CLIENT_ID);
        if let Some(service) = self.service {
            form.append_pair("service", service);
        }
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.to_string());
        }
        form.finish()
    }
}

/// The header of basic authentication.
pub(super) fn basic(username: &str, password: &str) -> HeaderValue {
    let encoded = STANDARD.encode(format!("{username}:{password}"));
    #[expect(clippy::expect_used, reason = "base64 is made of characters that headers may have")]
    let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).expect("base64 fits into a header");
    header.set_sensitive(true);
    header
}

/// The header that holds a token; nothing when the token has characters that no header can have.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Reads a token. Messages of the JSON reader are not passed on, since they quote what they read.
fn issued(response: &Response<Bytes>, origin: &str) -> Result<Issued> {
    let answer: Value = serde_json::from_slice(response.body())
        .map_err(|_| unusable(origin, "it answers with what is not JSON"))?;
    let text = |name: &str| answer.get(name)?.as_str().filter(|token| !token.is_empty());
    // Both names are in use; where a server gives both, Docker takes this one.
    let token = text("access_token").or_else(|| text("token"));
    let token = token.ok_or_else(|| unusable(origin, "its answer holds no token"))?;
    let header = bearer(token).ok_or_else(|| unusable(origin, "its token does not fit into a header"))?;
    Ok(Issued { header, lifetime: lifetime(answer.get("expires_in")) })
}

/// How long a token lasts. Some servers write the number as a text; one of zero or less cannot be meant.
fn lifetime(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds: &f64| *seconds > 0.0 && seconds.is_finite());
    seconds.map_or(LIFETIME, |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).min(LONGEST))
}

/// Everything in a request that must not come back in an error.
fn secrets_of(request: &Request<Bytes>, credential: Option<&Credential>) -> Vec<String> {
    let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let header = header.and_then(|header| header.strip_prefix("Basic "));
    header
        .into_iter()
        .chain(credential.map(|credential| credential.secret().expose()))
        .map(str::to_owned)
        .collect()
}

fn with_status(words: &str, status: StatusCode) -> String {
    if words.is_empty() { status.to_string() } else { format!("{words} ({status})") }
}

/// A challenge whose realm is no place that could be asked.
pub(super) fn nowhere(origin: &str) -> Error {
    let reason = "its challenge leads to no place that could give a token".to_owned();
    Error::Untrusted { origin: origin.to_owned(), reason }
}

const OPERATION: &str = "fetch a token";

fn unavailable(origin: &str, headers: &HeaderMap, status: StatusCode, words: &str) -> Error {
    let retry_after = headers.get(RETRY_AFTER).and_then(|header| header.to_str().ok());
    Error::Unavailable {
        origin: origin.to_owned(),
        operation: OPERATION,
        retry_after: retry_after.and_then(|text| delay(text, SystemTime::now())),
        source: Some(format!("the token server says {}", with_status(words, status)).into()),
    }
}

/// Something between us and the token server may have answered in its place, so it is worth another attempt.
fn unusable(origin: &str, reason: &str) -> Error {
    Error::Unavailable {
        origin: origin.to_owned(),
        operation: OPERATION,
        retry_after: None,
        source: Some(format!("the token server cannot be understood: {reason}").into()),
    }
}

#[cfg(test)]
mod tests;
