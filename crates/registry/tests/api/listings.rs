//! End-8, end-12 and the catalog.

use pier_content::Completeness;
use pier_oci::{
    Algorithm, Digest, Tag,
    wire::{Cursor, Listing},
};
use pier_registry::Registry;
use serde_json::{Value, json};

use crate::support::{
    MANIFEST, get, image, open, push, push_image, put, registry, registry_with, send, settings,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

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
    assert_eq!(first.header("link"), r#"</v2/a/b/tags/list?n=2&cursor=dGE>; rel="next""#);
    let second = get(&registry, "/v2/a/b/tags/list?n=2&last=a").await.is(200);
    assert_eq!(second.json()["tags"], json!(["b", "c"]));
    assert_eq!(second.header("link"), "");
    let followed = get(&registry, "/v2/a/b/tags/list?n=2&cursor=dGE").await.is(200);
    assert_eq!(followed.body, second.body);

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
    assert_eq!(first.header("link"), r#"</v2/_catalog?n=2&cursor=Y2I>; rel="next""#);
    let second = get(&registry, "/v2/_catalog?n=2&cursor=Y2I").await.is(200);
    assert_eq!((second.json(), second.header("link")), (json!({ "repositories": ["c"] }), ""));
}

#[tokio::test]
async fn a_cursor_that_was_not_given_out_is_refused() {
    let registry = registry();
    let bytes = push_image(&registry, "a", "v1", b"layer").await;
    let subject = Digest::sha256(&bytes);
    let (of_tags, of_repositories) = ("dHYx", "Y2E");
    for (list, foreign) in [
        ("/v2/a/tags/list".to_owned(), of_repositories),
        ("/v2/_catalog".to_owned(), of_tags),
        (format!("/v2/a/referrers/{subject}"), of_tags),
    ] {
        for cursor in [foreign, "", "x", "dHYx=", "%00", "../../a", &"d".repeat(10_000)] {
            let reply = get(&registry, &format!("{list}?cursor={cursor}")).await;
            reply.refused(400, "UNSUPPORTED");
        }
    }
    // Of the right kind, and made up: a position behind everything.
    let made_up = get(&registry, "/v2/a/tags/list?cursor=dHp6").await.is(200);
    assert_eq!(made_up.json()["tags"], json!([]));
    // A referrer that no digest could be: "rnonsense".
    get(&registry, &format!("/v2/a/referrers/{subject}?cursor=cm5vbnNlbnNl"))
        .await
        .refused(400, "UNSUPPORTED");
}

/// A registry that takes indexes of what is not there.
fn sparse() -> Registry {
    let mut settings = settings();
    settings.completeness = Completeness::Sparse;
    registry_with(settings)
}

/// Pushes a manifest that has a subject, and gives what the list of referrers has to say of it.
async fn refer(registry: &Registry, subject: &Digest, note: &str, artifact_type: &str) -> Value {
    let mut manifest = image(b"layer");
    manifest["subject"] = json!({ "mediaType": INDEX, "digest": subject.to_string(), "size": 1 });
    manifest["artifactType"] = artifact_type.into();
    manifest["annotations"] = json!({ "note": note });
    let bytes = manifest.to_string().into_bytes();
    let digest = Digest::sha256(&bytes).to_string();
    put(registry, "a", &digest, &bytes).await.is(201);
    json!({
        "mediaType": manifest["mediaType"], "digest": digest, "size": bytes.len(),
        "artifactType": artifact_type, "annotations": { "note": note },
    })
}

#[tokio::test]
async fn referrers_come_in_pages_that_keep_their_filter() {
    let registry = registry();
    let subject = Digest::sha256(&push_image(&registry, "a", "v1", b"layer").await);
    let mut all = Vec::new();
    for n in 0..5 {
        let artifact_type = if n == 2 { "x/other+json" } else { "x/sig+json" };
        all.push(refer(&registry, &subject, &n.to_string(), artifact_type).await);
    }
    all.sort_by_key(|descriptor| descriptor["digest"].to_string());
    for (filter, applied) in [("", ""), ("&artifactType=x/sig%2Bjson", "artifactType")] {
        let wanted: Vec<&Value> =
            all.iter().filter(|one| filter.is_empty() || one["artifactType"] == "x/sig+json").collect();
        let (mut found, mut next) = (Vec::new(), Some(format!("/v2/a/referrers/{subject}?n=2{filter}")));
        while let Some(path) = next {
            let reply = get(&registry, &path).await.is(200);
            assert_eq!(reply.header("oci-filters-applied"), applied);
            let page = reply.json()["manifests"].as_array().unwrap().clone();
            assert!(page.len() == 2 || reply.header("link").is_empty(), "{page:?}");
            found.extend(page);
            next = pier_oci::wire::link::next_page(reply.header("link")).map(str::to_owned);
        }
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted);
    }
}

#[tokio::test]
async fn referrers_that_a_client_kept_under_a_tag_are_listed_too() {
    let registry = registry();
    let subject = Digest::sha256(&push_image(&registry, "a", "v1", b"layer").await);
    let own = refer(&registry, &subject, "own", "x/sig").await;
    // One that does not name its subject, one that is listed anyway, one that is not there, and a lie about all of them.
    let mut manifest = image(b"layer");
    manifest["artifactType"] = "x/old".into();
    let old = manifest.to_string().into_bytes();
    let kept = Digest::sha256(&old).to_string();
    put(&registry, "a", &kept, &old).await.is(201);
    push(&registry, "b", b"{}").await;
    let elsewhere = Digest::sha256(b"of nobody").to_string();
    let entry =
        |digest: &str| json!({ "mediaType": INDEX, "digest": digest, "size": 7, "artifactType": "x/lie" });
    let digests = [&kept, own["digest"].as_str().unwrap(), &kept];
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": digests.map(entry),
    });
    let tag = format!("sha256-{}", subject.hex());
    let uri = format!("/v2/a/manifests/{tag}");
    send(&registry, "PUT", &uri, &[("content-type", INDEX)], index.to_string().into_bytes()).await.is(201);

    let list = async |query: &str| {
        let reply = get(&registry, &format!("/v2/a/referrers/{subject}{query}")).await.is(200);
        reply.json()["manifests"].as_array().unwrap().clone()
    };
    let all = list("").await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[0], own);
    assert_eq!((&all[1]["digest"], &all[1]["artifactType"]), (&json!(kept), &json!("x/old")));
    assert_eq!((&all[1]["mediaType"], &all[1]["size"]), (&manifest["mediaType"], &json!(old.len())));
    assert_eq!(list("?artifactType=x/old").await.len(), 1);
    assert_eq!(list("?artifactType=x/lie").await, Vec::<Value>::new());
    assert!(!all.iter().any(|one| one["digest"] == elsewhere));
    // A tag of that form that is no index is only a tag.
    put(&registry, "a", &tag, &old).await.is(201);
    assert_eq!(list("").await, [own]);
}

