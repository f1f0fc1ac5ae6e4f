//! Lists: tags (end-8), repositories, referrers (end-12).

use http::{HeaderName, StatusCode, header};
use pier_content::Error;
use pier_oci::{Descriptor, Digest, MediaType, RepositoryName, Tag, wire::link};
use serde::Serialize;

use crate::{action::PageQuery, answer::Answer, refusal::Refusal, registry::Inner};

/// Says which filters of the query were applied.
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

type Outcome<T = Answer> = Result<T, Refusal>;

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: Vec<&'a str>,
}

#[derive(Serialize)]
struct Repositories<'a> {
    repositories: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Referrers<'a> {
    schema_version: u8,
    media_type: MediaType,
    manifests: Vec<&'a Descriptor>,
}

impl Inner {
    /// GET: one page of a repository's tags, in byte order.
    pub(crate) async fn tags(&self, repository: &RepositoryName, page: &PageQuery) -> Outcome {
        let limit = self.limit(page);
        let found = self.catalog.tags(repository, page.last.as_deref(), limit).await?;
        let tags: Vec<&str> = found.items.iter().map(Tag::as_str).collect();
        let next = next_page(&format!("/v2/{repository}/tags/list"), found.more, limit, tags.last());
        Ok(listing(&Tags { name: repository.as_str(), tags }, next))
    }

    /// GET: one page of the repositories that hold a manifest, in byte order.
    pub(crate) async fn repositories(&self, page: &PageQuery) -> Outcome {
        let limit = self.limit(page);
        let found = self.catalog.repositories(page.last.as_deref(), limit).await?;
        let repositories: Vec<&str> = found.items.iter().map(RepositoryName::as_str).collect();
        let next = next_page("/v2/_catalog", found.more, limit, repositories.last());
        Ok(listing(&Repositories { repositories }, next))
    }

    /// GET: the manifests whose subject is `digest`. An empty list where there are none, and never 404: a client
    /// would take that for a registry without this end-point.
    pub(crate) async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Outcome {
        let found = match self.catalog.referrers(repository, digest).await {
            Err(Error::NotFound { .. }) => Vec::new(),
            found => found?,
        };
        let is_wanted = |descriptor: &&Descriptor| {
            artifact_type.is_none_or(|wanted| descriptor.artifact_type.as_deref() == Some(wanted))
        };
        let manifests = found.iter().filter(is_wanted).collect();
        let list = Referrers { schema_version: 2, media_type: MediaType::OCI_INDEX, manifests };
        let answer = listing(&list, None).fixed(header::CONTENT_TYPE, INDEX);
        Ok(match artifact_type {
            Some(_) => answer.fixed(FILTERS_APPLIED, "artifactType"),
            None => answer,
        })
    }

    /// How many items go on a page.
    fn limit(&self, page: &PageQuery) -> usize {
        let sizes = self.settings.pages;
        page.limit.unwrap_or(sizes.default).min(sizes.max)
    }
}

/// The link to the page behind `last`, if there is one. A page of no items has none: it would lead to itself.
fn next_page(path: &str, more: bool, limit: usize, last: Option<&&str>) -> Option<String> {
    let last = last.filter(|_| more)?;
    Some(link::to_next_page(path, limit, last))
}

fn listing(list: &impl Serialize, next: Option<String>) -> Answer {
    #[expect(clippy::expect_used, reason = "structs of strings and numbers")]
    let json = serde_json::to_vec(list).expect("a list can be written as JSON");
    let answer = Answer::new(StatusCode::OK).json(json);
    match next {
        Some(link) => answer.header(header::LINK, link),
        None => answer,
    }
}
