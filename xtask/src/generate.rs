//! Writes the documentation that is generated from code. The same tests that check it write it when they are told to, so that there is
//! one program that knows what it should say.

use crate::cargo::{cargo, check};

/// What tells the tests to write; the same name as in `crates/pier/src/reference.rs`.
const GENERATE: &str = "PIER_GENERATE";

pub(crate) fn run() -> anyhow::Result<()> {
    check(
        cargo()
            .args(["test", "--quiet", "--package", "pier", "--bin", "pier", "reference::"])
            .env(GENERATE, "1"),
    )
}
