//! `pier testdata catalog`: what is in the folder.
//!
//! The text is, character for character, what `test-registry-util catalog` of Cog prints, so that it can be compared
//! with what is kept of that; unlike there the order is always the same: repositories and tags in byte order, platforms
//! as the index lists them.

use std::{fmt::Write as _, path::Path};

use pier_content::Catalog;
use pier_layout::DistributionFolder;
use pier_oci::{Digest, MediaType, Platform, Selector, View};
use serde::Serialize;

use crate::{
    failure::{Failure, Status},
    output::Output,
};

/// Names on one page.
const PAGE: usize = 1000;

/// What a tag names.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    repository: String,
    tag: String,
    media_type: MediaType,
    digest: Digest,
    /// What an index lists; `null` of an image that stands alone.
    images: Option<Vec<Image>>,
}

/// An entry of an index.
#[derive(Debug, Serialize)]
struct Image {
    /// `os/arch[/variant][:os.version]`, when the index says it.
    platform: Option<String>,
    digest: Digest,
}

pub(super) async fn run(folder: &Path, output: &Output) -> Result<Status, Failure> {
    let listed = list(&DistributionFolder::open(folder).await?).await?;
    print(&listed, output)?;
    Ok(Status::Done)
}

pub(super) fn print(listed: &Vec<Listed>, output: &Output) -> Result<(), Failure> {
    output.data(listed, |listed| listed.iter().map(text).collect())
}

/// Everything that has a tag.
pub(super) async fn list(catalog: &dyn Catalog) -> Result<Vec<Listed>, Failure> {
    let mut listed = Vec::new();
    let mut last: Option<String> = None;
    loop {
        let repositories = catalog.repositories(last.as_deref(), PAGE).await?;
        for repository in &repositories.items {
            let mut last: Option<String> = None;
            loop {
                let tags = catalog.tags(repository, last.as_deref(), PAGE).await?;
                for tag in &tags.items {
                    let manifest = catalog.resolve(repository, &Selector::Tag(tag.clone())).await?;
                    let images = match manifest.view() {
                        View::Index(index) => Some(index.manifests.iter().map(Image::of).collect()),
                        View::Image(_) => None,
                    };
                    listed.push(Listed {
                        repository: repository.to_string(),
                        tag: tag.to_string(),
                        media_type: manifest.media_type().clone(),
                        digest: manifest.digest(),
                        images,
                    });
                }
                last = tags.items.last().map(ToString::to_string);
                if !tags.more {
                    break;
                }
            }
        }
        last = repositories.items.last().map(ToString::to_string);
        if !repositories.more {
            return Ok(listed);
        }
    }
}

impl Image {
    fn of(entry: &pier_oci::Descriptor) -> Self {
        Self { platform: entry.platform.as_ref().map(platform), digest: entry.digest }
    }
}

/// As go-containerregistry writes it, which the source of the format prints with.
fn platform(platform: &Platform) -> String {
    match &platform.os_version {
        Some(version) if !version.is_empty() => format!("{platform}:{version}"),
        _ => platform.to_string(),
    }
}

fn text(listed: &Listed) -> String {
    let Listed { repository, tag, media_type, digest, images } = listed;
    let mut text = format!("{repository}:{tag} {media_type}\n");
    // Writing to a string cannot fail.
    let _ = match images {
        None => writeln!(text, "  single platform image -> {digest}"),
        Some(images) => {
            let _ = writeln!(text, "  index -> {digest}");
            images.iter().try_for_each(|image| {
                let platform = image.platform.as_deref().unwrap_or("no platform");
                writeln!(text, "  {platform} -> {}", image.digest)
            })
        }
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(images: Option<&[(Option<&str>, u8)]>, expected: &str) {
        let digest = |of: u8| Digest::sha256(&[of]);
        let image = |(platform, of): &(Option<&str>, u8)| Image {
            platform: platform.map(str::to_owned),
            digest: digest(*of),
        };
        let listed = Listed {
            repository: "team/app".to_owned(),
            tag: "v1".to_owned(),
            media_type: MediaType::OCI_INDEX,
            digest: digest(0),
            images: images.map(|images| images.iter().map(image).collect()),
        };
        let mut expected = expected.to_owned();
        for of in 0..4 {
            expected = expected.replace(&format!("D{of}"), &digest(of).to_string());
        }
        assert_eq!(text(&listed), expected);
    }

    #[test]
    fn the_text_is_what_the_source_of_the_format_prints() {
        let head = "team/app:v1 application/vnd.oci.image.index.v1+json\n";
        check(
            Some(&[(Some("linux/amd64"), 1), (Some("linux/arm64/v8"), 2), (Some("unknown/unknown"), 3)]),
            &format!(
                "{head}  index -> D0\n  linux/amd64 -> D1\n  linux/arm64/v8 -> D2\n  unknown/unknown -> D3\n"
            ),
        );
        check(Some(&[(None, 1)]), &format!("{head}  index -> D0\n  no platform -> D1\n"));
        check(Some(&[]), &format!("{head}  index -> D0\n"));
        check(None, &format!("{head}  single platform image -> D0\n"));
    }

    #[test]
    fn a_platform_has_its_version_behind_it() {
        let mut windows = Platform::new("windows", "amd64", None);
        assert_eq!(platform(&windows), "windows/amd64");
        windows.os_version = Some("10.0.20348.2700".to_owned());
        assert_eq!(platform(&windows), "windows/amd64:10.0.20348.2700");
    }
}
