//! Proving to a registry who we are, as its `WWW-Authenticate` header wants it.
//!
//! A request goes out with what is known ([`Authenticator::header`]), which at first is nothing. When the registry refuses it,
//! [`Authenticator::answer`] finds the header that it wants, and the request is made once more. Nothing is asked for in advance: a registry's
//! challenge is the only one to say where tokens are had, and a registry that serves everybody is not told who asks.
//!
//! A header that answers a refusal is tried once. If it is refused as well, that is the registry's word ([`Error::Denied`]), and there is no loop.
//! Headers from the cache may have expired since, which registries say in three ways: 401, 403 (Amazon's ECR) and 400
//! (its public one); each is answered by a new one.
//!
//! A request that was made as somebody is never made as nobody because somebody was refused.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use pier_content::{Error, Result};
use pier_oci::{
    Registry, Repository,
    wire::{Bearer, Challenge, challenges},
};
use tokio::time::Instant;
use url::Url;

use self::{
    cache::{TokenCache, TokenKey},
    flight::Flights,
    identity::{Identities, Identity},
    token::{Outcome, Wanted, basic, bearer},
};
use crate::credentials::{Credential, CredentialSource};

mod cache;
mod flight;
mod identity;
mod scope;
mod token;
mod words;

pub(crate) use self::scope::Scopes;

/// The way to token servers.
#[async_trait]
pub(crate) trait TokenServer: Send + Sync {
    /// Makes one exchange, without following redirects.
    ///
    /// The implementation decides whether the URL, which a registry gave, may be asked at all, since credentials go there; and it bounds the
    /// answer's body.
    async fn ask(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>>;
}

/// A registry's refusal of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// As much of the body as was read.
    pub(crate) body: &'a [u8],
    /// The URL that was asked, against which a relative realm is read.
    pub(crate) url: &'a Url,
    pub(crate) sent: Sent<'a>,
}

/// The `Authorization` header that a refused request had.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent<'a> {
    /// None.
    Nothing,
    /// What [`Authenticator::header`] gave.
    Known(&'a HeaderValue),
    /// What [`Authenticator::answer`] gave.
    Answer(&'a HeaderValue),
}

impl Refusal<'_> {
    /// Whether another header may help, so that [`Authenticator::answer`] is worth asking: a challenge, or what some registries say when a
    /// token has expired. Never for a header that was an answer already.
    pub(crate) fn may_be_answered(&self) -> bool {
        match (self.sent, self.status) {
            (Sent::Answer(_), _) => false,
            (_, StatusCode::UNAUTHORIZED) | (Sent::Known(_), StatusCode::FORBIDDEN) => true,
            (Sent::Nothing, StatusCode::FORBIDDEN) => self.headers.contains_key(WWW_AUTHENTICATE),
            (Sent::Known(_), StatusCode::BAD_REQUEST) => {
                words::codes(self.body).iter().any(|code| matches!(code.as_str(), "DENIED" | "UNAUTHORIZED"))
            }
            _ => false,
        }
    }

    fn known(&self) -> Option<&HeaderValue> {
        if let Sent::Known(header) = self.sent { Some(header) } else { None }
    }
}

/// How a registry wants to be told who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// By a name and a password.
    Basic,
    /// By a token.
    Bearer { realm: Url, service: Option<String> },
}

/// Who we are at one registry, and its tokens. Shared by all requests to it.
pub(crate) struct Authenticator {
    registry: Registry,
    identities: Identities,
    state: Mutex<State>,
    flights: Flights<TokenKey, HeaderValue>,
}

#[derive(Debug, Default)]
struct State {
    /// What the registry wanted last.
    way: Option<Way>,
    tokens: TokenCache,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// With the credentials that `source` knows for the registry.
    pub(crate) fn new(registry: Registry, source: Arc<dyn CredentialSource>) -> Self {
        let identities = Identities::new(registry.clone(), source);
        Self { registry, identities, state: Mutex::default(), flights: Flights::default() }
    }

    /// The header for a request to `repository`, or to the registry as a whole, that needs `scopes`; `None` while nothing is known that
    /// would do. Makes no request and asks no helper.
    pub(crate) fn header(&self, repository: Option<&Repository>, scopes: &Scopes) -> Option<HeaderValue> {
        let identity = self.identities.known(repository)?;
        let state = self.state();
        match state.way.as_ref()? {
            Way::Basic => identity.basic(),
            Way::Bearer { .. } => identity
                .registry_token()
                .or_else(|| state.tokens.find(identity.credential.as_ref(), scopes, Instant::now())),
        }
    }

    /// Whether the registry has said in which way it wants to be told who asks.
    pub(crate) fn was_challenged(&self) -> bool {
        self.state().way.is_some()
    }

