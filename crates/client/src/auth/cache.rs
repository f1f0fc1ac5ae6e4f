//! Tokens that are still good.

use std::{collections::HashMap, time::Duration};

use http::HeaderValue;
use tokio::time::Instant;

use super::{scope::Scopes, token::Issued};
use crate::credentials::Credential;

/// Tokens that are kept for one registry. Enough for as many repositories at work at once.
const KEPT: usize = 256;

/// A token is given up when a tenth of its time is left, so that it does not expire on its way...
const SHARE: u32 = 10;

/// ... but not earlier than this before its end.
const MARGIN: Duration = Duration::from_secs(30);

/// What a token is for, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scopes: Scopes,
    /// Whom it was issued to. A token of one must not serve another.
    pub(super) credential: Option<Credential>,
}

/// The tokens of one registry. Time is an argument.
#[derive(Debug, Default)]
pub(super) struct TokenCache {
    tokens: HashMap<TokenKey, Kept>,
}

#[derive(Debug)]
struct Kept {
    header: HeaderValue,
    until: Instant,
}

impl TokenCache {
    /// A token of `credential` that allows `scopes`, wherever it was issued.
    pub(super) fn find(
        &self,
        credential: Option<&Credential>,
        scopes: &Scopes,
        now: Instant,
    ) -> Option<HeaderValue> {
        self.best(now, |key| key.credential.as_ref() == credential && key.scopes.covers(scopes))
    }

    /// A token that does in place of the one that `key` would give.
    pub(super) fn get(&self, key: &TokenKey, now: Instant) -> Option<HeaderValue> {
        let TokenKey { realm, service, scopes, credential } = key;
        self.best(now, |other| {
            other.realm == *realm
                && other.service == *service
                && other.credential == *credential
                && other.scopes.covers(scopes)
        })
    }

    /// Keeps a token. Its time runs from `now`, when it arrived: what the server's clock says does not matter.
    pub(super) fn put(&mut self, key: TokenKey, issued: &Issued, now: Instant) {
        self.tokens.retain(|_, kept| kept.until > now);
        if self.tokens.len() >= KEPT
            && let Some(first) =
                self.tokens.iter().min_by_key(|(_, kept)| kept.until).map(|(key, _)| key.clone())
        {
            self.tokens.remove(&first);
        }
        let margin = (issued.lifetime / SHARE).min(MARGIN);
        let until = now + issued.lifetime.saturating_sub(margin);
        self.tokens.insert(key, Kept { header: issued.header.clone(), until });
    }

    /// Drops a token that was refused.
    pub(super) fn remove(&mut self, header: &HeaderValue) {
        self.tokens.retain(|_, kept| kept.header != header);
    }

    /// Of the tokens that do, the one that lasts longest.
    fn best(&self, now: Instant, does: impl Fn(&TokenKey) -> bool) -> Option<HeaderValue> {
        let good = self.tokens.iter().filter(|(key, kept)| kept.until > now && does(key));
        good.max_by_key(|(_, kept)| kept.until).map(|(_, kept)| kept.header.clone())
    }
}

#[cfg(test)]
mod tests;
