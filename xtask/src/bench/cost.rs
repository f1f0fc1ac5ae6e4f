//! What a server's processes have used, as the kernel counts it.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// A process and all its descendants, as nginx's master and its worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree {
    pub(super) root: u32,
}

impl Tree {
    /// CPU time of the tree so far, of children that have ended too. The kernel tells it in ticks of 10 ms, cut off and not sampled: measure
    /// work that takes many of them.
    pub(super) fn cpu(self) -> anyhow::Result<Duration> {
        let ticks: u64 = self.processes()?.iter().map(|stat| stat.ticks).sum();
        let millis = ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second();
        Ok(Duration::from_millis(millis))
    }

    /// What came to it since an earlier look.
    pub(super) fn cpu_since(self, before: Duration) -> anyhow::Result<Duration> {
        // Less than before only when a process left the tree that nobody waited for.
        Ok(self.cpu()?.saturating_sub(before))
    }

    /// Starts the count of [`Tree::peak`] anew.
    pub(super) fn reset_peak(self) -> anyhow::Result<()> {
        for process in self.processes()? {
            let path = format!("/proc/{}/clear_refs", process.pid);
            fs::write(&path, "5").with_context(|| format!("cannot write `{path}`"))?;
        }
        Ok(())
    }

    /// The most memory, in bytes, that was resident at once since the last reset; of several processes, the sum of each one's most.
    pub(super) fn peak(self) -> anyhow::Result<u64> {
        let peaks = self.processes()?.into_iter().map(|process| {
            let path = format!("/proc/{}/status", process.pid);
            let status = fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
            peak(&status).with_context(|| format!("no peak in `{path}`"))
        });
        peaks.sum()
    }

    /// The ids of all its threads.
    pub(super) fn threads(self) -> anyhow::Result<Vec<u32>> {
        let lists = self.processes()?.into_iter().map(|process| {
            let path = format!("/proc/{}/task", process.pid);
            fs::read_dir(&path).with_context(|| format!("cannot list `{path}`"))
        });
        let entries: Vec<_> = lists.collect::<anyhow::Result<_>>()?;
        Ok(entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect())
    }

    fn processes(self) -> anyhow::Result<Vec<Stat>> {
        let all: Vec<Stat> = fs::read_dir("/proc")
            .context("cannot list processes")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            // One that ended since it was listed.
            .filter_map(|pid| Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
            .collect();
        let mut tree: Vec<Stat> = all.iter().copied().filter(|stat| stat.pid == self.root).collect();
        anyhow::ensure!(!tree.is_empty(), "the server with process id {} is gone", self.root);
        let mut next = 0;
        while let Some(parent) = tree.get(next).map(|stat| stat.pid) {
            tree.extend(all.iter().filter(|stat| stat.parent == parent));
            next += 1;
        }
        Ok(tree)
    }
}

/// What we need of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    /// Its own and its ended children's, in user and in kernel mode.
    ticks: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        let pid = line.split(' ').next()?.parse().ok()?;
        // The second field is a name in parentheses that may itself have spaces and parentheses.
        let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Self { pid, parent: fields.get(1)?.parse().ok()?, ticks })
    }
}

fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_process_with_an_awkward_name() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194304 100 0 0 0 11 22 33 44 20 0 1 0 500 1000 10";
        assert_eq!(Stat::parse(line), Some(Stat { pid: 42, parent: 7, ticks: 110 }));
        assert_eq!(Stat::parse("42 (a) S 7"), None);
    }

    #[test]
    fn reads_the_peak() {
        assert_eq!(peak("Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t 4 kB\n"), Some(2 << 20));
        assert_eq!(peak("Name:\tkthread\n"), None);
    }

    #[test]
    fn counts_this_process() {
        let tree = Tree { root: std::process::id() };
        assert!(tree.peak().unwrap() > 0);
        assert!(tree.cpu().is_ok());
    }
}
