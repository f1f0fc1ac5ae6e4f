//! The same with regctl, oras and crane, which keep layouts each in their own way.

use std::path::Path;

use pier_content::Source as _;
use pier_layout::{DockerArchiveWriter, OciArchiveWriter, OciLayout};
use pier_testkit::engine::{Crane, Oras, Regctl};
use pier_testkit::image::{ImageBuilder, Packing, Tree};
use pier_testkit::skip::or_skip;

use crate::work::{
    all_of, copied, copied_as, docker_archive, flat, folder, image, index_of, oci_archive, output, reference,
    repository, stored, verified_blobs,
};

/// A layout that is written here: an index under `v1`, an image under `v2`, and a signature of that.
async fn written_here(path: &Path) -> OciLayout {
    let layout = OciLayout::create(path).await.unwrap();
    let image = image("a");
    let signature = ImageBuilder::new().artifact_type("application/vnd.example").subject(&image.root).build();
    for (built, tags) in [(&flat(), &["v1"][..]), (&image, &["v2"]), (&signature, &[])] {
        let (source, from) = stored(built).await;
        copied(&source, &from, &layout, tags).await.unwrap();
    }
    layout
}

/// What is under `v1` there is the index, whole, and is copied out again.
async fn is_the_index(path: &Path, name: Option<&str>) {
    let layout = OciLayout::open(path).await.unwrap();
    let reference = layout.reference(name).await.unwrap();
    assert_eq!(reference.digest, Some(flat().root.digest));
    let back = folder();
    copied(&layout, &reference, &OciLayout::create(back.path()).await.unwrap(), &["v1"]).await.unwrap();
    assert_eq!(verified_blobs(back.path()), all_of(&flat()));
}

#[tokio::test]
async fn regctl_reads_and_writes_the_same_layouts() {
    let Some(regctl) = or_skip(Regctl::find()) else { return };
    let (ours, theirs) = (folder(), folder());
    written_here(ours.path()).await;
    let name = |path: &Path, tag: &str| format!("ocidir://{}:{tag}", path.display());
    regctl.run(&["image", "copy", &name(ours.path(), "v1"), &name(theirs.path(), "v1")]).unwrap();
    is_the_index(theirs.path(), Some("v1")).await;
    is_the_index(theirs.path(), None).await;

    // It lists referrers as at a registry without the referrers API: by a tag.
    regctl.run(&["image", "copy", &name(ours.path(), "v2"), &name(theirs.path(), "v2")]).unwrap();
    let file = ours.path().join("index.json");
    let subject = name(theirs.path(), "v2");
    let about = ["artifact", "put", "--artifact-type", "application/vnd.example", "--subject", &subject];
    regctl.run(&[&about[..], &["--file", file.to_str().unwrap()]].concat()).unwrap();
    let layout = OciLayout::open(theirs.path()).await.unwrap();
    let found = layout.referrers(&repository(), &image("a").root.digest).await.unwrap();
    let types: Vec<Option<&str>> = found.iter().map(|found| found.artifact_type.as_deref()).collect();
    assert_eq!(types, [Some("application/vnd.example")]);

    // Written to by both: regctl still finds its own beside ours, and collects nothing of it.
    let (source, from) = stored(&image("other")).await;
    copied(&source, &from, &layout, &["v3"]).await.unwrap();
    let tags = regctl.run(&["tag", "ls", &format!("ocidir://{}", theirs.path().display())]).unwrap();
    let tags = String::from_utf8(tags.stdout).unwrap();
    for tag in ["v1", "v2", "v3"] {
        assert!(tags.lines().any(|line| line == tag), "{tags}");
        regctl.run(&["manifest", "get", &name(theirs.path(), tag)]).unwrap();
    }

    let exported = ours.path().with_extension("tar");
    regctl.run(&["image", "export", &name(ours.path(), "v2"), exported.to_str().unwrap()]).unwrap();
    let archive = oci_archive(&exported).await.unwrap();
    assert_eq!(archive.reference(None).await.unwrap().digest, Some(image("a").root.digest));
    let archive = docker_archive(&exported).await.unwrap();
    let id = image("a").blobs[0].descriptor.digest.to_string();
    assert_eq!(archive.reference(None).await.unwrap(), archive.reference(Some(&id)).await.unwrap());
    std::fs::remove_file(&exported).unwrap();
}

