//! Checking the whole store against what it promises. The only code that walks `blobs/`.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use pier_content::{Error, Result};
use pier_oci::{Digest, Hasher};
use rusqlite::Connection;

use crate::{
    Store,
    catalog::{
        blob_rows,
        columns::{self, encode},
        database::During as _,
    },
    collector,
    data_dir::ALGORITHMS,
    store::{Context, blocking},
    sys::{self, At as _, Entry},
};

/// How much of a blob is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// That its file is there and has the right size.
    Sizes,
    /// That it hashes to its name.
    Hashes,
}

/// What to do about what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Only report.
    No,
    /// Forget blobs whose bytes are wrong or missing, so that they can be pushed or pulled again, and remove files
    /// that nothing knows of. What names them stays and is incomplete until then.
    Yes,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finding {
    /// A blob's bytes do not hash to its digest, or are not as many as the catalog says.
    Corrupt {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        reason: String,
    },
    /// The catalog knows a blob whose file is gone.
    FileMissing {
        /// The blob.
        digest: Digest,
    },
    /// A file that neither the catalog nor its review queue knows.
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// A manifest's bytes do not hash to its digest.
    ManifestCorrupt {
        /// The manifest.
        digest: Digest,
    },
    /// The database says that it is damaged.
    Database {
        /// What it says.
        report: String,
    },
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Blobs that were looked at.
    pub blobs: u64,
    /// Bytes that were hashed.
    pub hashed_bytes: u64,
    /// Manifests that were hashed.
    pub manifests: u64,
    /// What is wrong; empty when all is well.
    pub findings: Vec<Finding>,
    /// How many of the findings were repaired.
    pub repaired: u64,
}

/// Rows and files read in one go.
const PAGE: usize = 256;

impl Store {
    /// Checks that every blob is there and is what its name says, that no file lies around, and that manifests and
    /// the database are whole. Safe beside everything else: what changes meanwhile is no finding.
    pub async fn fsck(&self, depth: Depth, repair: Repair) -> Result<Report> {
        let mut report = Report::default();
        self.context.check_database(&mut report).await?;
        let mut after = None;
        loop {
            let page = {
                let after = after.take();
                self.context
                    .catalog
                    .read(move |connection| blob_rows::page(connection, after.as_ref(), PAGE))
                    .await?
            };
            for (digest, size) in &page {
                self.context.check_blob(*digest, *size, depth, repair, &mut report).await?;
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => after = Some(*last),
                _ => break,
            }
        }
        self.context.check_files(repair, &mut report).await?;
        Ok(report)
    }
}

impl Context {
    async fn check_database(&self, report: &mut Report) -> Result<()> {
        let (says, manifests, corrupt) = self
            .catalog
            .read(|connection| {
                let says: String = connection
                    .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
                    .during("check the database")?;
                let (manifests, corrupt) = check_manifests(connection)?;
                Ok((says, manifests, corrupt))
            })
            .await?;
        report.manifests = manifests;
        if says != "ok" {
            report.findings.push(Finding::Database { report: says });
        }
        report.findings.extend(corrupt.into_iter().map(|digest| Finding::ManifestCorrupt { digest }));
        Ok(())
    }

    async fn check_blob(
        self: &Arc<Self>,
        digest: Digest,
        size: u64,
        depth: Depth,
        repair: Repair,
        report: &mut Report,
    ) -> Result<()> {
        let context = Arc::clone(self);
        let checked = blocking(move || Ok(context.look_at(digest, size, depth))).await?;
        report.blobs += 1;
        report.hashed_bytes += checked.hashed_bytes;
        let Some(finding) = checked.finding else { return Ok(()) };
        // What was looked at may have been collected meanwhile, and even have come again: then it is no finding.
        let context = Arc::clone(self);
        let seen = checked.seen;
        let now = self.clock.now();
        let unchanged = move |connection: &Connection| -> Result<bool> {
            Ok(blob_rows::size(connection, &digest)?.is_some()
                && Seen::of(&context.dir.blob(&digest)) == seen)
        };
        match repair {
            Repair::No => {
                if self.catalog.read(unchanged).await? {
                    report.findings.push(finding);
                }
            }
            Repair::Yes => {
                let _turn = self.turn_to_collect().await?;
                let forgotten = self
                    .catalog
                    .write("forget a corrupt blob", move |connection| {
                        if !unchanged(connection)? {
                            return Ok(None);
                        }
                        blob_rows::forget(connection, &digest)?;
                        blob_rows::queue_review(connection, &digest, now)?;
                        collector::entry(connection, &digest).map(Some)
                    })
                    .await?;
                if let Some(entry) = forgotten {
                    report.findings.push(finding);
                    self.bury(&entry.into_iter().collect::<Vec<_>>(), now).await?;
                    report.repaired += 1;
                }
            }
        }
        Ok(())
    }

