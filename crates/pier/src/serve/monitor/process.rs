//! What the kernel says of this process, under the names that every Prometheus client library uses.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// One look at this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    /// Processor time used so far, user and system.
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) open_files: u64,
    /// `u64::MAX` without a limit.
    pub(super) max_files: u64,
}

/// Looks; nothing where `/proc` is not to be had. Only at the process's own files: a service manager may hide all others.
pub(super) fn read() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let open_files = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let max_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let page = rustix::param::page_size() as u64;
    let ticks = rustix::param::clock_ticks_per_second();
    let Stat { cpu, resident } = parse(&stat)?;
    #[expect(clippy::cast_precision_loss, reason = "exact for longer than any process runs")]
    let cpu_seconds = cpu as f64 / ticks as f64;
    Some(Process { cpu_seconds, resident_bytes: resident * page, open_files, max_files })
}

/// Ticks and pages.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: u64,
    resident: u64,
}

/// Reads `/proc/PID/stat` as proc(5) has it. The name in parentheses may hold anything, so what follows the last one counts.
fn parse(stat: &str) -> Option<Stat> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // Fields 14, 15 and 24; the first one here is the third.
    Some(Stat { cpu: number(11)? + number(12)?, resident: number(21)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_the_program_is_called() {
        let line = "7 (a) 1 b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 1000 123456 300 18446744073709551615 1 1 0";
        assert_eq!(parse(line), Some(Stat { cpu: 300, resident: 300 }));
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_there() {
        let process = read().unwrap();
        assert!(process.resident_bytes > 1 << 20 && process.open_files > 2 && process.max_files > 2);
        // It has worked for something, and not for longer than all of the machine has been there.
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let processors = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
        assert!(process.cpu_seconds <= uptime * f64::from(processors), "{} of {uptime}", process.cpu_seconds);
    }
}
