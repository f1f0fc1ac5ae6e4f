//! The least that a registry which verifies and does not lie can do with a blob, with no registry around it.
//!
//! Both are one thread with one buffer: a server that does this for many clients at once, hands bytes from thread to thread and keeps its
//! promises about what was received must cost more.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};

use super::content::{Blob, digest};
use super::memory::UsedMemory;

/// What is received before it is hashed and written: it stays in the CPU's own cache.
const BUFFER: usize = 256 << 10;

/// What it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
}

/// Hashes a blob that is in memory, and nothing else.
pub(super) fn hash(blob: &Blob<'_>) -> anyhow::Result<Cost> {
    let (started, before) = (Instant::now(), this_threads_cpu());
    let hash = blob.pieces().fold(Sha256::new(), Sha256::chain_update);
    let cost = Cost { cpu: this_threads_cpu().saturating_sub(before), wall: started.elapsed() };
    ensure!(digest(hash) == blob.digest(), "the baseline hashed to another digest");
    Ok(cost)
}

/// Hashes a blob that is in memory, writes it and makes it durable.
pub(super) fn hash_and_store(blob: &Blob<'_>, path: &Path, memory: &mut UsedMemory) -> anyhow::Result<Cost> {
    let started = Instant::now();
    let mut storing = Storing { file: File::create(path)?, hash: Sha256::new() };
    let mut cpu = Duration::ZERO;
    for piece in blob.pieces() {
        let before = this_threads_cpu();
        storing.take(piece)?;
        cpu += this_threads_cpu().saturating_sub(before);
        memory.give_back(piece.len())?;
    }
    let before = this_threads_cpu();
    let found = storing.finish()?;
    cpu += this_threads_cpu().saturating_sub(before);
    ensure!(found == blob.digest(), "the baseline hashed to another digest");
    Ok(Cost { cpu, wall: started.elapsed() })
}

/// The same with a blob that comes over loopback; what sending takes is not counted, as with the servers.
pub(super) fn receive_hash_and_store(
    blob: &Blob<'_>,
    path: &Path,
    memory: &mut UsedMemory,
) -> anyhow::Result<Cost> {
    let started = Instant::now();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
    let sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    let (found, cpu) = std::thread::scope(|scope| {
        let receiving = scope.spawn(move || receive(receiver, path));
        let sent = blob.write(&sender, |bytes| memory.give_back(bytes));
        // The receiver reads to the end.
        drop(sender);
        let received = receiving.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))?;
        sent?;
        anyhow::Ok(received?)
    })?;
    ensure!(found == blob.digest(), "what was received hashed to another digest");
    Ok(Cost { cpu, wall: started.elapsed() })
}

/// Gives the digest and what this thread has used.
fn receive(mut from: TcpStream, path: &Path) -> io::Result<(String, Duration)> {
    let mut storing = Storing { file: File::create(path)?, hash: Sha256::new() };
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match from.read(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if filled == 0 {
            return Ok((storing.finish()?, this_threads_cpu()));
        }
        storing.take(&buffer[..filled])?;
    }
}

struct Storing {
    file: File,
    hash: Sha256,
}

impl Storing {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes)
    }

    fn finish(self) -> io::Result<String> {
        self.file.sync_data()?;
        Ok(digest(self.hash))
    }
}

/// To the nanosecond, and without the generator's other threads.
fn this_threads_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::content::{Content, MIB};
    use super::*;

    #[test]
    fn both_store_the_blob_and_find_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let content = Content::new(3);
        let blob = content.blob(1);
        let path = folder.path().join("blob");
        for floor in [hash_and_store, receive_hash_and_store] {
            let mut memory = UsedMemory::take(folder.path(), content.size()).unwrap();
            let cost = floor(&blob, &path, &mut memory).unwrap();
            assert!(cost.cpu > Duration::ZERO);
            let stored = std::fs::read(&path).unwrap();
            assert_eq!(stored.len(), 3 * MIB);
            assert_eq!(digest(Sha256::new_with_prefix(stored)), blob.digest());
            std::fs::remove_file(&path).unwrap();
        }
    }
}
