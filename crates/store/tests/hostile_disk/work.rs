//! The pieces of work that a disk is broken under.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use pier_content::{
    BlobStore as _, ByteRange, Catalog as _, Claim, Commit, Completeness, Error, Filling, ImmutableTags,
    Ingest, IngestKey, PutManifest, Result, TagRules,
};
use pier_oci::{Digest, Manifest, MediaType, RepositoryName, SessionId, Tag};
use pier_store::{Clock, Leases, OpenError, Store, StoreOptions};

use crate::ledger::{Ledger, Name};

/// One piece of work, with what has to be there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    UploadABlob,
    UploadUnderSha512,
    IngestABlob,
    IngestOutOfOrder,
    LinkFromTwoRepositories,
    CommitWhatIsThere,
    PushAnImage,
    MoveATag,
    Untag,
    DeleteAnImageAndCollect,
    DeleteABlobAndCollect,
    PushWhatIsBeingCollected,
}

/// A store under test and what it has acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) ledger: Arc<Ledger>,
    /// How far the store's clock is ahead.
    hours: Arc<AtomicU64>,
}

/// Bytes that differ for each `seed` and from page to page.
pub(crate) fn content(seed: u8) -> Bytes {
    (0..9_000_u32).map(|at| seed ^ u8::try_from(at % 251).unwrap()).collect::<Vec<_>>().into()
}

pub(crate) fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

/// An image of a config and layers.
pub(crate) fn image(config: &Bytes, layers: &[Bytes]) -> Manifest {
    let entry = |media_type: &MediaType, bytes: &Bytes| {
        format!(
            r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#,
            media_type.as_str(),
            Digest::sha256(bytes),
            bytes.len()
        )
    };
    let layers: Vec<String> = layers.iter().map(|layer| entry(&MediaType::OCI_LAYER, layer)).collect();
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        MediaType::OCI_MANIFEST.as_str(),
        entry(&MediaType::OCI_CONFIG, config),
        layers.join(",")
    );
    Manifest::parse(document.into(), Some(&MediaType::OCI_MANIFEST)).unwrap()
}

/// Content that is gone already is as good as content that is removed now: what a repeated deletion finds.
fn gone(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(Error::NotFound { .. }) => Ok(()),
        other => other,
    }
}

impl World {
    pub(crate) fn open(path: &Path, ledger: &Arc<Ledger>) -> Result<Self, OpenError> {
        let hours = Arc::new(AtomicU64::new(0));
        let ahead = Arc::clone(&hours);
        let clock = Clock::from_fn(move || SystemTime::now() + Duration::from_hours(ahead.load(Relaxed)));
        let store = Store::open(path, StoreOptions { clock, ..StoreOptions::default() })?;
        Ok(Self { store, ledger: Arc::clone(ledger), hours })
    }

    /// Lets so much time pass that the leases of what was prepared are over.
    pub(crate) fn another_day(&self) {
        self.hours.fetch_add(25, Relaxed);
    }

    /// A push: a session whose digest is known at the end.
    pub(crate) async fn upload(&self, to: &RepositoryName, bytes: &Bytes, digest: Digest) -> Result<()> {
        static SESSION: AtomicU64 = AtomicU64::new(1);
        let session = SessionId::from_bits(SESSION.fetch_add(1, Relaxed).into());
        let change = (Name::blob(to, &digest), Some(bytes.clone()));
        let push = async {
            let Ingest::Filling(filling) = self.store.ingest(IngestKey::NewUpload(session)).await? else {
                panic!("an upload is always filled by who begins it");
            };
            let (head, tail) = (bytes.slice(..4_000), bytes.slice(4_000..));
            filling.write_at(0, vec![head]).await?;
            filling.write_at(4_000, vec![tail]).await?;
            filling.commit(Commit { digest, link: Some(to.clone()) }).await
        };
        self.ledger.attempt(vec![change], push).await.map(drop)
    }

    /// A pull: the digest is known before, and the holes may be filled in any order.
    async fn ingest(&self, to: &RepositoryName, bytes: &Bytes, order: Pieces) -> Result<()> {
        let digest = Digest::sha256(bytes);
        let change = (Name::blob(to, &digest), Some(bytes.clone()));
        let key = IngestKey::Blob { digest, size: Some(bytes.len() as u64) };
        let pull = async {
            match self.store.ingest(key).await? {
                Ingest::Present(_) => self.store.link(to, &digest, Claim::Proven).await.map(drop),
                Ingest::Following(_) => panic!("nobody else fills it"),
                Ingest::Filling(filling) => {
                    let commit = Commit { digest, link: Some(to.clone()) };
                    fill(&*filling, bytes, order).await?;
                    match filling.commit(commit.clone()).await {
                        // What a power loss left of the part was not what its list says: once more, and whole.
                        Err(Error::Integrity { .. }) => {
                            fill(&*filling, bytes, order).await?;
                            filling.commit(commit).await.map(drop)
                        }
                        other => other.map(drop),
                    }
                }
            }
        };
        self.ledger.attempt(vec![change], pull).await
    }

    pub(crate) async fn push_image(
        &self,
        to: &RepositoryName,
        name: &str,
        config: &Bytes,
        layers: &[Bytes],
    ) -> Result<()> {
        for blob in layers.iter().chain([config]) {
            self.upload(to, blob, Digest::sha256(blob)).await?;
        }
        self.put(to, name, image(config, layers)).await
    }

