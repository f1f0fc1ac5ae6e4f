//! One request and its answer, with what strikes it.

use std::io;
use std::pin::pin;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::log::Entry;
use super::pace::Pacer;
use super::script::Asked;
use super::stream::{Answer, Download, Upload, Uploaded, stall};
use super::wire::{Framing, Head, Reader};
use super::{Canned, Fault, Kind, Pace, Scheme, Seen, State};

/// How long a client may take to notice that its connection was closed. Until then it can read what was sent last, which a reset would
/// take from it.
const LINGER: Duration = Duration::from_secs(2);

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// The next request is awaited.
    Another,
    /// It is closed: what was sent can be read.
    Close,
    /// It is dropped as it is.
    Cut,
}

/// A client's connection.
pub(super) struct Line<S> {
    reader: Reader<ReadHalf<S>>,
    writer: WriteHalf<S>,
    number: u64,
    up: Pacer,
    down: Pacer,
}

/// A request's head and what was made of it.
struct Request {
    head: Head,
    framing: Framing,
    seen: Seen,
}

/// What an exchange is carried out with.
struct Terms<'a> {
    fault: Option<Fault>,
    pace: Pace,
    entry: Entry<'a>,
    /// Changes when stalls are to end.
    releases: watch::Receiver<u64>,
}

impl<S: AsyncRead + AsyncWrite> Line<S> {
    pub(super) fn new(reader: Reader<ReadHalf<S>>, writer: WriteHalf<S>, number: u64) -> Self {
        Self { reader, writer, number, up: Pacer::default(), down: Pacer::default() }
    }

    /// Takes one request and answers it. An error is a side that broke off.
    pub(super) async fn exchange(&mut self, state: &State) -> io::Result<Next> {
        let Some(head) = self.reader.head().await? else { return Ok(Next::Close) };
        let request = Request::new(head, self.number)?;
        let (fault, pace) = {
            let mut script = state.script.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (script.strike(request.asked()), script.pace)
        };
        let pace = if let Some(Fault::Slow(pace)) = fault { pace } else { pace };
        // Before the log can tell anybody of the request: a release that follows from what was seen is not missed.
        let releases = state.releases.subscribe();
        let entry = state.log.begin(Seen { fault: fault.clone(), ..request.seen.clone() });
        let mut terms = Terms { fault, pace, entry, releases };
        // A round trip.
        sleep(pace.delay).await;
        match &terms.fault {
            Some(Fault::CutBefore) => return Ok(Next::Close),
            Some(Fault::StallHead) if stall(&mut self.reader, &mut terms.releases).await == Next::Cut => {
                return Ok(Next::Cut);
            }
            Some(Fault::Answer(canned)) => return self.answer(canned, &request, &terms).await,
            Some(Fault::RedirectTo(base)) => {
                let location = format!("{base}{}", request.target());
                return self.answer(&Canned::redirect(location), &request, &terms).await;
            }
            Some(Fault::RedirectLoop) => {
                let location = request.target().to_owned();
                return self.answer(&Canned::redirect(location), &request, &terms).await;
            }
            _ => {}
        }
        self.forward(state, request, terms).await
    }

    /// Answers in the registry's place.
    async fn answer(&mut self, canned: &Canned, request: &Request, terms: &Terms<'_>) -> io::Result<Next> {
        let mut head = Head::new(format!("HTTP/1.1 {}", canned.status));
        for (name, value) in &canned.fields {
            head.add(name, value.clone());
        }
        head.set("Content-Length", canned.body.len().to_string());
        // A body that nobody reads stands between this answer and the next request.
        let is_last = request.framing != Framing::Length(0) || request.head.says("Connection", "close");
        let next = if is_last { Next::Close } else { Next::Another };
        if is_last {
            head.set("Connection", "close");
        }
        let body = if request.seen.method == Method::HEAD { "" } else { &canned.body };
        terms.entry.update(|seen| seen.answered(&head));
        self.writer.write_all(&head.to_bytes()).await?;
        self.writer.write_all(body.as_bytes()).await?;
        self.writer.flush().await?;
        terms.entry.update(|seen| seen.downloaded += body.len() as u64);
        Ok(next)
    }

