//! `pier fsck`

use pier_store::{Depth, Finding, Repair, Report};

use crate::{
    cli::Fsck,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
};

pub(crate) async fn run(options: &Fsck, config: &Config, output: &Output) -> Result<Status, Failure> {
    let depth = if options.quick { Depth::Sizes } else { Depth::Hashes };
    let repair = if options.repair { Repair::Yes } else { Repair::No };
    let report = super::open_store(config)?.fsck(depth, repair).await?;
    output.data(&report, text)?;
    Ok(status(&report))
}

/// Wrong bytes are worse than a file that lies around.
fn status(report: &Report) -> Status {
    let harmless = |finding: &Finding| matches!(finding, Finding::Unknown { .. });
    match &*report.findings {
        [] => Status::Done,
        findings if findings.iter().all(harmless) => Status::No,
        _ => Status::Integrity,
    }
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = report.findings.iter().map(line).collect();
    lines.push(format!(
        "checked {} ({} hashed) and {}: {}",
        output::counted(report.blobs, "blob"),
        output::bytes(report.hashed_bytes),
        output::counted(report.manifests, "manifest"),
        match (report.findings.len() as u64, report.repaired) {
            (0, _) => "all is well".to_owned(),
            (found, 0) => output::counted(found, "problem"),
            (found, repaired) => format!("{}, {repaired} repaired", output::counted(found, "problem")),
        }
    ));
    lines.join("\n")
}

fn line(finding: &Finding) -> String {
    match finding {
        Finding::Corrupt { digest, reason } => format!("corrupt  {digest}: {reason}"),
        Finding::FileMissing { digest } => format!("missing  {digest}: its file is gone"),
        Finding::Unknown { path } => format!("unknown  {}", path.display()),
        Finding::ManifestCorrupt { digest } => format!("corrupt  manifest {digest}"),
        Finding::Database { report } => format!("database {report}"),
        other => format!("{other:?}"),
    }
}
