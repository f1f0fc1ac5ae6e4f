//! `pier verify`
//!
//! Standard output gets one line when the answer is yes: the image by the digest of its manifest, ready to be launched. Whoever launches
//! that line launches what was verified, whatever becomes of the tag.

use std::{borrow::Cow, path::Path, sync::Arc, time::SystemTime};

use anyhow::anyhow;
use pier_content::{
    Approval, ApprovedError, Binds, ChainLink, Completeness, CopyOptions, DigestKind, Error, LinkKind,
    Origins, Platforms, Progress, StoreRepository, StoreTarget, Subject, Target as _, Verdict, Verification,
    VerifyOptions, Wanted,
    approved::Choice,
    copy,
    verify::{Depth, Search, find_approved},
};
use pier_oci::{Digest, MediaType, Platform, Reference, Selector, Tag};
use serde::Serialize;

use super::pull::this_machine;
use crate::{
    approvals,
    cli::{self, Select, Verify},
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
    place::{Origin, Place, Reading, Sites},
    progress::Reporter,
    signals,
    stored_name::StoredName,
};

/// What was found out of an image.
#[derive(Debug, Serialize)]
struct Report {
    /// As it was asked for, written out.
    reference: String,
    verdict: Answer,
    /// The approved digest that was met, and as what.
    approved: Option<Met>,
    /// What that vouches for; `null` when it is refused.
    binds: Option<Binds>,
    /// Why it is refused.
    reason: Option<String>,
    /// The file that it was held against.
    list: Option<ListUsed>,
    /// The image by its manifest; `null` when it is refused.
    image: Option<String>,
    /// What the config says it is for; `null` for an artifact.
    platform: Option<String>,
    /// The tag that led to it, when tags were looked through.
    tag: Option<String>,
    /// How far down it was looked; `null` when there was nothing to look at.
    depth: Option<Depth>,
    chain: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Approved,
    Refused,
}

/// A list of approved digests.
#[derive(Clone, Debug, Serialize)]
struct ListUsed {
    /// Of its canonical form.
    digest: Digest,
    /// `null` of a bare list.
    version: Option<u64>,
    /// The key whose signature was checked.
    signed_by: Option<String>,
}

#[derive(Debug, Serialize)]
struct Met {
    digest: Digest,
    kind: DigestKind,
}

/// A digest of the image.
#[derive(Debug, Serialize)]
struct Entry {
    kind: LinkKind,
    digest: Digest,
    size: Option<u64>,
    media_type: Option<MediaType>,
    /// Who gave the bytes that were hashed to it.
    from: Option<String>,
    /// How the layer of a diff id was packed.
    compression: Option<pier_content::Compression>,
}

pub(crate) async fn run(options: &Verify, config: &Config, output: &Output) -> Result<Status, Failure> {
    let request = Request::read(options, &config.data).await?;
    let config = patient(config, &options.patience);
    let sites = Sites::new(&config, &options.registries).insisting(&options.patience);
    let reporter = Reporter::start(options.progress.progress)?;
    let progress = reporter.journey(&options.image).progress();
    let outcome = signals::unless_stopped(request.answer(&sites, &progress), "nothing was verified").await;
    reporter.finish();
    let report = outcome?;
    if report.verdict == Answer::Refused && !output.is_json() {
        return Err(refusal(&report));
    }
    if report.binds == Some(Binds::Config) && !output.is_json() {
        output::note(
            "note: only the config is approved, and nobody has looked at the layers: see --depth diff-ids",
        );
    }
    output.data(&report, |report| report.image.clone().unwrap_or_default())?;
    Ok(match report.verdict {
        Answer::Approved => Status::Done,
        Answer::Refused => Status::No,
    })
}

