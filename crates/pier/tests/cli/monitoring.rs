//! What load balancers and Prometheus ask of a running server.

use std::{fs, net::SocketAddr, time::Duration};

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
    ] {
        assert!((number(&metrics, name) - value).abs() < f64::EPSILON, "{name}\n{metrics}");
    }
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
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let registry = start(&store, &format!("metrics-listen = \"127.0.0.1:{port}\""));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let ask = |path: &str| send_to(address, "GET", path, &format!("Host: {address}\r\n"), b"");
    assert_eq!(text(ask("/livez")), "ok\n");
    assert!(text(ask("/metrics")).contains("pier_build_info{version="));
    assert_eq!(ask("/v2/").status, 404);
    assert_eq!(registry.get("/v2/").status, 200);
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
