//! containerd by itself, driven by `ctr`: what Kubernetes nodes pull with.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::command::{LIMIT, run};
use super::daemon::{Daemon, Folder};
use super::{Error, find, require_root};

/// How long one look at whether it answers may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A containerd with its own root, state, socket and namespace. Needs root and `runc`.
#[derive(Debug)]
pub struct Containerd {
    // Before `daemon`: fields drop in this order, and tasks are ended through the running daemon.
    tasks: Tasks,
    daemon: Daemon,
}

/// How to reach it, and the containers that it would leave behind: their shims are no children of the daemon.
#[derive(Debug)]
struct Tasks {
    ctr: PathBuf,
    socket: PathBuf,
    namespace: String,
    snapshotter: &'static str,
}

impl Containerd {
    /// Starts an empty containerd; it answers when this returns.
    pub fn start() -> Result<Self, Error> {
        let program = find("containerd", "containerd")?;
        let ctr = find("ctr", "containerd")?;
        find("runc", "runc")?;
        require_root("containerd")?;
        let folder = Folder::new()?;
        let socket = folder.path().join("c.sock");
        let config = folder.write("config.toml", &config(folder.path()))?;
        let mut daemon =
            Daemon::spawn("containerd", Command::new(program).arg("--config").arg(config), folder)?;
        let mut tasks = Tasks { ctr, socket, namespace: unique_namespace(), snapshotter: "native" };
        daemon.ready(|| run(tasks.command().arg("version"), ANSWERS_WITHIN).ok())?;
        // `native` copies every layer, but works on any file system; `overlayfs` is what people use.
        let plugins = run(tasks.command().args(["plugins", "ls"]), ANSWERS_WITHIN)?;
        if has_overlayfs(&String::from_utf8_lossy(&plugins.stdout)) {
            tasks.snapshotter = "overlayfs";
        }
        Ok(Self { tasks, daemon })
    }

    /// Runs `ctr ARGUMENTS` against this daemon. A status other than 0 is an error.
    ///
    /// Registries without TLS have to be asked for with `--plain-http`.
    pub fn ctr<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        run(self.tasks.command().args(arguments), LIMIT)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &Path {
        &self.tasks.socket
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }
}

impl Tasks {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.ctr);
        command
            .env("CONTAINERD_ADDRESS", &self.socket)
            .env("CONTAINERD_NAMESPACE", &self.namespace)
            .env("CONTAINERD_SNAPSHOTTER", self.snapshotter);
        command
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // After a test that ended well there is none; after one that did not, its failure is what should be reported.
        let Ok(tasks) = run(self.command().args(["tasks", "ls", "-q"]), ANSWERS_WITHIN) else {
            return;
        };
        for task in String::from_utf8_lossy(&tasks.stdout).lines() {
            let _ = run(self.command().args(["tasks", "rm", "--force", task]), ANSWERS_WITHIN);
        }
        // The shims keep runc's state here whatever containerd's own root is.
        let _ = std::fs::remove_dir(Path::new("/run/containerd/runc").join(&self.namespace));
    }
}

/// runc's state is shared by all containerds of a machine and divided by namespace, so ours has to be ours alone.
fn unique_namespace() -> String {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    format!("pier-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed))
}

/// Without the plugins that need what a bare machine has not, or that would listen on a port.
fn config(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "version = 2\nroot = \"{folder}/root\"\nstate = \"{folder}/state\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\", \"io.containerd.snapshotter.v1.aufs\",\n\
           \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\"]\n\
         [grpc]\naddress = \"{folder}/c.sock\"\n[ttrpc]\naddress = \"{folder}/c.sock.ttrpc\"\n"
    )
}

fn has_overlayfs(plugins: &str) -> bool {
    plugins
        .lines()
        .any(|line| line.split_whitespace().nth(1) == Some("overlayfs") && line.trim_end().ends_with("ok"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_overlayfs_only_where_it_works() {
        let works =
            "TYPE ID PLATFORMS STATUS\nio.containerd.snapshotter.v1    overlayfs    linux/amd64    ok    \n";
        let fails = "TYPE ID PLATFORMS STATUS\nio.containerd.snapshotter.v1    overlayfs    linux/amd64    error    \n";
        assert_eq!((has_overlayfs(works), has_overlayfs(fails), has_overlayfs("")), (true, false, false));
    }
}
