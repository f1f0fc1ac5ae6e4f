//! Repositories, their manifests, tags and links. Pure: every call checks first and changes then.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use pier_oci::{ChildKind, Descriptor, Digest, Manifest, RepositoryName, Selector, Tag};

use crate::{
    Completeness, Error, ImmutableTags, Keeper, Page, PutManifest, ReferrersOf, ReferrersPage, Result,
    Stored, Subject, TagMove, TagRules, catalog::KEPT_MOVES,
};

/// What all repositories show. A repository that has held something is never forgotten.
#[derive(Debug, Default)]
pub(super) struct Names {
    repositories: BTreeMap<String, Repository>,
}

#[derive(Debug)]
struct Repository {
    name: RepositoryName,
    manifests: BTreeMap<Digest, Arc<Manifest>>,
    tags: BTreeMap<String, (Tag, Digest)>,
    /// The moves of each tag, the latest last.
    moves: BTreeMap<String, Vec<TagMove>>,
    /// Blobs and their sizes.
    links: BTreeMap<Digest, u64>,
}

impl Repository {
    /// Has a tag name something, or nothing any more, and takes note where that is a change.
    fn name(&mut self, tag: &Tag, digest: Option<Digest>) {
        let before = match digest {
            Some(digest) => self.tags.insert(tag.as_str().to_owned(), (tag.clone(), digest)),
            None => self.tags.remove(tag.as_str()),
        };
        if before.map(|(_, digest)| digest) == digest {
            return;
        }
        let moves = self.moves.entry(tag.as_str().to_owned()).or_default();
        moves.push(TagMove { digest, at: SystemTime::now() });
        moves.drain(..moves.len().saturating_sub(KEPT_MOVES));
    }

    /// The tags that name a manifest, or an index that leads to it.
    fn tags_leading_to(&self, digest: Digest) -> impl Iterator<Item = &Tag> {
        let mut leading = HashSet::from([digest]);
        let mut unfollowed = vec![digest];
        while let Some(child) = unfollowed.pop() {
            let names_it = |manifest: &Manifest| {
                manifest.children().any(|(kind, named)| kind == ChildKind::Manifest && named.digest == child)
            };
            for (digest, _) in self.manifests.iter().filter(|(_, manifest)| names_it(manifest)) {
                if leading.insert(*digest) {
                    unfollowed.push(*digest);
                }
            }
        }
        self.tags.values().filter(move |(_, named)| leading.contains(named)).map(|(tag, _)| tag)
    }
}

impl Names {
    pub(super) fn put(&mut self, put: PutManifest) -> Result<Stored> {
        let PutManifest { repository, manifest, tags, completeness, rules } = put;
        let missing = missing_children(self.get(&repository), &repository, &manifest)?;
        if completeness == Completeness::Strict && !missing.is_empty() {
            return Err(Error::Missing { repository, digests: missing });
        }
        let digest = manifest.digest();
        for tag in &tags {
            rules.check(&repository, tag, self.named(&repository, tag), Some(digest))?;
        }
        let held = self.get_or_new(&repository);
        let before = held.manifests.get(&digest);
        if before.is_some_and(|before| before.media_type() != manifest.media_type()) {
            rules.immutable.check_all(&repository, held.tags_leading_to(digest))?;
        }
        held.manifests.insert(digest, manifest);
        for tag in tags {
            held.name(&tag, Some(digest));
        }
        Ok(Stored { absent: missing.len() })
    }

    /// What a tag names.
    fn named(&self, repository: &RepositoryName, tag: &Tag) -> Option<Digest> {
        Some(self.get(repository)?.tags.get(tag.as_str())?.1)
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
            held.manifests.get(&digest).map(Arc::clone)
        };
        self.get(repository).and_then(find).ok_or_else(|| not_found(repository, selector.clone()))
    }

    pub(super) fn delete(
        &mut self,
        repository: &RepositoryName,
        digest: &Digest,
        immutable: &ImmutableTags,
    ) -> Result<()> {
        let held = self
            .get_mut(repository)
            .filter(|held| held.manifests.contains_key(digest))
            .ok_or_else(|| not_found(repository, Selector::Digest(*digest)))?;
        if !immutable.is_empty() {
            immutable.check_all(repository, held.tags_leading_to(*digest))?;
        }
        let naming: Vec<Tag> =
            held.tags.values().filter(|(_, named)| named == digest).map(|(tag, _)| tag.clone()).collect();
        for tag in &naming {
            held.name(tag, None);
        }
        held.manifests.remove(digest);
        Ok(())
    }

    pub(super) fn untag(&mut self, repository: &RepositoryName, tag: &Tag, rules: &TagRules) -> Result<()> {
        let named = self.named(repository, tag);
        rules.check(repository, tag, named, None)?;
        match self.get_mut(repository) {
            Some(held) if named.is_some() => held.name(tag, None),
            _ => return Err(not_found(repository, Selector::Tag(tag.clone()))),
        }
        Ok(())
    }

    pub(super) fn history(&self, repository: &RepositoryName, tag: &Tag, limit: usize) -> Vec<TagMove> {
        let moves = self.get(repository).and_then(|held| held.moves.get(tag.as_str()));
        moves.into_iter().flatten().rev().take(limit).copied().collect()
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
        Ok(Page::of(behind.map(|(_, (tag, _))| tag.clone()), limit))
    }

    pub(super) fn repositories(&self, after: Option<&str>, limit: usize) -> Page<RepositoryName> {
        let behind = self
            .repositories
            .iter()
            .filter(|(name, held)| !held.manifests.is_empty() && is_behind(name, after));
        Page::of(behind.map(|(_, held)| held.name.clone()), limit)
    }

    pub(super) fn referrers(&self, repository: &RepositoryName, of: &ReferrersOf) -> Page<Descriptor> {
        let Some(held) = self.get(repository) else { return ReferrersPage::new(of.limit).last() };
        let wanted = of.artifact_type.as_deref();
        let found = held
            .manifests
            .iter()
            .filter(|(digest, _)| of.after.is_none_or(|after| **digest > after))
            .map(|(_, manifest)| manifest)
            .filter(|manifest| manifest.subject().is_some_and(|subject| subject.digest == of.subject))
            .filter(|manifest| wanted.is_none() || manifest.artifact_type() == wanted);
        let mut page = ReferrersPage::new(of.limit);
        for manifest in found {
            if !page.has_room() {
                return page.full();
            }
            page.add(manifest);
        }
        page.last()
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
        if let Some((by, _)) = held.manifests.iter().find(|(_, manifest)| names(manifest)) {
            return Err(Error::InUse { subject: subject(), by: Keeper::Manifest(*by) });
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
            moves: BTreeMap::new(),
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

fn not_found(repository: &RepositoryName, selector: Selector) -> Error {
    Error::NotFound { subject: Subject::Manifest(repository.clone(), selector) }
}
