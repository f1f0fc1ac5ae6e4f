//! How a command ends: the exit status, the message, and the hint.

use std::{error::Error as _, process::ExitCode};

use pier_content::{Causes, Error, Subject};
use pier_oci::{NameError, ReferenceError, Selector};
use pier_store::OpenError;

use crate::signals::Signal;

/// What the exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Done.
    Done,
    /// The answer is no: not found, differs.
    No,
    /// Usage, configuration or a malformed file.
    Usage,
    /// Could not reach or finish; worth trying again.
    Unfinished,
    /// Bytes did not match their digest.
    Integrity,
    /// Denied.
    Denied,
    /// A signal came.
    Stopped(Signal),
}

impl Status {
    /// The number that the process ends with. Scripts rely on it: `docs/reference/exit-status.md`.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Unfinished => 3,
            Self::Integrity => 4,
            Self::Denied => 5,
            // What shells say of a command that a signal ended.
            Self::Stopped(Signal::Interrupt) => 130,
            Self::Stopped(Signal::Terminate) => 143,
        }
    }

    /// Which of two outcomes a command that had both ends with. Content that is not what it should be goes before all else, because
    /// somebody has to look; else it is the higher number.
    pub(crate) fn worse(self, other: Self) -> Self {
        let weight = |status: Self| if status == Self::Integrity { u8::MAX } else { status.code() };
        if weight(other) > weight(self) { other } else { self }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

/// Why a command failed, ready to be shown.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: Status, error: anyhow::Error) -> Self {
        Self { status, error, hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with what it happened at in front.
    pub(crate) fn within(self, place: &str) -> Self {
        Self { error: self.error.context(place.to_owned()), ..self }
    }

    /// The message with all of its causes, in one line.
    pub(crate) fn message(&self) -> String {
        Causes(&*self.error).to_string()
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NotFound { .. }
            | Error::NoSuchImage { .. }
            | Error::NoPlatform { .. }
            | Error::Missing { .. }
            | Error::InUse { .. } => Status::No,
            Error::Integrity { .. } | Error::Size { .. } => Status::Integrity,
            Error::Invalid { .. }
            | Error::Ambiguous { .. }
            | Error::SinglePlatform { .. }
            | Error::OutOfRange { .. }
            | Error::Unsupported { .. }
            | Error::Credentials { .. } => Status::Usage,
            Error::Denied { .. } | Error::Untrusted { .. } => Status::Denied,
            _ => Status::Unfinished,
        };
        let hint = hint(&error);
        Self { hint, ..Self::new(status, error.into()) }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let full = matches!(
            error.source().and_then(|source| source.downcast_ref()),
            Some(Error::StorageFull { .. } | Error::Busy { .. } | Error::Unavailable { .. })
        );
        let hint = error.hint();
        let status = if full { Status::Unfinished } else { Status::Usage };
        Self::new(status, error.into()).with_hint(hint)
    }
}

impl From<ReferenceError> for Failure {
    fn from(error: ReferenceError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { status: Status::Usage, error: error.into(), hint }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { status: Status::Usage, error: error.into(), hint }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Status::Unfinished, error)
    }
}

/// What to do about it, in words of the command line where it has a command for that.
fn hint(error: &Error) -> Option<String> {
    match error {
        Error::NotFound { subject: Subject::RemoteManifest(repository, Selector::Tag(_)) } => {
            Some(format!("`pier tags {repository}` lists what is there"))
        }
        error => error.hint().map(Into::into),
    }
}

/// What clap says about what was typed, or about how to type.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when even this cannot be written.
    let _ = error.print();
    let status = if error.use_stderr() { Status::Usage } else { Status::Done };
    status.into()
}
