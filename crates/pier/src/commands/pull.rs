//! `pier pull`

use std::{env::consts, sync::Arc};

use pier_content::{CopyOptions, Platforms, Progress, StoreTarget, copy};
use pier_oci::Platform;

use crate::{
    cli::Pull,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
    registries,
};

pub(crate) async fn run(options: &Pull, config: &Config, _output: &Output) -> Result<Status, Failure> {
    let store = Arc::new(super::open_or_make_store(config)?);
    let Pull { reference, registries } = options;
    let client = registries::client(config, registries)?;
    let source = client.source(&reference.repository.registry)?;
    let target = StoreTarget { blobs: store.clone(), catalog: store };
    let platforms = Platforms::One(Platform::from_rust(consts::OS, consts::ARCH));
    let copy_options = CopyOptions { platforms, ..CopyOptions::default() };
    let tags: Vec<_> = reference.tag.iter().cloned().collect();
    let copied =
        copy(&*source, reference, &target, &reference.repository, &tags, &copy_options, &Progress::default())
            .await?;
    output::line(&format!("{}@{}", reference.repository, copied.root.digest))?;
    Ok(Status::Done)
}