/// Whoever says how long an answer may take means all of it.
fn patient<'a>(config: &'a Config, patience: &cli::Patience) -> Cow<'a, Config> {
    let Some(timeout) = patience.timeout else { return Cow::Borrowed(config) };
    let mut config = config.clone();
    let client = &mut config.client;
    client.answer_timeout = client.answer_timeout.max(timeout);
    client.connect_timeout = client.connect_timeout.max(timeout);
    Cow::Owned(config)
}

/// What is asked.
struct Request<'a> {
    options: &'a Verify,
    place: Place,
    approved: Vec<Approval>,
    list: Option<ListUsed>,
    wanted: Wanted,
    depth: Depth,
}

impl<'a> Request<'a> {
    async fn read(options: &'a Verify, data: &Path) -> Result<Self, Failure> {
        let mut place = Place::parse(&options.image)?;
        if options.offline && matches!(place, Place::Registry(_)) {
            place = Place::Store(StoredName::parse(&options.image)?);
        }
        if options.pull && !matches!(place, Place::Registry(_)) {
            let error = anyhow!("`{}` is no image of a registry", options.image);
            return Err(Failure::new(Status::Usage, error).with_hint("leave out --pull"));
        }
        let wanted = match &options.platform {
            Some(platform) => Wanted::Platform(platform.clone()),
            None => Wanted::Machine(this_machine()),
        };
        let depth = match options.depth {
            Some(cli::Depth::Layers) => Depth::Layers,
            Some(cli::Depth::DiffIds) => Depth::DiffIds,
            None if options.offline || options.pull => Depth::Layers,
            Some(cli::Depth::Config) | None => Depth::Config,
        };
        let (approved, list) = approved(options, &wanted, data).await?;
        Ok(Self { options, place, approved, list, wanted, depth })
    }

    async fn answer(&self, sites: &Sites<'_>, progress: &Progress) -> Result<Report, Failure> {
        let origins = Origins::default();
        let progress = &origins.listening(progress);
        let reading = Reading::open(&self.place, sites, progress).await?;
        let (reference, tag) = if self.is_search() {
            match self.find(&reading).await {
                Ok((reference, Some(tag))) => (reference, Some(tag)),
                Ok((_, None)) => return Ok(self.not_found()),
                Err(error) => return Err(self.no_answer(&reading, error).await),
            }
        } else {
            (reading.reference.clone(), None)
        };
        let options = VerifyOptions {
            approved: self.approved.clone(),
            wanted: self.wanted.clone(),
            // What is pulled is hashed where it will be read from.
            depth: if self.options.pull { Depth::Config } else { self.depth },
            origins,
            ..VerifyOptions::new(Vec::new(), self.wanted.clone())
        };
        let found = match pier_content::verify(&*reading.source, &reference, &options, progress).await {
            Ok(found) => found,
            Err(error) => return Err(self.no_answer(&reading, error).await),
        };
        let approved = matches!(found.verdict, Verdict::Approved { .. });
        let found = if self.options.pull && approved {
            let options = VerifyOptions { depth: self.depth, ..options };
            self.pull(&reading, &found, &options, sites, progress).await?
        } else {
            found
        };
        Ok(self.report(&reading, found, tag))
    }

    /// Whether tags are looked through, rather than one name being held against what is approved.
    fn is_search(&self) -> bool {
        self.options.find_config.is_some() || !self.options.tags.is_empty()
    }

    fn platform(&self) -> &Platform {
        match &self.wanted {
            Wanted::Platform(platform) | Wanted::Machine(platform) => platform,
        }
    }

    /// What is approved, by its digest, and the tag that led there.
    async fn find(&self, reading: &Reading) -> pier_content::Result<(Reference, Option<Tag>)> {
        let Reference { repository, tag, .. } = &reading.reference;
        let tags = match &*self.options.tags {
            [] => tag.iter().cloned().collect(),
            tags => tags.to_vec(),
        };
        let platform = Some(self.platform());
        let Search { found, missing } =
            find_approved(&*reading.source, repository, &tags, &self.approved, platform).await?;
        for tag in missing {
            output::note(&format!("note: there is no tag `{tag}`"));
        }
        let digest = found.as_ref().map(|(_, manifest)| manifest.digest);
        let reference = Reference { repository: repository.clone(), tag: None, digest };
        Ok((reference, found.map(|(tag, _)| tag)))
    }

