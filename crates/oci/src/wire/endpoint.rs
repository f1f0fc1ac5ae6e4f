//! The paths below `/v2/`.
//!
//! A repository's name contains slashes and may contain every word that end-points are made of
//! (`a/manifests/b` is a name), so a path is read from its end, where what is named has no slash.

use std::{fmt, str::FromStr};

use super::query::percent_decoded;
use crate::{Digest, DigestError, NameError, RepositoryName, Selector, SessionId};

/// What a path names, whatever the method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v2/` (end-1).
    Base,
    /// `/v2/<name>/blobs/<digest>` (end-2, end-10).
    Blob {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// `/v2/<name>/manifests/<tag-or-digest>` (end-3, end-7, end-9).
    Manifest {
        /// The repository.
        repository: RepositoryName,
        /// The manifest.
        selector: Selector,
    },
    /// `/v2/<name>/blobs/uploads/` (end-4, end-11).
    Uploads {
        /// The repository.
        repository: RepositoryName,
    },
    /// `/v2/<name>/blobs/uploads/<id>` (end-5, end-6, end-13, end-14). Only the server may count on this form.
    Upload {
        /// The repository.
        repository: RepositoryName,
        /// The session.
        session: SessionId,
    },
    /// `/v2/<name>/tags/list` (end-8).
    Tags {
        /// The repository.
        repository: RepositoryName,
    },
    /// `/v2/<name>/referrers/<digest>` (end-12).
    Referrers {
        /// The repository.
        repository: RepositoryName,
        /// The subject.
        digest: Digest,
    },
    /// `/v2/_oci/ext/discover`, where registries list their extensions.
    Extensions,
    /// `/v2/_catalog`, which is Docker's and not the specification's.
    Catalog,
}

/// Why a path names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It has no form that this API knows.
    #[error("there is no such end-point")]
    Unknown,
    /// The repository's name is none.
    #[error(transparent)]
    Name(NameError),
    /// The tag is none.
    #[error(transparent)]
    Tag(NameError),
    /// The digest is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The session's id is none that a server of ours could have made.
    #[error("there is no such upload session")]
    Session,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads a path as it stands in a request, percent-encoded.
    fn from_str(path: &str) -> Result<Self, EndpointError> {
        let path = percent_decoded(path).ok_or(EndpointError::Unknown)?;
        let rest = match &*path {
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/v2/_catalog" => return Ok(Self::Catalog),
            "/v2/_oci/ext/discover" => return Ok(Self::Extensions),
            path => path.strip_prefix("/v2/").ok_or(EndpointError::Unknown)?,
        };
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags { repository: repository(name)? });
        }
        if let Some(name) =
            rest.strip_suffix("/blobs/uploads").or_else(|| rest.strip_suffix("/blobs/uploads/"))
        {
            return Ok(Self::Uploads { repository: repository(name)? });
        }
        let (head, last) = rest.rsplit_once('/').ok_or(EndpointError::Unknown)?;
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            let session = last.parse().map_err(|_| EndpointError::Session)?;
            return Ok(Self::Upload { repository: repository(name)?, session });
        }
        if let Some(name) = head.strip_suffix("/blobs") {
            return Ok(Self::Blob { repository: repository(name)?, digest: last.parse()? });
        }
        if let Some(name) = head.strip_suffix("/manifests") {
            return Ok(Self::Manifest { repository: repository(name)?, selector: selector(last)? });
        }
        if let Some(name) = head.strip_suffix("/referrers") {
            return Ok(Self::Referrers { repository: repository(name)?, digest: last.parse()? });
        }
        Err(EndpointError::Unknown)
    }
}

fn repository(name: &str) -> Result<RepositoryName, EndpointError> {
    name.parse().map_err(EndpointError::Name)
}

/// A tag has no colon and a digest has one.
fn selector(text: &str) -> Result<Selector, EndpointError> {
    if text.contains(':') {
        return Ok(Selector::Digest(text.parse()?));
    }
    text.parse().map(Selector::Tag).map_err(EndpointError::Tag)
}

impl Endpoint {
    /// The repository that it is about, if it is about one.
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Base | Self::Extensions | Self::Catalog => None,
            Self::Blob { repository, .. }
            | Self::Manifest { repository, .. }
            | Self::Uploads { repository }
            | Self::Upload { repository, .. }
            | Self::Tags { repository }
            | Self::Referrers { repository, .. } => Some(repository),
        }
    }
}

