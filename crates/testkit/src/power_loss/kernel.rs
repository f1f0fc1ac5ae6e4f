//! The kernel's requests put to the model: FUSE in, errno out, and the count of steps.
//!
//! Locks are not handled, so the kernel keeps them itself, as on a local disk. The write-back cache is off, so a `write` is here before it
//! returns. The kernel may cache names and attributes for long, since nobody else changes this disk.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::io::Errno;

use super::content::{Content, PAGE};
use super::model::{Body, Inode, Model, ROOT, Replace};

const KEEP: Duration = Duration::from_hours(1);

/// `S_IFMT`'s complement: the permission bits of a mode.
const PERMISSIONS: u32 = 0o7777;
const FALLOC_KEEP_SIZE: i32 = 1;
const FALLOC_PUNCH_HOLE: i32 = 2;
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// The disk as the kernel thread and the test share it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) model: Model,
    pub(super) operations: u64,
    pub(super) cut_after: Option<u64>,
    pub(super) power: Power,
    pub(super) capacity: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Power {
    On,
    Off,
}

impl State {
    pub(super) fn new(model: Model) -> Self {
        Self { model, operations: 0, cut_after: None, power: Power::On, capacity: u64::MAX / 2 }
    }

    fn powered(&mut self) -> Result<&mut Self, Errno> {
        match self.power {
            Power::On => Ok(self),
            Power::Off => Err(Errno::IO),
        }
    }

    /// Counts a step that changes or syncs something, and cuts the power when its turn has come.
    fn step(&mut self) -> Result<&mut Self, Errno> {
        if self.cut_after.is_some_and(|steps| self.operations >= steps) {
            self.power = Power::Off;
        }
        self.powered()?.operations += 1;
        Ok(self)
    }

    fn room_for(&self, growth: u64) -> Result<(), Errno> {
        if growth == 0 || self.model.allocated() + growth <= self.capacity {
            Ok(())
        } else {
            Err(Errno::NOSPC)
        }
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let growth = self.model.inode_mut(number)?.content_mut()?.growth(offset, bytes.len() as u64);
        self.room_for(growth)?;
        let inode = self.model.inode_mut(number)?;
        inode.content_mut()?.write(offset, bytes);
        inode.modified = SystemTime::now();
        Ok(())
    }

    fn allocate(&mut self, number: u64, offset: u64, length: u64, mode: i32) -> Result<(), Errno> {
        let content = self.model.inode_mut(number)?.content_mut()?;
        if mode == FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE {
            content.punch(offset, length);
            return Ok(());
        }
        if mode & !FALLOC_KEEP_SIZE != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let growth = content.growth(offset, length);
        self.room_for(growth)?;
        let content = self.model.inode_mut(number)?.content_mut()?;
        content.allocate(offset, length);
        if mode & FALLOC_KEEP_SIZE == 0 && content.size() < offset + length {
            content.resize(offset + length);
        }
        Ok(())
    }

