//! For tests, ours and other people's: images made to measure, a registry in the process, real engines and registries, real processes,
//! small disks, and a disk that forgets what was not synced.
//!
//! Everything here is torn down on drop, waits with a bound, and says loudly when it cannot run on this machine.

pub mod engine;
#[cfg(feature = "proxy")]
pub mod faults;
pub mod image;
#[cfg(feature = "mock")]
pub mod mock;
#[cfg(feature = "fuse")]
pub mod power_loss;
pub mod process;
#[cfg(any(feature = "proxy", feature = "registry"))]
mod server;
pub mod skip;
pub mod small_disk;
#[cfg(feature = "registry")]
pub mod test_registry;
#[cfg(feature = "proxy")]
pub mod tls;
