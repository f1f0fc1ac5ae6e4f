//! What a request asks for, parsed whole before anything is done: method, path, query and the headers that matter.

use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use pier_content::Expected;
use pier_oci::{
    Algorithm, Digest, RepositoryName, Selector, SessionId, Tag,
    wire::{Chunk, Cursor, CursorError, Endpoint, EndpointError, ErrorCode, Listing, Query},
};

use crate::{conditions, refusal::Refusal};

/// The parameter that leads to a list's next page.
pub(crate) const CURSOR: &str = "cursor";

/// Tags that one request may move. The specification asks for ten at least; all of them move in one transaction.
const MAX_TAGS: usize = 100;

/// What a request asks for. A HEAD asks for what a GET asks for.
#[derive(Debug)]
pub(crate) enum Action {
    Ping,
    GetBlob {
        repository: RepositoryName,
        digest: Digest,
    },
    DeleteBlob {
        repository: RepositoryName,
        digest: Digest,
    },
    GetManifest {
        repository: RepositoryName,
        selector: Selector,
    },
    PutManifest {
        repository: RepositoryName,
        selector: Selector,
        tags: Vec<Tag>,
        expected: Expected,
    },
    DeleteManifest {
        repository: RepositoryName,
        selector: Selector,
        expected: Expected,
    },
    StartUpload {
        repository: RepositoryName,
        start: StartUpload,
    },
    UploadStatus {
        repository: RepositoryName,
        session: SessionId,
    },
    AppendChunk {
        repository: RepositoryName,
        session: SessionId,
        chunk: Option<Chunk>,
    },
    FinishUpload {
        repository: RepositoryName,
        session: SessionId,
        chunk: Option<Chunk>,
        digest: Digest,
    },
    CancelUpload {
        repository: RepositoryName,
        session: SessionId,
    },
    ListTags {
        repository: RepositoryName,
        page: PageQuery,
    },
    ListReferrers {
        repository: RepositoryName,
        digest: Digest,
        artifact_type: Option<String>,
        page: ReferrersQuery,
    },
    ListRepositories {
        page: PageQuery,
    },
    ListExtensions,
}

/// How an upload begins.
#[derive(Clone, Debug)]
pub(crate) enum StartUpload {
    /// With a session, for a blob whose digest may have been announced to be of this algorithm.
    Session { algorithm: Option<Algorithm> },
    /// With the whole blob in the same request.
    Whole { digest: Digest },
    /// With a blob that another repository shows.
    Mount { digest: Digest, from: Option<RepositoryName> },
}

/// Which page of a list is asked for.
#[derive(Clone, Debug)]
pub(crate) struct PageQuery {
    /// How many items at most.
    pub(crate) limit: Option<usize>,
    /// The item behind which it starts, which need not exist.
    pub(crate) last: Option<String>,
}

/// Which page of a list of referrers is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReferrersQuery {
    /// How many items at most.
    pub(crate) limit: Option<usize>,
    /// Where it starts.
    pub(crate) start: ReferrersStart,
}

/// Where a page of referrers starts: behind one, or with the first of its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReferrersStart {
    /// Among those that name their subject, which come first.
    Naming(Option<Digest>),
    /// Among those that a client keeps under a tag.
    Kept(Option<Digest>),
}

