//! `pier resolve`

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use pier_testkit::faults::{Canned, Kind, Script, When};
use serde_json::json;

use crate::{
    pier::{command, run, text, write},
    site::{Site, digest_of_nothing, hashed, image, index, missing},
};

#[tokio::test]
async fn names_are_printed_with_their_digests_in_the_order_asked() {
    let site = Site::start().await;
    let (first, second) = (image("first", "amd64"), image("second", "amd64"));
    site.registry.push(&first, "app:1").await.unwrap();
    site.registry.push(&second, "team/app:latest").await.unwrap();
    let by_digest = format!("HOST/app@{}", hashed(&first));
    let said = site.pier(&["resolve", "HOST/team/app", "HOST/app:1", &by_digest, "HOST/team/app:latest"]);
    let (first, second) = (hashed(&first), hashed(&second));
    assert_eq!(
        said.data(0),
        format!("HOST/team/app@{second}\nHOST/app@{first}\nHOST/app@{first}\nHOST/team/app@{second}\n")
    );
    // Nothing was remembered, so no store was made.
    assert_eq!(std::fs::read_dir(site.store.data()).unwrap().count(), 0);
}

#[tokio::test]
async fn each_name_costs_one_head_however_often_it_is_given() {
    let site = Site::behind(Script::new()).await;
    site.registry.push(&image("first", "amd64"), "app:1").await.unwrap();
    let said = site.pier(&["resolve", "HOST/app:1", "HOST/app:1", "HOST/app:1"]);
    assert_eq!(said.data(0).lines().count(), 3);
    let heads = site.methods().into_iter().filter(|method| *method == Method::HEAD).count();
    assert_eq!(heads, 1);
}

#[tokio::test]
async fn a_missing_tag_is_told_at_once_and_does_not_hide_the_others() {
    let site = Site::behind(Script::new()).await;
    let image = image("first", "amd64");
    site.registry.push(&image, "app:1").await.unwrap();
    let begin = Instant::now();
    let said = site.pier(&["resolve", "HOST/app:2", "HOST/app:1", "HOST/app:2"]);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!((said.status, said.stdout), (1, format!("HOST/app@{}\n", hashed(&image))));
    assert_eq!(said.stderr, missing("app:2"));

    let said = site.pier(&["resolve", "HOST/app:2", "HOST/app:1", "--json"]);
    assert_eq!(said.status, 1);
    let entries: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        entries[0],
        json!({ "reference": "HOST/app:2", "error": "manifest `HOST/app:2` is not there", "hint": "`pier tags HOST/app` lists what is there", "status": 1 })
    );
    assert_eq!(entries[1]["digest"], hashed(&image).to_string());
    let error: serde_json::Value = serde_json::from_str(&said.stderr).unwrap();
    assert_eq!(error["status"], 1);
}

#[tokio::test]
async fn the_exit_status_is_that_of_the_worst() {
    let refused = Canned::new(StatusCode::FORBIDDEN);
    let site = Site::behind(Script::new().answer(When::kind(Kind::Manifest).times(1), refused)).await;
    site.registry.push(&image("first", "amd64"), "app:1").await.unwrap();
    let said = site.pier(&["resolve", "HOST/app:1"]);
    assert_eq!((said.status, said.stdout.as_str()), (5, ""));

    let site = Site::start().await;
    let said = site.pier(&["resolve", "HOST/app:1", "127.0.0.1:1/app:1", "--json"]);
    // What cannot be reached may be there; what is not there is not.
    assert_eq!(said.status, 3);
    assert_eq!(said.stderr.lines().count(), 2);
}

#[tokio::test]
async fn a_list_is_read_from_a_file_or_from_standard_input() {
    let site = Site::start().await;
    let image = image("first", "amd64");
    site.registry.push(&image, "app:1").await.unwrap();
    let line = format!("HOST/app@{}\n", hashed(&image));
    let host = site.host();
    let list = write(&site.store, "list", &format!("# images\n{host}/app:1\n\n  {host}/app:1  \n"));
    assert_eq!(site.pier(&["resolve", "--file", text(&list)]).data(0), line.repeat(2));
    assert_eq!(site.pier(&["resolve", "HOST/app:1", "--file", text(&list)]).data(0), line.repeat(3));
    for arguments in [&["resolve", "-"][..], &["resolve", "--file", "-"]] {
        let input = std::fs::File::open(&list).unwrap();
        let said = run(command(arguments).env("PIER_DATA", site.store.data()).stdin(input));
        assert_eq!(said.data(0), line.replace("HOST", &host).repeat(2));
    }
    let wrong = write(&site.store, "wrong", "app:1\nFoo/bar\n");
    let said = site.pier(&["resolve", "--file", text(&wrong)]);
    assert_eq!((said.status, said.stdout.as_str()), (2, ""));
    assert!(said.stderr.contains("`Foo/bar` is not an image reference"), "{}", said.stderr);
    assert_eq!(site.pier(&["resolve", "--file", "/nonexistent"]).status, 2);
    assert_eq!(site.pier(&["resolve"]).status, 2);
}

