//! Real processes under test: started in a group of their own, waited for with a bound, killed when dropped.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long a server may take to say that it listens.
pub const START_LIMIT: Duration = Duration::from_secs(20);

/// How long to wait for what a process that has ended wrote last.
const OUTPUT_LIMIT: Duration = Duration::from_secs(1);

/// What stands before the address: with or without TLS.
const LISTENING: [&str; 2] = ["listening on http://", "listening on https://"];

/// Memory of a process, in bytes, as `/proc/PID/status` has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resident {
    /// Now: `VmRSS`.
    pub now: u64,
    /// The most so far: `VmHWM`.
    pub peak: u64,
}

/// A running `pier` that serves, or any command that prints `listening on http://ADDR` to its stdout.
///
/// It leads a process group; all of the group is killed on drop, so that a failed test leaves nothing running.
#[derive(Debug)]
pub struct PierProcess {
    child: Child,
    group: Pid,
    address: SocketAddr,
    stdout: Capture,
    stderr: Capture,
}

impl PierProcess {
    /// Starts `binary` and waits, at most [`START_LIMIT`], for the line that names its address.
    ///
    /// The error of a process that ends or stays silent carries what it wrote to stderr.
    pub fn start<A, E>(binary: &Path, arguments: A, environment: E) -> io::Result<Self>
    where
        A: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
        E: IntoIterator<Item = (&'static str, String)>,
    {
        Self::start_within(binary, arguments, environment, START_LIMIT)
    }

    /// As [`start`](Self::start), with a limit of the caller's.
    pub fn start_within<A, E>(
        binary: &Path,
        arguments: A,
        environment: E,
        limit: Duration,
    ) -> io::Result<Self>
    where
        A: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
        E: IntoIterator<Item = (&'static str, String)>,
    {
        let mut child = Command::new(binary)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let group = Pid::from_child(&child);
        let stdout = Capture::of(child.stdout.take());
        let stderr = Capture::of(child.stderr.take());
        let Some(address) = stdout.wait_for(limit, address_in) else {
            let _ = kill_process_group(group, Signal::KILL);
            let status = child.wait()?;
            stderr.wait_for_end(OUTPUT_LIMIT);
            let message =
                format!("`{}` did not listen, {status}, stderr:\n{}", binary.display(), stderr.text());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        };
        Ok(Self { child, group, address, stdout, stderr })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGHUP to the process alone, as whoever has changed a file that it reads.
    pub fn hang_up(&self) -> io::Result<()> {
        Ok(rustix::process::kill_process(self.group, Signal::HUP)?)
    }

    /// Kills the whole group with SIGKILL and waits for the process to be gone.
    pub fn kill9(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.child.wait()
    }

    /// Sends SIGTERM to the process alone, as a service manager does, and waits at most `limit` for its end; fails with `TimedOut`.
    pub fn terminate(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            rustix::process::kill_process(self.group, Signal::TERM)?;
        }
        self.wait(limit)
    }

    /// Waits at most `limit` for the process to end by itself; fails with `TimedOut`. All that it wrote has been read then.
    pub fn wait(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                // What it wrote last may still be in the pipes, and a child of its own may hold them open for longer.
                self.stdout.wait_for_end(OUTPUT_LIMIT);
                self.stderr.wait_for_end(OUTPUT_LIMIT);
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let message = format!("process {} still runs after {limit:?}", self.id());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            // Std has no wait with a bound; this is that wait, not a guess at how long something takes.
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Waits at most `limit` until what it wrote to stderr has this in it; fails with `TimedOut`.
    pub fn wait_for_stderr(&self, text: &str, limit: Duration) -> io::Result<()> {
        match self.stderr.wait_for(limit, |written| written.contains(text).then_some(())) {
            Some(()) => Ok(()),
            None => {
                let message = format!("process {} has not written `{text}`:\n{}", self.id(), self.stderr());
                Err(io::Error::new(io::ErrorKind::TimedOut, message))
            }
        }
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Its memory. Fails with `NotFound` once it has ended.
    pub fn resident_bytes(&self) -> io::Result<Resident> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let field = |name: &str| {
            let kib = status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
            kib.map(|kib: u64| kib * 1024)
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no {name}")))
        };
        Ok(Resident { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// Processor time it has used, user and system, in seconds; its children's is not in it.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // The name in parentheses may hold spaces; fields 14 and 15 of proc(5) are the 12th and 13th after it.
        let ticks: Option<u32> = stat.rsplit_once(')').and_then(|(_, fields)| {
            let mut times = fields.split_whitespace().skip(11).map(str::parse::<u32>);
            Some(times.next()?.ok()? + times.next()?.ok()?)
        });
        let ticks =
            ticks.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed `/proc/PID/stat`"))?;
        let a_second = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
        Ok(f64::from(ticks) / f64::from(a_second))
    }

    /// Signals the group; one that is gone already is fine.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        match kill_process_group(self.group, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for PierProcess {
    fn drop(&mut self) {
        // Nobody is left to tell of a failure, and the group being gone is what is wanted.
        let _ = self.kill9();
    }
}

fn address_in(text: &str) -> Option<SocketAddr> {
    let complete = &text[..text.rfind('\n')?];
    let address =
        |line: &str| LISTENING.iter().find_map(|before| line.split_once(before)?.1.trim().parse().ok());
    complete.lines().find_map(address)
}

/// What a pipe has delivered, read by a thread of its own so that the process never blocks on it.
#[derive(Clone, Debug)]
struct Capture(Arc<(Mutex<Captured>, Condvar)>);

#[derive(Debug, Default)]
struct Captured {
    bytes: Vec<u8>,
    ended: Option<()>,
}

impl Capture {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let capture = Self(Arc::default());
        let writer = capture.clone();
        // The thread ends with the last holder of the pipe, which the group's death makes sure of.
        thread::spawn(move || {
            let mut reader = pipe.map(BufReader::new);
            while let Some(reader) = &mut reader {
                let mut line = Vec::new();
                if !matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                    break;
                }
                writer.captured().bytes.extend_from_slice(&line);
                writer.0.1.notify_all();
            }
            writer.captured().ended = Some(());
            writer.0.1.notify_all();
        });
        capture
    }

    fn captured(&self) -> MutexGuard<'_, Captured> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.captured().bytes).into_owned()
    }

    fn wait_for<T>(&self, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let waiting = |captured: &mut Captured| {
            captured.ended.is_none() && find(&String::from_utf8_lossy(&captured.bytes)).is_none()
        };
        let waited = self.0.1.wait_timeout_while(self.captured(), limit, waiting);
        let (captured, _) = waited.unwrap_or_else(PoisonError::into_inner);
        find(&String::from_utf8_lossy(&captured.bytes))
    }

    fn wait_for_end(&self, limit: Duration) {
        let _: Option<()> = self.wait_for(limit, |_| None);
    }
}
