//! What a registry does all day, measured: large blobs out and in, manifests out and in.
//!
//! While a blob is got, server and generator are kept on different CPUs ([`Apart`]): on one and the same, a GET costs half as much,
//! and a busy machine puts them there by luck. Pushes cost the same within the noise whether or not they are pinned, where CPUs are cores
//! of their own, so they are left as a server in use is. What distorted pushes was memory: see `memory`.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use super::content::{Blob, Content, MIB};
use super::floor::{self, Cost};
use super::load::{Answered, Connection, many_gets, many_puts};
use super::memory::UsedMemory;
use super::placement::Apart;
use super::report::{Bound, Over, Promise, Report};
use super::server::{Role, Server, build_pier};
use super::{Contestant, RegistryOptions};

const REPOSITORY: &str = "bench/image";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The name under which the file servers find the blob.
const FILE: &str = "blob";

const GET_BLOB: &str = "GET blob";
const PUSH_BLOB: &str = "push blob";
const GET_MANIFEST: &str = "GET manifest by tag, 16 connections";
const PUT_MANIFEST: &str = "PUT manifest, 16 connections";
const BASELINE: &str = "sha256 + write + fdatasync";
const FLOOR: &str = "receive + sha256 + write + fdatasync";

const CPU_PER_GIB: &str = "CPU s/GiB";
const WALL_PER_GIB: &str = "wall s/GiB";
const PEAK: &str = "peak RSS MiB";
const RATE: &str = "requests/s";
const CPU_PER_REQUEST: &str = "CPU µs/request";

/// What Pier promises. Rates are bounded by the generator too; the CPU of a request, in the row below a rate, is not.
const PROMISES: [Promise; 7] = [
    Promise {
        work: GET_BLOB,
        measure: CPU_PER_GIB,
        over: Over::Of("docker-registry"),
        bound: Bound::AtMost(1.0),
    },
    Promise { work: GET_BLOB, measure: CPU_PER_GIB, over: Over::Of("nginx"), bound: Bound::AtMost(1.0) },
    Promise {
        work: GET_BLOB,
        measure: CPU_PER_GIB,
        over: Over::Of("nginx-sendfile"),
        bound: Bound::AtMost(1.0),
    },
    Promise { work: PUSH_BLOB, measure: CPU_PER_GIB, over: Over::Of(BASELINE), bound: Bound::AtMost(1.5) },
    Promise {
        work: PUSH_BLOB,
        measure: CPU_PER_GIB,
        over: Over::Of("docker-registry"),
        bound: Bound::AtMost(1.0 / 3.0),
    },
    Promise {
        work: GET_MANIFEST,
        measure: RATE,
        over: Over::Of("docker-registry"),
        bound: Bound::AtLeast(5.0),
    },
    Promise {
        work: PUT_MANIFEST,
        measure: RATE,
        over: Over::Of("docker-registry"),
        bound: Bound::AtLeast(5.0),
    },
];

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Scale {
    rounds: usize,
    mebibytes: usize,
    /// GETs of the blob in one sample: CPU is told in ticks of 10 ms, and one GET of 1 GiB takes fewer than ten.
    gets: u32,
    /// How long each storm of small requests lasts.
    lasting: Duration,
    connections: usize,
}

#[expect(clippy::print_stdout, reason = "the result is data")]
pub(super) fn run(options: &RegistryOptions) -> anyhow::Result<()> {
    let scale = if options.quick {
        Scale { rounds: 1, mebibytes: 64, gets: 4, lasting: Duration::from_millis(500), connections: 16 }
    } else {
        Scale { rounds: 5, mebibytes: 1024, gets: 12, lasting: Duration::from_secs(3), connections: 16 }
    };
    let scale = Scale { rounds: options.rounds.unwrap_or(scale.rounds).max(1), ..scale };
    let scratch = match &options.scratch {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let scratch = scratch.context("cannot make a folder for the servers' data")?;

    let pier = match &options.pier {
        Some(program) => program.clone(),
        None if options.servers.contains(&Contestant::Pier) => build_pier()?,
        None => Path::new("").to_owned(),
    };
    let content = Content::new(scale.mebibytes);
    let files = scratch.path().join("files");
    std::fs::create_dir(&files).context("cannot make a folder for the file servers")?;
    content
        .blob(0)
        .write(File::create(files.join(FILE))?, |_| Ok(()))
        .context("cannot write the file servers' blob")?;
    let servers = options
        .servers
        .iter()
        .map(|&contestant| Server::start(contestant, &pier, scratch.path(), &files))
        .collect::<anyhow::Result<Vec<_>>>()?;

    let bench = Bench { scale, content, scratch: scratch.path() };
    let mut report = Report::default();
    let manifests = servers.iter().map(|server| bench.prepare(server)).collect::<anyhow::Result<Vec<_>>>()?;
    for round in 0..scale.rounds {
        eprintln!("round {} of {}", round + 1, scale.rounds);
        bench.round(round, &servers, &manifests, &mut report)?;
    }
    let subject = "pier";
    if options.json {
        println!("{:#}", report.json(subject, &PROMISES));
    } else {
        print!("{}", report.markdown(subject, &PROMISES));
    }
    Ok(())
}

struct Bench<'a> {
    scale: Scale,
    content: Content,
    scratch: &'a Path,
}

