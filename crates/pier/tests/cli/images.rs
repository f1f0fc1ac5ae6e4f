//! `pier images`

use serde_json::json;

use crate::pier::Store;
use crate::registry::{Image, Registry, digest, index};

#[test]
fn an_empty_store_lists_nothing() {
    let store = Store::empty();
    assert_eq!(store.data_of(&["images"]), "REPOSITORY  TAG  DIGEST  SIZE\n");
    assert_eq!(store.json_of(&["images"]), json!([]));
}

#[test]
fn every_tag_is_listed_with_the_size_of_all_that_it_needs() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let image = Image::new(&[7; 5000]);
    let name = registry.push("team/app", "2", &image);
    registry.push("team/app", "1", &image);
    let untagged = Image::new(b"untagged");
    registry.push("a", &digest(&untagged.manifest), &untagged);

    let listed = store.json_of(&["images"]);
    let facts: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|image| {
            json!([image["repository"], image["tag"], image["digest"], image["size"], image["absent"]])
        })
        .collect();
    let expected = [
        json!(["a", null, digest(&untagged.manifest), untagged.size(), 0]),
        json!(["team/app", "1", name, image.size(), 0]),
        json!(["team/app", "2", name, image.size(), 0]),
    ];
    assert_eq!(facts, expected);
    assert_eq!(listed[0]["media_type"], "application/vnd.oci.image.manifest.v1+json");

    let short = |digest: &str| digest[.."sha256:".len() + 12].to_owned();
    let text = store.data_of(&["images"]);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let [first, second] = [digest(&untagged.manifest), name.clone()].map(|digest| short(&digest));
    let size = |image: &Image| match image.size() {
        small @ 0..1000 => format!("{small} B"),
        large => format!("{}.{} kB", (large + 50) / 1000, (large + 50) % 1000 / 100),
    };
    assert_eq!(
        lines,
        [
            vec!["REPOSITORY", "TAG", "DIGEST", "SIZE"],
            vec!["a", "-", &first, &size(&untagged)],
            vec!["team/app", "1", &second, &size(&image)],
            vec!["team/app", "2", &second, &size(&image)],
        ]
    );
    assert!(store.data_of(&["images", "--digests"]).contains(&format!("  {name}  ")));
}

#[test]
fn what_an_index_names_counts_once_and_what_is_not_here_is_counted() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let (here, there) = (Image::new(b"here"), Image::new(b"there"));
    for image in [&here, &there] {
        registry.push("multi", &digest(&image.manifest), image);
    }
    let index = index(&[&here.manifest, &there.manifest]);
    registry.push_manifest("multi", "latest", &index);
    let listed = store.json_of(&["images"]);
    // Both images have the same config.
    let whole = index.len() + here.size() + there.size() - here.config.len();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!((&listed[0]["size"], &listed[0]["absent"]), (&json!(whole), &json!(0)));

    // A layer that rots and is forgotten by a repair is absent from then on.
    std::fs::remove_file(store.blob(&digest(b"there"))).unwrap();
    assert_eq!(store.pier(&["fsck", "--repair"]).status, 4);
    let listed = store.json_of(&["images"]);
    assert_eq!((&listed[0]["size"], &listed[0]["absent"]), (&json!(whole - b"there".len()), &json!(1)));
    let text = store.data_of(&["images"]);
    assert!(text.ends_with(" (1 absent)\n"), "{text}");
}
