//! `pier delete`

use http::{Method, StatusCode};
use pier_testkit::faults::{Canned, Kind, Script, When};
use serde_json::json;

use crate::pier::{text, write};
use crate::site::{Site, hashed, image, missing};

/// A registry that cannot delete a tag: the first DELETE, the one by tag, is refused as such registries do.
async fn by_digest_only(status: StatusCode) -> Site {
    let script = Script::new().answer(When::on(Method::DELETE, Kind::Manifest).times(1), Canned::new(status));
    Site::behind(script).await
}

#[tokio::test]
async fn a_tag_goes_alone() {
    let site = Site::start().await;
    let image = image("first", "amd64");
    site.registry.push(&image, "app:1").await.unwrap();
    site.tag(&image, "app", &["2"]).await;
    assert_eq!(site.pier(&["delete", "HOST/app:1"]).data(0), "untagged HOST/app:1\n");
    assert_eq!(site.pier(&["tags", "HOST/app"]).data(0), "2\n");
    site.pier(&["delete", "HOST/app:1"]).refused(1, &missing("app:1"));
}

#[tokio::test]
async fn other_tags_are_not_taken_along_unawares() {
    for status in [StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED] {
        let site = by_digest_only(status).await;
        let image = image("first", "amd64");
        let digest = hashed(&image);
        site.registry.push(&image, "app:1").await.unwrap();
        site.tag(&image, "app", &["2", "3"]).await;
        site.registry.push(&crate::site::image("other", "amd64"), "app:other").await.unwrap();
        site.pier(&["delete", "HOST/app:2"]).refused(
            1,
            &format!(
                "error: `HOST` cannot remove tag `2` alone: with its manifest `{digest}` `1`, `3` would go too\n\
                 hint: remove all of them with --with-tags\n"
            ),
        );
        assert_eq!(site.pier(&["tags", "HOST/app"]).data(0), "1\n2\n3\nother\n");
        let said = site.json_of(&["delete", "HOST/app:2", "--with-tags"]);
        assert_eq!(
            said,
            json!({
                "repository": "HOST/app", "digest": digest, "manifest": true, "tags": ["1", "2", "3"], "dry_run": false,
            })
        );
        assert_eq!(site.pier(&["tags", "HOST/app"]).data(0), "other\n");
    }
}

#[tokio::test]
async fn the_last_tag_goes_with_its_manifest_where_there_is_no_other_way() {
    let site = by_digest_only(StatusCode::METHOD_NOT_ALLOWED).await;
    let image = image("first", "amd64");
    site.registry.push(&image, "app:1").await.unwrap();
    let digest = hashed(&image);
    assert_eq!(
        site.pier(&["delete", "HOST/app:1"]).data(0),
        format!("untagged HOST/app:1\nremoved HOST/app@{digest}\n")
    );
    assert_eq!(site.pier(&["resolve", &format!("HOST/app@{digest}")]).status, 1);
}

#[tokio::test]
async fn a_manifest_goes_only_with_leave_for_its_tags() {
    let site = Site::start().await;
    let image = image("first", "amd64");
    let digest = hashed(&image);
    let name = format!("HOST/app@{digest}");
    site.registry.push(&image, "app:1").await.unwrap();
    site.tag(&image, "app", &["2"]).await;
    site.pier(&["delete", &name]).refused(
        1,
        &format!(
            "error: `HOST/app@{digest}` is tagged `1`, `2`, which would go too\n\
             hint: remove all of them with --with-tags\n"
        ),
    );
    let would = site.pier(&["delete", &name, "--with-tags", "--dry-run"]).data(0);
    assert_eq!(
        would,
        format!("would untag HOST/app:1\nwould untag HOST/app:2\nwould remove HOST/app@{digest}\n")
    );
    assert_eq!(site.pier(&["tags", "HOST/app"]).data(0), "1\n2\n");
    assert_eq!(site.pier(&["delete", &name, "--with-tags"]).status, 0);
    site.pier(&["delete", &name]).refused(1, &format!("error: manifest `HOST/app@{digest}` is not there\n"));
}

