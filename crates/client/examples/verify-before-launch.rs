//! Prints the image to launch, if the registry has one with an approved digest.
//!
//! ```text
//! cargo run -p pier-client --example verify-before-launch -- ghcr.io/owner/app:latest sha256:…
//! ```

use std::{env, error::Error, num::NonZeroU32, process::ExitCode, time::Duration};

use pier_client::{
    Client,
    launcher::{LauncherConfig, validate_image_hash},
};
use pier_content::verify::Depth;
use pier_oci::{Platform, Reference};

const ATTEMPTS: NonZeroU32 = NonZeroU32::new(20).unwrap();

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [image, approved] = &*arguments else {
        return Err("usage: verify-before-launch IMAGE DIGEST".into());
    };
    match to_launch(image, approved).await? {
        Some(image) => {
            println!("{image}");
            Ok(ExitCode::SUCCESS)
        }
        None => {
            eprintln!("there is no image with the digest {approved}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The image by its manifest, if the registry has one with the approved digest. An error is no answer.
pub(crate) async fn to_launch(image: &str, approved: &str) -> Result<Option<Reference>, Box<dyn Error>> {
    let Reference { repository, tag, .. } = image.parse()?;
    let config = LauncherConfig {
        repository,
        tags: tag.into_iter().collect(),
        platform: Platform::from_rust("linux", env::consts::ARCH),
        depth: Depth::Layers,
    };
    let (timeout, interval) = (Duration::from_secs(10), Duration::from_secs(1));
    let client = Client::builder().build()?;
    let found = validate_image_hash(&client, approved.parse()?, &config, timeout, interval, ATTEMPTS).await?;
    Ok(found.map(|validated| validated.image))
}
