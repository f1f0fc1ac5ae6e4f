//! What the store has of an index that was pulled for some platforms only.

use pier_content::{Result, StoreRepository};
use pier_oci::{Descriptor, Selector, View};

use anyhow::anyhow;

use crate::failure::{Failure, Status};

/// What to tell who asked for all of an index. `None` when it is no index, or all that it lists is there.
pub(super) async fn explain(repository: &StoreRepository, selector: &Selector) -> Result<Option<Failure>> {
    let StoreRepository { catalog, name, .. } = repository;
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
        "the store has {} of the {} images that the index `{name}{separator}{selector}` lists{}",
        present.len(),
        index.manifests.len(),
        list(&platforms)
    );
    let one = platforms.first().map(|platform| format!("choose one with `--platform {platform}`, or "));
    let hint = format!("{}bring the rest with `pier pull --all-platforms`", one.unwrap_or_default());
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
