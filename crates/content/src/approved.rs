//! What is approved, as a file: digests, the newest first, perhaps with kind, platform and time, perhaps signed.
//!
//! Two forms are read. The one of other launchers is a bare list, and digests in it may lack their `sha256:`:
//!
//! ```json
//! {"approved_hashes":["sha256:…","sha256:…"]}
//! ```
//!
//! Pier's own says more, has a version that only goes up, may say until when it counts, and can be signed:
//!
//! ```json
//! {"format":"pier-approved/1","version":3,"expires":"2027-01-01T00:00:00Z","approved":[
//!   {"digest":"sha256:…","kind":"manifest","platform":"linux/amd64",
//!    "not_before":"2026-11-21T00:00:00Z","not_after":"2027-01-01T00:00:00Z","note":"release 12"}],
//!  "signature":{"key":"…","value":"…"}}
//! ```
//!
//! A signature is over the [canonical form](ApprovedList::canonical), which is the same however the file was laid out, and whose digest is
//! what a measured machine records. What a reader does not understand, or what two readers could read differently, is an error: a list
//! that cannot be read approves nothing.
//!
//! The version keeps a list that was accepted from being followed by an older one. It cannot tell that there is a newer one which somebody
//! withholds; for that a list can expire.

use std::time::{Duration, SystemTime};

use pier_oci::{Digest, Platform};
use serde::{Deserialize, Serialize};

use crate::{Approval, verify::runs};

mod signature;
mod written;

pub use signature::{PublicKey, SigningKey};
pub use written::{bare, time};

/// Bytes that a file may have.
pub const MAX_APPROVED_BYTES: u64 = 1 << 20;

/// A file of approved digests. What it says changes by its verbs alone, so that no change keeps the version or a signature of before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovedList {
    form: Form,
    /// The newest first.
    entries: Vec<ApprovedEntry>,
    signature: Option<Signature>,
}

/// How a file of approved digests is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `approved_hashes` and nothing else.
    Bare,
    /// Pier's own.
    Pier {
        /// Counts the changes.
        version: u64,
        /// Until when the list counts, in whole seconds; the second itself is included.
        expires: Option<SystemTime>,
    },
}

/// One digest of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovedEntry {
    /// What is approved, and as what.
    pub approval: Approval,
    /// From when on, in whole seconds.
    pub not_before: Option<SystemTime>,
    /// Until when, in whole seconds; the second itself is included.
    pub not_after: Option<SystemTime>,
    /// For people.
    pub note: Option<String>,
}

/// Who says to have signed a list, and with what. Nobody has checked that yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    key: PublicKey,
    value: String,
}

/// Which of the approved digests count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The newest that is in force: what is to be launched.
    Newest,
    /// This one, which has to be among those in force.
    Override(&'a Digest),
    /// Whichever is in force.
    Any,
}

/// The version of a list that was accepted before, to hold the next one against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Its version.
    pub version: u64,
    /// The digest of its canonical form.
    pub digest: Digest,
}

/// Why a list approves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovedError {
    /// It cannot be read.
    #[error("not a list of approved digests: {reason}")]
    Malformed {
        /// What is wrong, and where.
        reason: String,
    },
    /// It can be read and has nothing in it.
    #[error("the list of approved digests is empty")]
    Empty,
    /// It counts no more: whoever carries it keeps the next one back, or nobody made one.
    #[error("the list of approved digests expired at {}", humantime::format_rfc3339_seconds(*expires))]
    Expired {
        /// Until when it counted.
        expires: SystemTime,
    },
    /// Nothing in it is in force now, for this platform.
    #[error("none of the {known} approved digests is in force now for this platform")]
    NoneInForce {
        /// How many there are.
        known: usize,
    },
    /// The override is not among those in force.
    #[error("`{digest}` is not among the approved digests that are in force")]
    NotListed {
        /// The override.
        digest: Digest,
    },
    /// There is no signature, and a key says that there has to be one.
    #[error("the list of approved digests is not signed")]
    Unsigned,
    /// Somebody else signed it.
    #[error("the list of approved digests is signed by another key, `{key}`")]
    AnotherKey {
        /// The key that it says.
        key: PublicKey,
    },
    /// It is not what was signed.
    #[error("the signature of the list of approved digests is wrong")]
    BadSignature,
    /// It is older than what was accepted before.
    #[error("the list of approved digests has version {found}, and version {accepted} was accepted before")]
    RolledBack {
        /// The version that it has.
        found: u64,
        /// The version that it has to have at least.
        accepted: u64,
    },
    /// It has the version of another list that was accepted before.
    #[error("there are two lists of approved digests with version {version}")]
    Forked {
        /// The version of both.
        version: u64,
    },
    /// A bare list cannot say that.
    #[error("a bare list of hashes has no place for {what}")]
    NoPlace {
        /// What it cannot say.
        what: &'static str,
    },
    /// It cannot be changed any more: its version is the last that there is.
    #[error("the list of approved digests has had its last version")]
    LastVersion,
    /// A key that is none.
    #[error("not {expected}: {reason}")]
    Key {
        /// What it has to be.
        expected: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
}

