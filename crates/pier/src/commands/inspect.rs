//! `pier inspect`
//!
//! The tools that people use call different digests "the image's": of the index, of the manifest, of the config. So all of them are
//! shown, each with its name, and every one is of bytes that were hashed here or is named by such bytes.

use std::{collections::BTreeMap, sync::Arc};

use pier_content::{Chain, Error, Progress, chain, chain::root, platform::is_attestation};
use pier_oci::{Descriptor, Digest, Manifest, MediaType, View};
use serde::Serialize;

use super::pull::this_machine;
use crate::{
    cli::Inspect,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
    place::{Place, Reading, Sites},
};

/// What is known of a name.
#[derive(Debug, Serialize)]
struct Report {
    reference: String,
    /// What the name stands for.
    #[serde(flatten)]
    root: Content,
    /// What an index lists.
    manifests: Vec<Listed>,
    /// The image, from its manifest down; `null` when an index has none for this machine and no platform was asked for.
    image: Option<Image>,
}

/// Content by its digest.
#[derive(Clone, Debug, Serialize)]
struct Content {
    digest: Digest,
    media_type: MediaType,
    size: u64,
}

/// An entry of an index.
#[derive(Debug, Serialize)]
struct Listed {
    platform: Option<String>,
    #[serde(flatten)]
    content: Content,
    /// Whether it is about an image and no image.
    attestation: bool,
}

#[derive(Debug, Serialize)]
struct Image {
    /// What the config says; `null` for an artifact.
    platform: Option<String>,
    /// Indexes on the way from the name, the root first.
    indexes: Vec<Content>,
    manifest: Content,
    config: Content,
    layers: Vec<Layer>,
    artifact_type: Option<String>,
    ids: Ids,
    created: Option<String>,
    run: Option<Run>,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Layer {
    #[serde(flatten)]
    content: Content,
    /// What it hashes to when it is uncompressed.
    diff_id: Option<Digest>,
}

/// What others call the ID of the image.
#[derive(Debug, Serialize)]
struct Ids {
    /// In Docker's own image store: the config.
    docker: Digest,
    /// In containerd, and in Docker where it keeps images in containerd: what the name stands for.
    containerd: Digest,
}

#[derive(Debug, Serialize)]
struct Run {
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: Vec<String>,
    user: Option<String>,
    working_dir: Option<String>,
    labels: BTreeMap<String, String>,
}

pub(crate) async fn run(options: &Inspect, config: &Config, output: &Output) -> Result<Status, Failure> {
    let place = Place::parse(&options.image)?;
    let sites = Sites::new(config, &options.registries);
    let reading = Reading::open(&place, &sites, &Progress::default()).await?;
    let (mut manifests, root) = root(&*reading.source, &reading.reference).await?;
    let here = this_machine();
    let platform = options.platform.as_ref().unwrap_or(&here);
    let chain = match chain(&*reading.source, &mut manifests, &root, platform, &Progress::default()).await {
        Ok(chain) => Some(chain),
        // Nobody asked for this machine's image, so there need not be one.
        Err(Error::NoPlatform { .. }) if options.platform.is_none() => None,
        Err(error) => return Err(reading.explain(error).await),
    };
    let report = report(&place, &root, chain);
    output.data(&report, text)?;
    Ok(Status::Done)
}

fn report(place: &Place, root: &Arc<Manifest>, chain: Option<Chain>) -> Report {
    let manifests = match root.view() {
        View::Index(index) => index.manifests.iter().map(listed).collect(),
        View::Image(_) => Vec::new(),
    };
    Report {
        reference: place.to_string(),
        root: Content::of(&root.descriptor()),
        manifests,
        image: chain.map(|chain| image(chain, root.digest())),
    }
}

fn listed(entry: &Descriptor) -> Listed {
    Listed {
        platform: entry.platform.as_ref().map(ToString::to_string),
        content: Content::of(entry),
        attestation: is_attestation(entry),
    }
}

fn image(chain: Chain, root: Digest) -> Image {
    let Chain { indexes, manifest, config, image, layers } = chain;
    let (platform, created, run) = match image.map(|image| image.config) {
        Some(image) => (Some(image.platform.to_string()), image.created, Some(image.run)),
        None => (None, None, None),
    };
    Image {
        artifact_type: if run.is_none() { manifest.artifact_type().map(str::to_owned) } else { None },
        platform,
        indexes: indexes.iter().map(|index| Content::of(&index.descriptor())).collect(),
        manifest: Content::of(&manifest.descriptor()),
        config: Content::of(&config),
        layers: layers
            .iter()
            .map(|layer| Layer { content: Content::of(&layer.descriptor), diff_id: layer.diff_id })
            .collect(),
        ids: Ids { docker: config.digest, containerd: root },
        created,
        run: run.map(|run| Run {
            entrypoint: run.entrypoint,
            cmd: run.cmd,
            env: run.env,
            user: run.user,
            working_dir: run.working_dir,
            labels: run.labels,
        }),
        annotations: manifest.annotations().clone(),
    }
}

impl Content {
    fn of(descriptor: &Descriptor) -> Self {
        let Descriptor { digest, media_type, size, .. } = descriptor;
        Self { digest: *digest, media_type: media_type.clone(), size: *size }
    }

    /// A line about it: what it is, its digest, its size and its type.
    fn row(&self, what: impl Into<String>) -> Vec<String> {
        vec![what.into(), self.digest.to_string(), output::bytes(self.size), self.media_type.to_string()]
    }
}

fn text(report: &Report) -> String {
    let mut rows = Vec::new();
    match &report.image {
        Some(image) => rows.extend(image_rows(image)),
        None => rows.push(report.root.row("index")),
    }
    let mut text = format!("{}\n\n{}", report.reference, output::table(&rows));
    if !report.manifests.is_empty() {
        let mut rows = vec![["PLATFORM", "DIGEST", "SIZE", "TYPE"].map(str::to_owned).to_vec()];
        rows.extend(report.manifests.iter().map(|entry| {
            let platform = match &entry.platform {
                _ if entry.attestation => "attestation",
                Some(platform) => platform,
                None => "-",
            };
            entry.content.row(platform)
        }));
        text.push('\n');
        text.push_str(&output::table(&rows));
    }
    text
}

fn image_rows(image: &Image) -> Vec<Vec<String>> {
    let note = |what: &str, digest: &Digest, note: &str| {
        vec![what.to_owned(), digest.to_string(), String::new(), note.to_owned()]
    };
    let mut rows: Vec<_> = image.indexes.iter().map(|index| index.row("index")).collect();
    rows.push(image.manifest.row("manifest"));
    rows.push(image.config.row("config"));
    for (position, layer) in image.layers.iter().enumerate() {
        rows.push(layer.content.row(format!("layer {}", position + 1)));
        if let Some(diff_id) = &layer.diff_id {
            rows.push(note("  diff id", diff_id, "the same, uncompressed"));
        }
    }
    if let Some(platform) = &image.platform {
        rows.push(vec!["platform".to_owned(), platform.clone()]);
        let Ids { docker, containerd } = &image.ids;
        rows.push(note("image ID", docker, "in Docker's own image store"));
        rows.push(note("image ID", containerd, "in containerd, and in Docker on containerd"));
    }
    if let Some(artifact_type) = &image.artifact_type {
        rows.push(vec!["artifact type".to_owned(), artifact_type.clone()]);
    }
    rows
}
