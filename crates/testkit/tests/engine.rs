//! The peers themselves: each starts on a bare machine, does its work, and leaves nothing behind.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use pier_testkit::engine::{
    Containerd, Crane, DockerRegistry, Dockerd, Nginx, Oras, Regctl, Sendfile, Skopeo,
};
use pier_testkit::skip::or_skip;

/// One GET, the connection closed after it; the whole response.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// Nothing of a peer is left: its process, the folder that its socket was in, and whatever was mounted there.
#[track_caller]
fn assert_gone(pid: u32, folder: &Path) {
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is still there");
    assert!(!folder.exists(), "{} is still there", folder.display());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&folder.display().to_string()), "{mounts}");
}

fn folder_of(socket: &Path) -> PathBuf {
    socket.parent().unwrap().to_owned()
}

#[test]
fn docker_registry_answers_and_leaves_nothing() {
    let Some(registry) = or_skip(DockerRegistry::start()) else {
        return;
    };
    assert!(get(registry.address(), "/v2/").starts_with("HTTP/1.1 200 OK\r\n"));
    let (pid, folder) = (registry.pid(), folder_of(&registry.storage()));
    drop(registry);
    assert_gone(pid, &folder);
}

#[test]
fn nginx_serves_a_file_either_way() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("blob"), "bytes").unwrap();
    for sendfile in [Sendfile::On, Sendfile::Off] {
        let Some(nginx) = or_skip(Nginx::start(root.path(), sendfile)) else {
            return;
        };
        let response = get(nginx.address(), "/blob");
        assert!(
            response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nbytes"),
            "{response}"
        );
    }
}

#[test]
fn skopeo_says_its_version() {
    let Some(skopeo) = or_skip(Skopeo::find()) else {
        return;
    };
    let version = skopeo.run(&["--version"]).unwrap();
    assert!(version.stdout.starts_with(b"skopeo version "));
}

/// The three read a registry of the fourth, each with its own words for "without TLS".
#[test]
fn tools_in_go_read_a_registry() {
    let Some(registry) = or_skip(DockerRegistry::start()) else { return };
    let address = registry.address().to_string();
    if let Some(crane) = or_skip(Crane::find()) {
        assert_eq!(crane.run(&["catalog", &address]).unwrap().stdout, b"");
    }
    if let Some(regctl) = or_skip(Regctl::find()) {
        let host = format!("reg={address},tls=disabled");
        assert_eq!(regctl.run(&["--host", &host, "repo", "ls", &address]).unwrap().stdout, b"");
        assert_eq!(std::fs::read_dir(regctl.config()).unwrap().count(), 0);
    }
    if let Some(oras) = or_skip(Oras::find()) {
        assert_eq!(oras.run(&["repo", "ls", "--plain-http", &address]).unwrap().stdout, b"");
    }
}

#[test]
fn containerd_answers_and_leaves_nothing() {
    let Some(containerd) = or_skip(Containerd::start()) else {
        return;
    };
    assert_eq!(containerd.ctr(&["images", "ls", "-q"]).unwrap().stdout, b"");
    let (pid, folder) = (containerd.pid(), folder_of(containerd.socket()));
    drop(containerd);
    assert_gone(pid, &folder);
}

#[test]
fn docker_answers_and_leaves_nothing() {
    let Some(docker) = or_skip(Dockerd::start()) else {
        return;
    };
    assert_eq!(docker.docker(&["images", "--quiet"]).unwrap().stdout, b"");
    let (pid, folder) = (docker.pid(), folder_of(docker.socket()));
    drop(docker);
    assert_gone(pid, &folder);
}
