//! Each request that a worker sends, what its answer says of which keys, and what no answer may be.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{
    client::{Client, Response},
    content::{Content, digest, number},
    history::{Outcome, Recorder, Request, now},
    model::{Key, Lease, Step},
};

/// A worker's view of the servers: all of them are the same registry.
#[derive(Debug)]
pub(super) struct Registry<'a> {
    pub(super) content: &'a Content,
    clients: Vec<Client>,
    recorder: Recorder,
    worker: u32,
}

/// A request that ended.
#[derive(Debug)]
pub(super) struct Sent {
    start: u64,
    end: u64,
    line: String,
    /// `None` when the server was killed.
    pub(super) response: Option<Response>,
}

impl Sent {
    pub(super) fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|response| response.status)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.as_ref().and_then(|response| response.header(name))
    }

    /// For an answer that no registry in its right mind gives.
    pub(super) fn unexpected<T>(&self) -> anyhow::Result<T> {
        let said = self
            .response
            .as_ref()
            .map(|response| String::from_utf8_lossy(&response.body[..response.body.len().min(300)]));
        bail!("unexpected answer to {}: {}", self.line, said.unwrap_or_default())
    }
}

type Steps = Vec<(Key, Step)>;

/// Under which name a manifest is put.
#[derive(Clone, Copy, Debug)]
pub(super) enum Under<'a> {
    Digest,
    Tag(&'a str),
    /// A tag, if it still names what it was seen to name.
    TagSeen {
        tag: &'a str,
        seen: Option<usize>,
    },
}

/// How a list is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pages {
    Whole,
    /// An item each, as far as the links lead.
    OfOne,
}

impl<'a> Registry<'a> {
    /// `folder` is where the supervisor's notices are and the history goes.
    pub(super) fn new(
        content: &'a Content,
        folder: &Path,
        worker: u32,
        servers: usize,
    ) -> anyhow::Result<Self> {
        let clients = (0..servers)
            .map(|server| Client::new(folder.join(format!("server-{server}"))))
            .collect::<Result<_, _>>()?;
        Ok(Self { content, clients, recorder: Recorder::create(folder, worker)?, worker })
    }

    pub(super) fn servers(&self) -> usize {
        self.clients.len()
    }

