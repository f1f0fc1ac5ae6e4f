//! Many names turned into digests at once, and what is remembered of that.
//!
//! A tag is a question that only its registry can answer, so by default every tag is asked for, every time. Who can live with an answer
//! that is some time old says how old, and brings a [`NameCache`].
//!
//! What is remembered is bound to registry, repository and tag together. The same tag of another repository, or the same repository of
//! another registry, is another name: an answer of one registry never becomes an answer for another.

use std::{
    collections::HashMap,
    fmt::{self, Debug},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use pier_oci::{Descriptor, Reference, Registry, Repository, Selector, Tag};

use crate::{Error, Result, Source};

/// A tag of a repository at a registry: a name whose meaning moves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteTag {
    /// Where.
    pub repository: Repository,
    /// Which there.
    pub tag: Tag,
}

impl fmt::Display for RemoteTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

/// What a tag named at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedName {
    /// What it named: media type, digest and size, and no more.
    pub descriptor: Descriptor,
    /// When its registry was asked.
    pub resolved_at: SystemTime,
}

/// A place that remembers what tags named. It may forget anything at any time, and never says what it was not told.
#[async_trait]
pub trait NameCache: Debug + Send + Sync {
    /// What is remembered of each of these tags, in their order.
    async fn get_many(&self, tags: &[RemoteTag]) -> Result<Vec<Option<RememberedName>>>;

    /// Remembers all of these, in one step, in place of what was remembered of the same tags.
    async fn put_many(&self, names: &[(RemoteTag, RememberedName)]) -> Result<()>;
}

/// What [`resolve_all`] may take from where.
#[derive(Clone, Copy, Debug)]
pub enum Freshness<'a> {
    /// Everything is asked for, and nothing is remembered.
    Now,
    /// Everything is asked for, and the answers are remembered.
    Refresh(&'a dyn NameCache),
    /// What is remembered and at most this old is not asked for again; other answers are remembered.
    UpTo(&'a dyn NameCache, Duration),
}

/// What a reference names, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What it names.
    pub descriptor: Descriptor,
    /// Who says so.
    pub from: AnsweredBy,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The registry, just now.
    Source,
    /// It was remembered from this long ago.
    Cache {
        /// Time since the registry was asked.
        age: Duration,
    },
}

/// What [`resolve_all`] found out.
#[derive(Debug)]
pub struct Answers {
    /// An outcome for each name, in the order in which they were first mentioned.
    pub outcomes: Vec<Result<Resolved>>,
    /// For each reference that was given, where its outcome is in `outcomes`.
    pub places: Vec<usize>,
    /// Why the answers could not be remembered, if that went wrong. They are right all the same.
    pub forgotten: Option<Error>,
}

/// Resolves many references, `at_once` of them at the same time, each name once however often it is given. One that cannot be resolved
/// does not keep the others from it. `sources` gives what a registry is asked through, once for each.
///
/// References with a digest are asked for in any case: whether a registry has some content is nothing that a cache can know.
///
/// # Errors
/// Only when what is remembered cannot be read; the failures of single references are in the answers.
pub async fn resolve_all(
    references: &[Reference],
    sources: &(dyn Fn(&Registry) -> Result<Arc<dyn Source>> + Send + Sync),
    freshness: Freshness<'_>,
    at_once: NonZeroUsize,
    now: SystemTime,
) -> Result<Answers> {
    let (names, places) = distinct(references);
    let mut outcomes: Vec<Option<Result<Resolved>>> = names.iter().map(|_| None).collect();
    if let Freshness::UpTo(cache, max_age) = freshness {
        for (place, resolved) in remembered(&names, cache, max_age, now).await? {
            outcomes[place] = Some(Ok(resolved));
        }
    }

    let mut registries: HashMap<&Registry, Arc<dyn Source>> = HashMap::new();
    let mut questions = Vec::new();
    for (place, reference) in names.iter().copied().enumerate() {
        if outcomes[place].is_some() {
            continue;
        }
        let registry = &reference.repository.registry;
        let known = registries.get(registry).map(|source| Ok(Arc::clone(source)));
        match known.unwrap_or_else(|| sources(registry)) {
            Ok(source) => {
                registries.insert(registry, Arc::clone(&source));
                questions.push((place, reference, source));
            }
            Err(error) => outcomes[place] = Some(Err(error)),
        }
    }
    let mut answers = stream::iter(questions)
        .map(|(place, reference, source)| async move { (place, source.resolve(reference).await) })
        .buffer_unordered(at_once.get());
    let mut learnt = Vec::new();
    while let Some((place, outcome)) = answers.next().await {
        if let (Ok(descriptor), Some(tag)) = (&outcome, floating(names[place])) {
            let Descriptor { media_type, digest, size, .. } = descriptor;
            let descriptor = Descriptor::new(media_type.clone(), *digest, *size);
            learnt.push((tag, RememberedName { descriptor, resolved_at: now }));
        }
        outcomes[place] = Some(outcome.map(|descriptor| Resolved { descriptor, from: AnsweredBy::Source }));
    }
    let forgotten = match freshness {
        Freshness::Refresh(cache) | Freshness::UpTo(cache, _) if !learnt.is_empty() => {
            cache.put_many(&learnt).await.err()
        }
        _ => None,
    };
    // Every place has been answered for by now, from the cache or by a source.
    Ok(Answers { outcomes: outcomes.into_iter().flatten().collect(), places, forgotten })
}

/// Each name once, and where the name of each reference is among them.
fn distinct(references: &[Reference]) -> (Vec<&Reference>, Vec<usize>) {
    let mut known: HashMap<(&Repository, Selector), usize> = HashMap::new();
    let mut names = Vec::new();
    let places = references
        .iter()
        .map(|reference| {
            *known.entry((&reference.repository, reference.selector())).or_insert_with(|| {
                names.push(reference);
                names.len() - 1
            })
        })
        .collect();
    (names, places)
}

/// The answers that are known and young enough, with their places.
async fn remembered(
    names: &[&Reference],
    cache: &dyn NameCache,
    max_age: Duration,
    now: SystemTime,
) -> Result<Vec<(usize, Resolved)>> {
    let (places, tags): (Vec<usize>, Vec<RemoteTag>) =
        names.iter().enumerate().filter_map(|(place, name)| Some((place, floating(name)?))).unzip();
    let found = cache.get_many(&tags).await?;
    let young = places.into_iter().zip(found).filter_map(|(place, name)| {
        let RememberedName { descriptor, resolved_at } = name?;
        // What is from the future has no age: the clock was set back, and nothing tells by how much.
        let age = now.duration_since(resolved_at).ok().filter(|age| *age <= max_age)?;
        Some((place, Resolved { descriptor, from: AnsweredBy::Cache { age } }))
    });
    Ok(young.collect())
}

/// The tag by which a reference is resolved, if it is by a tag.
fn floating(reference: &Reference) -> Option<RemoteTag> {
    match reference.selector() {
        Selector::Tag(tag) => Some(RemoteTag { repository: reference.repository.clone(), tag }),
        Selector::Digest(_) => None,
    }
}

#[cfg(test)]
mod tests;
