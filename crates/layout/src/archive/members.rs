//! A tar as a table of names: one pass over its headers, and content by position from then on.
//!
//! Nothing is ever unpacked, so a name is only a key. Still, what cannot be a layout's is refused as a whole and by
//! its name, because whoever unpacks the same archive with another tool would be harmed by it: absolute names and
//! `..`, devices, links out of it. And two readers of one archive must not see two archives: names that come twice,
//! two names or sizes for one member, links with content, sparse files and headers of unknown kinds are refused too, and
//! every header's sum is checked.
//!
//! The tar crate reads a header's fields; the walk is our own, because its iterator takes names of any length into
//! memory.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use pier_content::Result;
use tar::{EntryType, Header};

use crate::{
    extent::Extent,
    sys::{At as _, invalid, read_at},
};

/// Bytes of a tar's block.
const BLOCK: u64 = 512;

/// Members that an archive may have. A large image has a few hundred blobs.
const MAX_MEMBERS: usize = 1 << 16;

/// Bytes of a name.
const MAX_NAME: usize = 1024;

/// Bytes of the records that extend a header.
const MAX_EXTENSION: u64 = 64 << 10;

/// Links that are followed one after the other.
const MAX_LINKS: usize = 8;

/// Whether an archive may have symbolic links. `docker save` wrote them for layers that come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    Refused,
    Followed,
}

/// The members of an archive, by their names without `./` in front.
#[derive(Debug)]
pub(crate) struct Members {
    file: Arc<File>,
    path: PathBuf,
    table: BTreeMap<String, Member>,
}

#[derive(Debug)]
enum Member {
    File {
        start: u64,
        size: u64,
    },
    Folder,
    /// To another member, whose name is resolved already.
    Link(String),
}

impl Members {
    /// Walks over an archive. Waits for the disk.
    pub(crate) fn read(file: File, path: &Path, links: Links) -> Result<Self> {
        let length = file.metadata().at("stat", path)?.len();
        let mut walk = Walk { file: &file, path, length, position: 0 };
        let mut table = BTreeMap::new();
        while let Some(found) = walk.next()? {
            let name = walk.name(&found.name)?;
            let member = walk.member(&found, &name, links)?;
            // The archive's own folder, as `tar -C layout .` writes it.
            if name.is_empty() && matches!(member, Member::Folder) {
                continue;
            }
            let folder = matches!(member, Member::Folder);
            match table.insert(name.clone(), member) {
                None => {}
                Some(Member::Folder) if folder => {}
                Some(_) => return Err(walk.refuse(&name, "comes twice")),
            }
            if table.len() > MAX_MEMBERS {
                return Err(invalid(path, format!("has more than {MAX_MEMBERS} members")));
            }
        }
        Ok(Self { file: Arc::new(file), path: path.to_owned(), table })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a member, for people.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The content of a member, if there is a file of that name.
    pub(crate) fn file(&self, name: &str) -> Result<Option<Extent>> {
        let mut name = name;
        for _ in 0..=MAX_LINKS {
            match self.table.get(name) {
                None => return Ok(None),
                Some(Member::Folder) => return Err(invalid(&self.path_of(name), "is a folder")),
                Some(Member::Link(target)) => name = target,
                Some(&Member::File { start, size }) => {
                    return Ok(Some(Extent::in_file(
                        Arc::clone(&self.file),
                        start,
                        size,
                        self.path_of(name),
                    )));
                }
            }
        }
        Err(invalid(&self.path_of(name), format!("is behind more than {MAX_LINKS} links")))
    }
}

/// A name within an archive, as [`Members`] keeps it; what is wrong with it otherwise.
pub(crate) fn normalized(name: &str) -> Result<String, &'static str> {
    if name.starts_with('/') {
        return Err("is absolute");
    }
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err("leads out of its folder"),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Where the walk stands.
struct Walk<'a> {
    file: &'a File,
    path: &'a Path,
    length: u64,
    position: u64,
}

