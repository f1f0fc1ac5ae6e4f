//! Who may do what: from a request to an [`Identity`], and from that to a [`Decision`] about an [`Action`] in a repository.
//!
//! Three questions, each asked in one place, so that what comes later changes one of them:
//! who is it ([`Access::identify`]: htpasswd now, tokens later), what does the request need ([`Asked::of`]), and may they
//! ([`Access::decide`]: everybody who is known may do everything now, rules later).
//!
//! Nothing here has a word about anybody in the log: not the name, not the password, not the header.

mod credential;
mod htpasswd;
mod password;
mod turns;
mod users;

use std::{fmt, net::IpAddr, sync::Arc};

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use pier_oci::{
    RepositoryName,
    wire::{Endpoint, ErrorCode},
};
use pier_registry::{ResponseBody, refusal};

pub(super) use self::turns::network;
use self::{
    credential::Credential,
    users::{Refused, Verified},
};
pub(crate) use self::{
    password::{Password, Scheme},
    users::Users,
};
use super::watched::Reload;

/// What clients are asked to log in with (RFC 7617).
const CHALLENGE: &str = "Basic realm=\"pier\"";

/// Who may do what in this registry. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Access(Rules);

#[derive(Clone, Debug)]
enum Rules {
    /// Everybody everything.
    Open,
    /// Those who are listed everything; the others what this says.
    Users { users: Arc<Users>, others: Others },
}

/// What somebody may do who has not logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// Nothing.
    Refused,
    /// Read what they know the name of.
    Pull,
}

/// Who asks. Has no `Display`, and a `Debug` that says nothing: names of users are nobody's business who reads a log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nobody that we know.
    Anonymous,
    /// A user of this name, who has proved it.
    User(Arc<str>),
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// To ask what this is and whether one may come in: `/v2/`, the list of extensions, and what is no end-point at all.
    Greet,
    /// Read a repository's content and lists.
    Pull,
    /// Write to a repository, or work on an upload.
    Push,
    /// Remove from a repository.
    Delete,
    /// List the repositories.
    Catalog,
}

/// What a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Where; `None` for what is about no repository.
    pub(crate) repository: Option<RepositoryName>,
    pub(crate) action: Action,
}

/// Whether it may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    /// Not by somebody who has not logged in.
    LoginNeeded,
}

impl Access {
    /// No access control.
    pub(crate) fn open() -> Self {
        Self(Rules::Open)
    }

    /// Only those who are listed, and `others` as far as it says.
    pub(crate) fn of_users(users: Users, others: Others) -> Self {
        Self(Rules::Users { users: Arc::new(users), others })
    }

    /// Whether everybody has to log in, whatever they want.
    pub(crate) fn is_for_users_only(&self) -> bool {
        matches!(self.0, Rules::Users { others: Others::Refused, .. })
    }

    /// What is kept true to files.
    pub(super) fn watched(&self) -> Option<Arc<dyn Reload>> {
        match &self.0 {
            Rules::Open => None,
            Rules::Users { users, .. } => Some(users.watched()),
        }
    }

    /// Lets a request in, or gives the answer that does not.
    pub(super) async fn admit<B>(
        &self,
        request: &Request<B>,
        from: IpAddr,
    ) -> Result<Identity, Box<Response<ResponseBody>>> {
        let identity = self.identify(request.headers(), from).await?;
        let asked = Asked::of(request.method(), request.uri().path());
        match self.decide(&identity, asked.repository.as_ref(), asked.action) {
            Decision::Allowed => Ok(identity),
            Decision::LoginNeeded => Err(login("log in first")),
        }
    }

