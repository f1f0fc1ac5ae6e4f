//! End-8 and the catalog.

use serde_json::json;

use crate::support::{get, push_image, put, registry, registry_with, settings};

#[tokio::test]
async fn tags_come_sorted_and_in_pages() {
    let registry = registry();
    let bytes = push_image(&registry, "a/b", "b", b"layer").await;
    for tag in ["c", "A", "a"] {
        put(&registry, "a/b", tag, &bytes).await.is(201);
    }
    let all = get(&registry, "/v2/a/b/tags/list").await.is(200);
    assert_eq!(all.json(), json!({ "name": "a/b", "tags": ["A", "a", "b", "c"] }));
    assert_eq!(all.header("link"), "");

    let first = get(&registry, "/v2/a/b/tags/list?n=2").await.is(200);
    assert_eq!(first.json()["tags"], json!(["A", "a"]));
    assert_eq!(first.header("link"), r#"</v2/a/b/tags/list?n=2&last=a>; rel="next""#);
    let second = get(&registry, "/v2/a/b/tags/list?n=2&last=a").await.is(200);
    assert_eq!(second.json()["tags"], json!(["b", "c"]));
    assert_eq!(second.header("link"), "");

    let unknown = get(&registry, "/v2/a/b/tags/list?last=Z").await.is(200);
    assert_eq!(unknown.json()["tags"], json!(["a", "b", "c"]));
    let none = get(&registry, "/v2/a/b/tags/list?n=0").await.is(200);
    assert_eq!((none.json()["tags"].clone(), none.header("link")), (json!([]), ""));
    get(&registry, "/v2/a/b/tags/list?n=-1").await.refused(400, "UNSUPPORTED");
    get(&registry, "/v2/nowhere/tags/list").await.refused(404, "NAME_UNKNOWN");
}

#[tokio::test]
async fn repositories_come_sorted_and_in_pages_of_limited_size() {
    let mut settings = settings();
    settings.pages.max = 2;
    let registry = registry_with(settings);
    assert_eq!(get(&registry, "/v2/_catalog").await.is(200).json(), json!({ "repositories": [] }));
    for repository in ["c", "a/b", "b"] {
        push_image(&registry, repository, "v1", b"layer").await;
    }
    let first = get(&registry, "/v2/_catalog?n=100").await.is(200);
    assert_eq!(first.json(), json!({ "repositories": ["a/b", "b"] }));
    assert_eq!(first.header("link"), r#"</v2/_catalog?n=2&last=b>; rel="next""#);
    let second = get(&registry, "/v2/_catalog?n=2&last=b").await.is(200);
    assert_eq!((second.json(), second.header("link")), (json!({ "repositories": ["c"] }), ""));
}
