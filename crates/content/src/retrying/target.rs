//! The same patience for places that are written to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Repository, Tag};

use super::{Patience, RetryPolicy};
use crate::{Completeness, Event, Mounted, Origin, Progress, Result, Target};

/// A target that is asked again after failures that may pass.
///
/// An [`upload`](Target::upload) counts its attempts anew whenever bytes of it got through; whether it then goes on where it stopped is the
/// target's business. Storing a manifest twice is the same as storing it once, so that is repeated too.
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
        let advanced = Arc::new(AtomicBool::new(false));
        let progress = noting(&advanced, progress.clone());
        let mut patience = Patience::new(&self.policy);
        loop {
            match self.target.upload(repository, descriptor, origin, &progress).await {
                Err(error) => {
                    if advanced.swap(false, Ordering::Relaxed) {
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

/// Passes events on and notes when bytes move.
fn noting(advanced: &Arc<AtomicBool>, progress: Progress) -> Progress {
    let advanced = Arc::clone(advanced);
    Progress::to(move |event| {
        if matches!(event, Event::Advanced { .. }) {
            advanced.store(true, Ordering::Relaxed);
        }
        progress.emit(|| event);
    })
}
