//! The archive of `docker save`, to read from.
//!
//! ```text
//! manifest.json          [{"Config": NAME, "RepoTags": ["repository:tag"], "Layers": [NAME, …]}]
//! <config>               the image's config; what it hashes to is the image's id
//! <layer>, …             most often plain tars; Docker before 25 made links of layers that come twice
//! ```
//!
//! There is no manifest in it, so one is made, always the same for the same archive. It is an OCI manifest and not one
//! of Docker's: Docker's format defines gzip layers only, while what lies in such an archive is mostly a plain
//! tar, which OCI has a media type for; and every engine and registry of the last years takes OCI manifests. Config and
//! layers stay as they are, byte for byte, so the image's id stays what it was.

mod documents;
pub(crate) mod writer;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use pier_content::{Error, Result, Subject};
use pier_oci::{Descriptor, Digest, Manifest, MediaType, Platform, Reference};

use self::documents::{Config, Image};
use crate::{
    ArchiveInput, Entry, Spool,
    archive::{
        document,
        members::{Links, Members, normalized},
    },
    extent::Extent,
    shelf::{Holding, Shelf, source_from_shelf},
    sys::{blocking, invalid},
};

/// The file that lists the images.
pub(crate) const MANIFEST_FILE: &str = "manifest.json";

/// Bytes that the list of images may have.
const MAX_LIST: u64 = 4 << 20;

/// Bytes that a config may have.
const MAX_CONFIG: u64 = 8 << 20;

/// Bytes that tell how a layer is packed.
const MAGIC: u64 = 4;

/// An archive of `docker save`, `podman save` or `skopeo copy … docker-archive:`. Cheap to clone.
///
/// As a [`Source`](pier_content::Source) it gives an OCI manifest for each image. Its names are the archive's
/// `RepoTags`: a reference names what has the same repository and tag, else the one image that has the tag.
#[derive(Clone, Debug)]
pub struct DockerArchive {
    shelf: Shelf,
    /// The manifest of each image's id.
    ids: BTreeMap<Digest, Digest>,
}

source_from_shelf!(DockerArchive);

impl DockerArchive {
    /// Reads an archive, which may be compressed with gzip. A stream is read to its end, and so are layers that are
    /// packed: nothing in the archive says what they hash to.
    ///
    /// # Errors
    /// [`Invalid`](Error::Invalid) when it is no tar, holds what an archive of images never holds (absolute names,
    /// `..`, devices, names that come twice, links out of it), or what it lists is not in it;
    /// [`Integrity`](Error::Integrity) when a config is not what its name says.
    pub async fn read(input: ArchiveInput, spool: Spool) -> Result<Self> {
        blocking(move || {
            let (file, path) = input.into_file(&spool)?;
            let members = Members::read(file, &path, Links::Followed)?;
            let mut images = Images { path, entries: Vec::new(), blobs: BTreeMap::new() };
            let mut ids = BTreeMap::new();
            let mut packed = BTreeMap::new();
            for image in list(&members)? {
                let (id, manifest) = images.add(&members, &image, &mut packed)?;
                ids.insert(id, manifest);
            }
            Ok(Self { shelf: Shelf::new(images), ids })
        })
        .await
    }

    /// The archive's images, in its order. Names are the `RepoTags` as they are written there.
    pub async fn entries(&self) -> Result<Vec<Entry>> {
        self.shelf.entries().await
    }

    /// What was typed behind the path, resolved to a digest: a reference, a tag that one image has, a manifest's
    /// digest, an image's id; without a name the one image that there is.
    ///
    /// # Errors
    /// [`NoSuchImage`](Error::NoSuchImage) and [`Ambiguous`](Error::Ambiguous), which list what there is.
    pub async fn reference(&self, name: Option<&str>) -> Result<Reference> {
        let id = name.and_then(|name| name.parse().ok()).and_then(|id: Digest| self.ids.get(&id));
        match id {
            Some(manifest) => self.shelf.reference(Some(&manifest.to_string())).await,
            None => self.shelf.reference(name).await,
        }
    }
}

/// The images of an archive, and where their content is.
#[derive(Debug)]
struct Images {
    path: PathBuf,
    entries: Vec<Entry>,
    blobs: BTreeMap<Digest, Extent>,
}

fn list(members: &Members) -> Result<Vec<Image>> {
    let path = members.path_of(MANIFEST_FILE);
    let Some(list) = members.file(MANIFEST_FILE)? else {
        let oci = members.file(crate::folder::INDEX_FILE)?.is_some();
        let hint = if oci { "; it can be read as `oci-archive:`" } else { "" };
        return Err(invalid(
            members.path(),
            format!("is no Docker archive: it has no `{MANIFEST_FILE}`{hint}"),
        ));
    };
    documents::parse(&document(&list, MAX_LIST, &path)?, &path)
}

