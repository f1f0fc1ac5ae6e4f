//! One fetch for all who want the same at the same time.
//!
//! Whoever comes first fetches, the others wait. When the first gives up, which dropping its future does, one of those who wait takes
//! over. A failure is everybody's who waited for it, since asking once more for each of them would multiply a server's trouble; whoever comes later asks
//! anew.

use std::{
    collections::HashMap,
    hash::Hash,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use pier_content::{Causes, Error, Result};
use tokio::sync::OnceCell;

/// Who failed, where the failure does not say.
const TOKEN_SERVER: &str = "the token server";

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

/// One failure for several callers, of the same class for each of them. Causes cannot be cloned and become text.
fn shared(error: &Error) -> Error {
    const OPERATION: &str = "get a token";
    match error {
        Error::Denied { origin, reason } => Error::Denied { origin: origin.clone(), reason: reason.clone() },
        Error::Credentials { place, reason } => {
            Error::Credentials { place: place.clone(), reason: reason.clone() }
        }
        Error::Unavailable { origin, operation, retry_after, source } => Error::Unavailable {
            origin: origin.clone(),
            operation,
            retry_after: *retry_after,
            source: source.as_ref().map(|cause| Causes(&**cause).to_string().into()),
        },
        Error::TooManyRequests { origin, reason, retry_after } => Error::TooManyRequests {
            origin: origin.clone(),
            reason: reason.clone(),
            retry_after: *retry_after,
        },
        Error::Untrusted { origin, reason } => {
            Error::Untrusted { origin: origin.clone(), reason: reason.clone() }
        }
        Error::Invalid { subject, reason } => {
            Error::Invalid { subject: subject.clone(), reason: reason.clone() }
        }
        Error::Io { operation, path, source } => {
            let source = io::Error::new(source.kind(), source.to_string());
            Error::Io { operation, path: path.clone(), source }
        }
        error if error.is_retryable() => Error::Unavailable {
            origin: TOKEN_SERVER.to_owned(),
            operation: OPERATION,
            retry_after: error.retry_after(),
            source: Some(Causes(error).to_string().into()),
        },
        // Whatever it was, asking again would not change it.
        error => Error::Denied { origin: TOKEN_SERVER.to_owned(), reason: Causes(error).to_string() },
    }
}

#[cfg(test)]
mod tests;
