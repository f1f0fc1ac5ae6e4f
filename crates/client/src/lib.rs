//! Images from and to any registry that speaks the OCI Distribution Specification.

mod auth;
pub mod credentials;
