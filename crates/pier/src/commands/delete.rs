//! `pier delete`
//!
//! Many registries delete by digest only, and a manifest takes all of its tags along. Who names a tag means that tag, so nothing else
//! goes unless it was said: the other tags are looked for first, and told. All of that is asked of the registry itself, since what a mirror
//! says of a tag may be old.

use std::{num::NonZeroUsize, sync::Arc};

use anyhow::anyhow;
use pier_client::{Client, Remote};
use pier_content::{Error, Freshness, Retrying, Source as _, resolve_all};
use pier_oci::{Digest, Reference, Registry, Repository, Tag};
use serde::Serialize;

use crate::{
    cli::Delete,
    config::Config,
    failure::{Failure, Status},
    output::Output,
    registries,
};

/// Questions at once for what other tags name.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(16).expect("it is not zero");

/// Tags that are looked at. In a repository with more, nobody can say in good time what a digest is called.
const TAGS: usize = 20_000;

/// What was removed, or would be.
#[derive(Debug, Serialize)]
struct Removal {
    repository: String,
    digest: Digest,
    /// Whether the manifest itself goes, or only its tag.
    manifest: bool,
    /// The tags that go.
    tags: Vec<String>,
    /// The other tags of the manifest, because of which nothing goes where a tag cannot be removed alone. Told of a trial only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at_stake: Vec<String>,
    dry_run: bool,
}

pub(crate) async fn run(options: &Delete, config: &Config, output: &Output) -> Result<Status, Failure> {
    let client = registries::client(config, &options.registries)?;
    let removal = match named(&options.reference)? {
        Named::Tag(repository, tag) => delete_tag(&client, &repository, &tag, options).await?,
        Named::Manifest(repository, digest) => {
            let reference = Reference { repository: repository.clone(), tag: None, digest: Some(digest) };
            let remote = client.remote(&repository.registry)?;
            super::insist(&client, &remote, async || remote.resolve(&reference).await).await?;
            delete_manifest(&client, &repository, &digest, None, options).await?
        }
    };
    output.data(&removal, text)?;
    Ok(Status::Done)
}

/// What a person wants to be gone.
enum Named {
    Tag(Repository, Tag),
    Manifest(Repository, Digest),
}

/// Nothing is deleted that was not written out: neither a tag that is meant where there is none, nor one of two names.
fn named(text: &str) -> Result<Named, Failure> {
    let Reference { repository, tag, digest } = text.parse()?;
    let unclear = |what: &str| {
        let hint = "name one tag, `repository:tag`, or one manifest, `repository@digest`";
        Err(Failure::new(Status::Usage, anyhow!("`{text}` {what}")).with_hint(hint))
    };
    match (tag, digest) {
        (Some(_), Some(_)) => unclear("names a tag and a digest"),
        (None, Some(digest)) => Ok(Named::Manifest(repository, digest)),
        (Some(tag), None) if text.ends_with(&format!(":{tag}")) => Ok(Named::Tag(repository, tag)),
        _ => unclear("names neither a tag nor a digest"),
    }
}

