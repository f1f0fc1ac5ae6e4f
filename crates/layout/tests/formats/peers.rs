//! The formats with the tools that write and read them: what one writes the other reads, with the same digests.

use std::fs;
use std::path::Path;
use std::process::Command;

use pier_content::Source as _;
use pier_layout::{DockerArchiveWriter, OciArchiveWriter, OciLayout};
use pier_oci::Digest;
use pier_testkit::engine::{Containerd, Dockerd, Podman, Skopeo};
use pier_testkit::image::{GREETING, busybox};
use pier_testkit::skip::or_skip;

use crate::work::{
    all_of, copied, copied_as, docker_archive, flat, folder, image, index_of, nested, oci_archive, output,
    reference, stored, verified_blobs, written,
};

/// Copies byte for byte: left alone, skopeo packs layers that are not.
#[track_caller]
fn copy(skopeo: &Skopeo, from: &str, to: &str) {
    skopeo.run(&["copy", "--all", "--preserve-digests", from, to]).unwrap();
}

fn named(kind: &str, path: &Path, name: &str) -> String {
    format!("{kind}:{}:{name}", path.display())
}

#[tokio::test]
async fn skopeo_reads_the_layouts_and_archives_that_are_written_here() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    for image in [image("a"), flat()] {
        let (source, from) = stored(&image).await;
        let place = folder();
        let layout = OciLayout::create(place.path().join("layout")).await.unwrap();
        copied(&source, &from, &layout, &["v1"]).await.unwrap();
        let tar = place.path().join("image.tar");
        let archive = OciArchiveWriter::create(output(&tar)).await.unwrap();
        copied(&source, &from, &archive, &["v1"]).await.unwrap();
        archive.finish().await.unwrap();

        for (kind, path) in [("oci", place.path().join("layout")), ("oci-archive", tar)] {
            let back = folder();
            copy(&skopeo, &named(kind, &path, "v1"), &named("oci", back.path(), "v1"));
            assert_eq!(verified_blobs(back.path()), all_of(&image), "{kind}");
            assert_eq!(
                index_of(back.path())["manifests"][0]["digest"],
                image.root.digest.to_string(),
                "{kind}"
            );
        }
    }
}

#[tokio::test]
async fn layouts_and_archives_that_skopeo_wrote_are_read_and_kept() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    for image in [image("a"), flat()] {
        let source = written(&image, "it");
        let place = folder();
        let (there, tar) = (place.path().join("layout"), place.path().join("image.tar"));
        for (kind, path) in [("oci", &there), ("oci-archive", &tar)] {
            copy(&skopeo, &named("oci", source.path(), "it"), &named(kind, path, "v1"));
        }
        let layout = OciLayout::open(&there).await.unwrap();
        let archive = oci_archive(&tar).await.unwrap();
        for (place, reference) in [
            (&layout as &dyn pier_content::Source, layout.reference(Some("v1")).await.unwrap()),
            (&archive, archive.reference(None).await.unwrap()),
        ] {
            assert_eq!(reference.digest, Some(image.root.digest));
            let back = folder();
            let target = OciLayout::create(back.path()).await.unwrap();
            copied(place, &reference, &target, &["v1"]).await.unwrap();
            assert_eq!(verified_blobs(back.path()), all_of(&image));
        }
        // One more image beside skopeo's: skopeo still finds its own.
        let (store, other) = stored(&crate::work::image("other")).await;
        copied(&store, &other, &layout, &["v2"]).await.unwrap();
        let back = folder();
        copy(&skopeo, &named("oci", &there, "v1"), &named("oci", back.path(), "v1"));
        assert_eq!(verified_blobs(back.path()), all_of(&image));
    }
}

