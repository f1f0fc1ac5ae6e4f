//! `pier tags`, `pier catalog` and `pier referrers`

use pier_testkit::image::ImageBuilder;
use serde_json::json;

use crate::site::{Site, hashed, image, missing, pretty};

#[tokio::test]
async fn all_tags_are_listed_however_many_pages_they_fill() {
    let site = Site::start().await;
    let image = image("first", "amd64");
    let mut tags: Vec<String> = (0..2500).map(|tag| format!("t{tag}")).collect();
    site.registry.push(&image, "team/app:t0").await.unwrap();
    site.tag(&image, "team/app", &tags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    tags.sort();
    assert_eq!(site.pier(&["tags", "HOST/team/app"]).data(0), tags.join("\n") + "\n");
    let expected = json!({ "repository": "HOST/team/app", "tags": tags });
    assert_eq!(site.json_of(&["tags", "HOST/team/app"]), expected);
}

#[tokio::test]
async fn a_repository_has_no_tag() {
    let site = Site::start().await;
    site.pier(&["tags", "HOST/app:1"]).refused(
        2,
        "error: `HOST/app:1` is the name of an image and not of a repository\n\
         hint: leave out what is behind `app`\n",
    );
    site.pier(&["tags", "HOST/app"]).refused(1, "error: repository `HOST/app` is not there\n");
}

#[tokio::test]
async fn repositories_are_listed_with_their_registry() {
    let site = Site::start().await;
    assert_eq!(site.pier(&["catalog", "HOST"]).data(0), "");
    for name in ["team/app:1", "app:1", "team/other:1"] {
        site.registry.push(&image("first", "amd64"), name).await.unwrap();
    }
    assert_eq!(site.pier(&["catalog", "HOST"]).data(0), "HOST/app\nHOST/team/app\nHOST/team/other\n");
    let expected = json!({ "registry": "HOST", "repositories": ["app", "team/app", "team/other"] });
    assert_eq!(site.json_of(&["catalog", "HOST"]), expected);
    assert_eq!(site.pier(&["catalog", "HOST/app"]).status, 2);
}

#[tokio::test]
async fn referrers_are_listed_all_or_of_one_type() {
    let site = Site::start().await;
    let image = image("first", "amd64");
    site.registry.push(&image, "app:1").await.unwrap();
    let none = json!({ "repository": "HOST/app", "digest": hashed(&image), "referrers": [] });
    assert_eq!(site.json_of(&["referrers", "HOST/app:1"]), none);
    for (artifact_type, tag) in
        [("application/vnd.example.sbom", "sbom"), ("application/vnd.example.sig", "sig")]
    {
        let artifact = ImageBuilder::new().artifact_type(artifact_type).subject(&image.root);
        let artifact = artifact.annotation("org.example.by", tag).build();
        site.registry.push(&artifact, &format!("app:{tag}")).await.unwrap();
    }
    insta::assert_snapshot!("referrers_json", pretty(&site.json_of(&["referrers", "HOST/app:1"])));
    insta::assert_snapshot!("referrers", site.pier(&["referrers", "HOST/app:1"]).data(0));
    let by_digest = format!("HOST/app@{}", hashed(&image));
    let signatures =
        site.json_of(&["referrers", &by_digest, "--artifact-type", "application/vnd.example.sig"]);
    assert_eq!(signatures["referrers"].as_array().unwrap().len(), 1);
    assert_eq!(signatures["referrers"][0]["annotations"], json!({ "org.example.by": "sig" }));
    site.pier(&["referrers", "HOST/app:2"]).refused(1, &missing("app:2"));
}
