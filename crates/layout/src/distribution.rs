//! The storage folder of distribution, the registry that most of the world runs (`docker-registry`, `registry:2`,
//! `registry:3`): read as it is, and written so that it reads what was written.
//!
//! ```text
//! <folder>/docker/registry/v2/
//!   blobs/<alg>/<aa>/<hex>/data                     content; <aa> is how <hex> begins
//!   repositories/<name>/                            a folder for each part of the name
//!     _layers/<alg>/<hex>/link                      shows a blob
//!     _manifests/revisions/<alg>/<hex>/link         shows a manifest
//!     _manifests/tags/<tag>/current/link            what a tag names
//!     _manifests/tags/<tag>/index/<alg>/<hex>/link  what it has named
//! ```
//!
//! A link is a file that holds a digest, `sha256:<hex>`, and no newline. Nobody has hashed what is in such a folder, and
//! anybody may have written it: a link that says another digest than its path is refused, and no byte is given before
//! the whole content was hashed ([`verified`]). That is done once for as long as a file stays as it was, so that a
//! registry over such a folder starts at once and then costs what any other does.

mod reading;
mod target;
mod tree;
mod verified;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use pier_content::{Catalog, Claim, Completeness, PutManifest, Result, TagRules};
use pier_oci::{Digest, RepositoryName, Tag};

use self::{tree::Tree, verified::Verified};
use crate::{
    part::{Durability, SCRATCH},
    sys::{At as _, Folder, blocking, invalid},
};

/// The storage folder of distribution: what its configuration calls `rootdirectory`. Cheap to clone.
///
/// As a [`Source`](pier_content::Source) and a [`Target`](pier_content::Target) it has repositories and no registry: of
/// a [`Repository`](pier_oci::Repository) only the name counts. As a [`BlobStore`](pier_content::BlobStore) and a
/// [`Catalog`] it can be served, and is only read: what would change it is
/// [`Unsupported`](pier_content::Error::Unsupported).
///
/// Sizes are told from the files; bytes are hashed before the first of them is given. Repositories and tags come in
/// byte order, whatever order the disk has them in. Folders whose name is no repository's or tag's are not looked at.
#[derive(Clone, Debug)]
pub struct DistributionFolder {
    tree: Tree,
    verified: Arc<Verified>,
    durability: Durability,
}

impl DistributionFolder {
    /// Opens a folder that is there.
    ///
    /// # Errors
    /// [`Invalid`](pier_content::Error::Invalid) when it has no `docker/registry/v2`.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        blocking(move || {
            let tree = Tree::new(Folder::open(&path)?);
            if tree.is_there()? {
                return Ok(Self::over(tree));
            }
            Err(invalid(&path, format!("is no storage folder of a registry: it has no `{}`", tree::root())))
        })
        .await
    }

    /// Opens a folder, or makes one of a folder that is empty or not there yet.
    ///
    /// # Errors
    /// [`Invalid`](pier_content::Error::Invalid) when the folder holds something else: it is not mixed with that.
    pub async fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        blocking(move || {
            fs::create_dir_all(&path).at("make folder", &path)?;
            let folder = Folder::open(&path)?;
            let ours = [tree::ROOT[0], SCRATCH];
            if let Some(name) = folder.entries()?.iter().find(|name| !ours.contains(&name.as_str())) {
                let what = name.escape_debug();
                let reason =
                    format!("is no storage folder of a registry and holds other things, such as `{what}`");
                return Err(invalid(&path, reason));
            }
            let tree = Tree::new(folder);
            tree.make(Durability::Durable)?;
            Ok(Self::over(tree))
        })
        .await
    }

    fn over(tree: Tree) -> Self {
        Self { tree, verified: Arc::default(), durability: Durability::Durable }
    }

    /// The folder.
    pub fn path(&self) -> PathBuf {
        self.tree.path().to_owned()
    }

    /// Puts all names into a catalog: manifests with their tags, and what each repository shows of blobs. The catalog's
    /// store has to have the blobs, or to look for them here.
    ///
    /// Manifests are hashed and blobs are not, so this takes milliseconds for what tests use.
    ///
    /// # Errors
    /// What is wrong in the folder: a link that says something else than its path, a manifest that is none.
    pub async fn names_into(&self, catalog: &dyn Catalog) -> Result<()> {
        for repository in self.all_repositories().await? {
            let names = self.names_of(&repository).await?;
            for digest in names.layers {
                catalog.link(&repository, &digest, Claim::Proven).await?;
            }
            let untagged = names.revisions.into_iter().map(|digest| (digest, Vec::new()));
            let mut manifests: Vec<(Digest, Vec<Tag>)> = untagged.collect();
            for (tag, named) in names.tags {
                // A tag whose manifest was deleted names nothing.
                if let Some((_, tags)) = manifests.iter_mut().find(|(digest, _)| *digest == named) {
                    tags.push(tag);
                }
            }
            for (digest, tags) in manifests {
                let manifest = Arc::new(self.revision(&repository, digest).await?);
                let completeness = Completeness::Sparse;
                let (repository, rules) = (repository.clone(), TagRules::default());
                let put = PutManifest { repository, manifest, tags, completeness, rules };
                catalog.put_manifest(put).await?;
            }
        }
        Ok(())
    }

    async fn all_repositories(&self) -> Result<BTreeSet<RepositoryName>> {
        self.ask(Tree::repositories).await
    }

    async fn names_of(&self, name: &RepositoryName) -> Result<tree::Names> {
        let name = name.clone();
        self.ask(move |tree| tree.names(&name)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Tree) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let tree = self.tree.clone();
        blocking(move || question(&tree)).await
    }
}
