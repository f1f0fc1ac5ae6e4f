//! What load balancers and Prometheus ask of a running server.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use pier_testkit::{skip::or_skip, small_disk::SmallDisk};

use crate::pier::Store;
use crate::registry::{Image, Registry, Reply, send_to};
use crate::stopping::terminate;

/// Far longer than any of this takes.
const LIMIT: Duration = Duration::from_secs(20);

/// The value of a metric, by its whole name with labels.
fn number(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no `{name}` in\n{metrics}")).parse().unwrap()
}

fn start(store: &Store, section: &str) -> Registry {
    let config = store.data().with_extension("toml");
    fs::write(&config, format!("[serve]\n{section}\n")).unwrap();
    Registry::start_with(&store.data(), &["--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()])
}

fn text(reply: Reply) -> String {
    assert_eq!(reply.status, 200);
    String::from_utf8(reply.body).unwrap()
}

/// The address for monitoring of a server with `metrics-listen`, which may have taken any port.
fn monitoring_address(registry: &mut Registry) -> SocketAddr {
    let process = registry.process();
    process.wait_for_stderr("answering /metrics", LIMIT).unwrap();
    let log = process.stderr();
    let line = log.lines().find(|line| line.contains("answering /metrics")).unwrap();
    let (_, address) = line.split_once("address=").unwrap();
    address.split_whitespace().next().unwrap().parse().unwrap()
}

/// Another process that writes to the store's catalog and does not come to an end.
struct SlowWriter(Child);

impl SlowWriter {
    fn start(store: &Store) -> Option<Self> {
        const HOLD: &str = "import sqlite3, sys\n\
                            catalog = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                            catalog.execute('BEGIN IMMEDIATE')\n\
                            print('begun', flush=True)\n\
                            sys.stdin.read()\n";
        let mut child = or_skip(
            Command::new("python3")
                .args(["-c", HOLD])
                .arg(store.data().join("catalog.sqlite"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn(),
        )?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        Some(Self(child))
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn metrics_count_what_was_done() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let image = Image::new(b"a layer");
    registry.push("team/secret-app", "1", &image);
    assert_eq!(registry.get("/v2/team/secret-app/manifests/1").status, 200);
    assert_eq!(registry.get("/v2/team/secret-app/manifests/1").status, 200);
    assert_eq!(registry.get("/v2/team/secret-app/manifests/2").status, 404);
    assert_eq!(text(registry.get("/livez")), "ok\n");
    assert_eq!(text(registry.get("/readyz")), "ok\n");

    let metrics = text(registry.get("/metrics"));
    for (name, value) in [
        ("registry_http_requests_total{code=\"200\",handler=\"manifest\",method=\"get\"}", 2.0),
        ("registry_http_requests_total{code=\"404\",handler=\"manifest\",method=\"get\"}", 1.0),
        ("registry_http_requests_total{code=\"201\",handler=\"manifest\",method=\"put\"}", 1.0),
        ("registry_http_request_duration_seconds_count{handler=\"manifest\",method=\"get\"}", 3.0),
        ("registry_http_in_flight_requests{handler=\"monitoring\"}", 1.0),
        ("pier_store_blobs", 2.0),
        ("pier_store_manifests", 1.0),
        ("pier_store_repositories", 1.0),
        ("pier_uploads", 0.0),
        (
            "pier_http_request_bytes_total{handler=\"manifest\",method=\"put\"}",
            f64::from(u32::try_from(image.manifest.len()).unwrap()),
        ),
        ("pier_login_failures_total{reason=\"wrong\"}", 0.0),
    ] {
        assert!((number(&metrics, name) - value).abs() < f64::EPSILON, "{name}\n{metrics}");
    }
    // Both manifests whole, and what is said of the one that is not there.
    let sent = number(&metrics, "pier_http_response_bytes_total{handler=\"manifest\",method=\"get\"}");
    let manifests = f64::from(2 * u32::try_from(image.manifest.len()).unwrap());
    assert!(sent > manifests && sent < manifests + 500.0, "{sent}");
    assert!(number(&metrics, "pier_store_bytes") >= 7.0);
    assert!(number(&metrics, "process_resident_memory_bytes") > 1e6);
    assert!(number(&metrics, "pier_connections") >= 1.0);
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    // Labels are of a fixed number: no name of anything that is stored is among them.
    assert!(!metrics.contains("secret-app") && !metrics.contains("sha256"), "{metrics}");
}

#[test]
fn monitoring_has_an_address_of_its_own_if_wanted() {
    let store = Store::empty();
    let mut registry = start(&store, "metrics-listen = \"127.0.0.1:0\"");
    let address = monitoring_address(&mut registry);
    let ask = |path: &str| send_to(address, "GET", path, &format!("Host: {address}\r\n"), b"");
    assert_eq!(text(ask("/livez")), "ok\n");
    assert!(text(ask("/metrics")).contains("pier_build_info{version="));
    assert_eq!(ask("/v2/").status, 404);
    assert_eq!(registry.get("/v2/").status, 200);
    let ids = ["/livez", "/readyz", "/metrics", "/v2/"].map(|path| ask(path).header("x-request-id"));
    assert!(ids.iter().all(|id| id.contains('-')) && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn every_metric_that_an_alarm_is_about_is_there() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    registry.push("app", "1", &Image::new(b"a layer"));
    let metrics = text(registry.get("/metrics"));
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/prometheus-rules.yml");
    let rules = fs::read_to_string(rules).unwrap();
    let words = rules.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let named: Vec<&str> = words
        .filter(|word| ["pier_", "registry_", "process_"].iter().any(|prefix| word.starts_with(prefix)))
        .collect();
    assert!(named.len() > 5, "{named:?}");
    for name in named {
        let is_there = metrics
            .lines()
            .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        assert!(is_there, "no `{name}` in\n{metrics}");
    }
}

#[test]
fn a_disk_that_is_nearly_full_is_not_ready_and_is_said_once() {
    let Some(disk) = or_skip(SmallDisk::mount(96 << 20)) else { return };
    let data = disk.path().join("data");
    let mut registry = Registry::start_with(&data, &["--listen", "127.0.0.1:0"]);
    assert_eq!(text(registry.get("/readyz")), "ok\n");
    disk.fill_leaving(32 << 20).unwrap();
    // What was found is good for a second.
    let full = |reply: &Reply| reply.status == 503 && reply.body == b"less than 64 MiB of disk are free\n";
    until(|| full(&registry.get("/readyz")));
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| assert!(full(&registry.get("/readyz"))));
        }
    });
    assert_eq!(registry.get("/v2/").status, 200);
    disk.free_all().unwrap();
    until(|| registry.get("/readyz").status == 200);
    registry.process().terminate(LIMIT).unwrap();
    let log = registry.process().stderr();
    assert_eq!((log.matches("not ready").count(), log.matches("ready again").count()), (1, 1), "{log}");
}

#[test]
fn a_writer_that_does_not_answer_is_not_ready_however_many_ask() {
    let store = Store::empty();
    let mut registry = Registry::start(&store);
    assert_eq!(text(registry.get("/readyz")), "ok\n");
    let Some(writer) = SlowWriter::start(&store) else { return };
    until(|| registry.get("/readyz").status == 503);
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let reply = registry.get("/readyz");
                let said = (reply.status, String::from_utf8(reply.body).unwrap());
                assert_eq!(said, (503, "the store did not answer in 2s\n".to_owned()));
            });
        }
    });
    // Reads go on, and so does whoever only wants to know whether the process lives.
    assert_eq!(text(registry.get("/livez")), "ok\n");
    assert_eq!(registry.get("/v2/app/manifests/1").status, 404);
    writer.end();
    until(|| registry.get("/readyz").status == 200);
    registry.process().terminate(LIMIT).unwrap();
    let log = registry.process().stderr();
    assert_eq!((log.matches("not ready").count(), log.matches("ready again").count()), (1, 1), "{log}");
}

