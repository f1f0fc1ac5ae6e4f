//! `pier approve`
//!
//! Each change is made on what was read while nobody else could change it, and written whole: a launcher that reads meanwhile sees the list
//! before or the list after. Nothing else runs while a command here waits, so all of it may block.

use std::{
    ffi::OsString,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow};
use pier_content::{
    Approval, ApprovedEntry, ApprovedList, DigestKind,
    approved::{Form, SigningKey},
};
use pier_oci::Digest;
use serde::Serialize;

use crate::{
    approvals::{self, Changing, Readers},
    cli::{self, Approve, ApproveAdd, ApproveKeygen, ApproveList, ApproveRemove, ApproveSign, Approving},
    failure::{Failure, Status},
    output::{self, Output},
};

/// From 1970 to the year 10000: what is before that can be written as a time.
const LAST_TIME: Duration = Duration::from_hours(70_389_528);

/// A list, as it is now.
#[derive(Debug, Serialize)]
struct Report {
    file: PathBuf,
    /// Of the canonical form.
    digest: Digest,
    /// `null` of a bare list.
    version: Option<u64>,
    /// Until when it counts; `null` when that has no end.
    expires: Option<String>,
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
    let ApproveAdd { file, digest, kind, platform, not_before, not_after, grace, note, bare } = options;
    let changing = Changing::begin(file)?;
    let new = || if *bare { ApprovedList::bare() } else { ApprovedList::new() };
    let mut list = approvals::read(file)?.unwrap_or_else(new);
    let kind = kind.digest_kind();
    let entry = ApprovedEntry {
        approval: Approval { digest: *digest, kind, platform: platform.clone() },
        not_before: *not_before,
        not_after: *not_after,
        note: note.clone(),
    };
    if list.form() == Form::Bare && entry != ApprovedEntry::new(Approval::of(*digest)) {
        let error = anyhow!("`{}` is a bare list of hashes, which can say digests only", file.display());
        return Err(
            Failure::new(Status::Usage, error).with_hint("leave the options out, or begin a new file")
        );
    }
    if list.form() != Form::Bare && *bare {
        let error = anyhow!("`{}` is no bare list of hashes", file.display());
        return Err(Failure::new(Status::Usage, error).with_hint("leave out --bare, or begin a new file"));
    }
    match grace {
        None => list.add(entry)?,
        Some(grace) => {
            // Until the new one counts nothing takes the place of the older ones.
            let begins = not_before.unwrap_or(UNIX_EPOCH).max(SystemTime::now());
            let end =
                begins.checked_add(*grace).filter(|end| *end < UNIX_EPOCH + LAST_TIME).ok_or_else(|| {
                    Failure::new(Status::Usage, anyhow!("--grace ends at no time that a list can say"))
                })?;
            list.add_in_place(entry, end)?;
        }
    }
    write(&changing, file, &list, output)
}

fn remove(options: &ApproveRemove, output: &Output) -> Result<Status, Failure> {
    let ApproveRemove { file, digest, allow_empty } = options;
    let changing = Changing::begin(file)?;
    let mut list = approvals::read_existing(file)?;
    if !list.remove(digest)? {
        let error = anyhow!("`{}` does not have `{digest}`", file.display());
        return Err(Failure::new(Status::No, error));
    }
    if list.entries().is_empty() && !*allow_empty {
        let error = anyhow!("`{digest}` is the last that `{}` approves", file.display());
        return Err(Failure::new(Status::Usage, error).with_hint(
            "add the next one first; --allow-empty leaves a list with which nothing can be launched",
        ));
    }
    write(&changing, file, &list, output)
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
    let ApproveSign { file, key, expires } = options;
    let changing = Changing::begin(file)?;
    let mut list = approvals::read_existing(file)?;
    if let Some(end) = expires {
        list.expire(*end)?;
    }
    list.sign(&approvals::signing_key(key)?)?;
    write(&changing, file, &list, output)
}

fn keygen(options: &ApproveKeygen) -> Result<Status, Failure> {
    let private = &options.file;
    let mut public = OsString::from(private);
    public.push(".pub");
    let public = PathBuf::from(public);
    let key = SigningKey::generate()?;
    create(private, key.to_pem()?.as_bytes(), Readers::Owner)?;
    if let Err(failure) = create(&public, key.public().to_pem().as_bytes(), Readers::All) {
        // A private key without its public one is of no use, and in the way of the next attempt. The failure says more than one of this.
        let _ = fs::remove_file(private);
        return Err(failure);
    }
    output::line(&public.display().to_string())?;
    Ok(Status::Done)
}

/// A key is never overwritten.
fn create(file: &Path, content: &[u8], readers: Readers) -> Result<(), Failure> {
    approvals::create(file, content, readers).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            let error = anyhow!("`{}` is there already", file.display());
            Failure::new(Status::Usage, error).with_hint("a key that is lost cannot be made again")
        }
        _ => anyhow!(error).context(format!("cannot write the key to `{}`", file.display())).into(),
    })
}

fn write(changing: &Changing, file: &Path, list: &ApprovedList, output: &Output) -> Result<Status, Failure> {
    changing.write(list).with_context(|| format!("cannot write `{}`", file.display()))?;
    show(file, list, output)?;
    Ok(Status::Done)
}

fn show(file: &Path, list: &ApprovedList, output: &Output) -> Result<(), Failure> {
    let now = SystemTime::now();
    let is_over = list.expires().is_some_and(|end| end <= now);
    let time = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    let report = Report {
        file: file.to_owned(),
        digest: list.digest(),
        version: list.version(),
        expires: list.expires().map(time),
        signed_by: list.signed_by().map(ToString::to_string),
        approved: list
            .entries()
            .iter()
            .map(|entry| Entry {
                digest: entry.approval.digest,
                kind: entry.approval.kind,
                platform: entry.approval.platform.as_ref().map(ToString::to_string),
                not_before: entry.not_before.map(time),
                not_after: entry.not_after.map(time),
                in_force: !is_over && entry.is_in_force(now),
                note: entry.note.clone(),
            })
            .collect(),
    };
    output.data(&report, text)
}

fn text(report: &Report) -> String {
    let version = report.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
    let signed = report.signed_by.as_deref().unwrap_or("nobody");
    let expires = report.expires.as_ref().map_or_else(String::new, |end| format!(", expires {end}"));
    let head = format!("list {}\nversion {version}, signed by {signed}{expires}\n", report.digest);
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
