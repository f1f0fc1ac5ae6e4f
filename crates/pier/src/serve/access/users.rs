//! Verifying passwords without being slowed by it, or overrun.
//!
//! A hash is slow so that whoever steals the file guesses slowly. A registry is asked a thousand times a second by the same
//! client, so what was verified is remembered for a while, under a keyed hash of name, password and the file's entry: the password is
//! kept nowhere, and a changed entry is another key. Requests that come while the first of their kind is verified wait for that one.
//!
//! Verification has threads of its own, as it were: a few turns at once on blocking threads ([`Turns`]), which a flood of guesses shares,
//! and of which each guesser gets fewer and fewer. A name that nobody has costs the time of one that somebody has.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::{sync::OnceCell, time::Instant};

use super::{
    credential::Credential,
    htpasswd::Htpasswd,
    turns::{Guesser, TooMany, Turns},
};
use crate::{
    failure::Failure,
    serve::watched::{Reload, Watched},
};

/// Bytes of a file of users: room for a hundred thousand.
const MAX_BYTES: u64 = 16 << 20;

/// How long a password that was right is not verified again.
const REMEMBER_RIGHT: Duration = Duration::from_mins(5);

/// How long one that was wrong is not: a client with an old password in its configuration asks again and again.
const REMEMBER_WRONG: Duration = Duration::from_secs(10);

/// How many outcomes are remembered.
const MAX_REMEMBERED: usize = 16_384;

/// Those who are listed in a file, which is read again when it changes.
#[derive(Debug)]
pub(crate) struct Users {
    file: Arc<Watched<Htpasswd>>,
    memory: Memory,
    turns: Turns,
}

/// A user of this name, who has proved it.
#[derive(PartialEq, Eq)]
pub(super) struct Verified(pub(super) Arc<str>);

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The name, or the password; nobody is told which.
    Wrong,
    /// There are too many of them, or of their failures; there may be room in so many seconds.
    TooMany { seconds: u64 },
}

impl Users {
    /// Reads the file. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, or has a line that cannot.
    pub(crate) fn load(file: PathBuf) -> Result<Self, Failure> {
        let named = file.clone();
        let parse =
            move |contents: &[Vec<u8>]| Htpasswd::parse(&named, contents.first().map_or(&[], Vec::as_slice));
        let file = Watched::load("htpasswd file", vec![file], MAX_BYTES, parse)?;
        let memory = Memory::new()?;
        Ok(Self { file: Arc::new(file), memory, turns: Turns::for_this_machine() })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.file.current().len()
    }

    pub(super) fn watched(&self) -> Arc<dyn Reload> {
        Arc::clone(&self.file) as _
    }

    /// Whether somebody is who they say.
    pub(super) async fn verify(&self, credential: &Credential, from: IpAddr) -> Result<Verified, Refused> {
        let file = self.file.current();
        let (name, password) = match file.entry(&credential.name) {
            Some((name, password)) => (Some(name), password),
            None => (None, file.decoy()),
        };
        let key = self.memory.key(credential, name.as_ref().map(|_| password.as_str()));
        let outcome = self.memory.outcome(key, Instant::now());
        let is_right = outcome
            .get_or_try_init(async || {
                let guesser = Guesser::new(from, &credential.name);
                let given = credential.password.clone();
                let (password, is_known) = (password.clone(), name.is_some());
                // `&` and not `&&`: the password of somebody unknown is verified all the same.
                let is_right = self.turns.guess(guesser, move || password.is(&given) & is_known).await?;
                self.memory.settle(key, is_right, Instant::now());
                Ok(is_right)
            })
            .await;
        match (is_right, name) {
            (Ok(true), Some(name)) => Ok(Verified(name)),
            (Ok(_), _) => Err(Refused::Wrong),
            (Err(TooMany { seconds }), _) => {
                self.memory.forget(key);
                Err(Refused::TooMany { seconds })
            }
        }
    }
}

/// What was verified lately.
struct Memory {
    /// Of this process alone, so that nobody can look for a password in what is remembered.
    secret: [u8; 32],
    outcomes: Mutex<HashMap<Key, Outcome>>,
}

/// A keyed hash of a name, a password and the entry that it was held against.
type Key = [u8; 32];

struct Outcome {
    /// Empty while the first of its kind is verified; the others wait for that.
    is_right: Arc<OnceCell<bool>>,
    until: Instant,
}