#[tokio::test]
async fn skopeo_and_docker_archives_go_both_ways() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    let image = image("a");
    let id = image.blobs[0].descriptor.digest;
    let (source, from) = stored(&image).await;
    let place = folder();
    let ours = place.path().join("ours.tar");
    let writer = DockerArchiveWriter::create(output(&ours)).await.unwrap();
    copied(&source, &from, &writer, &["v1"]).await.unwrap();
    writer.finish().await.unwrap();

    // The reference has to be found by skopeo, and the id has to be the same.
    let inspected = skopeo
        .run(&[
            "inspect",
            "--config",
            "--raw",
            &named("docker-archive", &ours, "registry.example/team/app:v1"),
        ])
        .unwrap();
    assert_eq!(Digest::sha256(&inspected.stdout), id);

    let theirs = place.path().join("theirs.tar");
    skopeo
        .run(&[
            "copy",
            &named("oci", written(&image, "it").path(), "it"),
            &named("docker-archive", &theirs, "registry.example/team/app:v2"),
        ])
        .unwrap();
    let archive = docker_archive(&theirs).await.unwrap();
    let reference = archive.reference(Some("registry.example/team/app:v2")).await.unwrap();
    let back = folder();
    let layout = OciLayout::create(back.path()).await.unwrap();
    copied(&archive, &reference, &layout, &["v2"]).await.unwrap();
    // Skopeo writes layers as plain tars: what they hash to is what the config says.
    let blobs = verified_blobs(back.path());
    assert_eq!(blobs.len(), 4);
    let copied =
        fs::read(back.path().join(format!("blobs/sha256/{}", reference.digest.unwrap().hex()))).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&copied).unwrap();
    let config: Digest = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
    let config: serde_json::Value = serde_json::from_slice(
        &fs::read(back.path().join(format!("blobs/sha256/{}", config.hex()))).unwrap(),
    )
    .unwrap();
    let layers: Vec<_> =
        manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].clone()).collect();
    assert_eq!(config["rootfs"]["diff_ids"], serde_json::Value::Array(layers));
}

#[tokio::test]
async fn docker_loads_and_runs_what_is_written_here_and_what_it_saves_is_read() {
    let (Some(docker), Some(image)) = (or_skip(Dockerd::start()), or_skip(busybox())) else { return };
    let id = image.blobs[0].descriptor.digest.to_string();
    let (source, from) = stored(&image).await;
    let place = folder();
    let ours = place.path().join("ours.tar");
    let writer = DockerArchiveWriter::create(output(&ours)).await.unwrap();
    copied_as(&source, &from, &writer, &reference("busybox").repository, &["1", "2"]).await.unwrap();
    writer.finish().await.unwrap();

    let said = docker.docker(&["load", "--input", ours.to_str().unwrap()]).unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.lines().collect::<Vec<_>>(), ["Loaded image: busybox:1", "Loaded image: busybox:2"]);
    let found = docker.docker(&["image", "inspect", "--format", "{{.Id}}", "busybox:2"]).unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap().trim(), id);
    let ran = docker.docker(&["run", "--rm", "--network", "none", "busybox:1"]).unwrap();
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), GREETING);

    let saved = place.path().join("saved.tar");
    docker.docker(&["save", "--output", saved.to_str().unwrap(), "busybox:1", "busybox:2"]).unwrap();
    let archive = docker_archive(&saved).await.unwrap();
    let listed: Vec<String> =
        archive.entries().await.unwrap().into_iter().flat_map(|entry| entry.names).collect();
    assert_eq!(listed, ["busybox:1", "busybox:2"]);
    let of_id = archive.reference(Some(&id)).await.unwrap();
    assert_eq!(archive.reference(Some("docker.io/library/busybox:1")).await.unwrap(), of_id);
    let manifest = archive.resolve(&of_id).await.unwrap();
    let back = folder();
    let layout = OciLayout::create(back.path()).await.unwrap();
    copied(&archive, &of_id, &layout, &["1"]).await.unwrap();
    assert_eq!(verified_blobs(back.path()).len(), 3);
    assert!(verified_blobs(back.path()).contains_key(&manifest.digest));

    // And back again: what was read from Docker's archive is loaded under a new name.
    let again = place.path().join("again.tar");
    let writer = DockerArchiveWriter::create(output(&again)).await.unwrap();
    copied_as(&archive, &of_id, &writer, &reference("again").repository, &["3"]).await.unwrap();
    writer.finish().await.unwrap();
    docker.docker(&["image", "rm", "--force", "busybox:1", "busybox:2"]).unwrap();
    docker.docker(&["load", "--input", again.to_str().unwrap()]).unwrap();
    let found = docker.docker(&["image", "inspect", "--format", "{{.Id}}", "again:3"]).unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap().trim(), id);
}

