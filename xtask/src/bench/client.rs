//! What a client does all day, measured beside other clients: pull, push, copy between registries, resolve.
//!
//! All of them talk to the same registry, a `pier serve` on loopback that shares the machine's processors with them, and take turns round by
//! round. Whoever pushes or copies gets a fresh registry, so that nothing is there already. Pier stores what it pulled durably and the
//! others do not; that is Pier's to bear.
//!
//! Some clients move one image or ask for one tag in a process; then a loop of processes is measured, of fewer than there are images, and
//! what it took is told as if it had run for all. Pier is measured both ways.

mod images;
mod ranges;
mod spent;
mod tool;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use pier_testkit::blocking::TestRegistry;

use self::images::{Images, Name, Sizes};
use self::spent::Spent;
use self::tool::{Kind, Tool};
use super::content::{Content, MIB};
use super::floor::{self, Cost};
use super::load::{Connection, get_request};
use super::memory::UsedMemory;
use super::peers;
use super::report::{Bound, Over, Promise, Report};
use super::server::{Programs, Server, build_pier};
use super::{ClientOptions, Contestant, Work};

const PULL_LARGE: &str = "pull, one layer of 1 GiB";
const PULL_LAYERED: &str = "pull, 60 layers of 4 MiB";
const PULL_SMALL: &str = "pull, 500 small images, a process each";
const PULL_BATCH: &str = "pull, 500 small images, one command";
const PUSH_LARGE: &str = "push, one layer of 1 GiB";
const PUSH_LAYERED: &str = "push, 60 layers of 4 MiB";
const PUSH_SMALL: &str = "push, 500 small images, a process each";
const COPY_LARGE: &str = "copy, one layer of 1 GiB";
const COPY_LAYERED: &str = "copy, 60 layers of 4 MiB";
const COPY_SMALL: &str = "copy, 500 small images, a process each";
const VERIFY: &str = "verify, one layer of 1 GiB";
const RESOLVE: &str = "resolve, 1,000 tags, a process each";
const RESOLVE_BATCH: &str = "resolve, 1,000 tags, one command";
const RESOLVE_CACHED: &str = "resolve, 1,000 tags, from the cache";

const READY: &str = "a registry for tests, until it has answered";

/// Who hashes the bytes of the large layer and does nothing else.
const HASH: &str = "sha256 alone";

/// Where all clients can be compared.
const EVERYBODY: [&str; 11] = [
    PULL_LARGE,
    PULL_LAYERED,
    PULL_SMALL,
    PULL_BATCH,
    PUSH_LARGE,
    PUSH_LAYERED,
    PUSH_SMALL,
    COPY_LARGE,
    COPY_LAYERED,
    COPY_SMALL,
    RESOLVE,
];

const CPU: &str = "CPU s";
const WALL: &str = "wall s";
const MILLISECONDS: &str = "wall ms";
/// With the time that the kernel needs then to bring to the disk what was fetched.
const DURABLE: &str = "wall s until durable";
const PEAK: &str = "peak RSS MiB";
const WRITTEN: &str = "MiB written";

/// Names of those that Pier is held against.
const OTHERS: &[&str] = &["skopeo", "crane", "regctl", "oras"];

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Scale {
    rounds: usize,
    sizes: Sizes,
    /// Processes in a loop that stands for all images or tags.
    processes: usize,
}

