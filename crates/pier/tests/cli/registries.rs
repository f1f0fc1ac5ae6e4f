//! How registries are reached, as flags, environment and `pier.toml` say.

use std::net::{Ipv4Addr, TcpListener};

use pier_testkit::faults::{Fault, FaultyProxy, Kind, Script, When};

use crate::pier::{PIER, Said, Store, command, run, text, write};
use crate::registry::{Image, Registry};

const IMAGE: &str = "team/app";

/// A store to pull into, and a registry with an image.
struct Places {
    here: Store,
    _there: Store,
    registry: Registry,
    digest: String,
}

impl Places {
    fn new() -> Self {
        let (here, there) = (Store::empty(), Store::empty());
        let registry = Registry::start(&there);
        let digest = registry.push(IMAGE, "v1", &Image::new(b"a layer"));
        Self { here, _there: there, registry, digest }
    }

    /// `pier pull` of the image, as if it were at `host`.
    fn pull(&self, host: &str, arguments: &[&str]) -> Said {
        let reference = format!("{host}/{IMAGE}:v1");
        self.here.pier(&[&["pull", &reference, "--progress", "none"], arguments].concat())
    }

    fn address(&self) -> String {
        self.registry.address().to_string()
    }
}

/// An address at which nobody listens.
fn nobody() -> String {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string()
}

#[test]
fn an_image_comes_from_a_mirror_that_pier_toml_names() {
    let places = Places::new();
    let host = nobody();
    let with = |mirror: &str| {
        let file = format!("[registries.'{host}']\nmirrors = [{mirror}]\n");
        let path = write(&places.here, "pier.toml", &file);
        places.pull(&host, &["--config", text(&path)])
    };
    let url = format!("http://{}", places.address());
    let pulled = with(&format!("{{ url = '{url}', resolve = true }}")).data(0);
    assert!(pulled.contains(&places.digest), "{pulled}");
    // Without trust in its tags, the registry has to say what the tag names, and cannot.
    assert_eq!(with(&format!("'{url}'")).status, 3);
    let by_digest = format!("{host}/{IMAGE}@{}", places.digest);
    let path = places.here.data().parent().unwrap().join("pier.toml");
    let pulled = places.here.data_of(&["pull", &by_digest, "--progress", "none", "--config", text(&path)]);
    assert!(pulled.contains(&places.digest), "{pulled}");
}

#[tokio::test]
async fn a_mirror_that_sends_wrong_bytes_is_named_in_the_log() {
    let places = Places::new();
    let lies = Script::new().rule(When::get(Kind::Blob), Fault::Flip { at: 3 });
    let mirror = FaultyProxy::start(places.registry.address(), lies).await.unwrap();
    let host = places.address();
    let file = format!("[registries.'{host}']\nmirrors = ['{}']\n", mirror.url());
    let path = write(&places.here, "pier.toml", &file);
    let reference = format!("{host}/{IMAGE}:v1");
    let said = run(command(&["pull", &reference, "--progress", "none", "--config", text(&path)])
        .env("PIER_DATA", places.here.data())
        .env("PIER_LOG", "warn"));
    assert!(said.status == 0 && said.stdout.contains(&places.digest), "{said:?}");
    let blame = format!("sent by {}", mirror.address());
    assert!(said.stderr.contains("a source sent wrong content") && said.stderr.contains(&blame), "{said:?}");
}

#[test]
fn an_image_comes_from_a_mirror_of_a_folder_of_containerd() {
    let places = Places::new();
    let host = nobody();
    let certs = places.here.data().parent().unwrap().join("certs.d");
    let folder = certs.join(host.replace(':', "_") + "_");
    std::fs::create_dir_all(&folder).unwrap();
    let toml = format!("[host.'http://{}']\ncapabilities = ['pull', 'resolve']\n", places.address());
    std::fs::write(folder.join("hosts.toml"), toml).unwrap();
    let pulled = places.pull(&host, &["--hosts-dir", text(&certs)]).data(0);
    assert!(pulled.contains(&places.digest), "{pulled}");
    let said = run(command(&["pull", &format!("{host}/{IMAGE}:v1")])
        .env("PIER_DATA", places.here.data())
        .env("PIER_HOSTS_DIR", &certs)
        .env("PIER_LOG", "off"));
    assert_eq!(said.status, 0, "{said:?}");
    std::fs::write(folder.join("hosts.toml"), "[host").unwrap();
    let said = places.pull(&host, &["--hosts-dir", text(&certs)]);
    let path = folder.join("hosts.toml");
    let expected = format!("error: `{}`: line 1: unclosed table, expected `]`\n", path.display());
    assert_eq!((said.status, said.stderr), (2, expected));
}

