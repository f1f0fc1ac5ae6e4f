//! What a registry lists: tags, repositories, referrers, page by page.

use std::collections::HashSet;

use http::{Method, StatusCode, header};
use pier_content::{Error, Result, Source as _, Subject};
use pier_oci::{
    Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest, MediaType, Repository, RepositoryName, Selector, Tag,
    View,
    wire::{Endpoint, link},
};
use serde::Deserialize;
use url::Url;

use super::{Remote, ask};
use crate::{
    refusal::Refusal,
    transport::{Read, same_origin},
    wire::{Access, Ask, Target},
};

/// Items that are asked for at once. Some registries take no more.
const PAGE: usize = 1000;

/// Bytes of a page.
const PAGE_BYTES: u64 = 16 << 20;

/// Pages of one list, and bytes of all of them. A registry that lists on for ever is stopped here.
const PAGES: usize = 10_000;
const LIST_BYTES: u64 = 128 << 20;

/// How a registry receives a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It wanted to know who asks, and takes the credentials.
    Known,
    /// It did not ask, so no credentials were shown to it.
    Unasked,
}

/// How the reading of a list ended.
enum Listed {
    /// At its end.
    All,
    /// The registry did not begin it.
    Refused(Refusal),
    /// Somebody else, to whom the registry leads, answers with a page for people.
    Strange(Error),
}

#[derive(Deserialize)]
struct Tags {
    /// Some registries say `null` for none.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Repositories {
    repositories: Option<Vec<String>>,
}

impl Remote {
    /// Asks the registry whether it knows us: that it speaks the distribution API, and takes our credentials if it wants any
    /// (specification, end-1). One that serves everybody looks at no credentials, so that nothing is known about them then.
    ///
    /// # Errors
    /// [`Denied`](Error::Denied) when it wants other credentials, or any where there are none.
    pub async fn greet(&self) -> Result<Greeting> {
        let path = Endpoint::Base.to_string();
        let subject = Subject::Registry(self.wire.name());
        self.wire.ask(ask(Method::GET, &path, "greet a registry", Access::Registry, subject)).await?;
        Ok(if self.wire.wanted_to_know() { Greeting::Known } else { Greeting::Unasked })
    }

