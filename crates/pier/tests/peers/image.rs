//! Images made from what a Debian machine has, as OCI layouts that skopeo and containerd read.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::Blobs;

/// What the busybox image prints when it is run.
pub(crate) const GREETING: &str = "hello from an image\n";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A folder in the OCI image layout.
pub(crate) struct Layout(TempDir);

/// A descriptor in JSON, as it stands in manifests and indexes.
#[derive(Clone)]
pub(crate) struct Descriptor(Value);

/// A layer's bytes as they are pushed, and the digest of the tar in them.
pub(crate) struct Layer {
    bytes: Vec<u8>,
    diff_id: String,
    packing: Packing,
}

#[derive(Clone, Copy)]
pub(crate) enum Packing {
    Tar,
    Gzip,
}

impl Descriptor {
    pub(crate) fn digest(&self) -> &str {
        self.0["digest"].as_str().unwrap()
    }
}

impl Layer {
    /// Regular files of a folder, in order of their names, until they come to about so many bytes.
    pub(crate) fn of_folder(folder: &str, bytes: u64, packing: Packing) -> Self {
        let mut files = Vec::new();
        let mut left = bytes;
        collect(Path::new(folder), &mut left, &mut files);
        let list: Vec<u8> =
            files.iter().flat_map(|file| [file.as_os_str().as_encoded_bytes(), b"\0"].concat()).collect();
        Self::of_tar(
            Command::new("tar").args(["--create", "--null", "--verbatim-files-from", "--files-from=-"]),
            list,
            packing,
        )
    }

    fn of_busybox(busybox: &Path) -> Self {
        let transform = format!("--transform=s|.*|bin/{}|", "busybox");
        let mut tar = Command::new("tar");
        tar.args(["--create", "--dereference", "--owner=0", "--group=0", "--mode=755", &transform])
            .arg(busybox);
        Self::of_tar(&mut tar, Vec::new(), Packing::Gzip)
    }

    fn of_tar(tar: &mut Command, input: Vec<u8>, packing: Packing) -> Self {
        // Names are stored without their first slash, and tar says so.
        let tar = filter(tar.stderr(Stdio::null()), input);
        let diff_id = digest(&tar);
        let bytes = match packing {
            Packing::Tar => tar,
            Packing::Gzip => filter(Command::new("gzip").args(["-1", "--no-name"]), tar),
        };
        Self { bytes, diff_id, packing }
    }

    fn media_type(&self) -> &'static str {
        match self.packing {
            Packing::Tar => "application/vnd.oci.image.layer.v1.tar",
            Packing::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }
}

impl Layout {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let layout = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(layout.blobs()).unwrap();
        fs::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        layout
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// An image of one layer with one program in it, that prints [`GREETING`].
    pub(crate) fn busybox(&self, busybox: &Path, architecture: &str) -> Descriptor {
        self.image(architecture, &[Layer::of_busybox(busybox)])
    }

    pub(crate) fn image(&self, architecture: &str, layers: &[Layer]) -> Descriptor {
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/bin/busybox"], "Cmd": ["echo", GREETING.trim_end()]},
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>()},
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add(CONFIG, config.to_string().as_bytes()).0,
            "layers": layers.iter().map(|layer| self.add(layer.media_type(), &layer.bytes).0).collect::<Vec<_>>(),
        });
        let mut descriptor = self.add(MANIFEST, manifest.to_string().as_bytes());
        descriptor.0["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    }

    pub(crate) fn index(&self, children: &[Descriptor]) -> Descriptor {
        let manifests: Vec<_> = children.iter().map(|child| &child.0).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.add(INDEX, index.to_string().as_bytes())
    }

    /// Makes this manifest or index the one thing that the layout holds, under a name that skopeo and containerd both understand.
    pub(crate) fn name(&self, digest: &str, name: &str) {
        let bytes = fs::read(self.blob(digest)).unwrap();
        let media_type = serde_json::from_slice::<Value>(&bytes).unwrap()["mediaType"].clone();
        let entry = json!({
            "mediaType": media_type,
            "digest": digest,
            "size": bytes.len(),
            "annotations": {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name},
        });
        fs::write(
            self.path().join("index.json"),
            json!({"schemaVersion": 2, "manifests": [entry]}).to_string(),
        )
        .unwrap();
    }

    /// The digest that stands under a name.
    pub(crate) fn named(&self, name: &str) -> String {
        let index: Value =
            serde_json::from_slice(&fs::read(self.path().join("index.json")).unwrap()).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == name)
            .unwrap();
        entry["digest"].as_str().unwrap().to_owned()
    }

    /// As skopeo names it.
    pub(crate) fn source(&self, name: &str) -> String {
        format!("oci:{}:{name}", self.path().display())
    }

    /// Every blob in it, after checking that each is what its name says.
    #[track_caller]
    pub(crate) fn verified_blobs(&self) -> Blobs {
        verified_files(&self.blobs())
    }

    fn add(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = digest(bytes);
        fs::write(self.blob(&digest), bytes).unwrap();
        Descriptor(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }

    fn blobs(&self) -> PathBuf {
        self.path().join("blobs/sha256")
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.blobs().join(digest.strip_prefix("sha256:").unwrap())
    }
}

/// The digest of bytes, as our own judge of what peers give back.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("sha256:{hex}")
}

/// A folder of files that are called by their SHA-256 in hexadecimal; a file that is not what it is called fails the test.
#[track_caller]
pub(crate) fn verified_files(folder: &Path) -> Blobs {
    let is_digest = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| is_digest(name))
        .map(|name| {
            let mut bytes = Vec::new();
            let size = fs::File::open(folder.join(&name)).unwrap().read_to_end(&mut bytes).unwrap();
            let found = digest(&bytes);
            assert_eq!(found, format!("sha256:{name}"));
            (found, size as u64)
        })
        .collect()
}

/// What a program makes of its input.
fn filter(command: &mut Command, input: Vec<u8>) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || -> io::Result<()> { stdin.write_all(&input) });
    let output = child.wait_with_output().unwrap();
    // A program that needs no input may end before it has it all.
    let _ = writer.join().unwrap();
    assert!(output.status.success(), "{command:?} ended with {}", output.status);
    output.stdout
}

/// Depth first; unreadable folders are left out.
fn collect(folder: &Path, left: &mut u64, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        if *left == 0 {
            return;
        }
        if metadata.is_dir() {
            collect(&path, left, files);
        } else if metadata.is_file() {
            *left = left.saturating_sub(metadata.len());
            files.push(path);
        }
    }
}