    /// The header with which a refused request is to be made once more. It may be the one that another request has got meanwhile.
    ///
    /// Cancelling it harms nobody who waits for the same token.
    ///
    /// # Errors
    /// [`Denied`](Error::Denied) when there are no credentials, or none that are accepted, or when the refusal has no
    /// [answer](Refusal::may_be_answered); [`Untrusted`](Error::Untrusted) when the challenge leads nowhere; what finding credentials and asking the token server fail with.
    pub(crate) async fn answer(
        &self,
        refusal: &Refusal<'_>,
        repository: Option<&Repository>,
        scopes: &Scopes,
        server: &dyn TokenServer,
    ) -> Result<HeaderValue> {
        if !refusal.may_be_answered() {
            return Err(self.denied(refusal, repository, scopes));
        }
        let (way, wanted) = self.way(refusal)?;
        let scopes = wanted.and(scopes.clone());
        let identity = self.identities.of(repository).await?;
        let refused = |identity: &Identity| {
            let words = refusal.said(identity);
            self.explain(Some(identity), &scopes, &words)
        };
        match &way {
            Way::Basic => self.present(refusal, repository, identity, Identity::basic, refused).await,
            Way::Bearer { .. } if identity.registry_token().is_some() => {
                self.present(refusal, repository, identity, Identity::registry_token, refused).await
            }
            Way::Bearer { realm, service } => {
                let wanted = Wanted { realm, service: service.as_deref(), scopes: &scopes };
                self.token(refusal, repository, identity, wanted, server).await
            }
        }
    }

    /// The error for a refusal that is final, with what is known about why.
    pub(crate) fn denied(
        &self,
        refusal: &Refusal<'_>,
        repository: Option<&Repository>,
        scopes: &Scopes,
    ) -> Error {
        let identity = self.identities.known(repository);
        let words =
            identity.as_deref().map_or_else(|| words::said(refusal.body, &[]), |who| refusal.said(who));
        let words = if words.is_empty() { refusal.status.to_string() } else { words };
        match refusal.sent {
            Sent::Nothing => self.refused("a request without credentials", scopes, &words),
            Sent::Known(_) | Sent::Answer(_) => self.explain(identity.as_deref(), scopes, &words),
        }
    }

    /// What the registry wants, and the scopes that it names. What it wanted last time counts when it does not say, as with an expired
    /// token that comes as 403.
    fn way(&self, refusal: &Refusal<'_>) -> Result<(Way, Scopes)> {
        let denied = |reason: String| Error::Denied { origin: self.registry.to_string(), reason };
        let mut offered = Vec::new();
        let mut flaw = None;
        for header in refusal.headers.get_all(WWW_AUTHENTICATE) {
            match challenges(&String::from_utf8_lossy(header.as_bytes())) {
                Ok(challenges) => offered.extend(challenges),
                Err(error) => flaw = Some(error),
            }
        }
        // A token tells less than a password, and expires.
        let asked = offered.iter().find_map(|challenge| match challenge {
            Challenge::Bearer(asked) => Some(asked),
            _ => None,
        });
        let (way, scopes) = if let Some(Bearer { realm, service, scope, .. }) = asked {
            let realm = refusal
                .url
                .join(realm)
                .ok()
                .filter(|realm| matches!(realm.scheme(), "http" | "https") && realm.has_host())
                .ok_or_else(|| token::nowhere(self.registry.as_str()))?;
            let scopes = scope.as_deref().map(Scopes::from_challenge).unwrap_or_default();
            (Way::Bearer { realm, service: service.clone() }, scopes)
        } else if offered.iter().any(|challenge| matches!(challenge, Challenge::Basic { .. })) {
            (Way::Basic, Scopes::none())
        } else if let Some(flaw) = flaw {
            return Err(denied(format!("its challenge cannot be understood: {flaw}")));
        } else if !offered.is_empty() {
            let offered: Vec<String> = offered.iter().map(|challenge| format!("`{challenge}`")).collect();
            return Err(denied(format!(
                "it wants authentication in a way that is not known here: {}",
                offered.join(", ")
            )));
        } else if let Some(way) = self.state().way.clone().filter(|_| refusal.known().is_some()) {
            return Ok((way, Scopes::none()));
        } else {
            return Err(denied("it wants authentication and does not say how".to_owned()));
        };
        self.state().way = Some(way.clone());
        Ok((way, scopes))
    }

