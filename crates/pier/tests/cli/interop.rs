//! Registries and images of others: what was pushed by one program comes by another, with the same digest.

use std::path::Path;

use pier_testkit::engine::{Crane, DockerRegistry, Oras, Regctl};
use pier_testkit::image::{BuiltImage, ImageBuilder, Layer};
use pier_testkit::skip::or_skip;

use crate::pier::{Store, text};
use crate::remote::{Multi, Remote};

/// With a layer that goes in one request, one that does not, and one that comes in ranges.
fn large() -> BuiltImage {
    [300_000, 5_000_000, 40 << 20]
        .into_iter()
        .zip(1..)
        .fold(ImageBuilder::new(), |image, (bytes, seed)| image.layer(Layer::random(seed, bytes)))
        .build()
}

/// Copies, which has to succeed. Gives the digest that the copy has.
#[track_caller]
fn copied(store: &Store, from: &str, to: &str) -> String {
    let line = store.data_of(&["copy", "--progress", "none", from, to]);
    line.trim_end().rsplit_once('@').unwrap().1.to_owned()
}

#[test]
fn docker_registry_is_a_registry_like_any_other() {
    let Some(registry) = or_skip(DockerRegistry::start()) else { return };
    let there = |name: &str| format!("{}/{name}", registry.address());
    let (store, remote) = (Store::empty(), Remote::start());
    for (number, image) in [large(), Multi::new().index].iter().enumerate() {
        let digest = image.root.digest.to_string();
        let ours = remote.push(image, &format!("team/app:{number}"));
        // Copied there, and within it, and back.
        assert_eq!(copied(&store, &ours, &there(&format!("team/app:{number}"))), digest);
        assert_eq!(
            copied(&store, &there(&format!("team/app:{number}")), &there(&format!("other/app:{number}"))),
            digest
        );
        let back = remote.name(&format!("back/app:{number}"));
        assert_eq!(copied(&store, &there(&format!("other/app:{number}")), &back), digest);

        // Pulled from there, and pushed.
        let pulled = Store::empty();
        let name = there(&format!("team/app:{number}"));
        let all = ["pull", "--progress", "none", "--all-platforms", &name];
        assert!(pulled.data_of(&all).contains(&digest));
        let pushed = there(&format!("pushed/app:{number}"));
        assert!(pulled.data_of(&["push", "--progress", "none", &name, &pushed]).contains(&digest));
        assert_eq!(pulled.data_of(&["resolve", &pushed]), format!("{}@{digest}\n", there("pushed/app")));
        assert_eq!(pulled.data_of(&["fsck"]).lines().count(), 1);
    }
    assert_eq!(store.data_of(&["tags", &there("team/app")]), "0\n1\n");
    let listed = store.data_of(&["catalog", &registry.address().to_string()]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let gone = there("team/app:1");
    assert_eq!(store.pier(&["delete", &gone]).status, 0);
    assert_eq!(store.pier(&["resolve", &gone]).status, 1);
}

/// What somebody pushed to a registry is pulled from it.
#[track_caller]
fn comes(remote: &Remote, image: &BuiltImage, name: &str) {
    let store = Store::empty();
    let all = ["pull", "--progress", "none", "--all-platforms", &remote.name(name)];
    let digest = image.root.digest.to_string();
    assert!(store.data_of(&all).ends_with(&format!("@{digest}\n")), "{name}");
    for blob in &image.blobs {
        assert!(store.blob(&blob.descriptor.digest.to_string()).exists(), "{name}");
    }
}

/// Both images as layouts in a folder.
fn layouts(folder: &Path) -> [(BuiltImage, String); 2] {
    [("image", large()), ("index", Multi::new().index)].map(|(name, image)| {
        let path = folder.join(name);
        image.write_oci_layout(&path, "v1").unwrap();
        let path = text(&path).to_owned();
        (image, path)
    })
}

#[test]
fn what_crane_pushed_is_pulled() {
    let Some(crane) = or_skip(Crane::find()) else { return };
    let (folder, remote) = (tempfile::tempdir().unwrap(), Remote::start());
    for (number, (image, layout)) in layouts(folder.path()).iter().enumerate() {
        // It takes a layout for what it lists, and what it lists first for the image unless it is told.
        let name = format!("crane{number}:1");
        crane.run(&["push", layout, &remote.name(&name)]).unwrap();
        comes(&remote, image, &name);
    }
}

#[test]
fn what_regctl_pushed_is_pulled_and_archives_go_both_ways() {
    let Some(regctl) = or_skip(Regctl::find()) else { return };
    let (folder, remote, store) = (tempfile::tempdir().unwrap(), Remote::start(), Store::empty());
    let host = remote.proxy.address().to_string();
    regctl.run(&["registry", "set", "--tls", "disabled", &host]).unwrap();
    for (number, (image, layout)) in layouts(folder.path()).iter().enumerate() {
        let name = format!("regctl{number}:1");
        regctl.run(&["image", "copy", &format!("ocidir://{layout}:v1"), &remote.name(&name)]).unwrap();
        comes(&remote, image, &name);

        let (theirs, ours) = (format!("{layout}-theirs.tar"), format!("{layout}-ours.tar"));
        regctl.run(&["image", "export", &remote.name(&name), &theirs]).unwrap();
        let back = remote.name(&format!("exported{number}:1"));
        let digest = image.root.digest.to_string();
        assert_eq!(copied(&store, &format!("oci-archive:{theirs}"), &back), digest);

        copied(&store, &remote.name(&name), &format!("oci-archive:{ours}:v1"));
        let imported = format!("imported{number}:1");
        regctl.run(&["image", "import", &remote.name(&imported), &ours]).unwrap();
        comes(&remote, image, &imported);
    }
}

#[test]
fn what_oras_pushed_is_pulled_and_it_reads_archives() {
    let Some(oras) = or_skip(Oras::find()) else { return };
    let (folder, remote, store) = (tempfile::tempdir().unwrap(), Remote::start(), Store::empty());
    for (number, (image, layout)) in layouts(folder.path()).iter().enumerate() {
        let name = format!("oras{number}:1");
        let push = ["cp", "--no-tty", "--from-oci-layout", "--to-plain-http"];
        let there = remote.name(&name);
        oras.run(&[&push[..], &[&format!("{layout}:v1"), &there]].concat()).unwrap();
        comes(&remote, image, &name);

        let archive = format!("{layout}.tar");
        copied(&store, &there, &format!("oci-archive:{archive}:v1"));
        let imported = remote.name(&format!("imported{number}:1"));
        oras.run(&[&push[..], &[&format!("{archive}:v1"), &imported]].concat()).unwrap();
        comes(&remote, image, &format!("imported{number}:1"));
    }
}
