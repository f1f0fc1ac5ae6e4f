//! `pier rm`

use pier_oci::RepositoryName;
use pier_store::Removed;
use serde::Serialize;

use crate::{
    cli::Rm,
    config::Config,
    failure::{Failure, Status},
    output::Output,
    stored_name::StoredName,
};

/// What was removed for one of the names.
#[derive(Debug, Serialize)]
struct Entry {
    /// As it was typed.
    reference: String,
    /// As it is called in the store.
    repository: String,
    #[serde(flatten)]
    removed: Removed,
}

pub(crate) async fn run(options: &Rm, config: &Config, output: &Output) -> Result<Status, Failure> {
    // All names are read before the first image is removed.
    let names: Vec<StoredName> =
        options.references.iter().map(|text| StoredName::parse(text)).collect::<Result<_, Failure>>()?;
    let store = super::open_store(config)?;
    let mut entries = Vec::new();
    let mut outcome = Ok(Status::Done);
    for name in names {
        match remove(&store, &name).await {
            Ok((repository, removed)) => {
                let reference = name.to_string();
                entries.push(Entry { reference, repository: repository.to_string(), removed });
            }
            Err(failure) => {
                outcome = Err(failure);
                break;
            }
        }
    }
    // What is removed is removed, whatever became of the names behind it.
    output.data(&entries, |entries| entries.iter().map(text).collect())?;
    outcome
}

async fn remove(store: &pier_store::Store, name: &StoredName) -> Result<(RepositoryName, Removed), Failure> {
    for repository in name.repositories() {
        match store.remove_image(repository, &name.selector()).await {
            Ok(removed) => return Ok((repository.clone(), removed)),
            Err(pier_content::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(name.not_found())
}

fn text(entry: &Entry) -> String {
    let Entry { repository, removed, .. } = entry;
    let tags = removed.tags.iter().map(|tag| format!("untagged {repository}:{tag}\n"));
    let manifests = removed.manifests.iter().map(|digest| format!("removed {repository}@{digest}\n"));
    tags.chain(manifests).collect()
}