#[expect(clippy::print_stdout, reason = "the result is data")]
pub(super) fn run(options: &ClientOptions) -> anyhow::Result<()> {
    let full =
        Sizes { large_mebibytes: 1024, middling_mebibytes: 4, layers: 60, small_images: 500, tags: 1000 };
    let scale = if options.quick {
        let sizes = Sizes { large_mebibytes: 64, small_images: 50, tags: 1000, ..full };
        Scale { rounds: 1, sizes, processes: 10 }
    } else {
        Scale { rounds: 3, sizes: full, processes: 30 }
    };
    let scale = Scale { rounds: options.rounds.unwrap_or(scale.rounds).max(1), ..scale };
    let scratch = match &options.scratch {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let scratch = scratch.context("cannot make a folder for what is fetched")?;
    let pier = match &options.pier {
        Some(program) => fs::canonicalize(program).context("there is no such `pier`")?,
        None => build_pier()?,
    };
    let home = scratch.path().join("home");
    fs::create_dir(&home)?;
    let source = start_registry(options.registry, &pier, &scratch.path().join("source"))?;
    eprintln!("filling a registry");
    let bench = Bench {
        scale,
        images: Images::push(source.address, scale.sizes)?,
        tools: tools(&pier, &home),
        registry: options.registry,
        pier,
        scratch: scratch.path().to_owned(),
    };
    let mut report = Report::default();
    for round in 0..scale.rounds {
        for &work in &options.works {
            eprintln!("round {} of {}: {work:?}", round + 1, scale.rounds);
            bench.round(round, work, &mut report)?;
        }
    }
    if options.works.contains(&Work::Ranges) {
        bench.ranges(&mut report)?;
    }
    let promises = promises();
    if options.json {
        println!("{:#}", report.json("pier", &promises));
    } else {
        print!("{}", report.markdown("pier", &promises));
    }
    Ok(())
}

/// Pier and those of the others that are installed; those that are not are named loudly.
fn tools(pier: &Path, home: &Path) -> Vec<Tool> {
    let mut tools = vec![Tool::pier(pier.to_owned(), home)];
    for kind in Kind::OTHERS {
        match Tool::find(kind, home) {
            Some(tool) => tools.push(tool),
            None => eprintln!("NOT COMPARED: {} is not installed", kind.name()),
        }
    }
    tools
}

fn promises() -> Vec<Promise> {
    let mut promises = Vec::new();
    for work in EVERYBODY {
        for measure in [CPU, WALL] {
            promises.push(Promise { work, measure, over: Over::LeastOf(OTHERS), bound: Bound::AtMost(1.0) });
        }
    }
    for work in [PULL_LARGE, PULL_LAYERED, PULL_SMALL, PULL_BATCH] {
        promises.push(Promise {
            work,
            measure: DURABLE,
            over: Over::LeastOf(OTHERS),
            bound: Bound::AtMost(1.0),
        });
    }
    promises.push(Promise { work: VERIFY, measure: WALL, over: Over::Of(HASH), bound: Bound::AtMost(1.2) });
    promises.push(Promise {
        work: READY,
        measure: MILLISECONDS,
        over: Over::Amount(50.0),
        bound: Bound::AtMost(1.0),
    });
    let mut add = |work, over, bound| promises.push(Promise { work, measure: WALL, over, bound });
    add(RESOLVE_BATCH, Over::Amount(1.0), Bound::AtMost(1.0));
    add(RESOLVE_CACHED, Over::Amount(0.05), Bound::AtMost(1.0));
    add(ranges::PACED, Over::Of(ranges::ONE_STREAM), Bound::AtMost(1.0 / 3.0));
    add(ranges::FREE, Over::Of(ranges::ONE_STREAM), Bound::AtMost(1.0));
    add(ranges::NO_RANGES, Over::Of(ranges::ONE_STREAM), Bound::AtMost(1.0));
    promises
}

struct Bench {
    scale: Scale,
    images: Images,
    tools: Vec<Tool>,
    registry: Contestant,
    pier: PathBuf,
    scratch: PathBuf,
}

impl Bench {
    /// Everybody's turn at one kind of work. Who begins changes from round to round.
    fn round(&self, round: usize, work: Work, report: &mut Report) -> anyhow::Result<()> {
        let turns = (0..self.tools.len()).map(|turn| &self.tools[(turn + round) % self.tools.len()]);
        match work {
            Work::Ranges => Ok(()),
            Work::Verify => self.verify(report),
            Work::TestRegistry => self.test_registry(report),
            _ => turns.into_iter().try_for_each(|tool| {
                let done = match work {
                    Work::Pull => self.pull(tool, report),
                    Work::Push => self.push(tool, report),
                    Work::Copy => self.copy(tool, report),
                    Work::Resolve | Work::Ranges | Work::Verify | Work::TestRegistry => {
                        self.resolve(tool, report)
                    }
                };
                done.with_context(|| format!("{} failed", tool.name()))
            }),
        }
    }

    fn pull(&self, tool: &Tool, report: &mut Report) -> anyhow::Result<()> {
        let Images { large, layered, small, .. } = &self.images;
        for (work, image, bytes) in
            [(PULL_LARGE, large, self.large_bytes()), (PULL_LAYERED, layered, self.layered_bytes())]
        {
            let folder = self.folder()?;
            level_the_field(&self.scratch, bytes)?;
            let spent = spent::run(&mut tool.pull(image, &folder.path().join("1")))?;
            report_pull(report, work, tool.name(), spent, folder.path())?;
        }
        let folder = self.folder()?;
        rustix::fs::sync();
        let spent = self.loop_of(small, |image| tool.pull(image, &place(tool, folder.path(), image)))?;
        report_pull(report, PULL_SMALL, tool.name(), spent, folder.path())?;
        let folder = self.folder()?;
        rustix::fs::sync();
        if let Some(mut command) = tool.pull_all(small, &folder.path().join("all")) {
            let spent = spent::run(&mut command)?;
            report_pull(report, PULL_BATCH, tool.name(), spent, folder.path())?;
        }
        Ok(())
    }

    fn push(&self, tool: &Tool, report: &mut Report) -> anyhow::Result<()> {
        let Images { large, layered, small, .. } = &self.images;
        for (work, image, bytes) in
            [(PUSH_LARGE, large, self.large_bytes()), (PUSH_LAYERED, layered, self.layered_bytes())]
        {
            let folder = self.folder()?;
            let local = folder.path().join("1");
            spent::run(&mut tool.pull(image, &local))?;
            let target = self.target(folder.path())?;
            level_the_field(&self.scratch, bytes)?;
            let spent = spent::run(&mut tool.push(&local, image, &image.at(target.address)))?;
            report_spent(report, work, tool.name(), spent);
        }
        let folder = self.folder()?;
        for image in &small[..self.processes(small)] {
            spent::run(&mut tool.pull(image, &place(tool, folder.path(), image)))?;
        }
        let target = self.target(folder.path())?;
        rustix::fs::sync();
        let spent = self.loop_of(small, |image| {
            tool.push(&place(tool, folder.path(), image), image, &image.at(target.address))
        })?;
        report_spent(report, PUSH_SMALL, tool.name(), spent);
        Ok(())
    }

    fn copy(&self, tool: &Tool, report: &mut Report) -> anyhow::Result<()> {
        let Images { large, layered, small, .. } = &self.images;
        for (work, image, bytes) in
            [(COPY_LARGE, large, self.large_bytes()), (COPY_LAYERED, layered, self.layered_bytes())]
        {
            let folder = self.folder()?;
            let target = self.target(folder.path())?;
            level_the_field(&self.scratch, bytes)?;
            let spent = spent::run(&mut tool.copy(image, &image.at(target.address)))?;
            report_spent(report, work, tool.name(), spent);
        }
        let folder = self.folder()?;
        let target = self.target(folder.path())?;
        rustix::fs::sync();
        let spent = self.loop_of(small, |image| tool.copy(image, &image.at(target.address)))?;
        report_spent(report, COPY_SMALL, tool.name(), spent);
        Ok(())
    }

    fn resolve(&self, tool: &Tool, report: &mut Report) -> anyhow::Result<()> {
        let tags = &self.images.tags;
        let folder = self.folder()?;
        let data = folder.path().join("data");
        let spent = self.loop_of(tags, |image| tool.resolve(image, &data))?;
        report_spent(report, RESOLVE, tool.name(), spent);
        let names = folder.path().join("names");
        let lines: Vec<_> = tags.iter().map(Name::to_string).collect();
        fs::write(&names, lines.join("\n")).context("cannot write a file of names")?;
        let data = folder.path().join("fresh");
        if let Some(mut command) = tool.resolve_all(&names, &[], &data) {
            report_spent(report, RESOLVE_BATCH, tool.name(), spent::run(&mut command)?);
        }
        if let Some(mut command) = tool.resolve_all(&names, &["--refresh"], &data) {
            spent::run(&mut command).context("cannot fill the cache")?;
        }
        if let Some(mut command) = tool.resolve_all(&names, &["--max-age", "1h"], &data) {
            report_spent(report, RESOLVE_CACHED, tool.name(), spent::run(&mut command)?);
        }
        Ok(())
    }

    /// Whether what a tag stands for is approved, down to the bytes of its layers, beside hashing those bytes.
    fn verify(&self, report: &mut Report) -> anyhow::Result<()> {
        let Some(pier) = self.tools.iter().find(|tool| tool.kind == Kind::Pier) else { return Ok(()) };
        let folder = self.folder()?;
        let mut command = pier.verify(&self.images.large, &self.images.large_digest, folder.path());
        report_spent(report, VERIFY, pier.name(), spent::run(&mut command)?);
        let content = Content::new(self.scale.sizes.large_mebibytes);
        let Cost { cpu, wall } = floor::hash(&content.blob(0))?;
        report.add(VERIFY, CPU, HASH, cpu.as_secs_f64());
        report.add(VERIFY, WALL, HASH, wall.as_secs_f64());
        Ok(())
    }

    /// The registry that tests in Rust start in their own process, from nothing to its first answer.
    fn test_registry(&self, report: &mut Report) -> anyhow::Result<()> {
        for _ in 0..self.scale.processes {
            let started = Instant::now();
            let registry = TestRegistry::start().context("a registry for tests does not start")?;
            let ping = get_request(registry.address(), "/v2/", "");
            let status = Connection::open(registry.address())?.ask(&ping)?;
            ensure!(status == 200, "a registry for tests answers with {status}");
            report.add(READY, MILLISECONDS, "pier", 1000.0 * started.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn ranges(&self, report: &mut Report) -> anyhow::Result<()> {
        let Some(pier) = self.tools.iter().find(|tool| tool.kind == Kind::Pier) else { return Ok(()) };
        ranges::measure(pier, &self.images, self.large_bytes(), &self.scratch, report)
    }

    /// A process for each of the first names, told as if it had been all of them.
    fn loop_of(
        &self,
        names: &[Name],
        command: impl Fn(&Name) -> std::process::Command,
    ) -> anyhow::Result<Spent> {
        let count = self.processes(names);
        let mut sum = Spent::default();
        for name in &names[..count] {
            sum += spent::run(&mut command(name))?;
        }
        #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
        Ok(sum.times(names.len() as f64 / count as f64))
    }

    fn processes(&self, names: &[Name]) -> usize {
        self.scale.processes.min(names.len())
    }

    /// A registry with nothing in it.
    fn target(&self, folder: &Path) -> anyhow::Result<Server> {
        start_registry(self.registry, &self.pier, &folder.join("target"))
    }

    fn folder(&self) -> anyhow::Result<tempfile::TempDir> {
        tempfile::tempdir_in(&self.scratch).context("cannot make a folder")
    }

    fn large_bytes(&self) -> u64 {
        (self.scale.sizes.large_mebibytes * MIB) as u64
    }

    fn layered_bytes(&self) -> u64 {
        let Sizes { layers, middling_mebibytes, .. } = self.scale.sizes;
        (layers * middling_mebibytes * MIB) as u64
    }
}

/// Where one of many images goes: Pier has one store, the others a layout for each, which is the least work for them.
fn place(tool: &Tool, folder: &Path, image: &Name) -> PathBuf {
    match tool.kind {
        Kind::Pier => folder.join("store"),
        _ => folder.join(&image.tag),
    }
}

fn start_registry(contestant: Contestant, pier: &Path, folder: &Path) -> anyhow::Result<Server> {
    fs::create_dir_all(folder)?;
    let distribution = match contestant {
        Contestant::Distribution => peers::distribution().context("the registry is missing")?,
        _ => PathBuf::new(),
    };
    let programs = Programs { pier: pier.to_owned(), distribution };
    Server::start(contestant, &programs, folder, folder)
}

/// Leaves nothing to pay for what others did, and lets everybody write into memory of the same kind.
fn level_the_field(scratch: &Path, bytes: u64) -> anyhow::Result<()> {
    rustix::fs::sync();
    UsedMemory::take(scratch, bytes).map(drop).context("cannot use memory for the page cache")
}

/// What a pull spent, and how long it takes until what it fetched would survive a power failure: Pier is done then, the others are not.
fn report_pull(
    report: &mut Report,
    work: &'static str,
    who: &'static str,
    spent: Spent,
    folder: &Path,
) -> anyhow::Result<()> {
    report_spent(report, work, who, spent);
    let started = Instant::now();
    rustix::fs::syncfs(File::open(folder)?).context("cannot bring to the disk what was fetched")?;
    report.add(work, DURABLE, who, (spent.wall + started.elapsed()).as_secs_f64());
    Ok(())
}

fn report_spent(report: &mut Report, work: &'static str, who: &'static str, spent: Spent) {
    let Spent { cpu, wall, peak, written } = spent;
    report.add(work, CPU, who, cpu.as_secs_f64());
    report.add(work, WALL, who, wall.as_secs_f64());
    report.add(work, PEAK, who, mebibytes(peak));
    report.add(work, WRITTEN, who, mebibytes(written));
}

#[expect(clippy::cast_precision_loss, reason = "a size in MiB with a few digits")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}