    async fn put(&self, to: &RepositoryName, name: &str, manifest: Manifest) -> Result<()> {
        let changes = vec![
            (Name::manifest(to, &manifest.digest()), Some(manifest.bytes().clone())),
            (Name::tag(to, &tag(name)), Some(manifest.bytes().clone())),
        ];
        let put = PutManifest {
            repository: to.clone(),
            manifest: Arc::new(manifest),
            tags: vec![tag(name)],
            completeness: Completeness::Strict,
            rules: TagRules::default(),
        };
        let put = async { self.store.put_manifest(put).await.map(drop) };
        self.ledger.attempt(changes, put).await
    }

    async fn unlink(&self, from: &RepositoryName, bytes: &Bytes) -> Result<()> {
        let digest = Digest::sha256(bytes);
        let unlink = async { gone(self.store.unlink(from, &digest).await) };
        self.ledger.attempt(vec![(Name::blob(from, &digest), None)], unlink).await
    }
}

/// In which order pieces arrive.
#[derive(Clone, Copy, Debug)]
enum Pieces {
    InOrder,
    Backwards,
}

/// Fills what is missing of `bytes`.
async fn fill(filling: &dyn Filling, bytes: &Bytes, order: Pieces) -> Result<()> {
    let mut pieces: Vec<(u64, Bytes)> = Vec::new();
    for ByteRange { start, end } in filling.missing() {
        let (start, end) =
            (usize::try_from(start).unwrap(), end.map_or(bytes.len(), |end| usize::try_from(end).unwrap()));
        for at in (start..end).step_by(3_000) {
            pieces.push((at as u64, bytes.slice(at..end.min(at + 3_000))));
        }
    }
    if matches!(order, Pieces::Backwards) {
        pieces.reverse();
    }
    for (offset, piece) in pieces {
        filling.write_at(offset, vec![piece]).await?;
    }
    Ok(())
}

impl Work {
    /// Makes what has to be there before, on a disk that is well.
    pub(crate) async fn prepare(self, world: &World) -> Result<()> {
        let (a, _) = (repository("a"), repository("b"));
        match self {
            Self::UploadABlob | Self::UploadUnderSha512 | Self::IngestABlob | Self::IngestOutOfOrder => {
                // Something that is there already and has to stay.
                world.upload(&a, &content(1), Digest::sha256(&content(1))).await
            }
            Self::LinkFromTwoRepositories | Self::CommitWhatIsThere | Self::DeleteABlobAndCollect => {
                world.push_image(&a, "kept", &content(1), &[content(2)]).await?;
                world.upload(&a, &content(3), Digest::sha256(&content(3))).await
            }
            Self::PushAnImage => {
                for seed in [1, 2, 3] {
                    world.upload(&a, &content(seed), Digest::sha256(&content(seed))).await?;
                }
                Ok(())
            }
            Self::MoveATag | Self::Untag | Self::DeleteAnImageAndCollect => {
                world.push_image(&a, "kept", &content(1), &[content(2)]).await?;
                world.push_image(&a, "moved", &content(3), &[content(2), content(4)]).await?;
                if self == Self::DeleteAnImageAndCollect {
                    // The collection is to take what leases alone would keep.
                    for seed in [3, 4] {
                        world.ledger.forget(&Name::blob(&a, &Digest::sha256(&content(seed))));
                    }
                }
                Ok(())
            }
            Self::PushWhatIsBeingCollected => {
                world.upload(&a, &content(3), Digest::sha256(&content(3))).await?;
                world.unlink(&a, &content(3)).await
            }
        }
    }

    /// Does it. Can be repeated, whatever of it has been done before.
    pub(crate) async fn act(self, world: &World) -> Result<()> {
        let (a, b) = (repository("a"), repository("b"));
        let three = content(3);
        let digest = Digest::sha256(&three);
        match self {
            Self::UploadABlob => world.upload(&b, &three, digest).await,
            Self::UploadUnderSha512 => {
                world.upload(&b, &three, Digest::of(pier_oci::Algorithm::Sha512, &three)).await
            }
            Self::IngestABlob => world.ingest(&b, &three, Pieces::InOrder).await,
            Self::IngestOutOfOrder => world.ingest(&b, &three, Pieces::Backwards).await,
            Self::LinkFromTwoRepositories => {
                let change = (Name::blob(&b, &digest), Some(three.clone()));
                let link = world.store.link(&b, &digest, Claim::From(a));
                let c = repository("c");
                let (linked, pushed) =
                    tokio::join!(world.ledger.attempt(vec![change], link), world.upload(&c, &three, digest));
                linked.map(drop).and(pushed)
            }
            Self::CommitWhatIsThere => world.upload(&a, &three, digest).await,
            Self::PushAnImage => world.put(&a, "new", image(&content(1), &[content(2), three])).await,
            Self::MoveATag => world.put(&a, "moved", image(&content(1), &[content(2)])).await,
            Self::Untag => {
                let untag = async { gone(world.store.untag(&a, &tag("moved"), &TagRules::default()).await) };
                world.ledger.attempt(vec![(Name::tag(&a, &tag("moved")), None)], untag).await
            }
            Self::DeleteAnImageAndCollect => {
                let manifest = image(&three, &[content(2), content(4)]).digest();
                let delete = async {
                    gone(world.store.delete_manifest(&a, &manifest, &ImmutableTags::default()).await)
                };
                let changes =
                    vec![(Name::manifest(&a, &manifest), None), (Name::tag(&a, &tag("moved")), None)];
                world.ledger.attempt(changes, delete).await?;
                world.store.collect(Leases::Ignore).await.map(drop)
            }
            Self::DeleteABlobAndCollect => {
                world.unlink(&a, &three).await?;
                world.store.collect(Leases::Respect).await.map(drop)
            }
            Self::PushWhatIsBeingCollected => {
                let (pushed, collected) =
                    tokio::join!(world.upload(&b, &three, digest), world.store.collect(Leases::Respect));
                pushed.and(collected.map(drop))
            }
        }
    }
}