impl ApprovedError {
    /// Whether somebody has to be distrusted, rather than a file to be corrected.
    pub fn is_distrust(&self) -> bool {
        matches!(
            self,
            Self::Unsigned
                | Self::AnotherKey { .. }
                | Self::BadSignature
                | Self::RolledBack { .. }
                | Self::Forked { .. }
                | Self::Expired { .. }
        )
    }
}

impl ApprovedList {
    /// One with nothing in it, in Pier's own form.
    pub fn new() -> Self {
        Self { form: Form::Pier { version: 0, expires: None }, entries: Vec::new(), signature: None }
    }

    /// A bare one with nothing in it.
    pub fn bare() -> Self {
        Self { form: Form::Bare, ..Self::new() }
    }

    /// How it is written.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Counts the changes; `None` of a bare list.
    pub fn version(&self) -> Option<u64> {
        match self.form {
            Form::Bare => None,
            Form::Pier { version, .. } => Some(version),
        }
    }

    /// Until when it counts; `None` when that has no end.
    pub fn expires(&self) -> Option<SystemTime> {
        match self.form {
            Form::Bare => None,
            Form::Pier { expires, .. } => expires,
        }
    }

    /// What is in it, the newest first.
    pub fn entries(&self) -> &[ApprovedEntry] {
        &self.entries
    }

    /// Reads a file. An empty list is read: whether nothing may be approved is a question for [`approvals`](Self::approvals).
    ///
    /// # Errors
    /// [`Malformed`](ApprovedError::Malformed).
    pub fn parse(bytes: &[u8]) -> Result<Self, ApprovedError> {
        let malformed = |reason: String| ApprovedError::Malformed { reason };
        if bytes.len() as u64 > MAX_APPROVED_BYTES {
            return Err(malformed(format!("it has more than {MAX_APPROVED_BYTES} bytes")));
        }
        written::read(bytes).map_err(malformed)
    }

    /// What counts of it, at this time and for this platform.
    ///
    /// # Errors
    /// When nothing does. A list that is empty, expired or without the override approves nothing, and nothing else takes its place.
    pub fn approvals(
        &self,
        choice: Choice<'_>,
        platform: &Platform,
        now: SystemTime,
    ) -> Result<Vec<Approval>, ApprovedError> {
        if self.entries.is_empty() {
            return Err(ApprovedError::Empty);
        }
        if let Some(expires) = self.expires().filter(|expires| is_over(*expires, now)) {
            return Err(ApprovedError::Expired { expires });
        }
        let mut in_force: Vec<Approval> = self
            .entries
            .iter()
            .filter(|entry| entry.is_in_force(now))
            .map(|entry| &entry.approval)
            .filter(|approval| approval.platform.as_ref().is_none_or(|wanted| runs(platform, wanted)))
            .cloned()
            .collect();
        match choice {
            Choice::Override(digest) => {
                in_force.retain(|approval| approval.digest == *digest);
                if in_force.is_empty() {
                    return Err(ApprovedError::NotListed { digest: *digest });
                }
            }
            Choice::Newest => in_force.truncate(1),
            Choice::Any => {}
        }
        if in_force.is_empty() {
            return Err(ApprovedError::NoneInForce { known: self.entries.len() });
        }
        Ok(in_force)
    }

    /// Puts an entry in front, as the newest; one of the same digest, kind and platform goes. The version goes up and the signature away.
    ///
    /// # Errors
    /// [`LastVersion`](ApprovedError::LastVersion), as of every change.
    pub fn add(&mut self, entry: ApprovedEntry) -> Result<(), ApprovedError> {
        self.change()?;
        self.entries.retain(|known| known.approval != entry.approval);
        self.entries.insert(0, entry);
        Ok(())
    }

