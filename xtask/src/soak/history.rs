//! What happened: a line for each request, written by the worker that sent it, read when all have ended.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::model::{Key, Step};

/// Whether a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Answered,
    /// The server was killed: by the end of the request it has happened, or it never will.
    Lost,
}

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) worker: u32,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) outcome: Outcome,
    /// Such as `PUT /v2/…: 201`.
    pub(super) line: String,
    pub(super) steps: Vec<(Key, Step)>,
}

/// What one request did to one key.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) worker: u32,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) outcome: Outcome,
    pub(super) line: Arc<str>,
    pub(super) step: Step,
}

/// All events of each key.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) keys: BTreeMap<Key, Vec<Event>>,
    pub(super) requests: usize,
    pub(super) lost: usize,
}

/// Nanoseconds on the clock that all processes of this machine share and nobody sets.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A worker's pen.
#[derive(Debug)]
pub(super) struct Recorder {
    file: BufWriter<File>,
}

impl Recorder {
    pub(super) fn create(folder: &Path, worker: u32) -> anyhow::Result<Self> {
        let path = folder.join(format!("history-{worker}"));
        let file = File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Self { file: BufWriter::new(file) })
    }

    pub(super) fn write(&mut self, request: &Request) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.file, request)?;
        self.file.write_all(b"\n").context("cannot write the history")
    }

    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.file.flush().context("cannot write the history")
    }
}

impl History {
    /// Reads what all workers have written.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut history = Self::default();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("history-")) {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            for line in text.lines() {
                history.add(serde_json::from_str(line).context("a worker wrote half a line")?);
            }
        }
        Ok(history)
    }

    pub(super) fn add(&mut self, request: Request) {
        self.requests += 1;
        self.lost += usize::from(request.outcome == Outcome::Lost);
        let Request { worker, start, end, outcome, line, steps } = request;
        let line: Arc<str> = line.into();
        for (key, step) in steps {
            let event = Event { worker, start, end, outcome, line: Arc::clone(&line), step };
            self.keys.entry(key).or_default().push(event);
        }
    }

    /// The number of steps in all requests.
    pub(super) fn events(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }
}
