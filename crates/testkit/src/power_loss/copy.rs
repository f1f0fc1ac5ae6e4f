//! A tree of the model written out as plain files, with its hard links, holes and permissions.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::model::{Body, Model, ROOT};

/// Writes the tree below `target`, which is made when absent.
pub(super) fn write_tree(model: &Model, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let mut written: HashMap<u64, PathBuf> = HashMap::new();
    let mut waiting = vec![(ROOT, target.to_owned())];
    while let Some((folder, path)) = waiting.pop() {
        for (name, child) in model.entries(folder)? {
            let path = path.join(name);
            if let Some(first) = written.get(child) {
                fs::hard_link(first, &path)?;
                continue;
            }
            let inode = model.inode(*child)?;
            match &inode.body {
                Body::File(content) => {
                    let file = File::create_new(&path)?;
                    file.set_len(content.size())?;
                    for (offset, page) in content.pages().filter(|(offset, _)| *offset < content.size()) {
                        let end =
                            usize::try_from(content.size() - offset).unwrap_or(usize::MAX).min(page.len());
                        file.write_all_at(&page[..end], offset)?;
                    }
                    file.set_modified(inode.modified)?;
                    file.set_permissions(Permissions::from_mode(inode.mode))?;
                    written.insert(*child, path);
                }
                Body::Folder(_) => {
                    fs::create_dir(&path)?;
                    fs::set_permissions(&path, Permissions::from_mode(inode.mode | 0o700))?;
                    waiting.push((*child, path));
                }
                Body::Symlink(to) => symlink(to, &path)?,
            }
        }
    }
    Ok(())
}
