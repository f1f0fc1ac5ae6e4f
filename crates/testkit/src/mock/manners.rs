//! The table: what sets each of the registries that people use apart from the specification and from each other.
//!
//! Each line cost some client a bug. A registry that is not here is [`PLAIN`] with a field changed:
//! `Manners { ranges: Ranges::Ignored, ..PLAIN }`.

use http::StatusCode;

/// How a registry behaves. All fields are as the specification and distribution have it in [`PLAIN`].
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Whose manners these are.
    pub name: &'static str,
    /// How a client proves who it is.
    pub access: Access,
    /// Who it may be.
    pub login: Login,
    /// What a credential that has expired is answered with.
    pub expired: Expired,
    /// Where blobs are served from.
    pub blobs: Blobs,
    /// Requests that one presigned URL is good for: a clock that tests can hold.
    pub url_requests: u32,
    /// What the beginning of an upload says of the longest chunk.
    pub max_chunk: Option<u64>,
    /// What becomes of a cross-repository mount.
    pub mounts: Mounts,
    /// How upload sessions are named.
    pub sessions: Sessions,
    /// The status of a chunk that was taken: 202 by the specification.
    pub chunk_taken: StatusCode,
    /// Whether a manifest's PUT is answered with a `Location`.
    pub manifest_location: Presence,
    /// Whether HEAD of a manifest is known; else 405.
    pub manifest_head: Presence,
    /// Whether the referrers API is there; else 404, and a subject is not acknowledged.
    pub referrers: Presence,
    /// What a range of a blob is answered with.
    pub ranges: Ranges,
    /// The longest page that may be asked for; a longer one is 400.
    pub max_page: Option<usize>,
    /// How many manifests are refused with 429 before the first is taken.
    pub throttled_manifests: u32,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// Not at all.
    Open,
    /// With each request.
    Basic,
    /// With a token from elsewhere.
    Bearer(Tokens),
}

/// A token server.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// Where it is.
    pub realm: Realm,
    /// Its path.
    pub path: &'static str,
    /// What it knows the registry as.
    pub service: Option<&'static str>,
    /// The fields of its answers.
    pub answer: Answer,
    /// What it says of a token's life, in seconds.
    pub expires_in: Option<u32>,
    /// Whether it takes POST (OAuth2); else 404.
    pub post: Presence,
    /// Whether everybody may pull.
    pub anonymous: Anonymous,
    /// What every request needs beside what it is about.
    pub also: Option<&'static str>,
}

/// Where a token server is, seen from its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realm {
    /// At another origin.
    Elsewhere,
    /// At the registry's own.
    Here,
    /// At the registry's own, and the challenge has the path alone.
    Relative,
}

/// How a token is called where it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `token`
    Token,
    /// `access_token`
    AccessToken,
    /// Both.
    Both,
}

/// What nobody in particular may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Pull.
    Pulls,
    /// Nothing: there is no token.
    Nothing,
}

/// Who is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// Any of these names, each with a password.
    Passwords(&'static [&'static str]),
    /// Whoever has the identity token, which is exchanged by POST; some clients send it as the password of this name.
    IdentityToken(&'static str),
}

/// What a credential that has expired is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// 401 with a challenge.
    Unauthorized,
    /// 403 `DENIED`, without a challenge.
    Forbidden,
    /// 400 `DENIED`, without a challenge.
    BadRequest,
}

/// Where blobs are served from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blobs {
    /// From where they are asked for.
    Here,
    /// 307 to a URL of an object storage at another origin, which knows the client by the URL and refuses another proof.
    Presigned,
}

/// What becomes of a cross-repository mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// 201, or 202 when the source has it not.
    Taken,
    /// The same, for blobs that a tagged manifest of the source names; else 202.
    OfManifests,
    /// Always this status.
    Refused(StatusCode),
}

/// How upload sessions are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// By a path that stays.
    Plain,
    /// By an absolute URL with a query that has to come back, and a digest behind it at the end.
    Stateful,
    /// By an absolute URL outside of `/v2/` that is another one after each request.
    Changing,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// It is not.
    Absent,
}

/// What a range of a blob is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// The range.
    Served,
    /// The whole, with 200.
    Ignored,
    /// 416.
    Refused,
}

const TOKENS: Tokens = Tokens {
    realm: Realm::Here,
    path: "/token",
    service: Some("registry.example"),
    answer: Answer::Token,
    expires_in: Some(300),
    post: Presence::Absent,
    anonymous: Anonymous::Pulls,
    also: None,
};

/// The specification, and nobody is asked who he is.
pub const PLAIN: Manners = Manners {
    name: "plain",
    access: Access::Open,
    login: Login::Passwords(&["user"]),
    expired: Expired::Unauthorized,
    blobs: Blobs::Here,
    url_requests: u32::MAX,
    max_chunk: None,
    mounts: Mounts::Taken,
    sessions: Sessions::Plain,
    chunk_taken: StatusCode::ACCEPTED,
    manifest_location: Presence::Present,
    manifest_head: Presence::Present,
    referrers: Presence::Present,
    ranges: Ranges::Served,
    max_page: None,
    throttled_manifests: 0,
};

/// Docker Hub: tokens from another origin; a mount needs the right to pull from its source; sessions with a query.
pub const DOCKER_HUB: Manners = Manners {
    name: "Docker Hub",
    access: Access::Bearer(Tokens {
        realm: Realm::Elsewhere,
        service: Some("registry.docker.io"),
        answer: Answer::Both,
        post: Presence::Present,
        ..TOKENS
    }),
    sessions: Sessions::Stateful,
    ..PLAIN
};

