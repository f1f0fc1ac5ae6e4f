//! `pier manifest`

use pier_content::{Progress, chain::root, select};
use pier_oci::{Digest, MediaType};
use serde::Serialize;

use crate::{
    cli::ShowManifest,
    config::Config,
    failure::{Failure, Status},
    output::{self, Format, Output},
    place::{Place, Reading, Sites},
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
    let place = Place::parse(&options.image)?;
    let sites = Sites::new(config, &options.registries);
    let reading = Reading::open(&place, &sites, &Progress::default()).await?;
    let (mut manifests, mut manifest) = root(&*reading.source, &reading.reference).await?;
    if let Some(platform) = &options.platform {
        let chosen = match select(&mut manifests, &manifest, platform).await {
            Ok(selected) if selected.indexes.is_empty() => Ok(manifest),
            Ok(selected) => manifests.child(&selected.image).await,
            Err(error) => Err(error),
        };
        manifest = match chosen {
            Ok(chosen) => chosen,
            Err(error) => return Err(reading.explain(error).await),
        };
    }
    match output.format() {
        Format::Text => output::exactly(manifest.bytes())?,
        Format::Json => {
            // What was parsed as JSON is UTF-8.
            let text = str::from_utf8(manifest.bytes()).map_err(anyhow::Error::new)?;
            let entry = Entry {
                reference: place.to_string(),
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
