//! What a registry is, one key at a time: a tag is a register, a manifest and a blob are members of their repository's sets.
//!
//! A request that concerns several keys is a step on each of them. That checks less than the whole at once and is what makes checking a
//! hundred thousand requests a matter of seconds.

use serde::{Deserialize, Serialize};

/// What a step concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Key {
    Tag { repository: String, tag: String },
    Manifest { repository: String, digest: String },
    Blob { repository: String, digest: String },
}

/// How much of a lease a request promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Lease {
    /// A push.
    Whole,
    /// A HEAD, or a mount of what is shown already: a lease that has half of its time left is not renewed.
    Half,
}

/// What a request did to, or saw of, a key. Manifests are numbers here: their places in the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// The tag names this manifest, or none.
    TagIs(Option<u8>),
    /// A list has the tag, or has it not.
    TagListed(bool),
    SetTag(u8),
    /// A compare and set: the tag named what was expected, or nothing where that was, and now names another.
    SwapTag {
        expected: Option<u8>,
        to: u8,
    },
    /// A compare and set that was refused, since the tag named something else.
    RefusedSwap {
        expected: Option<u8>,
    },
    /// A delete of a tag that was there.
    RemoveTag,
    /// A delete of a manifest, which takes its tags along.
    RemoveTagOf(u8),

    /// The repository shows it, or does not.
    Shown(bool),
    /// A push, or a mount.
    Add(Lease),
    /// A delete of what was there, and, if it is a blob, of what no manifest named.
    Remove,
    /// A HEAD that found the blob.
    Renew,
    /// A delete that was refused because a manifest names the blob.
    RefusedAsNamed,
    /// A manifest that names the blob was stored.
    Name(u8),
    /// A manifest that names the blob was deleted.
    Unname(u8),
}

/// A key's state between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    Tag(Option<u8>),
    Manifest(bool),
    /// A blob that is not shown has no names.
    Blob {
        is_shown: bool,
        /// Until when it must not be collected.
        leased_until: u64,
        /// A bit for each manifest of the repository that names it.
        names: u64,
    },
}

/// When a step may have happened: on the monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Not before its request began.
    pub(super) start: u64,
    /// Not after this.
    pub(super) now: u64,
    /// How long the server leases what is pushed, less what its clock may be off.
    pub(super) lease: u64,
}

impl State {
    /// What a key is before anything happened.
    pub(super) fn initial(key: &Key) -> Self {
        match key {
            Key::Tag { .. } => Self::Tag(None),
            Key::Manifest { .. } => Self::Manifest(false),
            Key::Blob { .. } => Self::NO_BLOB,
        }
    }

    const NO_BLOB: Self = Self::Blob { is_shown: false, leased_until: 0, names: 0 };

    /// The state behind a step; `None` when the step cannot happen in this state.
    ///
    /// The collector has no request of its own: a blob that nothing names and whose lease is over by `now` may be gone, and is taken to
    /// be gone when a step says so.
    pub(super) fn after(self, step: Step, times: Times) -> Option<Self> {
        match (self, step) {
            (Self::Tag(named), Step::TagIs(seen)) => (named == seen).then_some(self),
            (Self::Tag(named), Step::TagListed(seen)) => (named.is_some() == seen).then_some(self),
            (Self::Tag(_), Step::SetTag(manifest)) => Some(Self::Tag(Some(manifest))),
            (Self::Tag(named), Step::SwapTag { expected, to }) => {
                (named == expected).then_some(Self::Tag(Some(to)))
            }
            (Self::Tag(named), Step::RefusedSwap { expected }) => (named != expected).then_some(self),
            (Self::Tag(named), Step::RemoveTag) => named.is_some().then_some(Self::Tag(None)),
            (Self::Tag(named), Step::RemoveTagOf(manifest)) if named == Some(manifest) => {
                Some(Self::Tag(None))
            }
            (Self::Tag(_), Step::RemoveTagOf(_)) => Some(self),

            (Self::Manifest(is_shown), Step::Shown(seen)) => (is_shown == seen).then_some(self),
            (Self::Manifest(_), Step::Add(_)) => Some(Self::Manifest(true)),
            (Self::Manifest(is_shown), Step::Remove) => is_shown.then_some(Self::Manifest(false)),

            (Self::Blob { is_shown, leased_until, names }, step) => {
                blob_after(is_shown, leased_until, names, step, times)
            }
            // A step on a key of another kind is a fault of the worker's.
            (Self::Tag(_) | Self::Manifest(_), _) => None,
        }
    }
}

fn blob_after(is_shown: bool, leased_until: u64, names: u64, step: Step, times: Times) -> Option<State> {
    let blob = |leased_until, names| Some(State::Blob { is_shown: true, leased_until, names });
    let leased = |lease| {
        let lease = match lease {
            Lease::Whole => times.lease,
            Lease::Half => times.lease / 2,
        };
        leased_until.max(times.start + lease)
    };
    match step {
        Step::Shown(false) => {
            let may_be_collected = names == 0 && leased_until <= times.now;
            (!is_shown || may_be_collected).then_some(State::NO_BLOB)
        }
        Step::Add(lease) => blob(leased(lease), names),
        _ if !is_shown => None,
        Step::Shown(true) => blob(leased_until, names),
        Step::Renew => blob(leased(Lease::Half), names),
        Step::Remove => (names == 0).then_some(State::NO_BLOB),
        Step::RefusedAsNamed if names != 0 => blob(leased_until, names),
        Step::Name(manifest) => blob(leased_until, names | 1 << manifest),
        Step::Unname(manifest) if names & 1 << manifest != 0 => blob(leased_until, names & !(1 << manifest)),
        _ => None,
    }
}