/// GitHub's: tokens that say nothing of themselves, blobs from elsewhere, no referrers API.
pub const GHCR: Manners = Manners {
    name: "GHCR",
    access: Access::Bearer(Tokens { service: Some("ghcr.io"), expires_in: None, ..TOKENS }),
    blobs: Blobs::Presigned,
    referrers: Presence::Absent,
    ..PLAIN
};

/// Amazon's: Basic for twelve hours and 403 then; blobs from object storage; mounts of what manifests name; impatient.
pub const ECR: Manners = Manners {
    name: "ECR",
    access: Access::Basic,
    login: Login::Passwords(&["AWS"]),
    expired: Expired::Forbidden,
    blobs: Blobs::Presigned,
    mounts: Mounts::OfManifests,
    manifest_location: Presence::Absent,
    max_page: Some(1000),
    throttled_manifests: 1,
    ..PLAIN
};

/// Amazon's public one: tokens whose expiry is a bad request.
pub const ECR_PUBLIC: Manners = Manners {
    name: "ECR Public",
    access: Access::Bearer(Tokens {
        path: "/token/",
        service: Some("public.ecr.aws"),
        expires_in: None,
        ..TOKENS
    }),
    login: Login::Passwords(&["AWS"]),
    expired: Expired::BadRequest,
    blobs: Blobs::Presigned,
    ..PLAIN
};

/// Azure's: an identity token, exchanged by POST for access tokens; blobs from elsewhere.
pub const ACR: Manners = Manners {
    name: "ACR",
    access: Access::Bearer(Tokens {
        path: "/oauth2/token",
        answer: Answer::AccessToken,
        expires_in: None,
        post: Presence::Present,
        anonymous: Anonymous::Nothing,
        ..TOKENS
    }),
    login: Login::IdentityToken("00000000-0000-0000-0000-000000000000"),
    blobs: Blobs::Presigned,
    ..PLAIN
};

/// Google's: names with a meaning, passwords that are JSON, a session that moves with each chunk, chunks taken with 204.
pub const GAR: Manners = Manners {
    name: "GAR",
    access: Access::Bearer(Tokens {
        path: "/v2/token",
        service: Some("europe-docker.pkg.dev"),
        anonymous: Anonymous::Nothing,
        answer: Answer::Both,
        ..TOKENS
    }),
    login: Login::Passwords(&["oauth2accesstoken", "_json_key"]),
    sessions: Sessions::Changing,
    chunk_taken: StatusCode::NO_CONTENT,
    ..PLAIN
};

/// NVIDIA's: a challenge without a service.
pub const NVCR: Manners = Manners {
    name: "nvcr.io",
    access: Access::Bearer(Tokens { path: "/proxy_auth", service: None, ..TOKENS }),
    login: Login::Passwords(&["$oauthtoken"]),
    ..PLAIN
};

/// Quay: the token server below `/v2/`, robots' names with a plus, blobs from elsewhere.
pub const QUAY: Manners = Manners {
    name: "Quay",
    access: Access::Bearer(Tokens { path: "/v2/auth", service: Some("quay.io"), expires_in: None, ..TOKENS }),
    login: Login::Passwords(&["team+robot"]),
    blobs: Blobs::Presigned,
    ..PLAIN
};

/// Harbor behind a proxy that rewrites: a realm without scheme and host, robots' names with a dollar.
pub const HARBOR: Manners = Manners {
    name: "Harbor",
    access: Access::Bearer(Tokens {
        realm: Realm::Relative,
        path: "/service/token",
        service: Some("harbor-registry"),
        answer: Answer::Both,
        ..TOKENS
    }),
    login: Login::Passwords(&["robot$ci"]),
    ..PLAIN
};

/// Answers a mount with 401 whoever asks.
pub const MOUNT_UNAUTHORIZED: Manners = Manners {
    name: "mount 401",
    access: Access::Bearer(TOKENS),
    mounts: Mounts::Refused(StatusCode::UNAUTHORIZED),
    ..PLAIN
};

/// Answers a mount with 403 whoever asks.
pub const MOUNT_FORBIDDEN: Manners =
    Manners { name: "mount 403", mounts: Mounts::Refused(StatusCode::FORBIDDEN), ..MOUNT_UNAUTHORIZED };

/// Does not know HEAD of manifests.
pub const NO_MANIFEST_HEAD: Manners =
    Manners { name: "no HEAD of manifests", manifest_head: Presence::Absent, ..PLAIN };

/// Answers every range with 416.
pub const RANGES_REFUSED: Manners = Manners { name: "ranges 416", ranges: Ranges::Refused, ..PLAIN };

/// Answers every range with the whole.
pub const RANGES_IGNORED: Manners = Manners { name: "ranges ignored", ranges: Ranges::Ignored, ..PLAIN };

/// Wants the right to a second repository with each request.
pub const SEVERAL_SCOPES: Manners = Manners {
    name: "several scopes",
    access: Access::Bearer(Tokens {
        realm: Realm::Elsewhere,
        also: Some("repository:shared/base:pull"),
        ..TOKENS
    }),
    ..PLAIN
};

/// All of them.
pub const ALL: [Manners; 16] = [
    PLAIN,
    DOCKER_HUB,
    GHCR,
    ECR,
    ECR_PUBLIC,
    ACR,
    GAR,
    NVCR,
    QUAY,
    HARBOR,
    MOUNT_UNAUTHORIZED,
    MOUNT_FORBIDDEN,
    NO_MANIFEST_HEAD,
    RANGES_REFUSED,
    RANGES_IGNORED,
    SEVERAL_SCOPES,
];
