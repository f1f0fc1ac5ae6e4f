//! Copies between made-up sources and targets that keep a ledger of every call: what is asked for, in which order, and what a failure leaves.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use super::*;
use crate::fixtures::{
    CONFIG, FOREIGN, IMAGE, LAYER, Ledger, Shelf, digest, entry, entry_for, named, platform, reference,
    repository, tag,
};

const FROM: &str = "r.test/from:t";

async fn run(shelf: &Shelf, ledger: &Ledger, options: &CopyOptions) -> Result<Copied> {
    copy(
        shelf,
        &reference(FROM),
        ledger,
        &repository("r.test/to:t"),
        &[tag("new")],
        options,
        &Progress::default(),
    )
    .await
}

fn one(text: &str) -> CopyOptions {
    CopyOptions { platforms: Platforms::One(platform(text)), ..CopyOptions::default() }
}

/// An index of two images that share a layer, and an attestation of the first.
fn shelf() -> (Shelf, [serde_json::Value; 4]) {
    let mut shelf = Shelf::default();
    let amd = shelf.image("amd", &[b"base", b"amd layer"]);
    let arm = shelf.image("arm", &[b"base", b"arm layer"]);
    let mut attestation = entry_for(shelf.image("attestation", &[b"provenance"]), "unknown/unknown");
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": amd["digest"],
    });
    let amd = entry_for(amd, "linux/amd64");
    let arm = entry_for(arm, "linux/arm64");
    let index = shelf.index(&[amd.clone(), arm.clone(), attestation.clone()]);
    shelf.tag("t", &index);
    (shelf, [index, amd, arm, attestation])
}

#[tokio::test]
async fn a_copy_can_move_between_threads() {
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    let (shelf, _) = shelf();
    sendable(run(&shelf, &Ledger::default(), &CopyOptions::default())).await.unwrap();
}

/// What the ledger is told for a blob.
fn sent(bytes: &[u8]) -> String {
    format!("blob {}", digest(bytes))
}

fn config(name: &str) -> String {
    sent(format!("{{\"config\":\"{name}\"}}").as_bytes())
}

fn stored(completeness: &str, entry: &serde_json::Value) -> String {
    format!("{completeness} {}", named(entry))
}

#[tokio::test]
async fn copies_leaves_first_root_next_tag_last() {
    let (shelf, [index, amd, arm, attestation]) = shelf();
    let ledger = Ledger::default();
    let options = CopyOptions { blobs_at_once: NonZeroUsize::MIN, ..CopyOptions::default() };

    let copied = run(&shelf, &ledger, &options).await.unwrap();

    let told = [
        config("amd"),
        sent(b"base"),
        sent(b"amd layer"),
        config("arm"),
        sent(b"arm layer"),
        config("attestation"),
        sent(b"provenance"),
        stored("Strict", &amd),
        stored("Strict", &arm),
        stored("Strict", &attestation),
        format!("{} new", stored("Strict", &index)),
    ];
    assert_eq!(ledger.told(), told);
    assert_eq!(copied.root, shelf.descriptor(&index));
    assert_eq!(copied.completeness, Completeness::Strict);
    assert_eq!(
        copied.images.iter().map(|image| image.digest).collect::<Vec<_>>(),
        [named(&amd), named(&arm)]
    );
}

#[tokio::test]
async fn keeps_the_index_when_one_platform_is_wanted_and_says_that_the_others_are_absent() {
    let (shelf, [index, _, arm, _]) = shelf();
    let ledger = Ledger::default();

    let copied = run(&shelf, &ledger, &one("linux/arm64")).await.unwrap();

    let told = ledger.told();
    assert_eq!(told[3..], [stored("Strict", &arm), format!("{} new", stored("Sparse", &index))]);
    assert_eq!(copied.completeness, Completeness::Sparse);
    assert_eq!(copied.images.iter().map(|image| image.digest).collect::<Vec<_>>(), [named(&arm)]);
}