#[tokio::test]
async fn containerd_imports_what_is_written_here_and_what_it_exports_is_read() {
    let Some(containerd) = or_skip(Containerd::start()) else { return };
    let image = image("a");
    let (source, from) = stored(&image).await;
    let place = folder();
    let ours = place.path().join("ours.tar");
    let name = "registry.example/team/app:v1";

    let writer = DockerArchiveWriter::create(output(&ours)).await.unwrap();
    copied(&source, &from, &writer, &["v1"]).await.unwrap();
    writer.finish().await.unwrap();
    let import = |path: &Path| {
        containerd.ctr(&["images", "import", "--no-unpack", path.to_str().unwrap()]).unwrap();
        let listed = containerd.ctr(&["images", "ls"]).unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let line = listed.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line.contains(&image.root.digest.to_string()), "{line}");
    };
    import(&ours);
    let theirs = place.path().join("theirs.tar");
    containerd.ctr(&["images", "export", theirs.to_str().unwrap(), name]).unwrap();
    let archive = oci_archive(&theirs).await.unwrap();
    assert_eq!(archive.reference(Some("v1")).await.unwrap(), archive.reference(Some(name)).await.unwrap());
    let reference = archive.reference(None).await.unwrap();
    assert_eq!(reference.digest, Some(image.root.digest));
    let back = folder();
    copied(&archive, &reference, &OciLayout::create(back.path()).await.unwrap(), &["v1"]).await.unwrap();
    assert_eq!(verified_blobs(back.path()), all_of(&image));

    // Its exports are for Docker, too.
    let docker = docker_archive(&theirs).await.unwrap();
    let reference = docker.reference(Some(name)).await.unwrap();
    assert_eq!(
        docker.reference(Some(&image.blobs[0].descriptor.digest.to_string())).await.unwrap(),
        reference
    );
}

#[tokio::test]
async fn podman_loads_what_is_written_here_and_what_it_saves_is_read() {
    let Some(podman) = or_skip(Podman::find()) else { return };
    let image = image("a");
    let id = image.blobs[0].descriptor.digest;
    let (source, from) = stored(&image).await;
    let place = folder();
    for tags in [&["v1"][..], &["v1", "v2"]] {
        let ours = place.path().join("ours.tar");
        let writer = DockerArchiveWriter::create(output(&ours)).await.unwrap();
        copied(&source, &from, &writer, tags).await.unwrap();
        writer.finish().await.unwrap();
        podman.run(&["load", "--input", ours.to_str().unwrap()]).unwrap();
        for tag in tags {
            let name = format!("registry.example/team/app:{tag}");
            let found = podman.run(&["image", "inspect", "--format", "{{.Id}}", &name]).unwrap();
            assert_eq!(String::from_utf8(found.stdout).unwrap().trim(), id.hex());
        }
    }
    let name = "registry.example/team/app:v1";
    let saved = place.path().join("saved.tar");
    podman.run(&["save", "--format", "docker-archive", "--output", saved.to_str().unwrap(), name]).unwrap();
    let archive = docker_archive(&saved).await.unwrap();
    let reference = archive.reference(Some(name)).await.unwrap();
    let back = folder();
    copied(&archive, &reference, &OciLayout::create(back.path()).await.unwrap(), &["v1"]).await.unwrap();
    assert_eq!(verified_blobs(back.path()).len(), 4);

    let saved = place.path().join("saved.oci.tar");
    podman.run(&["save", "--format", "oci-archive", "--output", saved.to_str().unwrap(), name]).unwrap();
    let archive = oci_archive(&saved).await.unwrap();
    let reference = archive.reference(None).await.unwrap();
    let back = folder();
    copied(&archive, &reference, &OciLayout::create(back.path()).await.unwrap(), &["v1"]).await.unwrap();
    let blobs = verified_blobs(back.path());
    assert_eq!(blobs.len(), 4);
}

#[test]
fn unpacked_archives_are_layouts() {
    // Not a peer of containers, but the judge of tars.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let image = nested();
        let (source, from) = stored(&image).await;
        let place = folder();
        let tar = place.path().join("image.tar");
        let writer = OciArchiveWriter::create(output(&tar)).await.unwrap();
        copied(&source, &from, &writer, &["v1"]).await.unwrap();
        writer.finish().await.unwrap();
        let there = place.path().join("there");
        fs::create_dir(&there).unwrap();
        let status = Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&there).status().unwrap();
        assert!(status.success());
        let layout = OciLayout::open(&there).await.unwrap();
        assert_eq!(layout.reference(Some("v1")).await.unwrap().digest, Some(image.root.digest));
        assert_eq!(verified_blobs(&there), all_of(&image));

        let repacked = place.path().join("repacked.tar");
        let status =
            Command::new("tar").arg("-czf").arg(&repacked).arg("-C").arg(&there).arg(".").status().unwrap();
        assert!(status.success());
        let archive = oci_archive(&repacked).await.unwrap();
        assert_eq!(archive.reference(None).await.unwrap().digest, Some(image.root.digest));
        let back = folder();
        let reference = archive.reference(None).await.unwrap();
        copied(&archive, &reference, &OciLayout::create(back.path()).await.unwrap(), &["v1"]).await.unwrap();
        assert_eq!(verified_blobs(back.path()), all_of(&image));
    });
}
