//! Where an image runs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{descriptor::null_is_empty, excerpt::excerpt};

/// An operating system and a processor, in the words of Go's `GOOS` and `GOARCH`.
///
/// One that was parsed or made by [`Platform::new`] has its normal names. One that was deserialised, from an index or
/// a config, stays as its author wrote it, so that it can be shown and written again unchanged: compare it through
/// [`matches`](Self::matches) or [`normalized`](Self::normalized), since `arm64/v8` there is `arm64` here.
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
    #[serde(
        default,
        rename = "os.features",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub os_features: Vec<String>,
}

/// The text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a platform")]
pub struct PlatformError {
    /// The text, shortened.
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

    /// Whether an image that says it is for `image` is for exactly this machine: both have the same normal names, and
    /// the image asks for no feature of the system that the machine does not have. What else runs here is
    /// [`compatible`](Self::compatible). Builds of Windows are not compared: which of them run is a matter of order.
    pub fn matches(&self, image: &Self) -> bool {
        let (machine, image) = (self.normalized(), image.normalized());
        machine.os == image.os
            && machine.architecture == image.architecture
            && machine.variant == image.variant
            && image.os_features.iter().all(|feature| {
                machine.os_features.contains(feature) || (image.os == "windows" && feature == "win32k")
            })
    }

    /// The platform of this program, from what `std::env::consts` calls it: `OS` and `ARCH`.
    ///
    /// Rust says `arm` for all 32-bit processors of that family; it is taken for `arm/v6`, because an image for an
    /// older processor runs on a newer one and not the other way round.
    pub fn from_rust(os: &str, architecture: &str) -> Self {
        let endian = if cfg!(target_endian = "little") { Endian::Little } else { Endian::Big };
        Self::named_by_rust(os, architecture, endian)
    }

    /// Rust has one name for both byte orders of a processor, where Go has two.
    fn named_by_rust(os: &str, architecture: &str, endian: Endian) -> Self {
        let (architecture, variant) = match (architecture, endian) {
            ("x86", _) => ("386", None),
            ("arm", _) => ("arm", Some("v6")),
            ("arm64ec", _) => ("arm64", None),
            ("powerpc", _) => ("ppc", None),
            ("powerpc64", Endian::Little) => ("ppc64le", None),
            ("powerpc64", Endian::Big) => ("ppc64", None),
            ("mips", Endian::Little) => ("mipsle", None),
            ("mips64", Endian::Little) => ("mips64le", None),
            ("loongarch64", _) => ("loong64", None),
            (other, _) => (other, None),
        };
        Self::new(os, architecture, variant)
    }

    /// What also runs here, best first, beginning with the platform itself, as containerd has it: an older variant of
    /// the same processor, and 32-bit programs on a 64-bit one. All by their normal names.
    ///
    /// A variant that nobody knows is run by itself only, and on `amd64` also 32-bit programs.
    pub fn compatible(&self) -> Vec<Self> {
        let this = self.normalized();
        let variant = this.variant.as_deref();
        let older = match &*this.architecture {
            "amd64" => older_amd64(variant),
            "arm" => older_arm(variant),
            "arm64" => older_arm64(variant),
            _ => Vec::new(),
        };
        let older = older.into_iter().map(|(architecture, variant)| Self {
            architecture: architecture.to_owned(),
            variant,
            ..this.clone()
        });
        std::iter::once(this.clone()).chain(older).collect()
    }
}

/// The byte order of a processor.
#[derive(Clone, Copy)]
enum Endian {
    Little,
    Big,
}

/// An architecture and a variant by their normal names.
type Machine = (&'static str, Option<String>);

/// What an x86-64 processor also runs. Version 1 is written without a variant.
fn older_amd64(variant: Option<&str>) -> Vec<Machine> {
    let mut older = Vec::new();
    if let Some((version @ 2.., 0)) = variant.and_then(version) {
        older.extend((2..version).rev().map(|version| ("amd64", Some(format!("v{version}")))));
        older.push(("amd64", None));
    }
    older.push(("386", None));
    older
}

/// What a 32-bit ARM processor also runs, down to version 5.
fn older_arm(variant: Option<&str>) -> Vec<Machine> {
    let Some((version, 0)) = variant.and_then(version) else { return Vec::new() };
    (5..version).rev().map(|version| ("arm", Some(format!("v{version}")))).collect()
}

/// What a 64-bit ARM processor also runs: `v9.N` includes `v8.(N+5)`, and all run 32-bit programs of version 8.
/// Version 8.0 is written without a variant.
fn older_arm64(variant: Option<&str>) -> Vec<Machine> {
    let Some((major @ (8 | 9), minor)) = variant.map_or(Some((8, 0)), version) else { return Vec::new() };
    let below = |major: u8, end: u8| {
        (0..end).rev().map(move |minor| match (major, minor) {
            (8, 0) => ("arm64", None),
            (major, 0) => ("arm64", Some(format!("v{major}"))),
            (major, minor) => ("arm64", Some(format!("v{major}.{minor}"))),
        })
    };
    let mut older: Vec<Machine> = below(major, minor).collect();
    if major == 9 {
        older.extend(below(8, (minor + 6).min(10)));
    }
    older.push(("arm", Some("v8".to_owned())));
    older.extend(older_arm(Some("v8")));
    older
}

/// The numbers of a variant such as `v3` or `v8.2`; there are no longer ones.
fn version(variant: &str) -> Option<(u8, u8)> {
    match variant.as_bytes() {
        [b'v', major @ b'1'..=b'9'] => Some((major - b'0', 0)),
        [b'v', major @ b'1'..=b'9', b'.', minor @ b'0'..=b'9'] => Some((major - b'0', minor - b'0')),
        _ => None,
    }
}

fn normal(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.filter(|variant| !variant.is_empty()).map(str::to_ascii_lowercase);
    let (architecture, variant) = match (&*architecture, variant.as_deref()) {
        ("i386" | "i486" | "i586" | "i686", _) => ("386", None),
        ("x86_64" | "x86-64" | "amd64", Some("v1")) | ("x86_64" | "x86-64", None) => ("amd64", None),
        ("x86_64" | "x86-64", other) => ("amd64", other),
        ("aarch64" | "arm64", Some("8" | "v8" | "v8.0") | None) => ("arm64", None),
        ("aarch64" | "arm64", Some("9" | "9.0" | "v9.0")) => ("arm64", Some("v9")),
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
            _ => Err(PlatformError { found: excerpt(text) }),
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

#[cfg(test)]
mod tests;
