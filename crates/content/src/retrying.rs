//! The one place that waits and asks again.
//!
//! A source makes one attempt a call, so how long Pier insists is decided here and nowhere else: two loops around
//! one another would multiply their attempts, and the user could not say how long a command takes to give up.
//! The error's class decides ([`Error::is_retryable`]); a refusal, a missing manifest or wrong bytes are
//! answers, and asking again would only make them later.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Reference, Repository, Selector};

use crate::{Blob, ByteRange, Causes, Error, Event, Filling, Opened, Progress, Result, Source};

mod target;

pub use target::RetryingTarget;

/// A source that is asked again after failures that may pass.
///
/// A [`fill`](Source::fill) goes on where it stopped, since the part remembers what arrived, and counts its
/// attempts anew whenever something did: a long download over a bad line ends only when the line is dead.
/// A stream that [`open`](Source::open) gave is not resumed here; only the part knows what of it was kept.
///
/// Wrap single sources and give those to [`Fallback`](crate::Fallback), most often the last one alone: the other
/// way round, every retry goes through all sources, and the sources that
/// [`parts`](Source::parts) lists are asked without retries.
#[derive(Debug)]
pub struct Retrying {
    source: Arc<dyn Source>,
    policy: RetryPolicy,
}

/// How often and how patiently [`Retrying`] asks.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Attempts in a row that bring nothing before the last error is given back.
    pub attempts: NonZeroU32,
    /// The wait after the first failure.
    pub first_delay: Duration,
    /// By how much each wait in a row is longer than the one before; at least 1.
    pub growth: f64,
    /// The longest single wait. Who asks to be left alone for longer is left alone: the call fails at once and says for how long.
    pub max_delay: Duration,
    /// The longest sum of all waits of one call. A wait that would exceed it is not begun.
    pub max_wait: Duration,
    /// How long one attempt may take that is answered with something small: a name, a manifest, a list, the beginning of a blob, a config.
    /// Larger content takes as long as it takes; whoever gives it has to notice when nothing comes any more.
    pub time_limit: Option<Duration>,
    /// Spreads the waits of many clients that failed at once.
    pub jitter: Jitter,
    /// Told of each wait before it begins, as [`Event::Waiting`], and of who gave what, as [`Event::Given`].
    pub progress: Progress,
}

impl RetryPolicy {
    /// Five attempts: waits of about 0.25, 0.5, 1 and 2 seconds, up to a minute each as other sides ask for, and ten
    /// minutes in all.
    pub fn new(jitter: Jitter) -> Self {
        Self {
            attempts: const { NonZeroU32::new(5).expect("five is not zero") },
            first_delay: Duration::from_millis(250),
            growth: 2.0,
            max_delay: Duration::from_mins(1),
            max_wait: Duration::from_mins(10),
            time_limit: None,
            jitter,
            progress: Progress::default(),
        }
    }
}

impl RetryPolicy {
    /// So many attempts with waits that begin with `interval` and grow by half up to a minute, each attempt within `time_limit`: what a
    /// launcher says that has to have an answer. Nothing but the attempts ends it, or somebody who asks to be left alone for longer.
    pub fn insistent(attempts: NonZeroU32, interval: Duration, time_limit: Duration) -> Self {
        let max_delay = Duration::from_mins(1);
        Self {
            attempts,
            first_delay: interval,
            growth: 1.5,
            max_delay,
            max_wait: max_delay.saturating_mul(attempts.get()),
            time_limit: Some(time_limit),
            jitter: Jitter::none(),
            progress: Progress::default(),
        }
    }
}

/// For calls that no trait has, such as a registry's lists.
impl RetryPolicy {
    /// Makes attempts until one succeeds, fails for good, or was the last.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn insist<T>(&self, origin: &str, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let mut patience = Patience::new(self);
        loop {
            match self.limited(|| origin.to_owned(), attempt()).await {
                Err(error) => patience.after(error, || origin.to_owned()).await?,
                done => return done,
            }
        }
    }

    /// One attempt, ended when it takes too long.
    async fn limited<T>(
        &self,
        origin: impl FnOnce() -> String,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(limit) = self.time_limit else { return attempt.await };
        match tokio::time::timeout(limit, attempt).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(Error::Unavailable {
                origin: origin(),
                operation: "answer in time",
                retry_after: None,
                source: Some(elapsed.into()),
            }),
        }
    }
}

/// Bytes of content that has to come within the time limit of an attempt.
const SMALL: u64 = 1 << 20;

/// Where the randomness of waits comes from.
#[derive(Clone)]
pub struct Jitter(Option<Arc<dyn Fn() -> f64 + Send + Sync>>);

impl Jitter {
    /// Waits are exactly as long as the policy says.
    pub fn none() -> Self {
        Self(None)
    }

    /// Waits are between half of what the policy says, when `random` gives 0, and all of it, when it gives 1.
    pub fn from_random(random: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(random)))
    }

    fn apply(&self, delay: Duration) -> Duration {
        match &self.0 {
            None => delay,
            Some(random) => {
                let random = random();
                // NaN fails the comparison, and a random source that errs must not stop a download.
                let share = if (0.0..=1.0).contains(&random) { random } else { 1.0 };
                delay.mul_f64(share.midpoint(1.0))
            }
        }
    }
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Jitter(random)" } else { "Jitter(none)" })
    }
}