impl Memory {
    fn new() -> Result<Self, Failure> {
        let mut secret = [0; 32];
        rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| anyhow::Error::new(error).context("cannot get random bytes"))?;
        Ok(Self { secret, outcomes: Mutex::default() })
    }

    /// `entry` is `None` for a name that nobody has; a name that somebody gets is another key.
    fn key(&self, credential: &Credential, entry: Option<&str>) -> Key {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("a key of 32 bytes");
        for part in [&credential.name, &credential.password, entry.unwrap_or_default()] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    /// Where the outcome is, or will be.
    fn outcome(&self, key: Key, now: Instant) -> Arc<OnceCell<bool>> {
        let mut outcomes = self.lock();
        if let Some(outcome) = outcomes.get(&key).filter(|outcome| now < outcome.until) {
            return Arc::clone(&outcome.is_right);
        }
        if outcomes.len() >= MAX_REMEMBERED {
            outcomes.retain(|_, outcome| now < outcome.until);
        }
        if outcomes.len() >= MAX_REMEMBERED {
            // To verify anew costs time, and to remember without end costs more.
            outcomes.clear();
        }
        let is_right = Arc::<OnceCell<bool>>::default();
        let until = now + REMEMBER_RIGHT;
        outcomes.insert(key, Outcome { is_right: Arc::clone(&is_right), until });
        is_right
    }

    /// From here the time counts in which it is remembered.
    fn settle(&self, key: Key, is_right: bool, now: Instant) {
        if let Some(outcome) = self.lock().get_mut(&key) {
            outcome.until = now + if is_right { REMEMBER_RIGHT } else { REMEMBER_WRONG };
        }
    }

    /// Forgets one that has no outcome.
    fn forget(&self, key: Key) {
        let mut outcomes = self.lock();
        if outcomes.get(&key).is_some_and(|outcome| !outcome.is_right.initialized()) {
            outcomes.remove(&key);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Outcome>> {
        // Nothing panics while it is held.
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory(…)")
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::password::{Password, Scheme},
        *,
    };

    /// Alice, whose password is `hunter2`, and the folder of her file.
    fn alice() -> (tempfile::TempDir, Users) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("htpasswd");
        let hash = Password::hash("hunter2", Scheme::Bcrypt).unwrap();
        std::fs::write(&file, format!("alice:{}\n", hash.as_str())).unwrap();
        (folder, Users::load(file).unwrap())
    }

    /// A hundred requests at once, from elsewhere.
    async fn herd(users: &Users, name: &str, password: &str) -> Vec<Result<Verified, Refused>> {
        let credential = Credential { name: name.to_owned(), password: password.to_owned() };
        let from = "203.0.113.7".parse().unwrap();
        futures_util::future::join_all((0..100).map(|_| users.verify(&credential, from))).await
    }

    #[tokio::test]
    async fn those_who_come_at_once_wait_for_one_verification() {
        let (_folder, users) = alice();
        // More than anybody may guess: each of them for itself would be too many.
        let outcomes = herd(&users, "alice", "hunter2").await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Verified(name)) if **name == *"alice")));
        for (name, password) in [("alice", "hunter3"), ("bob", "hunter2")] {
            let outcomes = herd(&users, name, password).await;
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Refused::Wrong))), "{name}");
        }
    }

    #[tokio::test]
    async fn whoever_guesses_forgets_nothing_of_others() {
        let (_folder, users) = alice();
        let mut outcomes = Vec::new();
        for guess in 0..12 {
            outcomes.extend(herd(&users, "alice", &guess.to_string()).await.pop());
        }
        assert!(matches!(outcomes[0], Err(Refused::Wrong)));
        assert!(matches!(outcomes[11], Err(Refused::TooMany { seconds: 1..=6 })), "{:?}", outcomes[11]);
        // What had no outcome is not kept: it would say of a later, right one that it is on its way.
        assert!(users.memory.lock().values().all(|outcome| outcome.is_right.initialized()));
        // From elsewhere she logs in, and from here as well from then on.
        let credential = Credential { name: "alice".to_owned(), password: "hunter2".to_owned() };
        let elsewhere = "203.0.113.8".parse().unwrap();
        assert!(users.verify(&credential, elsewhere).await.is_ok());
        assert!(herd(&users, "alice", "hunter2").await.iter().all(Result::is_ok));
    }
}
