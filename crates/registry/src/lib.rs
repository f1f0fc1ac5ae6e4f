//! The OCI distribution API over any blob store and catalog: from an HTTP request to its response.
//!
//! [`Registry`] answers requests; sockets, TLS, access control and configuration are its caller's. A server gives each
//! plain connection a [`FileSocket`], which lets large blobs go from the page cache to the network without a copy.
//!
//! | file | is about |
//! |---|---|
//! | `registry` | from a request to its handler, and the log line of each |
//! | `action` | what a request asks for, parsed before anything is done |
//! | `blobs`, `uploads` | blobs on their way out and in |
//! | `manifests`, `listings` | manifests, tags, repositories, referrers |
//! | `turns` | how many uploads are at work, in all and of one host |
//! | `refusal`, `answer` | what is said back; every error's code and status |
//! | `incoming`, `body` | bodies that come and go, each with its bounds |
//!
//! Nothing is kept in memory between requests: several processes may serve one store, and each may end at any time.

mod action;
mod answer;
mod blobs;
mod body;
mod conditions;
mod incoming;
mod listings;
mod manifests;
mod refusal;
mod registry;
mod session;
mod settings;
mod turns;
mod uploads;

pub use body::ResponseBody;
pub use pier_sendfile::{FileQueue, FileSocket};
pub use refusal::Refusal;
pub use registry::{Connection, Registry, refusal};
pub use settings::{PageSizes, SessionKey, Settings};
pub use turns::Uploads;