    fn look_at(&self, digest: Digest, size: u64, depth: Depth) -> Checked {
        let path = self.dir.blob(&digest);
        let seen = Seen::of(&path);
        let corrupt = |reason: String| Checked {
            finding: Some(Finding::Corrupt { digest, reason }),
            hashed_bytes: 0,
            seen,
        };
        let file = match self.blobs.open(&digest) {
            Ok(file) => file,
            Err(Error::NotFound { .. }) => {
                return Checked { finding: Some(Finding::FileMissing { digest }), hashed_bytes: 0, seen };
            }
            // A disk that cannot read is what a check is for, and no reason to stop it.
            Err(error) => return corrupt(error.to_string()),
        };
        match file.metadata() {
            Ok(metadata) if metadata.len() != size => {
                corrupt(format!("it has {} bytes, the catalog says {size}", metadata.len()))
            }
            Ok(_) if depth == Depth::Sizes => Checked { finding: None, hashed_bytes: 0, seen },
            Ok(_) => match hash(file, digest) {
                Ok(actual) if actual == digest => Checked { finding: None, hashed_bytes: size, seen },
                Ok(actual) => {
                    Checked { hashed_bytes: size, ..corrupt(format!("its bytes hash to {actual}")) }
                }
                Err(error) => corrupt(format!("it cannot be read: {error}")),
            },
            Err(error) => corrupt(format!("it cannot be read: {error}")),
        }
    }

    /// Looks for files that no row and no entry of the review queue explains.
    async fn check_files(self: &Arc<Self>, repair: Repair, report: &mut Report) -> Result<()> {
        let context = Arc::clone(self);
        let files = blocking(move || context.files()).await?;
        for (path, digest) in files {
            let explained = match digest {
                None => false,
                Some(digest) => self.catalog.read(move |connection| is_known(connection, &digest)).await?,
            };
            // A file that the collector has taken since the listing is no finding either.
            if explained || !path.exists() {
                continue;
            }
            report.findings.push(Finding::Unknown { path: path.clone() });
            if repair == Repair::Yes {
                let done = match digest {
                    // Under the write lock, and only if a commit has not made it known since.
                    Some(digest) => {
                        self.catalog
                            .write("remove an unknown file", move |connection| {
                                if is_known(connection, &digest)? {
                                    return Ok(false);
                                }
                                sys::remove(&path, Entry::File).map(|()| true)
                            })
                            .await?
                    }
                    None => false,
                };
                report.repaired += u64::from(done);
            }
        }
        Ok(())
    }

    /// Every file in `blobs/`, with the digest that its name is.
    fn files(&self) -> Result<Vec<(PathBuf, Option<Digest>)>> {
        let mut files = Vec::new();
        for algorithm in ALGORITHMS {
            let folder = self.dir.blobs(algorithm);
            for entry in fs::read_dir(&folder).at("read folder", &folder)? {
                let entry = entry.at("read folder", &folder)?;
                let digest = format!("{algorithm}:{}", entry.file_name().to_string_lossy()).parse().ok();
                files.push((entry.path(), digest));
            }
        }
        Ok(files)
    }
}

/// What a look at a blob gave.
struct Checked {
    finding: Option<Finding>,
    hashed_bytes: u64,
    seen: Seen,
}

/// Which file was looked at, so that another one in its place is not blamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    File { device: u64, inode: u64 },
    Nothing,
}

impl Seen {
    fn of(path: &Path) -> Self {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Self::File { device: metadata.dev(), inode: metadata.ino() },
            Err(_) => Self::Nothing,
        }
    }
}

fn is_known(connection: &Connection, digest: &Digest) -> Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM blob WHERE digest = ?1)
             OR EXISTS (SELECT 1 FROM review WHERE digest = ?1)",
        )
        .and_then(|mut statement| statement.query_row([encode(digest)], |row| row.get(0)))
        .during("look up a file")
}

fn check_manifests(connection: &Connection) -> Result<(u64, Vec<Digest>)> {
    let mut statement = connection.prepare("SELECT digest, bytes FROM manifest").during("check manifests")?;
    let mut rows = statement.query([]).during("check manifests")?;
    let (mut count, mut corrupt) = (0, Vec::new());
    while let Some(row) = rows.next().during("check manifests")? {
        let digest = columns::digest(row, 0).during("check manifests")?;
        let bytes = row
            .get_ref(1)
            .and_then(|value| value.as_blob().map_err(rusqlite::Error::from))
            .during("check manifests")?;
        count += 1;
        if Digest::of(digest.algorithm(), bytes) != digest {
            corrupt.push(digest);
        }
    }
    Ok((count, corrupt))
}

fn hash(mut file: File, expected: Digest) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new(expected.algorithm());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
