//! Where credentials are.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use pier_content::{Error, Result};

use super::Secret;

/// The variable that holds a document in place of a file.
pub(super) const INLINE: &str = "DOCKER_AUTH_CONFIG";

/// Where credentials are looked for. Each may be left out.
#[derive(Clone, Debug, Default)]
pub struct Locations {
    /// A document in Docker's form, in place of a file: what `DOCKER_AUTH_CONFIG` holds.
    pub inline: Option<Secret>,
    /// The file that `REGISTRY_AUTH_FILE` names. Named on purpose, it has to be there to be read; a login makes it.
    pub registry_auth_file: Option<PathBuf>,
    /// Podman's files, in the order in which they count.
    pub podman: Vec<PathBuf>,
    /// Docker's `config.json`.
    pub docker: Option<PathBuf>,
    /// The folders in which helpers are, as `PATH` lists them. Relative ones are passed over.
    pub search_path: Option<OsString>,
}

impl Locations {
    /// The places that Docker and Podman use, from the values of environment variables, which `lookup` tells. An empty value is as
    /// good as none.
    ///
    /// # Errors
    /// When `DOCKER_AUTH_CONFIG` is not text.
    pub fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let value = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let path = |name: &str| value(name).map(PathBuf::from);
        let inline = value(INLINE)
            .map(|document| {
                document.into_string().map(Secret::new).map_err(|_| Error::Credentials {
                    place: format!("`{INLINE}`"),
                    reason: "it is not UTF-8".to_owned(),
                })
            })
            .transpose()?;
        let home = path("HOME");
        let in_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
        let podman = |folder: &Path| folder.join("containers/auth.json");
        // Without a folder for the session Podman uses one that it makes itself.
        let session = path("XDG_RUNTIME_DIR").map_or_else(
            || PathBuf::from(format!("/run/containers/{}/auth.json", rustix::process::getuid().as_raw())),
            |folder| podman(&folder),
        );
        let lasting = path("XDG_CONFIG_HOME").or_else(|| in_home(".config")).map(|folder| podman(&folder));
        let docker =
            path("DOCKER_CONFIG").or_else(|| in_home(".docker")).map(|folder| folder.join("config.json"));
        Ok(Self {
            inline,
            registry_auth_file: path("REGISTRY_AUTH_FILE"),
            podman: [session].into_iter().chain(lasting).collect(),
            docker,
            search_path: value("PATH"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Locations {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        Locations::from_env(lookup).unwrap()
    }

    #[test]
    fn places_follow_the_environment() {
        let found = from(&[("HOME", "/home/a"), ("XDG_RUNTIME_DIR", "/run/user/7"), ("PATH", "/usr/bin")]);
        assert_eq!(found.docker.as_deref(), Some(Path::new("/home/a/.docker/config.json")));
        assert_eq!(
            found.podman,
            [
                Path::new("/run/user/7/containers/auth.json"),
                Path::new("/home/a/.config/containers/auth.json")
            ]
        );
        assert_eq!((found.inline, found.registry_auth_file), (None, None));
        assert_eq!(found.search_path.as_deref(), Some("/usr/bin".as_ref()));

        let found = from(&[
            ("HOME", "/home/a"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("XDG_CONFIG_HOME", "/etc/a"),
            ("DOCKER_CONFIG", "/etc/docker"),
            ("DOCKER_AUTH_CONFIG", "{}"),
            ("REGISTRY_AUTH_FILE", "/etc/auth.json"),
        ]);
        assert_eq!(found.docker.as_deref(), Some(Path::new("/etc/docker/config.json")));
        assert_eq!(found.podman[1], Path::new("/etc/a/containers/auth.json"));
        assert_eq!(found.inline, Some(Secret::new("{}")));
        assert_eq!(found.registry_auth_file.as_deref(), Some(Path::new("/etc/auth.json")));
    }

    #[test]
    fn empty_variables_are_as_good_as_none() {
        let found = from(&[
            ("HOME", ""),
            ("XDG_RUNTIME_DIR", ""),
            ("XDG_CONFIG_HOME", ""),
            ("DOCKER_CONFIG", ""),
            ("DOCKER_AUTH_CONFIG", ""),
            ("REGISTRY_AUTH_FILE", ""),
            ("PATH", ""),
        ]);
        let own = format!("/run/containers/{}/auth.json", rustix::process::getuid().as_raw());
        assert_eq!(found.podman, [PathBuf::from(own)]);
        assert_eq!(
            (found.inline, found.registry_auth_file, found.docker, found.search_path),
            (None, None, None, None)
        );
    }

    #[test]
    fn s23_a_document_that_is_not_text_is_an_error() {
        use std::os::unix::ffi::OsStringExt as _;
        let error =
            Locations::from_env(|name| (name == INLINE).then(|| OsString::from_vec(vec![0xff]))).unwrap_err();
        assert_eq!(error.to_string(), "`DOCKER_AUTH_CONFIG`: it is not UTF-8");
    }
}
