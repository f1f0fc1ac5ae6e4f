//! Verifying passwords without being slowed by it, or overrun.
//!
//! A hash is slow so that whoever steals the file guesses slowly. A registry is asked a thousand times a second by the same
//! client, so what was verified is remembered for a while, under a keyed hash of name, password and the file's entry: the password is
//! kept nowhere, and a changed entry is another key. Requests that come while the first of their kind is verified wait for that one.
//!
//! Verification takes turns ([`Turns`]): a few at once, on blocking threads. A flood of guesses shares them, and each guesser gets fewer and
//! fewer. A name that nobody has costs the time of one that somebody has.

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
    Denied,
    credential::Credential,
    htpasswd::Htpasswd,
    password::Password,
    turns::{Guesser, Outcome, TooMany, Turns},
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
    file: Arc<Watched<Htpasswd, 1>>,
    memory: Memory,
    turns: Turns,
}

impl Users {
    /// Reads the file. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, or has a line that cannot.
    pub(crate) fn load(file: PathBuf) -> Result<Self, Failure> {
        let named = file.clone();
        let parse = move |[content]: &[Vec<u8>; 1]| Htpasswd::parse(&named, content);
        let file = Watched::load("htpasswd file", [file], MAX_BYTES, parse)?;
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

    /// Lets somebody in who is who they say. `from` is where they guess from, if they do.
    pub(super) async fn verify(&self, credential: &Credential, from: IpAddr) -> Result<(), Denied> {
        let file = self.file.current();
        let entry = file.entry(&credential.name);
        let key = self.memory.key(credential, entry.map(Password::as_str));
        let remembered = self.memory.outcome(key, Instant::now());
        let outcome = remembered
            .get_or_try_init(async || {
                let guesser = Guesser::new(from, &credential.name);
                let given = credential.password.clone();
                let (password, is_known) = (entry.unwrap_or(file.decoy()).clone(), entry.is_some());
                // The password of somebody unknown is verified all the same, for the time that it takes.
                let verify = move || match (password.is(&given), is_known) {
                    (true, true) => Outcome::Right,
                    _ => Outcome::Wrong,
                };
                let outcome = self.turns.guess(guesser, verify).await?;
                self.memory.settle(key, outcome, Instant::now());
                Ok(outcome)
            })
            .await;
        match outcome {
            Ok(Outcome::Right) => Ok(()),
            Ok(Outcome::Wrong) => Err(Denied::Wrong),
            Err(TooMany { seconds }) => {
                self.memory.forget(key);
                Err(Denied::TooMany { seconds })
            }
        }
    }
}

/// What was verified lately.
struct Memory {
    /// Of this process alone, so that nobody can look for a password in what is remembered.
    secret: [u8; 32],
    outcomes: Mutex<HashMap<Key, Remembered>>,
}

/// A keyed hash of a name, a password and the entry that it was held against.
type Key = [u8; 32];

struct Remembered {
    /// Empty while the first of its kind is verified; the others wait for that.
    outcome: Arc<OnceCell<Outcome>>,
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
    fn outcome(&self, key: Key, now: Instant) -> Arc<OnceCell<Outcome>> {
        let mut outcomes = self.lock();
        if let Some(remembered) = outcomes.get(&key).filter(|remembered| now < remembered.until) {
            return Arc::clone(&remembered.outcome);
        }
        if outcomes.len() >= MAX_REMEMBERED {
            outcomes.retain(|_, remembered| now < remembered.until);
        }
        if outcomes.len() >= MAX_REMEMBERED {
            // To verify anew costs time, and to remember without end costs more.
            outcomes.clear();
        }
        let outcome = Arc::<OnceCell<Outcome>>::default();
        outcomes.insert(key, Remembered { outcome: Arc::clone(&outcome), until: now + REMEMBER_RIGHT });
        outcome
    }

    /// From here the time counts in which it is remembered.
    fn settle(&self, key: Key, outcome: Outcome, now: Instant) {
        if let Some(remembered) = self.lock().get_mut(&key) {
            remembered.until = now
                + match outcome {
                    Outcome::Right => REMEMBER_RIGHT,
                    Outcome::Wrong => REMEMBER_WRONG,
                };
        }
    }

    /// Forgets one that has no outcome.
    fn forget(&self, key: Key) {
        let mut outcomes = self.lock();
        if outcomes.get(&key).is_some_and(|remembered| !remembered.outcome.initialized()) {
            outcomes.remove(&key);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Remembered>> {
        // Nothing panics while it is held.
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::password::Scheme, *};

    /// Alice, whose password is `hunter2`, and the folder of her file.
    fn alice() -> (tempfile::TempDir, Users) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("htpasswd");
        let hash = Password::hash("hunter2", Scheme::Bcrypt).unwrap();
        std::fs::write(&file, format!("alice:{}\n", hash.as_str())).unwrap();
        (folder, Users::load(file).unwrap())
    }

    /// A hundred requests at once, from elsewhere.
    async fn herd(users: &Users, name: &str, password: &str) -> Vec<Result<(), Denied>> {
        let credential = Credential { name: name.to_owned(), password: password.to_owned() };
        let from = "203.0.113.7".parse().unwrap();
        futures_util::future::join_all((0..100).map(|_| users.verify(&credential, from))).await
    }

    #[tokio::test]
    async fn those_who_come_at_once_wait_for_one_verification() {
        let (_folder, users) = alice();
        // More than anybody may guess: each of them for itself would be too many.
        let outcomes = herd(&users, "alice", "hunter2").await;
        assert!(outcomes.iter().all(Result::is_ok));
        for (name, password) in [("alice", "hunter3"), ("bob", "hunter2")] {
            let outcomes = herd(&users, name, password).await;
            assert!(outcomes.iter().all(|outcome| *outcome == Err(Denied::Wrong)), "{name}");
        }
    }

    #[tokio::test]
    async fn whoever_guesses_forgets_nothing_of_others() {
        let (_folder, users) = alice();
        let mut outcomes = Vec::new();
        for guess in 0..12 {
            outcomes.extend(herd(&users, "alice", &guess.to_string()).await.pop());
        }
        assert_eq!(outcomes[0], Err(Denied::Wrong));
        assert!(matches!(outcomes[11], Err(Denied::TooMany { seconds: 1..=6 })), "{:?}", outcomes[11]);
        // What had no outcome is not kept: it would say of a later, right one that it is on its way.
        assert!(users.memory.lock().values().all(|remembered| remembered.outcome.initialized()));
        // From elsewhere she logs in, and from here as well from then on.
        let credential = Credential { name: "alice".to_owned(), password: "hunter2".to_owned() };
        let elsewhere = "203.0.113.8".parse().unwrap();
        assert!(users.verify(&credential, elsewhere).await.is_ok());
        assert!(herd(&users, "alice", "hunter2").await.iter().all(Result::is_ok));
    }
}
