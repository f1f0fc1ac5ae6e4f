//! TLS and logins as other people's clients have them: each trusts the certificate and logs in by its own means, pushes, pulls, lists, and
//! deletes.
//!
//! A row is what somebody would type. The first word says which program; words in braces stand for:
//!
//! | word | is |
//! |---|---|
//! | `{host}` | the registry's address |
//! | `{image}` | what this row pushes: a repository of its own, with the tag `1` |
//! | `{repository}` | its repository |
//! | `{seed}` | an image that is there before, by digest, with a signature |
//! | `{password}` | alice's, or a wrong one |
//! | `{layout}` | an OCI layout with the image `app` |
//! | `{out}` | an empty folder |
//! | `{ca}`, `{ca-pem}`, `{certs}`, `{hosts}` | the authority: a file, its content, a folder with `ca.crt`, a folder of `hosts.toml` |
//! | `{auth}`, `{nobody}` | a file for credentials, and one that has none |
//!
//! Docker takes every registry on loopback for one whose certificate need not be checked, so of TLS its row shows only that it is spoken.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pier_testkit::engine::{Containerd, Crane, Dockerd, Error, Oras, Podman, Regctl, Skopeo};
use pier_testkit::image::{BuiltImage, ImageBuilder, Layer, Packing, Tree};
use pier_testkit::process::PierProcess;
use pier_testkit::skip::or_skip;
use pier_testkit::tls::Authority;
use tempfile::TempDir;

use crate::image::Layout;

pub(crate) const PIER: &str = env!("CARGO_BIN_EXE_pier");

/// What the signature of `{seed}` is.
const SIGNATURE: &str = "application/vnd.example.signature";

/// What one client types.
struct Row {
    login: &'static [&'static str],
    push: &'static [&'static str],
    /// What the last of these prints has the digest in it.
    pull: &'static [&'static str],
    /// What this prints has the tag on a line.
    tags: Verb,
    /// What this prints has [`SIGNATURE`] in it.
    referrers: Verb,
    delete: Verb,
}

