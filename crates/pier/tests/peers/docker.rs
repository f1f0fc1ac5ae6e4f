//! What the tests ask of Docker.

use std::fs;
use std::path::Path;

use pier_testkit::engine::Dockerd;
use pier_testkit::image::GREETING;

/// An image of several layers, one of them written by a command that runs during the build.
#[track_caller]
pub(crate) fn build(docker: &Dockerd, busybox: &Path, reference: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(busybox, folder.path().join("busybox")).unwrap();
    let greeting = GREETING.trim_end();
    let steps = format!(
        "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"mkdir\", \"/made\"]\n\
         RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo {greeting} >/made/greeting\"]\nCMD [\"/bin/busybox\", \"cat\", \"/made/greeting\"]\n"
    );
    fs::write(folder.path().join("Dockerfile"), steps).unwrap();
    docker
        .docker(&["build", "--network", "host", "--tag", reference, folder.path().to_str().unwrap()])
        .unwrap();
}

/// Gives the digest that the registry has it under now, as Docker tells it.
#[track_caller]
pub(crate) fn push(docker: &Dockerd, reference: &str) -> String {
    let said = String::from_utf8(docker.docker(&["push", reference]).unwrap().stdout).unwrap();
    let digest = said.lines().find_map(|line| line.split_once("digest: ")?.1.split(' ').next());
    digest.unwrap().to_owned()
}

/// Docker keeps layers unpacked, so it is its word that has to do: the reference that it checked each of them against.
#[track_caller]
pub(crate) fn pull(docker: &Dockerd, reference: &str, digest: &str) {
    docker.docker(&["pull", reference]).unwrap();
    let found = docker
        .docker(&["image", "inspect", "--format", "{{join .RepoDigests \"\\n\"}}", reference])
        .unwrap()
        .stdout;
    let found = String::from_utf8(found).unwrap();
    assert!(found.lines().any(|line| line == reference && line.ends_with(digest)), "{found}");
}

/// What the image prints.
#[track_caller]
pub(crate) fn run(docker: &Dockerd, reference: &str) -> String {
    String::from_utf8(docker.docker(&["run", "--rm", "--network", "host", reference]).unwrap().stdout)
        .unwrap()
}
