//! What is approved, as a file: digests, the newest first, perhaps with kind, platform and time, perhaps signed.
//!
//! Two forms are read. The one of other launchers is a bare list, and digests in it may lack their `sha256:`:
//!
//! ```json
//! {"approved_hashes":["sha256:…","sha256:…"]}
//! ```
//!
//! Pier's own says more, has a version that only goes up, and can be signed:
//!
//! ```json
//! {"format":"pier-approved/1","version":3,"approved":[
//!   {"digest":"sha256:…","kind":"manifest","platform":"linux/amd64",
//!    "not_before":"2026-11-21T00:00:00Z","not_after":"2027-01-01T00:00:00Z","note":"release 12"}],
//!  "signature":{"key":"…","value":"…"}}
//! ```
//!
//! A signature is over the [canonical form](ApprovedList::canonical), which is the same however the file was laid out, and whose digest is
//! what a measured machine records. What a reader does not understand, or what two readers could read differently, is an error: a list
//! that cannot be read approves nothing.

use std::time::{Duration, SystemTime};

use pier_oci::{Algorithm, Digest, DigestError, Platform, json};
use serde::{Deserialize, Serialize};

use crate::{Approval, DigestKind, verify::runs};

mod signature;

pub use signature::{PublicKey, SigningKey};

/// Bytes that a file may have.
pub const MAX_APPROVED_BYTES: u64 = 1 << 20;

/// What the `format` of Pier's own form says.
const FORMAT: &str = "pier-approved/1";

/// A file of approved digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovedList {
    /// How it is written.
    pub form: Form,
    /// Counts the changes; always zero in a bare list.
    pub version: u64,
    /// The newest first.
    pub entries: Vec<ApprovedEntry>,
    signature: Option<Signature>,
}

/// How a file of approved digests is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `approved_hashes` and nothing else.
    Bare,
    /// Pier's own.
    Pier,
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    key: String,
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
        key: String,
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
        )
    }
}

impl ApprovedList {
    /// One with nothing in it.
    pub fn new(form: Form) -> Self {
        Self { form, version: 0, entries: Vec::new(), signature: None }
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
        let written: Written = json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        written.read().map_err(malformed)
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
    pub fn add(&mut self, entry: ApprovedEntry) {
        self.entries.retain(|known| known.approval != entry.approval);
        self.entries.insert(0, entry);
        self.changed();
    }

    /// Takes all entries of a digest away; says whether there was one.
    pub fn remove(&mut self, digest: &Digest) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.approval.digest != *digest);
        let removed = self.entries.len() < before;
        if removed {
            self.changed();
        }
        removed
    }

    fn changed(&mut self) {
        if self.form == Form::Pier {
            self.version += 1;
        }
        self.signature = None;
    }

    /// The one way in which its content is written: JSON without spaces, members in the order of their names, digests whole, times in whole
    /// seconds of UTC, without the signature.
    pub fn canonical(&self) -> Vec<u8> {
        self.written(None, &serde_json::to_vec)
    }

    /// What the canonical form hashes to: what a machine measures.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.canonical())
    }

    /// The file, for people to read, with its signature.
    pub fn to_file(&self) -> Vec<u8> {
        let mut bytes = self.written(self.signature.clone(), &serde_json::to_vec_pretty);
        bytes.push(b'\n');
        bytes
    }

    #[expect(clippy::expect_used, reason = "texts and numbers become JSON in any case")]
    fn written(
        &self,
        signature: Option<Signature>,
        write: &dyn Fn(&Written) -> serde_json::Result<Vec<u8>>,
    ) -> Vec<u8> {
        let written = match self.form {
            Form::Bare => Written {
                approved_hashes: Some(
                    self.entries.iter().map(|entry| entry.approval.digest.to_string()).collect(),
                ),
                ..Written::default()
            },
            Form::Pier => Written {
                approved: Some(self.entries.iter().map(WrittenEntry::of).collect()),
                format: Some(FORMAT.to_owned()),
                version: Some(self.version),
                signature,
                ..Written::default()
            },
        };
        write(&written).expect("it is JSON")
    }

    /// Signs the canonical form.
    ///
    /// # Errors
    /// [`Malformed`](ApprovedError::Malformed) for a bare list, which has no place for a signature.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), ApprovedError> {
        if self.form == Form::Bare {
            let reason = "a bare list of hashes has no place for a signature".to_owned();
            return Err(ApprovedError::Malformed { reason });
        }
        let value = key.sign(&self.canonical());
        self.signature = Some(Signature { key: key.public().to_string(), value });
        Ok(())
    }

    /// Who it says has signed it; nobody has checked that.
    pub fn signed_by(&self) -> Option<&str> {
        self.signature.as_ref().map(|signature| &*signature.key)
    }

    /// Checks the signature, by this key and no other, and that the list is no older than what was accepted before. What is given back is to
    /// be remembered before anything is done with the list.
    ///
    /// # Errors
    /// When it is not to be trusted; see [`ApprovedError::is_distrust`].
    pub fn accept(&self, key: &PublicKey, before: Option<&Accepted>) -> Result<Accepted, ApprovedError> {
        let Some(signature) = &self.signature else { return Err(ApprovedError::Unsigned) };
        if signature.key != key.to_string() {
            return Err(ApprovedError::AnotherKey { key: signature.key.clone() });
        }
        key.verify(&self.canonical(), &signature.value)?;
        let found = Accepted { version: self.version, digest: self.digest() };
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
        let second = Duration::from_secs(1);
        self.not_before.is_none_or(|start| start <= now)
            && self.not_after.is_none_or(|end| end.checked_add(second).is_none_or(|end| now < end))
    }
}

