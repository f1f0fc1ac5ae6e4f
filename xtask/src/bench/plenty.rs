//! A registry that holds a lot: pages of its lists, and how long it takes to start.
//!
//! What it holds are empty indexes, since a manifest that names nothing is all that names need.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use super::load::{Answered, Connection, all_puts, get_request, many_gets};
use super::registry::CPU_PER_REQUEST;
use super::report::Report;
use super::server::Server;

pub(super) const TAGS: &str = "a page of 100 tags of 100,000";
pub(super) const CATALOG: &str = "a page of 100 repositories of 10,000";
pub(super) const START_UP: &str = "start, 100,000 manifests stored";

pub(super) const MILLISECONDS: &str = "wall ms";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const REPOSITORY: &str = "plenty/tags";

/// Connections that fill a registry.
const CONNECTIONS: usize = 16;

/// How much a registry holds. Every tag has a manifest of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plenty {
    pub(super) tags: usize,
    pub(super) repositories: usize,
}

impl Plenty {
    /// As much as the rows say.
    pub(super) const WHOLE: Self = Self { tags: 100_000, repositories: 10_000 };
    /// Enough to see whether it works.
    pub(super) const LITTLE: Self = Self { tags: 1000, repositories: 200 };

    pub(super) fn fill(self, server: &Server) -> anyhow::Result<()> {
        eprintln!("filling {} with {} manifests", server.name, self.tags + self.repositories);
        all_puts(server.address, INDEX, CONNECTIONS, self.tags, |number| {
            let tag = tag(number);
            (format!("/v2/{REPOSITORY}/manifests/{tag}"), index(&tag))
        })?;
        all_puts(server.address, INDEX, CONNECTIONS, self.repositories, |number| {
            (format!("/v2/{}/manifests/latest", repository(number)), index("latest"))
        })
    }

    /// A page from the middle.
    pub(super) fn tags_page(
        self,
        server: &Server,
        lasting: Duration,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let last = tag(self.tags / 2);
        page(server, TAGS, &format!("/v2/{REPOSITORY}/tags/list?n=100&last={last}"), lasting, report)
    }

    /// A page from the middle.
    pub(super) fn catalog_page(
        self,
        server: &Server,
        lasting: Duration,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let last = repository(self.repositories / 2).replace('/', "%2F");
        page(server, CATALOG, &format!("/v2/_catalog?n=100&last={last}"), lasting, report)
    }
}

/// From the command to the first answer, of one more process over what the server holds.
pub(super) fn start_up(server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let started = Instant::now();
    let second = server.start_beside()?;
    let status = Connection::open(second.address)?.ask(&get_request(second.address, "/v2/", ""))?;
    ensure!(status == 200, "answered with {status}");
    report.add(START_UP, MILLISECONDS, server.name, milliseconds(started.elapsed()));
    Ok(())
}

/// One client after another, so that the time is that of one page.
#[expect(clippy::cast_precision_loss, reason = "a count of requests")]
fn page(
    server: &Server,
    work: &'static str,
    path: &str,
    lasting: Duration,
    report: &mut Report,
) -> anyhow::Result<()> {
    let request = get_request(server.address, path, "");
    let before = server.tree.cpu()?;
    let Answered { requests, elapsed } = many_gets(server.address, &request, 200, 1, lasting)?;
    let cpu = server.tree.cpu_since(before)?;
    report.add(work, MILLISECONDS, server.name, milliseconds(elapsed) / requests as f64);
    report.add(work, CPU_PER_REQUEST, server.name, cpu.as_secs_f64() * 1e6 / requests as f64);
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn tag(number: usize) -> String {
    format!("t{number:06}")
}

fn repository(number: usize) -> String {
    format!("plenty/r{number:05}")
}

fn index(name: &str) -> Vec<u8> {
    let annotations = json!({"org.opencontainers.image.ref.name": name});
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": annotations})
        .to_string()
        .into_bytes()
}
