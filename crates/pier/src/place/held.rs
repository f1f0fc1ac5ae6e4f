//! What the store has of an index that was pulled for some platforms only.

use anyhow::anyhow;
use pier_content::{Result, StoreRepository};
use pier_oci::{Descriptor, Reference, Selector, View};

use crate::failure::{Failure, Status};

/// What to tell who asked for all of an index. `None` when it is no index, or all that it lists is there.
pub(super) async fn explain(repository: &StoreRepository, reference: &Reference) -> Result<Option<Failure>> {
    let StoreRepository { catalog, name, .. } = repository;
    let selector = &reference.selector();
    let root = catalog.resolve(name, selector).await?;
    let View::Index(index) = root.view() else { return Ok(None) };
    let mut present = Vec::new();
    for entry in &index.manifests {
        if catalog.resolve(name, &Selector::Digest(entry.digest)).await.is_ok() {
            present.push(entry);
        }
    }
    if present.len() == index.manifests.len() {
        return Ok(None);
    }
    let separator = if matches!(selector, Selector::Tag(_)) { ':' } else { '@' };
    let platforms: Vec<String> = present.iter().filter_map(|entry| platform(entry)).collect();
    let error = anyhow!(
        "the store has {} of the {} manifests that the index `{name}{separator}{selector}` lists{}",
        present.len(),
        index.manifests.len(),
        list(&platforms)
    );
    let one = platforms.first().map(|platform| format!("choose one with `--platform {platform}`, or "));
    let upstream = reference.repository.local_name().is_ok_and(|local| local == *name);
    let pulled = if upstream { format!(" {reference}") } else { String::new() };
    let hint = format!("{}bring the rest with `pier pull --all-platforms{pulled}`", one.unwrap_or_default());
    Ok(Some(Failure::new(Status::No, error).with_hint(hint)))
}

fn platform(entry: &Descriptor) -> Option<String> {
    entry.platform.as_ref().map(ToString::to_string)
}

fn list(platforms: &[String]) -> String {
    if platforms.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = platforms.iter().map(|platform| format!("`{platform}`")).collect();
    format!(": {}", quoted.join(", "))
}