impl Images {
    /// Takes an image in and gives its id and its manifest's digest. `packed` are layers that were hashed before.
    fn add(
        &mut self,
        members: &Members,
        image: &Image,
        packed: &mut BTreeMap<String, Digest>,
    ) -> Result<(Digest, Digest)> {
        let (config, described) = self.config(members, &image.config)?;
        let path = members.path_of(&image.config);
        let (diff_ids, count) = (&described.rootfs.diff_ids, image.layers.len());
        if diff_ids.len() != count {
            let reason = format!("names {} layers, `{MANIFEST_FILE}` names {count}", diff_ids.len());
            return Err(invalid(&path, reason));
        }
        let mut layers = Vec::new();
        for (name, diff_id) in image.layers.iter().zip(diff_ids) {
            layers.push(self.layer(members, name, diff_id, packed)?);
        }
        let bytes = Bytes::from(documents::manifest(&config, &layers));
        let manifest = Manifest::parse(bytes.clone(), Some(&MediaType::OCI_MANIFEST))
            .map_err(|error| invalid(members.path(), error.to_string()))?;
        self.blobs.insert(manifest.digest(), Extent::in_memory(bytes));
        self.name(&manifest, &described, &image.repo_tags);
        Ok((config.digest, manifest.digest()))
    }

    /// Lists an image; one that is there already only gets further names.
    fn name(&mut self, manifest: &Manifest, config: &Config, names: &[String]) {
        let known = self.entries.iter_mut().find(|entry| entry.descriptor.digest == manifest.digest());
        if let Some(entry) = known {
            let new: Vec<String> = names.iter().filter(|name| !entry.names.contains(name)).cloned().collect();
            entry.names.extend(new);
            return;
        }
        let variant = config.variant.as_deref().filter(|variant| !variant.is_empty());
        let platform = Some(Platform::new(&config.os, &config.architecture, variant))
            .filter(|platform| !platform.os.is_empty() && !platform.architecture.is_empty());
        let descriptor = Descriptor { platform, ..manifest.descriptor() };
        self.entries.push(Entry { names: names.to_vec(), descriptor });
    }

    fn config(&mut self, members: &Members, name: &str) -> Result<(Descriptor, Config)> {
        let path = members.path_of(name);
        let extent = member(members, name)?;
        let bytes = document(&extent, MAX_CONFIG, &path)?;
        let digest = Digest::sha256(&bytes);
        if let Some(expected) = claimed(name)
            && expected != digest
        {
            let origin = Some(format!("docker-archive:{}", members.path().display()));
            return Err(Error::Integrity { expected, actual: digest, origin });
        }
        let config = Config::parse(&bytes, &path)?;
        self.blobs.insert(digest, extent);
        Ok((Descriptor::new(MediaType::OCI_CONFIG, digest, bytes.len() as u64), config))
    }

    fn layer(
        &mut self,
        members: &Members,
        name: &str,
        diff_id: &Digest,
        packed: &mut BTreeMap<String, Digest>,
    ) -> Result<Descriptor> {
        let extent = member(members, name)?;
        let magic = extent.read(0..extent.size.min(MAGIC))?;
        let (media_type, digest) = match &magic[..] {
            [0x1f, 0x8b, ..] => (MediaType::OCI_LAYER_GZIP, None),
            [0x28, 0xb5, 0x2f, 0xfd] => (MediaType::OCI_LAYER_ZSTD, None),
            // A plain tar hashes to its diff id, by the config. Whoever reads it finds out whether that is so.
            _ => (MediaType::OCI_LAYER, Some(*diff_id)),
        };
        let digest = match (digest, packed.get(name)) {
            (Some(digest), _) | (None, Some(&digest)) => digest,
            (None, None) => {
                let digest = extent.digest(diff_id.algorithm())?;
                packed.insert(name.to_owned(), digest);
                digest
            }
        };
        let descriptor = Descriptor::new(media_type, digest, extent.size);
        if let Some(other) = self.blobs.get(&digest)
            && other.size != extent.size
        {
            let (subject, expected) = (Subject::File(members.path_of(name)), other.size);
            return Err(Error::Size { subject, expected, actual: extent.size, origin: None });
        }
        self.blobs.insert(digest, extent);
        Ok(descriptor)
    }
}

/// A member that the list of images names.
fn member(members: &Members, name: &str) -> Result<Extent> {
    let path = members.path_of(MANIFEST_FILE);
    let shown = || name.chars().take(80).collect::<String>().escape_debug().to_string();
    let place = normalized(name).map_err(|why| invalid(&path, format!("the name `{}` {why}", shown())))?;
    members.file(&place)?.ok_or_else(|| invalid(&path, format!("`{}` is not in the archive", shown())))
}

/// The digest that a config's name claims: `<hex>.json`, or `blobs/<alg>/<hex>` since Docker 25.
fn claimed(name: &str) -> Option<Digest> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let hex = last.strip_suffix(".json").unwrap_or(last);
    format!("sha256:{hex}").parse().ok()
}

impl Holding for Images {
    fn path(&self) -> &Path {
        &self.path
    }

    fn kind(&self) -> &'static str {
        "docker-archive"
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        Ok(self.entries.clone())
    }

    fn find(&self, digest: &Digest) -> Result<Option<Extent>> {
        Ok(self.blobs.get(digest).cloned())
    }
}