/// How a client does what not every client can do.
enum Verb {
    Typed(&'static str),
    /// It cannot: whoever types this is told so in these words. The day that it can, the test fails, and the row gets what is to be typed.
    Lacking {
        typed: &'static str,
        told: &'static str,
    },
}

const PIER_ROW: Row = Row {
    login: &["pier login {host} --username alice --password-stdin --ca {ca} --authfile {auth}"],
    push: &["pier push oci:{layout}:app {image} --ca {ca} --authfile {auth}"],
    pull: &["pier pull {image} --all-platforms --json --ca {ca} --authfile {auth}"],
    tags: Verb::Typed("pier tags {repository} --ca {ca} --authfile {auth}"),
    referrers: Verb::Typed("pier referrers {seed} --json --ca {ca} --authfile {auth}"),
    delete: Verb::Typed("pier delete {image} --ca {ca} --authfile {auth}"),
};

const SKOPEO: Row = Row {
    login: &[
        "skopeo login --cert-dir {certs} --authfile {auth} --username alice --password {password} {host}",
    ],
    push: &[
        "skopeo copy --preserve-digests --dest-cert-dir {certs} --dest-authfile {auth} oci:{layout}:app docker://{image}",
    ],
    pull: &[
        "skopeo copy --src-cert-dir {certs} --src-authfile {auth} docker://{image} oci:{out}:app",
        "skopeo inspect --cert-dir {certs} --authfile {auth} docker://{image}",
    ],
    tags: Verb::Typed("skopeo list-tags --cert-dir {certs} --authfile {auth} docker://{repository}"),
    referrers: Verb::Lacking { typed: "skopeo referrers {seed}", told: "Unrecognized command" },
    delete: Verb::Typed("skopeo delete --cert-dir {certs} --authfile {auth} docker://{image}"),
};

const PODMAN: Row = Row {
    login: &[
        "podman login --cert-dir {certs} --authfile {auth} --username alice --password {password} {host}",
    ],
    push: &[
        "pier copy oci:{layout}:app docker-archive:{out}/app.tar:{image}",
        "podman load --input {out}/app.tar",
        "podman push --cert-dir {certs} --authfile {auth} {image}",
        "podman rmi {image}",
    ],
    pull: &[
        "podman pull --cert-dir {certs} --authfile {auth} {image}",
        "podman image inspect --format {{.Digest}} {image}",
    ],
    // It does list tags, of registries whose certificate a public authority vouches for.
    tags: Verb::Lacking {
        typed: "podman search --list-tags --cert-dir {certs} {repository}",
        told: "unknown flag: --cert-dir",
    },
    referrers: Verb::Lacking { typed: "podman referrers {seed}", told: "unrecognized command" },
    delete: Verb::Lacking { typed: "podman delete {image}", told: "unrecognized command" },
};

/// Docker, like podman, deletes its own copies (`rmi`) and none of a registry.
const DOCKER: Row = Row {
    login: &["docker login --username alice --password {password} {host}"],
    push: &[
        "pier copy oci:{layout}:app docker-archive:{out}/app.tar:{image}",
        "docker load --input {out}/app.tar",
        "docker push {image}",
        "docker rmi {image}",
    ],
    pull: &["docker pull {image}"],
    tags: Verb::Lacking { typed: "docker tags {repository}", told: "docker --help" },
    referrers: Verb::Lacking { typed: "docker referrers {seed}", told: "docker --help" },
    delete: Verb::Lacking { typed: "docker delete {image}", told: "docker --help" },
};

/// `ctr` keeps no credentials.
const CONTAINERD: Row = Row {
    login: &["ctr images pull --user alice:{password} --hosts-dir {hosts} {seed}"],
    push: &[
        "pier copy oci:{layout}:app oci-archive:{out}/app.tar:app",
        "ctr images import --base-name {repository} {out}/app.tar",
        "ctr images tag {repository}:app {image}",
        "ctr images push --user alice:{password} --hosts-dir {hosts} {image}",
        "ctr images rm --sync {image} {repository}:app",
    ],
    pull: &["ctr images pull --user alice:{password} --hosts-dir {hosts} {image}", "ctr images ls"],
    tags: Verb::Lacking { typed: "ctr images tags {repository}", told: "No help topic" },
    referrers: Verb::Lacking { typed: "ctr images referrers {seed}", told: "No help topic" },
    delete: Verb::Lacking {
        typed: "ctr images delete --remote {image}",
        told: "flag provided but not defined",
    },
};

const CRANE: Row = Row {
    login: &["crane auth login {host} --username alice --password {password}", "crane catalog {host}"],
    push: &["crane push {layout} {image}"],
    pull: &["crane pull --format oci {image} {out}/app", "crane digest {image}"],
    tags: Verb::Typed("crane ls {repository}"),
    referrers: Verb::Lacking { typed: "crane referrers {seed}", told: "unknown command" },
    delete: Verb::Typed("crane delete {image}"),
};

const REGCTL: Row = Row {
    login: &[
        "regctl registry set --skip-check {host} --cacert {ca-pem}",
        "regctl registry login {host} --user alice --pass {password}",
    ],
    push: &["regctl image copy ocidir://{layout}:app {image}"],
    pull: &["regctl image copy {image} ocidir://{out}:app", "regctl image digest {image}"],
    tags: Verb::Typed("regctl tag ls {repository}"),
    referrers: Verb::Typed("regctl artifact list {seed}"),
    delete: Verb::Typed("regctl tag delete {image}"),
};

const ORAS: Row = Row {
    login: &["oras login --ca-file {ca} --username alice --password {password} {host}"],
    push: &["oras cp --from-oci-layout {layout}:app --to-ca-file {ca} {image}"],
    pull: &[
        "oras cp --from-ca-file {ca} {image} --to-oci-layout {out}:app",
        "oras manifest fetch --ca-file {ca} --descriptor {image}",
    ],
    tags: Verb::Typed("oras repo tags --ca-file {ca} {repository}"),
    referrers: Verb::Typed("oras discover --ca-file {ca} {seed}"),
    delete: Verb::Typed("oras manifest delete --force --ca-file {ca} {image}"),
};

/// How clients pull that have no credentials, from a registry that asks for some unless it is pulled from.
const WITHOUT_LOGIN: [&str; 8] = [
    "pier pull {seed} --all-platforms --ca {ca} --authfile {nobody}",
    "skopeo copy --src-cert-dir {certs} --src-authfile {nobody} docker://{seed} oci:{out}/skopeo:app",
    "podman pull --cert-dir {certs} --authfile {nobody} {seed}",
    "ctr images pull --hosts-dir {hosts} {seed}",
    "crane pull --format oci {seed} {out}/crane",
    "regctl registry set --skip-check {host} --cacert {ca-pem}",
    "regctl image copy {seed} ocidir://{out}/regctl:app",
    "oras cp --from-ca-file {ca} {seed} --to-oci-layout {out}/oras:app",
];

/// The programs that rows name.
#[derive(Default)]
struct Programs {
    skopeo: Option<Skopeo>,
    podman: Option<Podman>,
    docker: Option<Dockerd>,
    containerd: Option<Containerd>,
    crane: Option<Crane>,
    regctl: Option<Regctl>,
    oras: Option<Oras>,
}

/// A registry with TLS and users, and an image with a signature in it.
struct Secured {
    registry: PierProcess,
    folder: TempDir,
    authority: Authority,
    layout: Layout,
    image: BuiltImage,
}

impl Secured {
    #[track_caller]
    fn start() -> Self {
        Self::start_with(&[])
    }