    /// All tags of a repository, in the registry's order, which is byte order where it follows the specification.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>> {
        let name = self.name_of(repository)?;
        let endpoint = Endpoint::Tags { repository: name.clone() };
        let subject = Subject::RemoteRepository(repository.clone());
        let mut tags = Vec::new();
        self.list(&format!("{endpoint}?n={PAGE}"), "list tags", Access::Pull(name), &subject, &mut |body| {
            let page: Tags = serde_json::from_slice(body).map_err(|error| malformed(&subject, &error))?;
            // What is no tag cannot be asked for either.
            tags.extend(page.tags.unwrap_or_default().iter().filter_map(|tag| tag.parse::<Tag>().ok()));
            Ok(())
        })
        .await?;
        Ok(tags)
    }

    /// All repositories of the registry that it lists to this client. Many registries list none.
    pub async fn repositories(&self) -> Result<Vec<RepositoryName>> {
        let subject = Subject::Registry(self.wire.name());
        let mut names = Vec::new();
        self.list(
            &format!("{}?n={PAGE}", Endpoint::Catalog),
            "list repositories",
            Access::Catalog,
            &subject,
            &mut |body| {
                let page: Repositories =
                    serde_json::from_slice(body).map_err(|error| malformed(&subject, &error))?;
                names.extend(
                    page.repositories
                        .unwrap_or_default()
                        .iter()
                        .filter_map(|name| name.parse::<RepositoryName>().ok()),
                );
                Ok(())
            },
        )
        .await?;
        Ok(names)
    }

    /// The manifests whose subject is `digest`, those of one `artifact_type` if one is given. A registry without the referrers API is asked
    /// for the index that clients keep there under a tag made of the digest (specification, "Referrers Tag Schema").
    ///
    /// # Errors
    /// [`Invalid`](Error::Invalid) when what the registry sends is no list. That is not the same as having none: whoever looks for signatures
    /// must not be told that there are none.
    pub async fn list_referrers(
        &self,
        repository: &Repository,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>> {
        let name = self.name_of(repository)?;
        let endpoint = Endpoint::Referrers { repository: name.clone(), digest: *digest };
        let subject = Subject::RemoteManifest(repository.clone(), Selector::Digest(*digest));
        let mut known = HashSet::new();
        let mut found = Vec::new();
        let mut note = |index: &Manifest| {
            if let View::Index(index) = index.view() {
                found.extend(index.manifests.iter().filter(|entry| known.insert(entry.digest)).cloned());
            }
        };
        let operation = "list referrers";
        let listed = self
            .pages(&endpoint.to_string(), operation, Access::Pull(name), &subject, &mut |body| {
                let parsed =
                    Manifest::parse(bytes::Bytes::copy_from_slice(body), Some(&MediaType::OCI_INDEX));
                let index = parsed.map_err(|error| Error::Invalid {
                    subject: subject.clone(),
                    reason: error.to_string(),
                })?;
                note(&index);
                Ok(())
            })
            .await?;
        match listed {
            Listed::All => {}
            Listed::Refused(refusal) if !knows_no_referrers(&refusal) => {
                return Err(refusal.into_error(&self.wire.name(), operation, subject));
            }
            // Some registries send whoever asks for what they do not know to a page for people.
            Listed::Refused(_) | Listed::Strange(_) => {
                let tag = Selector::Tag(Tag::of_referrers(digest));
                match self.manifest(repository, &tag, MAX_MANIFEST_BYTES).await {
                    Ok(index) => note(&index),
                    Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        found.retain(|entry| {
            artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
        });
        Ok(found)
    }

    /// Reads a list that has to be there.
    async fn list(
        &self,
        first: &str,
        operation: &'static str,
        access: Access<'_>,
        subject: &Subject,
        read: &mut (dyn FnMut(&[u8]) -> Result<()> + Send),
    ) -> Result<()> {
        match self.pages(first, operation, access, subject, read).await? {
            Listed::All => Ok(()),
            Listed::Refused(refusal) => {
                Err(refusal.into_error(&self.wire.name(), operation, subject.clone()))
            }
            Listed::Strange(error) => Err(error),
        }
    }

    /// Reads a list to its end, page by page.
    async fn pages(
        &self,
        first: &str,
        operation: &'static str,
        access: Access<'_>,
        subject: &Subject,
        read: &mut (dyn FnMut(&[u8]) -> Result<()> + Send),
    ) -> Result<Listed> {
        let endless = |reason: String| Error::Invalid { subject: subject.clone(), reason };
        let mut next: Option<Url> = None;
        let mut seen = HashSet::new();
        let mut left = LIST_BYTES;
        for _ in 0..PAGES {
            let target = next.as_ref().map_or(Target::Path(first), Target::Url);
            let get = Ask { target, ..ask(Method::GET, first, operation, access, subject.clone()) };
            let answer = match self.wire.attempt(get).await? {
                Ok(answer) => answer,
                Err(refusal) if next.is_none() => return Ok(Listed::Refused(refusal)),
                Err(refusal) => {
                    return Err(refusal.into_error(&self.wire.name(), operation, subject.clone()));
                }
            };
            let link = answer
                .headers()
                .get_all(header::LINK)
                .iter()
                .find_map(|value| link::next_page(value.to_str().ok()?))
                .map(str::to_owned);
            let from = answer.url().clone();
            let is_page = answer.header(header::CONTENT_TYPE).is_some_and(is_page);
            let body = match answer.read(PAGE_BYTES.min(left), operation).await? {
                Read::Whole(body) => body,
                Read::TooLong(_) if left < PAGE_BYTES => {
                    return Err(endless(format!("the list has more than {LIST_BYTES} bytes")));
                }
                Read::TooLong(_) => {
                    return Err(endless(format!("a page of the list has more than {PAGE_BYTES} bytes")));
                }
            };
            left -= body.len() as u64;
            if let Err(error) = read(&body) {
                let strange = is_page && next.is_none() && !self.wire.is_own(&from).await?;
                return if strange { Ok(Listed::Strange(error)) } else { Err(error) };
            }
            let Some(link) = link else { return Ok(Listed::All) };
            let url = self.wire.resolve(&link, &from).await?;
            // The next page of a list is where the list is; anywhere else would be told with credentials.
            if !same_origin(&url, &from) || !self.wire.is_own(&url).await? {
                let reason = "the next page of a list is said to be at another place".to_owned();
                return Err(Error::Untrusted { origin: self.wire.name(), reason });
            }
            if !seen.insert(url.clone()) {
                return Err(endless("the list goes round in a circle".to_owned()));
            }
            next = Some(url);
        }
        Err(endless(format!("the list has more than {PAGES} pages")))
    }
}

/// Whether an answer is for people.
fn is_page(content_type: &str) -> bool {
    let content_type = content_type.split(';').next().unwrap_or_default().trim();
    content_type.eq_ignore_ascii_case("text/html")
}

/// Whether a refusal is that of a registry without the referrers API. The specification has 404 for that; before it was written, some took
/// it for a mistake in the path.
fn knows_no_referrers(refusal: &Refusal) -> bool {
    let status = refusal.status;
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_ACCEPTABLE)
        || status == StatusCode::BAD_REQUEST && !refusal.is_denial()
}

fn malformed(subject: &Subject, error: &serde_json::Error) -> Error {
    Error::Invalid { subject: subject.clone(), reason: format!("the list is not what it should be: {error}") }
}