/// Asks over and over; each answer is waited for.
#[track_caller]
fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}");
    }
}

#[test]
fn a_server_that_is_to_stop_says_so_before_it_does() {
    let store = Store::empty();
    let mut registry = start(&store, "drain-delay = \"1h\"");
    assert_eq!(registry.get("/readyz").status, 200);
    terminate(&mut registry);
    registry.process().wait_for_stderr("not ready any more", LIMIT).unwrap();
    let reply = registry.get("/readyz");
    assert_eq!((reply.status, reply.body.as_slice()), (503, b"stopping\n".as_slice()));
    assert_eq!(registry.get("/livez").status, 200);
    assert_eq!(registry.get("/v2/").status, 200);
    assert_eq!(registry.process().terminate(LIMIT).unwrap().code(), Some(0));
}

#[test]
fn requests_have_names_that_the_log_repeats() {
    let store = Store::empty();
    let mut registry = Registry::start(&store);
    registry.push("app", "1", &Image::new(b"a layer"));
    let named = |query: &str, name: &str| {
        let headers = format!("Host: {}\r\nX-Request-Id: {name}\r\n", registry.address());
        registry.send("GET", &format!("/v2/app/tags/list?{query}"), &headers, b"")
    };
    let reply = named("n=x", "from-a-proxy.7");
    assert_eq!((reply.status, reply.header("x-request-id").as_str()), (400, "from-a-proxy.7"));
    let made = named("n=y", "{\"not\": \"plain\"}").header("x-request-id");
    assert!(made.len() > 9 && made.contains('-'), "{made}");
    registry.process().terminate(LIMIT).unwrap();
    let log = registry.process().stderr();
    assert!(log.contains("id=\"from-a-proxy.7\"") && log.contains(&format!("id=\"{made}\"")), "{log}");
    assert!(!log.contains("plain"), "{log}");
}