/// A file as it is written. Members are in the order of their names, which is the canonical one.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<Vec<WrittenEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_hashes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<DigestKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
}

impl Written {
    fn read(self) -> Result<ApprovedList, String> {
        match self {
            Self {
                approved: None,
                approved_hashes: Some(hashes),
                format: None,
                signature: None,
                version: None,
            } => {
                let entries = hashes
                    .iter()
                    .map(|hash| Ok(ApprovedEntry::new(Approval::of(bare(hash)?))))
                    .collect::<Result<_, DigestError>>()
                    .map_err(|error| error.to_string())?;
                Ok(ApprovedList { form: Form::Bare, version: 0, entries, signature: None })
            }
            Self {
                approved: Some(entries),
                approved_hashes: None,
                format: Some(format),
                signature,
                version: Some(version),
            } => {
                if format != FORMAT {
                    return Err(format!("its format is `{}` and not `{FORMAT}`", format.escape_debug()));
                }
                let entries = entries.into_iter().map(WrittenEntry::read).collect::<Result<_, String>>()?;
                Ok(ApprovedList { form: Form::Pier, version, entries, signature })
            }
            _ => {
                Err("it has neither `approved_hashes` alone nor `format`, `version` and `approved`"
                    .to_owned())
            }
        }
    }
}

/// A digest that may be written without its algorithm.
pub fn bare(text: &str) -> Result<Digest, DigestError> {
    match text.parse() {
        Err(DigestError::NoAlgorithm { .. }) => format!("{}:{text}", Algorithm::Sha256).parse(),
        parsed => parsed,
    }
}

impl WrittenEntry {
    fn of(entry: &ApprovedEntry) -> Self {
        let ApprovedEntry { approval, not_before, not_after, note } = entry;
        let written = |time: &SystemTime| humantime::format_rfc3339_seconds(*time).to_string();
        Self {
            digest: approval.digest,
            kind: approval.kind,
            not_after: not_after.as_ref().map(written),
            not_before: not_before.as_ref().map(written),
            note: note.clone(),
            platform: approval.platform.as_ref().map(ToString::to_string),
        }
    }

    fn read(self) -> Result<ApprovedEntry, String> {
        let Self { digest, kind, not_after, not_before, note, platform } = self;
        let platform = platform.map(|text| text.parse()).transpose().map_err(|error| format!("{error}"))?;
        Ok(ApprovedEntry {
            approval: Approval { digest, kind, platform },
            not_before: not_before.as_deref().map(time).transpose()?,
            not_after: not_after.as_deref().map(time).transpose()?,
            note,
        })
    }
}

/// A time as `2026-11-21T09:00:00Z`, in whole seconds.
pub fn time(text: &str) -> Result<SystemTime, String> {
    let wrong = || format!("`{}` is not a time like `2026-11-21T09:00:00Z`", text.escape_debug());
    let time = humantime::parse_rfc3339(text).map_err(|_| wrong())?;
    // One spelling, so that the canonical form says what the file says.
    if humantime::format_rfc3339_seconds(time).to_string() == text { Ok(time) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests;
