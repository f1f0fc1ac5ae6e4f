//! Blobs on their way in: every style of push, and sessions that are cancelled, left behind, or gone on with after a `kill -9`.

use anyhow::{Context as _, bail, ensure};

use super::registry::{Registry, Sent};

/// How a blob is pushed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    /// One POST.
    Post,
    /// POST and PUT.
    PostPut,
    /// POST, a PATCH, PUT.
    Stream,
    /// POST, PATCHes with ranges, each at another server, PUT with the rest.
    Chunks,
}

pub(super) const STYLES: [Style; 4] = [Style::Post, Style::PostPut, Style::Stream, Style::Chunks];

/// What a status request says of a session.
enum Session {
    /// So many bytes have arrived.
    At(usize),
    Gone,
}

impl Registry<'_> {
    /// Pushes a blob, to its end or until a server is killed in the middle of it.
    pub(super) fn push(
        &mut self,
        server: usize,
        repository: &str,
        place: usize,
        style: Style,
    ) -> anyhow::Result<()> {
        let content = self.content;
        let blob = &content.blobs[place];
        if let Style::Post = style {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={}", blob.digest);
            let sent = self.send(server, "POST", &path, &[], &blob.bytes)?;
            return self.pushed(&sent, repository, place);
        }
        let Some(location) = self.open(server, repository)? else { return Ok(()) };
        match style {
            Style::Post | Style::PostPut => self.put(server, repository, place, &location, 0),
            Style::Stream => {
                let sent = self.send(server, "PATCH", &location, &[], &blob.bytes)?;
                match sent.status() {
                    Some(202) => self.put(server, repository, place, &location, blob.bytes.len()),
                    None => self.go_on(server, repository, place, &location, 0),
                    _ => sent.unexpected(),
                }
            }
            Style::Chunks => self.chunks(server, repository, place, &location),
        }
    }

    /// Opens a session, perhaps sends something, and cancels it.
    pub(super) fn begin_and_cancel(
        &mut self,
        server: usize,
        repository: &str,
        place: usize,
    ) -> anyhow::Result<()> {
        let Some(location) = self.begin(server, repository, place)? else { return Ok(()) };
        self.cancel(server, &location)
    }

    /// Opens a session and leaves it to expire.
    pub(super) fn begin(
        &mut self,
        server: usize,
        repository: &str,
        place: usize,
    ) -> anyhow::Result<Option<String>> {
        let Some(location) = self.open(server, repository)? else { return Ok(None) };
        let content = self.content;
        let sent = self.send(server, "PATCH", &location, &[], &content.blobs[place].bytes)?;
        match sent.status() {
            None | Some(202) => Ok(Some(location)),
            _ => sent.unexpected(),
        }
    }

    /// Ends a session; from then on it is not there at any server.
    pub(super) fn cancel(&mut self, server: usize, location: &str) -> anyhow::Result<()> {
        let sent = self.send(server, "DELETE", location, &[], b"")?;
        match sent.status() {
            None => return Ok(()),
            Some(204) => {}
            _ => return sent.unexpected(),
        }
        for server in 0..self.servers() {
            let sent = self.send(server, "GET", location, &[], b"")?;
            if !matches!(sent.status(), None | Some(404)) {
                return sent.unexpected();
            }
        }
        Ok(())
    }

    fn open(&mut self, server: usize, repository: &str) -> anyhow::Result<Option<String>> {
        let sent = self.send(server, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"")?;
        match (sent.status(), sent.header("location")) {
            (None, _) => Ok(None),
            (Some(202), Some(location)) => Ok(Some(location.to_owned())),
            _ => sent.unexpected(),
        }
    }

    fn chunks(
        &mut self,
        server: usize,
        repository: &str,
        place: usize,
        location: &str,
    ) -> anyhow::Result<()> {
        let content = self.content;
        let bytes = &content.blobs[place].bytes;
        let third = bytes.len() / 3;
        for (number, chunk) in [0..third, third..2 * third].into_iter().enumerate() {
            let server = (server + number) % self.servers();
            let range = format!("{}-{}", chunk.start, chunk.end - 1);
            let acknowledged = chunk.start;
            let sent = self.send(server, "PATCH", location, &[("content-range", &range)], &bytes[chunk])?;
            match sent.status() {
                Some(202) => {}
                None => return self.go_on(server, repository, place, location, acknowledged),
                _ => return sent.unexpected(),
            }
        }
        self.put(server, repository, place, location, 2 * third)
    }

    /// After a kill: what was acknowledged has to be there, and the rest is sent.
    fn go_on(
        &mut self,
        server: usize,
        repository: &str,
        place: usize,
        location: &str,
        acknowledged: usize,
    ) -> anyhow::Result<()> {
        let sent = self.send(server, "GET", location, &[], b"")?;
        match session(&sent)? {
            // Killed again.
            None => Ok(()),
            Some(Session::Gone) => bail!("a session did not survive a kill: {sent:?}"),
            Some(Session::At(offset)) => {
                ensure!(offset >= acknowledged, "{acknowledged} bytes were acknowledged: {sent:?}");
                self.put(server, repository, place, location, offset)
            }
        }
    }

    fn put(
        &mut self,
        server: usize,
        repository: &str,
        place: usize,
        location: &str,
        offset: usize,
    ) -> anyhow::Result<()> {
        let content = self.content;
        let blob = &content.blobs[place];
        let sent = self.send(
            server,
            "PUT",
            &format!("{location}?digest={}", blob.digest),
            &[],
            &blob.bytes[offset..],
        )?;
        self.pushed(&sent, repository, place)
    }
}

fn session(sent: &Sent) -> anyhow::Result<Option<Session>> {
    match sent.status() {
        None => Ok(None),
        Some(404) => Ok(Some(Session::Gone)),
        Some(204) => {
            let last = sent.header("range").and_then(|range| range.strip_prefix("0-")?.parse::<usize>().ok());
            let last = last.context("a session without a range")?;
            // An empty session says `0-0`, and so does one of a single byte, which is sent again then.
            Ok(Some(Session::At(if last == 0 { 0 } else { last + 1 })))
        }
        Some(_) => sent.unexpected(),
    }
}
