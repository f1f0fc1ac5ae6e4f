//! `pier approve`
//!
//! Each change is made on what was read, and written whole: a launcher that reads meanwhile sees the list before or the list after.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, anyhow};
use pier_content::{Approval, ApprovedEntry, ApprovedList, DigestKind, Form, approved::SigningKey};
use pier_oci::Digest;
use serde::Serialize;

use crate::{
    approvals::{self, Readers},
    cli::{self, Approve, ApproveAdd, ApproveKeygen, ApproveList, ApproveRemove, ApproveSign, Approving},
    failure::{Failure, Status},
    output::{self, Output},
};

/// A list, as it is now.
#[derive(Debug, Serialize)]
struct Report {
    file: PathBuf,
    /// Of the canonical form.
    digest: Digest,
    /// `null` of a bare list.
    version: Option<u64>,
    /// The key that it says; checked only if one was given.
    signed_by: Option<String>,
    approved: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    digest: Digest,
    kind: Option<DigestKind>,
    platform: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    in_force: bool,
    note: Option<String>,
}

pub(crate) fn run(options: &Approve, output: &Output) -> Result<Status, Failure> {
    match &options.what {
        Approving::Add(options) => add(options, output),
        Approving::Remove(options) => remove(options, output),
        Approving::List(options) => list(options, output),
        Approving::Sign(options) => sign(options, output),
        Approving::Keygen(options) => keygen(options),
    }
}

fn add(options: &ApproveAdd, output: &Output) -> Result<Status, Failure> {
    let ApproveAdd { file, digest, kind, platform, not_before, not_after, note, bare } = options;
    let form = if *bare { Form::Bare } else { Form::Pier };
    let mut list = approvals::read(file)?.unwrap_or_else(|| ApprovedList::new(form));
    let kind = kind.digest_kind();
    let entry = ApprovedEntry {
        approval: Approval { digest: *digest, kind, platform: platform.clone() },
        not_before: *not_before,
        not_after: *not_after,
        note: note.clone(),
    };
    if list.form == Form::Bare && entry != ApprovedEntry::new(Approval::of(*digest)) {
        let error = anyhow!("`{}` is a bare list of hashes, which can say digests only", file.display());
        return Err(
            Failure::new(Status::Usage, error).with_hint("leave the options out, or begin a new file")
        );
    }
    if list.form == Form::Pier && *bare {
        let error = anyhow!("`{}` is no bare list of hashes", file.display());
        return Err(Failure::new(Status::Usage, error).with_hint("leave out --bare, or begin a new file"));
    }
    list.add(entry);
    write(file, &list, output)
}

fn remove(options: &ApproveRemove, output: &Output) -> Result<Status, Failure> {
    let ApproveRemove { file, digest } = options;
    let mut list = approvals::read_existing(file)?;
    if !list.remove(digest) {
        let error = anyhow!("`{}` does not have `{digest}`", file.display());
        return Err(Failure::new(Status::No, error));
    }
    write(file, &list, output)
}

fn list(options: &ApproveList, output: &Output) -> Result<Status, Failure> {
    let ApproveList { file, key, canonical } = options;
    let list = approvals::read_existing(file)?;
    if let Some(key) = key {
        list.accept(&approvals::public_key(key)?, None)?;
    }
    if *canonical {
        output::exactly(&list.canonical())?;
    } else {
        show(file, &list, output)?;
    }
    Ok(Status::Done)
}

fn sign(options: &ApproveSign, output: &Output) -> Result<Status, Failure> {
    let ApproveSign { file, key } = options;
    let mut list = approvals::read_existing(file)?;
    list.sign(&approvals::signing_key(key)?)?;
    write(file, &list, output)
}

fn keygen(options: &ApproveKeygen) -> Result<Status, Failure> {
    let private = &options.file;
    let mut public = OsString::from(private);
    public.push(".pub");
    let public = PathBuf::from(public);
    for file in [private, &public] {
        if file.exists() {
            let error = anyhow!("`{}` is there already", file.display());
            return Err(
                Failure::new(Status::Usage, error).with_hint("a key that is lost cannot be made again")
            );
        }
    }
    let key = SigningKey::generate()?;
    let cannot = || format!("cannot write the key to `{}`", private.display());
    approvals::write(private, key.to_pem()?.as_bytes(), Readers::Owner).with_context(cannot)?;
    approvals::write(&public, key.public().to_pem().as_bytes(), Readers::All).with_context(cannot)?;
    output::line(&public.display().to_string())?;
    Ok(Status::Done)
}

fn write(file: &Path, list: &ApprovedList, output: &Output) -> Result<Status, Failure> {
    approvals::write(file, &list.to_file(), Readers::All)
        .with_context(|| format!("cannot write `{}`", file.display()))?;
    show(file, list, output)?;
    Ok(Status::Done)
}

fn show(file: &Path, list: &ApprovedList, output: &Output) -> Result<(), Failure> {
    let now = SystemTime::now();
    let time = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    let report = Report {
        file: file.to_owned(),
        digest: list.digest(),
        version: (list.form == Form::Pier).then_some(list.version),
        signed_by: list.signed_by().map(str::to_owned),
        approved: list
            .entries
            .iter()
            .map(|entry| Entry {
                digest: entry.approval.digest,
                kind: entry.approval.kind,
                platform: entry.approval.platform.as_ref().map(ToString::to_string),
                not_before: entry.not_before.map(time),
                not_after: entry.not_after.map(time),
                in_force: entry.is_in_force(now),
                note: entry.note.clone(),
            })
            .collect(),
    };
    output.data(&report, text)
}

fn text(report: &Report) -> String {
    let version = report.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
    let signed = report.signed_by.as_deref().unwrap_or("nobody");
    let head = format!("list {}\nversion {version}, signed by {signed}\n", report.digest);
    let rows: Vec<Vec<String>> = report
        .approved
        .iter()
        .map(|entry| {
            vec![
                entry.digest.to_string(),
                entry.kind.map_or_else(|| "any".to_owned(), |kind| kind.to_string()),
                entry.platform.clone().unwrap_or_else(|| "-".to_owned()),
                if entry.in_force { "in force" } else { "not in force" }.to_owned(),
                entry.note.as_deref().unwrap_or_default().escape_debug().to_string(),
            ]
        })
        .collect();
    format!("{head}{}", output::table(&rows))
}

impl cli::Kind {
    pub(super) fn digest_kind(self) -> Option<DigestKind> {
        match self {
            Self::Any => None,
            Self::Index => Some(DigestKind::Index),
            Self::Manifest => Some(DigestKind::Manifest),
            Self::Config => Some(DigestKind::Config),
        }
    }
}
