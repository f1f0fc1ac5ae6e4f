//! What a registry does all day, measured: large blobs out and in, manifests out and in.
//!
//! While something is got, server and generator are kept on different CPUs ([`Apart`]): on one and the same, a GET of a blob costs half as
//! much, and a busy machine puts them there by luck. Pushes cost the same within the noise whether or not they are pinned, where CPUs are cores
//! of their own, so they are left as a server in use is. What distorted pushes was memory: see `memory`.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::content::{Blob, Content, MIB};
use super::floor::{self, Cost};
use super::group_commit;
use super::load::{Answered, Connection, get_request, many_gets, many_puts};
use super::memory::UsedMemory;
use super::peers;
use super::placement::Apart;
use super::plenty::{CATALOG, MILLISECONDS, Plenty, START_UP, TAGS, start_up};
use super::report::{Bound, Over, Promise, Report};
use super::server::{Programs, Role, Server, build_pier};
use super::{Contestant, RegistryOptions, Row};

const REPOSITORY: &str = "bench/image";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The names under which the file servers find the blobs.
const FILE: &str = "blob";
const SMALL_FILE: &str = "small";
const MANIFEST_FILE: &str = "manifest";

/// Connections that get blobs of 1 MiB at once.
const SMALL_BLOB_CONNECTIONS: usize = 64;

const GET_BLOB: &str = "GET blob";
const GET_SMALL_BLOB: &str = "GET blob of 1 MiB, 64 connections";
const PUSH_BLOB: &str = "push blob";
const GET_MANIFEST: &str = "GET manifest by tag, 16 connections";
const NOT_MODIFIED: &str = "304 for a manifest by tag, 16 connections";
const PUT_MANIFEST: &str = "PUT manifest, 16 connections";
const BASELINE: &str = "sha256 + write + fdatasync";
const SQLITE: &str = "SQLite alone";
const FLOOR: &str = "receive + sha256 + write + fdatasync";

const CPU_PER_GIB: &str = "CPU s/GiB";
const WALL_PER_GIB: &str = "wall s/GiB";
const PEAK: &str = "peak RSS MiB";
const RATE: &str = "requests/s";
pub(super) const CPU_PER_REQUEST: &str = "CPU µs/request";

/// What Pier promises. Rates are bounded by the generator too; the CPU of a request, in the row below a rate, is not.
const PROMISES: [Promise; 14] = [
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
    Promise {
        work: GET_SMALL_BLOB,
        measure: CPU_PER_REQUEST,
        over: Over::LeastOf(&["nginx", "nginx-sendfile"]),
        bound: Bound::AtMost(1.1),
    },
    Promise {
        work: GET_MANIFEST,
        measure: CPU_PER_REQUEST,
        over: Over::Amount(25.0),
        bound: Bound::AtMost(1.0),
    },
    Promise {
        work: NOT_MODIFIED,
        measure: CPU_PER_REQUEST,
        over: Over::Amount(15.0),
        bound: Bound::AtMost(1.0),
    },
    Promise { work: PUT_MANIFEST, measure: RATE, over: Over::Of(SQLITE), bound: Bound::AtLeast(0.3) },
    Promise { work: TAGS, measure: MILLISECONDS, over: Over::Amount(2.0), bound: Bound::AtMost(1.0) },
    Promise { work: CATALOG, measure: MILLISECONDS, over: Over::Amount(2.0), bound: Bound::AtMost(1.0) },
    Promise { work: START_UP, measure: MILLISECONDS, over: Over::Amount(100.0), bound: Bound::AtMost(1.0) },
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
    plenty: Plenty,
}

