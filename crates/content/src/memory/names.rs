//! Repositories, their manifests, tags and links. Pure: every call checks first and changes then.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use pier_oci::{ChildKind, Descriptor, Digest, Manifest, RepositoryName, Selector, Tag};

use crate::{Completeness, Error, Page, PutManifest, Result, Subject};

/// What all repositories show. A repository that has held something is never forgotten.
#[derive(Debug, Default)]
pub(super) struct Names {
    repositories: BTreeMap<String, Repository>,
    /// How many manifests were stored: their order.
    stored: u64,
}

#[derive(Debug)]
struct Repository {
    name: RepositoryName,
    manifests: BTreeMap<Digest, Held>,
    tags: BTreeMap<String, (Tag, Digest)>,
    /// Blobs and their sizes.
    links: BTreeMap<Digest, u64>,
}

#[derive(Debug)]
struct Held {
    manifest: Arc<Manifest>,
    order: u64,
}

impl Names {
    pub(super) fn put(&mut self, put: PutManifest) -> Result<()> {
        let PutManifest { repository, manifest, tags, completeness } = put;
        let missing = missing_children(self.get(&repository), &repository, &manifest)?;
        if completeness == Completeness::Strict && !missing.is_empty() {
            return Err(Error::Missing { repository, digests: missing });
        }
        self.stored += 1;
        let order = self.stored;
        let digest = manifest.digest();
        let held = self.get_or_new(&repository);
        // Stored again it keeps its place, under the media type that it came with last.
        let order = held.manifests.get(&digest).map_or(order, |before| before.order);
        held.manifests.insert(digest, Held { manifest, order });
        for tag in tags {
            held.tags.insert(tag.as_str().to_owned(), (tag, digest));
        }
        Ok(())
    }

    /// The size of a blob that any repository shows.
    pub(super) fn shown(&self, digest: &Digest) -> Option<u64> {
        self.repositories.values().find_map(|repository| repository.links.get(digest).copied())
    }

    pub(super) fn resolve(&self, repository: &RepositoryName, selector: &Selector) -> Result<Arc<Manifest>> {
        let find = |held: &Repository| {
            let digest = match selector {
                Selector::Digest(digest) => *digest,
                Selector::Tag(tag) => held.tags.get(tag.as_str())?.1,
            };
            held.manifests.get(&digest).map(|held| Arc::clone(&held.manifest))
        };
        self.get(repository).and_then(find).ok_or_else(|| not_found(repository, selector.clone()))
    }

    pub(super) fn delete(&mut self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        self.get_mut(repository)
            .and_then(|held| {
                held.manifests.remove(digest)?;
                held.tags.retain(|_, (_, named)| named != digest);
                Some(())
            })
            .ok_or_else(|| not_found(repository, Selector::Digest(*digest)))
    }

    pub(super) fn untag(&mut self, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        self.get_mut(repository)
            .and_then(|held| held.tags.remove(tag.as_str()).map(drop))
            .ok_or_else(|| not_found(repository, Selector::Tag(tag.clone())))
    }

    pub(super) fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        let held = self
            .get(repository)
            .ok_or_else(|| Error::NotFound { subject: Subject::Repository(repository.clone()) })?;
        let behind = held.tags.iter().filter(|(name, _)| is_behind(name, after));
        Ok(page(behind.map(|(_, (tag, _))| tag.clone()), limit))
    }

    pub(super) fn repositories(&self, after: Option<&str>, limit: usize) -> Page<RepositoryName> {
        let behind = self
            .repositories
            .iter()
            .filter(|(name, held)| !held.manifests.is_empty() && is_behind(name, after));
        page(behind.map(|(_, held)| held.name.clone()), limit)
    }

    pub(super) fn referrers(&self, repository: &RepositoryName, digest: &Digest) -> Vec<Descriptor> {
        let Some(held) = self.get(repository) else { return Vec::new() };
        let mut found: Vec<&Held> = held
            .manifests
            .values()
            .filter(|held| held.manifest.subject().is_some_and(|subject| subject.digest == *digest))
            .collect();
        found.sort_by_key(|held| held.order);
        found.into_iter().map(|held| held.manifest.referrer_descriptor()).collect()
    }

    pub(super) fn link(&mut self, repository: &RepositoryName, digest: &Digest, size: u64) {
        self.get_or_new(repository).links.insert(*digest, size);
    }

    pub(super) fn linked(&self, repository: &RepositoryName, digest: &Digest) -> Option<u64> {
        self.get(repository)?.links.get(digest).copied()
    }

    pub(super) fn unlink(&mut self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        let subject = || Subject::RepositoryBlob(repository.clone(), *digest);
        let missing = || Error::NotFound { subject: subject() };
        let held = self.get_mut(repository).ok_or_else(missing)?;
        if !held.links.contains_key(digest) {
            return Err(missing());
        }
        let names = |manifest: &Manifest| manifest.children().any(|(_, child)| child.digest == *digest);
        if let Some((by, _)) = held.manifests.iter().find(|(_, held)| names(&held.manifest)) {
            return Err(Error::InUse { subject: subject(), by: format!("manifest `{by}` names it") });
        }
        held.links.remove(digest);
        Ok(())
    }

    /// A repository that shows a blob.
    pub(super) fn shown_by(&self, digest: &Digest) -> Option<&RepositoryName> {
        self.repositories.values().find(|held| held.links.contains_key(digest)).map(|held| &held.name)
    }

    fn get(&self, name: &RepositoryName) -> Option<&Repository> {
        self.repositories.get(name.as_str())
    }

    fn get_mut(&mut self, name: &RepositoryName) -> Option<&mut Repository> {
        self.repositories.get_mut(name.as_str())
    }

    fn get_or_new(&mut self, name: &RepositoryName) -> &mut Repository {
        self.repositories.entry(name.as_str().to_owned()).or_insert_with(|| Repository {
            name: name.clone(),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            links: BTreeMap::new(),
        })
    }
}

/// The children that a repository lacks, each once, in the manifest's order.
fn missing_children(
    held: Option<&Repository>,
    repository: &RepositoryName,
    manifest: &Manifest,
) -> Result<Vec<Digest>> {
    let mut missing = Vec::new();
    let mut seen = HashSet::new();
    for (kind, child) in manifest.children() {
        let present = match kind {
            ChildKind::Manifest => held.is_some_and(|held| held.manifests.contains_key(&child.digest)),
            ChildKind::Config | ChildKind::Layer => {
                match held.and_then(|held| held.links.get(&child.digest)) {
                    Some(&size) if size != child.size => {
                        return Err(Error::Size {
                            subject: Subject::RepositoryBlob(repository.clone(), child.digest),
                            expected: child.size,
                            actual: size,
                            origin: None,
                        });
                    }
                    Some(_) => true,
                    None => child.media_type.is_nondistributable(),
                }
            }
        };
        if !present && seen.insert(child.digest) {
            missing.push(child.digest);
        }
    }
    Ok(missing)
}

fn is_behind(name: &str, after: Option<&str>) -> bool {
    after.is_none_or(|after| name > after)
}

fn page<T>(items: impl Iterator<Item = T>, limit: usize) -> Page<T> {
    let mut items: Vec<T> = items.take(limit.saturating_add(1)).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

fn not_found(repository: &RepositoryName, selector: Selector) -> Error {
    Error::NotFound { subject: Subject::Manifest(repository.clone(), selector) }
}
