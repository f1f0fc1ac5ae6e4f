//! Where a registry may show blobs already: another repository of its own, so that nothing has to be sent.

use std::collections::BTreeMap;

use pier_content::{MountFrom, Result, StoreRepository};
use pier_oci::{ChildKind, Digest, Manifest, Reference, Registry, Repository, RepositoryName, Selector};

use crate::{
    failure::Failure,
    place::{Origin, Reading},
};

/// Repositories of the store that are looked at. Each costs some microseconds for each blob.
const REPOSITORIES: usize = 256;

/// Manifests that are looked at.
const MANIFESTS: usize = 1024;

/// What is known without asking anybody: the source, when it is of the same registry, and what was pulled from that registry
/// into the store.
pub(super) async fn guesses(
    from: &Reading,
    reference: &Reference,
    to: &Repository,
) -> Result<MountFrom, Failure> {
    match &from.origin {
        Origin::Registry(repository) if repository.registry == to.registry && repository != to => {
            Ok(MountFrom::repository(repository.clone()))
        }
        Origin::Store(stored) => Ok(known(stored, &reference.selector(), to).await?),
        Origin::Registry(_) | Origin::Files => Ok(MountFrom::default()),
    }
}

/// For each blob of the image a repository that was pulled from the destination's registry and has it.
async fn known(stored: &StoreRepository, selector: &Selector, to: &Repository) -> Result<MountFrom> {
    let siblings = siblings(stored, to).await?;
    let mut known = BTreeMap::new();
    if siblings.is_empty() {
        return Ok(MountFrom::default());
    }
    for digest in blobs(stored, selector).await? {
        for (local, there) in &siblings {
            if stored.catalog.linked(local, &digest).await?.is_some() {
                known.insert(digest, there.clone());
                break;
            }
        }
    }
    Ok(MountFrom { known, any: None })
}

/// The repositories of the store that came from a registry, but for the one that is written to; the source first.
async fn siblings(stored: &StoreRepository, to: &Repository) -> Result<Vec<(RepositoryName, Repository)>> {
    let Some(prefix) = prefix(&to.registry) else { return Ok(Vec::new()) };
    let page = stored.catalog.repositories(Some(&prefix), REPOSITORIES).await?;
    let mut siblings: Vec<_> = page
        .items
        .into_iter()
        .take_while(|local| local.as_str().starts_with(&prefix))
        .filter_map(|local| {
            let name = local.as_str().strip_prefix(&prefix)?.parse().ok()?;
            Some((local, Repository { registry: to.registry.clone(), name }))
        })
        .filter(|(_, repository)| repository != to)
        .collect();
    siblings.sort_by_key(|(local, _)| *local != stored.name);
    Ok(siblings)
}

/// What the store's names of a registry's repositories begin with.
fn prefix(registry: &Registry) -> Option<String> {
    let any = Repository { registry: registry.clone(), name: "a".parse().ok()? };
    let local = any.local_name().ok()?;
    local.as_str().strip_suffix('a').map(str::to_owned)
}

/// The blobs of an image, or of the images of an index as far as the store has them.
async fn blobs(stored: &StoreRepository, selector: &Selector) -> Result<Vec<Digest>> {
    let mut blobs = Vec::new();
    let mut open = vec![selector.clone()];
    for _ in 0..MANIFESTS {
        let Some(next) = open.pop() else { break };
        let Ok(manifest) = stored.catalog.resolve(&stored.name, &next).await else { continue };
        take_in(&manifest, &mut blobs, &mut open);
    }
    Ok(blobs)
}

fn take_in(manifest: &Manifest, blobs: &mut Vec<Digest>, open: &mut Vec<Selector>) {
    for (kind, child) in manifest.children() {
        match kind {
            ChildKind::Manifest => open.push(Selector::Digest(child.digest)),
            ChildKind::Config | ChildKind::Layer => blobs.push(child.digest),
        }
    }
}