impl Action {
    pub(crate) fn parse(parts: &Parts) -> Result<Self, Refusal> {
        let method = match &parts.method {
            &Method::HEAD => &Method::GET,
            method => method,
        };
        let endpoint = parts.uri.path().parse().map_err(|error| no_such(&error, method))?;
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        Ok(match (endpoint, method) {
            (Endpoint::Base, &Method::GET) => Self::Ping,
            (Endpoint::Blob { repository, digest }, &Method::GET) => Self::GetBlob { repository, digest },
            (Endpoint::Blob { repository, digest }, &Method::DELETE) => {
                Self::DeleteBlob { repository, digest }
            }
            (Endpoint::Manifest { repository, selector }, &Method::GET) => {
                Self::GetManifest { repository, selector }
            }
            (Endpoint::Manifest { repository, selector }, &Method::PUT) => {
                let (tags, expected) = (tags(&selector, &query)?, conditions::expected(&parts.headers));
                Self::PutManifest { repository, tags, selector, expected }
            }
            (Endpoint::Manifest { repository, selector }, &Method::DELETE) => {
                let expected = conditions::expected(&parts.headers);
                Self::DeleteManifest { repository, selector, expected }
            }
            (Endpoint::Uploads { repository }, &Method::POST) => {
                Self::StartUpload { repository, start: start(&query)? }
            }
            (Endpoint::Upload { repository, session }, &Method::GET) => {
                Self::UploadStatus { repository, session }
            }
            (Endpoint::Upload { repository, session }, &Method::PATCH) => {
                Self::AppendChunk { repository, session, chunk: chunk(parts)? }
            }
            (Endpoint::Upload { repository, session }, &Method::PUT) => {
                let missing =
                    || Refusal::bad_request(ErrorCode::DigestInvalid, "the parameter `digest` is missing");
                let digest = digest(&query, "digest")?.ok_or_else(missing)?;
                Self::FinishUpload { repository, session, chunk: chunk(parts)?, digest }
            }
            (Endpoint::Upload { repository, session }, &Method::DELETE) => {
                Self::CancelUpload { repository, session }
            }
            (Endpoint::Tags { repository }, &Method::GET) => {
                Self::ListTags { repository, page: page(&query, Listing::Tags)? }
            }
            (Endpoint::Referrers { repository, digest }, &Method::GET) => {
                let artifact_type = query.first("artifactType").map(str::to_owned);
                let page = ReferrersQuery { limit: limit(&query)?, start: referrers_start(&query)? };
                Self::ListReferrers { repository, digest, artifact_type, page }
            }
            (Endpoint::Extensions, &Method::GET) => Self::ListExtensions,
            (Endpoint::Catalog, &Method::GET) => {
                Self::ListRepositories { page: page(&query, Listing::Repositories)? }
            }
            (endpoint, _) => return Err(wrong_method(&endpoint)),
        })
    }
}

/// A path that names nothing.
fn no_such(error: &EndpointError, method: &Method) -> Refusal {
    let message = error.to_string();
    match error {
        EndpointError::Name(_) => Refusal::bad_request(ErrorCode::NameInvalid, message),
        EndpointError::Digest(_) => Refusal::bad_request(ErrorCode::DigestInvalid, message),
        EndpointError::Session => Refusal::upload_unknown(),
        EndpointError::Tag(_) if *method == Method::PUT => {
            Refusal::bad_request(ErrorCode::ManifestInvalid, message)
        }
        // Nothing can be stored under such a tag, so there is nothing under it.
        EndpointError::Tag(_) => Refusal::new(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown, message),
        _ => Refusal::new(StatusCode::NOT_FOUND, ErrorCode::Unsupported, message),
    }
}

fn wrong_method(endpoint: &Endpoint) -> Refusal {
    let allowed = match endpoint {
        Endpoint::Blob { .. } => "GET, HEAD, DELETE",
        Endpoint::Manifest { .. } => "GET, HEAD, PUT, DELETE",
        Endpoint::Uploads { .. } => "POST",
        Endpoint::Upload { .. } => "GET, HEAD, PATCH, PUT, DELETE",
        _ => "GET, HEAD",
    };
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, "this end-point has no such method")
        .with_header(header::ALLOW, HeaderValue::from_static(allowed))
}