#[test]
fn s23_settings_that_cannot_be_used_are_errors_and_nobody_is_asked() {
    let places = Places::new();
    let not_pem = write(&places.here, "not.pem", "hello");
    let no_file = "No such file or directory (os error 2)";
    let not_pem = text(&not_pem);
    for (arguments, expected) in [
        (vec!["--ca", not_pem], format!("`{not_pem}`: it holds no certificate in PEM")),
        (vec!["--ca", "/no/ca.pem"], format!("`/no/ca.pem`: it cannot be read: {no_file}")),
        (vec!["--client-cert", "/no/a.pem"], format!("`/no/a.pem`: it cannot be read: {no_file}")),
        (vec!["--hosts-dir", "/no/certs.d"], format!("`/no/certs.d`: it cannot be read: {no_file}")),
    ] {
        let said = places.pull(&places.address(), &arguments);
        assert_eq!((said.status, said.stderr), (2, format!("error: {expected}\n")), "{arguments:?}");
    }
    let key = places.pull(&places.address(), &["--client-key", not_pem]);
    assert_eq!(key.status, 2, "{key:?}");
    assert!(key.stderr.contains("--client-cert <FILE>"), "{key:?}");
    let proxy = run(command(&["pull", "r.test/a"])
        .env("PIER_DATA", places.here.data())
        .env("https_proxy", "socks5://me:hunter2@p:1"));
    let expected =
        "error: `https_proxy`: its value is not the URL of an HTTP proxy such as `http://host:3128`\n";
    assert_eq!((proxy.status, proxy.stderr.as_str()), (2, expected));
}

#[test]
fn s23_a_section_of_a_registry_that_makes_no_sense_is_an_error_with_its_line() {
    let store = Store::empty();
    for (file, expected) in [
        ("[registries.word]\n", "line 1: `word`: it names no registry: "),
        (
            "[registries.'r.test']\nplain = true\n",
            "line 2: unknown field `plain`, expected one of `plain-http`, ",
        ),
        (
            "[registries.'r.test']\nca = 5\n",
            "line 2: invalid type: integer `5`, expected a file or a list of files",
        ),
        (
            "[registries.'r.test']\nproxy = 'ftp://p'\n",
            "line 2: `proxy` is neither the URL of an HTTP proxy such as ",
        ),
        (
            "[registries.'r.test']\nmirrors = ['https://m.io?x']\n",
            "line 2: `https://m.io?x`: the URL of a registry has neither `?` nor `#`",
        ),
        (
            "[registries.'r.test']\nmirrors = [{ url = 'https://m.io', trust = 1 }]\n",
            "line 2: unknown field `trust`, expected `url` or `resolve`",
        ),
        ("[client]\nattempts = 0\n", "line 2: invalid value: integer `0`, expected a nonzero u32"),
        ("[client]\nstall-timeout = '0s'\n", "line 2: a duration longer than `0s` is needed here"),
    ] {
        let path = write(&store, "pier.toml", file);
        let said = store.pier(&["--config", text(&path), "images"]);
        let start = format!("error: `{}` is not a configuration of Pier: {expected}", path.display());
        assert!(said.status == 2 && said.stderr.starts_with(&start), "{file}: {said:?}");
    }
    let path = write(&store, "pier.toml", "[registries.'r.test']\nclient-key = 'k.pem'\n");
    store
        .pier(&["--config", text(&path), "pull", "r.test/a"])
        .refused(2, "error: `client-key`: there is no `client-cert` that it belongs to\n");
}

#[test]
fn a_credential_file_that_is_named_is_the_only_one() {
    let places = Places::new();
    let reference = format!("{}/{IMAGE}:v1", places.address());
    let broken = write(&places.here, "broken.json", "{");
    let good = write(&places.here, "auth.json", "{}");
    // Nobody asks who we are here, so what could not be read is never asked for.
    places.pull(&places.address(), &["--authfile", text(&broken)]).data(0);
    let said = run(std::process::Command::new(PIER)
        .args(["pull", &reference, "--authfile", text(&good)])
        .env("PIER_DATA", places.here.data())
        .env("DOCKER_AUTH_CONFIG", "{")
        .env("PIER_LOG", "off"));
    assert_eq!(said.status, 0, "{said:?}");
}