#[tokio::test]
async fn answers_from_the_cache_are_marked_expire_and_are_refreshed() {
    let site = Site::behind(Script::new()).await;
    let (old, new) = (image("old", "amd64"), image("new", "amd64"));
    let line = |image| format!("HOST/app@{}\n", hashed(image));
    site.registry.push(&old, "app:1").await.unwrap();
    let resolve = |options: &[&str]| site.pier(&[&["resolve", "HOST/app:1"], options].concat());
    assert_eq!(resolve(&["--max-age", "1h"]).data(0), line(&old));

    site.registry.push(&new, "app:1").await.unwrap();
    let asked = site.methods().len();
    let said = resolve(&["--max-age", "1h"]);
    assert_eq!((said.status, said.stdout), (0, line(&old)));
    assert!(said.stderr.starts_with("note: 1 of 1 from the cache, the oldest "), "{}", said.stderr);
    let said = resolve(&["--max-age", "1h", "--json"]);
    let entries: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(entries[0]["from"], "cache");
    assert!(entries[0]["age_seconds"].as_u64().unwrap() < 3600);
    // Nobody was asked for either.
    assert_eq!(site.methods().len(), asked);

    // Without a word about age the registry is asked, and that is not remembered.
    assert_eq!(resolve(&[]).data(0), line(&new));
    assert_eq!(resolve(&["--max-age", "1h"]).stdout, line(&old));
    // Too old.
    assert_eq!(resolve(&["--max-age", "0s"]).data(0), line(&new));
    assert_eq!(resolve(&["--max-age", "1h"]).stdout, line(&new));
    // Young enough, and asked for all the same.
    site.registry.push(&old, "app:1").await.unwrap();
    let entries = site.json_of(&["resolve", "HOST/app:1", "--max-age", "1h", "--refresh"]);
    assert_eq!((&entries[0]["from"], &entries[0]["age_seconds"]), (&json!("registry"), &json!(0)));
    assert_eq!(resolve(&["--max-age", "1h"]).stdout, line(&old));
}

#[tokio::test]
async fn s7_what_one_registry_said_is_no_answer_for_another() {
    let (one, other) = (Site::start().await, Site::start().await);
    one.registry.push(&image("one", "amd64"), "app:1").await.unwrap();
    one.pier(&["resolve", "HOST/app:1", "--max-age", "1h"]).data(0);
    let name = format!("{}/app:1", other.host());
    let said = one.pier(&["resolve", &name, "--max-age", "1h"]);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""));
}

#[tokio::test]
async fn an_index_is_resolved_to_the_image_for_a_platform() {
    let site = Site::start().await;
    let index = index();
    site.registry.push(&index, "app:1").await.unwrap();
    let riscv = image("second", "riscv64");
    assert_eq!(site.pier(&["resolve", "HOST/app:1"]).data(0), format!("HOST/app@{}\n", hashed(&index)));
    for _ in 0..2 {
        let said = site.pier(&["resolve", "HOST/app:1", "--platform", "linux/riscv64", "--max-age", "1h"]);
        assert_eq!((said.status, said.stdout), (0, format!("HOST/app@{}\n", hashed(&riscv))));
    }
    let said = site.pier(&["resolve", "HOST/app:1", "--platform", "linux/arm64"]);
    insta::assert_snapshot!(said.stderr, @r"
    error: HOST/app:1: no image for platform `linux/arm64`, there is `linux/s390x`, `linux/riscv64`
    hint: choose one of these platforms with `--platform`
    ");
    assert_eq!((said.status, said.stdout.as_str()), (1, ""));
}

#[tokio::test]
async fn s4_a_registry_that_answers_for_a_digest_with_another_is_an_integrity_error() {
    let other = pier_oci::Digest::sha256(b"other");
    let lie = pier_testkit::faults::Fault::LyingDigest(other);
    let site = Site::behind(Script::new().rule(When::kind(Kind::Manifest), lie)).await;
    let image = image("first", "amd64");
    site.registry.push(&image, "app:1").await.unwrap();
    let said = site.pier(&["resolve", &format!("HOST/app@{}", hashed(&image))]);
    assert_eq!((said.status, said.stdout.as_str()), (4, ""));
    let said = site.pier(&["resolve", &format!("HOST/app@{}", digest_of_nothing())]);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""));
}

#[tokio::test]
async fn a_thousand_names_share_a_few_connections() {
    let site = Site::behind(Script::new()).await;
    let image = image("first", "amd64");
    let tags: Vec<String> = (0..1000).map(|tag| format!("t{tag}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    site.registry.push(&image, "app:t0").await.unwrap();
    site.tag(&image, "app", &tags).await;
    let names: Vec<String> = tags.iter().map(|tag| format!("{}/app:{tag}\n", site.host())).collect();
    let list = write(&site.store, "list", &names.concat());
    let line = format!("HOST/app@{}\n", hashed(&image));
    let resolve = ["resolve", "--file", text(&list), "--max-age", "1h"];
    assert_eq!(site.pier(&resolve).data(0), line.repeat(1000));
    let asked = site.methods();
    assert_eq!(asked.iter().filter(|method| **method == Method::HEAD).count(), 1000);
    let connections = site.proxy.as_ref().unwrap().connections();
    assert!(connections <= 20, "{connections} connections");
    // From the cache no connection is made at all.
    assert_eq!(site.pier(&resolve).stdout, line.repeat(1000));
    assert_eq!(site.proxy.as_ref().unwrap().connections(), connections);
}
