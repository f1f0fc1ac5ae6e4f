//! `pier testdata`

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pier_oci::Digest;
use pier_testkit::engine::{DockerRegistry, Skopeo};
use pier_testkit::faults::{Canned, Kind, Script, When};
use pier_testkit::image::{BuiltImage, ImageBuilder, IndexBuilder, Layer};
use pier_testkit::skip::or_skip;
use serde_json::{Value, json};

use crate::pier::{Said, Store, command, text};
use crate::remote::{Remote, image};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// As upstreams publish: variants, annotations of each image and of the whole, an attestation.
struct Alpine {
    index: BuiltImage,
    amd64: BuiltImage,
    arm64: BuiltImage,
    armv7: BuiltImage,
}

impl Alpine {
    fn new() -> Self {
        let image = |architecture: &str, variant, seed| {
            let layer = Layer::random(seed, 3000);
            ImageBuilder::new().platform("linux", architecture, variant).layer(layer).build()
        };
        let mut amd64 = image("amd64", None, 1);
        amd64.root.annotations.insert("org.opencontainers.image.version".to_owned(), "3.22".to_owned());
        let (arm64, armv7) = (image("arm64", Some("v8"), 2), image("arm", Some("v7"), 3));
        let index = IndexBuilder::new()
            .child(&amd64)
            .child(&arm64)
            .child(&armv7)
            .attestation(&amd64)
            .annotation("org.example.of", "the index")
            .build();
        Self { index, amd64, arm64, armv7 }
    }

    /// What `catalog` says of all of it.
    fn listing(&self, name: &str) -> String {
        let attestation = self.index.manifests[3].descriptor.digest;
        format!(
            "{name} {INDEX}\n  index -> {}\n  linux/amd64 -> {}\n  linux/arm64/v8 -> {}\n  linux/arm/v7 -> {}\n  \
             unknown/unknown -> {attestation}\n",
            self.index.root.digest, self.amd64.root.digest, self.arm64.root.digest, self.armv7.root.digest
        )
    }
}

fn testdata(store: &Store, folder: &Path, arguments: &[&str]) -> Said {
    store.pier(&[&["testdata", "--storage-dir", text(folder)], arguments].concat())
}

#[track_caller]
fn init(store: &Store, folder: &Path, arguments: &[&str]) -> String {
    testdata(store, folder, &[&["init", "--progress", "none"], arguments].concat()).data(0)
}

/// A folder that is not there, in one that goes with the test.
fn place() -> (tempfile::TempDir, PathBuf) {
    let within = tempfile::tempdir().unwrap();
    let folder = within.path().join("testdata");
    (within, folder)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every file below, with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

#[test]
fn all_of_an_image_keeps_the_digest_that_it_has_upstream() {
    let (store, remote, alpine, (_within, folder)) =
        (Store::empty(), Remote::start(), Alpine::new(), place());
    let source = remote.push(&alpine.index, "alpine:3.22");
    let single = image(9);
    let other = remote.push(&single, "team/app:1");
    let printed = init(&store, &folder, &[&source, &format!("{other}=app")]);
    let listing = format!(
        "{}app:1 {MANIFEST}\n  single platform image -> {}\n",
        alpine.listing("alpine:3.22"),
        single.root.digest
    );
    assert_eq!(printed, listing);
    assert_eq!(testdata(&store, &folder, &["catalog"]).data(0), listing);
    assert_eq!(names(&folder), ["docker"]);
    // Nothing of it went through the store.
    assert_eq!(fs::read_dir(store.data()).unwrap().count(), 0);
}

#[test]
fn d4_2_variants_annotations_and_attestations_are_kept_in_a_subset() {
    let (store, remote, alpine, (_within, folder)) =
        (Store::empty(), Remote::start(), Alpine::new(), place());
    let source = remote.push(&alpine.index, "alpine:3.22");
    let printed =
        init(&store, &folder, &[&source, "--platform", "linux/arm64", "--platform", "linux/amd64", "--json"]);
    let listed: Value = serde_json::from_str(&printed).unwrap();
    let digest = listed[0]["digest"].as_str().unwrap().to_owned();
    let attestation = alpine.index.manifests[3].descriptor.digest;
    assert_eq!(
        listed,
        json!([{
            "repository": "alpine",
            "tag": "3.22",
            "media_type": INDEX,
            "digest": digest,
            "images": [
                { "platform": "linux/arm64/v8", "digest": alpine.arm64.root.digest },
                { "platform": "linux/amd64", "digest": alpine.amd64.root.digest },
                { "platform": "unknown/unknown", "digest": attestation },
            ],
        }])
    );
    assert_ne!(digest, alpine.index.root.digest.to_string());
    let hex = digest.strip_prefix("sha256:").unwrap();
    let bytes =
        fs::read(folder.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))).unwrap();
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(index["annotations"], json!({ "org.example.of": "the index" }));
    assert_eq!(index["manifests"][0]["platform"]["variant"], "v8");
    assert_eq!(index["manifests"][1]["annotations"]["org.opencontainers.image.version"], "3.22");
    assert_eq!(
        index["manifests"][2]["annotations"]["vnd.docker.reference.digest"],
        alpine.amd64.root.digest.to_string()
    );
}

