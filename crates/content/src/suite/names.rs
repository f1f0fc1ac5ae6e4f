//! Names, manifests and the graph.

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use pier_oci::{Digest, Manifest, RepositoryName, Selector, Tag};

use super::{Harness, Stores, code, content, dropped_after, repository};
use crate::{
    Claim, Completeness, Error, ImmutableTags, Page, PutManifest, ReferrersOf, Result, Stored, TagRules,
    catalog::REFERRERS_BYTES,
};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

pub(super) fn entry(media_type: &str, digest: Digest, size: u64) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn blob_entry(media_type: &str, bytes: &Bytes) -> String {
    entry(media_type, Digest::sha256(bytes), bytes.len() as u64)
}

/// An image manifest of these entries; `more` goes behind them, each with a comma before it.
fn image(config: &str, layers: &[String], more: &str) -> Arc<Manifest> {
    let layers = layers.join(",");
    let text = format!(
        "{{ \"schemaVersion\": 2,\n\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
         \"config\":{config},\"layers\":[{layers}]{more}}}\n"
    );
    Arc::new(Manifest::parse(text.into(), None).unwrap())
}

/// An image without layers whose config is there, told apart by a seed.
pub(super) async fn simple(stores: &Stores, name: &RepositoryName, seed: u8, more: &str) -> Arc<Manifest> {
    let config = content(seed, 20);
    stores.keep(&config, name).await;
    image(&blob_entry(CONFIG, &config), &[], more)
}

async fn put(
    stores: &Stores,
    name: &RepositoryName,
    manifest: &Arc<Manifest>,
    tags: &[&str],
    completeness: Completeness,
) -> Result<Stored> {
    let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
    let manifest = Arc::clone(manifest);
    let (repository, rules) = (name.clone(), TagRules::default());
    let put = PutManifest { repository, manifest, tags, completeness, rules };
    stores.catalog.put_manifest(put).await
}

pub(super) async fn stored(stores: &Stores, name: &RepositoryName, manifest: &Arc<Manifest>, tags: &[&str]) {
    put(stores, name, manifest, tags, Completeness::Strict).await.unwrap();
}

fn by_tag(tag: &str) -> Selector {
    Selector::Tag(tag.parse().unwrap())
}

/// The digest that a tag names, or the error.
pub(super) async fn named(stores: &Stores, name: &RepositoryName, tag: &str) -> Result<Digest> {
    stores.catalog.resolve(name, &by_tag(tag)).await.map(|manifest| manifest.digest())
}

/// White space and all, by tag and by digest, in its repository alone.
pub async fn gives_manifests_back_byte_for_byte(harness: impl Harness) {
    let stores = harness.stores();
    let (a, b) = (repository("a"), repository("b"));
    let manifest = simple(&stores, &a, 80, "").await;
    stored(&stores, &a, &manifest, &["v1"]).await;
    for selector in [by_tag("v1"), Selector::Digest(manifest.digest())] {
        let found = stores.catalog.resolve(&a, &selector).await.unwrap();
        assert_eq!((found.bytes(), found.digest()), (manifest.bytes(), manifest.digest()));
        assert_eq!(found.media_type(), manifest.media_type());
        assert_eq!(code(stores.catalog.resolve(&b, &selector).await), "not-found");
    }
    assert_eq!(code(named(&stores, &a, "v2").await), "not-found");
}

