//! Memory for the page cache that costs everybody the same.
//!
//! A virtual machine gives memory that it does not use back to its host (free page reporting, every two seconds), and a page that the
//! host has taken costs a fault there when it is next written. The guest counts that as system time of whoever writes: up to 0.7 s for a GiB,
//! more than hashing it, and by luck for one server and not for another. So as much memory as a push is about to take is kept in use, and given
//! back piece by piece just before it is taken.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use super::content::MIB;

/// What is given back at once.
const STEP: u64 = 16 * MIB as u64;

/// How far this is ahead of what is taken, for what the kernel and the server take besides.
const AHEAD: u64 = 64 * MIB as u64;

/// Page cache that is in use until it is given back.
#[derive(Debug)]
pub(super) struct UsedMemory {
    /// Has no name any more, and is never written to the disk.
    file: File,
    left: u64,
    /// Taken by others since the last step.
    taken: u64,
}

impl UsedMemory {
    /// Uses enough for `bytes` of content.
    pub(super) fn take(folder: &Path, bytes: u64) -> io::Result<Self> {
        let path = folder.join("warm");
        let mut file = File::create(&path)?;
        fs::remove_file(&path)?;
        let (piece, mut left) = (vec![1; MIB], 0);
        while left < bytes + AHEAD {
            file.write_all(&piece)?;
            left += MIB as u64;
        }
        file.set_len(bytes)?;
        Ok(Self { file, left: bytes, taken: 0 })
    }

    /// Somebody has taken so much.
    pub(super) fn give_back(&mut self, bytes: usize) -> io::Result<()> {
        self.taken += bytes as u64;
        if self.taken >= STEP {
            self.left = self.left.saturating_sub(self.taken);
            self.taken = 0;
            self.file.set_len(self.left)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_as_much_as_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = UsedMemory::take(folder.path(), 40 * MIB as u64).unwrap();
        let left = |memory: &UsedMemory| memory.file.metadata().unwrap().len() / MIB as u64;
        assert_eq!(left(&memory), 40);
        (0..15).for_each(|_| memory.give_back(MIB).unwrap());
        assert_eq!(left(&memory), 40);
        memory.give_back(MIB).unwrap();
        assert_eq!(left(&memory), 24);
        (0..32).for_each(|_| memory.give_back(MIB).unwrap());
        assert_eq!(left(&memory), 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
