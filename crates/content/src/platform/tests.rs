//! Which image of an index is chosen, as tables of platforms, and by properties of any index.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{IMAGE, INDEX, Shelf, entry, entry_for, named, parse, platform, repository};

/// An entry for a platform, `-` for none, `?` for an attestation; told apart by its place in the index.
fn listed(place: usize, text: &str) -> Value {
    let entry = entry(IMAGE, format!("image {place}").as_bytes());
    match text {
        "-" => entry,
        "?" => entry_for(entry, "unknown/unknown"),
        text => entry_for(entry, text),
    }
}

/// The place of the entry that is chosen.
fn chosen(entries: &[Value], wanted: &Platform) -> Option<usize> {
    let manifest = parse(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }));
    let digest = choose(index_of(&manifest).unwrap(), wanted)?.digest;
    entries.iter().position(|entry| named(entry) == digest)
}

fn check(entries: &[&str], wanted: &str, expected: Option<usize>) {
    let listed: Vec<Value> = entries.iter().enumerate().map(|(place, text)| listed(place, text)).collect();
    assert_eq!(chosen(&listed, &platform(wanted)), expected, "{wanted} of {entries:?}");
}

#[test]
fn chooses_by_system_and_architecture() {
    check(&["linux/amd64", "linux/arm64"], "linux/arm64", Some(1));
    check(&["windows/amd64", "linux/amd64"], "linux/amd64", Some(1));
    check(&["linux/s390x", "linux/ppc64le"], "linux/riscv64", None);
    check(&[], "linux/amd64", None);
}