/// Children count where they are linked, and the refusal changes nothing.
pub async fn strict_names_missing_children_in_order(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let blobs: Vec<Bytes> = (81..85).map(|seed| content(seed, 30)).collect();
    stores.keep(&blobs[1], &a).await;
    stores.keep(&blobs[2], &repository("b")).await;
    let layers: Vec<String> = [3, 1, 2, 3].iter().map(|&at| blob_entry(LAYER, &blobs[at])).collect();
    let manifest = image(&blob_entry(CONFIG, &blobs[0]), &layers, "");
    match put(&stores, &a, &manifest, &["v1"], Completeness::Strict).await {
        Err(Error::Missing { repository, digests }) => {
            assert_eq!(repository, a);
            assert_eq!(digests, [0, 3, 2].map(|at: usize| Digest::sha256(&blobs[at])));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(code(named(&stores, &a, "v1").await), "not-found");
    assert_eq!(stores.catalog.repositories(None, 10).await.unwrap().items, []);
}

/// Left out on purpose.
pub async fn sparse_accepts_missing_children(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let layers = [88, 88, 89].map(|seed| blob_entry(LAYER, &content(seed, 30)));
    let manifest = image(&blob_entry(CONFIG, &content(86, 30)), &layers, "");
    let stored = put(&stores, &a, &manifest, &["v1"], Completeness::Sparse).await.unwrap();
    assert_eq!(stored, Stored { absent: 3 });
    assert_eq!(named(&stores, &a, "v1").await.unwrap(), manifest.digest());
}

/// A manifest that lies about a size is refused.
pub async fn checks_sizes_of_children(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let config = stores.keep(&content(87, 30), &a).await;
    let manifest = image(&entry(CONFIG, config.digest, 31), &[], "");
    match put(&stores, &a, &manifest, &[], Completeness::Strict).await {
        Err(Error::Size { expected: 31, actual: 30, .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Foreign layers stay where they are.
pub async fn exempts_layers_that_may_not_be_distributed(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let config = content(88, 30);
    stores.keep(&config, &a).await;
    let manifest = image(&blob_entry(CONFIG, &config), &[blob_entry(FOREIGN, &content(89, 30))], "");
    stored(&stores, &a, &manifest, &["v1"]).await;
}

/// The last one wins, and what it named before stays.
pub async fn tags_move(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let (old, new) = (simple(&stores, &a, 90, "").await, simple(&stores, &a, 91, "").await);
    stored(&stores, &a, &old, &["v1", "latest"]).await;
    stored(&stores, &a, &new, &["latest"]).await;
    assert_eq!(named(&stores, &a, "latest").await.unwrap(), new.digest());
    assert_eq!(named(&stores, &a, "v1").await.unwrap(), old.digest());
    stored(&stores, &a, &old, &["latest"]).await;
    assert_eq!(named(&stores, &a, "latest").await.unwrap(), old.digest());
}

/// No tag names what is not there.
pub async fn deleting_a_manifest_removes_its_tags(harness: impl Harness) {
    let stores = harness.stores();
    let (a, b) = (repository("a"), repository("b"));
    let (gone, stays) = (simple(&stores, &a, 92, "").await, simple(&stores, &a, 93, "").await);
    simple(&stores, &b, 92, "").await;
    stored(&stores, &a, &gone, &["one", "two"]).await;
    stored(&stores, &a, &stays, &["three"]).await;
    stored(&stores, &b, &gone, &["one"]).await;
    stores.catalog.delete_manifest(&a, &gone.digest(), &ImmutableTags::default()).await.unwrap();
    assert_eq!(
        code(stores.catalog.delete_manifest(&a, &gone.digest(), &ImmutableTags::default()).await),
        "not-found"
    );
    assert_eq!(code(stores.catalog.resolve(&a, &Selector::Digest(gone.digest())).await), "not-found");
    assert_eq!(tags(&stores, &a, None, 10).await, (vec!["three".to_owned()], false));
    assert_eq!(named(&stores, &b, "one").await.unwrap(), gone.digest());
}

/// A tag is only a name.
pub async fn untagging_keeps_the_manifest(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let manifest = simple(&stores, &a, 94, "").await;
    stored(&stores, &a, &manifest, &["v1"]).await;
    let tag: Tag = "v1".parse().unwrap();
    stores.catalog.untag(&a, &tag, &TagRules::default()).await.unwrap();
    assert_eq!(code(stores.catalog.untag(&a, &tag, &TagRules::default()).await), "not-found");
    assert_eq!(code(named(&stores, &a, "v1").await), "not-found");
    stores.catalog.resolve(&a, &Selector::Digest(manifest.digest())).await.unwrap();
}

async fn tags(
    stores: &Stores,
    name: &RepositoryName,
    after: Option<&str>,
    limit: usize,
) -> (Vec<String>, bool) {
    let page = stores.catalog.tags(name, after, limit).await.unwrap();
    (page.items.iter().map(|tag| tag.as_str().to_owned()).collect(), page.more)
}

/// In byte order, behind any string.
pub async fn pages_tags(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    assert_eq!(code(stores.catalog.tags(&a, None, 10).await), "not-found");
    let manifest = simple(&stores, &a, 95, "").await;
    stored(&stores, &a, &manifest, &["b", "a", "Z", "a.1", "10", "9"]).await;
    let all = ["10", "9", "Z", "a", "a.1", "b"].map(str::to_owned);
    assert_eq!(tags(&stores, &a, None, 6).await, (all.to_vec(), false));
    assert_eq!(tags(&stores, &a, None, 5).await, (all[..5].to_vec(), true));
    assert_eq!(tags(&stores, &a, Some("a"), 1).await, (all[4..5].to_vec(), true));
    assert_eq!(tags(&stores, &a, Some("a/!"), 10).await, (all[5..].to_vec(), false));
    assert_eq!(tags(&stores, &a, Some("zz"), 10).await, (vec![], false));
}

/// Only those that hold a manifest.
pub async fn pages_repositories(harness: impl Harness) {
    let stores = harness.stores();
    for name in ["b", "a/c", "a", "a-b"] {
        let name = repository(name);
        let manifest = simple(&stores, &name, 96, "").await;
        stored(&stores, &name, &manifest, &[]).await;
    }
    stores.keep(&content(97, 10), &repository("blobs-only")).await;
    let all = ["a", "a-b", "a/c", "b"].map(repository);
    let page = stores.catalog.repositories(None, 3).await.unwrap();
    assert_eq!((&page.items[..], page.more), (&all[..3], true));
    let page = stores.catalog.repositories(Some("a/b"), 3).await.unwrap();
    assert_eq!((&page.items[..], page.more), (&all[2..], false));
}

/// In digest order, with what the specification wants in their descriptors, for a subject that need not exist.
pub async fn lists_referrers(harness: impl Harness) {
    let stores = harness.stores();
    let (a, b) = (repository("a"), repository("b"));
    let subject = Digest::sha256(b"not there");
    let of = |name: &RepositoryName, artifact_type: Option<&str>, after: Option<Digest>, limit: usize| {
        let (catalog, name) = (Arc::clone(&stores.catalog), name.clone());
        let of = ReferrersOf { subject, artifact_type: artifact_type.map(str::to_owned), after, limit };
        async move { catalog.referrers(&name, &of).await.unwrap() }
    };
    let nothing = Page { items: vec![], more: false };
    assert_eq!(of(&a, None, None, 10).await, nothing);
    let mut expected = Vec::new();
    for seed in 100..104 {
        let mut more =
            format!(r#","subject":{}"#, entry("application/vnd.oci.image.manifest.v1+json", subject, 9));
        write!(more, r#","annotations":{{"k":"{seed}"}}"#).unwrap();
        if seed % 2 == 0 {
            write!(more, r#","artifactType":"application/x.even""#).unwrap();
        }
        let manifest = simple(&stores, &a, seed, &more).await;
        stored(&stores, &a, &manifest, &[]).await;
        expected.push(manifest.referrer_descriptor());
    }
    assert_eq!(expected[1].annotations.get("k").map(String::as_str), Some("101"));
    assert_eq!(expected[1].artifact_type.as_deref(), Some(CONFIG));
    expected.sort_by_key(|descriptor| descriptor.digest);
    let digests: Vec<Digest> = expected.iter().map(|descriptor| descriptor.digest).collect();
    assert_eq!(of(&a, None, None, 4).await, Page { items: expected.clone(), more: false });
    assert_eq!(of(&a, None, None, 3).await, Page { items: expected[..3].to_vec(), more: true });
    assert_eq!(of(&a, None, Some(digests[0]), 2).await, Page { items: expected[1..3].to_vec(), more: true });
    assert_eq!(of(&a, None, Some(digests[3]), 2).await, nothing);
    assert_eq!(of(&b, None, None, 10).await, nothing);
    // A filter is applied before a page is cut, and a config's type stands for one that is not said.
    for (wanted, count) in [("application/x.even", 2), (CONFIG, 2), ("x/y", 0)] {
        let items: Vec<_> = expected
            .iter()
            .filter(|descriptor| descriptor.artifact_type.as_deref() == Some(wanted))
            .cloned()
            .collect();
        assert_eq!(items.len(), count, "{wanted}");
        assert_eq!(of(&a, Some(wanted), None, 2).await, Page { items: items.clone(), more: false });
        assert_eq!(of(&a, Some(wanted), None, 1).await.more, count > 1, "{wanted}");
    }
    stores.catalog.delete_manifest(&a, &digests[0], &ImmutableTags::default()).await.unwrap();
    assert_eq!(of(&a, None, None, 10).await.items, expected[1..]);
}

/// Annotations of others do not make a page that no client would read.
pub async fn a_page_of_referrers_is_bounded_in_bytes(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let subject = Digest::sha256(b"not there");
    let padding = "x".repeat(REFERRERS_BYTES / 2);
    for seed in 104..108 {
        let mut more =
            format!(r#","subject":{}"#, entry("application/vnd.oci.image.manifest.v1+json", subject, 9));
        write!(more, r#","annotations":{{"k":"{padding}"}}"#).unwrap();
        let manifest = simple(&stores, &a, seed, &more).await;
        stored(&stores, &a, &manifest, &[]).await;
    }
    let mut of = ReferrersOf { subject, artifact_type: None, after: None, limit: 1000 };
    let first = stores.catalog.referrers(&a, &of).await.unwrap();
    assert_eq!((first.items.len(), first.more), (2, true));
    of.after = Some(first.items[1].digest);
    let second = stores.catalog.referrers(&a, &of).await.unwrap();
    assert_eq!((second.items.len(), second.more), (2, false));
}

/// Content being present is no right to it.
pub async fn links_are_claimed(harness: impl Harness) {
    let stores = harness.stores();
    let (a, b, c) = (repository("a"), repository("b"), repository("c"));
    let blob = stores.keep(&content(110, 40), &a).await;
    let link = |to: &RepositoryName, claim: Claim| {
        let (catalog, to) = (Arc::clone(&stores.catalog), to.clone());
        async move { catalog.link(&to, &blob.digest, claim).await }
    };
    assert_eq!(code(link(&b, Claim::From(c.clone())).await), "not-found");
    assert_eq!(code(link(&b, Claim::From(b.clone())).await), "not-found");
    assert_eq!(stores.catalog.linked(&b, &blob.digest).await.unwrap(), None);
    assert_eq!(link(&b, Claim::From(a.clone())).await.unwrap(), 40);
    assert_eq!(link(&b, Claim::From(b.clone())).await.unwrap(), 40);
    assert_eq!(link(&c, Claim::FromAny).await.unwrap(), 40);
    assert_eq!(link(&c, Claim::Proven).await.unwrap(), 40);
    for name in [&a, &b, &c] {
        assert_eq!(stores.catalog.linked(name, &blob.digest).await.unwrap(), Some(40));
    }
    let missing = Digest::sha256(b"not there");
    assert_eq!(code(stores.catalog.link(&a, &missing, Claim::Proven).await), "not-found");
    assert_eq!(code(stores.catalog.link(&a, &missing, Claim::FromAny).await), "not-found");
    assert_eq!(code(stores.catalog.link(&a, &missing, Claim::From(b.clone())).await), "not-found");
    for name in [&a, &b, &c] {
        stores.catalog.unlink(name, &blob.digest).await.unwrap();
    }
    assert_eq!(code(link(&a, Claim::FromAny).await), "not-found");
}

/// Only what nothing in the repository names, and nowhere else.
pub async fn unlinks(harness: impl Harness) {
    let stores = harness.stores();
    let (a, b) = (repository("a"), repository("b"));
    let manifest = simple(&stores, &a, 111, "").await;
    let config = Digest::sha256(&content(111, 20));
    stores.catalog.link(&b, &config, Claim::Proven).await.unwrap();
    stored(&stores, &a, &manifest, &[]).await;
    assert_eq!(code(stores.catalog.unlink(&a, &config).await), "in-use");
    stores.catalog.unlink(&b, &config).await.unwrap();
    assert_eq!(code(stores.catalog.unlink(&b, &config).await), "not-found");
    assert_eq!(stores.catalog.linked(&a, &config).await.unwrap(), Some(20));
    stores.catalog.delete_manifest(&a, &manifest.digest(), &ImmutableTags::default()).await.unwrap();
    stores.catalog.unlink(&a, &config).await.unwrap();
    assert_eq!(code(stores.catalog.unlink(&repository("never"), &config).await), "not-found");
}

/// What was acknowledged is there after the store was closed and opened.
pub async fn names_survive_reopening(harness: impl Harness) {
    let a = repository("a");
    let manifest = {
        let stores = harness.stores();
        let manifest = simple(&stores, &a, 112, "").await;
        stored(&stores, &a, &manifest, &["v1", "v2"]).await;
        stores.catalog.untag(&a, &"v2".parse().unwrap(), &TagRules::default()).await.unwrap();
        manifest
    };
    let Some(harness) = harness.reopened() else { return };
    let stores = harness.stores();
    let found = stores.catalog.resolve(&a, &by_tag("v1")).await.unwrap();
    assert_eq!(found.bytes(), manifest.bytes());
    assert_eq!(code(named(&stores, &a, "v2").await), "not-found");
    assert_eq!(stores.catalog.linked(&a, &Digest::sha256(&content(112, 20))).await.unwrap(), Some(20));
}

/// An index of these manifests.
pub(super) fn index_of(children: &[&Arc<Manifest>]) -> Arc<Manifest> {
    let children: Vec<String> = children
        .iter()
        .map(|child| entry(child.media_type().as_str(), child.digest(), child.size()))
        .collect();
    let text = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[{}]}}",
        children.join(",")
    );
    Arc::new(Manifest::parse(text.into(), None).unwrap())
}

/// Manifests are children too, and count where they are stored; an index may be one of them.
pub async fn an_index_needs_its_manifests(harness: impl Harness) {
    let stores = harness.stores();
    let (a, b) = (repository("a"), repository("b"));
    let (here, elsewhere) = (simple(&stores, &a, 100, "").await, simple(&stores, &b, 101, "").await);
    stored(&stores, &a, &here, &[]).await;
    stored(&stores, &b, &elsewhere, &[]).await;
    let inner = index_of(&[&here, &elsewhere]);
    match put(&stores, &a, &inner, &["v1"], Completeness::Strict).await {
        Err(Error::Missing { digests, .. }) => assert_eq!(digests, [elsewhere.digest()]),
        other => panic!("{other:?}"),
    }
    assert_eq!(code(named(&stores, &a, "v1").await), "not-found");
    put(&stores, &a, &inner, &["sparse"], Completeness::Sparse).await.unwrap();
    let config = content(101, 20);
    stores.keep(&config, &a).await;
    stored(&stores, &a, &elsewhere, &[]).await;
    stored(&stores, &a, &inner, &["v1"]).await;
    let outer = index_of(&[&inner]);
    stored(&stores, &a, &outer, &["outer"]).await;
    assert_eq!(named(&stores, &a, "outer").await.unwrap(), outer.digest());
    // A blob under a manifest's digest is no manifest.
    let unknown = image(&blob_entry(CONFIG, &config), &[], ",\"annotations\":{\"a\":\"b\"}");
    stores.keep(unknown.bytes(), &a).await;
    let outcome = put(&stores, &a, &index_of(&[&unknown]), &[], Completeness::Strict).await;
    assert_eq!(code(outcome), "missing-content");
}

/// That a manifest names a blob does not make the repository show it.
pub async fn unlinking_what_is_not_shown_is_not_found(harness: impl Harness) {
    let stores = harness.stores();
    let (a, config) = (repository("a"), content(102, 30));
    let digest = Digest::sha256(&config);
    assert_eq!(code(stores.catalog.unlink(&a, &digest).await), "not-found");
    let manifest = image(&blob_entry(CONFIG, &config), &[], "");
    put(&stores, &a, &manifest, &[], Completeness::Sparse).await.unwrap();
    assert_eq!(code(stores.catalog.unlink(&a, &digest).await), "not-found");
    stores.keep(&config, &repository("b")).await;
    assert_eq!(code(stores.catalog.unlink(&a, &digest).await), "not-found");
    stores.keep(&config, &a).await;
    assert_eq!(code(stores.catalog.unlink(&a, &digest).await), "in-use");
}

/// Drops a call at each of its awaits in turn. A call that was dropped may still happen, so it is made again, and again
/// it has to do as if it were the first or the second; then `check` sees what it left.
async fn dropped_at_each_await<T>(
    prepare: impl AsyncFn(),
    call: impl AsyncFn() -> Result<T>,
    again: &[&str],
    check: impl AsyncFn(),
) {
    const POLLS: usize = 200;
    for polls in 1..POLLS {
        prepare().await;
        let over = dropped_after(polls, call()).await.is_some();
        let outcome = code(call().await);
        assert!(again.contains(&outcome), "{outcome}");
        check().await;
        if over {
            return;
        }
    }
    panic!("the call does not end");
}

/// Each call is one step: half of it is never there, and making it again is right.
pub async fn dropped_calls_happen_wholly_or_not_at_all(harness: impl Harness) {
    let stores = harness.stores();
    let (a, b) = (repository("a"), repository("b"));
    let manifest = simple(&stores, &a, 103, "").await;
    let config = Digest::sha256(&content(103, 20));
    let (digest, tag) = (manifest.digest(), "v1".parse::<Tag>().unwrap());
    let put_it = async || put(&stores, &a, &manifest, &["v1", "v2"], Completeness::Strict).await;
    let stored_again = async || assert_eq!(code(put_it().await), "ok");
    let tags = async || {
        let page = stores.catalog.tags(&a, None, 10).await.unwrap();
        page.items.iter().map(|tag| tag.as_str().to_owned()).collect::<Vec<_>>()
    };

    let gone = async || drop(stores.catalog.delete_manifest(&a, &digest, &ImmutableTags::default()).await);
    dropped_at_each_await(gone, put_it, &["ok"], async || {
        assert_eq!(named(&stores, &a, "v2").await.unwrap(), digest);
        assert_eq!(tags().await, ["v1", "v2"]);
    })
    .await;
    let untag = async || stores.catalog.untag(&a, &tag, &TagRules::default()).await;
    dropped_at_each_await(stored_again, untag, &["ok", "not-found"], async || {
        assert_eq!(tags().await, ["v2"]);
    })
    .await;
    let delete = async || stores.catalog.delete_manifest(&a, &digest, &ImmutableTags::default()).await;
    dropped_at_each_await(stored_again, delete, &["ok", "not-found"], async || {
        assert_eq!(tags().await, [""; 0]);
        assert_eq!(code(stores.catalog.resolve(&a, &Selector::Digest(digest)).await), "not-found");
    })
    .await;
    let unlinked = async || drop(stores.catalog.unlink(&b, &config).await);
    let link = async || stores.catalog.link(&b, &config, Claim::From(a.clone())).await;
    dropped_at_each_await(unlinked, link, &["ok"], async || {
        assert_eq!(stores.catalog.linked(&b, &config).await.unwrap(), Some(20));
    })
    .await;
    let linked = async || assert_eq!(link().await.unwrap(), 20);
    let unlink = async || stores.catalog.unlink(&b, &config).await;
    dropped_at_each_await(linked, unlink, &["ok", "not-found"], async || {
        assert_eq!(stores.catalog.linked(&b, &config).await.unwrap(), None);
    })
    .await;
}
