//! For tests, ours and other people's: images made to measure, a registry in the process, real engines and registries, real processes,
//! small disks, and a disk that forgets what was not synced.
//!
//! ```
//! # #[cfg(feature = "registry")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), pier_testkit::test_registry::Error> {
//! use pier_testkit::{TestRegistry, image::{ImageBuilder, Layer}};
//!
//! let registry = TestRegistry::start().await?;
//! let image = ImageBuilder::new().layer(Layer::random(1, 3000)).build();
//! registry.push(&image, "team/app:v1").await?;
//!
//! // What any client pulls: `127.0.0.1:PORT/team/app:v1`.
//! let reference = registry.image_ref("team/app:v1");
//! assert!(registry.exists("team/app:v1").await?);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "registry"))]
//! # fn main() {}
//! ```
//!
//! | feature | brings |
//! |---|---|
//! | `registry` (default) | [`TestRegistry`] and [`blocking::TestRegistry`] |
//! | `tls` | certificates, and [`Builder::tls`](test_registry::Builder::tls) |
//! | `proxy` | [`faults`], and [`Builder::fault`](test_registry::Builder::fault) |
//! | `mock` | [`mock`]: registries with the manners of those that people use |
//! | `fuse` | [`power_loss`]: the disk that forgets |
//!
//! No Docker, no network beyond loopback. Everything here is torn down on drop, waits with a bound, and says loudly when it cannot run on
//! this machine. For tests in other languages `pier testdata run` is the same registry as a process.

#[cfg(feature = "registry")]
pub mod blocking;
pub mod engine;
#[cfg(feature = "proxy")]
pub mod faults;
pub mod image;
#[cfg(feature = "mock")]
pub mod mock;
#[cfg(feature = "fuse")]
pub mod power_loss;
pub mod process;
#[cfg(any(feature = "tls", feature = "registry"))]
mod server;
pub mod skip;
pub mod small_disk;
#[cfg(feature = "registry")]
pub mod test_registry;
#[cfg(feature = "tls")]
pub mod tls;

#[cfg(feature = "registry")]
pub use test_registry::TestRegistry;
