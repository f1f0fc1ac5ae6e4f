//! The two forms in which a list of approved digests is written, and the one way in which each is.

use std::time::SystemTime;

use pier_oci::{Algorithm, Digest, DigestError, json};
use serde::{Deserialize, Serialize};

use super::{ApprovedEntry, ApprovedList, Form, PublicKey, Signature};
use crate::{Approval, DigestKind};

/// What the `format` of Pier's own form says.
pub(super) const FORMAT: &str = "pier-approved/1";

/// A file as it is written. Members are in the order of their names, which is the canonical one.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<Vec<WrittenEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_hashes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<WrittenSignature>,
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSignature {
    key: String,
    value: String,
}

/// Reads a file; says what is wrong with it, in characters that can be shown.
pub(super) fn read(bytes: &[u8]) -> Result<ApprovedList, String> {
    let written = json::from_slice::<Written>(bytes).map_err(|error| error.to_string());
    written.and_then(Written::read).map_err(|reason| shown(&reason))
}

/// JSON without spaces, without the signature.
pub(super) fn canonical(list: &ApprovedList) -> Vec<u8> {
    written(list, None, &serde_json::to_vec)
}

/// JSON for people to read, with the signature.
pub(super) fn file(list: &ApprovedList) -> Vec<u8> {
    let mut bytes = written(list, list.signature.as_ref(), &serde_json::to_vec_pretty);
    bytes.push(b'\n');
    bytes
}

#[expect(clippy::expect_used, reason = "texts and numbers become JSON in any case")]
fn written(
    list: &ApprovedList,
    signature: Option<&Signature>,
    write: &dyn Fn(&Written) -> serde_json::Result<Vec<u8>>,
) -> Vec<u8> {
    let written = match list.form {
        Form::Bare => Written {
            approved_hashes: Some(
                list.entries.iter().map(|entry| entry.approval.digest.to_string()).collect(),
            ),
            ..Written::default()
        },
        Form::Pier { version, expires } => Written {
            approved: Some(list.entries.iter().map(WrittenEntry::of).collect()),
            expires: expires.map(time_text),
            format: Some(FORMAT.to_owned()),
            version: Some(version),
            signature: signature.map(WrittenSignature::of),
            ..Written::default()
        },
    };
    write(&written).expect("it is JSON")
}

impl Written {
    fn read(self) -> Result<ApprovedList, String> {
        match self {
            Self {
                approved: None,
                approved_hashes: Some(hashes),
                expires: None,
                format: None,
                signature: None,
                version: None,
            } => {
                let entries = hashes
                    .iter()
                    .map(|hash| Ok(ApprovedEntry::new(Approval::of(bare(hash)?))))
                    .collect::<Result<_, DigestError>>()
                    .map_err(|error| error.to_string())?;
                Ok(ApprovedList { form: Form::Bare, entries, signature: None })
            }
            Self {
                approved: Some(entries),
                approved_hashes: None,
                expires,
                format: Some(format),
                signature,
                version: Some(version),
            } => {
                if format != FORMAT {
                    return Err(format!("its format is `{format}` and not `{FORMAT}`"));
                }
                let entries = entries.into_iter().map(WrittenEntry::read).collect::<Result<_, String>>()?;
                let expires = expires.as_deref().map(time).transpose()?;
                let signature = signature.map(WrittenSignature::read).transpose()?;
                Ok(ApprovedList { form: Form::Pier { version, expires }, entries, signature })
            }
            _ => {
                Err("it has neither `approved_hashes` alone nor `format`, `version` and `approved`"
                    .to_owned())
            }
        }
    }
}

impl WrittenEntry {
    fn of(entry: &ApprovedEntry) -> Self {
        let ApprovedEntry { approval, not_before, not_after, note } = entry;
        Self {
            digest: approval.digest,
            kind: approval.kind,
            not_after: not_after.map(time_text),
            not_before: not_before.map(time_text),
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

impl WrittenSignature {
    fn of(signature: &Signature) -> Self {
        Self { key: signature.key.to_string(), value: signature.value.clone() }
    }

    fn read(self) -> Result<Signature, String> {
        let wrong = || format!("`{}` is no key that a list can be signed with", self.key);
        Ok(Signature { key: PublicKey::from_base64(&self.key).ok_or_else(wrong)?, value: self.value })
    }
}

/// A digest that may be written without its algorithm.
pub fn bare(text: &str) -> Result<Digest, DigestError> {
    match text.parse() {
        Err(DigestError::NoAlgorithm { .. }) => format!("{}:{text}", Algorithm::Sha256).parse(),
        parsed => parsed,
    }
}

/// A time as `2026-11-21T09:00:00Z`, in whole seconds.
pub fn time(text: &str) -> Result<SystemTime, String> {
    let wrong = || format!("`{}` is not a time like `2026-11-21T09:00:00Z`", text.escape_debug());
    let time = humantime::parse_rfc3339(text).map_err(|_| wrong())?;
    // One spelling, so that the canonical form says what the file says.
    if time_text(time) == text { Ok(time) } else { Err(wrong()) }
}

fn time_text(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A text that names what stands in a file, for a terminal that takes no orders from it.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}