#[tokio::test]
async fn a_second_platform_completes_what_the_first_left_out() {
    let (shelf, [index, amd, ..]) = shelf();
    let ledger = Ledger::default();
    run(&shelf, &ledger, &one("linux/arm64")).await.unwrap();
    ledger.told();

    let platforms = Platforms::List(vec![platform("linux/amd64"), platform("linux/arm64")]);
    let copied = run(&shelf, &ledger, &CopyOptions { platforms, ..CopyOptions::default() }).await.unwrap();

    let told = ledger.told();
    assert_eq!(told.len(), 4, "the shared layer and the other image are there: {told:?}");
    assert_eq!(told[2..], [stored("Strict", &amd), format!("{} new", stored("Sparse", &index))]);
    assert_eq!(copied.images.len(), 2);
}

#[tokio::test]
async fn no_platforms_are_none_and_not_all() {
    let (shelf, [index, ..]) = shelf();
    let ledger = Ledger::default();
    let options = CopyOptions { platforms: Platforms::List(Vec::new()), ..CopyOptions::default() };
    run(&shelf, &ledger, &options).await.unwrap();
    assert_eq!(ledger.told(), [format!("{} new", stored("Sparse", &index))]);
}

#[tokio::test]
async fn a_platform_that_is_not_there_copies_nothing() {
    let (shelf, _) = shelf();
    let ledger = Ledger::default();
    let error = run(&shelf, &ledger, &one("linux/s390x")).await.unwrap_err();
    let Error::NoPlatform { available, .. } = error else { panic!("{error}") };
    assert_eq!(available, [platform("linux/amd64"), platform("linux/arm64")]);
    assert_eq!(ledger.told(), Vec::<String>::new());
}

#[tokio::test]
async fn an_image_that_the_target_has_costs_no_manifest_and_no_blob() {
    let (shelf, [index, ..]) = shelf();
    let ledger = Ledger::default();
    run(&shelf, &ledger, &CopyOptions::default()).await.unwrap();
    ledger.told();
    shelf.asked();

    run(&shelf, &ledger, &CopyOptions::default()).await.unwrap();

    assert_eq!(shelf.asked(), ["manifest t"]);
    assert_eq!(ledger.told(), [format!("{} new", stored("Strict", &index))]);
}

#[tokio::test]
async fn a_root_image_that_the_target_has_gets_its_tags() {
    let mut shelf = Shelf::default();
    let image = shelf.image("c", &[b"layer"]);
    shelf.tag("t", &image);
    let ledger = Ledger::default();
    for sends in [3, 1] {
        let copied = run(&shelf, &ledger, &one("linux/s390x")).await.unwrap();
        assert_eq!(copied.images, [shelf.descriptor(&image)]);
        let told = ledger.told();
        assert_eq!(told.len(), sends);
        assert_eq!(told.last().unwrap(), &format!("{} new", stored("Strict", &image)));
    }
}

#[tokio::test]
async fn sends_a_blob_that_is_named_twice_once() {
    let mut shelf = Shelf::default();
    let image = shelf.image("c", &[b"same", b"other", b"same"]);
    shelf.tag("t", &image);
    let ledger = Ledger::default();
    run(&shelf, &ledger, &CopyOptions::default()).await.unwrap();
    assert_eq!(ledger.told().iter().filter(|told| **told == sent(b"same")).count(), 1);
}