async fn delete_tag(
    client: &Client,
    repository: &Repository,
    tag: &Tag,
    options: &Delete,
) -> Result<Removal, Failure> {
    let reference = Reference { repository: repository.clone(), tag: Some(tag.clone()), digest: None };
    let remote = client.remote(&repository.registry)?;
    let digest = super::insist(client, &remote, async || remote.resolve(&reference).await).await?.digest;
    if !options.with_tags {
        let tags = vec![tag.to_string()];
        let only_tag = Removal {
            repository: repository.to_string(),
            digest,
            manifest: false,
            tags,
            at_stake: Vec::new(),
            dry_run: options.dry_run,
        };
        if options.dry_run {
            // Whether it can remove a tag alone shows only when it is told to, so both ends are told.
            let tags = tags_of(client, &remote, repository, &digest).await?;
            let at_stake = tags.iter().filter(|other| *other != tag).map(Tag::to_string).collect();
            return Ok(Removal { at_stake, ..only_tag });
        }
        match super::insist(client, &remote, async || remote.delete_tag(repository, tag).await).await {
            Ok(()) => return Ok(only_tag),
            // It takes digests only.
            Err(Error::Unsupported { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    delete_manifest(client, repository, &digest, Some(tag), options).await
}

/// Removes a manifest, unless it has other tags than `named` and they are to stay.
async fn delete_manifest(
    client: &Client,
    repository: &Repository,
    digest: &Digest,
    named: Option<&Tag>,
    options: &Delete,
) -> Result<Removal, Failure> {
    let remote = client.remote(&repository.registry)?;
    let tags = tags_of(client, &remote, repository, digest).await?;
    let others: Vec<String> =
        tags.iter().filter(|tag| Some(*tag) != named).map(|tag| format!("`{tag}`")).collect();
    if !others.is_empty() && !options.with_tags {
        let names = others.join(", ");
        let error = match named {
            Some(tag) => anyhow!(
                "`{}` cannot remove tag `{tag}` alone: with its manifest `{digest}` {names} would go too",
                repository.registry
            ),
            None => anyhow!("`{repository}@{digest}` is tagged {names}, which would go too"),
        };
        return Err(Failure::new(Status::No, error).with_hint("remove all of them with --with-tags"));
    }
    if !options.dry_run {
        super::insist(client, &remote, async || remote.delete_manifest(repository, digest).await).await?;
    }
    Ok(Removal {
        repository: repository.to_string(),
        digest: *digest,
        manifest: true,
        tags: tags.iter().map(Tag::to_string).collect(),
        at_stake: Vec::new(),
        dry_run: options.dry_run,
    })
}

/// The tags that name a digest.
async fn tags_of(
    client: &Client,
    remote: &Remote,
    repository: &Repository,
    digest: &Digest,
) -> Result<Vec<Tag>, Failure> {
    let tags = match super::insist(client, remote, async || remote.tags(repository).await).await {
        Err(Error::NotFound { .. }) => Vec::new(),
        tags => tags?,
    };
    if tags.len() > TAGS {
        let error =
            anyhow!("`{repository}` has more than {TAGS} tags: which of them name `{digest}` cannot be told");
        return Err(Failure::new(Status::No, error));
    }
    let references: Vec<Reference> = tags
        .iter()
        .map(|tag| Reference { repository: repository.clone(), tag: Some(tag.clone()), digest: None })
        .collect();
    let sources = |registry: &Registry| -> pier_content::Result<Arc<dyn pier_content::Source>> {
        let remote = Arc::new(client.remote(registry)?);
        Ok(Arc::new(Retrying::new(remote, client.retries().clone())))
    };
    let now = std::time::SystemTime::now();
    let answers = resolve_all(&references, &sources, Freshness::Now, AT_ONCE, now).await?;
    let mut naming = Vec::new();
    for (tag, outcome) in tags.into_iter().zip(answers.outcomes) {
        match outcome {
            Ok(resolved) if resolved.descriptor.digest == *digest => naming.push(tag),
            // Another one, or gone since it was listed.
            Ok(_) | Err(Error::NotFound { .. }) => {}
            // It may be one that would go.
            Err(error) => return Err(error.into()),
        }
    }
    Ok(naming)
}

fn text(removal: &Removal) -> String {
    let Removal { repository, digest, manifest, tags, at_stake, dry_run } = removal;
    let (untagged, removed) =
        if *dry_run { ("would untag", "would remove") } else { ("untagged", "removed") };
    let mut lines: Vec<String> = tags.iter().map(|tag| format!("{untagged} {repository}:{tag}")).collect();
    if *manifest {
        lines.push(format!("{removed} {repository}@{digest}"));
    } else if *dry_run && at_stake.is_empty() {
        lines.push(format!("with {repository}@{digest}, if a tag cannot be removed alone there"));
    } else if *dry_run {
        let names = at_stake.join(", ");
        lines.push(format!("or nothing, if a tag cannot be removed alone there, because of {names}"));
    }
    lines.join("\n")
}