#[test]
fn a_subset_of_everything_is_everything() {
    let (store, remote, alpine, (_within, folder)) =
        (Store::empty(), Remote::start(), Alpine::new(), place());
    let source = remote.push(&alpine.index, "alpine:3.22");
    let all = ["--platform", "linux/arm/v7", "--platform", "linux/amd64", "--platform", "linux/arm64"];
    let printed = init(&store, &folder, &[&[source.as_str()], &all[..]].concat());
    assert_eq!(printed, alpine.listing("alpine:3.22"));
}

#[test]
fn a_single_platform_is_its_image_alone() {
    let (store, remote, alpine, (_within, folder)) =
        (Store::empty(), Remote::start(), Alpine::new(), place());
    let source = remote.push(&alpine.index, "alpine:3.22");
    let printed = init(&store, &folder, &[&source, "--single-platform", "linux/arm64"]);
    assert_eq!(
        printed,
        format!("alpine:3.22 {MANIFEST}\n  single platform image -> {}\n", alpine.arm64.root.digest)
    );
}

/// What an index says of its entries, the config says of an image that stands alone.
#[test]
fn an_image_that_stands_alone_is_taken_only_for_its_own_platform() {
    let (store, remote) = (Store::empty(), Remote::start());
    let alpine = Alpine::new();
    let source = format!("{}=alpine:3.22", remote.push(&alpine.arm64, "alpine:3.22"));
    let (_place, folder) = place();
    for platform in [
        &["--platform", "linux/amd64"][..],
        &["--single-platform", "linux/amd64"],
        &["--platform", "linux/arm64", "--platform", "linux/amd64"],
    ] {
        let said = testdata(&store, &folder, &[&["init", &source][..], platform].concat());
        assert_eq!((said.status, said.stdout.as_str()), (1, ""), "{platform:?}: {}", said.stderr);
        let words = "no image for platform `linux/amd64`, there is `linux/arm64/v8`";
        assert!(said.stderr.contains(words), "{}", said.stderr);
        assert!(!folder.exists() || names(&folder).is_empty());
    }
    for platform in ["--platform", "--single-platform"] {
        let (_place, folder) = place();
        let listed = init(&store, &folder, &[&source, platform, "linux/arm64"]);
        assert!(listed.contains(&alpine.arm64.root.digest.to_string()), "{listed}");
    }
}

/// The list of images was compiled in there.
#[test]
fn d4_2_no_image_is_fetched_but_those_that_are_named() {
    let store = Store::empty();
    let (_place, folder) = place();
    let said = testdata(&store, &folder, &["init"]);
    assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{}", said.stderr);
    let list = folder.with_file_name("images.toml");
    fs::write(&list, "").unwrap();
    assert_eq!(init(&store, &folder, &["--file", text(&list)]), "");
}

#[test]
fn a_file_lists_what_is_fetched() {
    let (store, remote, alpine, (_within, folder)) =
        (Store::empty(), Remote::start(), Alpine::new(), place());
    let source = remote.push(&alpine.index, "alpine:3.22");
    let list = format!(
        "[[image]]\nsource = \"{source}\"\n\n\
         [[image]]\nsource = \"{source}\"\nname = \"small\"\nplatforms = [\"linux/arm/v7\"]\n\n\
         [[image]]\nsource = \"{source}\"\nname = \"one:1\"\nsingle-platform = \"linux/amd64\"\n"
    );
    let file = crate::pier::write(&store, "images.toml", &list);
    let printed = init(&store, &folder, &["--file", text(&file)]);
    let (first, rest) = printed.split_at(alpine.listing("alpine:3.22").len());
    assert_eq!(first, alpine.listing("alpine:3.22"));
    let single = format!("one:1 {MANIFEST}\n  single platform image -> {}\n", alpine.amd64.root.digest);
    let (one, small) = rest.split_at(single.len());
    assert_eq!(one, single);
    assert!(small.starts_with(&format!("small:3.22 {INDEX}\n  index -> sha256:")), "{small}");
    assert!(small.ends_with(&format!("\n  linux/arm/v7 -> {}\n", alpine.armv7.root.digest)), "{small}");

    let (_within, folder) = place();
    for (list, why) in [
        (
            "[[image]]\nsource = \"a\"\nplatforms = [\"linux/amd64\"]\nsingle-platform = \"linux/amd64\"\n",
            "`a` has both `platforms` and `single-platform`",
        ),
        ("[[image]]\nsource = \"a\"\nplatform = \"linux/amd64\"\n", "unknown field `platform`"),
        ("[[image]]\nsource = \"a\"\n[[image]]\nsource = \"a\"\n", "two images are to be called `a:latest`"),
        ("[[image]]\nsource = \"a\"\nname = \"A\"\n", "`A` is not what an image can be called here"),
    ] {
        let file = crate::pier::write(&store, "wrong.toml", list);
        let said = testdata(&store, &folder, &["init", "--file", text(&file)]);
        assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{}", said.stderr);
        assert!(said.stderr.contains(why), "{}", said.stderr);
    }
    assert!(!folder.exists());
}

