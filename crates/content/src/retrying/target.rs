//! The same patience for places that are written to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Repository, Tag};

use super::{Patience, RetryPolicy};
use crate::{Completeness, Event, Mounted, Origin, Progress, Result, Target};

/// A target that is asked again after failures that may pass.
///
/// An [`upload`](Target::upload) counts its attempts anew whenever the next one begins further on than any before, as
/// [`Event::Started`] says: bytes that were sent and not kept are no progress, or a target that refuses them would be sent them for ever.
/// Storing a manifest twice is the same as storing it once, so that is repeated too.
#[derive(Debug)]
pub struct RetryingTarget {
    target: Arc<dyn Target>,
    policy: RetryPolicy,
}

impl RetryingTarget {
    /// Asks `target` as `policy` says.
    pub fn new(target: Arc<dyn Target>, policy: RetryPolicy) -> Self {
        Self { target, policy }
    }
}

#[async_trait]
impl Target for RetryingTarget {
    fn name(&self) -> String {
        self.target.name()
    }

    async fn has(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool> {
        let mut patience = Patience::new(&self.policy);
        loop {
            match self.target.has(repository, descriptor).await {
                Err(error) => patience.after(error, || self.name()).await?,
                done => return done,
            }
        }
    }

    async fn mount(&self, repository: &Repository, digest: &Digest, from: &Repository) -> Result<Mounted> {
        let mut patience = Patience::new(&self.policy);
        loop {
            match self.target.mount(repository, digest, from).await {
                Err(error) => patience.after(error, || self.name()).await?,
                done => return done,
            }
        }
    }

    async fn upload(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        let got_further = Arc::new(AtomicBool::new(false));
        let progress = noting(&got_further, progress.clone());
        let mut patience = Patience::new(&self.policy);
        loop {
            match self.target.upload(repository, descriptor, origin, &progress).await {
                Err(error) => {
                    if got_further.swap(false, Ordering::Relaxed) {
                        patience.failures = 0;
                    }
                    patience.after(error, || self.name()).await?;
                }
                done => return done,
            }
        }
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        tags: &[Tag],
        completeness: Completeness,
    ) -> Result<()> {
        let mut patience = Patience::new(&self.policy);
        loop {
            match self.target.put_manifest(repository, manifest, tags, completeness).await {
                Err(error) => patience.after(error, || self.name()).await?,
                done => return done,
            }
        }
    }
}

/// Passes events on and notes when an attempt begins further on than those before.
fn noting(got_further: &Arc<AtomicBool>, progress: Progress) -> Progress {
    let got_further = Arc::clone(got_further);
    let furthest = AtomicU64::new(0);
    Progress::to(move |event| {
        if let Event::Started { done, .. } = &event
            && furthest.fetch_max(*done, Ordering::Relaxed) < *done
        {
            got_further.store(true, Ordering::Relaxed);
        }
        progress.emit(|| event);
    })
}
