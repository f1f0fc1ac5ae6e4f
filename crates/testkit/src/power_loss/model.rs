//! The rules of the disk that forgets, free of FUSE: a live tree, and of each inode the version that was synced last.
//!
//! A directory entry names an inode. After power loss the tree is walked from the root by the *durable* entries; an inode that they
//! reach and that was never synced is an empty file or an empty folder, one that they do not reach is gone.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use rustix::io::Errno;

use super::content::Content;

/// The inode of the root, which is durable from the start.
pub(super) const ROOT: u64 = 1;

/// What an inode is, with what only that kind has.
#[derive(Clone, Debug)]
pub(super) enum Body {
    File(Content),
    Folder(BTreeMap<OsString, u64>),
    Symlink(OsString),
}

/// One file, folder or symbolic link, in one version.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) accessed: SystemTime,
    pub(super) modified: SystemTime,
    pub(super) changed: SystemTime,
}

impl Inode {
    /// An inode nobody has written to: what is left of a new one that was not synced.
    fn forgotten(&self) -> Self {
        let body = match &self.body {
            Body::File(_) => Body::File(Content::default()),
            Body::Folder(_) => Body::Folder(BTreeMap::new()),
            // A link's target is part of its creation: it is either there whole or not at all.
            Body::Symlink(target) => Body::Symlink(target.clone()),
        };
        Self { body, ..self.clone() }
    }

    pub(super) fn content_mut(&mut self) -> Result<&mut Content, Errno> {
        match &mut self.body {
            Body::File(content) => Ok(content),
            Body::Folder(_) => Err(Errno::ISDIR),
            Body::Symlink(_) => Err(Errno::INVAL),
        }
    }
}

/// One change to the entries of a folder, all of it or nothing: a rename within a folder is one change of two names.
type EntryChange = Vec<(OsString, Option<u64>)>;

/// The live tree beside what would be left of it.
#[derive(Clone, Debug)]
pub(super) struct Model {
    live: HashMap<u64, Inode>,
    durable: HashMap<u64, Inode>,
    /// Changes of each folder's entries since it was synced, oldest first.
    unsynced: HashMap<u64, Vec<EntryChange>>,
    next: u64,
}

/// Whether a rename may replace what is at its target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Replace {
    Allowed,
    Refused,
}

impl Model {
    pub(super) fn new(root: Inode) -> Self {
        Self {
            live: HashMap::from([(ROOT, root.clone())]),
            durable: HashMap::from([(ROOT, root)]),
            unsynced: HashMap::new(),
            next: ROOT + 1,
        }
    }

    pub(super) fn inode(&self, number: u64) -> Result<&Inode, Errno> {
        self.live.get(&number).ok_or(Errno::NOENT)
    }

    pub(super) fn inode_mut(&mut self, number: u64) -> Result<&mut Inode, Errno> {
        self.live.get_mut(&number).ok_or(Errno::NOENT)
    }

    pub(super) fn entries(&self, folder: u64) -> Result<&BTreeMap<OsString, u64>, Errno> {
        match &self.inode(folder)?.body {
            Body::Folder(entries) => Ok(entries),
            _ => Err(Errno::NOTDIR),
        }
    }

    pub(super) fn lookup(&self, folder: u64, name: &OsStr) -> Result<u64, Errno> {
        self.entries(folder)?.get(name).copied().ok_or(Errno::NOENT)
    }

