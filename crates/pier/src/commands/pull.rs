//! `pier pull`

use std::{env::consts, sync::Arc};

use pier_content::{CopyOptions, Jitter, Platforms, Progress, RetryPolicy, Retrying, StoreTarget, copy};
use pier_oci::Platform;

use crate::{
    cli::Pull,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
};

pub(crate) async fn run(options: &Pull, config: &Config, _output: &Output) -> Result<Status, Failure> {
    let store = Arc::new(super::open_or_make_store(config)?);
    let client = super::client(config)?;
    let Pull { reference } = options;
    let remote = client.remote(&reference.repository.registry);
    let source = Retrying::new(Arc::new(remote), RetryPolicy::new(Jitter::none()));
    let target = StoreTarget { blobs: store.clone(), catalog: store };
    let platforms = Platforms::One(Platform::from_rust(consts::OS, consts::ARCH));
    let copy_options = CopyOptions { platforms, ..CopyOptions::default() };
    let tags: Vec<_> = reference.tag.iter().cloned().collect();
    let copied =
        copy(&source, reference, &target, &reference.repository, &tags, &copy_options, &Progress::default())
            .await?;
    output::line(&format!("{}@{}", reference.repository, copied.root.digest))?;
    Ok(Status::Done)
}