    /// Who sends these headers.
    async fn identify(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Identity, Box<Response<ResponseBody>>> {
        let Rules::Users { users, .. } = &self.0 else { return Ok(Identity::Anonymous) };
        let credential = match Credential::in_headers(headers) {
            Ok(Some(credential)) => credential,
            Ok(None) => return Ok(Identity::Anonymous),
            Err(unreadable) => return Err(login(unreadable.message())),
        };
        match users.verify(&credential, from).await {
            Ok(Verified(name)) => Ok(Identity::User(name)),
            Err(Refused::Wrong) => Err(login("the user name or the password is wrong")),
            Err(Refused::TooMany { seconds }) => {
                let message = "too many logins have failed or wait; come back later";
                let mut response =
                    refusal(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message);
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                Err(Box::new(response))
            }
        }
    }

    /// Whether somebody may do this there.
    pub(crate) fn decide(
        &self,
        identity: &Identity,
        _repository: Option<&RepositoryName>,
        action: Action,
    ) -> Decision {
        match (&self.0, identity, action) {
            (Rules::Open, ..)
            | (_, Identity::User(_), _)
            | (Rules::Users { others: Others::Pull, .. }, _, Action::Pull) => Decision::Allowed,
            _ => Decision::LoginNeeded,
        }
    }
}

impl Asked {
    /// What a method on a path needs. A path that the registry does not know needs a login as well: that something is not there is
    /// an answer too.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let Ok(endpoint) = path.parse::<Endpoint>() else {
            return Self { repository: None, action: Action::Greet };
        };
        let action = match (&endpoint, method) {
            (Endpoint::Base | Endpoint::Extensions, _) => Action::Greet,
            (Endpoint::Catalog, _) => Action::Catalog,
            // To ask how far an upload has come, or to give it up, is a part of pushing.
            (Endpoint::Uploads { .. } | Endpoint::Upload { .. }, _) => Action::Push,
            (_, &Method::GET | &Method::HEAD) => Action::Pull,
            (_, &Method::DELETE) => Action::Delete,
            _ => Action::Push,
        };
        Self { repository: endpoint.repository().cloned(), action }
    }
}

/// 401, with how to log in.
fn login(message: &str) -> Box<Response<ResponseBody>> {
    let mut response = refusal(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(CHALLENGE));
    Box::new(response)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::User(_) => "User(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &Method, path: &str, repository: Option<&str>, action: Action) {
        let repository = repository.map(|name| name.parse().unwrap());
        assert_eq!(Asked::of(method, path), Asked { repository, action }, "{method} {path}");
    }

    #[test]
    fn requests_need_what_they_do() {
        const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        const SESSION: &str = "/v2/a/b/blobs/uploads/0190a5d2-7f6c-7c3e-8b1a-2f4e6d8c0a12";
        let app = Some("a/b");
        for path in ["/v2", "/v2/", "/", "/v2/a/b", "/v2/a/b/blobs/no-digest", "/v2/A/manifests/1", "/livez"]
        {
            for method in [Method::GET, Method::PUT, Method::DELETE] {
                check(&method, path, None, Action::Greet);
            }
        }
        check(&Method::GET, "/v2/_oci/ext/discover", None, Action::Greet);
        check(&Method::GET, "/v2/_catalog", None, Action::Catalog);
        for read in [Method::GET, Method::HEAD] {
            check(&read, "/v2/a/b/manifests/1", app, Action::Pull);
            check(&read, "/v2/a%2Fb/manifests/1", app, Action::Pull);
            check(&read, &format!("/v2/a/b/blobs/{DIGEST}"), app, Action::Pull);
            check(&read, "/v2/a/b/tags/list", app, Action::Pull);
            check(&read, &format!("/v2/a/b/referrers/{DIGEST}"), app, Action::Pull);
            check(&read, SESSION, app, Action::Push);
        }
        check(&Method::PUT, "/v2/a/b/manifests/1", app, Action::Push);
        check(&Method::POST, "/v2/a/b/manifests/1", app, Action::Push);
        check(&Method::POST, "/v2/a/b/blobs/uploads/", app, Action::Push);
        check(&Method::PATCH, SESSION, app, Action::Push);
        check(&Method::DELETE, SESSION, app, Action::Push);
        check(&Method::DELETE, "/v2/a/b/manifests/1", app, Action::Delete);
        check(&Method::DELETE, &format!("/v2/a/b/blobs/{DIGEST}"), app, Action::Delete);
    }

    #[test]
    fn an_identity_shows_nothing_of_itself() {
        let identity = Identity::User("alice".into());
        assert_eq!(format!("{identity:?} {:?}", Identity::Anonymous), "User(…) Anonymous");
    }
}
