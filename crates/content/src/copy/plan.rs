//! What a copy has to do: the graph is learned first, and nothing is written meanwhile.
//!
//! Manifests are small, so all of them are fetched before the first blob is sent. Blobs of all images then go
//! through one queue, however many images share them, and a graph that cannot be copied fails before it cost anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pier_oci::{Descriptor, Digest, Manifest, Repository};

use super::{CopyOptions, Platforms, Referrers};
use crate::{
    Completeness, Error, Result, Source, Target,
    manifests::{Manifests, blobs_of, index_of, is_index, is_manifest},
    platform::{NESTING, attestations, is_attestation, select, too_deep},
};

/// How far referrers of referrers are followed: a signature of an SBOM of an image is two.
const REFERRAL: usize = 4;

/// Questions to the target or the source that are under way at once.
const AT_ONCE: usize = 4;

/// Where a copy goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) target: &'a dyn Target,
    pub(super) repository: &'a Repository,
}

/// What is to be done, in order.
#[derive(Debug)]
pub(super) struct Plan {
    /// Each once, in the order in which the manifests name them.
    pub(super) blobs: Vec<Descriptor>,
    /// Leaves first; the root is the last, always.
    pub(super) manifests: Vec<Step>,
    /// The images that were asked for, also those that the target has.
    pub(super) images: Vec<Descriptor>,
}

/// A manifest to store.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) manifest: Arc<Manifest>,
    pub(super) completeness: Completeness,
}

/// Learns the graph below `root`, and what of it the target lacks.
pub(super) async fn plan(
    manifests: &mut Manifests<'_>,
    source: &dyn Source,
    root: &Arc<Manifest>,
    site: Site<'_>,
    options: &CopyOptions,
) -> Result<Plan> {
    let kept = Kept::choose(manifests, root, options).await?;
    let mut graph = Graph { manifests, site, kept, seen: BTreeSet::new(), present: BTreeSet::new() };
    let mut new = graph.grow(vec![root.descriptor()]).await?;
    let mut referrers = Vec::new();
    if options.referrers == Referrers::Include {
        for round in 0.. {
            let found = graph.referrers(source, &new).await?;
            if found.is_empty() {
                break;
            }
            if round == REFERRAL {
                return Err(Error::Invalid {
                    subject: graph.manifests.subject(root.digest()),
                    reason: format!("referrers of referrers go on for more than {REFERRAL} steps"),
                });
            }
            referrers.extend(found.iter().cloned());
            new = graph.grow(found).await?;
        }
    }
    graph.order(root, &referrers)
}

/// Which children of which index are wanted; an index that is not in it is wanted whole.
#[derive(Debug)]
struct Kept(BTreeMap<Digest, BTreeSet<Digest>>);

impl Kept {
    async fn choose(
        manifests: &mut Manifests<'_>,
        root: &Arc<Manifest>,
        options: &CopyOptions,
    ) -> Result<Self> {
        let mut kept: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
        let wanted = match &options.platforms {
            Platforms::All => return Ok(Self(kept)),
            Platforms::One(platform) => std::slice::from_ref(platform),
            Platforms::List(platforms) => platforms.as_slice(),
        };
        // Asked for no platform, nothing of the root is wanted.
        kept.insert(root.digest(), BTreeSet::new());
        for platform in wanted {
            let selected = select(manifests, root, platform).await?;
            let children = selected.indexes.iter().skip(1).map(|index| index.digest());
            for (index, child) in selected.indexes.iter().zip(children.chain([selected.image.digest])) {
                kept.entry(index.digest()).or_default().insert(child);
            }
            if options.referrers == Referrers::Include
                && let Some(last) = selected.indexes.last()
                && let Some(index) = index_of(last)
            {
                let about = attestations(index, &selected.image.digest);
                kept.entry(last.digest()).or_default().extend(about.map(|entry| entry.digest));
            }
        }
        Ok(Self(kept))
    }

    fn wants(&self, index: &Digest, child: &Digest) -> bool {
        self.0.get(index).is_none_or(|children| children.contains(child))
    }
}

/// The graph as far as it is known.
#[derive(Debug)]
struct Graph<'g, 'm> {
    manifests: &'g mut Manifests<'m>,
    site: Site<'g>,
    kept: Kept,
    seen: BTreeSet<Digest>,
    /// Images that the target has, with all that they name.
    present: BTreeSet<Digest>,
}

impl Graph<'_, '_> {
    /// Learns what is below `roots`, level by level. Gives the digests that were not known before.
    async fn grow(&mut self, roots: Vec<Descriptor>) -> Result<Vec<Digest>> {
        let mut new = Vec::new();
        let mut level = roots;
        for nesting in 1.. {
            level.retain(|descriptor| self.seen.insert(descriptor.digest));
            new.extend(level.iter().map(|descriptor| descriptor.digest));
            self.ask_target(&level).await?;
            level.retain(|descriptor| !self.present.contains(&descriptor.digest));
            self.manifests.fetch(&level).await?;

            let mut next = Vec::new();
            for descriptor in &level {
                let manifest = self.manifests.held(&descriptor.digest)?;
                next.extend(self.children(&manifest).filter(|child| is_manifest(child)).cloned());
            }
            if next.is_empty() {
                break;
            }
            if nesting >= NESTING
                && let Some(entry) = next.iter().find(|child| is_index(child))
            {
                return Err(too_deep(self.manifests, entry));
            }
            level = next;
        }
        Ok(new)
    }