    #[track_caller]
    fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let authority = Authority::new().unwrap();
        let server = authority.server_identity().unwrap();
        fs::write(path.join("tls.crt"), server.certificate).unwrap();
        fs::write(path.join("tls.key"), server.key).unwrap();
        fs::create_dir(path.join("certs")).unwrap();
        fs::write(path.join("nobody.json"), "{}").unwrap();
        fs::write(path.join("certs/ca.crt"), authority.pem()).unwrap();
        let line = piped(Command::new(PIER).args(["htpasswd", "alice"]), "hunter2");
        fs::write(path.join("htpasswd"), line.stdout).unwrap();
        let file = |name: &str| path.join(name).to_str().unwrap().to_owned();
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", &file("data")].map(str::to_owned);
        let entrance =
            ["--tls-cert", &file("tls.crt"), "--tls-key", &file("tls.key"), "--htpasswd", &file("htpasswd")];
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        let arguments = arguments.into_iter().chain(entrance.map(str::to_owned)).chain(flags);
        let registry = PierProcess::start(Path::new(PIER), arguments, []).unwrap();
        let hosts = path.join("hosts").join(registry.address().to_string());
        fs::create_dir_all(&hosts).unwrap();
        let toml =
            format!("[host.\"https://{}\"]\n  ca = \"{}\"\n", registry.address(), file("certs/ca.crt"));
        fs::write(hosts.join("hosts.toml"), toml).unwrap();
        let layer = Tree::new().file("etc/motd", "hello").pack(Packing::Gzip);
        let image = ImageBuilder::new().layer(layer).build();
        let layout = Layout::of(&image, "app");
        let site = Self { registry, folder, authority, layout, image };
        site.seed();
        site
    }

