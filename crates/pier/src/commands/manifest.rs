//! `pier manifest`

use pier_content::{chain::root, select};
use pier_oci::{Digest, MediaType, Reference};
use serde::Serialize;

use crate::{
    cli::ShowManifest,
    config::Config,
    failure::{Failure, Status},
    output::{self, Format, Output},
};

/// A manifest in JSON. It is a text there and no object, because only its bytes have its digest.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    reference: String,
    digest: Digest,
    media_type: &'a MediaType,
    size: u64,
    manifest: &'a str,
}

pub(crate) async fn run(options: &ShowManifest, config: &Config, output: &Output) -> Result<Status, Failure> {
    let reference: Reference = options.image.parse()?;
    let client = super::client(config)?;
    let source = super::source(&client, &reference.repository.registry);
    let (mut manifests, mut manifest) = root(&*source, &reference).await?;
    if let Some(platform) = &options.platform {
        let selected = select(&mut manifests, &manifest, platform).await?;
        if !selected.indexes.is_empty() {
            manifest = manifests.child(&selected.image).await?;
        }
    }
    match output.format() {
        Format::Text => output::exactly(manifest.bytes())?,
        Format::Json => {
            // What was parsed as JSON is UTF-8.
            let text = str::from_utf8(manifest.bytes()).map_err(anyhow::Error::new)?;
            let entry = Entry {
                reference: reference.to_string(),
                digest: manifest.digest(),
                media_type: manifest.media_type(),
                size: manifest.size(),
                manifest: text,
            };
            output.data(&entry, |_| String::new())?;
        }
    }
    Ok(Status::Done)
}