/// A header with what extends it.
struct Found {
    kind: EntryType,
    name: Vec<u8>,
    link: Option<Vec<u8>>,
    start: u64,
    size: u64,
}

/// What stands in front of a header and is about it.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Walk<'_> {
    fn next(&mut self) -> Result<Option<Found>> {
        let mut extension = Extension::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let at = self.position - BLOCK;
            let size = header.entry_size().map_err(|_| self.broken(at, "its size is no number"))?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    let text = self.extension(at, size)?;
                    self.set(at, &mut extension.name, unterminated(text))?;
                }
                EntryType::GNULongLink => {
                    let text = self.extension(at, size)?;
                    self.set(at, &mut extension.link, unterminated(text))?;
                }
                EntryType::XHeader => {
                    let records = self.extension(at, size)?;
                    self.take_records(at, &records, &mut extension)?;
                }
                // It is about all that follows; names and sizes do not come there.
                EntryType::XGlobalHeader => {
                    let records = self.extension(at, size)?;
                    let mut all = Extension::default();
                    self.take_records(at, &records, &mut all)?;
                    if all.name.is_some() || all.link.is_some() || all.size.is_some() {
                        return Err(self.broken(at, "it gives all members one name or size"));
                    }
                }
                kind => {
                    let size = extension.size.unwrap_or(size);
                    let name = extension.name.unwrap_or_else(|| header.path_bytes().into_owned());
                    let link =
                        extension.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
                    let start = self.position;
                    self.pass(at, size)?;
                    return Ok(Some(Found { kind, name, link, start, size }));
                }
            }
        }
    }

    /// The next header; none at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        if self.position == self.length {
            return Ok(None);
        }
        let at = self.position;
        let header = self.block(at)?;
        if is_zero(&header) {
            // Two blocks of zeros end an archive; what pads it to the size of a tape's record is nobody's business.
            let next = at + BLOCK;
            if next == self.length || is_zero(&self.block(next)?) {
                return Ok(None);
            }
            return Err(self.broken(at, "a block of zeros stands alone"));
        }
        if header.cksum().ok() != Some(sum(&header)) {
            return Err(self.broken(at, "its sum is wrong"));
        }
        // What a header of before 1988 means, and what may stand in front of one, every reader decides for itself.
        if header.as_ustar().is_none() && header.as_gnu().is_none() {
            return Err(self.broken(at, "its header is neither of POSIX nor of GNU"));
        }
        self.position += BLOCK;
        Ok(Some(header))
    }

    fn block(&self, at: u64) -> Result<Header> {
        if at + BLOCK > self.length {
            return Err(self.broken(at, "the archive is cut short"));
        }
        let mut header = Header::new_old();
        read_at(self.file, at, header.as_mut_bytes(), self.path)?;
        Ok(header)
    }

    /// The content of a header that is about the next one.
    fn extension(&mut self, at: u64, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(self.broken(at, "what extends it is too long"));
        }
        let start = self.position;
        self.pass(at, size)?;
        // Checked above.
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        read_at(self.file, start, &mut bytes, self.path)?;
        Ok(bytes)
    }

    /// Moves behind content and its padding, all of which has to be there.
    fn pass(&mut self, at: u64, size: u64) -> Result<()> {
        let end = self.position.checked_add(size).filter(|&end| end <= self.length);
        let end = end.ok_or_else(|| self.broken(at, "the archive is cut short"))?;
        // Some writers leave out the padding of the last member.
        self.position = end.next_multiple_of(BLOCK).min(self.length);
        Ok(())
    }

    fn take_records(&self, at: u64, records: &[u8], extension: &mut Extension) -> Result<()> {
        for record in tar::PaxExtensions::new(records) {
            let record = record.map_err(|_| self.broken(at, "what extends it is malformed"))?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => self.set(at, &mut extension.name, value.to_vec())?,
                b"linkpath" => self.set(at, &mut extension.link, value.to_vec())?,
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    let size = size.ok_or_else(|| self.broken(at, "its size is no number"))?;
                    self.set(at, &mut extension.size, size)?;
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(self.broken(at, "sparse files are not read here"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes what is said about a member. Which of two names or sizes counts, readers do not agree on.
    fn set<T>(&self, at: u64, field: &mut Option<T>, value: T) -> Result<()> {
        match field.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.broken(at, "it says the same thing twice")),
        }
    }

    fn name(&self, bytes: &[u8]) -> Result<String> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let text =
            text.ok_or_else(|| self.refuse(&String::from_utf8_lossy(bytes), "has a name that is no text"))?;
        if text.len() > MAX_NAME {
            return Err(self.refuse(text, "has too long a name"));
        }
        normalized(text).map_err(|why| self.refuse(text, why))
    }

    fn member(&self, found: &Found, name: &str, links: Links) -> Result<Member> {
        let Found { start, size, .. } = *found;
        let empty = |member| {
            if size == 0 { Ok(member) } else { Err(self.refuse(name, "has content and is no file")) }
        };
        match found.kind {
            // Before 1988 a slash at the end of the name was what made a folder.
            EntryType::Regular if found.name.ends_with(b"/") => empty(Member::Folder),
            EntryType::Regular if !name.is_empty() => Ok(Member::File { start, size }),
            EntryType::Directory => empty(Member::Folder),
            EntryType::Symlink if links == Links::Followed => {
                let target = self.target(name, found.link.as_deref().unwrap_or_default())?;
                empty(Member::Link(target))
            }
            EntryType::Symlink => Err(self.refuse(name, "is a symbolic link")),
            EntryType::Link => Err(self.refuse(name, "is a hard link")),
            EntryType::Regular => Err(self.refuse(name, "has no name")),
            _ => Err(self.refuse(name, "is neither a file nor a folder")),
        }
    }

    /// What a symbolic link leads to, as a name within the archive.
    fn target(&self, name: &str, link: &[u8]) -> Result<String> {
        let is_name = |link: &str| !link.is_empty() && link.len() <= MAX_NAME && !link.contains('\0');
        let link = std::str::from_utf8(link).ok().filter(|link| is_name(link));
        let link = link.ok_or_else(|| self.refuse(name, "is a link to nothing"))?;
        if link.starts_with('/') {
            return Err(self.refuse(name, "is a link out of the archive"));
        }
        let mut parts: Vec<&str> = name.split('/').collect();
        parts.pop();
        for part in link.split('/') {
            match part {
                ".." if parts.pop().is_none() => {
                    return Err(self.refuse(name, "is a link out of the archive"));
                }
                "" | "." | ".." => {}
                part => parts.push(part),
            }
        }
        Ok(parts.join("/"))
    }

    fn broken(&self, at: u64, why: &str) -> pier_content::Error {
        invalid(self.path, format!("is no tar that can be read: at byte {at}, {why}"))
    }

    fn refuse(&self, name: &str, why: &str) -> pier_content::Error {
        let name: String = name.chars().take(80).collect();
        invalid(self.path, format!("its member `{}` {why}", name.escape_debug()))
    }
}

/// A text without the zero that ends it. Another zero in it is for [`Walk::name`] to refuse: readers do not agree on
/// what such a name is.
fn unterminated(mut text: Vec<u8>) -> Vec<u8> {
    if text.last() == Some(&0) {
        text.pop();
    }
    text
}

fn is_zero(header: &Header) -> bool {
    header.as_bytes().iter().all(|&byte| byte == 0)
}

/// The sum of a header's bytes, with the field of the sum itself as blanks (POSIX, "ustar Interchange Format").
fn sum(header: &Header) -> u32 {
    const FIELD: std::ops::Range<usize> = 148..156;
    let byte = |(position, &byte): (usize, &u8)| if FIELD.contains(&position) { b' ' } else { byte };
    header.as_bytes().iter().enumerate().map(byte).map(u32::from).sum()
}

#[cfg(test)]
mod tests;
