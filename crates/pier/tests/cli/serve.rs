//! Starting and stopping the server.

use std::net::TcpListener;
use std::time::Duration;

use crate::pier::{Store, command, run, text, write};
use crate::registry::{Image, Registry, digest};

/// Far longer than an idle server needs to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_port_that_is_taken_is_refused_before_the_data_is_touched() {
    let first = Store::empty();
    let registry = Registry::start(&first);
    let address = registry.address().to_string();
    let second = Store::empty();
    second.pier(&["serve", "--listen", &address]).refused(
        2,
        &format!(
            "error: cannot listen on `{address}`: Address already in use (os error 98)\n\
             hint: something listens there already; stop it, or choose another with --listen\n"
        ),
    );
    assert_eq!(std::fs::read_dir(second.data()).unwrap().count(), 0);
}

#[test]
fn an_address_of_another_machine_is_refused() {
    // From the block that RFC 5737 keeps for documentation: nobody has it.
    let arguments = ["serve", "--plain-http", "--allow-anonymous", "--listen", "203.0.113.77:5000"];
    Store::empty().pier(&arguments).refused(
        2,
        "error: cannot listen on `203.0.113.77:5000`: Cannot assign requested address (os error 99)\n\
         hint: this machine has no such address\n",
    );
}

#[test]
fn listening_beyond_this_machine_has_to_be_asked_for_in_so_many_words() {
    let tls = ["--tls-cert", "/no/such.crt", "--tls-key", "/no/such.key"];
    let (neither, no_access, no_tls) = (
        (
            "there is neither TLS nor access control",
            "name --tls-cert, --tls-key and --htpasswd, or say both --plain-http and --allow-anonymous",
        ),
        ("there is no access control", "name --htpasswd, or say --allow-anonymous"),
        ("there is no TLS", "name --tls-cert and --tls-key, or say --plain-http"),
    );
    for (flags, (lacks, hint)) in [
        (&[][..], neither),
        (&["--plain-http"], no_access),
        (&tls, no_access),
        (&["--allow-anonymous"], no_tls),
        (&["--htpasswd", "/no/such"], no_tls),
    ] {
        let arguments = [&["serve", "--listen", "0.0.0.0:0"], flags].concat();
        let refusal =
            format!("error: `0.0.0.0:0` can be reached from other machines, and {lacks}\nhint: {hint}\n");
        Store::empty().pier(&arguments).refused(2, &refusal);
    }
}

#[test]
fn what_contradicts_itself_about_who_may_come_in_is_refused() {
    for (flags, error, hint) in [
        (
            &["--tls-cert", "a"][..],
            "there is a certificate for TLS and no key",
            "name the key with --tls-key, or `tls-key`; both may be in one file",
        ),
        (
            &["--tls-key", "a"],
            "there is a key for TLS and no certificate",
            "name the certificate with --tls-cert, or `tls-cert`; both may be in one file",
        ),
        (
            &["--anonymous-pull"],
            "`anonymous-pull` says who need not log in to pull, and there is nobody who can log in",
            "name those who can push with --htpasswd, or `htpasswd`",
        ),
        (
            &["--htpasswd", "a", "--allow-anonymous"],
            "`allow-anonymous` lets everybody do everything, and `htpasswd` says who may",
            "leave out one of them; to let everybody pull and nothing else, say `anonymous-pull`",
        ),
    ] {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], flags].concat();
        Store::empty().pier(&arguments).refused(2, &format!("error: {error}\nhint: {hint}\n"));
    }
}

#[test]
fn the_file_may_ask_for_it_too() {
    let store = Store::empty();
    let file = write(
        &store,
        "pier.toml",
        "[serve]\nlisten = \"0.0.0.0:0\"\nplain-http = true\nallow-anonymous = true\n",
    );
    let registry = Registry::start_with(&store.data(), &["--config", text(&file)]);
    assert!(registry.address().ip().is_unspecified());
}