#[tokio::test]
async fn refuses_one_digest_with_two_sizes() {
    let mut shelf = Shelf::default();
    let config = shelf.blob(CONFIG, b"{}");
    let mut lie = shelf.blob(LAYER, b"{}");
    lie["size"] = 3.into();
    let image =
        shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [lie] }));
    shelf.tag("t", &image);
    let error = run(&shelf, &Ledger::default(), &CopyOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

#[tokio::test]
async fn sends_no_more_blobs_at_once_than_asked() {
    let mut shelf = Shelf::default();
    let layers: Vec<Vec<u8>> = (0..20).map(|layer| vec![layer; 300]).collect();
    let image = shelf.image("c", &layers.iter().map(Vec::as_slice).collect::<Vec<_>>());
    shelf.tag("t", &image);
    let ledger = Ledger::default();
    run(&shelf, &ledger, &CopyOptions::default()).await.unwrap();
    assert_eq!(ledger.sending_most.load(SeqCst), 4);
}

#[tokio::test]
async fn mounts_what_another_repository_of_the_target_shows() {
    let mut shelf = Shelf::default();
    let image = shelf.image("c", &[b"layer", b"new"]);
    shelf.tag("t", &image);
    let ledger = Ledger::default();
    let other = repository("r.test/other:t");
    ledger.blobs.lock().unwrap().insert((other.name.clone(), digest(b"layer")), 5);
    let options = CopyOptions {
        mount_from: MountFrom::repository(other),
        blobs_at_once: NonZeroUsize::MIN,
        ..CopyOptions::default()
    };

    run(&shelf, &ledger, &options).await.unwrap();

    let told = ledger.told();
    assert_eq!(told[..3], [config("c"), format!("mount {}", digest(b"layer")), sent(b"new")]);
}

#[test]
fn a_blob_is_mounted_from_where_it_is_known_to_be_before_anywhere_else() {
    let (sure, maybe) = (repository("r.test/sure"), repository("r.test/maybe"));
    let known = [(digest(b"layer"), sure.clone())].into();
    let guesses = MountFrom { known, any: Some(maybe.clone()) };
    assert_eq!(guesses.guess(&digest(b"layer")), Some(&sure));
    assert_eq!(guesses.guess(&digest(b"other")), Some(&maybe));
    assert_eq!(MountFrom::default().guess(&digest(b"layer")), None);
}

#[tokio::test]
async fn a_layer_that_may_not_be_distributed_is_left_out_when_the_source_has_none() {
    let mut shelf = Shelf::default();
    let config = shelf.blob(CONFIG, b"{}");
    let layers = [entry(FOREIGN, b"licensed"), shelf.blob(FOREIGN, b"mirrored"), shelf.blob(LAYER, b"free")];
    let image =
        shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers }));
    shelf.tag("t", &image);
    let ledger = Ledger::default();

    let copied = run(&shelf, &ledger, &CopyOptions::default()).await.unwrap();

    assert_eq!(copied.withheld.iter().map(|layer| layer.digest).collect::<Vec<_>>(), [digest(b"licensed")]);
    assert!(ledger.told().contains(&sent(b"mirrored")));
}

#[tokio::test]
async fn a_layer_that_the_source_lacks_ends_the_copy() {
    let mut shelf = Shelf::default();
    let image = shelf.image("c", &[b"layer"]);
    shelf.tag("t", &image);
    shelf.blobs.remove(&digest(b"layer"));
    let ledger = Ledger::default();
    let error = run(&shelf, &ledger, &CopyOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(ledger.tags.lock().unwrap().is_empty());
    assert!(ledger.manifests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_digest_in_the_reference_is_checked_whatever_the_source_says() {
    let mut shelf = Shelf::default();
    let image = shelf.image("c", &[]);
    let asked = digest(b"something else");
    let liar = shelf.manifests[&named(&image)].clone();
    shelf.manifests.insert(asked, liar);
    let ledger = Ledger::default();
    let outcome = copy(
        &shelf,
        &reference(&format!("r.test/from:t@{asked}")),
        &ledger,
        &repository("r.test/to:t"),
        &[],
        &CopyOptions::default(),
        &Progress::default(),
    )
    .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Integrity { expected, .. } if expected == asked), "{error}");
    assert_eq!(ledger.told(), Vec::<String>::new());
}

#[tokio::test]
async fn indexes_that_lie_too_deep_are_refused_before_anything_is_sent() {
    let mut shelf = Shelf::default();
    let mut top = shelf.image("c", &[]);
    for _ in 0..4 {
        top = shelf.index(&[top]);
    }
    shelf.tag("t", &top);
    run(&shelf, &Ledger::default(), &CopyOptions::default()).await.unwrap();

    let top = shelf.index(&[top]);
    shelf.tag("t", &top);
    let ledger = Ledger::default();
    let error = run(&shelf, &ledger, &CopyOptions::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { reason, .. } if reason.contains("4 indexes")), "{error}");
    assert_eq!(ledger.told(), Vec::<String>::new());
}

