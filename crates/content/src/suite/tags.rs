//! Tags that are changed under a condition, that never move, and that remember where they pointed.

use std::sync::Arc;

use futures_util::future::join_all;
use pier_oci::{Digest, Manifest, MediaType, RepositoryName, Selector, Tag};

use super::{
    Harness, Stores, code, content,
    names::{entry, index_of, named, simple, stored},
    repository,
};
use crate::{
    Completeness, Error, Expected, ImmutableTag, ImmutableTags, PutManifest, Result, Subject, TagRules,
    catalog::KEPT_MOVES,
};

fn expecting(expected: Expected) -> TagRules {
    TagRules { expected, ..TagRules::default() }
}

fn immutable(pattern: &str) -> ImmutableTags {
    [pattern.parse::<ImmutableTag>().unwrap()].into_iter().collect()
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

async fn put(
    stores: &Stores,
    name: &RepositoryName,
    manifest: &Arc<Manifest>,
    tags: &[&str],
    rules: TagRules,
) -> Result<()> {
    let put = PutManifest {
        repository: name.clone(),
        manifest: Arc::clone(manifest),
        tags: tags.iter().map(|name| tag(name)).collect(),
        completeness: Completeness::Strict,
        rules,
    };
    stores.catalog.put_manifest(put).await.map(drop)
}

/// A tag moves only from where the caller believes it to be, and a refusal changes nothing, not even other tags.
pub async fn moves_from_what_is_expected(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let (old, new) = (simple(&stores, &a, 60, "").await, simple(&stores, &a, 61, "").await);
    let only = |manifest: &Manifest| expecting(Expected::OneOf(vec![manifest.digest()]));
    let something = || expecting(Expected::Something);
    let nothing = || expecting(Expected::Nothing);

    assert_eq!(code(put(&stores, &a, &old, &["t"], something()).await), "changed");
    assert_eq!(code(put(&stores, &a, &old, &["t"], only(&old)).await), "changed");
    assert_eq!(code(named(&stores, &a, "t").await), "not-found");
    put(&stores, &a, &old, &["t"], nothing()).await.unwrap();
    assert_eq!(code(put(&stores, &a, &new, &["t"], nothing()).await), "changed");
    assert_eq!(code(put(&stores, &a, &new, &["t"], only(&new)).await), "changed");
    assert_eq!(code(put(&stores, &a, &new, &["other", "t"], only(&old)).await), "changed");
    assert_eq!(code(named(&stores, &a, "other").await), "not-found");
    assert_eq!(named(&stores, &a, "t").await.unwrap(), old.digest());
    put(&stores, &a, &new, &["t"], only(&old)).await.unwrap();
    assert_eq!(named(&stores, &a, "t").await.unwrap(), new.digest());
    put(&stores, &a, &old, &["t"], something()).await.unwrap();

    assert_eq!(code(stores.catalog.untag(&a, &tag("t"), &only(&new)).await), "changed");
    assert_eq!(named(&stores, &a, "t").await.unwrap(), old.digest());
    stores.catalog.untag(&a, &tag("t"), &only(&old)).await.unwrap();
    assert_eq!(code(named(&stores, &a, "t").await), "not-found");
}

/// Of many who move a tag from the same place at once, one does.
pub async fn of_many_who_expect_the_same_one_wins(harness: impl Harness) {
    let stores = harness.stores();
    let second = harness.second().unwrap_or_else(|| harness.stores());
    let a = repository("a");
    let mut candidates = Vec::new();
    for seed in 62..70 {
        candidates.push(simple(&stores, &a, seed, "").await);
    }
    let mut last: Option<Digest> = None;
    for _ in 0..10 {
        let rules = expecting(last.map_or(Expected::Nothing, |digest| Expected::OneOf(vec![digest])));
        let attempts = candidates.iter().filter(|manifest| Some(manifest.digest()) != last).enumerate();
        let outcomes = join_all(attempts.map(async |(at, manifest)| {
            let stores = if at % 2 == 0 { &stores } else { &second };
            (manifest.digest(), code(put(stores, &a, manifest, &["t"], rules.clone()).await))
        }))
        .await;
        let won: Vec<Digest> =
            outcomes.iter().filter(|(_, outcome)| *outcome == "ok").map(|(digest, _)| *digest).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|(_, outcome)| ["ok", "changed"].contains(outcome)), "{outcomes:?}");
        assert_eq!(named(&stores, &a, "t").await.unwrap(), won[0]);
        last = Some(won[0]);
    }
}