/// The path. Names, tags and digests have no character that would have to be encoded.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("/v2/"),
            Self::Blob { repository, digest } => write!(f, "/v2/{repository}/blobs/{digest}"),
            Self::Manifest { repository, selector } => write!(f, "/v2/{repository}/manifests/{selector}"),
            Self::Uploads { repository } => write!(f, "/v2/{repository}/blobs/uploads/"),
            Self::Upload { repository, session } => write!(f, "/v2/{repository}/blobs/uploads/{session}"),
            Self::Tags { repository } => write!(f, "/v2/{repository}/tags/list"),
            Self::Referrers { repository, digest } => write!(f, "/v2/{repository}/referrers/{digest}"),
            Self::Extensions => f.write_str("/v2/_oci/ext/discover"),
            Self::Catalog => f.write_str("/v2/_catalog"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::strategies;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn check(path: &str) -> Endpoint {
        let endpoint: Endpoint = path.parse().unwrap();
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint.clone()));
        endpoint
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn every_end_point_is_read_and_written() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        let session: SessionId = "00112233-4455-4677-8899-aabbccddeeff".parse().unwrap();
        assert_eq!(check("/v2/"), Endpoint::Base);
        assert_eq!(check("/v2"), Endpoint::Base);
        assert_eq!(check("/v2/_catalog"), Endpoint::Catalog);
        assert_eq!(check("/v2/_oci/ext/discover"), Endpoint::Extensions);
        let repository = name("a/b");
        assert_eq!(check("/v2/a/b/tags/list"), Endpoint::Tags { repository: repository.clone() });
        assert_eq!(check("/v2/a/b/blobs/uploads"), Endpoint::Uploads { repository: repository.clone() });
        assert_eq!(check("/v2/a/b/blobs/uploads/"), Endpoint::Uploads { repository: repository.clone() });
        assert_eq!(
            check(&format!("/v2/a/b/blobs/uploads/{session}")),
            Endpoint::Upload { repository: repository.clone(), session }
        );
        assert_eq!(
            check(&format!("/v2/a/b/blobs/sha256:{HEX}")),
            Endpoint::Blob { repository: repository.clone(), digest }
        );
        assert_eq!(
            check(&format!("/v2/a/b/blobs/sha256%3A{HEX}")),
            Endpoint::Blob { repository: repository.clone(), digest }
        );
        assert_eq!(
            check(&format!("/v2/a/b/referrers/sha256:{HEX}")),
            Endpoint::Referrers { repository: repository.clone(), digest }
        );
        assert_eq!(
            check("/v2/a/b/manifests/latest"),
            Endpoint::Manifest { repository, selector: Selector::Tag("latest".parse().unwrap()) }
        );
    }

    #[test]
    fn a_name_may_consist_of_the_words_of_end_points() {
        let selector = Selector::Tag("list".parse().unwrap());
        for text in ["blobs/uploads", "manifests", "tags", "a/manifests/b", "x/blobs/y/referrers"] {
            assert_eq!(
                check(&format!("/v2/{text}/manifests/list")),
                Endpoint::Manifest { repository: name(text), selector: selector.clone() }
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_path_is_told_apart() {
        let error = |path: &str| path.parse::<Endpoint>().unwrap_err();
        for unknown in [
            "",
            "/",
            "/v1/",
            "/v2x",
            "/v2/a",
            "/v2/a/b/c",
            "/v2/a/tags/list/",
            "/v2/%zz",
            "/v2/%ff/tags/list",
        ] {
            assert_eq!(error(unknown), EndpointError::Unknown, "{unknown}");
        }
        for bad in ["/v2/../tags/list", "/v2/a/%2e%2e/b/manifests/x", "/v2/A/tags/list", "/v2//tags/list"] {
            assert!(matches!(error(bad), EndpointError::Name(_)), "{bad}");
        }
        assert!(matches!(error("/v2/a/manifests/.bad"), EndpointError::Tag(_)));
        assert!(matches!(error("/v2/a/manifests/"), EndpointError::Tag(_)));
        assert!(matches!(error("/v2/a/manifests/sha256:12"), EndpointError::Digest(_)));
        assert!(matches!(error("/v2/a/blobs/latest"), EndpointError::Digest(_)));
        assert_eq!(error("/v2/a/blobs/uploads/..%2f..%2fx"), EndpointError::Unknown);
        assert_eq!(error("/v2/a/blobs/uploads/12"), EndpointError::Session);
    }

    /// Names of the words that end-points are made of, besides any others.
    fn names() -> impl Strategy<Value = RepositoryName> {
        let words = vec!["blobs", "uploads", "manifests", "tags", "list", "referrers", "v2", "a"];
        prop_oneof![
            strategies::repository_name(),
            prop::collection::vec(prop::sample::select(words), 1..5)
                .prop_map(|words| words.join("/").parse().unwrap()),
        ]
    }

    fn endpoints() -> impl Strategy<Value = Endpoint> {
        let tags = prop_oneof![
            strategies::tag(),
            prop::sample::select(vec!["list", "uploads", "blobs"]).prop_map(|tag| tag.parse().unwrap()),
        ];
        (names(), strategies::digest(), tags, any::<u128>(), 0..9_u8).prop_map(
            |(repository, digest, tag, session, kind)| match kind {
                0 => Endpoint::Base,
                1 => Endpoint::Catalog,
                2 => Endpoint::Blob { repository, digest },
                3 => Endpoint::Manifest { repository, selector: Selector::Digest(digest) },
                4 => Endpoint::Manifest { repository, selector: Selector::Tag(tag) },
                5 => Endpoint::Uploads { repository },
                6 => Endpoint::Upload { repository, session: SessionId::from_bits(session) },
                7 => Endpoint::Tags { repository },
                _ => Endpoint::Referrers { repository, digest },
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(endpoint in endpoints()) {
            let path = endpoint.to_string();
            prop_assert_eq!(path.parse(), Ok(endpoint.clone()));
            let encoded = super::super::query::percent_encoded(&path).replace("%2F", "/");
            prop_assert_eq!(encoded.parse(), Ok(endpoint));
        }

        #[test]
        fn any_path_is_read_or_refused(
            path in prop_oneof![".*", "/v2(/(a|blobs|uploads|manifests|tags|list|%2e|%2F|[a-z:%.]{0,4})){0,6}"]
        ) {
            if let Ok(endpoint) = path.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }
    }
}
