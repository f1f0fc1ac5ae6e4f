//! The client against a real registry on a port of its own.

#![expect(clippy::unwrap_used, reason = "a failure that was not expected has to end a test")]

mod faults;
mod listing;
mod manners;
mod parallel;
mod reading;
mod support;
mod uploads;
mod writing;
