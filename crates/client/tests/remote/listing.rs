//! Tags, repositories, referrers.

use pier_content::Source as _;
use pier_oci::Tag;
use pier_testkit::image::{ImageBuilder, Layer};

use crate::support::{image, registry, remote, repository};

#[tokio::test]
async fn all_pages_of_a_list_are_read() {
    let registry = registry().await;
    let image = ImageBuilder::new().build();
    let expected: Vec<Tag> = (0..2345).map(|number| format!("t{number:04}").parse().unwrap()).collect();
    for tag in &expected {
        registry.push(&image, &format!("team/app:{tag}")).await.unwrap();
    }
    let remote = remote(&registry);
    assert_eq!(remote.tags(&repository(&registry, "team/app")).await.unwrap(), expected);
    assert_eq!(remote.repositories().await.unwrap(), ["team/app".parse().unwrap()]);
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let registry = registry().await;
    let subject = image(1);
    registry.push(&subject, "team/app:v1").await.unwrap();
    let signature = |kind: &str, seed| {
        ImageBuilder::new().layer(Layer::random(seed, 10)).subject(&subject.root).artifact_type(kind).build()
    };
    let (one, other) = (signature("application/vnd.one", 1), signature("application/vnd.other", 2));
    registry.push(&one, "team/app:one").await.unwrap();
    registry.push(&other, "team/app:other").await.unwrap();
    let (remote, repository) = (remote(&registry), repository(&registry, "team/app"));
    let mut all: Vec<_> = remote
        .referrers(&repository, &subject.root.digest)
        .await
        .unwrap()
        .iter()
        .map(|found| found.digest)
        .collect();
    all.sort();
    let mut expected = vec![one.root.digest, other.root.digest];
    expected.sort();
    assert_eq!(all, expected);
    let some =
        remote.list_referrers(&repository, &subject.root.digest, Some("application/vnd.one")).await.unwrap();
    assert_eq!(some.iter().map(|found| found.digest).collect::<Vec<_>>(), [one.root.digest]);
    assert!(remote.referrers(&repository, &one.root.digest).await.unwrap().is_empty());
}