#[tokio::test]
async fn regctl_imports_archives_that_are_written_here() {
    let Some(regctl) = or_skip(Regctl::find()) else { return };
    let place = folder();
    let tar = place.path().join("image.tar");
    let writer = OciArchiveWriter::create(output(&tar)).await.unwrap();
    let (source, from) = stored(&flat()).await;
    copied(&source, &from, &writer, &["v1"]).await.unwrap();
    writer.finish().await.unwrap();
    let there = place.path().join("there");
    regctl
        .run(&["image", "import", &format!("ocidir://{}:v1", there.display()), tar.to_str().unwrap()])
        .unwrap();
    is_the_index(&there, Some("v1")).await;
}

#[tokio::test]
async fn oras_reads_and_writes_the_same_layouts() {
    let Some(oras) = or_skip(Oras::find()) else { return };
    let (ours, theirs) = (folder(), folder());
    written_here(ours.path()).await;
    let name = |path: &Path, tag: &str| format!("{}:{tag}", path.display());
    let copy = |tag: &str| {
        let (from, to) = (name(ours.path(), tag), name(theirs.path(), tag));
        oras.run(&["copy", "--recursive", "--from-oci-layout", &from, "--to-oci-layout", &to]).unwrap();
    };
    copy("v1");
    // It lists the children beside the index.
    assert_eq!(index_of(theirs.path())["manifests"].as_array().unwrap().len(), 4);
    is_the_index(theirs.path(), Some("v1")).await;
    is_the_index(theirs.path(), None).await;

    copy("v2");
    let layout = OciLayout::open(theirs.path()).await.unwrap();
    let found = layout.referrers(&repository(), &image("a").root.digest).await.unwrap();
    assert_eq!(found.len(), 1);

    let before = index_of(theirs.path())["manifests"].as_array().unwrap().len();
    let (source, from) = stored(&image("other")).await;
    copied(&source, &from, &layout, &["v3"]).await.unwrap();
    assert_eq!(index_of(theirs.path())["manifests"].as_array().unwrap().len(), before + 1);
    let tags = oras.run(&["repo", "tags", "--oci-layout", theirs.path().to_str().unwrap()]).unwrap();
    assert_eq!(String::from_utf8(tags.stdout).unwrap(), "v1\nv2\nv3\n");
    let fetched = oras.run(&["manifest", "fetch", "--oci-layout", &name(theirs.path(), "v3")]).unwrap();
    assert_eq!(fetched.stdout, image("other").manifests[0].bytes);
}

#[tokio::test]
async fn crane_takes_docker_archives_that_are_written_here() {
    let Some(crane) = or_skip(Crane::find()) else { return };
    let place = folder();
    let tar = place.path().join("image.tar");
    // It goes by how the first layer is packed, so an archive that mixes is none for it.
    for packing in [Packing::Tar, Packing::Gzip] {
        let layer = |name: &str| Tree::new().file(name, name.to_owned()).pack(packing);
        let image = ImageBuilder::new().layer(layer("a")).layer(layer("b")).build();
        let writer = DockerArchiveWriter::create(output(&tar)).await.unwrap();
        let (source, from) = stored(&image).await;
        copied_as(&source, &from, &writer, &reference("alpine").repository, &["1"]).await.unwrap();
        writer.finish().await.unwrap();
        // It reads every layer and holds it against the config.
        crane.run(&["validate", "--tarball", tar.to_str().unwrap()]).unwrap();
    }
}