/// The parts of the manifest that a registry wants to have first.
struct Parts {
    config: String,
    layer: String,
}

impl Bench<'_> {
    /// Brings the blob and a tagged manifest to a server, and checks that what it gives back is right.
    fn prepare(&self, server: &Server) -> anyhow::Result<Option<Parts>> {
        let blob = self.content.blob(0);
        let mut connection = Connection::open(server.address)?;
        let mut parts = None;
        if server.role == Role::Registry {
            connection.push(REPOSITORY, &blob, |_| Ok(()))?;
            let config = connection.push_small(REPOSITORY, b"{}")?;
            let layer = connection.push_small(REPOSITORY, b"layer")?;
            let pushed = Parts { config, layer };
            connection.put(
                &format!("/v2/{REPOSITORY}/manifests/latest"),
                MANIFEST,
                &pushed.manifest("latest"),
            )?;
            parts = Some(pushed);
        }
        connection.get_and_verify(&self.blob_path(server), &blob, self.content.size())?;
        Ok(parts)
    }

    /// Every server's turn at every work. Who begins changes from round to round.
    fn round(
        &self,
        round: usize,
        servers: &[Server],
        manifests: &[Option<Parts>],
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let turns: Vec<_> = (0..servers.len()).map(|turn| (turn + round) % servers.len()).collect();
        let measured = |work: &dyn Fn(&Server, usize, &mut Report) -> anyhow::Result<()>,
                        report: &mut Report| {
            turns.iter().try_for_each(|&turn| {
                let server = &servers[turn];
                work(server, turn, report).with_context(|| format!("{} failed", server.name))
            })
        };
        measured(&|server, _, report| self.get_blob(server, report), report)?;
        measured(
            &|server, turn, report| match &manifests[turn] {
                Some(_) => self.get_manifest(server, report),
                None => Ok(()),
            },
            report,
        )?;
        measured(
            &|server, turn, report| match &manifests[turn] {
                Some(parts) => self.put_manifest(server, parts, round, report),
                None => Ok(()),
            },
            report,
        )?;
        measured(
            &|server, _, report| match server.role {
                Role::Registry => self.push_blob(server, round, report),
                Role::Files => Ok(()),
            },
            report,
        )?;
        self.measure_floor(round, BASELINE, floor::hash_and_store, report)?;
        self.measure_floor(round, FLOOR, floor::receive_hash_and_store, report)
    }

    fn get_blob(&self, server: &Server, report: &mut Report) -> anyhow::Result<()> {
        let path = self.blob_path(server);
        let mut connection = Connection::open(server.address)?;
        let _apart = Apart::keep(server.tree)?;
        // Once for nothing, in case the file has left the page cache since the last round.
        connection.get_and_discard(&path, self.content.size())?;
        server.tree.reset_peak()?;
        let (before, started) = (server.tree.cpu()?, Instant::now());
        for _ in 0..self.scale.gets {
            connection.get_and_discard(&path, self.content.size())?;
        }
        let gibibytes = self.gibibytes() * f64::from(self.scale.gets);
        let (wall, cpu) = (started.elapsed(), server.tree.cpu_since(before)?);
        large(report, GET_BLOB, server.name, cpu.div_f64(gibibytes), wall.div_f64(gibibytes));
        report.add(GET_BLOB, PEAK, server.name, mebibytes(server.tree.peak()?));
        Ok(())
    }

    fn push_blob(&self, server: &Server, round: usize, report: &mut Report) -> anyhow::Result<()> {
        let blob = self.content.blob(round as u64 + 1);
        let mut connection = Connection::open(server.address)?;
        let mut memory = self.level_the_field()?;
        server.tree.reset_peak()?;
        let (before, started) = (server.tree.cpu()?, Instant::now());
        connection.push(REPOSITORY, &blob, |bytes| memory.give_back(bytes))?;
        let (wall, cpu) = (started.elapsed(), server.tree.cpu_since(before)?);
        large(report, PUSH_BLOB, server.name, cpu.div_f64(self.gibibytes()), wall.div_f64(self.gibibytes()));
        report.add(PUSH_BLOB, PEAK, server.name, mebibytes(server.tree.peak()?));
        Ok(())
    }

    /// What no registry can do without, as if a server had done it.
    fn measure_floor(
        &self,
        round: usize,
        name: &'static str,
        floor: fn(&Blob<'_>, &Path, &mut UsedMemory) -> anyhow::Result<Cost>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let blob = self.content.blob(round as u64 + 1);
        let path = self.scratch.join("floor");
        let mut memory = self.level_the_field()?;
        let Cost { cpu, wall } =
            floor(&blob, &path, &mut memory).with_context(|| format!("{name} failed"))?;
        large(report, PUSH_BLOB, name, cpu.div_f64(self.gibibytes()), wall.div_f64(self.gibibytes()));
        std::fs::remove_file(path).context("cannot remove what was stored")
    }

    /// Leaves nothing to pay for what others did, and lets everybody write into memory of the same kind.
    fn level_the_field(&self) -> anyhow::Result<UsedMemory> {
        rustix::fs::sync();
        UsedMemory::take(self.scratch, self.content.size()).context("cannot use memory for the page cache")
    }

    fn get_manifest(&self, server: &Server, report: &mut Report) -> anyhow::Result<()> {
        let Scale { connections, lasting, .. } = self.scale;
        let path = format!("/v2/{REPOSITORY}/manifests/latest");
        small(server, report, GET_MANIFEST, || {
            many_gets(server.address, &path, MANIFEST, connections, lasting)
        })
    }

    fn put_manifest(
        &self,
        server: &Server,
        parts: &Parts,
        round: usize,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let Scale { connections, lasting, .. } = self.scale;
        let manifest = |connection: usize, request: u64| {
            let tag = format!("r{round}-c{connection}-{request}");
            (format!("/v2/{REPOSITORY}/manifests/{tag}"), parts.manifest(&tag))
        };
        small(server, report, PUT_MANIFEST, || {
            many_puts(server.address, MANIFEST, connections, lasting, manifest)
        })
    }

    fn blob_path(&self, server: &Server) -> String {
        match server.role {
            Role::Registry => format!("/v2/{REPOSITORY}/blobs/{}", self.content.blob(0).digest()),
            Role::Files => format!("/{FILE}"),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few GiB")]
    fn gibibytes(&self) -> f64 {
        self.scale.mebibytes as f64 / 1024.0
    }
}

/// What a large transfer took, by GiB.
fn large(report: &mut Report, work: &'static str, server: &'static str, cpu: Duration, wall: Duration) {
    report.add(work, CPU_PER_GIB, server, cpu.as_secs_f64());
    report.add(work, WALL_PER_GIB, server, wall.as_secs_f64());
}

/// A storm of small requests, and what it cost.
#[expect(clippy::cast_precision_loss, reason = "a count of requests")]
fn small(
    server: &Server,
    report: &mut Report,
    work: &'static str,
    storm: impl FnOnce() -> anyhow::Result<Answered>,
) -> anyhow::Result<()> {
    // What others have written must not go to the disk at this one's expense.
    rustix::fs::sync();
    server.tree.reset_peak()?;
    let before = server.tree.cpu()?;
    let Answered { requests, elapsed } = storm()?;
    let cpu = server.tree.cpu_since(before)?;
    report.add(work, RATE, server.name, requests as f64 / elapsed.as_secs_f64());
    report.add(work, CPU_PER_REQUEST, server.name, cpu.as_secs_f64() * 1e6 / requests as f64);
    report.add(work, PEAK, server.name, mebibytes(server.tree.peak()?));
    Ok(())
}

impl Parts {
    /// A manifest that no other name shares.
    fn manifest(&self, name: &str) -> Vec<u8> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": self.config, "size": 2},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": self.layer, "size": 5}],
            "annotations": {"org.opencontainers.image.ref.name": name},
        });
        manifest.to_string().into_bytes()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size in MiB with a few digits")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}
