//! `pier testdata`: real images in a folder, and a registry for tests over it.
//!
//! The folder is the storage folder of distribution, so that it can be kept beside the tests, be served by other
//! registries, and be made by them.

mod catalog;
mod guard;
mod init;
mod run;
mod staging;
mod subset;
mod wanted;

pub(crate) use self::guard::Login;
use crate::{
    cli::{Testdata, TestdataCommand},
    config::Config,
    failure::{Failure, Status},
    output::Output,
};

pub(crate) async fn run(options: &Testdata, config: &Config, output: &Output) -> Result<Status, Failure> {
    let folder = &options.storage_dir;
    match &options.command {
        TestdataCommand::Init(options) => init::run(options, folder, config, output).await,
        TestdataCommand::Catalog => catalog::run(folder, output).await,
        TestdataCommand::Run(options) => run::run(options, folder, config, output).await,
    }
}