    /// Notes which images the target has. Indexes are always walked: one that is there may be there sparsely.
    async fn ask_target(&mut self, level: &[Descriptor]) -> Result<()> {
        let Site { target, repository } = self.site;
        let images = level.iter().filter(|descriptor| !is_index(descriptor)).cloned();
        let mut answers = stream::iter(images.collect::<Vec<_>>())
            .map(|image| async move {
                target.has(repository, &image).await.map(|has| has.then_some(image.digest))
            })
            .buffer_unordered(AT_ONCE);
        while let Some(present) = answers.try_next().await? {
            self.present.extend(present);
        }
        Ok(())
    }

    /// The manifests that refer to `subjects` and are not known yet.
    async fn referrers(&self, source: &dyn Source, subjects: &[Digest]) -> Result<Vec<Descriptor>> {
        let repository = self.manifests.repository();
        let mut answers = stream::iter(subjects.to_vec())
            .map(|subject| async move { source.referrers(repository, &subject).await })
            .buffered(AT_ONCE);
        let mut found = Vec::new();
        while let Some(referrers) = answers.try_next().await? {
            found.extend(referrers.into_iter().filter(|referrer| !self.seen.contains(&referrer.digest)));
        }
        Ok(found)
    }

    /// The children of an index that are wanted; none of anything else.
    fn children<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = &'a Descriptor> {
        let entries = index_of(manifest).map(|index| index.manifests.as_slice()).unwrap_or_default();
        entries.iter().filter(|entry| self.kept.wants(&manifest.digest(), &entry.digest))
    }

    /// Puts what is known into order: leaves before what names them, referrers before the root.
    fn order(&self, root: &Arc<Manifest>, referrers: &[Descriptor]) -> Result<Plan> {
        let mut plan = Plan { blobs: Vec::new(), manifests: Vec::new(), images: Vec::new() };
        let mut done = BTreeSet::new();
        for referrer in referrers {
            plan.manifests.extend(self.below(referrer, &mut done)?);
        }
        let mut steps = self.below(&root.descriptor(), &mut done)?;
        // The root is there already when a referrer lists its own subject as a child, or when the target has the
        // image. It is stored again, because its tags come with it.
        if steps.last().is_none_or(|step| step.manifest.digest() != root.digest()) {
            steps.push(Step { completeness: self.completeness(root), manifest: Arc::clone(root) });
        }
        plan.manifests.extend(steps);
        plan.images = self.images(root);
        plan.blobs = self.blobs(&plan.manifests)?;
        Ok(plan)
    }

    /// The manifests below `top` that are not `done`, and `top` as the last of them.
    fn below(&self, top: &Descriptor, done: &mut BTreeSet<Digest>) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        // A list and no recursion: how deep a path can be is up to whoever wrote the graph.
        let mut open = vec![Visit::Enter(top.digest)];
        while let Some(visit) = open.pop() {
            match visit {
                Visit::Leave(manifest) => {
                    steps.push(Step { completeness: self.completeness(&manifest), manifest });
                }
                Visit::Enter(digest) => {
                    if self.present.contains(&digest) || !done.insert(digest) {
                        continue;
                    }
                    let manifest = self.manifests.held(&digest)?;
                    let children = self.children(&manifest).filter(|child| is_manifest(child));
                    let children: Vec<_> = children.map(|child| Visit::Enter(child.digest)).collect();
                    open.push(Visit::Leave(manifest));
                    open.extend(children.into_iter().rev());
                }
            }
        }
        Ok(steps)
    }

    /// Sparse when a child of an index was left out on purpose.
    fn completeness(&self, manifest: &Manifest) -> Completeness {
        let listed = index_of(manifest).map_or(0, |index| index.manifests.len());
        if self.children(manifest).count() == listed { Completeness::Strict } else { Completeness::Sparse }
    }

    /// The images below the root, in the order in which indexes list them.
    fn images(&self, root: &Arc<Manifest>) -> Vec<Descriptor> {
        let mut images = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![root.descriptor()];
        while let Some(descriptor) = open.pop() {
            if !seen.insert(descriptor.digest) || is_attestation(&descriptor) {
                continue;
            }
            match self.manifests.held(&descriptor.digest) {
                Ok(manifest) if index_of(&manifest).is_some() => {
                    let children: Vec<_> = self.children(&manifest).cloned().collect();
                    open.extend(children.into_iter().rev().filter(is_manifest));
                }
                _ => images.push(descriptor),
            }
        }
        images
    }

    /// What the manifests name besides manifests, each digest once. The target has all blobs of present images.
    fn blobs(&self, steps: &[Step]) -> Result<Vec<Descriptor>> {
        let mut sizes = BTreeMap::new();
        let mut blobs = Vec::new();
        for step in steps.iter().filter(|step| !self.present.contains(&step.manifest.digest())) {
            // BuildKit stores build caches as indexes of layers.
            let listed = self.children(&step.manifest).filter(|child| !is_manifest(child));
            for blob in blobs_of(&step.manifest).chain(listed) {
                match sizes.insert(blob.digest, blob.size) {
                    None => blobs.push(blob.clone()),
                    Some(size) if size == blob.size => {}
                    Some(size) => {
                        let subject = self.manifests.subject(step.manifest.digest());
                        let reason =
                            format!("blob `{}` has both {size} and {} bytes", blob.digest, blob.size);
                        return Err(Error::Invalid { subject, reason });
                    }
                }
            }
        }
        Ok(blobs)
    }
}

/// A step of a walk that acts when it comes back.
enum Visit {
    Enter(Digest),
    Leave(Arc<Manifest>),
}
