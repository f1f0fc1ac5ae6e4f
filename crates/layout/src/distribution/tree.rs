//! Where what is in the folder. Every call waits for the disk.
//!
//! A path is walked folder by folder from an open handle, and no link of the file system is followed: whatever the folder
//! holds, what is read lies in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use pier_content::{BlobInfo, Result, Subject, TagMove};
use pier_oci::{Algorithm, Digest, RepositoryName, Tag};

use crate::{
    folder::files::read_whole,
    part::{Durability, Room, made, replace},
    sys::{At as _, Folder, invalid},
};

/// The folders in which everything is.
pub(super) const ROOT: [&str; 3] = ["docker", "registry", "v2"];

const BLOBS: &str = "blobs";
const DATA: &str = "data";
const REPOSITORIES: &str = "repositories";
const LAYERS: &str = "_layers";
const MANIFESTS: &str = "_manifests";
const REVISIONS: &str = "revisions";
const TAGS: &str = "tags";
const CURRENT: &str = "current";
const INDEX: &str = "index";
const LINK: &str = "link";

/// Bytes that a link may have; the longest digest has 135.
const MAX_LINK_BYTES: u64 = 256;

/// Folders that are looked into for repositories.
const MAX_FOLDERS: usize = 100_000;

/// What of a repository shows what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A blob.
    Layer,
    /// A manifest.
    Revision,
}

impl Shown {
    fn path(self) -> &'static [&'static str] {
        match self {
            Self::Layer => &[LAYERS],
            Self::Revision => &[MANIFESTS, REVISIONS],
        }
    }
}

/// All that a repository shows.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) layers: BTreeSet<Digest>,
    pub(super) revisions: BTreeSet<Digest>,
    pub(super) tags: BTreeMap<Tag, Digest>,
}

/// A blob's file.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) file: File,
    pub(super) size: u64,
    pub(super) path: PathBuf,
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    folder: Folder,
}

/// The folders in which everything is, as one path.
pub(super) fn root() -> String {
    ROOT.join("/")
}

impl Tree {
    pub(super) fn new(folder: Folder) -> Self {
        Self { folder }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it is such a folder at all.
    pub(super) fn is_there(&self) -> Result<bool> {
        Ok(descend(&self.folder, &ROOT)?.is_some())
    }

    pub(super) fn make(&self, durability: Durability) -> Result<()> {
        self.made(&[], durability).map(drop)
    }

    /// The file of a blob.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Option<Data>> {
        let (hex, algorithm) = (digest.hex(), digest.algorithm().as_str());
        let path = [BLOBS, algorithm, &hex[..2], &hex];
        let Some(folder) = self.find(&path)? else { return Ok(None) };
        let path = folder.path_of(DATA);
        let Some(file) = folder.file(DATA)? else { return Ok(None) };
        let size = file.metadata().at("stat", &path)?.len();
        Ok(Some(Data { file, size, path }))
    }

