//! `pier push`

use anyhow::anyhow;

use super::copy::{self, Request};
use crate::{
    cli::Push,
    config::Config,
    failure::{Failure, Status},
    output::Output,
    place::Place,
};

pub(crate) async fn run(options: &Push, config: &Config, output: &Output) -> Result<Status, Failure> {
    let Push { source, destination, selection, progress, registries } = options;
    let from = Place::parse_or_stored(source)?;
    let to = Place::parse(destination)?;
    if !matches!(to, Place::Registry(_)) {
        let error = anyhow!("`{destination}` is no image of a registry");
        return Err(Failure::new(Status::Usage, error).with_hint("`pier copy` writes to other places"));
    }
    let request =
        Request { source, from, destination, to, selection, progress: progress.progress, registries };
    copy::between(request, config, output).await
}
