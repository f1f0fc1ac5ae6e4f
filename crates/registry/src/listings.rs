//! Lists: tags (end-8), repositories, referrers (end-12).

use std::{collections::BTreeSet, fmt::Display};

use http::{HeaderName, StatusCode, header};
use pier_content::{Error, Page, ReferrersOf, catalog::REFERRERS_BYTES};
use pier_oci::{
    Descriptor, Digest, Manifest, MediaType, RepositoryName, Selector, Tag, View,
    wire::{Cursor, Listing, link},
};
use serde::Serialize;

use crate::{
    ResponseBody,
    action::{CURSOR, PageQuery, ReferrersQuery, ReferrersStart},
    answer::Answer,
    refusal::Refusal,
    registry::Inner,
};

/// Says which filters of the query were applied.
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

const JSON: &str = "application/json";

/// Entries of a list that a client kept under a tag that are looked at for one page: whether each is there is a query.
const KEPT_ENTRIES: usize = 1000;

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
        Ok(listing(&Tags { name: repository.as_str(), tags }, JSON, next))
    }

    /// GET: one page of the repositories that hold a manifest, in byte order.
    pub(crate) async fn repositories(&self, page: &PageQuery) -> Outcome {
        let limit = self.limit(page.limit);
        let found = self.catalog.repositories(page.last.as_deref(), limit).await?;
        let repositories: Vec<&str> = found.items.iter().map(RepositoryName::as_str).collect();
        let last =
            repositories.last().filter(|_| found.more).map(|last| Cursor::new(Listing::Repositories, *last));
        let next = last.map(|last| next_page("/v2/_catalog", limit, &last, None));
        Ok(listing(&Repositories { repositories }, JSON, next))
    }

    /// GET: one page of the manifests that refer to `subject`. An empty list where there are none, and never 404: a
    /// client would take that for a registry without this end-point.
    pub(crate) async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: Digest,
        artifact_type: Option<String>,
        page: ReferrersQuery,
    ) -> Outcome {
        let limit = self.limit(page.limit);
        let of = ReferrersOf { subject, artifact_type, after: None, limit };
        let (manifests, next) = match limit {
            // A page of no items leads nowhere: its link would lead to itself.
            0 => (Vec::new(), None),
            _ => self.page_of_referrers(repository, &of, page.start).await?,
        };
        let wanted = of.artifact_type.as_deref();
        let path = format!("/v2/{repository}/referrers/{subject}");
        let next = next.map(|cursor| next_page(&path, limit, &cursor, wanted));
        let list = Referrers { schema_version: 2, media_type: MediaType::OCI_INDEX, manifests };
        let answer = listing(&list, MediaType::OCI_INDEX, next);
        Ok(match wanted {
            Some(_) => answer.fixed(FILTERS_APPLIED, "artifactType"),
            None => answer,
        })
    }

    /// The manifests that name the subject, and behind them those that a client kept under a tag, as the specification
    /// has clients do that meet a registry without this end-point; both in the order of their digests. And where the next
    /// page starts, if what was looked at is not all.
    ///
    /// What bounds a page is what is read for it: a list that anybody may push says nothing about manifests, so each is
    /// looked at, wanted or not. A page may therefore hold less than there is room for, and lead on.
    async fn page_of_referrers(
        &self,
        repository: &RepositoryName,
        of: &ReferrersOf,
        start: ReferrersStart,
    ) -> Outcome<(Vec<Descriptor>, Option<Cursor>)> {
        let (mut items, after) = match start {
            ReferrersStart::Naming(after) => {
                let of = ReferrersOf { after, ..of.clone() };
                let Page { items, more } = self.catalog.referrers(repository, &of).await?;
                if let Some(last) = items.last().filter(|_| more) {
                    let next = Cursor::new(Listing::Referrers, last.digest.to_string());
                    return Ok((items, Some(next)));
                }
                (items, None)
            }
            ReferrersStart::Kept(after) => (Vec::new(), after),
        };
        let mut bytes: u64 = items.iter().map(|item| item.size).sum();
        let mut last = after;
        for (looked_at, digest) in
            self.kept_under_a_tag(repository, of.subject, after).await?.iter().enumerate()
        {
            if items.len() >= of.limit || bytes >= REFERRERS_BYTES as u64 || looked_at == KEPT_ENTRIES {
                let last = last.map(|last| last.to_string()).unwrap_or_default();
                return Ok((items, Some(Cursor::new(Listing::KeptReferrers, last))));
            }
            last = Some(*digest);
            let manifest = match self.catalog.resolve(repository, &Selector::Digest(*digest)).await {
                Err(Error::NotFound { .. }) => continue,
                manifest => manifest?,
            };
            bytes += manifest.size();
            if is_wanted(&manifest, of) {
                items.push(manifest.referrer_descriptor());
            }
        }
        Ok((items, None))
    }

    /// What a client listed under a tag, behind `after`, each once and in order. It need not be there.
    async fn kept_under_a_tag(
        &self,
        repository: &RepositoryName,
        subject: Digest,
        after: Option<Digest>,
    ) -> Outcome<BTreeSet<Digest>> {
        let tag = Selector::Tag(Tag::of_referrers(&subject));
        let index = match self.catalog.resolve(repository, &tag).await {
            Err(Error::NotFound { .. }) => return Ok(BTreeSet::new()),
            index => index?,
        };
        let View::Index(index) = index.view() else { return Ok(BTreeSet::new()) };
        let listed = index.manifests.iter().map(|entry| entry.digest);
        Ok(listed.filter(|digest| after.is_none_or(|after| *digest > after)).collect())
    }

    /// How many items go on a page.
    fn limit(&self, asked: Option<usize>) -> usize {
        let sizes = self.settings.pages;
        asked.unwrap_or(sizes.default).min(sizes.max)
    }
}

/// One that names the subject itself is in the list already.
fn is_wanted(manifest: &Manifest, of: &ReferrersOf) -> bool {
    let names_it = manifest.subject().is_some_and(|named| named.digest == of.subject);
    !names_it && (of.artifact_type.is_none() || manifest.artifact_type() == of.artifact_type.as_deref())
}

/// The link to the page behind `last`.
fn next_page(path: &str, limit: usize, last: &Cursor, artifact_type: Option<&str>) -> String {
    let (limit, last) = (limit.to_string(), last.to_string());
    let parameters = [("n", limit.as_str()), (CURSOR, &last)];
    let filter = artifact_type.map(|wanted| ("artifactType", wanted));
    link::to_next_page(path, parameters.into_iter().chain(filter))
}

fn listing(list: &impl Serialize, media_type: impl Display, next: Option<String>) -> Answer {
    #[expect(clippy::expect_used, reason = "structs of strings and numbers")]
    let json = serde_json::to_vec(list).expect("a list can be written as JSON");
    let answer = Answer::new(StatusCode::OK).header(header::CONTENT_TYPE, media_type);
    let answer = answer.body(ResponseBody::bytes(json));
    match next {
        Some(link) => answer.header(header::LINK, link),
        None => answer,
    }
}