    /// How many names an inode has, counted rather than kept, so that it cannot drift.
    pub(super) fn links(&self, number: u64) -> u32 {
        let named = |inode: &Inode| match &inode.body {
            Body::Folder(entries) => entries.values().filter(|child| **child == number).count(),
            _ => 0,
        };
        let count = self.live.values().map(named).sum::<usize>() + usize::from(number == ROOT);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Bytes in pages of all files that still have a name or may be open.
    pub(super) fn allocated(&self) -> u64 {
        let size = |inode: &Inode| match &inode.body {
            Body::File(content) => content.allocated(),
            _ => 0,
        };
        self.live.values().map(size).sum()
    }

    pub(super) fn create(&mut self, folder: u64, name: &OsStr, inode: Inode) -> Result<u64, Errno> {
        if self.entries(folder)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let number = self.next;
        self.next += 1;
        self.live.insert(number, inode);
        self.change(folder, vec![(name.to_owned(), Some(number))])?;
        Ok(number)
    }

    pub(super) fn link(&mut self, number: u64, folder: u64, name: &OsStr) -> Result<(), Errno> {
        if matches!(self.inode(number)?.body, Body::Folder(_)) {
            return Err(Errno::PERM);
        }
        if self.entries(folder)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        self.change(folder, vec![(name.to_owned(), Some(number))])
    }

    pub(super) fn unlink(&mut self, folder: u64, name: &OsStr) -> Result<(), Errno> {
        if self.entries(self.lookup(folder, name)?).is_ok() {
            return Err(Errno::ISDIR);
        }
        self.change(folder, vec![(name.to_owned(), None)])
    }

    pub(super) fn remove_folder(&mut self, folder: u64, name: &OsStr) -> Result<(), Errno> {
        if !self.entries(self.lookup(folder, name)?)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.change(folder, vec![(name.to_owned(), None)])
    }

    pub(super) fn rename(
        &mut self,
        (folder, name): (u64, &OsStr),
        (to_folder, to_name): (u64, &OsStr),
        replace: Replace,
    ) -> Result<(), Errno> {
        let number = self.lookup(folder, name)?;
        if let Ok(present) = self.lookup(to_folder, to_name) {
            if replace == Replace::Refused {
                return Err(Errno::EXIST);
            }
            if present == number {
                return Ok(());
            }
            match (self.entries(number), self.entries(present)) {
                (Ok(_), Ok(entries)) if !entries.is_empty() => return Err(Errno::NOTEMPTY),
                (Ok(_), Err(_)) => return Err(Errno::NOTDIR),
                (Err(_), Ok(_)) => return Err(Errno::ISDIR),
                _ => {}
            }
        }
        let (leave, arrive) = ((name.to_owned(), None), (to_name.to_owned(), Some(number)));
        if folder == to_folder {
            return self.change(folder, vec![leave, arrive]);
        }
        self.change(to_folder, vec![arrive])?;
        self.change(folder, vec![leave])
    }

    fn change(&mut self, folder: u64, change: EntryChange) -> Result<(), Errno> {
        let inode = self.inode_mut(folder)?;
        let Body::Folder(entries) = &mut inode.body else { return Err(Errno::NOTDIR) };
        apply(entries, &change);
        inode.modified = SystemTime::now();
        inode.changed = inode.modified;
        self.unsynced.entry(folder).or_default().push(change);
        Ok(())
    }

    /// Forgets an inode that no name leads to and that the kernel no longer holds.
    pub(super) fn release(&mut self, number: u64) {
        if self.links(number) == 0 {
            self.live.remove(&number);
        }
    }

    /// Makes one inode durable as it is: a file's bytes, or a folder's entries, and nothing of what they name.
    pub(super) fn sync(&mut self, number: u64) -> Result<(), Errno> {
        let inode = self.inode(number)?.clone();
        // What the folder names has to be nameable later, even when the live tree has forgotten it by then.
        if let Body::Folder(entries) = &inode.body {
            for child in entries.values() {
                if let Some(live) = self.live.get(child) {
                    self.durable.entry(*child).or_insert_with(|| live.forgotten());
                }
            }
        }
        self.durable.insert(number, inode);
        self.unsynced.remove(&number);
        Ok(())
    }

    /// What is left when nothing but the synced survives.
    pub(super) fn after_loss(&self) -> Self {
        Self::of(&self.durable, self.next)
    }

    /// What is left when some of the unsynced survives too: of every folder a prefix of its changes, of every file some of its pages.
    pub(super) fn after_partial_loss(&self, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut left = self.durable.clone();
        let mut numbers: Vec<u64> = self.live.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let live = &self.live[&number];
            let base = left.entry(number).or_insert_with(|| live.forgotten());
            match (&mut base.body, &live.body) {
                (Body::File(old), Body::File(new)) => *old = old.blend(new, || dice.below(2) == 1),
                (Body::Folder(entries), Body::Folder(_)) => {
                    let changes = self.unsynced.get(&number).map_or(&[][..], Vec::as_slice);
                    let kept = dice.below(changes.len() as u64 + 1);
                    for change in changes.iter().zip(0..kept).map(|(change, _)| change) {
                        apply(entries, change);
                    }
                }
                _ => {}
            }
        }
        // A prefix may name a file that has since been deleted and forgotten; a disk would have freed it in the same order.
        let known: Vec<u64> = left.keys().copied().collect();
        for inode in left.values_mut() {
            if let Body::Folder(entries) = &mut inode.body {
                entries.retain(|_, child| known.contains(child));
            }
        }
        Self::of(&left, self.next)
    }

    /// A tree that is durable as it stands, less what no name leads to.
    fn of(inodes: &HashMap<u64, Inode>, next: u64) -> Self {
        let mut reached = HashMap::new();
        let mut waiting = vec![ROOT];
        while let Some(number) = waiting.pop() {
            let Some(inode) = inodes.get(&number) else { continue };
            if let Body::Folder(entries) = &inode.body
                && !reached.contains_key(&number)
            {
                waiting.extend(entries.values());
            }
            reached.insert(number, inode.clone());
        }
        Self { live: reached.clone(), durable: reached, unsynced: HashMap::new(), next }
    }
}

fn apply(entries: &mut BTreeMap<OsString, u64>, change: &EntryChange) {
    for (name, child) in change {
        match child {
            Some(number) => entries.insert(name.clone(), *number),
            None => entries.remove(name),
        };
    }
}

/// SplitMix64: a sequence that is the same on every machine, which is all that is asked of it.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