#[tokio::test]
async fn nothing_is_deleted_that_was_not_written_out() {
    let site = Site::start().await;
    let image = image("first", "amd64");
    site.registry.push(&image, "app:latest").await.unwrap();
    let hint = "hint: name one tag, `repository:tag`, or one manifest, `repository@digest`\n";
    site.pier(&["delete", "HOST/app"])
        .refused(2, &format!("error: `HOST/app` names neither a tag nor a digest\n{hint}"));
    let both = format!("HOST/app:latest@{}", hashed(&image));
    site.pier(&["delete", &both]).refused(2, &format!("error: `{both}` names a tag and a digest\n{hint}"));
}

/// A trial cannot find out whether a registry removes a tag alone, so it says what comes of either.
#[tokio::test]
async fn a_trial_says_what_becomes_of_the_other_tags() {
    let site = Site::start().await;
    let image = image("first", "amd64");
    let digest = hashed(&image);
    site.registry.push(&image, "app:latest").await.unwrap();
    assert_eq!(
        site.pier(&["delete", "HOST/app:latest", "--dry-run"]).data(0),
        format!(
            "would untag HOST/app:latest\nwith HOST/app@{digest}, if a tag cannot be removed alone there\n"
        )
    );
    site.tag(&image, "app", &["1", "2"]).await;
    assert_eq!(
        site.pier(&["delete", "HOST/app:latest", "--dry-run"]).data(0),
        "would untag HOST/app:latest\nor nothing, if a tag cannot be removed alone there, because of 1, 2\n"
    );
    let said = site.json_of(&["delete", "HOST/app:latest", "--dry-run"]);
    assert_eq!((&said["tags"], &said["at_stake"]), (&json!(["latest"]), &json!(["1", "2"])));
    assert_eq!(site.pier(&["tags", "HOST/app"]).data(0), "1\n2\nlatest\n");
}

/// What a mirror says of a tag may be old, and the wrong manifest would go.
#[tokio::test]
async fn mirrors_are_not_asked_what_is_to_be_deleted() {
    let site = by_digest_only(StatusCode::METHOD_NOT_ALLOWED).await;
    let mirror = Site::behind(Script::new()).await;
    let (old, new) = (image("old", "amd64"), image("new", "amd64"));
    site.registry.push(&old, "app:kept").await.unwrap();
    site.registry.push(&new, "app:1").await.unwrap();
    mirror.registry.push(&old, "app:1").await.unwrap();
    let (host, url) = (site.host(), mirror.proxy.as_ref().unwrap().url());
    let file = format!("[registries.'{host}']\nmirrors = [{{ url = '{url}', resolve = true }}]\n");
    let config = write(&site.store, "pier.toml", &file);
    let said = site.json_of(&["delete", "HOST/app:1", "--config", text(&config)]);
    assert_eq!((&said["digest"], &said["tags"]), (&json!(hashed(&new)), &json!(["1"])));
    assert_eq!(site.pier(&["tags", "HOST/app"]).data(0), "kept\n");
    assert_eq!(mirror.methods(), [] as [Method; 0]);
}

#[tokio::test]
async fn a_registry_that_deletes_nothing_is_told() {
    let script = Script::new()
        .answer(When::on(Method::DELETE, Kind::Manifest), Canned::new(StatusCode::METHOD_NOT_ALLOWED));
    let site = Site::behind(script).await;
    site.registry.push(&image("first", "amd64"), "app:1").await.unwrap();
    let said = site.pier(&["delete", "HOST/app:1"]);
    assert_eq!((said.status, said.stdout.as_str()), (2, ""));
    insta::assert_snapshot!(said.stderr, @"error: delete a manifest is not supported here");
}
