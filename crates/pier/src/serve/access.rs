//! Who gets in: those who are listed in an htpasswd file, everybody where there is none, and whoever only pulls where that is allowed.
//!
//! Everybody who is let in may do everything. Rights for each repository would be decided in [`Access::admit`], where the user, the method
//! and the path are at hand.
//!
//! Nothing here has a word about anybody in the log: not the name, not the password, not the header.

mod credential;
mod forwarded;
mod htpasswd;
mod password;
mod turns;
mod users;

use std::{net::IpAddr, sync::Arc};

use http::{HeaderValue, Method, Request, StatusCode, header};
use pier_oci::wire::{Endpoint, ErrorCode};
use pier_registry::Refusal;

pub(super) use self::turns::network;
use self::{
    credential::{Credential, Unreadable},
    forwarded::guesser_address,
};
pub(crate) use self::{
    htpasswd::check_user_name,
    password::{BCRYPT_BYTES, Password, Scheme},
    users::Users,
};
use super::watched::Reload;

/// What clients are asked to log in with (RFC 7617).
const CHALLENGE: &str = "Basic realm=\"pier\"";

/// Who may come in. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Access(Rules);

#[derive(Clone, Debug)]
enum Rules {
    /// Everybody.
    Open,
    /// Those who are listed; the others as far as this says.
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

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// They have not said who they are.
    LoginNeeded,
    /// What they say cannot be read.
    Unreadable(Unreadable),
    /// The name or the password; nobody is told which.
    Wrong,
    /// There are too many of them, or of their failures; there may be room in so many seconds.
    TooMany { seconds: u64 },
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

    /// Whether a request of this peer is let in.
    pub(super) async fn admit<B>(&self, request: &Request<B>, peer: IpAddr) -> Result<(), Denied> {
        let Rules::Users { users, others } = &self.0 else { return Ok(()) };
        match Credential::in_headers(request.headers()).map_err(Denied::Unreadable)? {
            // Whoever says who they are has to be it, also for what nobody has to log in for.
            Some(credential) => users.verify(&credential, guesser_address(peer, request.headers())).await,
            None if *others == Others::Pull && is_pull(request.method(), request.uri().path()) => Ok(()),
            None => Err(Denied::LoginNeeded),
        }
    }
}

impl Denied {
    /// The answer: 401 with how to log in, or 429 with when to come back.
    pub(super) fn refusal(self) -> Refusal {
        let message = match self {
            Self::LoginNeeded => "log in first",
            Self::Unreadable(unreadable) => unreadable.message(),
            Self::Wrong => "the user name or the password is wrong",
            Self::TooMany { seconds } => {
                let message = "too many logins have failed or wait; come back later";
                return Refusal::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message)
                    .with_header(header::RETRY_AFTER, seconds.into());
            }
        };
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        // So begins every client that has a password and waits to be asked for it.
        if self == Self::LoginNeeded { refusal.usual() } else { refusal }
    }
}

/// Whether a request only reads what a repository shows. A path that the registry does not know is none: that something is not there is
/// an answer, too. To ask how far an upload has come is a part of pushing.
fn is_pull(method: &Method, path: &str) -> bool {
    let is_of_content = matches!(
        path.parse(),
        Ok(Endpoint::Blob { .. }
            | Endpoint::Manifest { .. }
            | Endpoint::Tags { .. }
            | Endpoint::Referrers { .. })
    );
    is_of_content && [Method::GET, Method::HEAD].contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn to_pull_is_to_read_what_a_repository_shows_and_nothing_else() {
        let content = [
            "/v2/a/b/manifests/1".to_owned(),
            "/v2/a%2Fb/manifests/1".to_owned(),
            format!("/v2/a/b/blobs/{DIGEST}"),
            "/v2/a/b/tags/list".to_owned(),
            format!("/v2/a/b/referrers/{DIGEST}"),
        ];
        for path in &content {
            assert!(is_pull(&Method::GET, path) && is_pull(&Method::HEAD, path), "{path}");
            for write in [Method::PUT, Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS] {
                assert!(!is_pull(&write, path), "{write} {path}");
            }
        }
        for path in [
            "/v2",
            "/v2/",
            "/",
            "/v2/a/b",
            "/v2/a/b/blobs/no-digest",
            "/v2/A/manifests/1",
            "/livez",
            "/metrics",
            "/v2/_oci/ext/discover",
            "/v2/_catalog",
            "/v2/a/b/blobs/uploads/",
            "/v2/a/b/blobs/uploads/0190a5d2-7f6c-7c3e-8b1a-2f4e6d8c0a12",
        ] {
            assert!(!is_pull(&Method::GET, path), "{path}");
        }
    }
}
