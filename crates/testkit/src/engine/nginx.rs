//! nginx as the measure of what it costs to send a file.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use super::daemon::{Daemon, Folder};
use super::{Error, find};

/// Ports tried before giving up: another process may take one between our asking for it and nginx's binding it.
const ATTEMPTS: u32 = 5;

/// Whether the kernel copies files to sockets, or nginx reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sendfile {
    /// `sendfile on`.
    On,
    /// `sendfile off`.
    Off,
}

/// One nginx worker that serves a folder's files, otherwise with nginx's own defaults.
#[derive(Debug)]
pub struct Nginx {
    daemon: Daemon,
    address: SocketAddr,
}

impl Nginx {
    /// Serves the files of `root`; it answers when this returns.
    pub fn start(root: &Path, sendfile: Sendfile) -> Result<Self, Error> {
        Self::start_with(&|folder, address| config(root, folder, address, sendfile))
    }

    /// Serves what `server` says, a block that begins with `server {` and listens on the address that it is given; it takes connections when
    /// this returns.
    pub fn serve(server: impl Fn(SocketAddr) -> String) -> Result<Self, Error> {
        Self::start_with(&|folder, address| around(folder, "", &server(address)))
    }

    fn start_with(config: &dyn Fn(&Path, SocketAddr) -> String) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            match Self::start_once(config) {
                Err(Error::NotReady { .. }) if attempt < ATTEMPTS => attempt += 1,
                other => return other,
            }
        }
    }

    fn start_once(config: &dyn Fn(&Path, SocketAddr) -> String) -> Result<Self, Error> {
        let program = find("nginx", "nginx-light")?;
        let folder = Folder::new()?;
        let address = free_port()?;
        let config = folder.write("nginx.conf", &config(folder.path(), address))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(config).arg("-e").arg("stderr");
        let mut daemon = Daemon::spawn("nginx", &mut command, folder)?;
        daemon.ready(|| TcpStream::connect(address).ok())?;
        Ok(Self { daemon, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The master process; the worker is its child.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }
}

/// nginx has no port 0, so the system is asked for one that is free now.
fn free_port() -> Result<SocketAddr, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|source| Error::Io { operation: "find a free port", source })
}

fn config(root: &Path, folder: &Path, address: SocketAddr, sendfile: Sendfile) -> String {
    let sendfile = match sendfile {
        Sendfile::On => "on",
        Sendfile::Off => "off",
    };
    let root = root.display();
    let server =
        format!("server {{ listen {address}; root {root}; default_type application/octet-stream; }}");
    around(folder, &format!("sendfile {sendfile};  keepalive_requests 1000000;"), &server)
}

/// What nginx needs to run in a folder of its own, and the rest of its defaults.
fn around(folder: &Path, settings: &str, server: &str) -> String {
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let folder = folder.display();
    format!(
        "{user}daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n  access_log off;\n  {settings}\n\
         client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n  fastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\n  scgi_temp_path {folder}/scgi;\n\
         {server}\n}}\n"
    )
}
