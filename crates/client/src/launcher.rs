//! One call for programs that launch containers: is this the image that was approved, and by which digest is it launched?
//!
//! ```no_run
//! use std::{num::NonZeroU32, time::Duration};
//!
//! use pier_client::{Client, launcher::{LauncherConfig, validate_image_hash}};
//! use pier_content::verify::Depth;
//!
//! # async fn launch() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().build()?;
//! let config = LauncherConfig {
//!     repository: "ghcr.io/owner/app".parse::<pier_oci::Reference>()?.repository,
//!     tags: vec!["latest".parse()?],
//!     platform: "linux/amd64".parse()?,
//!     // Whatever the digest is of, also the layers are those that it stands for.
//!     depth: Depth::Layers,
//! };
//! let approved = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse()?;
//! let (timeout, interval) = (Duration::from_secs(10), Duration::from_secs(1));
//! let attempts = NonZeroU32::new(20).ok_or("none")?;
//! match validate_image_hash(&client, approved, &config, timeout, interval, attempts).await {
//!     Ok(Some(validated)) => println!("launch {}", validated.image),
//!     Ok(None) => return Err("the registry has no image with this digest".into()),
//!     // Nobody has said no: the registry could not be asked, refused us, or sent wrong bytes.
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here needs a database, a daemon or a shell. The digest may be of an index, of a manifest or of a config. Every digest is computed
//! from bytes that were hashed here, so the answer is the same whatever engine and image store the machine has.
//!
//! A config says what the layers unpack to and not which they are. Down to [`Depth::Config`] an approved config therefore says nothing of the
//! layers that a registry puts beside it: [`Validated::binds`] is [`Binds::Config`] then, and whoever launches by it relies on the engine to
//! compare the diff ids, or asks for [`Depth::Layers`].

use std::{num::NonZeroU32, time::Duration};

use pier_content::{
    Approval, Binds, DigestKind, Error, Progress, Result, RetryPolicy, Source, Verdict, Verification,
    VerifyOptions, Wanted, find_config,
    verify::{Depth, verify},
};
use pier_oci::{Digest, Platform, Reference, Repository, Tag};

use crate::Client;

/// Where the image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LauncherConfig {
    /// The repository, with its registry.
    pub repository: Repository,
    /// Tags to look through when the digest is a config's, in this order. A registry can be asked for the others by themselves.
    pub tags: Vec<Tag>,
    /// What the image has to be for.
    pub platform: Platform,
    /// How far down it is looked. Where only the config is approved, [`Depth::Layers`] includes what the layers unpack to.
    pub depth: Depth,
}

/// An image that was approved.
#[derive(Clone, Debug)]
pub struct Validated {
    /// What is to be launched: the repository with the digest of the manifest. Never a tag.
    pub image: Reference,
    /// What the approved digest is of.
    pub kind: DigestKind,
    /// What it vouches for: with [`Binds::Config`] not for the layers.
    pub binds: Binds,
    /// Every digest of the image.
    pub verification: Verification,
}

/// Looks for the image that has this digest and verifies it as far down as `config` says. `None` when the registry has none for the platform.
///
/// What may pass is asked for `attempts` times, with waits that begin with `interval` and grow by half up to a minute; each answer has to
/// come within `timeout`.
///
/// # Errors
/// When there is no answer: nobody could be asked, credentials were refused, or bytes were not what they were named as.
pub async fn validate_image_hash(
    client: &Client,
    image_digest: Digest,
    config: &LauncherConfig,
    timeout: Duration,
    interval: Duration,
    attempts: NonZeroU32,
) -> Result<Option<Validated>> {
    let LauncherConfig { repository, tags, platform, .. } = config;
    let policy = RetryPolicy::insistent(attempts, interval, timeout);
    // The client's own limits would cut it short.
    let source = client.with_patience(timeout).source_with(&repository.registry, &policy)?;
    // An index or a manifest is there under its digest or nowhere.
    if let Some(found) = validate(&*source, config, image_digest, Approval::of(image_digest)).await? {
        return Ok(Some(found));
    }
    let search = find_config(&*source, repository, tags, &image_digest, Some(platform)).await?;
    let Some((_, manifest)) = search.found else { return Ok(None) };
    let approval = Approval { kind: Some(DigestKind::Config), ..Approval::of(image_digest) };
    validate(&*source, config, manifest.digest, approval).await
}

async fn validate(
    source: &dyn Source,
    config: &LauncherConfig,
    digest: Digest,
    approval: Approval,
) -> Result<Option<Validated>> {
    let LauncherConfig { repository, platform, depth, .. } = config;
    let by_digest = |digest| Reference { repository: repository.clone(), tag: None, digest: Some(digest) };
    let wanted = Wanted::Platform(platform.clone());
    let options = VerifyOptions { depth: *depth, ..VerifyOptions::new(vec![approval], wanted) };
    let verification = match verify(source, &by_digest(digest), &options, &Progress::default()).await {
        Ok(verification) => verification,
        Err(Error::NotFound { .. } | Error::NoPlatform { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(match verification.verdict {
        Verdict::Approved { kind, binds, .. } => {
            let image = by_digest(verification.chain.manifest.digest());
            Some(Validated { image, kind, binds, verification })
        }
        Verdict::Refused(_) => None,
    })
}