#[test]
fn images_come_from_any_place() {
    let (store, alpine, (within, folder)) = (Store::empty(), Alpine::new(), place());
    let layout = within.path().join("layout");
    alpine.index.write_oci_layout(&layout, "v1").unwrap();
    let source = format!("oci:{}:v1", layout.display());
    let said = testdata(&store, &folder, &["init", &source]);
    said.refused(
        2,
        &format!(
            "error: `{source}` has no name of its own\nhint: say what it is to be called, with `=NAME:TAG` behind it\n"
        ),
    );
    let printed = init(&store, &folder, &[&format!("{source}=alpine:3.22")]);
    assert_eq!(printed, alpine.listing("alpine:3.22"));
}

#[test]
fn a_folder_with_something_in_it_is_refused_in_the_words_of_the_source() {
    let (store, (_within, folder)) = (Store::empty(), place());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("notes"), "mine").unwrap();
    testdata(&store, &folder, &["init", "alpine"]).refused(
        2,
        &format!(
            "error: destination directory {} is not empty\n\
             hint: name another with --storage-dir, or remove what is in it\n",
            folder.display()
        ),
    );
    assert_eq!(names(&folder), ["notes"]);
}

#[test]
fn what_cannot_be_fetched_leaves_nothing() {
    let (store, remote, alpine, (_within, folder)) =
        (Store::empty(), Remote::start(), Alpine::new(), place());
    let source = remote.push(&alpine.index, "alpine:3.22");
    let missing = remote.name("missing:1");
    let said = testdata(&store, &folder, &["init", &source, &missing]);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""), "{}", said.stderr);
    assert_eq!(names(&folder), [""; 0]);
    let said = testdata(&store, &folder, &["init", &source, "--platform", "linux/s390x"]);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""), "{}", said.stderr);
    assert_eq!(names(&folder), [""; 0]);
    testdata(&store, &folder, &["catalog"]).refused(
        2,
        &format!(
            "error: `{}`: is no storage folder of a registry: it has no `docker/registry/v2`\n",
            folder.display()
        ),
    );
}

#[test]
fn d4_2_a_killed_init_leaves_no_half_folder_that_looks_whole() {
    let (store, alpine, (_within, folder)) = (Store::empty(), Alpine::new(), place());
    let script = Script::new().rule(When::get(Kind::Blob).skip(2), pier_testkit::faults::Fault::StallHead);
    let remote = Remote::scripted(script);
    let source = remote.push(&alpine.index, "alpine:3.22");
    let start = || {
        let arguments = ["testdata", "--storage-dir", text(&folder), "init", &source];
        let mut running = command(&arguments);
        running.env("PIER_DATA", store.data()).stdout(Stdio::null()).stderr(Stdio::null());
        running.spawn().unwrap()
    };
    let mut killed = start();
    crate::remote::wait(
        remote.proxy.wait_for(|seen| seen.iter().filter(|seen| seen.kind == Kind::Blob).count() > 2),
    )
    .unwrap();
    // Nobody else fills it meanwhile.
    let said = testdata(&store, &folder, &["init", &source]);
    said.refused(
        3,
        &format!("error: `{}` is being filled by another `pier testdata init`\n", folder.display()),
    );
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(names(&folder), [".pier-init"]);
    assert_eq!(testdata(&store, &folder, &["catalog"]).status, 2);
    assert_eq!(testdata(&store, &folder, &["run"]).status, 2);
    // The next one is not in its way.
    remote.proxy.set_script(Script::new());
    let printed = init(&store, &folder, &[&source]);
    assert_eq!(printed, alpine.listing("alpine:3.22"));
    assert_eq!(names(&folder), ["docker"]);
}