/// Puts a manifest that names no subject, and gives what the list of referrers has to say of it.
async fn keep(registry: &Registry, note: &str, artifact_type: &str) -> Value {
    let mut manifest = image(b"layer");
    manifest["artifactType"] = artifact_type.into();
    manifest["annotations"] = json!({ "note": note });
    let bytes = manifest.to_string().into_bytes();
    let digest = Digest::sha256(&bytes).to_string();
    put(registry, "a", &digest, &bytes).await.is(201);
    json!({
        "mediaType": manifest["mediaType"], "digest": digest, "size": bytes.len(),
        "artifactType": artifact_type, "annotations": { "note": note },
    })
}

/// Lists digests under the tag of a subject, as a client does that meets a registry without the list of referrers.
async fn list_under_a_tag(registry: &Registry, subject: &Digest, digests: impl Iterator<Item = String>) {
    let entry = |digest: String| json!({ "mediaType": MANIFEST, "digest": digest, "size": 7 });
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": digests.map(entry).collect::<Vec<_>>(),
    });
    let uri = format!("/v2/a/manifests/{}", Tag::of_referrers(subject));
    send(registry, "PUT", &uri, &[("content-type", INDEX)], index.to_string()).await.is(201);
}

/// All pages of a list of referrers, by its links, and how many pages that were.
async fn all_pages(registry: &Registry, first: String, most: usize) -> (Vec<Value>, usize) {
    let (mut found, mut pages, mut next) = (Vec::new(), 0, Some(first));
    while let Some(path) = next {
        let reply = get(registry, &path).await.is(200);
        let page = reply.json()["manifests"].as_array().unwrap().clone();
        assert!(page.len() <= most, "{page:?}");
        found.extend(page);
        pages += 1;
        next = pier_oci::wire::link::next_page(reply.header("link")).map(str::to_owned);
    }
    (found, pages)
}

