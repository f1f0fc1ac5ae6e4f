//! What the proxy saw: every request in its order, as it stands at this moment.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Method;
use pier_oci::Digest;
use tokio::sync::watch;

use super::{Fault, Kind};

/// One request and what became of it so far. A request that is still under way has no end yet.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The connection that it came on, counted from 0.
    pub connection: u64,
    /// Its method.
    pub method: Method,
    /// Its path, percent-encoded as it came.
    pub path: String,
    /// What stands behind the `?`.
    pub query: Option<String>,
    /// What the path is about.
    pub kind: Kind,
    /// The digest that the path ends with.
    pub digest: Option<Digest>,
    /// The `Range` that was asked for.
    pub range: Option<String>,
    /// The scheme of the credentials that came with it. What they were is not kept.
    pub authorization: Option<Scheme>,
    /// What struck it.
    pub fault: Option<Fault>,
    /// The status that the client was sent.
    pub status: Option<u16>,
    /// Bytes of the body that the client sent and the registry was given.
    pub uploaded: u64,
    /// Bytes of the body that the client was sent. What the kernel holds for a client that has gone is among them.
    pub downloaded: u64,
    /// Where the answer led: its `Location` without scheme, host and query.
    pub location: Option<String>,
    /// Whether nothing more will come of it.
    pub ended: bool,
}

/// How a client said who it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// A name and a password.
    Basic,
    /// A token.
    Bearer,
    /// Another.
    Other,
}

/// All requests, oldest first.
#[derive(Debug)]
pub(super) struct Log {
    seen: Mutex<Vec<Seen>>,
    changed: watch::Sender<()>,
}

/// One request's place in the log. Dropped, the request has ended.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    log: &'a Log,
    index: usize,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { seen: Mutex::default(), changed: watch::Sender::new(()) }
    }

    pub(super) fn begin(&self, seen: Seen) -> Entry<'_> {
        let mut all = self.lock();
        all.push(seen);
        let index = all.len() - 1;
        drop(all);
        self.changed.send_replace(());
        Entry { log: self, index }
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        self.lock().clone()
    }

    /// Waits until this is so.
    pub(super) async fn until(&self, mut is_so: impl FnMut(&[Seen]) -> bool) {
        let mut changes = self.changed.subscribe();
        loop {
            if is_so(&self.lock()) {
                return;
            }
            // The sender is this log's own.
            let _ = changes.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        // Whoever panicked with the lock held left a list that is as good as before.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry<'_> {
    pub(super) fn update(&self, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.log.lock().get_mut(self.index) {
            change(seen);
        }
        self.log.changed.send_replace(());
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.update(|seen| seen.ended = true);
    }
}

impl Scheme {
    pub(crate) fn of(authorization: &str) -> Self {
        match authorization.split(' ').next() {
            Some(scheme) if scheme.eq_ignore_ascii_case("basic") => Self::Basic,
            Some(scheme) if scheme.eq_ignore_ascii_case("bearer") => Self::Bearer,
            _ => Self::Other,
        }
    }
}

/// Body bytes of this blob that clients were sent.
pub(super) fn downloaded(seen: &[Seen], digest: &Digest) -> u64 {
    let is_it = |seen: &&Seen| seen.kind == Kind::Blob && seen.digest == Some(*digest);
    seen.iter().filter(is_it).map(|seen| seen.downloaded).sum()
}

/// Body bytes of this blob that registries were given.
///
/// Only the last request of a session names the digest. A session is followed by the places that its answers lead to, since there are
/// registries that give another with each.
pub(super) fn uploaded(seen: &[Seen], digest: &Digest) -> u64 {
    let mut sessions: HashMap<&str, usize> = HashMap::new();
    let mut sizes: Vec<u64> = Vec::new();
    let mut total = 0;
    for seen in seen.iter().filter(|seen| seen.kind == Kind::Upload) {
        let session = match sessions.get(seen.path.as_str()) {
            Some(session) if seen.method != Method::POST => *session,
            _ => {
                sizes.push(0);
                sizes.len() - 1
            }
        };
        sizes[session] += seen.uploaded;
        if let Some(location) = &seen.location {
            sessions.insert(location, session);
        }
        if named(seen) == Some(*digest) && seen.status == Some(201) {
            total += sizes[session];
        }
    }
    total
}

/// The digest of an upload's last request. That of a mount is in another parameter.
fn named(seen: &Seen) -> Option<Digest> {
    let query = pier_oci::wire::Query::parse(seen.query.as_deref()?);
    query.first("digest")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn upload(method: Method, url: &str, uploaded: u64, status: u16, location: Option<&str>) -> Seen {
        let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        Seen {
            connection: 0,
            method,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            kind: Kind::Upload,
            digest: None,
            range: None,
            authorization: None,
            fault: None,
            status: Some(status),
            uploaded,
            downloaded: 0,
            location: location.map(str::to_owned),
            ended: true,
        }
    }

    #[test]
    fn uploads_are_followed_from_place_to_place() {
        let (start, done) = ("/v2/a/blobs/uploads/", format!("?digest={}", DIGEST.replace(':', "%3A")));
        let seen = [
            upload(Method::POST, start, 0, 202, Some("/u/1")),
            upload(Method::POST, start, 0, 202, Some("/u/9")),
            upload(Method::PATCH, "/u/1", 10, 204, Some("/u/2")),
            upload(Method::PATCH, "/u/9", 500, 202, Some("/u/9")),
            upload(Method::PATCH, "/u/2", 20, 204, Some("/u/3")),
            upload(Method::PUT, &format!("/u/3{done}"), 3, 201, None),
            // All at once.
            upload(Method::POST, &format!("{start}{done}"), 7, 201, None),
            // Refused: not of this blob.
            upload(Method::POST, &format!("{start}{done}"), 1000, 400, None),
        ];
        assert_eq!(uploaded(&seen, &DIGEST.parse().unwrap()), 40);
    }

    #[test]
    fn schemes_are_told_apart() {
        for (value, expected) in
            [("basic QTpC", Scheme::Basic), ("Bearer abc", Scheme::Bearer), ("Digest x", Scheme::Other)]
        {
            assert_eq!(Scheme::of(value), expected, "{value}");
        }
    }
}