    /// The same, and what was approved before for this platform counts until `end` at most: time for machines to go over to the new one.
    ///
    /// # Errors
    /// [`NoPlace`](ApprovedError::NoPlace) for a bare list, where an entry has no end.
    pub fn add_in_place(&mut self, entry: ApprovedEntry, end: SystemTime) -> Result<(), ApprovedError> {
        if self.form == Form::Bare {
            return Err(ApprovedError::NoPlace { what: "the end of an entry" });
        }
        let platform = entry.approval.platform.clone();
        self.add(entry)?;
        let end = whole_seconds(end);
        for older in self.entries.iter_mut().skip(1).filter(|older| older.approval.platform == platform) {
            older.not_after = Some(older.not_after.map_or(end, |known| known.min(end)));
        }
        Ok(())
    }

    /// Takes all entries of a digest away; says whether there was one.
    pub fn remove(&mut self, digest: &Digest) -> Result<bool, ApprovedError> {
        if self.entries.iter().all(|entry| entry.approval.digest != *digest) {
            return Ok(false);
        }
        self.change()?;
        self.entries.retain(|entry| entry.approval.digest != *digest);
        Ok(true)
    }

    /// Says until when it counts. Two lists of one version would be two lists, so the version goes up when that is another time than before.
    ///
    /// # Errors
    /// [`NoPlace`](ApprovedError::NoPlace) for a bare list.
    pub fn expire(&mut self, end: SystemTime) -> Result<(), ApprovedError> {
        let end = Some(whole_seconds(end));
        if self.expires() == end {
            return Ok(());
        }
        self.change()?;
        match &mut self.form {
            Form::Bare => return Err(ApprovedError::NoPlace { what: "a time at which it expires" }),
            Form::Pier { expires, .. } => *expires = end,
        }
        Ok(())
    }

    fn change(&mut self) -> Result<(), ApprovedError> {
        if let Form::Pier { version, .. } = &mut self.form {
            *version = version.checked_add(1).ok_or(ApprovedError::LastVersion)?;
        }
        self.signature = None;
        Ok(())
    }

    /// The one way in which its content is written: JSON without spaces, members in the order of their names, digests whole, times in whole
    /// seconds of UTC, without the signature.
    pub fn canonical(&self) -> Vec<u8> {
        written::canonical(self)
    }

    /// What the canonical form hashes to: what a machine measures.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.canonical())
    }

    /// The file, for people to read, with its signature.
    pub fn to_file(&self) -> Vec<u8> {
        written::file(self)
    }

    /// Signs the canonical form.
    ///
    /// # Errors
    /// [`NoPlace`](ApprovedError::NoPlace) for a bare list.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), ApprovedError> {
        if self.form == Form::Bare {
            return Err(ApprovedError::NoPlace { what: "a signature" });
        }
        let value = key.sign(&self.canonical());
        self.signature = Some(Signature { key: key.public(), value });
        Ok(())
    }

    /// Who it says has signed it; nobody has checked that.
    pub fn signed_by(&self) -> Option<&PublicKey> {
        self.signature.as_ref().map(|signature| &signature.key)
    }

    /// Checks the signature, by this key and no other, and that the list is no older than what was accepted before. What is given back is to
    /// be remembered before anything is done with the list.
    ///
    /// # Errors
    /// When it is not to be trusted; see [`ApprovedError::is_distrust`].
    pub fn accept(&self, key: &PublicKey, before: Option<&Accepted>) -> Result<Accepted, ApprovedError> {
        let Some(signature) = &self.signature else { return Err(ApprovedError::Unsigned) };
        if signature.key != *key {
            return Err(ApprovedError::AnotherKey { key: signature.key.clone() });
        }
        key.verify(&self.canonical(), &signature.value)?;
        let found = Accepted { version: self.version().unwrap_or_default(), digest: self.digest() };
        match before {
            Some(before) if before.version > found.version => {
                Err(ApprovedError::RolledBack { found: found.version, accepted: before.version })
            }
            Some(before) if before.version == found.version && before.digest != found.digest => {
                Err(ApprovedError::Forked { version: found.version })
            }
            _ => Ok(found),
        }
    }
}

impl ApprovedEntry {
    /// One that is always in force.
    pub fn new(approval: Approval) -> Self {
        Self { approval, not_before: None, not_after: None, note: None }
    }

    /// Whether it counts at this time.
    pub fn is_in_force(&self, now: SystemTime) -> bool {
        self.not_before.is_none_or(|start| start <= now)
            && self.not_after.is_none_or(|end| !is_over(end, now))
    }
}

impl Default for ApprovedList {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a second has passed.
fn is_over(second: SystemTime, now: SystemTime) -> bool {
    second.checked_add(Duration::from_secs(1)).is_some_and(|end| end <= now)
}

/// A time as it is written: what is read again is what was meant.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests;
