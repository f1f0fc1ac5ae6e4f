//! `pier completions`

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, Completions},
    failure::{Failure, Status},
    output,
};

pub(crate) fn run(options: &Completions) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "pier", &mut script);
    output::exactly(&script)?;
    Ok(Status::Done)
}