    /// An image under `seed`, and its signature.
    #[track_caller]
    fn seed(&self) {
        let signature = ImageBuilder::new()
            .subject(&self.image.root)
            .artifact_type(SIGNATURE)
            .layer(Layer::random(1, 100))
            .build();
        let signature = Layout::of(&signature, "signature");
        let (host, auth) = (self.registry.address(), self.path("seed.json"));
        let ca = self.path("certs/ca.crt");
        let pier = |arguments: &[&str]| {
            let mut command = self.pier();
            command.args(arguments).arg("--ca").arg(&ca).arg("--authfile").arg(&auth);
            let output = piped(&mut command, "hunter2");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        pier(&["login", &host.to_string(), "--username", "alice", "--password-stdin"]);
        pier(&["push", &self.layout.source("app"), &format!("{host}/seed:1")]);
        pier(&["push", &signature.source("signature"), &format!("{host}/seed:signature")]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `pier` with a store and credentials of its own.
    fn pier(&self) -> Command {
        let mut command = Command::new(PIER);
        command
            .env("PIER_DATA", self.path("client"))
            .env("PIER_LOG", "off")
            .env("DOCKER_CONFIG", self.path("docker"))
            .env_remove("REGISTRY_AUTH_FILE")
            .env_remove("DOCKER_AUTH_CONFIG");
        command
    }

    /// What words in braces stand for.
    #[track_caller]
    fn words(&self, name: &str) -> BTreeMap<&'static str, String> {
        let host = self.registry.address().to_string();
        let out = self.path(&format!("out-{name}"));
        fs::create_dir(&out).unwrap();
        let file = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let repository = format!("{host}/from/{name}");
        BTreeMap::from([
            ("{host}", host.clone()),
            ("{image}", format!("{repository}:1")),
            ("{repository}", repository),
            ("{seed}", format!("{host}/seed@{}", self.image.root.digest)),
            ("{layout}", self.layout.path().to_str().unwrap().to_owned()),
            ("{out}", out.to_str().unwrap().to_owned()),
            ("{ca}", file("certs/ca.crt")),
            ("{certs}", file("certs")),
            ("{hosts}", file("hosts")),
            ("{auth}", file(&format!("auth-{name}.json"))),
            ("{nobody}", file("nobody.json")),
            ("{ca-pem}", self.authority.pem()),
        ])
    }

    /// Goes through a row: refused with a wrong password, and served with the right one.
    #[track_caller]
    fn serves(&self, name: &str, row: &Row, programs: &Programs) {
        let digest = self.image.root.digest.to_string();
        let mut words = self.words(name);
        let mut run = |password: &str, lines: &[&str]| -> Result<String, Error> {
            words.insert("{password}", password.to_owned());
            let mut printed = String::new();
            for line in lines {
                let output = programs.run(self, &typed(line, &words), password)?;
                printed = String::from_utf8(output.stdout).unwrap();
            }
            Ok(printed)
        };
        assert!(run("wrong", row.login).is_err(), "{name} logs in with a wrong password");
        run("hunter2", row.login).unwrap();
        run("hunter2", row.push).unwrap();
        let pulled = run("hunter2", row.pull).unwrap();
        assert!(pulled.contains("sha256:"), "{name} pulls {pulled}");
        if row.keeps_digests() {
            assert!(pulled.contains(&digest), "{name} pulls {pulled}");
        }
        let mut try_verb = |verb: &Verb| match verb {
            Verb::Typed(line) => Some(run("hunter2", &[*line]).unwrap()),
            Verb::Lacking { typed, told } => {
                let refused = run("hunter2", &[*typed]).unwrap_err().to_string();
                assert!(refused.contains(told), "{name} knows `{typed}`: {refused}");
                None
            }
        };
        if let Some(tags) = try_verb(&row.tags) {
            let is_tag = |line: &str| line.trim().trim_matches([',', '"']) == "1";
            assert!(tags.lines().any(is_tag), "{name} lists {tags}");
        }
        if let Some(referrers) = try_verb(&row.referrers) {
            assert!(referrers.contains(SIGNATURE), "{name} finds {referrers}");
        }
        if try_verb(&row.delete).is_some() {
            assert!(run("hunter2", &row.pull[..1]).is_err(), "{name} pulls what it has deleted");
        }
    }
}

impl Row {
    /// Podman and Docker unpack layers and pack them again when they push.
    fn keeps_digests(&self) -> bool {
        !["podman", "docker"].iter().any(|program| self.push.iter().any(|line| line.starts_with(program)))
    }
}

impl Programs {
    /// Runs one line. `pier` gets the password by its standard input, where it asks for one.
    fn run(&self, site: &Secured, typed: &[String], password: &str) -> Result<Output, Error> {
        let (program, arguments) = typed.split_first().unwrap();
        match program.as_str() {
            "skopeo" => self.skopeo.as_ref().unwrap().run(arguments),
            "podman" => self.podman.as_ref().unwrap().run(arguments),
            "docker" => self.docker.as_ref().unwrap().docker(arguments),
            "ctr" => self.containerd.as_ref().unwrap().ctr(arguments),
            "crane" => self.crane.as_ref().unwrap().run(arguments),
            "regctl" => self.regctl.as_ref().unwrap().run(arguments),
            "oras" => self.oras.as_ref().unwrap().run(arguments),
            "pier" => {
                let output = piped(site.pier().args(arguments), password);
                if output.status.success() {
                    return Ok(output);
                }
                Err(Error::Failed {
                    command: typed.join(" ").into(),
                    status: output.status,
                    stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
                })
            }
            other => panic!("`{other}` is no program of this table"),
        }
    }
}

/// A line with what its words stand for.
fn typed(line: &str, words: &BTreeMap<&str, String>) -> Vec<String> {
    let word =
        |word: &str| words.iter().fold(word.to_owned(), |word, (name, value)| word.replace(name, value));
    line.split(' ').map(word).collect()
}

/// Runs a command to its end, with this on its standard input.
#[track_caller]
pub(crate) fn piped(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that reads nothing may be gone already.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

#[test]
fn pier_logs_in_over_tls() {
    Secured::start().serves("pier", &PIER_ROW, &Programs::default());
}

#[test]
fn skopeo_logs_in_over_tls() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    let programs = Programs { skopeo: Some(skopeo), ..Programs::default() };
    Secured::start().serves("skopeo", &SKOPEO, &programs);
}

#[test]
fn podman_logs_in_over_tls() {
    let Some(podman) = or_skip(Podman::find()) else { return };
    let programs = Programs { podman: Some(podman), ..Programs::default() };
    Secured::start().serves("podman", &PODMAN, &programs);
}

#[test]
fn docker_logs_in_over_tls() {
    let Some(docker) = or_skip(Dockerd::start()) else { return };
    let programs = Programs { docker: Some(docker), ..Programs::default() };
    Secured::start().serves("docker", &DOCKER, &programs);
}

#[test]
fn containerd_comes_with_a_password_over_tls() {
    let Some(containerd) = or_skip(Containerd::start()) else { return };
    let programs = Programs { containerd: Some(containerd), ..Programs::default() };
    Secured::start().serves("containerd", &CONTAINERD, &programs);
}

#[test]
fn crane_logs_in_over_tls() {
    let Some(crane) = or_skip(Crane::find()) else { return };
    let site = Secured::start();
    let crane = crane.trusting(&site.path("certs/ca.crt"));
    site.serves("crane", &CRANE, &Programs { crane: Some(crane), ..Programs::default() });
}

#[test]
fn regctl_logs_in_over_tls() {
    let Some(regctl) = or_skip(Regctl::find()) else { return };
    let programs = Programs { regctl: Some(regctl), ..Programs::default() };
    Secured::start().serves("regctl", &REGCTL, &programs);
}

#[test]
fn oras_logs_in_over_tls() {
    let Some(oras) = or_skip(Oras::find()) else { return };
    let programs = Programs { oras: Some(oras), ..Programs::default() };
    Secured::start().serves("oras", &ORAS, &programs);
}

#[test]
fn all_but_docker_pull_without_a_login_where_that_is_allowed() {
    let (Some(skopeo), Some(podman), Some(docker), Some(containerd)) = (
        or_skip(Skopeo::find()),
        or_skip(Podman::find()),
        or_skip(Dockerd::start()),
        or_skip(Containerd::start()),
    ) else {
        return;
    };
    let (Some(crane), Some(regctl), Some(oras)) =
        (or_skip(Crane::find()), or_skip(Regctl::find()), or_skip(Oras::find()))
    else {
        return;
    };
    let site = Secured::start_with(&["--anonymous-pull"]);
    let programs = Programs {
        skopeo: Some(skopeo),
        podman: Some(podman),
        docker: Some(docker),
        containerd: Some(containerd),
        crane: Some(crane.trusting(&site.path("certs/ca.crt"))),
        regctl: Some(regctl),
        oras: Some(oras),
    };
    let words = site.words("nobody");
    for line in WITHOUT_LOGIN {
        programs.run(&site, &typed(line, &words), "").unwrap();
    }
    // It asks `/v2/` first, which says to log in, and has nothing to say to that. The guide tells.
    let refused = programs.run(&site, &typed("docker pull {seed}", &words), "").unwrap_err();
    assert!(refused.to_string().contains("no basic auth credentials"), "{refused}");
}