/// Not by a push, not by a removal, not with what it names; where the rule covers it and nowhere else.
pub async fn what_is_immutable_stays(harness: impl Harness) {
    let stores = harness.stores();
    let (a, b) = (repository("a"), repository("b"));
    let (old, new) = (simple(&stores, &a, 70, "").await, simple(&stores, &a, 71, "").await);
    simple(&stores, &b, 70, "").await;
    simple(&stores, &b, 71, "").await;
    let rules = || TagRules { immutable: immutable("a:v*"), ..TagRules::default() };
    for name in [&a, &b] {
        put(&stores, name, &old, &["v1", "latest"], rules()).await.unwrap();
    }
    assert_eq!(code(put(&stores, &a, &new, &["latest", "v1"], rules()).await), "immutable");
    assert_eq!(named(&stores, &a, "latest").await.unwrap(), old.digest());
    assert_eq!(code(stores.catalog.untag(&a, &tag("v1"), &rules()).await), "immutable");
    assert_eq!(
        code(stores.catalog.delete_manifest(&a, &old.digest(), &immutable("a:v*")).await),
        "immutable"
    );
    assert_eq!(named(&stores, &a, "v1").await.unwrap(), old.digest());
    // The same again moves nothing.
    put(&stores, &a, &old, &["v1"], rules()).await.unwrap();
    put(&stores, &a, &new, &["latest", "v2"], rules()).await.unwrap();
    stores.catalog.delete_manifest(&b, &old.digest(), &immutable("a:v*")).await.unwrap();
    assert_eq!(code(named(&stores, &b, "v1").await), "not-found");
    // A tag that is not there may be removed as little as any other.
    assert_eq!(code(stores.catalog.untag(&a, &tag("v9"), &rules()).await), "not-found");
}

/// Neither by a deletion of what it leads to, at any depth, nor by what that is served as.
pub async fn what_an_immutable_tag_leads_to_stays(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let (child, other) = (simple(&stores, &a, 76, "").await, simple(&stores, &a, 77, "").await);
    let (inner, aside) = (index_of(&[&child]), index_of(&[&other]));
    let outer = index_of(&[&inner]);
    let rules = || TagRules { immutable: immutable("v*"), ..TagRules::default() };
    for manifest in [&child, &other, &inner, &aside] {
        put(&stores, &a, manifest, &[], rules()).await.unwrap();
    }
    put(&stores, &a, &outer, &["v1"], rules()).await.unwrap();
    put(&stores, &a, &aside, &["latest"], rules()).await.unwrap();
    let delete = async |manifest: &Manifest, immutable: ImmutableTags| {
        stores.catalog.delete_manifest(&a, &manifest.digest(), &immutable).await
    };
    for manifest in [&child, &inner, &outer] {
        match delete(manifest, immutable("v*")).await {
            Err(Error::Immutable { subject }) => {
                assert_eq!(subject, Subject::Manifest(a.clone(), Selector::Tag(tag("v1"))));
            }
            other => panic!("{other:?}"),
        }
        stores.catalog.resolve(&a, &Selector::Digest(manifest.digest())).await.unwrap();
    }
    // Through an index that only a tag that moves names, and without the rule.
    delete(&other, immutable("v*")).await.unwrap();
    delete(&child, immutable("b:v*")).await.unwrap();
}