#[expect(clippy::print_stdout, reason = "the result is data")]
pub(super) fn run(options: &RegistryOptions) -> anyhow::Result<()> {
    let scale = if options.quick {
        let lasting = Duration::from_millis(500);
        Scale { rounds: 1, mebibytes: 64, gets: 4, lasting, connections: 16, plenty: Plenty::LITTLE }
    } else {
        let lasting = Duration::from_secs(3);
        Scale { rounds: 5, mebibytes: 1024, gets: 12, lasting, connections: 16, plenty: Plenty::WHOLE }
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
    let distribution =
        options.servers.contains(&Contestant::Distribution).then(peers::distribution).flatten();
    let lacks = |contestant| contestant == Contestant::Distribution && distribution.is_none();
    let contestants: Vec<_> = options.servers.iter().copied().filter(|&one| !lacks(one)).collect();
    let programs = Programs { pier, distribution: distribution.unwrap_or_default() };
    let content = Content::new(scale.mebibytes);
    let files = scratch.path().join("files");
    std::fs::create_dir(&files).context("cannot make a folder for the file servers")?;
    content
        .blob(0)
        .write(File::create(files.join(FILE))?, |_| Ok(()))
        .context("cannot write the file servers' blob")?;
    let small = Content::new(1);
    small
        .blob(0)
        .write(File::create(files.join(SMALL_FILE))?, |_| Ok(()))
        .context("cannot write the file servers' small blob")?;
    let servers = contestants
        .iter()
        .map(|&contestant| Server::start(contestant, &programs, scratch.path(), &files))
        .collect::<anyhow::Result<Vec<_>>>()?;

    let bench = Bench { scale, only: &options.only, content, small, scratch: scratch.path() };
    let mut report = Report::default();
    let manifests = servers.iter().map(|server| bench.prepare(server)).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(parts) = manifests.iter().flatten().next() {
        // Not what a registry does, but what the machine takes for an answer of this length.
        std::fs::write(files.join(MANIFEST_FILE), parts.manifest("latest"))
            .context("cannot write the file servers' manifest")?;
    }
    bench.share(&servers, &files)?;
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
    /// Empty for everything.
    only: &'a [Row],
    content: Content,
    /// A blob of 1 MiB.
    small: Content,
    scratch: &'a Path,
}

/// One row of one server, in one round.
type Work<'a> = &'a dyn Fn(&Server, &mut Report) -> anyhow::Result<()>;

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
            connection.push(REPOSITORY, &self.small.blob(0), |_| Ok(()))?;
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
        connection.get_and_verify(&path(server, FILE, &blob), &blob, self.content.size())?;
        let blob = self.small.blob(0);
        connection.get_and_verify(&path(server, SMALL_FILE, &blob), &blob, self.small.size())?;
        let holds_plenty = [Row::Tags, Row::Catalog, Row::StartUp].into_iter().any(|row| self.wants(row));
        if server.role == Role::Registry && holds_plenty {
            self.scale.plenty.fill(server)?;
        }
        Ok(parts)
    }

    /// Has the file servers send the very files that Pier sends. The page cache keeps a file in pieces whose size depends on how memory
    /// was when it was written, by luck 4 KiB or 1 MiB, and that makes a third of what sending it costs.
    fn share(&self, servers: &[Server], files: &Path) -> anyhow::Result<()> {
        let Some(blobs) = servers.iter().find_map(Server::blobs) else { return Ok(()) };
        for (file, blob) in [(FILE, self.content.blob(0)), (SMALL_FILE, self.small.blob(0))] {
            let file = files.join(file);
            std::fs::remove_file(&file)?;
            symlink(blobs.join(blob.digest().replace(':', "/")), &file)?;
            ensure!(file.exists(), "Pier does not have `{}` where it should", blob.digest());
        }
        Ok(())
    }

    fn wants(&self, row: Row) -> bool {
        self.only.is_empty() || self.only.contains(&row)
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
        let mut measured = |row, work: Work<'_>| {
            turns.iter().filter(|_| self.wants(row)).try_for_each(|&turn| {
                let server = &servers[turn];
                work(server, report).with_context(|| format!("{} failed", server.name))
            })
        };
        // What only a registry can do.
        let only_registries = |work: Work<'_>, server: &Server, report: &mut Report| match server.role {
            Role::Registry => work(server, report),
            Role::Files => Ok(()),
        };
        let Scale { lasting, plenty, .. } = self.scale;
        measured(Row::Blob, &|server, report| self.get_blob(server, report))?;
        measured(Row::SmallBlobs, &|server, report| self.get_small_blobs(server, report))?;
        measured(Row::Manifest, &|server, report| self.get_manifest(server, report))?;
        measured(Row::NotModified, &|server, report| self.not_modified(server, report))?;
        let registries: [(Row, Work<'_>); 4] = [
            (Row::Tags, &|server, report| plenty.tags_page(server, lasting, report)),
            (Row::Catalog, &|server, report| plenty.catalog_page(server, lasting, report)),
            (Row::StartUp, &start_up),
            (Row::Push, &|server, report| self.push_blob(server, round, report)),
        ];
        for (row, work) in registries {
            measured(row, &|server, report| only_registries(work, server, report))?;
        }
        for (server, parts) in turns.iter().map(|&turn| (&servers[turn], &manifests[turn])) {
            if let (Some(parts), true) = (parts, self.wants(Row::PutManifest)) {
                self.put_manifest(server, parts, round, report)
                    .with_context(|| format!("{} failed", server.name))?;
            }
        }
        if self.wants(Row::PutManifest) {
            self.measure_sqlite(round, report)?;
        }
        if self.wants(Row::Push) {
            self.measure_floor(round, BASELINE, floor::hash_and_store, report)?;
            self.measure_floor(round, FLOOR, floor::receive_hash_and_store, report)?;
        }
        Ok(())
    }

    fn get_blob(&self, server: &Server, report: &mut Report) -> anyhow::Result<()> {
        let path = path(server, FILE, &self.content.blob(0));
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
        let request = get_request(server.address, &tagged(server), &format!("Accept: {MANIFEST}\r\n"));
        let _apart = Apart::keep(server.tree)?;
        small(server, report, GET_MANIFEST, || many_gets(server.address, &request, 200, connections, lasting))
    }

    /// The same from a client that has it: a poller, or a cache in between.
    fn not_modified(&self, server: &Server, report: &mut Report) -> anyhow::Result<()> {
        let Scale { connections, lasting, .. } = self.scale;
        let etag = Connection::open(server.address)?.etag(&tagged(server), MANIFEST)?;
        let headers = format!("Accept: {MANIFEST}\r\nIf-None-Match: {etag}\r\n");
        let request = get_request(server.address, &tagged(server), &headers);
        let _apart = Apart::keep(server.tree)?;
        small(server, report, NOT_MODIFIED, || many_gets(server.address, &request, 304, connections, lasting))
    }

    fn get_small_blobs(&self, server: &Server, report: &mut Report) -> anyhow::Result<()> {
        let path = path(server, SMALL_FILE, &self.small.blob(0));
        let request = get_request(server.address, &path, "");
        let _apart = Apart::keep(server.tree)?;
        small(server, report, GET_SMALL_BLOB, || {
            many_gets(server.address, &request, 200, SMALL_BLOB_CONNECTIONS, self.scale.lasting)
        })
    }

    /// What the disk and SQLite allow.
    #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
    fn measure_sqlite(&self, round: usize, report: &mut Report) -> anyhow::Result<()> {
        let Scale { connections, lasting, .. } = self.scale;
        let parts = Parts {
            config: self.small.blob(0).digest().to_owned(),
            layer: self.small.blob(1).digest().to_owned(),
        };
        rustix::fs::sync();
        let path = self.scratch.join(format!("bare-{round}.sqlite"));
        let Answered { requests, elapsed } =
            group_commit::store_manifests(&path, connections, lasting, |number| {
                let tag = format!("r{round}-{number}");
                let manifest = parts.manifest(&tag);
                (tag, manifest)
            })?;
        report.add(PUT_MANIFEST, RATE, SQLITE, requests as f64 / elapsed.as_secs_f64());
        Ok(())
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

    #[expect(clippy::cast_precision_loss, reason = "a few GiB")]
    fn gibibytes(&self) -> f64 {
        self.scale.mebibytes as f64 / 1024.0
    }
}

/// Where a server has a blob.
fn path(server: &Server, file: &str, blob: &Blob<'_>) -> String {
    match server.role {
        Role::Registry => format!("/v2/{REPOSITORY}/blobs/{}", blob.digest()),
        Role::Files => format!("/{file}"),
    }
}

/// Where a server has the manifest.
fn tagged(server: &Server) -> String {
    match server.role {
        Role::Registry => format!("/v2/{REPOSITORY}/manifests/latest"),
        Role::Files => format!("/{MANIFEST_FILE}"),
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
