//! What client and server say to each other over HTTP, as text and types: no connection, no headers map, no async.
//!
//! Both ends use the same types, so that what one writes the other reads. Section names and `end-n` are those of the
//! OCI Distribution Specification.

pub mod challenge;
pub mod cursor;
pub mod endpoint;
pub mod error;
pub mod etag;
pub mod link;
pub mod query;
pub mod range;

pub use challenge::{Bearer, Challenge, ChallengeError, challenges};
pub use cursor::{Cursor, CursorError, Listing};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{ErrorBody, ErrorCode, ErrorEntry};
pub use query::Query;
pub use range::{Chunk, Selected, selected};