    /// Writes the rest of the history.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.recorder.finish()
    }

    /// GET or HEAD of a blob. Gives whether it is there.
    pub(super) fn blob(
        &mut self,
        server: usize,
        method: &str,
        repository: &str,
        place: usize,
    ) -> anyhow::Result<Option<bool>> {
        let blob = &self.content.blobs[place];
        let sent = self.send(server, method, &format!("/v2/{repository}/blobs/{}", blob.digest), &[], b"")?;
        let key = blob_key(repository, &blob.digest);
        let (step, shown) = match (sent.status(), method) {
            (None, _) => return self.lost(&sent, Steps::new()).map(|()| None),
            (Some(200), "HEAD") => (Step::Renew, true),
            (Some(200), _) => {
                ensure!(
                    sent.response.as_ref().is_some_and(|response| response.body == blob.bytes),
                    "other bytes: {}",
                    sent.line
                );
                (Step::Shown(true), true)
            }
            (Some(404), _) => (Step::Shown(false), false),
            _ => return sent.unexpected(),
        };
        self.record(&sent, vec![(key, step)])?;
        Ok(Some(shown))
    }

    /// GET of a manifest by its digest.
    pub(super) fn manifest(
        &mut self,
        server: usize,
        repository: &str,
        place: usize,
    ) -> anyhow::Result<Option<bool>> {
        let manifest = &self.content.manifests[place].piece;
        let sent =
            self.send(server, "GET", &format!("/v2/{repository}/manifests/{}", manifest.digest), &[], b"")?;
        let shown = match sent.status() {
            None => return self.lost(&sent, Steps::new()).map(|()| None),
            Some(200) => {
                ensure!(
                    sent.response.as_ref().is_some_and(|response| response.body == manifest.bytes),
                    "other bytes: {}",
                    sent.line
                );
                true
            }
            Some(404) => false,
            _ => return sent.unexpected(),
        };
        self.record(&sent, vec![(manifest_key(repository, &manifest.digest), Step::Shown(shown))])?;
        Ok(Some(shown))
    }

    /// GET of a tag. Gives the manifest that it names.
    pub(super) fn tag(
        &mut self,
        server: usize,
        repository: &str,
        tag: &str,
    ) -> anyhow::Result<Option<usize>> {
        let sent = self.send(server, "GET", &format!("/v2/{repository}/manifests/{tag}"), &[], b"")?;
        let Some(response) = &sent.response else {
            return self.lost(&sent, Steps::new()).map(|()| None);
        };
        let named = match response.status {
            200 => {
                let actual = digest(&response.body);
                ensure!(
                    response.header("docker-content-digest") == Some(&actual),
                    "another digest: {}",
                    sent.line
                );
                let Some(place) = self.content.manifest(&actual) else {
                    bail!("a phantom, `{actual}`: {}", sent.line)
                };
                Some(place)
            }
            404 => None,
            _ => return sent.unexpected(),
        };
        let mut steps = vec![(tag_key(repository, tag), Step::TagIs(named.map(number)))];
        if let Some(place) = named {
            let digest = &self.content.manifests[place].piece.digest;
            steps.push((manifest_key(repository, digest), Step::Shown(true)));
        }
        self.record(&sent, steps)?;
        Ok(named)
    }

    /// PUT of a manifest, under a tag or its digest.
    pub(super) fn put_manifest(
        &mut self,
        server: usize,
        repository: &str,
        place: usize,
        under: Under<'_>,
    ) -> anyhow::Result<()> {
        let manifest = &self.content.manifests[place];
        let (name, condition) = match under {
            Under::Digest => (manifest.piece.digest.as_str(), None),
            Under::Tag(tag) => (tag, None),
            Under::TagSeen { tag, seen: None } => (tag, Some(("if-none-match", "*".to_owned()))),
            Under::TagSeen { tag, seen: Some(seen) } => {
                let seen = &self.content.manifests[seen].piece.digest;
                (tag, Some(("if-match", format!("\"{seen}\""))))
            }
        };
        let mut headers = vec![("content-type", manifest.media_type)];
        headers.extend(condition.as_ref().map(|(name, value)| (*name, value.as_str())));
        let sent = self.send(
            server,
            "PUT",
            &format!("/v2/{repository}/manifests/{name}"),
            &headers,
            &manifest.piece.bytes,
        )?;
        let blob = |place: &usize| blob_key(repository, &self.content.blobs[*place].digest);
        let child = |place: &usize| manifest_key(repository, &self.content.manifests[*place].piece.digest);
        let mut stored: Steps =
            vec![(manifest_key(repository, &manifest.piece.digest), Step::Add(Lease::Whole))];
        stored.extend(match under {
            Under::Digest => None,
            Under::Tag(tag) => Some((tag_key(repository, tag), Step::SetTag(number(place)))),
            Under::TagSeen { tag, seen } => {
                let step = Step::SwapTag { expected: seen.map(number), to: number(place) };
                Some((tag_key(repository, tag), step))
            }
        });
        stored.extend(manifest.blobs.iter().map(|named| (blob(named), Step::Name(number(place)))));
        match sent.status() {
            None => self.lost(&sent, stored),
            Some(201) => {
                stored.extend(manifest.manifests.iter().map(|place| (child(place), Step::Shown(true))));
                self.record(&sent, stored)
            }
            Some(404) => {
                // One error for each child that is not there; the others are.
                let missing = details(&sent);
                ensure!(!missing.is_empty(), "nothing is missing: {}", sent.line);
                let seen = |digest: &String| Step::Shown(!missing.contains(digest));
                let blobs = manifest
                    .blobs
                    .iter()
                    .map(|place| (blob(place), seen(&self.content.blobs[*place].digest)));
                let children = manifest
                    .manifests
                    .iter()
                    .map(|place| (child(place), seen(&self.content.manifests[*place].piece.digest)));
                self.record(&sent, blobs.chain(children).collect())
            }
            Some(412) => {
                let Under::TagSeen { tag, seen } = under else { return sent.unexpected() };
                let step = Step::RefusedSwap { expected: seen.map(number) };
                self.record(&sent, vec![(tag_key(repository, tag), step)])
            }
            _ => sent.unexpected(),
        }
    }

    pub(super) fn delete_manifest(
        &mut self,
        server: usize,
        repository: &str,
        place: usize,
    ) -> anyhow::Result<()> {
        let manifest = &self.content.manifests[place];
        let key = manifest_key(repository, &manifest.piece.digest);
        let sent = self.send(
            server,
            "DELETE",
            &format!("/v2/{repository}/manifests/{}", manifest.piece.digest),
            &[],
            b"",
        )?;
        let tags =
            self.content.tags.iter().map(|tag| (tag_key(repository, tag), Step::RemoveTagOf(number(place))));
        let blobs = manifest.blobs.iter().map(|blob| {
            (blob_key(repository, &self.content.blobs[*blob].digest), Step::Unname(number(place)))
        });
        let removed = [(key.clone(), Step::Remove)].into_iter().chain(tags).chain(blobs).collect();
        match sent.status() {
            None => self.lost(&sent, removed),
            Some(202) => self.record(&sent, removed),
            Some(404) => self.record(&sent, vec![(key, Step::Shown(false))]),
            _ => sent.unexpected(),
        }
    }

    pub(super) fn delete_tag(&mut self, server: usize, repository: &str, tag: &str) -> anyhow::Result<()> {
        let sent = self.send(server, "DELETE", &format!("/v2/{repository}/manifests/{tag}"), &[], b"")?;
        let key = tag_key(repository, tag);
        match sent.status() {
            None => self.lost(&sent, vec![(key, Step::RemoveTag)]),
            Some(202) => self.record(&sent, vec![(key, Step::RemoveTag)]),
            Some(404) => self.record(&sent, vec![(key, Step::TagIs(None))]),
            _ => sent.unexpected(),
        }
    }

    pub(super) fn delete_blob(
        &mut self,
        server: usize,
        repository: &str,
        place: usize,
    ) -> anyhow::Result<()> {
        let digest = &self.content.blobs[place].digest;
        let sent = self.send(server, "DELETE", &format!("/v2/{repository}/blobs/{digest}"), &[], b"")?;
        let key = blob_key(repository, digest);
        match sent.status() {
            None => self.lost(&sent, vec![(key, Step::Remove)]),
            Some(202) => self.record(&sent, vec![(key, Step::Remove)]),
            Some(404) => self.record(&sent, vec![(key, Step::Shown(false))]),
            Some(405) => self.record(&sent, vec![(key, Step::RefusedAsNamed)]),
            _ => sent.unexpected(),
        }
    }

    /// Mounts a blob from one repository, or from whichever shows it; the session that is opened instead is cancelled.
    pub(super) fn mount(
        &mut self,
        server: usize,
        to: &str,
        place: usize,
        from: Option<&str>,
    ) -> anyhow::Result<()> {
        let digest = self.content.blobs[place].digest.clone();
        let named = from.map(|from| format!("&from={from}")).unwrap_or_default();
        let path = format!("/v2/{to}/blobs/uploads/?mount={digest}{named}");
        let sent = self.send(server, "POST", &path, &[], b"")?;
        let added = blob_key(to, &digest);
        // Which repository another one would have been is not said.
        let source = |is_shown| from.map(|from| (blob_key(from, &digest), Step::Shown(is_shown)));
        match sent.status() {
            None => self.lost(&sent, vec![(added, Step::Add(Lease::Half))]),
            Some(201) => {
                let steps = [(added, Step::Add(Lease::Half))].into_iter().chain(source(true));
                self.record(&sent, steps.collect())
            }
            Some(202) => {
                // A repository that shows it can be mounted from, be it the one that it is mounted to.
                let absent = source(false).unwrap_or((added, Step::Shown(false)));
                self.record(&sent, vec![absent])?;
                let Some(location) = sent.header("location").map(str::to_owned) else {
                    return sent.unexpected();
                };
                self.cancel(server, &location)
            }
            _ => sent.unexpected(),
        }
    }

    /// The list of tags: each is there or is not, and there are no others.
    pub(super) fn tags(&mut self, server: usize, repository: &str, pages: Pages) -> anyhow::Result<()> {
        let known = self.content.tags.iter().map(|tag| (tag.clone(), tag_key(repository, tag))).collect();
        self.list(server, &format!("/v2/{repository}/tags/list"), pages, &known, tags_of, Step::TagListed)
    }

    /// The referrers of a manifest: each is there or is not, and there are no others.
    pub(super) fn referrers(
        &mut self,
        server: usize,
        repository: &str,
        subject: usize,
        pages: Pages,
    ) -> anyhow::Result<()> {
        let referrers = self.content.manifests.iter().filter(|manifest| manifest.subject == Some(subject));
        let digests = referrers.map(|manifest| manifest.piece.digest.clone());
        let known = digests.map(|digest| (digest.clone(), manifest_key(repository, &digest))).collect();
        let path = format!("/v2/{repository}/referrers/{}", self.content.manifests[subject].piece.digest);
        self.list(server, &path, pages, &known, referrers_of, Step::Shown)
    }

    /// A list, page by page. Each page is a request of its own, and says of every item between the one before it and its last one
    /// whether it is there.
    fn list(
        &mut self,
        server: usize,
        path: &str,
        pages: Pages,
        known: &BTreeMap<String, Key>,
        items: fn(&[u8]) -> anyhow::Result<Vec<String>>,
        step: fn(bool) -> Step,
    ) -> anyhow::Result<()> {
        let mut path = match pages {
            Pages::Whole => path.to_owned(),
            Pages::OfOne => format!("{path}?n=1"),
        };
        let mut behind: Option<String> = None;
        loop {
            let sent = self.send(server, "GET", &path, &[], b"")?;
            let listed = match &sent.response {
                None => return self.lost(&sent, Steps::new()),
                Some(response) if response.status == 200 => items(&response.body)?,
                // A repository that has nothing.
                Some(response) if response.status == 404 => Vec::new(),
                Some(_) => return sent.unexpected(),
            };
            let is_behind = |item: &String| behind.as_ref().is_none_or(|behind| item > behind);
            ensure!(
                listed.iter().all(|item| known.contains_key(item) && is_behind(item)),
                "a phantom among {listed:?}: {}",
                sent.line
            );
            let next = sent.header("link").map(next_page).transpose()?;
            let last = listed.last().filter(|_| next.is_some());
            ensure!(next.is_none() || last.is_some(), "an empty page leads on: {}", sent.line);
            let asked =
                known.iter().filter(|(item, _)| is_behind(item) && last.is_none_or(|last| *item <= last));
            let steps = asked.map(|(item, key)| (key.clone(), step(listed.contains(item))));
            self.record(&sent, steps.collect())?;
            let (Some(next), Some(last)) = (next, last) else { return Ok(()) };
            (path, behind) = (next, Some(last.clone()));
        }
    }

    /// What the end of an upload said of its blob.
    pub(super) fn pushed(&mut self, sent: &Sent, repository: &str, place: usize) -> anyhow::Result<()> {
        let steps = vec![(blob_key(repository, &self.content.blobs[place].digest), Step::Add(Lease::Whole))];
        match sent.status() {
            None => self.lost(sent, steps),
            Some(201) => self.record(sent, steps),
            _ => sent.unexpected(),
        }
    }

    /// A request; the caller says what its answer means.
    pub(super) fn send(
        &mut self,
        server: usize,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Sent> {
        let start = now();
        let response = self.clients[server].send(method, path, headers, body)?;
        let end = now();
        let status = response.as_ref().map_or("killed".to_owned(), |response| response.status.to_string());
        Ok(Sent { start, end, line: format!("{method} {path} at server {server}: {status}"), response })
    }

    pub(super) fn record(&mut self, sent: &Sent, steps: Steps) -> anyhow::Result<()> {
        self.write(sent, Outcome::Answered, steps)
    }

    /// A request whose server was killed: these steps may have happened.
    pub(super) fn lost(&mut self, sent: &Sent, steps: Steps) -> anyhow::Result<()> {
        self.write(sent, Outcome::Lost, steps)
    }

    fn write(&mut self, sent: &Sent, outcome: Outcome, steps: Steps) -> anyhow::Result<()> {
        let (worker, start, end, line) = (self.worker, sent.start, sent.end, sent.line.clone());
        self.recorder.write(&Request { worker, start, end, outcome, line, steps })
    }
}