    /// Lets the registry answer.
    async fn forward(&mut self, state: &State, mut request: Request, terms: Terms<'_>) -> io::Result<Next> {
        let Ok(mut upstream) = TcpStream::connect(state.upstream).await else {
            let gone = Canned::error(StatusCode::BAD_GATEWAY, "UNAVAILABLE");
            return self.answer(&gone, &request, &terms).await;
        };
        // It is merely slower without.
        let _ = upstream.set_nodelay(true);
        let (from, mut to) = upstream.split();
        let mut from = Reader::new(from);
        if terms.fault == Some(Fault::IgnoresRange) {
            request.head.remove("Range");
        }
        to.write_all(&request.head.to_bytes()).await?;

        let Self { reader, writer, up, down, .. } = self;
        let Terms { fault, pace, entry, mut releases } = terms;
        let limit = if let Some(Fault::CutUpload { after }) = fault { after } else { u64::MAX };
        let (head, uploaded) = {
            let mut upload = pin!(
                Upload { reader, to: &mut to, limit, pacer: up, pace, entry: &entry }.send(request.framing)
            );
            let mut answered = pin!(answer_of(&mut from, writer));
            let mut uploaded = None;
            let head = loop {
                tokio::select! {
                    // The end of the request comes before the answer to it.
                    biased;
                    end = &mut upload, if uploaded.is_none() => match end {
                        Uploaded::Cut => return Ok(Next::Cut),
                        end => uploaded = Some(end),
                    },
                    head = &mut answered => break head?,
                }
            };
            (head, uploaded)
        };
        if fault == Some(Fault::CutAfter) {
            return Ok(Next::Close);
        }
        let answer = Answer::new(head, &request.head, fault)?;
        entry.update(|seen| seen.answered(&answer.head));
        let download = Download { from: &mut from, reader, writer, pacer: down, pace, entry: &entry };
        let next = download.send(answer, &mut releases).await?;
        // The registry answered before it had all: the rest of the request stands between this answer and the next request.
        let is_usable = next != Next::Another || uploaded == Some(Uploaded::Whole);
        Ok(if is_usable { next } else { Next::Close })
    }

    /// Ends the connection so that the client can read all that it was sent.
    pub(super) async fn close(mut self) {
        if self.writer.shutdown().await.is_ok() {
            // A client that takes longer has lost what it did not read.
            let _ = timeout(LINGER, self.reader.discard()).await;
        }
    }
}

/// The head of the registry's answer. What it says before that, as in `100 Continue`, is passed on.
async fn answer_of<R, W>(from: &mut Reader<R>, writer: &mut W) -> io::Result<Head>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let head = from.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if !head.word(1).starts_with('1') {
            return Ok(head);
        }
        writer.write_all(&head.to_bytes()).await?;
        writer.flush().await?;
    }
}

impl Request {
    fn new(head: Head, connection: u64) -> io::Result<Self> {
        let framing = head.request_framing()?;
        let method = head.word(0).parse().map_err(io::Error::other)?;
        let target = origin_form(head.word(1));
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let seen = Seen {
            connection,
            method,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            kind: Kind::of(path),
            digest: path.rsplit('/').next().and_then(|last| last.replace("%3A", ":").parse().ok()),
            range: head.field("Range").map(str::to_owned),
            authorization: head.field("Authorization").map(Scheme::of),
            fault: None,
            status: None,
            uploaded: 0,
            downloaded: 0,
            location: None,
            ended: false,
        };
        Ok(Self { head, framing, seen })
    }

    /// Path and query.
    fn target(&self) -> &str {
        origin_form(self.head.word(1))
    }

    fn asked(&self) -> Asked<'_> {
        let Seen { method, kind, digest, range, .. } = &self.seen;
        Asked { method, kind: *kind, digest: *digest, has_range: range.is_some() }
    }
}

/// A request's target without scheme and host, which clients send to what they take for a forward proxy.
fn origin_form(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://") else { return target };
    rest.find('/').map_or("/", |at| &rest[at..])
}

impl Seen {
    fn answered(&mut self, head: &Head) {
        self.status = head.word(1).parse().ok();
        let location = head.field("Location").map(origin_form);
        self.location = location.and_then(|location| location.split('?').next()).map(str::to_owned);
    }
}
