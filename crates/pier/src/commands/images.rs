//! `pier images`

use pier_store::Image;

use crate::{
    cli::Images,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
};

/// Hexadecimal digits of a digest that are shown: enough to tell images apart.
const SHORT: usize = 12;

pub(crate) async fn run(options: &Images, config: &Config, output: &Output) -> Result<Status, Failure> {
    let images = super::open_store(config)?.images().await?;
    output.data(&images, |images| text(images, options.digests))?;
    Ok(Status::Done)
}

fn text(images: &[Image], whole_digests: bool) -> String {
    let mut rows = vec![["REPOSITORY", "TAG", "DIGEST", "SIZE"].map(str::to_owned).to_vec()];
    for image in images {
        let digest = if whole_digests {
            image.digest.to_string()
        } else {
            format!("{}:{}", image.digest.algorithm(), &image.digest.hex()[..SHORT])
        };
        let absent = if image.absent > 0 { format!(" ({} absent)", image.absent) } else { String::new() };
        rows.push(vec![
            image.repository.clone(),
            image.tag.clone().unwrap_or_else(|| "-".to_owned()),
            digest,
            format!("{}{absent}", output::bytes(image.size)),
        ]);
    }
    output::table(&rows)
}