/// The same bytes may be declared as something else, until an immutable tag leads to them.
pub async fn what_an_immutable_tag_leads_to_keeps_its_media_type(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let config = content(78, 20);
    stores.keep(&config, &a).await;
    let text = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#,
        entry("application/vnd.oci.image.config.v1+json", Digest::sha256(&config), 20)
    );
    let declared =
        |media_type: MediaType| Arc::new(Manifest::parse(text.clone().into(), Some(&media_type)).unwrap());
    let (oci, docker) = (declared(MediaType::OCI_MANIFEST), declared(MediaType::DOCKER_MANIFEST));
    let served = async || {
        let found = stores.catalog.resolve(&a, &Selector::Digest(oci.digest())).await.unwrap();
        found.media_type().clone()
    };
    let rules = || TagRules { immutable: immutable("v*"), ..TagRules::default() };
    put(&stores, &a, &oci, &["latest"], rules()).await.unwrap();
    put(&stores, &a, &docker, &[], rules()).await.unwrap();
    assert_eq!(served().await, MediaType::DOCKER_MANIFEST);
    put(&stores, &a, &oci, &[], rules()).await.unwrap();
    put(&stores, &a, &index_of(&[&oci]), &["v1"], rules()).await.unwrap();
    for tags in [&[][..], &["other"], &["v2"]] {
        assert_eq!(code(put(&stores, &a, &docker, tags, rules()).await), "immutable");
    }
    assert_eq!(code(named(&stores, &a, "other").await), "not-found");
    assert_eq!(served().await, MediaType::OCI_MANIFEST);
    put(&stores, &a, &oci, &["v2"], rules()).await.unwrap();
    put(&stores, &a, &docker, &[], TagRules::default()).await.unwrap();
    assert_eq!(served().await, MediaType::DOCKER_MANIFEST);
}

/// Every change and no repetition, the latest first, of each tag for itself, and of those that are gone.
pub async fn tags_remember_where_they_pointed(harness: impl Harness) {
    let stores = harness.stores();
    let (a, b) = (repository("a"), repository("b"));
    let (one, two) = (simple(&stores, &a, 72, "").await, simple(&stores, &a, 73, "").await);
    let history = async |limit: usize| {
        let moves = stores.catalog.tag_history(&a, &tag("t"), limit).await.unwrap();
        assert!(moves.windows(2).all(|pair| pair[0].at >= pair[1].at), "{moves:?}");
        moves.iter().map(|step| step.digest).collect::<Vec<_>>()
    };
    assert_eq!(history(10).await, []);
    let (first, second) = (Some(one.digest()), Some(two.digest()));
    for manifest in [&one, &two, &two, &one] {
        stored(&stores, &a, manifest, &["t", "u"]).await;
    }
    stores.catalog.untag(&a, &tag("t"), &TagRules::default()).await.unwrap();
    assert_eq!(history(10).await, [None, first, second, first]);
    assert_eq!(history(2).await, [None, first]);
    stored(&stores, &a, &two, &["t"]).await;
    stores.catalog.delete_manifest(&a, &two.digest(), &ImmutableTags::default()).await.unwrap();
    assert_eq!(history(3).await, [None, second, None]);
    assert_eq!(stores.catalog.tag_history(&a, &tag("u"), 10).await.unwrap().len(), 3);
    assert_eq!(stores.catalog.tag_history(&b, &tag("t"), 10).await.unwrap(), []);
}

/// Those that are kept at least, and not without end.
pub async fn a_history_has_an_end(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    let pair = [simple(&stores, &a, 74, "").await, simple(&stores, &a, 75, "").await];
    for turn in 0..KEPT_MOVES + 11 {
        stored(&stores, &a, &pair[turn % 2], &["t"]).await;
    }
    let moves = stores.catalog.tag_history(&a, &tag("t"), usize::MAX).await.unwrap();
    assert_eq!(moves.len(), KEPT_MOVES);
    assert_eq!(moves[0].digest, Some(pair[(KEPT_MOVES + 10) % 2].digest()));
}