    /// Why there is neither a yes nor a no. A launcher tells by the status whether to ask again, so what a registry sent under a tag and
    /// nobody can read, such as the page of a portal, is no answer; what has the digest that it was asked for by stays as it is.
    async fn no_answer(&self, reading: &Reading, error: Error) -> Failure {
        let status = match (&reading.origin, &error) {
            (Origin::Registry(_), Error::Invalid { subject, .. }) => match subject {
                Subject::Manifest(_, Selector::Tag(_)) | Subject::RemoteManifest(_, Selector::Tag(_)) => {
                    Some(Status::Unfinished)
                }
                // What is wrong with how the registry is to be reached is on this side.
                Subject::Registry(_) => None,
                _ => Some(Status::No),
            },
            _ => None,
        };
        match status {
            Some(status) => Failure::new(status, error.into()),
            None => reading.explain(error).await,
        }
    }

    /// Copies exactly what was verified, verifies the copy, and gives it its tag when it is the right one.
    async fn pull(
        &self,
        reading: &Reading,
        found: &Verification,
        options: &VerifyOptions,
        sites: &Sites<'_>,
        progress: &Progress,
    ) -> Result<Verification, Failure> {
        let chain = &found.chain;
        let root = chain.indexes.first().unwrap_or(&chain.manifest);
        let Reference { repository, tag, .. } = &reading.reference;
        let by_digest =
            |digest| Reference { repository: repository.clone(), tag: None, digest: Some(digest) };
        let store = sites.store_or_new()?;
        let target = StoreTarget { blobs: store.clone(), catalog: store.clone() };
        let platforms = Platforms::One(self.platform().clone());
        let copying = CopyOptions { platforms, ..CopyOptions::default() };
        // What was found through tags is not what the tag of the name stands for.
        let tags: Vec<Tag> = if self.is_search() { Vec::new() } else { tag.iter().cloned().collect() };
        let reference = by_digest(root.digest());
        copy(&*reading.source, &reference, &target, repository, &[], &copying, progress).await?;
        let name = repository.local_name()?;
        let stored = StoreRepository { blobs: store.clone(), catalog: store, name };
        let stored: Arc<dyn pier_content::Source> = Arc::new(stored);
        let found = pier_content::verify(&*stored, &reference, options, progress).await?;
        if !tags.is_empty() && matches!(found.verdict, Verdict::Approved { .. }) {
            // An index has the image for one platform, on purpose.
            let completeness =
                if chain.indexes.is_empty() { Completeness::Strict } else { Completeness::Sparse };
            target.put_manifest(repository, root, &tags, completeness).await?;
        }
        Ok(found)
    }

    fn report(&self, reading: &Reading, found: Verification, tag: Option<Tag>) -> Report {
        let Verification { chain, links, depth, verdict } = found;
        let (approved, binds, reason) = match verdict {
            Verdict::Approved { approval, kind, binds } => {
                (Some(Met { digest: approval.digest, kind }), Some(binds), None)
            }
            Verdict::Refused(refusal) => (None, None, Some(refusal.to_string())),
        };
        let image = approved.as_ref().map(|_| self.by_manifest(reading, &chain.manifest.digest()));
        Report {
            reference: self.place.to_string(),
            verdict: if approved.is_some() { Answer::Approved } else { Answer::Refused },
            approved,
            binds,
            reason,
            list: self.list.clone(),
            image,
            platform: chain.image.map(|image| image.config.platform.to_string()),
            tag: tag.map(|tag| tag.to_string()),
            depth: Some(depth),
            chain: links.into_iter().map(Entry::of).collect(),
        }
    }