#[test]
fn the_exact_variant_wins_over_compatible_ones() {
    check(&["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v6", Some(1));
    check(&["linux/arm/v5", "linux/arm/v7"], "linux/arm/v6", Some(0));
    check(&["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", Some(1));
    check(&["linux/arm/v7"], "linux/arm/v6", None);
}

#[test]
fn an_entry_without_a_variant_has_the_implied_one() {
    check(&["linux/arm64/v8"], "linux/arm64", Some(0));
    check(&["linux/arm64"], "linux/arm64/v8", Some(0));
    check(&["linux/arm/v6", "linux/arm"], "linux/arm/v7", Some(1));
}

#[test]
fn never_chooses_an_attestation() {
    check(&["?", "linux/amd64"], "linux/amd64", Some(1));
    check(&["?"], "linux/amd64", None);
    check(&["?"], "unknown/unknown", None);
    let mut annotated = listed(0, "linux/amd64");
    annotated["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    assert_eq!(chosen(&[annotated.clone()], &platform("linux/amd64")), None);
    assert_eq!(chosen(&[annotated, listed(1, "linux/amd64")], &platform("linux/amd64")), Some(1));
}

#[test]
fn an_entry_without_platform_is_a_last_resort() {
    check(&["-"], "linux/amd64", Some(0));
    check(&["-", "?"], "linux/amd64", Some(0));
    check(&["-", "linux/amd64"], "linux/amd64", Some(1));
    check(&["-", "linux/amd64"], "linux/arm64", None);
    check(&["-", "-"], "linux/amd64", None);
}

fn windows(place: usize, version: Option<&str>) -> Value {
    let mut entry = listed(place, "windows/amd64");
    if let Some(version) = version {
        entry["platform"]["os.version"] = version.into();
    }
    entry
}

#[test]
fn windows_gets_the_newest_release_that_it_runs() {
    fn check(versions: &[Option<&str>], wanted: &str, expected: Option<usize>) {
        let entries: Vec<_> =
            versions.iter().enumerate().map(|(place, version)| windows(place, *version)).collect();
        let wanted = Platform { os_version: Some(wanted.to_owned()), ..platform("windows/amd64") };
        assert_eq!(chosen(&entries, &wanted), expected, "{versions:?}");
    }
    let (old, new) = (Some("10.0.17763.9"), Some("10.0.17763.6532"));
    check(&[old, new], "10.0.17763.1", Some(1));
    check(&[None, old], "10.0.17763", Some(1));
    check(&[None], "10.0.17763", Some(0));
    check(&[Some("10.0.20348.1")], "10.0.17763.1", None);
    check(&[old], "10.0.20348.1", None);
    check(&[Some("10.0.20348.1"), Some("10.0.25398.9")], "10.0.26100.1", Some(1));
    check(&[Some("10.0.20348.1"), Some("10.0.26100.9")], "10.0.25398.1", Some(0));
}

/// A shelf whose tag `t` names an index of these, below so many further indexes.
fn nested(entries: &[Value], around: usize, mut shelf: Shelf) -> Shelf {
    let mut top = shelf.index(entries);
    for _ in 0..around {
        top = shelf.index(&[top]);
    }
    shelf.tag("t", &top);
    shelf
}

async fn select_in(shelf: &Shelf, wanted: &str) -> Result<Selected> {
    let repository = repository("r.test/a:t");
    let mut manifests = Manifests::new(shelf, &repository, 4 << 20);
    let root = manifests.root(&pier_oci::Selector::Tag(crate::fixtures::tag("t"))).await?;
    select(&mut manifests, &root, &platform(wanted)).await
}

#[tokio::test]
async fn follows_nested_indexes_up_to_the_limit() {
    let shelf = nested(&[listed(0, "linux/amd64"), listed(1, "linux/arm64")], 3, Shelf::default());
    let selected = select_in(&shelf, "linux/arm64").await.unwrap();
    assert_eq!(selected.indexes.len(), 4);
    assert_eq!(selected.image.digest, named(&listed(1, "")));

    let shelf = nested(&[listed(0, "linux/amd64")], 4, Shelf::default());
    let error = select_in(&shelf, "linux/amd64").await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { reason, .. } if reason.contains("4 indexes")), "{error}");
}

#[tokio::test]
async fn goes_on_when_a_nested_index_has_nothing() {
    let mut shelf = Shelf::default();
    let without = shelf.index(&[listed(0, "linux/s390x")]);
    let with = shelf.index(&[listed(1, "linux/amd64")]);
    let shelf = nested(&[without.clone(), with, without], 0, shelf);
    assert_eq!(select_in(&shelf, "linux/amd64").await.unwrap().image.digest, named(&listed(1, "")));
}

#[tokio::test]
async fn asks_for_an_index_that_is_listed_often_only_once() {
    let mut shelf = Shelf::default();
    let inner = shelf.index(&[listed(0, "linux/s390x")]);
    let shelf = nested(&vec![inner; 50], 0, shelf);
    select_in(&shelf, "linux/amd64").await.unwrap_err();
    assert_eq!(shelf.asked().len(), 2);
}

#[tokio::test]
async fn says_which_platforms_there_are() {
    let mut shelf = Shelf::default();
    let inner = shelf.index(&[listed(0, "linux/s390x"), listed(1, "?")]);
    let shelf = nested(&[listed(2, "linux/arm/v7"), inner, listed(3, "linux/arm/v7")], 0, shelf);
    let error = select_in(&shelf, "linux/amd64").await.unwrap_err();
    let Error::NoPlatform { wanted, available } = &error else { panic!("{error}") };
    assert_eq!(**wanted, platform("linux/amd64"));
    assert_eq!(*available, [platform("linux/arm/v7"), platform("linux/s390x")]);
    assert_eq!(
        error.to_string(),
        "no image for platform `linux/amd64`, there is `linux/arm/v7`, `linux/s390x`"
    );
}

#[tokio::test]
async fn takes_an_image_that_stands_alone_as_it_is() {
    let mut shelf = Shelf::default();
    let image = shelf.image("c", &[]);
    shelf.tag("t", &image);
    let selected = select_in(&shelf, "linux/s390x").await.unwrap();
    assert!(selected.indexes.is_empty());
    assert_eq!(selected.image.digest, named(&image));
}

#[tokio::test]
async fn refuses_a_child_that_is_not_what_its_descriptor_says() {
    async fn check(change: impl Fn(&mut Value), code: &str) {
        let mut shelf = Shelf::default();
        let mut inner = shelf.index(&[listed(0, "linux/amd64")]);
        change(&mut inner);
        let shelf = nested(&[inner], 0, shelf);
        assert_eq!(select_in(&shelf, "linux/amd64").await.unwrap_err().code(), code);
    }
    check(|inner| inner["size"] = 7.into(), "size").await;
    check(
        |inner| inner["mediaType"] = "application/vnd.docker.distribution.manifest.list.v2+json".into(),
        "invalid",
    )
    .await;
}

proptest! {
    #[test]
    fn the_choice_is_the_best_of_what_runs(
        entries in prop::collection::vec(
            prop::sample::select(vec![
                "linux/amd64", "linux/386", "linux/arm64", "linux/arm64/v8", "linux/arm", "linux/arm/v5",
                "linux/arm/v6", "linux/arm/v7", "windows/amd64", "linux/s390x", "?", "-",
            ]),
            0..12,
        ),
        wanted in prop::sample::select(vec![
            "linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/s390x", "windows/amd64",
        ]),
    ) {
        let wanted = platform(wanted);
        let listed: Vec<Value> = entries.iter().enumerate().map(|(place, text)| listed(place, text)).collect();
        let place = chosen(&listed, &wanted);

        let rank = |text: &str| {
            if matches!(text, "?" | "-") {
                return None;
            }
            wanted.compatible().iter().position(|runs| same_machine(runs, &platform(text)))
        };
        let best = entries.iter().filter_map(|text| rank(text)).min();
        match place.map(|place| entries[place]) {
            Some("-") => {
                prop_assert_eq!(best, None);
                prop_assert_eq!(entries.iter().filter(|text| **text != "?").count(), 1);
            }
            Some(text) => {
                prop_assert_eq!(rank(text), best);
                // Of several alike the index decides.
                prop_assert_eq!(place, entries.iter().position(|text| rank(text) == best));
            }
            None => prop_assert_eq!(best, None),
        }
    }
}
