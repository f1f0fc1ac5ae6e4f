//! `pier rm`

use pier_oci::{Reference, RepositoryName, Selector, Tag};
use pier_store::Removed;
use serde::Serialize;

use crate::{
    cli::Rm,
    config::Config,
    failure::{Failure, Status},
    output::Output,
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
    let names: Vec<(String, Vec<Name>)> = options
        .references
        .iter()
        .map(|text| Ok((text.clone(), candidates(text)?)))
        .collect::<Result<_, Failure>>()?;
    let store = super::open_store(config)?;
    let mut entries = Vec::new();
    let mut outcome = Ok(Status::Done);
    for (reference, candidates) in names {
        match remove(&store, &candidates).await {
            Ok((repository, removed)) => {
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

type Name = (RepositoryName, Selector);

/// What a name can mean: a repository of this store as it is written, or one that was pulled from a registry.
fn candidates(text: &str) -> Result<Vec<Name>, Failure> {
    let reference: Reference = text.parse()?;
    let pulled = (reference.repository.local_name()?, reference.selector());
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let selector = match (digest, tag) {
        (Some(_), _) => Some(reference.selector()),
        (None, Some(tag)) => tag.parse().ok().map(Selector::Tag),
        (None, None) => Some(Selector::Tag(Tag::latest())),
    };
    let written = name.parse().ok().zip(selector);
    Ok(written.into_iter().chain([pulled]).collect())
}

async fn remove(
    store: &pier_store::Store,
    candidates: &[Name],
) -> Result<(RepositoryName, Removed), Failure> {
    let mut first_failure = None;
    for (repository, selector) in candidates {
        match store.remove_image(repository, selector).await {
            Ok(removed) => return Ok((repository.clone(), removed)),
            Err(error @ pier_content::Error::NotFound { .. }) => {
                first_failure.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let failure = first_failure.map_or_else(
        || Failure::new(Status::Usage, anyhow::anyhow!("there is no name to remove")),
        Failure::from,
    );
    Err(failure.with_hint("`pier images` lists what is in the store"))
}

fn text(entry: &Entry) -> String {
    let Entry { repository, removed, .. } = entry;
    let tags = removed.tags.iter().map(|tag| format!("untagged {repository}:{tag}\n"));
    let manifests = removed.manifests.iter().map(|digest| format!("removed {repository}@{digest}\n"));
    tags.chain(manifests).collect()
}
