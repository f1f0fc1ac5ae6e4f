//! The clients that are compared, and how each is told to do the same.
//!
//! Each is given what makes it fastest for its user: the registry is said to speak plain HTTP where there is a flag for it, and nothing is
//! looked for that was not asked for. Pier gets no flag at all.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::images::Name;

/// A client, installed.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) kind: Kind,
    program: PathBuf,
    /// An empty home: nobody's settings or credentials are read.
    home: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Pier,
    Skopeo,
    Crane,
    Regctl,
    Oras,
}

impl Kind {
    pub(super) const OTHERS: [Self; 4] = [Self::Skopeo, Self::Crane, Self::Regctl, Self::Oras];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pier => "pier",
            Self::Skopeo => "skopeo",
            Self::Crane => "crane",
            Self::Regctl => "regctl",
            Self::Oras => "oras",
        }
    }
}

impl Tool {
    pub(super) fn pier(program: PathBuf, home: &Path) -> Self {
        Self { kind: Kind::Pier, program, home: home.to_owned() }
    }

    /// A tool from the `PATH`; `None` when it is not there.
    pub(super) fn find(kind: Kind, home: &Path) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(kind.name()));
        let program = candidates.find(|candidate| candidate.is_file())?;
        Some(Self { kind, program, home: home.to_owned() })
    }

    pub(super) fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// Fetches an image into Pier's store, or into an OCI layout for the others.
    pub(super) fn pull(&self, image: &Name, folder: &Path) -> Command {
        let (from, layout) = (image.to_string(), layout(folder, image));
        match self.kind {
            Kind::Pier => self.command(["pull", "--data"]).with(folder).with(from),
            Kind::Skopeo => self
                .command(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"])
                .with(format!("docker://{from}"))
                .with(format!("oci:{layout}")),
            Kind::Crane => self.command(["pull", "--insecure", "--format=oci"]).with(from).with(folder),
            Kind::Regctl => {
                self.regctl(&[image]).with("image").with("copy").with(from).with(format!("ocidir://{layout}"))
            }
            Kind::Oras => self
                .command(["cp", "--no-tty", "--from-plain-http", "--to-oci-layout"])
                .with(from)
                .with(layout),
        }
    }

    /// Fetches all images, which are those of one repository, in one command. `None` when there is no such command.
    pub(super) fn pull_all(&self, images: &[Name], folder: &Path) -> Option<Command> {
        let names = images.iter().map(Name::to_string);
        match self.kind {
            Kind::Pier => {
                let mut command = self.command(["pull", "--data"]).with(folder);
                command.args(names);
                Some(command)
            }
            Kind::Skopeo => {
                let repository = images.first()?.repository();
                let command =
                    self.command(["--insecure-policy", "sync", "--src-tls-verify=false", "--src", "docker"]);
                Some(command.with("--dest").with("dir").with(repository).with(folder))
            }
            Kind::Crane => {
                let mut command = self.command(["pull", "--insecure", "--format=oci"]);
                command.args(names);
                Some(command.with(folder))
            }
            Kind::Regctl | Kind::Oras => None,
        }
    }

    /// Sends what [`pull`](Self::pull) fetched into this folder.
    pub(super) fn push(&self, folder: &Path, image: &Name, to: &Name) -> Command {
        let (layout, to_text) = (layout(folder, image), to.to_string());
        match self.kind {
            Kind::Pier => self.command(["push", "--data"]).with(folder).with(image.to_string()).with(to_text),
            Kind::Skopeo => self
                .command(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
                .with(format!("oci:{layout}"))
                .with(format!("docker://{to_text}")),
            Kind::Crane => self.command(["push", "--insecure"]).with(folder).with(to_text),
            Kind::Regctl => {
                self.regctl(&[to]).with("image").with("copy").with(format!("ocidir://{layout}")).with(to_text)
            }
            Kind::Oras => self
                .command(["cp", "--no-tty", "--from-oci-layout", "--to-plain-http"])
                .with(layout)
                .with(to_text),
        }
    }

    /// From one registry to another.
    pub(super) fn copy(&self, from: &Name, to: &Name) -> Command {
        let (source, target) = (from.to_string(), to.to_string());
        match self.kind {
            Kind::Pier => self.command(["copy"]).with(source).with(target),
            Kind::Skopeo => self
                .command(["--insecure-policy", "copy", "--quiet"])
                .with("--src-tls-verify=false")
                .with("--dest-tls-verify=false")
                .with(format!("docker://{source}"))
                .with(format!("docker://{target}")),
            Kind::Crane => self.command(["copy", "--insecure"]).with(source).with(target),
            Kind::Regctl => self.regctl(&[from, to]).with("image").with("copy").with(source).with(target),
            Kind::Oras => self
                .command(["cp", "--no-tty", "--from-plain-http", "--to-plain-http"])
                .with(source)
                .with(target),
        }
    }

    /// Asks what a tag stands for.
    pub(super) fn resolve(&self, image: &Name, folder: &Path) -> Command {
        let name = image.to_string();
        match self.kind {
            Kind::Pier => self.command(["resolve", "--data"]).with(folder).with(name),
            Kind::Skopeo => self
                .command(["inspect", "--tls-verify=false", "--no-tags", "--format", "{{.Digest}}"])
                .with(format!("docker://{name}")),
            Kind::Crane => self.command(["digest", "--insecure"]).with(name),
            Kind::Regctl => self.regctl(&[image]).with("image").with("digest").with(name),
            Kind::Oras => self.command(["resolve", "--plain-http"]).with(name),
        }
    }

    /// Says whether what a tag stands for is this manifest, and its layers are what it says. Pier alone does.
    pub(super) fn verify(&self, image: &Name, approved: &str, folder: &Path) -> Command {
        let arguments = ["verify", "--depth", "layers", "--approve", approved, "--data"];
        self.command(arguments).with(folder).with(image.to_string())
    }

    /// Asks for all names in a file, which Pier alone does. `extra` are more arguments.
    pub(super) fn resolve_all(&self, names: &Path, extra: &[&str], folder: &Path) -> Option<Command> {
        if self.kind != Kind::Pier {
            return None;
        }
        let mut command = self.command(["resolve", "--data"]).with(folder).with("--file").with(names);
        command.args(extra);
        Some(command)
    }

    /// regctl is told of each registry that it speaks plain HTTP.
    fn regctl(&self, registries: &[&Name]) -> Command {
        registries.iter().fold(self.command([]), |command, name| {
            command.with("--host").with(format!("reg={},tls=disabled", name.registry))
        })
    }

    fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().env("HOME", &self.home).env("PATH", "/usr/bin:/bin");
        command
    }
}

/// A folder and a tag, as OCI layouts are named.
fn layout(folder: &Path, image: &Name) -> String {
    format!("{}:{}", folder.display(), image.tag)
}

/// Arguments one after the other.
trait With {
    fn with(self, argument: impl AsRef<OsStr>) -> Self;
}

impl With for Command {
    fn with(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arg(argument);
        self
    }
}