#[tokio::test]
async fn what_is_kept_under_a_tag_comes_in_pages_behind_what_names_its_subject() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let registry = sparse();
        push_image(&registry, "a", "v1", b"layer").await;
        let subject = Digest::of(algorithm, b"a subject");
        let (mut naming, mut kept) = (Vec::new(), Vec::new());
        for n in 0..6 {
            let artifact_type = if n % 2 == 0 { "x/even" } else { "x/odd" };
            naming.push(refer(&registry, &subject, &n.to_string(), artifact_type).await);
            kept.push(keep(&registry, &n.to_string(), artifact_type).await);
        }
        let digest = |one: &Value| one["digest"].as_str().unwrap().to_owned();
        // Each of them, most twice, among others that are not there.
        let absent = (0..20_u8).map(|n| Digest::sha256(&[n]).to_string());
        let listed = kept.iter().chain(&naming).chain(&kept[..4]).map(digest).chain(absent);
        list_under_a_tag(&registry, &subject, listed).await;
        for list in [&mut naming, &mut kept] {
            list.sort_by_key(digest);
        }
        let all: Vec<Value> = naming.into_iter().chain(kept).collect();
        for n in [1, 2, 5, 6, 7, 11, 12, 1000] {
            for wanted in [None, Some("x/even"), Some("x/none")] {
                let filter = wanted.map_or(String::new(), |wanted| format!("&artifactType={wanted}"));
                let first = format!("/v2/a/referrers/{subject}?n={n}{filter}");
                let (found, _) = all_pages(&registry, first, n).await;
                let expected: Vec<&Value> = all
                    .iter()
                    .filter(|one| wanted.is_none_or(|wanted| one["artifactType"] == wanted))
                    .collect();
                assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{algorithm} n={n} {wanted:?}");
            }
        }
        let none = get(&registry, &format!("/v2/a/referrers/{subject}?n=0")).await.is(200);
        assert_eq!((none.json()["manifests"].clone(), none.header("link")), (json!([]), ""));
    }
}

#[tokio::test]
async fn no_page_reads_more_than_it_may_of_what_is_kept_under_a_tag_and_none_is_left_out() {
    let registry = sparse();
    push_image(&registry, "a", "v1", b"layer").await;
    let subject = Digest::sha256(b"a subject");
    let padding = "x".repeat(1 << 20);
    let mut kept = Vec::new();
    for n in 0..5 {
        kept.push(keep(&registry, &format!("{n}{padding}"), "x/unwanted").await["digest"].clone());
    }
    let last = keep(&registry, "small", "x/wanted").await["digest"].clone();
    let digests = kept.iter().chain([&last]).map(|digest| digest.as_str().unwrap().to_owned());
    // And far more than are looked at for one page.
    let absent = (0..2500_u32).map(|n| Digest::sha256(&n.to_le_bytes()).to_string());
    list_under_a_tag(&registry, &subject, digests.chain(absent)).await;
    let uri = format!("/v2/a/referrers/{subject}");
    let (found, pages) = all_pages(&registry, format!("{uri}?artifactType=x/wanted"), 1000).await;
    assert_eq!(found.iter().map(|one| &one["digest"]).collect::<Vec<_>>(), [&last]);
    // Three of its manifests are all that a page reads, and a thousand entries all that it looks at.
    assert!((3..=6).contains(&pages), "{pages}");
    let (found, _) = all_pages(&registry, uri, 4).await;
    assert_eq!(found.len(), 6);
}

#[tokio::test]
async fn a_cursor_of_what_is_kept_under_a_tag_is_good_for_referrers_alone() {
    let registry = registry();
    let bytes = push_image(&registry, "a", "v1", b"layer").await;
    let subject = Digest::sha256(&bytes);
    let first = Cursor::new(Listing::KeptReferrers, "");
    let list = format!("/v2/a/referrers/{subject}");
    get(&registry, &format!("{list}?cursor={first}")).await.is(200);
    let made_up = Cursor::new(Listing::KeptReferrers, "nonsense");
    get(&registry, &format!("{list}?cursor={made_up}")).await.refused(400, "UNSUPPORTED");
    for other in ["/v2/a/tags/list", "/v2/_catalog"] {
        get(&registry, &format!("{other}?cursor={first}")).await.refused(400, "UNSUPPORTED");
    }
}

/// Pier holds no other registry's names, so the draft's `ns` has nothing to choose, and nothing is said to be chosen.
#[tokio::test]
async fn ns_changes_nothing_and_no_namespace_is_claimed() {
    let registry = registry();
    let manifest = push_image(&registry, "a", "v1", b"layer").await;
    let (image, layer) = (Digest::sha256(&manifest), Digest::sha256(b"layer"));
    let session = open(&registry, "a").await;
    let absent = Digest::sha256(b"absent");
    for path in [
        "/v2/".to_owned(),
        format!("/v2/a/blobs/{layer}"),
        format!("/v2/a/blobs/{absent}"),
        "/v2/a/manifests/v1".to_owned(),
        format!("/v2/a/manifests/{image}"),
        "/v2/a/manifests/v2".to_owned(),
        "/v2/a/tags/list".to_owned(),
        format!("/v2/a/referrers/{image}"),
        "/v2/_catalog".to_owned(),
        "/v2/_oci/ext/discover".to_owned(),
        session,
    ] {
        for method in ["GET", "HEAD"] {
            let plain = send(&registry, method, &path, &[], "").await;
            for ns in ["docker.io", "a.example:5000", ""] {
                let scoped = send(&registry, method, &format!("{path}?ns={ns}"), &[], "").await;
                assert_eq!(scoped.header("oci-namespace"), "", "{path}");
                assert_eq!(
                    (scoped.status, &scoped.headers, &scoped.body),
                    (plain.status, &plain.headers, &plain.body),
                    "{path}"
                );
            }
        }
    }
}
