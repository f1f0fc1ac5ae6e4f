//! `index.json`: what a layout lists (image layout specification, "index.json file").
//!
//! It is read strictly, as every index is, and changed gently: other tools keep what they like in it, so a change
//! touches the entries that it is about and leaves every other member, known or not, as it was.

use std::{collections::BTreeSet, path::Path};

use bytes::Bytes;
use pier_content::{Error, Result};
use pier_oci::{Descriptor, Kind, Manifest, Tag, View};
use serde_json::{Map, Value, json};

use crate::{Entry, sys::invalid};

/// Bytes that an index may have: those of any manifest.
pub(crate) const MAX_INDEX_BYTES: u64 = pier_oci::MAX_MANIFEST_BYTES;

/// The name of an entry within its layout, most often a tag (image specification, "Pre-Defined Annotation Keys").
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The whole name that containerd and Docker give an entry.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";

/// An index that lists nothing.
pub(crate) const EMPTY: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// What an index lists, in its order.
pub(crate) fn parse(bytes: Bytes, path: &Path) -> Result<Vec<Entry>> {
    let index = Manifest::parse(bytes, None).map_err(|error| invalid(path, error.to_string()))?;
    let View::Index(index) = index.view() else {
        return Err(invalid(path, "is a manifest and not an index"));
    };
    let entry = |descriptor: &Descriptor| {
        let mut names: Vec<String> = [REF_NAME, IMAGE_NAME]
            .iter()
            .filter_map(|key| descriptor.annotations.get(*key))
            .cloned()
            .collect();
        names.retain(|name| !name.is_empty());
        names.dedup();
        Entry { names, descriptor: descriptor.clone() }
    };
    Ok(index.manifests.iter().map(entry).collect())
}

/// The index with `tags` naming `descriptor` and nothing else; without tags it is only listed.
///
/// # Errors
/// [`Error::Ambiguous`] when entries of several names share the tag: moving it would drop images that the caller
/// does not know of.
pub(crate) fn with(bytes: &Bytes, descriptor: &Descriptor, tags: &[Tag], path: &Path) -> Result<Vec<u8>> {
    let entries = parse(bytes.clone(), path)?;
    let mut document: Value =
        serde_json::from_slice(bytes).map_err(|error| invalid(path, error.to_string()))?;
    let Some(list) =
        document.as_object_mut().map(|members| members.entry("manifests").or_insert(Value::Null))
    else {
        return Err(invalid(path, "is not an object"));
    };
    let mut values = match list.take() {
        Value::Array(values) => values,
        _ => Vec::new(),
    };
    // What a tag names already stays as it is, with all that others wrote into it.
    let moves = |tag: &&Tag| {
        let mut tagged = entries.iter().filter(|entry| is_tagged(entry, tag)).peekable();
        tagged.peek().is_none() || tagged.any(|entry| entry.descriptor.digest != descriptor.digest)
    };
    let new: Vec<&Tag> = tags.iter().filter(moves).collect();
    // One for one: both were read from the same bytes.
    let mut known: Vec<Option<Entry>> = entries.iter().cloned().map(Some).collect();
    for tag in &new {
        free(tag, &mut known, path)?;
    }
    values =
        values.into_iter().zip(&known).filter(|(_, entry)| entry.is_some()).map(|(value, _)| value).collect();
    let known: Vec<Entry> = known.into_iter().flatten().collect();

    let same = |entry: &Entry| entry.descriptor.digest == descriptor.digest;
    if tags.is_empty() {
        if !known.iter().any(same) {
            values.push(json!(descriptor));
        }
    } else if !new.is_empty() {
        // An entry that has no name yet is given one, with all that others wrote into it.
        let nameless = known.iter().position(|entry| same(entry) && entry.names.is_empty());
        let pattern = match nameless {
            Some(position) => values.remove(position),
            None => json!(descriptor),
        };
        values.extend(new.iter().map(|tag| named(pattern.clone(), tag)));
    }
    *list = Value::Array(values);
    let written = document.to_string().into_bytes();
    if written.len() as u64 > MAX_INDEX_BYTES {
        return Err(invalid(path, format!("would have more than {} MiB", MAX_INDEX_BYTES >> 20)));
    }
    Ok(written)
}

fn is_tagged(entry: &Entry, tag: &Tag) -> bool {
    entry.descriptor.annotations.get(REF_NAME).is_some_and(|name| name == tag.as_str())
}

/// Takes out the entries that have a tag for their name.
fn free(tag: &Tag, entries: &mut [Option<Entry>], path: &Path) -> Result<()> {
    let has = |entry: &Entry| is_tagged(entry, tag);
    let tagged: Vec<&Entry> = entries.iter().flatten().filter(|entry| has(entry)).collect();
    let whole: BTreeSet<&String> =
        tagged.iter().filter_map(|entry| entry.descriptor.annotations.get(IMAGE_NAME)).collect();
    if whole.len() > 1 {
        let available = whole.into_iter().cloned().collect();
        return Err(Error::Ambiguous { place: path.to_owned(), available });
    }
    for entry in entries {
        if entry.as_ref().is_some_and(has) {
            *entry = None;
        }
    }
    Ok(())
}

/// An entry with a tag for its name.
fn named(mut entry: Value, tag: &Tag) -> Value {
    if let Some(members) = entry.as_object_mut() {
        let annotations = members.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if !annotations.is_object() {
            *annotations = Value::Object(Map::new());
        }
        annotations[REF_NAME] = json!(tag.as_str());
    }
    entry
}

/// How a manifest is listed: what it is about and what it is come along for those who look for referrers.
pub(crate) fn listed(manifest: &Manifest) -> Descriptor {
    if manifest.subject().is_some() {
        return manifest.referrer_descriptor();
    }
    let mut descriptor = manifest.descriptor();
    debug_assert_ne!(descriptor.media_type.kind(), Kind::Blob, "a manifest has the type of one");
    descriptor.artifact_type = match manifest.view() {
        View::Image(image) => image.artifact_type.clone(),
        View::Index(index) => index.artifact_type.clone(),
    };
    descriptor
}
