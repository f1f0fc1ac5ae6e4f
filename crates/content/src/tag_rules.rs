//! What has to hold for a tag to move or to go.
//!
//! Both kinds of rule are decided by the catalog in the transaction that moves the tag. Decided before, they would only
//! hold until somebody else moves it.

use std::{fmt, str::FromStr, sync::Arc};

use pier_oci::{Digest, RepositoryName, Selector, Tag};

use crate::{Error, Result, Subject};

/// What the caller asks of a tag before it is changed, and what the operator does.
#[derive(Clone, Debug, Default)]
pub struct TagRules {
    /// The caller's.
    pub expected: Expected,
    /// The operator's.
    pub immutable: ImmutableTags,
}

/// What a caller expects a tag to name: compare and set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it does, if anything.
    #[default]
    Anything,
    /// Something.
    Something,
    /// One of these.
    OneOf(Vec<Digest>),
    /// Something that is none of these.
    SomethingBut(Vec<Digest>),
    /// Nothing, or something that is none of these.
    NoneOf(Vec<Digest>),
    /// Nothing: it is new.
    Nothing,
}

/// Tags that, once they are there, name the same content for ever.
#[derive(Clone, Debug, Default)]
pub struct ImmutableTags(Arc<[ImmutableTag]>);

/// A pattern of tags that never move: `v*`, or `team/*:v*` for some repositories only. `*` stands for any text, also
/// none, and in a repository also across slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImmutableTag {
    repositories: String,
    tags: String,
}

/// The text is no pattern of tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no pattern of tags, such as `v*` or `team/*:release-*`")]
pub struct ImmutableTagError {
    found: String,
}

impl TagRules {
    /// Whether any change of the tag is fine, so that nobody need look what it names.
    pub fn allow_anything(&self, repository: &RepositoryName, tag: &Tag) -> bool {
        self.expected == Expected::Anything && !self.immutable.covers(repository, tag)
    }

    /// Decides about a tag that names `now` and is to name `then`; `None` is nothing.
    ///
    /// # Errors
    /// [`Changed`](Error::Changed) when it does not name what the caller expects;
    /// [`Immutable`](Error::Immutable) when it is there and never moves.
    pub fn check(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        now: Option<Digest>,
        then: Option<Digest>,
    ) -> Result<()> {
        let subject = || Subject::Manifest(repository.clone(), Selector::Tag(tag.clone()));
        if !self.expected.is_met(now.as_ref()) {
            return Err(Error::Changed { subject: subject(), found: now });
        }
        if now.is_some() && now != then && self.immutable.covers(repository, tag) {
            return Err(Error::Immutable { subject: subject() });
        }
        Ok(())
    }
}

impl Expected {
    /// Whether that is so of what names `now`; `None` is nothing.
    pub fn is_met(&self, now: Option<&Digest>) -> bool {
        match self {
            Self::Anything => true,
            Self::Something => now.is_some(),
            Self::OneOf(digests) => now.is_some_and(|now| digests.contains(now)),
            Self::SomethingBut(digests) => now.is_some_and(|now| !digests.contains(now)),
            Self::NoneOf(digests) => now.is_none_or(|now| !digests.contains(now)),
            Self::Nothing => now.is_none(),
        }
    }
}

impl ImmutableTags {
    /// Whether no tag of any repository is immutable, so that nobody need look which tags there are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decides about a change of something that tags of a repository lead to, through however many indexes.
    ///
    /// # Errors
    /// [`Immutable`](Error::Immutable) when one of the tags never moves: what it leads to is what it names.
    pub fn check_all<'a>(
        &self,
        repository: &RepositoryName,
        tags: impl IntoIterator<Item = &'a Tag>,
    ) -> Result<()> {
        match tags.into_iter().find(|tag| self.covers(repository, tag)) {
            Some(tag) => Err(Error::Immutable {
                subject: Subject::Manifest(repository.clone(), Selector::Tag(tag.clone())),
            }),
            None => Ok(()),
        }
    }

    /// Whether a tag of a repository never moves.
    pub fn covers(&self, repository: &RepositoryName, tag: &Tag) -> bool {
        self.0.iter().any(|pattern| {
            matches(&pattern.repositories, repository.as_str()) && matches(&pattern.tags, tag.as_str())
        })
    }
}

