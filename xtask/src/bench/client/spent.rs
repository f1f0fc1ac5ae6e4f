//! What a command line costs, from its start to its end.

use std::fs;
use std::io::{Read as _, Seek as _};
use std::ops::AddAssign;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use wait4::Wait4 as _;

/// What one process and its own children used, or several processes one after the other.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// In user and in kernel mode, to the microsecond.
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
    /// The most bytes that were resident at once. Never less than what this program has: the kernel counts from the fork on.
    pub(super) peak: u64,
    /// Bytes that were given to a disk, or that will be.
    pub(super) written: u64,
}

impl Spent {
    /// As if the same had been done so many times more often.
    pub(super) fn times(self, factor: f64) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of bytes, told with three digits"
        )]
        let written = (self.written as f64 * factor) as u64;
        Self { cpu: self.cpu.mul_f64(factor), wall: self.wall.mul_f64(factor), written, ..self }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.wall += other.wall;
        self.peak = self.peak.max(other.peak);
        self.written += other.written;
    }
}

/// Runs a command to its end, and fails when it does; what it says is then in the error.
pub(super) fn run(command: &mut Command) -> anyhow::Result<Spent> {
    let mut said = tempfile::tempfile().context("cannot make a file for what a command says")?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    let pid = Pid::from_child(&child);
    // Not reaped yet, so that the kernel still tells what it wrote.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let wall = started.elapsed();
    let written = written(child.id());
    let ended = child.wait4()?;
    if !ended.status.success() {
        let mut text = String::new();
        said.rewind()?;
        said.read_to_string(&mut text)?;
        ensure!(ended.status.success(), "{command:?} ended with {}:\n{text}", ended.status);
    }
    let cpu = ended.rusage.utime + ended.rusage.stime;
    Ok(Spent { cpu, wall, peak: ended.rusage.maxrss, written: written? })
}

fn written(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/io");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|count| count.parse().ok()).with_context(|| format!("no `write_bytes` in `{path}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_a_command_uses() {
        let work = "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done";
        let spent = run(Command::new("sh").args(["-c", work])).unwrap();
        assert!(spent.cpu > Duration::ZERO, "{spent:?}");
        assert!(spent.wall > Duration::ZERO, "{spent:?}");
        assert!(spent.peak > 100 << 10, "{spent:?}");
    }

    #[test]
    fn tells_what_a_command_said_when_it_failed() {
        let error = run(Command::new("sh").args(["-c", "echo no room >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().ends_with("exit status: 3:\nno room\n"), "{error}");
    }
}
