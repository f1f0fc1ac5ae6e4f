//! A large layer over lines of several kinds: does Pier take several connections where they help, and only there?
//!
//! What it is held against is one stream that is hashed and made durable too (`curl | tee | sha256sum`, then `sync`), since Pier does both.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use pier_testkit::faults::{Fault, FaultyProxy, Kind, Pace, Script, When};

use super::super::report::Report;
use super::images::Images;
use super::spent::{self, Spent};
use super::tool::Tool;
use super::{level_the_field, report_spent};

/// Each connection gets so much.
const PACE: Pace = Pace { bytes_per_second: Some(20_000_000), delay: Duration::from_millis(40) };

pub(super) const PACED: &str = "pull 1 GiB layer, 20 MB/s a connection, 40 ms";
pub(super) const FREE: &str = "pull 1 GiB layer through an unlimited proxy";
pub(super) const NO_RANGES: &str = "pull 1 GiB layer, ranges ignored";
pub(super) const ONE_STREAM: &str = "one stream (curl, checked, durable)";

/// A line, and how it is measured.
struct Line {
    work: &'static str,
    script: Script,
}

/// Once each: at 20 MB/s one stream alone takes a minute.
pub(super) fn measure(
    pier: &Tool,
    images: &Images,
    bytes: u64,
    scratch: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start a runtime")?;
    let lines = [
        Line { work: PACED, script: Script::new().pace(PACE) },
        Line { work: FREE, script: Script::new() },
        Line {
            work: NO_RANGES,
            script: Script::new().rule(When::get(Kind::Blob).ranged(), Fault::IgnoresRange),
        },
    ];
    for Line { work, script } in lines {
        eprintln!("{work}");
        let proxy = runtime
            .block_on(FaultyProxy::start(images.large.registry, script))
            .context("cannot start a proxy")?;
        let folder = tempfile::tempdir_in(scratch)?;
        level_the_field(scratch, bytes)?;
        let image = images.large.at(proxy.address());
        let spent = spent::run(&mut pier.pull(&image, &folder.path().join("pier")))?;
        report_spent(report, work, pier.name(), spent);
        level_the_field(scratch, bytes)?;
        let spent = one_stream(proxy.address(), &images.large_layer, &folder.path().join("blob"))?;
        report_spent(report, work, ONE_STREAM, spent);
    }
    Ok(())
}

fn one_stream(registry: SocketAddr, path: &str, file: &Path) -> anyhow::Result<Spent> {
    let script = r#"curl --fail --silent "$1" | tee "$2" | sha256sum && sync --data "$2""#;
    let url = format!("http://{registry}{path}");
    spent::run(Command::new("sh").args(["-c", script, "sh", &url]).arg(file))
}
