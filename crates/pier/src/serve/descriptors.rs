//! File descriptors: as many as the system lets this process have.
//!
//! The soft limit is 1024 almost everywhere, for the sake of programs that use `select(2)`. This is none, and starts none.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the store, the runtime and what nobody thought of.
const RESERVED: u64 = 128;

/// A connection is a socket, the file that it reads or writes, and that file's lock.
const PER_CONNECTION: u64 = 3;

/// Raises the soft limit to the hard one. Gives what then holds; `None` is no limit.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, limit = current, "cannot raise the limit of open files");
            current
        }
    }
}

/// How many of `wanted` connections so many descriptors are enough for; at least one.
pub(crate) fn connections(wanted: NonZeroUsize, limit: Option<u64>) -> NonZeroUsize {
    let Some(limit) = limit else { return wanted };
    let fitting = limit.saturating_sub(RESERVED) / PER_CONNECTION;
    let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
    wanted.min(NonZeroUsize::new(fitting).unwrap_or(NonZeroUsize::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_the_descriptors() {
        for (wanted, limit, fitting) in [
            (4096, None, 4096),
            (4096, Some(1 << 20), 4096),
            (4096, Some(1024), 298),
            (200, Some(1024), 200),
            (4096, Some(129), 1),
            (4096, Some(0), 1),
        ] {
            let wanted = NonZeroUsize::new(wanted).unwrap();
            assert_eq!(connections(wanted, limit).get(), fitting, "{wanted} of {limit:?}");
        }
    }
}
