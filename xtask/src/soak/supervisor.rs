//! The soak itself: starts servers and workers, kills servers, and judges.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail, ensure};

use super::{
    Options, checker,
    content::Content,
    dice::Dice,
    end,
    history::{History, now},
    registry::Registry,
    servers::Server,
};

/// Servers on the one store.
pub(super) const SERVERS: usize = 2;

/// Short, so that leases end in the middle of everything.
const LEASE: Duration = Duration::from_secs(3);

/// How far the server's clock, which counts milliseconds of the day, may be off ours.
const SLACK: Duration = Duration::from_millis(50);

/// Between two kills at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(6_500);

/// Between two looks whether a worker has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How long workers may take to end when their time is over.
const LAST_REQUEST: Duration = Duration::from_secs(90);

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos().into())
    });
    eprintln!("soak: seed {seed}, {} minutes, {} workers", options.minutes, options.workers);
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let outcome = soak(options, seed, folder.path());
    outcome.with_context(|| {
        // What it looked like is worth more than the space.
        format!("seed {seed}; everything is kept in `{}`", folder.keep().display())
    })
}

fn soak(options: &Options, seed: u64, folder: &Path) -> anyhow::Result<()> {
    let pier = match &options.pier {
        Some(pier) => pier.clone(),
        None => super::build()?.join("pier"),
    };
    fs::create_dir(folder.join("data"))?;
    let configuration = folder.join("pier.toml");
    let lease = LEASE.as_secs();
    fs::write(
        &configuration,
        format!("[serve]\ncollect-every = \"1s\"\n[store]\nlease = \"{lease}s\"\nupload-expiry = \"30s\"\n"),
    )?;
    let mut servers: Vec<Server> =
        (0..SERVERS).map(|number| Server::start(&pier, folder, number)).collect::<Result<_, _>>()?;
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let workers = Workers::start(options, seed, folder, length)?;
    let kills = kill_at_random(&mut servers, workers, Dice::new(seed ^ 1), length)?;
    ensure!(kills > 0 || length < LONGEST_PAUSE, "no server was killed, so nothing was shown");

    let content = Content::new(seed);
    let mut registry = Registry::new(&content, folder, options.workers, SERVERS)?;
    end::delete_some(&mut registry, &content, &mut Dice::new(seed ^ 2))?;
    let named = end::survey(&mut registry, &content)?;
    registry.finish()?;
    let history = History::read(folder)?;
    judge(&history)?;

    let data = folder.join("data");
    end::wait_for_the_collector(&data, &named)?;
    // What the collector did shows in a history of its own; that of the requests has been judged.
    let mut registry = Registry::new(&content, folder, options.workers + 1, SERVERS)?;
    ensure!(end::survey(&mut registry, &content)? == named, "the collector changed what is named");
    for server in servers {
        server.stop()?;
    }
    end::all_is_well(&pier, &data, &configuration)?;
    eprintln!(
        "soak: {} requests, {} of them lost in {kills} kills; {} steps of {} keys explained; {} of {} blobs named in the end and no other left",
        history.requests,
        history.lost,
        history.events(),
        history.keys.len(),
        named.len(),
        content.blobs.len(),
    );
    Ok(())
}

fn judge(history: &History) -> anyhow::Result<()> {
    let lease = u64::try_from(LEASE.saturating_sub(SLACK).as_nanos()).unwrap_or(u64::MAX);
    for (key, events) in &history.keys {
        if let Err(violation) = checker::check(key, events, lease) {
            bail!(checker::report(key, events, &violation));
        }
    }
    Ok(())
}

/// Kills one server after the other until the workers have ended. Gives how often.
fn kill_at_random(
    servers: &mut [Server],
    mut workers: Workers,
    mut dice: Dice,
    length: Duration,
) -> anyhow::Result<u32> {
    let mut chosen = Dice::new(dice.roll());
    let mut kills = 0;
    let end = Instant::now() + length;
    let longest = u64::try_from(LONGEST_PAUSE.as_millis()).unwrap_or(u64::MAX);
    let mut pause = || Duration::from_millis(500 + dice.roll() % (longest - 500));
    let mut next = Instant::now() + pause();
    while workers.are_at_work(end + LAST_REQUEST)? {
        if next <= Instant::now() && Instant::now() < end {
            let number = servers.len();
            servers[chosen.below(number)].kill()?;
            kills += 1;
            next = Instant::now() + pause();
        }
        thread::park_timeout(LOOK);
    }
    Ok(kills)
}

/// The worker processes; killed when dropped.
#[derive(Debug)]
struct Workers(Vec<Child>);

impl Workers {
    fn start(options: &Options, seed: u64, folder: &Path, length: Duration) -> anyhow::Result<Self> {
        let until = now() + u64::try_from(length.as_nanos())?;
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut workers = Self(Vec::new());
        for number in 0..options.workers {
            let mut command = Command::new(&program);
            command.arg("soak-worker").arg("--folder").arg(folder).stdin(Stdio::null());
            for (name, value) in [("--number", number.into()), ("--seed", seed), ("--until", until)] {
                command.args([name, &value.to_string()]);
            }
            workers.0.push(command.spawn().context("cannot start a worker")?);
        }
        Ok(workers)
    }

    /// Whether any of them still works. An error when one has failed, or when they do not end by `deadline`.
    fn are_at_work(&mut self, deadline: Instant) -> anyhow::Result<bool> {
        let mut working = false;
        for worker in &mut self.0 {
            match worker.try_wait()? {
                None => working = true,
                Some(status) => ensure!(status.success(), "a worker failed; what it says stands above"),
            }
        }
        ensure!(Instant::now() < deadline, "the workers do not end");
        Ok(working)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            // One that has ended already is what is wanted.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}
