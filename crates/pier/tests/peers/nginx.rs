//! nginx in front of Pier, with the settings that the guide gives people.

use std::fs;
use std::path::Path;
use std::process::Command;

use pier_testkit::engine::{Nginx, Skopeo};
use pier_testkit::image::{ImageBuilder, Layer};
use pier_testkit::process::PierProcess;
use pier_testkit::skip::or_skip;
use pier_testkit::tls::Authority;

use crate::image::{Layout, digest, verified_files};
use crate::secured::{PIER, piped};

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/behind-tls.md");

/// The guide's block, with what is somebody's own replaced by ours.
#[track_caller]
fn block(replaced: &[(&str, &str)]) -> String {
    let guide = fs::read_to_string(GUIDE).unwrap();
    let block = guide.split("```nginx\n").nth(1).unwrap().split("```").next().unwrap();
    replaced.iter().fold(block.to_owned(), |block, (theirs, ours)| {
        assert!(block.contains(theirs), "`{theirs}` is not in the guide");
        block.replace(theirs, ours)
    })
}

#[test]
fn clients_push_and_pull_through_the_nginx_of_the_guide() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let authority = Authority::new().unwrap();
    let server = authority.server_identity().unwrap();
    fs::create_dir(path("certs")).unwrap();
    fs::write(path("certs/ca.crt"), authority.pem()).unwrap();
    fs::write(path("tls.crt"), server.certificate).unwrap();
    fs::write(path("tls.key"), server.key).unwrap();
    fs::write(path("htpasswd"), piped(Command::new(PIER).args(["htpasswd", "alice"]), "hunter2").stdout)
        .unwrap();
    let (data, htpasswd) = (path("data"), path("htpasswd"));
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", &data, "--htpasswd", &htpasswd];
    let registry = PierProcess::start(Path::new(PIER), arguments, []).unwrap();
    let nginx = Nginx::serve(|address| {
        block(&[
            ("listen 443 ssl", &format!("listen {address} ssl")),
            ("/etc/ssl/registry.lan.crt", &path("tls.crt")),
            ("/etc/ssl/registry.lan.key", &path("tls.key")),
            ("http://127.0.0.1:5000", &format!("http://{}", registry.address())),
        ])
    });
    let Some(nginx) = or_skip(nginx) else { return };

    // Far larger than what nginx takes unless told, and than its buffers.
    let image = ImageBuilder::new().layer(Layer::random(1, 20 << 20)).build();
    let layout = Layout::of(&image, "app");
    let name = format!("docker://{}/team/app:1", nginx.address());
    let certs = path("certs");
    let back = Layout::new();
    let refused = skopeo.run(&["copy", "--dest-cert-dir", &certs, &layout.source("app"), &name]);
    assert!(refused.is_err(), "nobody asks who is there");
    skopeo
        .run(&[
            "copy",
            "--preserve-digests",
            "--dest-cert-dir",
            &certs,
            "--dest-creds",
            "alice:hunter2",
            &layout.source("app"),
            &name,
        ])
        .unwrap();
    let destination = format!("dir:{}", back.path().display());
    skopeo
        .run(&["copy", "--src-cert-dir", &certs, "--src-creds", "alice:hunter2", &name, &destination])
        .unwrap();
    let manifest = fs::read(back.path().join("manifest.json")).unwrap();
    let pulled = digest(&manifest);
    assert_eq!(pulled, image.root.digest.to_string());
    let mut blobs = verified_files(back.path());
    blobs.insert(pulled, manifest.len() as u64);
    assert_eq!(blobs, layout.verified_blobs());
}