    /// Shows a credential as it is. If that is what was refused, somebody may have renewed it where it is from.
    async fn present(
        &self,
        refusal: &Refusal<'_>,
        repository: Option<&Repository>,
        identity: Arc<Identity>,
        header: impl Fn(&Identity) -> Option<HeaderValue>,
        refused: impl Fn(&Identity) -> Error,
    ) -> Result<HeaderValue> {
        let new = |identity: &Identity| header(identity).filter(|header| Some(header) != refusal.known());
        if let Some(header) = new(&identity) {
            return Ok(header);
        }
        if refusal.known().is_none() {
            return Err(refused(&identity));
        }
        let identity = self.identities.again(repository, &identity).await?;
        new(&identity).ok_or_else(|| refused(&identity))
    }

    /// A token, from the cache or from the token server.
    async fn token(
        &self,
        refusal: &Refusal<'_>,
        repository: Option<&Repository>,
        identity: Arc<Identity>,
        wanted: Wanted<'_>,
        server: &dyn TokenServer,
    ) -> Result<HeaderValue> {
        let key = wanted.key(&identity);
        {
            let mut state = self.state();
            if let Some(header) = refusal.known() {
                state.tokens.remove(header);
            }
            if let Some(header) = state.tokens.get(&key, Instant::now()) {
                return Ok(header);
            }
        }
        self.flights
            .join(key, async || {
                let words = match self.fetch(&identity, &wanted, server).await? {
                    Ok(header) => return Ok(header),
                    Err(words) => words,
                };
                // What a helper gave some time ago may have expired.
                let again = self.identities.again(repository, &identity).await?;
                if again.credential == identity.credential {
                    return Err(self.explain(Some(&identity), wanted.scopes, &words));
                }
                let fetched = self.fetch(&again, &wanted, server).await?;
                fetched.map_err(|words| self.explain(Some(&again), wanted.scopes, &words))
            })
            .await
    }

    /// Fetches a token and keeps it. The inner error is what the token server said when it refused.
    async fn fetch(
        &self,
        identity: &Identity,
        wanted: &Wanted<'_>,
        server: &dyn TokenServer,
    ) -> Result<Result<HeaderValue, String>> {
        if let Some(header) = identity.registry_token() {
            return Ok(Ok(header));
        }
        // A token's time runs from here: it was not issued before.
        let asked = Instant::now();
        match token::fetch(server, self.registry.as_str(), wanted, identity.credential.as_ref()).await? {
            Outcome::Issued(issued) => {
                tracing::debug!(registry = %self.registry, scopes = %wanted.scopes, lifetime = ?issued.lifetime, "token");
                self.state().tokens.put(wanted.key(identity), &issued, asked);
                Ok(Ok(issued.header))
            }
            Outcome::Refused { words } => Ok(Err(words)),
        }
    }

    /// Why a request of somebody's was refused; of nobody's, without an identity or a credential in it.
    fn explain(&self, identity: Option<&Identity>, scopes: &Scopes, words: &str) -> Error {
        let what = match identity {
            Some(Identity { credential: Some(credential), place }) => match credential.username() {
                Some(name) => format!("the credentials of `{name}` from {place} do not do"),
                None => format!("the token from {place} does not do"),
            },
            _ => "it wants credentials, and there are none".to_owned(),
        };
        self.refused(&what, scopes, words)
    }

    fn refused(&self, what: &str, scopes: &Scopes, words: &str) -> Error {
        let needed = if scopes.is_empty() { String::new() } else { format!(" for `{scopes}`") };
        let said = if words.is_empty() { String::new() } else { format!(": {words}") };
        Error::Denied { origin: self.registry.to_string(), reason: format!("{what}{needed}{said}") }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusal<'_> {
    /// What the registry said, without what it was sent.
    fn said(&self, identity: &Identity) -> String {
        let sent = match self.sent {
            Sent::Nothing => None,
            Sent::Known(header) | Sent::Answer(header) => header.to_str().ok(),
        };
        let sent = sent.map(|header| header.split_once(' ').map_or(header, |(_, value)| value));
        let secret = identity.credential.as_ref().map(|credential| credential.secret().expose());
        let secrets: Vec<&str> = sent.into_iter().chain(secret).collect();
        words::said(self.body, &secrets)
    }
}

impl Wanted<'_> {
    fn key(&self, identity: &Identity) -> TokenKey {
        TokenKey {
            realm: self.realm.to_string(),
            service: self.service.map(str::to_owned),
            scopes: self.scopes.clone(),
            credential: identity.credential.clone(),
        }
    }
}

impl Identity {
    /// The header that shows a name and a password.
    fn basic(&self) -> Option<HeaderValue> {
        match &self.credential {
            Some(Credential::Basic { username, password }) => Some(basic(username, password.expose())),
            _ => None,
        }
    }

    /// The header that shows a token that was given to us as it is.
    fn registry_token(&self) -> Option<HeaderValue> {
        match &self.credential {
            Some(Credential::RegistryToken(token)) => bearer(token.expose()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