impl Retrying {
    /// Asks `source` as `policy` says.
    pub fn new(source: Arc<dyn Source>, policy: RetryPolicy) -> Self {
        Self { source, policy }
    }

    fn patience(&self) -> Patience<'_> {
        Patience::new(&self.policy)
    }

    async fn limited<T>(&self, attempt: impl Future<Output = Result<T>>) -> Result<T> {
        self.policy.limited(|| self.source.name(), attempt).await
    }

    fn given(&self, digest: Digest) {
        self.policy.progress.emit(|| Event::Given { digest, origin: self.source.name() });
    }
}

/// What one call has left.
struct Patience<'a> {
    policy: &'a RetryPolicy,
    /// Failures in a row.
    failures: u32,
    /// All waits so far. Progress does not reset it: a source that gives one byte an attempt has to end too.
    waited: Duration,
}

impl<'a> Patience<'a> {
    fn new(policy: &'a RetryPolicy) -> Self {
        Self { policy, failures: 0, waited: Duration::ZERO }
    }

    /// Waits before another attempt, or gives the error back when there is to be none.
    async fn after(&mut self, error: Error, origin: impl FnOnce() -> String) -> Result<()> {
        if !error.is_retryable() {
            return Err(error);
        }
        self.failures += 1;
        if self.failures >= self.policy.attempts.get() {
            return Err(error);
        }
        let wish = error.retry_after();
        // Asking earlier is what it complained about, and waiting longer than anybody would is no better than an answer now.
        if wish.is_some_and(|wish| wish > self.policy.max_delay) {
            return Err(error);
        }
        let delay = self.delay(wish);
        if self.waited + delay > self.policy.max_wait {
            return Err(error);
        }
        let origin = origin();
        tracing::debug!(
            origin,
            attempt = self.failures,
            delay_ms = delay.as_millis(),
            error = &error as &dyn std::error::Error,
            "waiting before another attempt"
        );
        self.policy.progress.emit(|| Event::Waiting { origin, delay, reason: Causes(&error).to_string() });
        self.waited += delay;
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// The other side's wish is a lower bound: asking earlier is what it complained about.
    fn delay(&self, wish: Option<Duration>) -> Duration {
        let RetryPolicy { first_delay, growth, max_delay, .. } = self.policy;
        // What is no number, or shrinks, waits as long as the time before.
        let factor = growth.max(1.0).powf(f64::from(self.failures - 1));
        let grown = Duration::try_from_secs_f64(first_delay.as_secs_f64() * factor);
        let own = grown.unwrap_or(*max_delay).min(*max_delay);
        self.policy.jitter.apply(own).max(wish.unwrap_or_default()).min(self.policy.max_delay)
    }
}

#[async_trait]
impl Source for Retrying {
    fn name(&self) -> String {
        self.source.name()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let mut patience = self.patience();
        loop {
            match self.limited(self.source.resolve(reference)).await {
                Err(error) => patience.after(error, || self.source.name()).await?,
                done => return done,
            }
        }
    }

    async fn manifest(&self, repository: &Repository, selector: &Selector, limit: u64) -> Result<Manifest> {
        let mut patience = self.patience();
        loop {
            match self.limited(self.source.manifest(repository, selector, limit)).await {
                Err(error) => patience.after(error, || self.source.name()).await?,
                Ok(manifest) => {
                    self.given(manifest.digest());
                    return Ok(manifest);
                }
            }
        }
    }

    async fn open(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened> {
        let mut patience = self.patience();
        loop {
            match self.limited(self.source.open(repository, descriptor, range)).await {
                Err(error) => patience.after(error, || self.source.name()).await?,
                done => return done,
            }
        }
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        let mut patience = self.patience();
        loop {
            match self.limited(self.source.referrers(repository, digest)).await {
                Err(error) => patience.after(error, || self.source.name()).await?,
                done => return done,
            }
        }
    }

    async fn fill(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        filling: &dyn Filling,
    ) -> Result<()> {
        let mut patience = self.patience();
        loop {
            let before = filling.missing();
            let attempt = self.source.fill(repository, descriptor, filling);
            let outcome = if descriptor.size <= SMALL { self.limited(attempt).await } else { attempt.await };
            let left = filling.missing();
            if left != before {
                self.given(descriptor.digest);
            }
            let Err(error) = outcome else { return Ok(()) };
            // A line that breaks behind the last byte took nothing from us.
            if left.is_empty() && error.is_retryable() {
                return Ok(());
            }
            if left != before {
                patience.failures = 0;
            }
            patience.after(error, || self.source.name()).await?;
        }
    }

    async fn held(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Option<Blob>> {
        self.source.held(repository, descriptor).await
    }

    fn parts(&self) -> Vec<&dyn Source> {
        self.source.parts()
    }
}

#[cfg(test)]
mod tests;