#[tokio::test]
async fn an_index_of_layers_is_copied_whole() {
    let mut shelf = Shelf::default();
    let layer = shelf.blob(LAYER, b"cache");
    let cache = shelf.index(&[layer]);
    shelf.tag("t", &cache);
    let ledger = Ledger::default();
    run(&shelf, &ledger, &CopyOptions::default()).await.unwrap();
    assert_eq!(ledger.told(), [sent(b"cache"), format!("{} new", stored("Strict", &cache))]);
}

/// Lets an artifact refer to `subject` and gives its entry.
fn refer(shelf: &mut Shelf, subject: &serde_json::Value, name: &str) -> serde_json::Value {
    let config = shelf.blob("application/vnd.oci.empty.v1+json", b"{}");
    let layer = shelf.blob("application/vnd.example.signature", name.as_bytes());
    let referrer = shelf.keep(&json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer],
        "subject": { "mediaType": subject["mediaType"], "digest": subject["digest"], "size": subject["size"] },
    }));
    let descriptor = shelf.descriptor(&referrer);
    shelf.referrers.entry(named(subject)).or_default().push(descriptor);
    referrer
}

#[tokio::test]
async fn referrers_come_along_before_the_root_when_asked() {
    let (mut shelf, [index, amd, arm, attestation]) = shelf();
    let signature = refer(&mut shelf, &index, "signature of the index");
    let sbom = refer(&mut shelf, &amd, "sbom of the image");
    let signed_sbom = refer(&mut shelf, &sbom, "signature of the sbom");
    let left_out = refer(&mut shelf, &arm, "signature of another image");
    let ledger = Ledger::default();

    let copied = run(&shelf, &ledger, &CopyOptions { referrers: Referrers::Include, ..one("linux/amd64") })
        .await
        .unwrap();

    let told: Vec<String> = ledger.told().into_iter().filter(|told| !told.starts_with("blob")).collect();
    let expected = [
        stored("Strict", &signature),
        stored("Strict", &sbom),
        stored("Strict", &signed_sbom),
        stored("Strict", &amd),
        stored("Strict", &attestation),
        format!("{} new", stored("Sparse", &index)),
    ];
    assert_eq!(told, expected);
    assert!(!told.contains(&stored("Strict", &left_out)));
    assert_eq!(copied.images.iter().map(|image| image.digest).collect::<Vec<_>>(), [named(&amd)]);
}

#[tokio::test]
async fn a_referrer_that_lists_its_subject_does_not_take_the_tags_from_the_root() {
    let mut shelf = Shelf::default();
    let image = shelf.image("c", &[]);
    shelf.tag("t", &image);
    let list = shelf.index(std::slice::from_ref(&image));
    let descriptor = shelf.descriptor(&list);
    shelf.referrers.insert(named(&image), vec![descriptor]);
    let ledger = Ledger::default();
    run(&shelf, &ledger, &CopyOptions { referrers: Referrers::Include, ..CopyOptions::default() })
        .await
        .unwrap();
    assert_eq!(
        ledger.told()[1..],
        [stored("Strict", &image), stored("Strict", &list), format!("{} new", stored("Strict", &image))]
    );
}

