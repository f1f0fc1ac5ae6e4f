//! Which CPU runs what.

use anyhow::Context as _;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::cost::Tree;

/// A server on one CPU and this thread on another, until it is dropped. On a machine with one CPU, nothing.
#[derive(Debug)]
pub(super) struct Apart {
    server: Tree,
    /// Where this thread might run before.
    anywhere: CpuSet,
}

impl Apart {
    pub(super) fn keep(server: Tree) -> anyhow::Result<Self> {
        let anywhere = sched_getaffinity(None).context("cannot read this thread's CPUs")?;
        let apart = Self { server, anywhere };
        let mut usable = (0..CpuSet::MAX_CPU).filter(|&cpu| anywhere.is_set(cpu));
        if let (Some(first), Some(second)) = (usable.next(), usable.next()) {
            apart.place(first, second)?;
        }
        Ok(apart)
    }

    fn place(&self, server: usize, generator: usize) -> anyhow::Result<()> {
        self.place_server(&only(server))?;
        sched_setaffinity(None, &only(generator)).context("cannot place the generator")
    }

    fn place_server(&self, cpus: &CpuSet) -> anyhow::Result<()> {
        for thread in self.server.threads()? {
            let Some(thread) = i32::try_from(thread).ok().and_then(Pid::from_raw) else { continue };
            // One that ended since it was listed needs no place; those that start now have their starter's.
            let _ = sched_setaffinity(Some(thread), cpus);
        }
        Ok(())
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // A server that is gone fails the measurement by itself.
        let _ = self.place_server(&self.anywhere);
        let _ = sched_setaffinity(None, &self.anywhere);
    }
}

fn only(cpu: usize) -> CpuSet {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    cpus
}