    /// All blobs, in the order of their digests.
    pub(super) fn blobs(&self) -> Result<BTreeMap<Digest, BlobInfo>> {
        let mut found = BTreeMap::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let Some(folder) = self.find(&[BLOBS, algorithm.as_str()])? else { continue };
            for beginning in folder.entries()? {
                let Some(folder) = folder.folder(&beginning)? else { continue };
                for hex in folder.entries()? {
                    let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else { continue };
                    // Under its own beginning, or nobody would find it.
                    if hex.starts_with(&beginning)
                        && let Some(Data { size, .. }) = self.blob(&digest)?
                    {
                        found.insert(digest, BlobInfo { digest, size });
                    }
                }
            }
        }
        Ok(found)
    }

    /// The folder of a repository.
    pub(super) fn repository(&self, name: &RepositoryName) -> Result<Option<Folder>> {
        let parts: Vec<&str> = [REPOSITORIES].into_iter().chain(name.as_str().split('/')).collect();
        self.find(&parts)
    }

    /// The repositories that show a manifest.
    pub(super) fn repositories(&self) -> Result<BTreeSet<RepositoryName>> {
        let mut search = Search { found: BTreeSet::new(), left: MAX_FOLDERS };
        if let Some(folder) = self.find(&[REPOSITORIES])? {
            search.look_into(&folder, "")?;
        }
        Ok(search.found)
    }

    /// Whether a repository shows a blob or a manifest.
    pub(super) fn shows(&self, name: &RepositoryName, shown: Shown, digest: &Digest) -> Result<bool> {
        match self.repository(name)? {
            Some(repository) => shows(&repository, shown, digest),
            None => Ok(false),
        }
    }

    /// What a tag names.
    pub(super) fn tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        match self.repository(name)? {
            Some(repository) => named(&repository, tag),
            None => Ok(None),
        }
    }

    /// What a tag names, and since when.
    pub(super) fn last_move(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<TagMove>> {
        let Some(repository) = self.repository(name)? else { return Ok(None) };
        let Some(current) = descend(&repository, &[MANIFESTS, TAGS, tag.as_str(), CURRENT])? else {
            return Ok(None);
        };
        let (Some(digest), Some(file)) = (read_link(&current)?, current.file(LINK)?) else { return Ok(None) };
        let at = file.metadata().and_then(|found| found.modified()).at("stat", &current.path_of(LINK))?;
        Ok(Some(TagMove { digest: Some(digest), at }))
    }

    /// The tags of a repository, in byte order; `None` when there is no such repository.
    pub(super) fn tags(&self, name: &RepositoryName) -> Result<Option<BTreeMap<Tag, Digest>>> {
        let Some(repository) = self.repository(name)? else { return Ok(None) };
        let Some(manifests) = repository.folder(MANIFESTS)? else { return Ok(None) };
        tags(&manifests).map(Some)
    }

    /// All that a repository shows.
    pub(super) fn names(&self, name: &RepositoryName) -> Result<Names> {
        let (mut layers, mut revisions) = (BTreeSet::new(), BTreeSet::new());
        if let Some(repository) = self.repository(name)? {
            layers = all_shown(&repository, Shown::Layer)?;
            revisions = all_shown(&repository, Shown::Revision)?;
        }
        Ok(Names { layers, revisions, tags: self.tags(name)?.unwrap_or_default() })
    }

    /// Lets a repository show a blob or a manifest.
    pub(super) fn show(
        &self,
        name: &RepositoryName,
        shown: Shown,
        digest: &Digest,
        durability: Durability,
    ) -> Result<()> {
        let path =
            [REPOSITORIES].into_iter().chain(name.as_str().split('/')).chain(shown.path().iter().copied());
        let folder = self.made(&path.collect::<Vec<_>>(), durability)?;
        self.link(&folder_of(&folder, digest, durability)?, digest, durability)
    }

    /// Lets a tag name a manifest: noted among all that it has named first, so that it never names what is not noted.
    pub(super) fn point(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        durability: Durability,
    ) -> Result<()> {
        let path =
            [REPOSITORIES].into_iter().chain(name.as_str().split('/')).chain([MANIFESTS, TAGS, tag.as_str()]);
        let folder = self.made(&path.collect::<Vec<_>>(), durability)?;
        let index = made(&folder, INDEX, durability)?;
        self.link(&folder_of(&index, digest, durability)?, digest, durability)?;
        self.link(&made(&folder, CURRENT, durability)?, digest, durability)
    }

    /// Writes a link, unless it says so already.
    fn link(&self, to: &Folder, digest: &Digest, durability: Durability) -> Result<()> {
        let text = digest.to_string();
        if let Some(file) = to.file(LINK)?
            && read_whole(file, &to.path_of(LINK), MAX_LINK_BYTES).is_ok_and(|found| found == text.as_bytes())
        {
            return Ok(());
        }
        let _lock = self.folder.lock()?;
        replace(&self.folder, to, LINK, text.as_bytes(), durability)
    }

    fn find(&self, path: &[&str]) -> Result<Option<Folder>> {
        match descend(&self.folder, &ROOT)? {
            Some(root) => descend(&root, path),
            None => Ok(None),
        }
    }

    fn made(&self, path: &[&str], durability: Durability) -> Result<Folder> {
        let mut folder = self.folder.clone();
        for name in ROOT.iter().chain(path) {
            folder = made(&folder, name, durability)?;
        }
        Ok(folder)
    }
}

impl Room for Tree {
    fn folder(&self) -> &Folder {
        &self.folder
    }