#[test]
fn a_host_that_is_not_this_machine_is_refused_on_loopback_alone() {
    let store = Store::empty();
    let local = Registry::start(&store);
    let ask = |registry: &Registry, host: &str| {
        let reply = registry.send("GET", "/v2/", &format!("Host: {host}\r\n"), b"");
        (reply.status, reply.body.starts_with(b"{\"errors\"").then(|| reply.code()))
    };
    for host in ["127.0.0.1", "localhost:5000", "registry.localhost", "[::1]:80"] {
        assert_eq!(ask(&local, host), (200, None), "{host}");
    }
    for host in ["evil.example", "10.0.0.1:5000", "localhost.evil.example"] {
        assert_eq!(ask(&local, host), (421, Some("DENIED".to_owned())), "{host}");
    }
    let everywhere = ["--listen", "0.0.0.0:0", "--plain-http", "--allow-anonymous"];
    let open = Registry::start_with(&store.data(), &everywhere);
    assert_eq!(ask(&open, "registry.example"), (200, None));
}

#[test]
fn stdout_is_the_address_and_stderr_the_log() {
    let store = Store::empty();
    let mut registry = Registry::start(&store);
    let address = registry.address();
    assert_eq!(registry.get("/v2/").status, 200);
    assert_eq!(registry.process().terminate(STOP_LIMIT).unwrap().code(), Some(0));
    assert_eq!(registry.process().stdout(), format!("listening on http://{address}\n"));
    let log = registry.process().stderr();
    assert!(log.contains("serving") && log.contains("stopped"), "{log}");
}

#[test]
fn the_log_can_be_json() {
    let store = Store::empty();
    let mut registry =
        Registry::start_with(&store.data(), &["--listen", "127.0.0.1:0", "--log-format", "json"]);
    assert_eq!(registry.process().terminate(STOP_LIMIT).unwrap().code(), Some(0));
    let log = registry.process().stderr();
    let messages: Vec<String> = log
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(messages, ["serving", "stopping; a second signal ends at once", "stopped"]);
}

#[test]
fn a_port_that_was_given_back_is_taken_again() {
    let store = Store::empty();
    let mut registry = Registry::start(&store);
    let address = registry.address();
    assert_eq!(registry.get("/v2/").status, 200);
    registry.process().terminate(STOP_LIMIT).unwrap();
    // Closed connections of the first must not keep the second from listening.
    drop(TcpListener::bind(address).unwrap());
    let again = Registry::start_with(&store.data(), &["--listen", &address.to_string()]);
    assert_eq!(again.address(), address);
}

#[test]
fn the_environment_names_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let store = Store::empty();
    let said = run(command(&["serve"])
        .env("PIER_LISTEN", &address)
        .env("PIER_DATA", store.data())
        .env("PIER_LOG", "off"));
    assert_eq!(said.status, 2);
    assert!(said.stderr.starts_with(&format!("error: cannot listen on `{address}`: ")), "{}", said.stderr);
}

#[test]
fn the_file_limits_the_size_of_blobs() {
    let store = Store::empty();
    let file = write(&store, "pier.toml", "[serve]\nmax-blob-bytes = 4\n");
    let registry = Registry::start_with(&store.data(), &["--listen", "127.0.0.1:0", "--config", text(&file)]);
    registry.push_blob("app", b"four");
    let path = format!("/v2/app/blobs/uploads/?digest={}", digest(b"fives"));
    let reply = registry.send("POST", &path, &format!("Host: {}\r\n", registry.address()), b"fives");
    assert_eq!((reply.status, reply.code()), (413, "SIZE_INVALID".to_owned()));
}

#[test]
fn two_servers_on_one_store_show_the_same_at_once() {
    let store = Store::empty();
    let (one, other) = (Registry::start(&store), Registry::start(&store));
    let image = Image::new(b"layer");
    for (to, from, tag) in [(&one, &other, "1"), (&other, &one, "2")] {
        let name = to.push("app", tag, &image);
        assert_eq!(from.get(&format!("/v2/app/manifests/{tag}")).header("docker-content-digest"), name);
        assert_eq!(from.get(&format!("/v2/app/blobs/{}", digest(b"layer"))).body, b"layer");
    }
    store.data_of(&["rm", "app:1"]);
    for server in [&one, &other] {
        assert_eq!(server.get("/v2/app/manifests/1").status, 404);
    }
}
