//! A peer's process: its folder, its log, the wait until it is ready, and an end that leaves nothing.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use super::{Error, temporary_folder};

/// What a cold start takes on a busy machine, with room to spare.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// How long a daemon may take to put its things away before it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(15);
/// Other people's daemons tell nobody when they are ready, so we ask; this is how often.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// How much of a log goes into an error.
const LOG_TAIL: usize = 4000;

/// One running program in a folder of its own. Dropping it ends the process and unmounts and removes the folder.
#[derive(Debug)]
pub(super) struct Daemon {
    program: &'static str,
    child: Child,
    folder: Folder,
}

/// A temporary folder in which a daemon may leave mounts.
#[derive(Debug)]
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Result<Self, Error> {
        temporary_folder().map(Self)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a configuration file and gives its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.path().join(name);
        std::fs::write(&path, text)
            .map_err(|source| Error::Io { operation: "write a peer's configuration", source })?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Without this, removing the folder would reach into the mounts, or fail on them.
        for mount in mounts_below(self.path()) {
            let _ = unmount(&mount, UnmountFlags::DETACH);
        }
    }
}

impl Daemon {
    /// Starts the command with its output in `log` in the folder.
    pub(super) fn spawn(program: &'static str, command: &mut Command, folder: Folder) -> Result<Self, Error> {
        let io_error = |source| Error::Io { operation: "start a peer", source };
        let log = File::create(folder.path().join("log")).map_err(io_error)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(io_error)?)
            .stderr(log)
            // Its own group: Ctrl-C in a terminal ends the tests, which then end the daemon in good order.
            .process_group(0)
            .spawn()
            .map_err(io_error)?;
        Ok(Self { program, child, folder })
    }

    /// Asks again and again until the answer is something, the process has ended, or time is up.
    pub(super) fn ready<T>(&mut self, mut ask: impl FnMut() -> Option<T>) -> Result<T, Error> {
        let started = Instant::now();
        loop {
            if let Some(answer) = ask() {
                return Ok(answer);
            }
            let ended = self
                .child
                .try_wait()
                .map_err(|source| Error::Io { operation: "look after a peer", source })?;
            let reason = match ended {
                Some(status) => format!("it ended with {status}"),
                None if started.elapsed() > READY_WITHIN => {
                    format!("it took more than {READY_WITHIN:?}")
                }
                None => {
                    std::thread::sleep(ASK_EVERY);
                    continue;
                }
            };
            return Err(Error::NotReady { program: self.program, reason, log: self.log_tail() });
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).into_owned()
    }

    /// Asks the process to end, waits a bounded time, then kills its whole group.
    fn end(&mut self) -> io::Result<()> {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return self.child.kill();
        };
        let asked = Instant::now();
        let mut ended = self.child.try_wait()?.is_some();
        if !ended {
            kill_process(pid, Signal::TERM)?;
        }
        while !ended && asked.elapsed() < ENDS_WITHIN {
            std::thread::sleep(ASK_EVERY);
            ended = self.child.try_wait()?.is_some();
        }
        // Also after a good end: a group outlives its leader, and its number is not given away while it does.
        let _ = kill_process_group(pid, Signal::KILL);
        self.child.wait().map(drop)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be ended, and a panic here would hide the test's own.
        let _ = self.end();
    }
}

/// Mount points in the folder, the deepest first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts = parse_mounts(&table, folder);
    mounts.reverse();
    mounts
}

/// The fifth field of a line is the mount point. Spaces in it are escaped, and no folder of ours has one.
fn parse_mounts(table: &str, folder: &Path) -> Vec<PathBuf> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(folder))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_only_the_mounts_below_a_folder() {
        let table = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                     30 22 254:0 /x /tmp/pier-a/root rw - ext4 /dev/vda rw\n\
                     31 22 0:3 net:[4] /tmp/pier-a/exec/netns/default rw - nsfs nsfs rw\n\
                     32 22 0:4 / /tmp/pier-ab rw - tmpfs tmpfs rw\n";
        let found = parse_mounts(table, Path::new("/tmp/pier-a"));
        assert_eq!(
            found,
            [PathBuf::from("/tmp/pier-a/root"), PathBuf::from("/tmp/pier-a/exec/netns/default")]
        );
    }

    #[test]
    fn reports_a_daemon_that_ends_at_once_with_its_log() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such option; exit 4"]);
        let mut daemon = Daemon::spawn("sh", &mut command, Folder::new().unwrap()).unwrap();
        let error = daemon.ready(|| None::<()>).unwrap_err();
        let Error::NotReady { reason, log, .. } = &error else { panic!("{error}") };
        assert_eq!((reason.as_str(), log.as_str()), ("it ended with exit status: 4", "no such option\n"));
    }

    #[test]
    fn dropping_ends_the_process_and_removes_the_folder() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec sleep 1000"]);
        let daemon = Daemon::spawn("sh", &mut command, Folder::new().unwrap()).unwrap();
        let (pid, folder) = (daemon.pid(), daemon.folder.path().to_owned());
        drop(daemon);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!folder.exists());
    }
}