#[tokio::test]
async fn an_endless_row_of_referrers_is_refused() {
    let mut shelf = Shelf::default();
    let image = shelf.image("c", &[]);
    shelf.tag("t", &image);
    let mut subject = image;
    for step in 0..5 {
        subject = refer(&mut shelf, &subject, &format!("step {step}"));
    }
    let options = CopyOptions { referrers: Referrers::Include, ..CopyOptions::default() };
    let ledger = Ledger::default();
    let error = run(&shelf, &ledger, &options).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { reason, .. } if reason.contains("4 steps")), "{error}");
    assert_eq!(ledger.told(), Vec::<String>::new());
}

/// Whichever call of the source fails, the target shows no tag; its manifests are complete, since the ledger
/// insists on that; and the next run finishes.
#[tokio::test]
async fn a_failure_at_any_call_leaves_no_tag_and_the_next_run_completes() {
    let options = || CopyOptions { referrers: Referrers::Include, ..CopyOptions::default() };
    let (mut calls, mut at) = (usize::MAX, 0);
    while at < calls {
        let (mut shelf, [index, ..]) = shelf();
        refer(&mut shelf, &index, "signature");
        let whole = Ledger::default();
        run(&shelf, &whole, &options()).await.unwrap();
        calls = shelf.asked().len();

        shelf.calls.store(0, SeqCst);
        shelf.fails_at = Some(at);
        let ledger = Ledger::default();
        let error = run(&shelf, &ledger, &options()).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{at}: {error}");
        assert!(ledger.tags.lock().unwrap().is_empty(), "{at}");
        assert!(ledger.manifests.lock().unwrap().is_empty(), "{at}");

        run(&shelf, &ledger, &options()).await.unwrap();
        assert_eq!(*ledger.tags.lock().unwrap(), *whole.tags.lock().unwrap(), "{at}");
        assert_eq!(
            ledger.manifests.lock().unwrap().keys().collect::<Vec<_>>(),
            whole.manifests.lock().unwrap().keys().collect::<Vec<_>>(),
            "{at}"
        );
        assert_eq!(*ledger.blobs.lock().unwrap(), *whole.blobs.lock().unwrap(), "{at}");
        at += 1;
    }
    assert_eq!(at, 19, "five manifests, five lists of referrers, nine blobs");
}

#[tokio::test]
async fn a_failure_of_the_target_at_any_call_leaves_no_tag_and_the_next_run_completes() {
    let (shelf, _) = shelf();
    let whole = Ledger::default();
    run(&shelf, &whole, &CopyOptions::default()).await.unwrap();
    let calls = whole.calls.load(SeqCst);
    assert_eq!(calls, 21, "ten questions, seven blobs, four manifests");
    for at in 0..calls {
        let ledger = Ledger { fails_at: Some(at), ..Ledger::default() };
        let error = run(&shelf, &ledger, &CopyOptions::default()).await.unwrap_err();
        assert!(matches!(error, Error::StorageFull { .. }), "{at}: {error}");
        assert!(ledger.tags.lock().unwrap().is_empty(), "{at}");

        run(&shelf, &ledger, &CopyOptions::default()).await.unwrap();
        assert_eq!(*ledger.tags.lock().unwrap(), *whole.tags.lock().unwrap(), "{at}");
        assert_eq!(*ledger.blobs.lock().unwrap(), *whole.blobs.lock().unwrap(), "{at}");
    }
}

#[tokio::test]
async fn the_first_error_stops_what_else_is_under_way() {
    let mut shelf = Shelf { stalls: Some(digest(b"slow")), ..Shelf::default() };
    let image = shelf.image("c", &[b"slow", b"lost"]);
    shelf.tag("t", &image);
    shelf.blobs.remove(&digest(b"lost"));
    let ledger = Ledger::default();
    let error = run(&shelf, &ledger, &CopyOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(ledger.sending.load(SeqCst) > 0, "the slow blob was under way");
    assert!(ledger.manifests.lock().unwrap().is_empty());
}
