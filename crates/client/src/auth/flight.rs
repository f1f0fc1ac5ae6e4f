//! One fetch for all who want the same at the same time.
//!
//! Whoever comes first fetches, the others wait. When the first gives up, which dropping its future does, one of those who wait takes
//! over. A failure is everybody's who waited for it, since asking once more for each of them would multiply a server's trouble; whoever comes later asks
//! anew.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use pier_content::{Error, Result};
use tokio::sync::OnceCell;

/// The fetches that are under way, by what is fetched.
#[derive(Debug)]
pub(super) struct Flights<K, T> {
    under_way: Mutex<HashMap<K, Arc<OnceCell<Result<T>>>>>,
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self { under_way: Mutex::default() }
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Flights<K, T> {
    /// What `fetch` gives, or what another one's gives that is under way.
    pub(super) async fn join(&self, key: K, fetch: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        let cell = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            // Flights that all have given up.
            under_way.retain(|_, cell| Arc::strong_count(cell) > 1);
            Arc::clone(under_way.entry(key.clone()).or_default())
        };
        let outcome = cell.get_or_init(async || {
            let outcome = fetch().await;
            // Before anybody sees the outcome: who comes now wants a new one.
            self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            outcome
        });
        match outcome.await {
            Ok(fetched) => Ok(fetched.clone()),
            Err(error) => Err(shared(error)),
        }
    }
}

/// One failure for several callers. Causes cannot be cloned and become text.
fn shared(error: &Error) -> Error {
    match error {
        Error::Denied { origin, reason } => Error::Denied { origin: origin.clone(), reason: reason.clone() },
        Error::Credentials { place, reason } => {
            Error::Credentials { place: place.clone(), reason: reason.clone() }
        }
        Error::Unavailable { origin, operation, retry_after, source } => Error::Unavailable {
            origin: origin.clone(),
            operation,
            retry_after: *retry_after,
            source: source.as_ref().map(|cause| chain(&**cause).into()),
        },
        other => Error::Unavailable {
            origin: "the token server".to_owned(),
            operation: "fetch a token",
            retry_after: other.retry_after(),
            source: Some(chain(other).into()),
        },
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