impl FromIterator<ImmutableTag> for ImmutableTags {
    fn from_iter<I: IntoIterator<Item = ImmutableTag>>(patterns: I) -> Self {
        Self(patterns.into_iter().collect())
    }
}

impl FromStr for ImmutableTag {
    type Err = ImmutableTagError;

    fn from_str(text: &str) -> Result<Self, ImmutableTagError> {
        let (repositories, tags) = text.split_once(':').unwrap_or(("*", text));
        let of_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte);
        let of_repository = |byte: u8| byte == b'/' || of_tag(byte) && !byte.is_ascii_uppercase();
        let fits = !repositories.is_empty()
            && !tags.is_empty()
            && repositories.bytes().all(of_repository)
            && tags.bytes().all(of_tag);
        if !fits {
            return Err(ImmutableTagError { found: text.to_owned() });
        }
        Ok(Self { repositories: repositories.to_owned(), tags: tags.to_owned() })
    }
}

impl fmt::Display for ImmutableTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repositories, self.tags)
    }
}

/// Whether a text has the form of a pattern. Each piece between stars is taken at its first place, which is right for
/// all but the last, which has to stand at the end; so the time is bounded by the product of the lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn immutable(patterns: &[&str]) -> ImmutableTags {
        patterns.iter().map(|pattern| pattern.parse::<ImmutableTag>().unwrap()).collect()
    }

    #[test]
    fn a_pattern_covers_what_has_its_form() {
        for (pattern, repository, tag, covered) in [
            ("v*", "a", "v1", true),
            ("v*", "a/b", "v", true),
            ("v*", "a", "1v", false),
            ("v*.*.*", "a", "v1.2.3", true),
            ("v*.*.*", "a", "v1.2", false),
            ("*-final", "a", "x-final", true),
            ("*-final", "a", "x-finally", false),
            ("latest", "a", "latest", true),
            ("latest", "a", "latest2", false),
            ("team/*:v*", "team/app/x", "v1", true),
            ("team/*:v*", "teams/app", "v1", false),
            ("team/*:*", "team/app", "anything", true),
            ("a*a", "a", "a", false),
        ] {
            let found = immutable(&[pattern]).covers(&repository.parse().unwrap(), &tag.parse().unwrap());
            assert_eq!(found, covered, "{pattern} {repository}:{tag}");
        }
        assert!(immutable(&["x", "y"]).covers(&"a".parse().unwrap(), &"y".parse().unwrap()));
        assert!(!ImmutableTags::default().covers(&"a".parse().unwrap(), &"y".parse().unwrap()));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", ":v*", "a:", "v 1", "Team:v*", "v[0-9]", "a:b:c", "ü"] {
            let error = text.parse::<ImmutableTag>().unwrap_err();
            assert_eq!(error, ImmutableTagError { found: text.to_owned() });
        }
    }

    #[test]
    fn expectations_come_before_immutability() {
        let (repository, tag) = ("a".parse().unwrap(), "v1".parse().unwrap());
        let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let check = |expected: Expected, patterns: &[&str], now, then| {
            let rules = TagRules { expected, immutable: immutable(patterns) };
            rules.check(&repository, &tag, now, then).map_or_else(|error| error.code(), |()| "ok")
        };
        let only = |digest| Expected::OneOf(vec![digest]);
        for (expected, patterns, now, then, outcome) in [
            (Expected::Anything, &[][..], Some(one), Some(two), "ok"),
            (Expected::Anything, &["v*"], None, Some(two), "ok"),
            (Expected::Anything, &["v*"], Some(two), Some(two), "ok"),
            (Expected::Anything, &["v*"], Some(one), Some(two), "immutable"),
            (Expected::Anything, &["v*"], Some(one), None, "immutable"),
            (Expected::Something, &[], None, Some(two), "changed"),
            (Expected::Nothing, &[], Some(one), Some(two), "changed"),
            (Expected::Nothing, &[], None, Some(two), "ok"),
            (only(one), &[], Some(one), Some(two), "ok"),
            (only(one), &[], Some(two), Some(two), "changed"),
            (only(one), &["v*"], Some(one), Some(two), "immutable"),
        ] {
            assert_eq!(check(expected.clone(), patterns, now, then), outcome, "{expected:?} {patterns:?}");
        }
    }
}
