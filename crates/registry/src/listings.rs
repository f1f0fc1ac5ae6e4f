//! Lists: tags (end-8), repositories, referrers (end-12).

use http::{HeaderName, StatusCode, header};
use pier_content::{Error, ReferrersOf, catalog::REFERRERS_BYTES};
use pier_oci::{
    Descriptor, Digest, Manifest, MediaType, RepositoryName, Selector, Tag, View,
    wire::{Cursor, Listing, link},
};
use serde::Serialize;

use crate::{
    action::{CURSOR, PageQuery, ReferrersQuery},
    answer::Answer,
    refusal::Refusal,
    registry::Inner,
};

/// Says which filters of the query were applied.
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Entries of one list that a client kept under a tag of its own that are looked at.
const TAG_SCHEMA_ENTRIES: usize = 1000;

/// Characters of a digest in such a tag, which has room for 128 and was made for sha256.
const TAG_SCHEMA_DIGITS: usize = 64;

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
struct Referrers {
    schema_version: u8,
    media_type: MediaType,
    manifests: Vec<Descriptor>,
}

impl Inner {
    /// GET: one page of a repository's tags, in byte order.
    pub(crate) async fn tags(&self, repository: &RepositoryName, page: &PageQuery) -> Outcome {
        let limit = self.limit(page.limit);
        let found = self.catalog.tags(repository, page.last.as_deref(), limit).await?;
        let tags: Vec<&str> = found.items.iter().map(Tag::as_str).collect();
        let last = tags.last().filter(|_| found.more).map(|last| Cursor::new(Listing::Tags, *last));
        let next = last.map(|last| next_page(&format!("/v2/{repository}/tags/list"), limit, &last, None));
        Ok(listing(&Tags { name: repository.as_str(), tags }, next))
    }

    /// GET: one page of the repositories that hold a manifest, in byte order.
    pub(crate) async fn repositories(&self, page: &PageQuery) -> Outcome {
        let limit = self.limit(page.limit);
        let found = self.catalog.repositories(page.last.as_deref(), limit).await?;
        let repositories: Vec<&str> = found.items.iter().map(RepositoryName::as_str).collect();
        let last =
            repositories.last().filter(|_| found.more).map(|last| Cursor::new(Listing::Repositories, *last));
        let next = last.map(|last| next_page("/v2/_catalog", limit, &last, None));
        Ok(listing(&Repositories { repositories }, next))
    }

    /// GET: one page of the manifests whose subject is `digest`. An empty list where there are none, and never 404: a
    /// client would take that for a registry without this end-point.
    pub(crate) async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        artifact_type: Option<String>,
        page: ReferrersQuery,
    ) -> Outcome {
        let limit = self.limit(page.limit);
        let of = ReferrersOf { subject: digest, artifact_type, after: page.after, limit };
        let mut found = self.catalog.referrers(repository, &of).await?;
        let wanted = of.artifact_type.as_deref();
        // A page of no items leads nowhere: its link would lead to itself.
        let last = found.items.last().filter(|_| found.more).map(|last| last.digest.to_string());
        let next = last.map(|last| {
            let cursor = Cursor::new(Listing::Referrers, last);
            next_page(&format!("/v2/{repository}/referrers/{digest}"), limit, &cursor, wanted)
        });
        if !found.more && limit > 0 {
            found.items.extend(self.kept_under_a_tag(repository, digest, wanted).await?);
        }
        let list = Referrers { schema_version: 2, media_type: MediaType::OCI_INDEX, manifests: found.items };
        let answer = listing(&list, next).fixed(header::CONTENT_TYPE, INDEX);
        Ok(match wanted {
            Some(_) => answer.fixed(FILTERS_APPLIED, "artifactType"),
            None => answer,
        })
    }

    /// Referrers that a client listed under a tag, as the specification has those do that meet a registry without this
    /// end-point, and that do not name their subject themselves. Only what the repository holds is listed, and as what
    /// it is: an index that anybody may push says nothing about manifests.
    async fn kept_under_a_tag(
        &self,
        repository: &RepositoryName,
        subject: Digest,
        artifact_type: Option<&str>,
    ) -> Outcome<Vec<Descriptor>> {
        let digits = subject.hex();
        let digits = digits.get(..TAG_SCHEMA_DIGITS).unwrap_or(&digits);
        let Ok(tag) = format!("{}-{digits}", subject.algorithm()).parse() else { return Ok(Vec::new()) };
        let index = match self.catalog.resolve(repository, &Selector::Tag(tag)).await {
            Err(Error::NotFound { .. }) => return Ok(Vec::new()),
            index => index?,
        };
        let View::Index(index) = index.view() else { return Ok(Vec::new()) };
        let (mut found, mut bytes): (Vec<Descriptor>, _) = (Vec::new(), 0);
        for entry in index.manifests.iter().take(TAG_SCHEMA_ENTRIES) {
            let manifest = match self.catalog.resolve(repository, &Selector::Digest(entry.digest)).await {
                Err(Error::NotFound { .. }) => continue,
                manifest => manifest?,
            };
            let is_listed = found.iter().any(|other| other.digest == entry.digest);
            if is_listed || !is_wanted(&manifest, subject, artifact_type) {
                continue;
            }
            bytes += manifest.bytes().len();
            found.push(manifest.referrer_descriptor());
            if bytes > REFERRERS_BYTES {
                break;
            }
        }
        Ok(found)
    }

    /// How many items go on a page.
    fn limit(&self, asked: Option<usize>) -> usize {
        let sizes = self.settings.pages;
        asked.unwrap_or(sizes.default).min(sizes.max)
    }
}

/// One that names the subject itself is in the list already.
fn is_wanted(manifest: &Manifest, subject: Digest, artifact_type: Option<&str>) -> bool {
    let names_it = manifest.subject().is_some_and(|named| named.digest == subject);
    !names_it && (artifact_type.is_none() || manifest.artifact_type() == artifact_type)
}

/// The link to the page behind `last`.
fn next_page(path: &str, limit: usize, last: &Cursor, artifact_type: Option<&str>) -> String {
    let (limit, last) = (limit.to_string(), last.to_string());
    let parameters = [("n", limit.as_str()), (CURSOR, &last)];
    let filter = artifact_type.map(|wanted| ("artifactType", wanted));
    link::to_next_page(path, parameters.into_iter().chain(filter))
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
