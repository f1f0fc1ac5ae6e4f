//! What a token allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use pier_oci::RepositoryName;

/// Scopes of a challenge that are heeded. No request needs more than two.
const HEEDED: usize = 16;

/// What a request needs, in the form of Docker's token authentication: `repository:library/alpine:pull`. Sorted and merged, so that equal
/// needs are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// Nothing in particular: that somebody is who he says is enough.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Reading from a repository.
    pub(crate) fn pull(name: &RepositoryName) -> Self {
        Self::repository(name, &["pull"])
    }

    /// Writing to a repository, which always reads, too.
    pub(crate) fn push(name: &RepositoryName) -> Self {
        Self::repository(name, &["pull", "push"])
    }

    /// Deleting from a repository.
    pub(crate) fn delete(name: &RepositoryName) -> Self {
        Self::repository(name, &["delete", "pull"])
    }

    /// Mounting a blob of `source` in `target`. Docker Hub and others want to know that one may read it there.
    pub(crate) fn mount(target: &RepositoryName, source: &RepositoryName) -> Self {
        Self::push(target).and(Self::pull(source))
    }

    /// Listing a registry's repositories.
    pub(crate) fn catalog() -> Self {
        Self([("registry:catalog".to_owned(), ["*".to_owned()].into())].into())
    }

    /// The scopes of a challenge, which have spaces between them. Text of another form is kept as it is: what it means is between the registry
    /// and its token server.
    pub(crate) fn from_challenge(text: &str) -> Self {
        let mut scopes = Self::none();
        for scope in text.split_ascii_whitespace().take(HEEDED) {
            match scope.rsplit_once(':') {
                // A name has a type in front of it, and may have colons itself.
                Some((resource, actions)) if resource.contains(':') => {
                    let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned);
                    scopes.0.entry(resource.to_owned()).or_default().extend(actions);
                }
                _ => {
                    scopes.0.entry(scope.to_owned()).or_default();
                }
            }
        }
        scopes
    }

    /// Both.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        for (resource, actions) in other.0 {
            self.0.entry(resource).or_default().extend(actions);
        }
        self
    }

    /// Whether what allows `self` allows `other` as well.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(resource, wanted)| {
            self.0.get(resource).is_some_and(|allowed| allowed.contains("*") || allowed.is_superset(wanted))
        })
    }

    /// Each resource with its actions, as it is written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(resource, actions)| {
            if actions.is_empty() {
                return resource.clone();
            }
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn repository(name: &RepositoryName, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Self([(format!("repository:{name}"), actions)].into())
    }
}

/// All of them with spaces between, as OAuth2 has it.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scope) in self.iter().enumerate() {
            write!(f, "{}{scope}", if place == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn scopes_are_sorted_and_merged() {
        let (a, b) = (name("a"), name("team/b"));
        for (scopes, expected) in [
            (Scopes::none(), ""),
            (Scopes::pull(&a), "repository:a:pull"),
            (Scopes::push(&a), "repository:a:pull,push"),
            (Scopes::delete(&a), "repository:a:delete,pull"),
            (Scopes::catalog(), "registry:catalog:*"),
            (Scopes::mount(&b, &a), "repository:a:pull repository:team/b:pull,push"),
            (Scopes::mount(&a, &a), "repository:a:pull,push"),
            (
                Scopes::from_challenge(" repository:b:push,pull  repository:a:pull "),
                "repository:a:pull repository:b:pull,push",
            ),
            (Scopes::from_challenge("repository:a:push repository:a:pull,push"), "repository:a:pull,push"),
            (Scopes::from_challenge("repository:host:5000/a:pull"), "repository:host:5000/a:pull"),
            (Scopes::from_challenge("aws"), "aws"),
            (Scopes::from_challenge("repository:a:"), "repository:a"),
            (Scopes::from_challenge("repository:a:delete").and(Scopes::pull(&a)), "repository:a:delete,pull"),
        ] {
            assert_eq!(scopes.to_string(), expected);
            assert_eq!(Scopes::from_challenge(expected), scopes, "{expected}");
        }
    }

    #[test]
    fn wider_scopes_cover_narrower_ones() {
        for (wide, narrow, expected) in [
            ("", "", true),
            ("repository:a:pull", "", true),
            ("", "repository:a:pull", false),
            ("repository:a:pull,push", "repository:a:pull", true),
            ("repository:a:pull", "repository:a:pull,push", false),
            ("repository:a:*", "repository:a:pull,push", true),
            ("repository:a:pull repository:b:pull", "repository:b:pull", true),
            ("repository:a:pull", "repository:b:pull", false),
            ("registry:catalog:*", "repository:a:pull", false),
        ] {
            let [wide, narrow] = [wide, narrow].map(Scopes::from_challenge);
            assert_eq!(wide.covers(&narrow), expected, "{wide} / {narrow}");
        }
    }

    #[test]
    fn a_challenge_cannot_ask_for_any_number_of_scopes() {
        let text: Vec<String> = (0..1000).map(|number| format!("repository:r{number}:pull")).collect();
        assert_eq!(Scopes::from_challenge(&text.join(" ")).iter().count(), 16);
    }
}
