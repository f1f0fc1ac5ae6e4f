//! Where an image runs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An operating system and a processor, in the words of Go's `GOOS` and `GOARCH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, `windows`, …
    pub os: String,
    /// `amd64`, `arm64`, `arm`, …
    pub architecture: String,
    /// `v7` of `arm`, `v3` of `amd64`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// A build of Windows.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of Windows.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}

/// The text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a platform")]
pub struct PlatformError {
    /// The text.
    pub found: String,
}

impl PlatformError {
    /// Advice for a person.
    pub fn hint(&self) -> &'static str {
        "a platform is written os/architecture or os/architecture/variant, as in `linux/amd64` or `linux/arm/v7`"
    }
}

impl Platform {
    /// A platform by its names, normalised: `x86_64` is `amd64`, `aarch64` is `arm64`, `arm64` without a variant is
    /// what others call `arm64/v8`.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = normal(architecture, variant);
        let os = match &*os.to_ascii_lowercase() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        Self { os, architecture, variant, os_version: None, os_features: Vec::new() }
    }

    /// The same platform by its normal names.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let named = Self::new(&self.os, &self.architecture, self.variant.as_deref());
        Self { os_version: self.os_version.clone(), os_features: self.os_features.clone(), ..named }
    }

    /// What `std::env::consts` calls the platform that a program was built for.
    pub fn from_rust(os: &str, architecture: &str) -> Self {
        match architecture {
            "x86" => Self::new(os, "386", None),
            "powerpc64" => Self::new(os, "ppc64le", None),
            other => Self::new(os, other, None),
        }
    }

    /// What also runs here, best first, beginning with the platform itself, as containerd has it: an older variant of
    /// the same processor, and 32-bit programs on a 64-bit one.
    pub fn compatible(&self) -> Vec<Self> {
        let this = self.normalized();
        let with = |architecture: &str, variant: Option<&str>| Self {
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            ..this.clone()
        };
        let older = |newest: u8, oldest: u8| (oldest..newest).rev().map(|number| format!("v{number}"));
        let number =
            this.variant.as_deref().and_then(|variant| variant.strip_prefix('v')?.parse::<u8>().ok());
        let mut all = vec![this.clone()];
        match (&*this.architecture, number) {
            ("amd64", variant) => {
                // `v1` is written without a variant.
                all.extend(older(variant.unwrap_or(1), 2).map(|variant| with("amd64", Some(&variant))));
                if variant.is_some() {
                    all.push(with("amd64", None));
                }
                all.push(with("386", None));
            }
            ("arm64", variant) => {
                all.extend(older(variant.unwrap_or(8), 9).map(|variant| with("arm64", Some(&variant))));
                if variant.is_some() {
                    all.push(with("arm64", None));
                }
                all.extend(older(9, 5).map(|variant| with("arm", Some(&variant))));
            }
            ("arm", Some(variant)) => {
                all.extend(older(variant, 5).map(|variant| with("arm", Some(&variant))));
            }
            _ => {}
        }
        all
    }
}

fn normal(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.filter(|variant| !variant.is_empty()).map(str::to_ascii_lowercase);
    let (architecture, variant) = match (&*architecture, variant.as_deref()) {
        ("i386" | "i486" | "i586" | "i686", _) => ("386", None),
        ("x86_64" | "x86-64" | "amd64", Some("v1")) | ("x86_64" | "x86-64", None) => ("amd64", None),
        ("x86_64" | "x86-64", other) => ("amd64", other),
        ("aarch64" | "arm64", Some("8" | "v8") | None) => ("arm64", None),
        ("aarch64", other) => ("arm64", other),
        ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        (other, variant) => (other, variant),
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let well_formed = parts.iter().all(|part| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        });
        match parts[..] {
            [os, architecture] if well_formed => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] if well_formed => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(PlatformError { found: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        Ok(())
    }
}