    fn not_found(&self) -> Report {
        let reason = match &self.options.find_config {
            Some(config) => format!("no image among the tags has the config `{config}`"),
            None => "none of the tags leads to a digest that is approved".to_owned(),
        };
        Report {
            reference: self.place.to_string(),
            verdict: Answer::Refused,
            approved: None,
            binds: None,
            reason: Some(reason),
            list: self.list.clone(),
            image: None,
            platform: None,
            tag: None,
            depth: None,
            chain: Vec::new(),
        }
    }

    /// The image as it can be typed, by its manifest.
    fn by_manifest(&self, reading: &Reading, manifest: &Digest) -> String {
        match (&self.place, &reading.origin) {
            (_, Origin::Registry(repository)) => format!("{repository}@{manifest}"),
            (_, Origin::Store(repository)) => format!("store:{}@{manifest}", repository.name),
            (Place::Layout(path, _), _) => format!("oci:{}@{manifest}", path.display()),
            (Place::OciArchive(archive, _), _) => format!("oci-archive:{archive}@{manifest}"),
            (Place::DockerArchive(archive, _), _) => format!("docker-archive:{archive}@{manifest}"),
            (Place::Registry(_) | Place::Store(_), Origin::Files) => format!("{}@{manifest}", self.place),
        }
    }
}

/// What is approved by the command line or by the file that it names.
async fn approved(
    options: &Verify,
    wanted: &Wanted,
    data: &Path,
) -> Result<(Vec<Approval>, Option<ListUsed>), Failure> {
    if let Some(config) = options.find_config {
        return Ok((vec![Approval { kind: Some(DigestKind::Config), ..Approval::of(config) }], None));
    }
    let Some(file) = &options.approved else {
        let kind = options.kind.digest_kind();
        let approved = options.approve.iter().map(|digest| Approval { kind, ..Approval::of(*digest) });
        return Ok((approved.collect(), None));
    };
    let Some(list) = approvals::read(file)? else {
        let Some(default) = options.default else { return Err(approvals::missing(file)) };
        if let Some(digest) = options.r#override {
            let file = file.display();
            output::note(&format!(
                "warning: there is no `{file}`, so that `{digest}` does not count and the default does"
            ));
        }
        return Ok((vec![Approval::of(default)], None));
    };
    if let Some(key) = &options.key {
        let accepted = approvals::accept(&list, &approvals::public_key(key)?, data).await?;
        if let Some(least) = options.min_version.filter(|least| accepted.version < *least) {
            return Err(ApprovedError::RolledBack { found: accepted.version, accepted: least }.into());
        }
    }
    let choice = match (&options.r#override, options.select) {
        (Some(digest), _) => Choice::Override(digest),
        (None, Select::Newest) => Choice::Newest,
        (None, Select::Any) => Choice::Any,
    };
    let (Wanted::Platform(platform) | Wanted::Machine(platform)) = wanted;
    let approved = list.approvals(choice, platform, SystemTime::now())?;
    let used = ListUsed {
        digest: list.digest(),
        version: list.version(),
        signed_by: options.key.as_ref().and(list.signed_by()).map(ToString::to_string),
    };
    Ok((approved, Some(used)))
}

fn refusal(report: &Report) -> Failure {
    let reason = report.reason.as_deref().unwrap_or_default();
    let error = anyhow!("`{}` is not approved: {reason}", report.reference);
    let kinds = [LinkKind::Index, LinkKind::Manifest, LinkKind::Config];
    let digests: Vec<String> = report
        .chain
        .iter()
        .filter(|entry| kinds.contains(&entry.kind))
        .map(|entry| format!("{} `{}`", entry.kind, entry.digest))
        .collect();
    let failure = Failure::new(Status::No, error);
    if digests.is_empty() { failure } else { failure.with_hint(format!("it is {}", digests.join(", "))) }
}

impl Entry {
    fn of(link: ChainLink) -> Self {
        let ChainLink { kind, digest, size, media_type, from, compression } = link;
        Self { kind, digest, size, media_type, from, compression }
    }
}
