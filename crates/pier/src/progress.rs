//! What is moving, told on standard error by one reporter.
//!
//! The tasks that move bytes only note what happens on a board, which takes a fraction of a microsecond; a thread of its
//! own reads the board and writes. So a terminal that is slow, or a pipe that nobody reads, holds up no transfer.
//!
//! Each image that is copied is a [`Journey`] with events of its own: two images may have the same layer.

mod bars;
mod board;
mod json;
mod plain;

use std::{
    env,
    io::{self, IsTerminal as _},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use pier_content::Progress;

pub(crate) use self::board::Tally;
use self::{
    bars::Bars,
    board::{Board, Looked, Note},
    json::Json,
    plain::Plain,
};
use crate::{cli::ProgressMode, failure::Failure};

/// Between two looks at what moves, when nothing else happens.
const TICK: Duration = Duration::from_millis(100);

/// Tells what happens until it is finished or dropped.
#[derive(Debug)]
pub(crate) struct Reporter {
    board: Arc<Board>,
    /// `None` when nothing is told.
    thread: Option<JoinHandle<()>>,
}

/// One image on its way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Journey {
    board: Arc<Board>,
    number: usize,
}

/// How it is told.
trait Telling: Send {
    /// Something happened to the image that is called `name`.
    fn told(&mut self, name: &str, note: &Note);
    /// Time has passed.
    fn tick(&mut self, looked: &Looked);
    /// Nothing more will happen.
    fn end(&mut self);
}

impl Reporter {
    /// Begins to tell, on a thread of its own.
    pub(crate) fn start(mode: ProgressMode) -> Result<Self, Failure> {
        let telling: Option<Box<dyn Telling>> = match mode {
            ProgressMode::None => None,
            ProgressMode::Json => Some(Box::new(Json::default())),
            ProgressMode::Auto if can_draw() => Some(Box::new(Bars::new())),
            ProgressMode::Auto | ProgressMode::Plain => Some(Box::new(Plain)),
        };
        let board = Arc::new(Board::default());
        let thread = telling
            .map(|telling| {
                let board = Arc::clone(&board);
                thread::Builder::new().name("progress".to_owned()).spawn(move || tell(&board, telling))
            })
            .transpose()
            .map_err(|error| anyhow::Error::new(error).context("cannot start a thread"))?;
        if thread.is_none() {
            board.keep_no_notes();
        }
        Ok(Self { board, thread })
    }

    /// An image that is about to be copied, and what it is called when something happens to it.
    pub(crate) fn journey(&self, name: &str) -> Journey {
        Journey { board: Arc::clone(&self.board), number: self.board.add(name) }
    }

    /// Tells what is left to tell. Nothing is written to standard error afterwards.
    pub(crate) fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.board.end();
        if let Some(thread) = self.thread.take() {
            // A panic there was printed, and is no reason to lose the result.
            let _ = thread.join();
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.end();
    }
}

impl Journey {
    /// Where the events of this image go.
    pub(crate) fn progress(&self) -> Progress {
        let (board, number) = (Arc::clone(&self.board), self.number);
        Progress::to(move |event| board.note(number, event))
    }

    /// The image has arrived, whole. Gives what moved for it.
    pub(crate) fn arrived(&self, digest: pier_oci::Digest) -> Tally {
        self.board.arrived(self.number, digest)
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        self.board.leave(self.number);
    }
}

/// Whether standard error can be redrawn in place.
fn can_draw() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

fn tell(board: &Board, mut telling: Box<dyn Telling>) {
    loop {
        let (notes, looked) = board.look(TICK);
        for (name, note) in &notes {
            telling.told(name, note);
        }
        if looked.ended {
            telling.end();
            return;
        }
        telling.tick(&looked);
    }
}