    fn place(&self, digest: &Digest, durability: Durability) -> Result<(Folder, String)> {
        let hex = digest.hex();
        let folder = self.made(&[BLOBS, digest.algorithm().as_str(), &hex[..2], &hex], durability)?;
        Ok((folder, DATA.to_owned()))
    }
}

/// A walk through all folders that may be repositories, which lie in one another.
struct Search {
    found: BTreeSet<RepositoryName>,
    /// Folders that may still be looked into.
    left: usize,
}

impl Search {
    /// `name` is the folder's own, empty for the one that all are in. It comes back soon: a name has 255 bytes at most.
    fn look_into(&mut self, folder: &Folder, name: &str) -> Result<()> {
        for entry in folder.entries()? {
            let path = if name.is_empty() { entry.clone() } else { format!("{name}/{entry}") };
            let Ok(repository) = path.parse::<RepositoryName>() else { continue };
            let Some(below) = folder.folder(&entry)? else { continue };
            self.left = self.left.checked_sub(1).ok_or_else(|| {
                invalid(folder.path(), format!("has more than {MAX_FOLDERS} folders of repositories"))
            })?;
            if !all_shown(&below, Shown::Revision)?.is_empty() {
                self.found.insert(repository);
            }
            self.look_into(&below, &path)?;
        }
        Ok(())
    }
}

fn descend(folder: &Folder, path: &[&str]) -> Result<Option<Folder>> {
    let mut folder = folder.clone();
    for name in path {
        match folder.folder(name)? {
            Some(below) => folder = below,
            None => return Ok(None),
        }
    }
    Ok(Some(folder))
}

/// The folder of a digest's link, which is made when it is not there.
fn folder_of(folder: &Folder, digest: &Digest, durability: Durability) -> Result<Folder> {
    made(&made(folder, digest.algorithm().as_str(), durability)?, &digest.hex(), durability)
}

fn shows(repository: &Folder, shown: Shown, digest: &Digest) -> Result<bool> {
    let hex = digest.hex();
    let path: Vec<&str> =
        shown.path().iter().copied().chain([digest.algorithm().as_str(), hex.as_str()]).collect();
    let Some(folder) = descend(repository, &path)? else { return Ok(false) };
    let Some(found) = read_link(&folder)? else { return Ok(false) };
    if found == *digest {
        return Ok(true);
    }
    let path = folder.path_of(LINK);
    Err(invalid(&path, format!("is the link of `{digest}` and says `{found}`")))
}

fn all_shown(repository: &Folder, shown: Shown) -> Result<BTreeSet<Digest>> {
    let mut digests = BTreeSet::new();
    let Some(folder) = descend(repository, shown.path())? else { return Ok(digests) };
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let Some(folder) = folder.folder(algorithm.as_str())? else { continue };
        for hex in folder.entries()? {
            let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else { continue };
            if shows(repository, shown, &digest)? {
                digests.insert(digest);
            }
        }
    }
    Ok(digests)
}

fn tags(manifests: &Folder) -> Result<BTreeMap<Tag, Digest>> {
    let mut tags = BTreeMap::new();
    let Some(folder) = manifests.folder(TAGS)? else { return Ok(tags) };
    for entry in folder.entries()? {
        let Ok(tag) = entry.parse::<Tag>() else { continue };
        let Some(current) = descend(&folder, &[&entry, CURRENT])? else { continue };
        if let Some(digest) = read_link(&current)? {
            tags.insert(tag, digest);
        }
    }
    Ok(tags)
}

fn named(repository: &Folder, tag: &Tag) -> Result<Option<Digest>> {
    match descend(repository, &[MANIFESTS, TAGS, tag.as_str(), CURRENT])? {
        Some(current) => read_link(&current),
        None => Ok(None),
    }
}

/// The digest that a folder's link says, if it has one.
fn read_link(folder: &Folder) -> Result<Option<Digest>> {
    let path = folder.path_of(LINK);
    let Some(file) = folder.file(LINK)? else { return Ok(None) };
    let bytes: Bytes = read_whole(file, &path, MAX_LINK_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    match text.parse() {
        Ok(digest) => Ok(Some(digest)),
        Err(error) => Err(invalid(&path, format!("is no link: {error}"))),
    }
}

/// A blob of the folder as the subject of an error.
pub(super) fn subject(tree: &Tree, digest: &Digest) -> Subject {
    Subject::BlobIn(tree.path().to_owned(), *digest)
}