    fn attributes(&self, number: u64) -> Result<FileAttr, Errno> {
        let inode = self.model.inode(number)?;
        let (kind, size, blocks) = match &inode.body {
            Body::File(content) => (FileType::RegularFile, content.size(), content.allocated() / 512),
            Body::Folder(_) => (FileType::Directory, PAGE, 8),
            Body::Symlink(target) => (FileType::Symlink, target.len() as u64, 0),
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks,
            atime: inode.accessed,
            mtime: inode.modified,
            ctime: inode.changed,
            crtime: inode.changed,
            kind,
            perm: u16::try_from(inode.mode & PERMISSIONS).unwrap_or(0),
            nlink: self.model.links(number),
            uid: inode.uid,
            gid: inode.gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

/// A new inode that belongs to whoever asked for it.
fn new_inode(request: &Request, body: Body, mode: u32) -> Inode {
    let now = SystemTime::now();
    let mode = mode & PERMISSIONS;
    Inode { body, mode, uid: request.uid(), gid: request.gid(), accessed: now, modified: now, changed: now }
}

/// The file system that the kernel talks to.
#[derive(Debug)]
pub(super) struct Kernel(pub(super) Arc<Mutex<State>>);

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic of one test thread leaves a tree that is still whole: no change is in two steps.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn errno(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

fn time(wanted: TimeOrNow) -> SystemTime {
    match wanted {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

impl Kernel {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    fn create_inode(&self, parent: INodeNo, name: &OsStr, inode: Inode) -> Result<FileAttr, Errno> {
        let mut state = self.state();
        let number = state.step()?.model.create(parent.0, name, inode)?;
        state.attributes(number)
    }
}

fn answer(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn answer_entry(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attributes) => reply.entry(&KEEP, &attributes, Generation(0)),
        Err(error) => reply.error(errno(error)),
    }
}

impl Filesystem for Kernel {
    fn init(&mut self, _: &Request, _: &mut fuser::KernelConfig) -> io::Result<()> {
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.state();
        let found = state.powered().and_then(|state| state.attributes(state.model.lookup(parent.0, name)?));
        answer_entry(reply, found);
    }

    fn forget(&self, _: &Request, ino: INodeNo, _: u64) {
        self.state().model.release(ino.0);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.state().powered().and_then(|state| state.attributes(ino.0)) {
            Ok(attributes) => reply.attr(&KEEP, &attributes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.state();
        let changed = state.step().and_then(|state| {
            let inode = state.model.inode_mut(ino.0)?;
            inode.changed = SystemTime::now();
            if let Some(size) = size {
                inode.content_mut()?.resize(size);
                inode.modified = inode.changed;
            }
            inode.mode = mode.unwrap_or(inode.mode) & PERMISSIONS;
            inode.uid = uid.unwrap_or(inode.uid);
            inode.gid = gid.unwrap_or(inode.gid);
            inode.accessed = atime.map_or(inode.accessed, time);
            inode.modified = mtime.map_or(inode.modified, time);
            state.attributes(ino.0)
        });
        match changed {
            Ok(attributes) => reply.attr(&KEEP, &attributes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.state().powered().and_then(|state| Ok(state.model.inode(ino.0)?.body.clone())) {
            Ok(Body::Symlink(target)) => reply.data(target.as_encoded_bytes()),
            Ok(_) => reply.error(fuser::Errno::EINVAL),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let inode = new_inode(request, Body::Folder(std::collections::BTreeMap::new()), mode & !umask);
        answer_entry(reply, self.create_inode(parent, name, inode));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let inode = new_inode(request, Body::Symlink(target.into()), 0o777);
        answer_entry(reply, self.create_inode(parent, name, inode));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let inode = new_inode(request, Body::File(Content::default()), mode & !umask);
        match self.create_inode(parent, name, inode) {
            Ok(attributes) => {
                reply.created(&KEEP, &attributes, Generation(0), FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.state().step().and_then(|state| state.model.unlink(parent.0, name)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.state().step().and_then(|state| state.model.remove_folder(parent.0, name)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let replace = match flags {
            flags if flags.is_empty() => Replace::Allowed,
            RenameFlags::RENAME_NOREPLACE => Replace::Refused,
            _ => return reply.error(fuser::Errno::EINVAL),
        };
        let (from, to) = ((parent.0, name), (to_parent.0, to_name));
        answer(reply, self.state().step().and_then(|state| state.model.rename(from, to, replace)));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.state().step().and_then(|state| {
            state.model.link(ino.0, parent.0, name)?;
            state.attributes(ino.0)
        });
        answer_entry(reply, linked);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.state().powered() {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.state();
        let read = state
            .powered()
            .and_then(|state| Ok(state.model.inode_mut(ino.0)?.content_mut()?.read(offset, u64::from(size))));
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state();
        // The kernel writes mapped pages back when it likes: counted, they would make the steps of two runs differ.
        let powered =
            if write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) { state.powered() } else { state.step() };
        match powered.and_then(|state| state.write(ino.0, offset, data)) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        answer(reply, self.state().powered().map(drop));
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.state().step().and_then(|state| state.model.sync(ino.0)));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.state().step().and_then(|state| state.model.sync(ino.0)));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut state = self.state();
        let entries = match state.powered().and_then(|state| state.model.entries(ino.0)) {
            Ok(entries) => entries.clone(),
            Err(error) => return reply.error(errno(error)),
        };
        let dots = [(OsStr::new("."), ino.0), (OsStr::new(".."), ROOT)];
        let all = dots.into_iter().chain(entries.iter().map(|(name, child)| (name.as_os_str(), *child)));
        for ((name, child), position) in all.zip(1_u64..) {
            let Ok(attributes) = state.attributes(child) else { continue };
            if position > offset && reply.add(INodeNo(child), position, attributes.kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let state = self.state();
        // What df shows of an unbounded disk is a terabyte.
        let total = state.capacity.min(1 << 40) / PAGE;
        let free = total.saturating_sub(state.model.allocated() / PAGE);
        reply.statfs(total, free, free, 1 << 20, 1 << 20, 4096, 255, 4096);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        answer(reply, self.state().step().and_then(|state| state.allocate(ino.0, offset, length, mode)));
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let mut state = self.state();
        let found = state.powered().and_then(|state| {
            let content = state.model.inode_mut(ino.0)?.content_mut()?;
            let offset = u64::try_from(offset).map_err(|_| Errno::NXIO)?;
            if offset >= content.size() {
                return Err(Errno::NXIO);
            }
            match whence {
                SEEK_DATA => content.next_data(offset).ok_or(Errno::NXIO),
                SEEK_HOLE => Ok(content.next_hole(offset)),
                _ => Err(Errno::INVAL),
            }
        });
        match found.and_then(|found| i64::try_from(found).map_err(|_| Errno::OVERFLOW)) {
            Ok(found) => reply.offset(found),
            Err(error) => reply.error(errno(error)),
        }
    }
}