fn start(query: &Query) -> Result<StartUpload, Refusal> {
    if let Some(digest) = digest(query, "mount")? {
        let from = query.first("from").filter(|from| !from.is_empty()).map(str::parse).transpose();
        let from = from.map_err(|error| Refusal::bad_request(ErrorCode::NameInvalid, format!("{error}")))?;
        return Ok(StartUpload::Mount { digest, from });
    }
    if let Some(digest) = digest(query, "digest")? {
        return Ok(StartUpload::Whole { digest });
    }
    // A hint for registries that hash while they receive. Every algorithm that is known is accepted at the end.
    let algorithm = query.first("digest-algorithm").map(str::parse).transpose();
    let algorithm =
        algorithm.map_err(|error| Refusal::bad_request(ErrorCode::DigestInvalid, format!("{error}")))?;
    Ok(StartUpload::Session { algorithm })
}

fn digest(query: &Query, name: &str) -> Result<Option<Digest>, Refusal> {
    let digest = query.first(name).map(str::parse).transpose();
    digest.map_err(|error| Refusal::bad_request(ErrorCode::DigestInvalid, format!("{error}")))
}

/// The tags that the query adds to a manifest that is put under its digest.
fn tags(selector: &Selector, query: &Query) -> Result<Vec<Tag>, Refusal> {
    match selector {
        Selector::Tag(_) => Ok(Vec::new()),
        Selector::Digest(_) if query.all("tag").count() > MAX_TAGS => Err(Refusal::new(
            StatusCode::URI_TOO_LONG,
            ErrorCode::Unsupported,
            format!("one request may name at most {MAX_TAGS} tags"),
        )),
        Selector::Digest(_) => query
            .all("tag")
            .map(|tag| {
                tag.parse()
                    .map_err(|error| Refusal::bad_request(ErrorCode::ManifestInvalid, format!("{error}")))
            })
            .collect(),
    }
}

/// A link of ours leads on by `cursor`; `last` is the specification's, for clients that page by themselves.
fn page(query: &Query, listing: Listing) -> Result<PageQuery, Refusal> {
    let last = cursor(query)?.map(|cursor| cursor.of(listing)).transpose().map_err(no_cursor)?;
    let last = last.or_else(|| query.first("last").map(str::to_owned));
    Ok(PageQuery { limit: limit(query)?, last })
}

fn limit(query: &Query) -> Result<Option<usize>, Refusal> {
    let limit = query.first("n").map(str::parse).transpose();
    limit.map_err(|_| Refusal::bad_request(ErrorCode::Unsupported, "`n` is not a number of items"))
}

fn referrers_start(query: &Query) -> Result<ReferrersStart, Refusal> {
    let Some(cursor) = cursor(query)? else { return Ok(ReferrersStart::Naming(None)) };
    let digest = |last: String| last.parse::<Digest>().map_err(|_| no_cursor(CursorError));
    match cursor.listing() {
        Listing::KeptReferrers => {
            // The page before may have ended with the last of those that name their subject.
            let last = Some(cursor.of(Listing::KeptReferrers).map_err(no_cursor)?);
            let last = last.filter(|last| !last.is_empty());
            Ok(ReferrersStart::Kept(last.map(digest).transpose()?))
        }
        _ => {
            let last = cursor.of(Listing::Referrers).map_err(no_cursor)?;
            Ok(ReferrersStart::Naming(Some(digest(last)?)))
        }
    }
}

fn cursor(query: &Query) -> Result<Option<Cursor>, Refusal> {
    query.first(CURSOR).map(str::parse).transpose().map_err(no_cursor)
}

fn no_cursor(error: CursorError) -> Refusal {
    Refusal::bad_request(ErrorCode::Unsupported, error.to_string())
}

fn chunk(parts: &Parts) -> Result<Option<Chunk>, Refusal> {
    let Some(value) = parts.headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let chunk = value.to_str().ok().and_then(|text| text.parse().ok());
    let malformed = || {
        Refusal::bad_request(
            ErrorCode::BlobUploadInvalid,
            "Content-Range of a chunk is `<first>-<last>`, both included",
        )
    };
    chunk.map(Some).ok_or_else(malformed)
}
