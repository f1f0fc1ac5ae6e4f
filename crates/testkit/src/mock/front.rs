//! Requests to the registry and to its token server, answered with its manners.

use bytes::Bytes;
use http::request::Parts;
use http::uri::Uri;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::Incoming;
use pier_oci::wire::{Bearer, Challenge, Endpoint, Query};
use pier_oci::{Digest, RepositoryName, Selector};
use serde_json::json;

use super::access::{Refused, Scopes, TokenRequest};
use super::manners::{Access, Answer, Blobs, Expired, Mounts, Presence, Ranges, Realm, Tokens};
use super::{Addresses, Asked, Body, Place, State, Violation};
use crate::faults::Scheme;

/// The longest form that a token server reads.
const MAX_FORM_BYTES: usize = 64 << 10;

const OCI_CHUNK_MAX_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-max-length");
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

impl State {
    /// Answers a request to any of the servers and writes it down.
    pub(super) async fn answer(&self, place: Place, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let is_for_tokens = match self.manners.access {
            Access::Bearer(tokens) if tokens.realm != Realm::Elsewhere => path == tokens.path,
            _ => false,
        };
        let place = if place == Place::Registry && is_for_tokens { Place::TokenServer } else { place };
        let mut asked = Asked {
            place,
            method: request.method().clone(),
            path: path.to_owned(),
            query: request.uri().query().map(str::to_owned),
            authorization: authorization(request.headers()).map(Scheme::of),
            status: 0,
        };
        let Ok(addresses) = self.addresses() else {
            return error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "not yet");
        };
        let answer = match place {
            Place::Registry => self.api(request, addresses).await,
            Place::TokenServer => self.tokens(request).await,
            Place::Storage => self.storage(request).await,
        };
        asked.status = answer.status().as_u16();
        self.record().asked.push(asked);
        answer
    }

    async fn tokens(&self, request: Request<Incoming>) -> Response<Body> {
        let Access::Bearer(tokens) = self.manners.access else { return not_found() };
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        let is_post = method == Method::POST;
        if uri.path() != tokens.path || (is_post && tokens.post == Presence::Absent) {
            return not_found();
        }
        let parameters = if is_post {
            let Ok(form) = Limited::new(body, MAX_FORM_BYTES).collect().await else { return not_found() };
            String::from_utf8_lossy(&form.to_bytes()).into_owned()
        } else {
            uri.query().unwrap_or_default().to_owned()
        };
        // Unlike in the API, a plus is a space here.
        let parameters = Query::parse(&parameters.replace('+', "%20"));
        let request =
            TokenRequest { authorization: authorization(&headers), parameters: &parameters, method: &method };
        let mut record = self.record();
        let record = &mut *record;
        let given = record.accounts.token(&self.manners, &tokens, request, &mut record.violations);
        let Some(token) = given else {
            return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "incorrect username or password");
        };
        let mut answer = match tokens.answer {
            Answer::Token => json!({ "token": token }),
            Answer::AccessToken => json!({ "access_token": token }),
            Answer::Both => json!({ "token": token, "access_token": token }),
        };
        if let Some(seconds) = tokens.expires_in {
            answer["expires_in"] = seconds.into();
        }
        text(StatusCode::OK, "application/json", answer.to_string())
    }

    async fn api(&self, request: Request<Incoming>, addresses: Addresses) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let asked_query = parts.uri.query().unwrap_or_default().to_owned();
        let inward = self.record().names.inward(self.manners.sessions, parts.uri.path(), &asked_query);
        let Ok((path, query)) = inward else {
            self.record().violations.push(Violation::LostLocation);
            return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload");
        };
        let Ok(endpoint) = path.parse::<Endpoint>() else { return not_found() };
        let parameters = Query::parse(&query);
        set_target(&mut parts, &path, &query);
        if let Err(refusal) = self.check(&parts, &endpoint, &parameters, addresses) {
            return refusal;
        }
        if let Some(answer) = self.own_answer(&mut parts, &endpoint, &parameters, addresses).await {
            return answer;
        }
        let method = parts.method.clone();
        let answer = self.registry.registry().handle(Request::from_parts(parts, body)).await;
        self.mannered(boxed(answer), &method, &endpoint, addresses)
    }

    /// Whether whoever asks may.
    fn check(
        &self,
        parts: &Parts,
        endpoint: &Endpoint,
        query: &Query,
        addresses: Addresses,
    ) -> Result<(), Response<Body>> {
        let also = match (self.manners.access, endpoint.repository()) {
            (Access::Bearer(tokens), Some(_)) => tokens.also,
            _ => None,
        };
        let needed = Scopes::needed(&parts.method, endpoint, query, also);
        let mut record = self.record();
        let record = &mut *record;
        let authorization = authorization(&parts.headers);
        let checked = record.accounts.check(&self.manners, authorization, &needed, &mut record.violations);
        let reason = match (checked, self.manners.expired) {
            (Ok(()), _) => return Ok(()),
            (Err(Refused::Expired), Expired::Forbidden) => {
                let message = "Your authorization token has expired. Reauthenticate and try again.";
                return Err(error(StatusCode::FORBIDDEN, "DENIED", message));
            }
            (Err(Refused::Expired), Expired::BadRequest) => {
                let message = "Your Authorization Token is invalid.";
                return Err(error(StatusCode::BAD_REQUEST, "DENIED", message));
            }
            (Err(Refused::Expired), Expired::Unauthorized) => Some("invalid_token"),
            (Err(Refused::Token(reason)), _) => Some(reason),
            (Err(Refused::Unknown), _) => None,
        };
        record.accounts.challenge(&needed);
        Err(self.challenge(&needed, reason, addresses))
    }

    fn challenge(&self, needed: &Scopes, reason: Option<&str>, addresses: Addresses) -> Response<Body> {
        let challenge = match self.manners.access {
            Access::Bearer(tokens) => Challenge::Bearer(Bearer {
                realm: realm(&tokens, addresses),
                service: tokens.service.map(str::to_owned),
                scope: needed.text(),
                error: reason.map(str::to_owned),
            })
            .to_string(),
            Access::Basic => {
                format!("Basic realm=\"http://{}/\",service=\"ecr.amazonaws.com\"", addresses.registry)
            }
            Access::Open => return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "no"),
        };
        let mut answer = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
        set(&mut answer, header::WWW_AUTHENTICATE, &challenge);
        answer
    }

    /// What the registry behind is not asked.
    async fn own_answer(
        &self,
        parts: &mut Parts,
        endpoint: &Endpoint,
        query: &Query,
        addresses: Addresses,
    ) -> Option<Response<Body>> {
        let manners = &self.manners;
        let page = query.first("n").and_then(|n| n.parse::<usize>().ok());
        match (&parts.method, endpoint) {
            (_, Endpoint::Referrers { .. }) if manners.referrers == Presence::Absent => {
                return Some(not_found());
            }
            (_, Endpoint::Tags { .. } | Endpoint::Catalog)
                if manners.max_page.is_some_and(|most| page.is_some_and(|page| page > most)) =>
            {
                let message = "Invalid parameter at 'maxResults' failed to satisfy constraint";
                return Some(error(StatusCode::BAD_REQUEST, "UNSUPPORTED", message));
            }
            (&Method::HEAD, Endpoint::Manifest { .. }) if manners.manifest_head == Presence::Absent => {
                return Some(error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "no HEAD"));
            }
            (&Method::PUT, Endpoint::Manifest { .. }) => {
                let mut record = self.record();
                if record.throttled < manners.throttled_manifests {
                    record.throttled += 1;
                    return Some(error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "Rate exceeded"));
                }
            }
            (&Method::GET, Endpoint::Blob { repository, digest }) => {
                let is_there = self.registry.catalog().linked(repository, digest).await;
                if manners.blobs == Blobs::Presigned && matches!(is_there, Ok(Some(_))) {
                    let url = self.presign(addresses.storage, repository.as_str(), *digest);
                    let mut answer = text(StatusCode::TEMPORARY_REDIRECT, "text/plain", String::new());
                    set(&mut answer, header::LOCATION, &url);
                    return Some(answer);
                }
                if parts.headers.contains_key(header::RANGE) {
                    match manners.ranges {
                        Ranges::Served => {}
                        Ranges::Ignored => drop(parts.headers.remove(header::RANGE)),
                        Ranges::Refused => return Some(empty_answer(StatusCode::RANGE_NOT_SATISFIABLE)),
                    }
                }
            }
            (&Method::POST, Endpoint::Uploads { repository }) => {
                let digest = query.first("mount").and_then(|digest| digest.parse().ok())?;
                return self.mount(parts, repository, digest, query, addresses).await;
            }
            _ => {}
        }
        None
    }

    async fn mount(
        &self,
        parts: &mut Parts,
        repository: &RepositoryName,
        digest: Digest,
        query: &Query,
        addresses: Addresses,
    ) -> Option<Response<Body>> {
        match self.manners.mounts {
            Mounts::Taken => None,
            Mounts::Refused(StatusCode::UNAUTHORIZED) => {
                let needed = Scopes::needed(
                    &Method::POST,
                    &Endpoint::Uploads { repository: repository.clone() },
                    query,
                    None,
                );
                self.record().accounts.challenge(&needed);
                Some(self.challenge(&needed, Some("insufficient_scope"), addresses))
            }
            Mounts::Refused(status) => Some(error(status, "DENIED", "requested access is denied")),
            Mounts::OfManifests => {
                let from = query.first("from").and_then(|from| from.parse().ok());
                let is_named = match from {
                    Some(from) => self.is_named(&from, &digest).await,
                    None => false,
                };
                if !is_named {
                    // What is left is the start of a session.
                    let path = parts.uri.path().to_owned();
                    set_target(parts, &path, "");
                }
                None
            }
        }
    }

    /// Whether a tagged manifest of a repository, or one that it names, names this blob.
    async fn is_named(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let catalog = self.registry.catalog();
        let Ok(tags) = catalog.tags(repository, None, 1000).await else { return false };
        let mut selectors: Vec<_> = tags.items.into_iter().map(Selector::Tag).collect();
        // An index leads to its manifests; what it does not have is no manifest and is passed over.
        while let Some(selector) = selectors.pop() {
            let Ok(manifest) = catalog.resolve(repository, &selector).await else { continue };
            for (_, child) in manifest.children() {
                if child.digest == *digest {
                    return true;
                }
                selectors.push(Selector::Digest(child.digest));
            }
        }
        false
    }

    /// The answer of the registry behind as this one gives it.
    fn mannered(
        &self,
        mut answer: Response<Body>,
        method: &Method,
        endpoint: &Endpoint,
        addresses: Addresses,
    ) -> Response<Body> {
        let manners = &self.manners;
        if manners.referrers == Presence::Absent {
            answer.headers_mut().remove(OCI_SUBJECT);
        }
        let is_manifest = method == Method::PUT && matches!(endpoint, Endpoint::Manifest { .. });
        if is_manifest && manners.manifest_location == Presence::Absent {
            answer.headers_mut().remove(header::LOCATION);
        }
        if method == Method::PATCH && answer.status() == StatusCode::ACCEPTED {
            *answer.status_mut() = manners.chunk_taken;
            if manners.chunk_taken == StatusCode::NO_CONTENT {
                answer.headers_mut().remove(header::CONTENT_LENGTH);
            }
        }
        let begins = method == Method::POST && answer.status() == StatusCode::ACCEPTED;
        if let Some(most) = manners.max_chunk.filter(|_| begins) {
            set(&mut answer, OCI_CHUNK_MAX_LENGTH, &most.to_string());
        }
        let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        if let Some(location) = location.map(str::to_owned) {
            let location = self.record().names.outward(manners.sessions, addresses.registry, &location);
            set(&mut answer, header::LOCATION, &location);
        }
        answer
    }
}

fn realm(tokens: &Tokens, addresses: Addresses) -> String {
    match tokens.realm {
        Realm::Elsewhere => format!("http://{}{}", addresses.tokens, tokens.path),
        Realm::Here => format!("http://{}{}", addresses.registry, tokens.path),
        Realm::Relative => tokens.path.to_owned(),
    }
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()
}

fn set_target(parts: &mut Parts, path: &str, query: &str) {
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    // It came as a part of one that was read.
    parts.uri = target.parse::<Uri>().unwrap_or_default();
}

fn set(answer: &mut Response<Body>, name: HeaderName, value: &str) {
    // What is written here are addresses, names and digests.
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".to_owned())
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = json!({ "errors": [{ "code": code, "message": message }] });
    text(status, "application/json", body.to_string())
}

/// An answer with a text.
pub(super) fn text(status: StatusCode, media_type: &'static str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// An answer without anything.
pub(super) fn empty_answer(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(empty().map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

/// No body.
pub(super) fn empty() -> Empty<Bytes> {
    Empty::new()
}

/// The registry's own answer.
pub(super) fn boxed(answer: Response<pier_registry::ResponseBody>) -> Response<Body> {
    answer.map(http_body_util::BodyExt::boxed_unsync)
}
