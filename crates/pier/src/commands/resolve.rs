//! `pier resolve`

use std::{
    fs::File,
    io::{self, Read},
    num::NonZeroUsize,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, anyhow};
use futures_util::{StreamExt as _, stream};
use pier_client::Client;
use pier_content::{AnsweredBy, Error, Freshness, Resolved, manifests::Manifests, resolve_all, select};
use pier_oci::{
    Descriptor, Digest, Kind, MAX_MANIFEST_BYTES, MediaType, Platform, Reference, Registry, Repository,
    Selector,
};
use serde::Serialize;

use crate::{
    cli::Resolve,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
    registries,
};

/// Questions at once, to all registries together. A registry gets no more of them than the client allows for one.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(32).expect("it is not zero");

/// Bytes of a list of references.
const LIST_BYTES: u64 = 16 << 20;

/// What stands for standard input.
const STANDARD_INPUT: &str = "-";

/// What became of one of the references.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Resolved {
        /// As it was typed.
        reference: &'a str,
        repository: String,
        digest: Digest,
        media_type: &'a MediaType,
        size: u64,
        from: From,
        age_seconds: u64,
    },
    Failed {
        reference: &'a str,
        error: String,
        hint: Option<&'a str>,
        status: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum From {
    Registry,
    Cache,
}

pub(crate) async fn run(options: &Resolve, config: &Config, output: &Output) -> Result<Status, Failure> {
    let typed = typed(options)?;
    let references: Vec<Reference> =
        typed.iter().map(|text| text.parse().map_err(Failure::from)).collect::<Result<_, _>>()?;
    let client = registries::client(config, &options.registries)?;
    let sources = |registry: &Registry| client.source(registry);
    let cached = options.refresh || options.max_age.is_some();
    let store = if cached { Some(super::open_or_make_store(config)?) } else { None };
    let freshness = match (&store, options.max_age) {
        (None, _) => Freshness::Now,
        (Some(store), Some(max_age)) if !options.refresh => Freshness::UpTo(store, max_age),
        (Some(store), _) => Freshness::Refresh(store),
    };
    let answers = resolve_all(&references, &sources, freshness, AT_ONCE, SystemTime::now()).await?;
    let mut outcomes: Vec<Result<Resolved, Failure>> =
        answers.outcomes.into_iter().map(|outcome| outcome.map_err(Failure::from)).collect();
    if let Some(platform) = &options.platform {
        for_platform(&mut outcomes, &answers.places, &references, platform, &client).await;
    }

    let entries: Vec<Entry<'_>> = typed
        .iter()
        .zip(&references)
        .zip(&answers.places)
        .map(|((typed, reference), place)| entry(typed, reference, &outcomes[*place]))
        .collect();
    output.data(&entries, |entries| entries.iter().map(text).collect())?;
    if let Some(error) = answers.forgotten {
        let why = Failure::from(error).message();
        output::note(&format!("warning: the answers could not be kept in the cache: {why}"));
    }
    if let Some(note) = cache_note(&outcomes) {
        output::note(&note);
    }
    drop(entries);
    Ok(finish(outcomes, &answers.places, &typed, output))
}

/// What was asked for, as it was typed and in its order.
fn typed(options: &Resolve) -> Result<Vec<String>, Failure> {
    let mut typed = Vec::new();
    for reference in &options.references {
        if reference == STANDARD_INPUT {
            typed.extend(list("standard input", io::stdin())?);
        } else {
            typed.push(reference.clone());
        }
    }
    match &options.file {
        Some(path) if path == Path::new(STANDARD_INPUT) => {
            typed.extend(list("standard input", io::stdin())?);
        }
        Some(path) => {
            let name = format!("`{}`", path.display());
            let file = File::open(path).with_context(|| format!("cannot open {name}"));
            typed.extend(list(&name, file.map_err(|error| Failure::new(Status::Usage, error))?)?);
        }
        None => {}
    }
    Ok(typed)
}

/// A reference a line, without empty lines and comments.
fn list(name: &str, from: impl Read) -> Result<Vec<String>, Failure> {
    let usage = |error| Failure::new(Status::Usage, error);
    let mut text = String::new();
    from.take(LIST_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {name}"))
        .map_err(usage)?;
    if text.len() as u64 > LIST_BYTES {
        return Err(usage(anyhow!("{name} has more than {LIST_BYTES} bytes")));
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.parse::<Reference>() {
            Ok(_) => Ok(line.to_owned()),
            Err(error) => Err(Failure::from(error).within(name)),
        })
        .collect()
}

/// Goes on from indexes to their image for a platform. An index has a digest, so what it says is no question of age.
async fn for_platform(
    outcomes: &mut [Result<Resolved, Failure>],
    places: &[usize],
    references: &[Reference],
    platform: &Platform,
    client: &Client,
) {
    // Of several references for one outcome any does: they name the same.
    let mut indexes: Vec<(usize, &Reference, Digest)> = Vec::new();
    for (place, reference) in places.iter().zip(references) {
        if let Ok(Resolved { descriptor, .. }) = &outcomes[*place]
            && descriptor.media_type.kind() == Kind::Index
            && indexes.iter().all(|(known, ..)| known != place)
        {
            indexes.push((*place, reference, descriptor.digest));
        }
    }
    let mut chosen = stream::iter(indexes)
        .map(|(place, Reference { repository, .. }, digest)| async move {
            (place, choose(client, repository, digest, platform).await)
        })
        .buffer_unordered(AT_ONCE.get());
    while let Some((place, outcome)) = chosen.next().await {
        match (outcome, &mut outcomes[place]) {
            (Ok(image), Ok(resolved)) => resolved.descriptor = image,
            (Err(error), outcome) => *outcome = Err(error.into()),
            (Ok(_), Err(_)) => {}
        }
    }
}

/// The image of an index for a platform.
async fn choose(
    client: &Client,
    repository: &Repository,
    index: Digest,
    platform: &Platform,
) -> Result<Descriptor, Error> {
    let source = client.source(&repository.registry)?;
    let mut manifests = Manifests::new(&*source, repository, MAX_MANIFEST_BYTES);
    let root = manifests.root(&Selector::Digest(index)).await?;
    Ok(select(&mut manifests, &root, platform).await?.image)
}

fn entry<'a>(typed: &'a str, reference: &Reference, outcome: &'a Result<Resolved, Failure>) -> Entry<'a> {
    match outcome {
        Ok(Resolved { descriptor, from }) => {
            let (from, age) = match from {
                AnsweredBy::Source => (From::Registry, Duration::ZERO),
                AnsweredBy::Cache { age } => (From::Cache, *age),
            };
            Entry::Resolved {
                reference: typed,
                repository: reference.repository.to_string(),
                digest: descriptor.digest,
                media_type: &descriptor.media_type,
                size: descriptor.size,
                from,
                age_seconds: age.as_secs(),
            }
        }
        Err(failure) => Entry::Failed {
            reference: typed,
            error: failure.message(),
            hint: failure.hint(),
            status: failure.status.code(),
        },
    }
}

fn text(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Resolved { repository, digest, .. } => format!("{repository}@{digest}\n"),
        Entry::Failed { .. } => String::new(),
    }
}

/// In text an answer from the cache looks like any other, so that scripts need not know; people are told here.
fn cache_note(outcomes: &[Result<Resolved, Failure>]) -> Option<String> {
    let ages: Vec<u64> = outcomes
        .iter()
        .filter_map(|outcome| match outcome.as_ref().ok()?.from {
            AnsweredBy::Cache { age } => Some(age.as_secs()),
            AnsweredBy::Source => None,
        })
        .collect();
    let oldest = humantime::format_duration(Duration::from_secs(*ages.iter().max()?));
    Some(format!("note: {} of {} from the cache, the oldest {oldest} old", ages.len(), outcomes.len()))
}

/// Tells what could not be resolved, each name once. Standard output has the others already.
fn finish(
    outcomes: Vec<Result<Resolved, Failure>>,
    places: &[usize],
    typed: &[String],
    output: &Output,
) -> Status {
    let mut worst = Status::Done;
    for (place, outcome) in outcomes.into_iter().enumerate() {
        let Err(failure) = outcome else { continue };
        let name = places.iter().position(|other| *other == place).and_then(|first| typed.get(first));
        let failure = match name {
            Some(name) if !failure.message().contains(name.as_str()) => failure.within(name),
            _ => failure,
        };
        worst = worst.worse(failure.status);
        output.failure(&failure);
    }
    worst
}
