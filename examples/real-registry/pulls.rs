//! A test in Rust against a registry in the process.
//!
//! ```sh
//! cargo test -p pier-testkit --example pulls
//! ```
//!
//! What is tested is [`digest_of`], which stands for whatever asks a registry. With real images, from a folder that
//! `pier testdata init` made, the registry begins with `TestRegistry::builder().storage_dir("testdata")`.

use std::env;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// What a registry says that a tag names.
fn digest_of(registry: SocketAddr, repository: &str, tag: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(registry)?;
    let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    write!(
        stream,
        "HEAD /v2/{repository}/manifests/{tag} HTTP/1.1\r\nHost: {registry}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let fields = answer.lines().filter_map(|line| line.split_once(": "));
    let mut digests = fields.filter(|(name, _)| name.eq_ignore_ascii_case("docker-content-digest"));
    let (_, digest) = digests.next().ok_or(io::ErrorKind::NotFound)?;
    Ok(digest.to_owned())
}

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(registry), Some(repository), Some(tag)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(io::Error::other("usage: pulls ADDRESS REPOSITORY TAG"));
    };
    let registry = registry.parse().map_err(io::Error::other)?;
    writeln!(io::stdout(), "{}", digest_of(registry, &repository, &tag)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use pier_testkit::TestRegistry;
    use pier_testkit::blocking;
    use pier_testkit::image::{ImageBuilder, Layer};

    #[tokio::test]
    async fn a_tag_names_what_was_pushed() {
        let registry = TestRegistry::start().await.unwrap();
        let image = ImageBuilder::new().layer(Layer::random(1, 3000)).build();
        let digest = registry.push(&image, "team/app:v1").await.unwrap();
        assert_eq!(digest_of(registry.address(), "team/app", "v1").unwrap(), digest.to_string());
        let missing = digest_of(registry.address(), "team/app", "v2").unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn who_does_not_log_in_is_told_nothing() {
        let registry =
            blocking::TestRegistry::start_as(TestRegistry::builder().auth("me", "secret")).unwrap();
        let image = ImageBuilder::new().layer(Layer::random(1, 3000)).build();
        registry.push(&image, "team/app:v1").unwrap();
        assert!(registry.exists("team/app:v1").unwrap());
        let refused = digest_of(registry.address(), "team/app", "v1").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }
}
