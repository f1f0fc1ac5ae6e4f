//! What a layout or an archive holds, and what a user's words choose from it.

use std::{collections::BTreeSet, path::Path};

use pier_content::{Error, Result};
use pier_oci::{Descriptor, Digest, Kind, Reference, Repository, Selector, Tag};

/// An image, an index or an artifact that a layout or an archive lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is called there: tags, whole references, or any text that another tool wrote. Often one name, often none.
    pub names: Vec<String>,
    /// What it is, as it is listed.
    pub descriptor: Descriptor,
}

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// The one image that there is.
    Only,
    /// What somebody typed behind the path.
    Text(&'a str),
    /// What the contract asks for.
    Selected(&'a Repository, &'a Selector),
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An entry.
    Entry(Box<Descriptor>),
    /// Only a digest was asked for, and no entry has it: it may still be there as a child of one.
    Digest(Digest),
}

/// Chooses by, in this order: the digest, the very name, the whole reference that a name means, the tag in a name.
///
/// # Errors
/// [`Error::NoSuchImage`] and [`Error::Ambiguous`], which list what there is.
pub(crate) fn choose(entries: &[Entry], wanted: Wanted<'_>, place: &Path) -> Result<Found> {
    match wanted {
        Wanted::Only => {
            let named: Vec<&Entry> = entries.iter().filter(|entry| is_image(entry)).collect();
            single(&named, entries, place)?.ok_or_else(|| no_such("any", entries, place))
        }
        Wanted::Selected(_, Selector::Digest(digest)) => Ok(by_digest(entries, digest)),
        Wanted::Selected(repository, Selector::Tag(tag)) => {
            let whole = Reference { repository: repository.clone(), tag: Some(tag.clone()), digest: None };
            by_name(entries, tag.as_str(), Some(tag), Some(&whole), place)
        }
        Wanted::Text(text) => {
            if let Ok(digest) = text.strip_prefix('@').unwrap_or(text).parse() {
                return Ok(by_digest(entries, &digest));
            }
            let whole: Option<Reference> = text.parse().ok();
            if let Some(Reference { digest: Some(digest), .. }) = &whole {
                return Ok(by_digest(entries, digest));
            }
            by_name(entries, text, text.parse().ok().as_ref(), whole.as_ref(), place)
        }
    }
}

fn by_digest(entries: &[Entry], digest: &Digest) -> Found {
    let listed = entries.iter().find(|entry| entry.descriptor.digest == *digest);
    listed.map_or(Found::Digest(*digest), |entry| Found::Entry(Box::new(entry.descriptor.clone())))
}

fn by_name(
    entries: &[Entry],
    text: &str,
    tag: Option<&Tag>,
    whole: Option<&Reference>,
    place: &Path,
) -> Result<Found> {
    let rules: [&dyn Fn(&str) -> bool; 3] = [
        &|name| whole.is_some_and(|whole| name.contains([':', '/']) && name.parse().as_ref() == Ok(whole)),
        &|name| name == text,
        &|name| tag.is_some() && tag_of(name).as_ref() == tag,
    ];
    for fits in rules {
        let fitting: Vec<&Entry> =
            entries.iter().filter(|entry| entry.names.iter().any(|name| fits(name))).collect();
        if let Some(found) = single(&fitting, entries, place)? {
            return Ok(found);
        }
    }
    Err(no_such(text, entries, place))
}

/// The tag that a name ends in, when the name is a whole reference.
fn tag_of(name: &str) -> Option<Tag> {
    let reference: Reference = name.contains(':').then(|| name.parse().ok())??;
    reference.tag
}

/// The one thing that all of these are; none when there are none.
fn single(fitting: &[&Entry], entries: &[Entry], place: &Path) -> Result<Option<Found>> {
    let digests: BTreeSet<Digest> = fitting.iter().map(|entry| entry.descriptor.digest).collect();
    if digests.len() > 1 {
        let fitting: Vec<Entry> = fitting.iter().map(|&entry| entry.clone()).collect();
        return Err(Error::Ambiguous { place: place.to_owned(), available: available(&fitting, entries) });
    }
    Ok(fitting.first().map(|entry| Found::Entry(Box::new(entry.descriptor.clone()))))
}

fn no_such(wanted: &str, entries: &[Entry], place: &Path) -> Error {
    let available = available(entries, entries);
    Error::NoSuchImage { place: place.to_owned(), wanted: wanted.to_owned(), available }
}

/// How each of `fitting` can be asked for: by the names that no other entry has too, else by its digest.
fn available(fitting: &[Entry], all: &[Entry]) -> Vec<String> {
    let is_clear = |name: &str, digest: &Digest| {
        all.iter().all(|other| {
            other.descriptor.digest == *digest || other.names.iter().all(|candidate| candidate != name)
        })
    };
    let mut words = BTreeSet::new();
    for Entry { names, descriptor } in fitting {
        let clear: Vec<&String> = names.iter().filter(|name| is_clear(name, &descriptor.digest)).collect();
        if clear.is_empty() {
            words.insert(format!("@{}", descriptor.digest));
        }
        words.extend(clear.into_iter().cloned());
    }
    words.into_iter().collect()
}

/// Whether an entry is something that can be asked for: not every entry has to be a manifest.
fn is_image(entry: &Entry) -> bool {
    entry.descriptor.media_type.kind() != Kind::Blob
}