#[test]
fn d4_2_the_catalog_has_one_order() {
    let (store, remote, (_within, folder)) = (Store::empty(), Remote::start(), place());
    let source = remote.push(&image(1), "app:1");
    let called = ["z", "b/c", "b-c", "b", "a:2", "a:10", "a:1"];
    let wanted: Vec<String> = called.iter().map(|name| format!("{source}={name}")).collect();
    let printed = init(&store, &folder, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
    let heads: Vec<&str> = printed
        .lines()
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(heads, ["a:1", "a:10", "a:2", "b:1", "b-c:1", "b/c:1", "z:1"]);
}

#[test]
fn d4_2_ports_and_digests_are_no_tags() {
    let (store, remote, (_within, folder)) = (Store::empty(), Remote::start(), place());
    let image = image(1);
    let source = remote.push(&image, "app:1");
    let (repository, _) = source.rsplit_once(':').unwrap();
    let by_digest = format!("{repository}@{}", image.root.digest);
    let printed = init(&store, &folder, &[&by_digest]);
    assert_eq!(printed, format!("app:latest {MANIFEST}\n  single platform image -> {}\n", image.root.digest));
}

#[test]
fn d4_2_an_index_that_is_none_is_said_and_not_passed_over() {
    let (store, remote, alpine, (_within, folder)) =
        (Store::empty(), Remote::start(), Alpine::new(), place());
    let source = remote.push(&alpine.index, "alpine:3.22");
    init(&store, &folder, &[&source]);
    let hex = alpine.index.root.digest.hex();
    let data = folder.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    fs::write(&data, "{}").unwrap();
    let said = testdata(&store, &folder, &["catalog"]);
    assert_eq!((said.status, said.stdout.as_str()), (4, ""), "{}", said.stderr);
    let actual = Digest::sha256(b"{}");
    assert!(
        said.stderr.starts_with(&format!(
            "error: content does not match its digest: expected `{}`, found `{actual}`",
            alpine.index.root.digest
        )),
        "{}",
        said.stderr
    );
}

#[test]
fn a_registry_that_refuses_is_no_empty_folder() {
    let script = Script::new().answer(When::any(), Canned::new(http::StatusCode::FORBIDDEN));
    let (store, remote, (_within, folder)) = (Store::empty(), Remote::scripted(script), place());
    let said = testdata(&store, &folder, &["init", &remote.name("app:1")]);
    assert_eq!((said.status, said.stdout.as_str()), (5, ""), "{}", said.stderr);
    assert_eq!(names(&folder), [""; 0]);
}

/// A `pier testdata run`; killed when a test fails.
pub(crate) struct Running {
    child: Child,
    /// What it said first.
    pub(crate) line: String,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(folder: &Path, arguments: &[&str], stdin: Stdio) -> Self {
        let arguments = [&["testdata", "run", "--storage-dir", text(folder)], arguments].concat();
        let mut child = command(&arguments)
            .env("PIER_DATA", folder.join("unused"))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        // It says where it is, or ends, which closes the pipe.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, line }
    }

    /// Waits for its end, with a bound. Gives its status.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not end");
            // Std has no wait with a bound.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with one index and one image.
fn filled(store: &Store) -> (tempfile::TempDir, PathBuf, Alpine) {
    let (remote, alpine, (within, folder)) = (Remote::start(), Alpine::new(), place());
    let sources = [remote.push(&alpine.index, "alpine:3.22"), remote.push(&image(9), "team/app:1")];
    init(store, &folder, &[&sources[0], &sources[1]]);
    (within, folder, alpine)
}

#[test]
fn run_says_where_it_is_and_serves_what_is_there() {
    let store = Store::empty();
    let (_within, folder, alpine) = filled(&store);
    let before = files(&folder);
    let mut running = Running::start(&folder, &[], Stdio::null());
    let address = running.line.strip_prefix("Registry running at ").unwrap().trim_end().to_owned();
    assert!(address.starts_with("localhost:"), "{address}");
    let resolved = store.data_of(&["resolve", &format!("{address}/alpine:3.22")]);
    assert_eq!(resolved, format!("{address}/alpine@{}\n", alpine.index.root.digest));
    let (_within, again) = place();
    assert_eq!(init(&store, &again, &[&format!("{address}/alpine:3.22")]), alpine.listing("alpine:3.22"));
    // Pushes work and change nothing.
    let pushed = format!("{address}/pushed:1");
    store.pier(&["copy", "--progress", "none", &format!("{address}/team/app:1"), &pushed]).data(0);
    assert_eq!(store.pier(&["resolve", &pushed]).status, 0);
    assert_eq!(store.pier(&["delete", &format!("{address}/alpine:3.22")]).status, 0);
    assert_eq!(store.pier(&["resolve", &format!("{address}/alpine:3.22")]).status, 1);
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(running.ended(), Some(0));
    assert!(files(&folder) == before, "the folder was changed");
}

#[test]
fn run_for_programs_says_one_line_of_json_and_ends_with_its_input() {
    let store = Store::empty();
    let (_within, folder, alpine) = filled(&store);
    let mut running = Running::start(&folder, &["--json"], Stdio::piped());
    let said: Value = serde_json::from_str(&running.line).unwrap();
    let registry = said["registry"].as_str().unwrap();
    assert_eq!(
        said,
        json!({
            "registry": registry, "url": format!("http://{registry}"),
            "username": null, "password": null, "ca_file": null, "ca_pem": null,
        })
    );
    let resolved = store.data_of(&["resolve", &format!("{registry}/alpine:3.22")]);
    assert_eq!(resolved, format!("{registry}/alpine@{}\n", alpine.index.root.digest));
    drop(running.child.stdin.take());
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn run_lets_in_who_logs_in_over_tls() {
    let store = Store::empty();
    let (within, folder, alpine) = filled(&store);
    let mut running = Running::start(&folder, &["--json", "--tls", "--auth", "me"], Stdio::piped());
    let said: Value = serde_json::from_str(&running.line).unwrap();
    let word = |name: &str| said[name].as_str().unwrap();
    let (registry, ca) = (word("registry"), word("ca_file"));
    assert_eq!((said["url"].as_str().unwrap(), word("username")), (&*format!("https://{registry}"), "me"));
    assert_eq!(word("password").len(), 32);
    assert_eq!(fs::read_to_string(ca).unwrap(), word("ca_pem"));

    let image = format!("{registry}/alpine:3.22");
    // An authority that nobody knows, then one that was named; nobody, then somebody who lies, then the one.
    assert_eq!(store.pier(&["resolve", &image]).status, 5);
    assert_eq!(store.pier(&["resolve", "--ca", ca, &image]).status, 5);
    let authfile = within.path().join("auth.json");
    let log_in = |password: &str| {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("me:{password}"));
        fs::write(&authfile, json!({ "auths": { registry: { "auth": pair } } }).to_string()).unwrap();
        store.pier(&["resolve", "--ca", ca, "--authfile", text(&authfile), &image])
    };
    assert_eq!(log_in("wrong").status, 5);
    assert_eq!(log_in(word("password")).data(0), format!("{registry}/alpine@{}\n", alpine.index.root.digest));
    drop(running.child.stdin.take());
    assert_eq!(running.ended(), Some(0));
    assert!(!Path::new(ca).exists());
}

#[test]
fn docker_registry_serves_the_folder_that_init_made_and_pier_serves_its() {
    let (Some(skopeo), store) = (or_skip(Skopeo::find()), Store::empty()) else { return };
    let (_within, folder, alpine) = filled(&store);
    let Some(theirs) = or_skip(DockerRegistry::start_over(&folder)) else { return };
    let address = theirs.address();
    let digest = |address: &str| {
        let image = format!("docker://{address}/alpine:3.22");
        let raw = skopeo.run(&["inspect", "--raw", "--tls-verify=false", &image]).unwrap().stdout;
        Digest::sha256(&raw)
    };
    assert_eq!(digest(&address.to_string()), alpine.index.root.digest);
    // And back: what it was pushed is in its folder, which is then served here.
    let new = image(21);
    let remote = Remote::start();
    let source = remote.push(&new, "new:1");
    store.pier(&["copy", "--progress", "none", &source, &format!("{address}/new:1")]).data(0);
    let running = Running::start(&folder, &[], Stdio::null());
    let ours = running.line.strip_prefix("Registry running at ").unwrap().trim_end().to_owned();
    assert_eq!(digest(&ours), alpine.index.root.digest);
    let resolved = store.data_of(&["resolve", &format!("{ours}/new:1")]);
    assert_eq!(resolved, format!("{ours}/new@{}\n", new.root.digest));
    let catalog = testdata(&store, &folder, &["catalog"]).data(0);
    assert!(
        catalog.contains(&format!("new:1 {MANIFEST}\n  single platform image -> {}\n", new.root.digest)),
        "{catalog}"
    );
}
