//! What becomes of a test whose needs this machine does not meet.
//!
//! A skipped test looks like a passed one. So a skip is said on standard error past the test harness, which captures what tests print, and
//! where [`REQUIRE_PEERS`] is `1`, as in CI, there is none: the test fails.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Set to `1` where a test that cannot run is a failure.
pub const REQUIRE_PEERS: &str = "PIER_TEST_REQUIRE_PEERS";

/// What becomes of a test whose needs are not met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Skips {
    /// It is skipped, and says so.
    Allowed,
    /// It fails.
    Refused,
}

/// Tells a machine that lacks something from something that is there and fails.
pub trait Unmet: Display {
    /// Whether the machine cannot run the test at all: a reason to skip, and not to fail.
    fn is_unmet(&self) -> bool;
}

/// Mounts and devices: a machine that does not permit or does not know them.
impl Unmet for io::Error {
    fn is_unmet(&self) -> bool {
        use io::ErrorKind::{NotFound, PermissionDenied, Unsupported};
        // A kernel without a file system says that there is no such device, which std has no kind for.
        let no_device = self.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error());
        no_device || matches!(self.kind(), NotFound | PermissionDenied | Unsupported)
    }
}

/// What a test needs, or none after saying that the test is skipped and why.
///
/// ```
/// use pier_testkit::{engine::Skopeo, skip::or_skip};
///
/// fn a_test_with_skopeo() {
///     let Some(skopeo) = or_skip(Skopeo::find()) else { return };
///     skopeo.run(&["--version"]).unwrap();
/// }
/// # a_test_with_skopeo();
/// ```
///
/// # Panics
/// When it is there and fails; and when it is not there and [`REQUIRE_PEERS`] is `1`.
pub fn or_skip<T, E: Unmet>(need: Result<T, E>) -> Option<T> {
    match need {
        Ok(value) => Some(value),
        Err(error) if error.is_unmet() => {
            skip(Skips::from_environment(), &error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Says that the running test is skipped and why: a line on standard error that starts with `SKIPPED:`.
///
/// # Panics
/// When skips are refused.
pub fn skip(skips: Skips, why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    match skips {
        // Not the macros, whose output the test harness keeps to itself when a test passes. A failure to say so has nowhere to be told.
        Skips::Allowed => drop(writeln!(io::stderr(), "SKIPPED: {test}: {why}")),
        Skips::Refused => panic!("{test} may not be skipped, since {REQUIRE_PEERS}=1: {why}"),
    }
}

impl Skips {
    /// Refused where [`REQUIRE_PEERS`] is `1`.
    pub fn from_environment() -> Self {
        Self::from_value(std::env::var(REQUIRE_PEERS).ok().as_deref())
    }

    /// What a value of the variable means.
    pub fn from_value(value: Option<&str>) -> Self {
        if value == Some("1") { Self::Refused } else { Self::Allowed }
    }
}
