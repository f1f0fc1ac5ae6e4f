//! Who may do what: scopes, tokens and passwords, and what a client does wrong with them. No connections.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use pier_oci::wire::{Endpoint, Query};

use super::Violation;
use super::manners::{Access, Anonymous, Login, Manners, Tokens};

/// Actions by resource, as in `repository:library/alpine` → `pull`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scopes(BTreeMap<String, BTreeSet<String>>);

/// Why a request may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nobody in particular asks, or somebody who is not known.
    Unknown,
    /// The token does not do: `invalid_token` or `insufficient_scope`.
    Token(&'static str),
    /// It did once.
    Expired,
}

/// Who was given what.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Counts what is handed out, so that nothing is given twice.
    serial: u64,
    /// Passwords are of this age.
    generation: u64,
    tokens: BTreeMap<String, Scopes>,
    expired: BTreeSet<String>,
    /// The scopes of the last challenge.
    challenged: Scopes,
}

/// What came with a request to the token server.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenRequest<'a> {
    pub(super) authorization: Option<&'a str>,
    /// The query of a GET, the form of a POST.
    pub(super) parameters: &'a Query,
    pub(super) method: &'a Method,
}

impl Scopes {
    /// Reads any number of scopes with spaces between them.
    pub(super) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for (resource, actions) in text.split(' ').filter_map(|scope| scope.rsplit_once(':')) {
            scopes.add(resource, actions.split(','));
        }
        scopes
    }

    /// What a request needs.
    pub(super) fn needed(method: &Method, endpoint: &Endpoint, query: &Query, also: Option<&str>) -> Self {
        let mut scopes = also.map(Self::parse).unwrap_or_default();
        let actions: &[&str] = match (method, endpoint) {
            (&Method::DELETE, _) => &["delete"],
            (&Method::PUT, _) | (_, Endpoint::Uploads { .. } | Endpoint::Upload { .. }) => &["pull", "push"],
            _ => &["pull"],
        };
        if let Some(repository) = endpoint.repository() {
            scopes.add(&format!("repository:{repository}"), actions.iter().copied());
        }
        if *endpoint == Endpoint::Catalog {
            scopes.add("registry:catalog", ["*"]);
        }
        if let (Some(from), Endpoint::Uploads { .. }) = (query.first("from"), endpoint) {
            scopes.add(&format!("repository:{from}"), ["pull"]);
        }
        scopes
    }

    fn add<'a>(&mut self, resource: &str, actions: impl IntoIterator<Item = &'a str>) {
        self.0.entry(resource.to_owned()).or_default().extend(actions.into_iter().map(str::to_owned));
    }

    fn covers(&self, needed: &Self) -> bool {
        needed
            .0
            .iter()
            .all(|(resource, actions)| self.0.get(resource).is_some_and(|ours| ours.is_superset(actions)))
    }

    fn only_pull(mut self) -> Self {
        for actions in self.0.values_mut() {
            actions.retain(|action| action == "pull");
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a challenge has it; none where there is nothing to ask for.
    pub(super) fn text(&self) -> Option<String> {
        let one = |(resource, actions): (&String, &BTreeSet<String>)| {
            let actions: Vec<_> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        };
        let all: Vec<_> = self.0.iter().map(one).collect();
        (!all.is_empty()).then(|| all.join(" "))
    }
}

impl Accounts {
    /// Whether a request may go on. What the client did wrong is added to `violations`.
    pub(super) fn check(
        &self,
        manners: &Manners,
        authorization: Option<&str>,
        needed: &Scopes,
        violations: &mut Vec<Violation>,
    ) -> Result<(), Refused> {
        match (manners.access, authorization.and_then(|value| value.split_once(' '))) {
            (Access::Open, None) => Ok(()),
            (Access::Open, Some(_)) => {
                violations.push(Violation::UnaskedCredentials);
                Ok(())
            }
            (Access::Basic | Access::Bearer(_), None) => Err(Refused::Unknown),
            (Access::Basic, Some((scheme, secret))) if scheme.eq_ignore_ascii_case("basic") => {
                match self.age(manners.login, secret) {
                    Some(age) if age == self.generation => Ok(()),
                    Some(_) => Err(Refused::Expired),
                    None => Err(Refused::Unknown),
                }
            }
            (Access::Bearer(_), Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => {
                match self.tokens.get(token) {
                    Some(scopes) if scopes.covers(needed) => Ok(()),
                    Some(_) => Err(Refused::Token("insufficient_scope")),
                    None if self.expired.contains(token) => Err(Refused::Expired),
                    None => {
                        violations.push(Violation::StrangeToken);
                        Err(Refused::Token("invalid_token"))
                    }
                }
            }
            (Access::Basic | Access::Bearer(_), Some(_)) => {
                violations.push(Violation::WrongScheme);
                Err(Refused::Unknown)
            }
        }
    }

    /// Remembers what a challenge asked for.
    pub(super) fn challenge(&mut self, needed: &Scopes) {
        self.challenged = needed.clone();
    }

    /// A token, or none where the client is not who it says or may not have one.
    pub(super) fn token(
        &mut self,
        manners: &Manners,
        tokens: &Tokens,
        request: TokenRequest<'_>,
        violations: &mut Vec<Violation>,
    ) -> Option<String> {
        let TokenRequest { authorization, parameters, method } = request;
        let wanted: Vec<_> = parameters.all("scope").collect();
        let wanted = Scopes::parse(&wanted.join(" "));
        if wanted.is_empty() && !self.challenged.is_empty() {
            violations.push(Violation::NoScope);
        }
        if parameters.first("service").filter(|service| !service.is_empty()) != tokens.service {
            violations.push(Violation::WrongService);
        }
        let is_known = if method == Method::POST {
            if parameters.first("client_id").is_none_or(str::is_empty) {
                violations.push(Violation::NoClientId);
            }
            self.is_known_by_form(manners.login, parameters)
        } else {
            match authorization.map(|value| value.split_once(' ')) {
                None => return self.anonymous(tokens, wanted),
                Some(Some((scheme, secret))) if scheme.eq_ignore_ascii_case("basic") => {
                    self.age(manners.login, secret).is_some_and(|age| age == self.generation)
                }
                Some(_) => {
                    violations.push(Violation::TokenToTokenServer);
                    false
                }
            }
        };
        is_known.then(|| self.give(wanted))
    }

    fn anonymous(&mut self, tokens: &Tokens, wanted: Scopes) -> Option<String> {
        (tokens.anonymous == Anonymous::Pulls).then(|| self.give(wanted.only_pull()))
    }

    fn is_known_by_form(&self, login: Login, form: &Query) -> bool {
        match (login, form.first("grant_type")) {
            (Login::IdentityToken(_), Some("refresh_token")) => {
                form.first("refresh_token") == Some(&*self.password(""))
            }
            (Login::Passwords(users), Some("password")) => {
                let user = form.first("username").unwrap_or_default();
                users.contains(&user) && form.first("password") == Some(&*self.password(user))
            }
            _ => false,
        }
    }

    /// A new token for this.
    fn give(&mut self, scopes: Scopes) -> String {
        self.serial += 1;
        let token = STANDARD.encode(format!("opaque token {}", self.serial));
        self.tokens.insert(token.clone(), scopes);
        token
    }

    /// All tokens that were given are too old now, and so are passwords where they come with each request.
    pub(super) fn expire(&mut self, access: Access) {
        self.expired.extend(std::mem::take(&mut self.tokens).into_keys());
        if matches!(access, Access::Basic) {
            self.generation += 1;
        }
    }

    /// The password of a user as it is now, or the identity token.
    pub(super) fn password(&self, user: &str) -> String {
        password(user, self.generation)
    }

    /// How old the password in a Basic credential is; none where it is none of ours.
    fn age(&self, login: Login, secret: &str) -> Option<u64> {
        let text = String::from_utf8(STANDARD.decode(secret.trim()).ok()?).ok()?;
        let (user, secret) = text.split_once(':')?;
        let known = match login {
            Login::Passwords(users) => users.contains(&user).then_some(user)?,
            Login::IdentityToken(name) => (user == name).then_some("")?,
        };
        (0..=self.generation).find(|age| secret == password(known, *age))
    }
}

/// Nothing that a client could take apart at a colon or that needs no encoding in a form.
fn password(user: &str, generation: u64) -> String {
    match user {
        "_json_key" => format!("{{\"type\": \"service_account\",\n \"key\": \"a+b/c={generation}\"}}"),
        "" => format!("identity.token+{generation}/=="),
        _ => format!("pass:word+{generation}&/="),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_needs() {
        for (method, path, query, expected) in [
            (Method::GET, "/v2/", "", None),
            (Method::HEAD, "/v2/a/b/manifests/v1", "", Some("repository:a/b:pull")),
            (Method::PUT, "/v2/a/manifests/v1", "", Some("repository:a:pull,push")),
            (
                Method::POST,
                "/v2/a/blobs/uploads/",
                "mount=x&from=b",
                Some("repository:a:pull,push repository:b:pull"),
            ),
            (Method::POST, "/v2/a/blobs/uploads/", "from=a", Some("repository:a:pull,push")),
            (Method::DELETE, "/v2/a/manifests/v1", "", Some("repository:a:delete")),
            (Method::GET, "/v2/_catalog", "", Some("registry:catalog:*")),
        ] {
            let needed = Scopes::needed(&method, &path.parse().unwrap(), &Query::parse(query), None);
            assert_eq!(needed.text().as_deref(), expected, "{method} {path}");
        }
    }

    #[test]
    fn tokens_cover_what_they_were_given_for() {
        let given = Scopes::parse("repository:a:pull,push repository:b:pull");
        for (needed, is_covered) in [
            ("repository:a:push", true),
            ("repository:a:pull repository:b:pull", true),
            ("repository:b:push", false),
            ("repository:c:pull", false),
            ("", true),
        ] {
            assert_eq!(given.covers(&Scopes::parse(needed)), is_covered, "{needed}");
        }
    }
}