fn tags_of(body: &[u8]) -> anyhow::Result<Vec<String>> {
    let list: Value = serde_json::from_slice(body)?;
    Ok(serde_json::from_value(list["tags"].clone())?)
}

fn referrers_of(body: &[u8]) -> anyhow::Result<Vec<String>> {
    let index: Value = serde_json::from_slice(body)?;
    let entries = index["manifests"].as_array().context("no list of manifests")?;
    Ok(entries.iter().filter_map(|entry| entry["digest"].as_str()).map(str::to_owned).collect())
}

/// The path in a `Link` header.
fn next_page(link: &str) -> anyhow::Result<String> {
    let target = link.strip_prefix('<').and_then(|link| link.split_once('>')).map(|(target, _)| target);
    target.map(str::to_owned).context("a link that leads nowhere")
}

/// The digests in the details of an answer's errors.
fn details(sent: &Sent) -> Vec<String> {
    let body = sent.response.as_ref().map(|response| response.body.as_slice()).unwrap_or_default();
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let errors = document["errors"].as_array().cloned().unwrap_or_default();
    errors
        .iter()
        .filter_map(|error| error["detail"].as_str().or_else(|| error["detail"]["digest"].as_str()))
        .map(str::to_owned)
        .collect()
}

fn tag_key(repository: &str, tag: &str) -> Key {
    Key::Tag { repository: repository.to_owned(), tag: tag.to_owned() }
}

fn manifest_key(repository: &str, digest: &str) -> Key {
    Key::Manifest { repository: repository.to_owned(), digest: digest.to_owned() }
}

fn blob_key(repository: &str, digest: &str) -> Key {
    Key::Blob { repository: repository.to_owned(), digest: digest.to_owned() }
}
