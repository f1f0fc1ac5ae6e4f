//! Manifests of every kind, and those that two readers could understand in two ways.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn entry(media_type: &MediaType, content: &str) -> Value {
    serde_json::to_value(descriptor(media_type, content)).unwrap()
}

fn descriptor(media_type: &MediaType, content: &str) -> Descriptor {
    Descriptor::new(media_type.clone(), Digest::sha256(content.as_bytes()), content.len() as u64)
}

/// An image without `mediaType`.
fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "config": entry(&MediaType::OCI_CONFIG, "config"),
        "layers": [entry(&MediaType::OCI_LAYER, "lower"), entry(&MediaType::OCI_LAYER, "upper")],
    })
}

/// An index without `mediaType`.
fn index() -> Value {
    json!({ "schemaVersion": 2, "manifests": [entry(&MediaType::OCI_MANIFEST, "image")] })
}

/// The document with some members changed.
fn with(mut document: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("{changes}") };
    document.as_object_mut().unwrap().extend(changes);
    document
}

fn without(mut document: Value, member: &str) -> Value {
    document.as_object_mut().unwrap().remove(member).unwrap();
    document
}

fn parse(text: impl Into<String>, declared: Option<&str>) -> Result<Manifest, ManifestError> {
    let declared: Option<MediaType> = declared.map(|declared| declared.parse().unwrap());
    Manifest::parse(text.into().into(), declared.as_ref())
}

#[test]
fn an_image_is_its_bytes_its_digest_and_what_it_says() {
    let subject = descriptor(&MediaType::OCI_MANIFEST, "subject");
    let document = with(
        image(),
        json!({
            "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example", "subject": subject,
            "annotations": { "a": "b" }, "unknown": { "Layers": 1 }
        }),
    );
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    let manifest = parse(&text, Some(OCI_MANIFEST)).unwrap();
    assert_eq!(manifest.bytes(), text.as_bytes());
    assert_eq!(manifest.digest(), Digest::sha256(text.as_bytes()));
    assert_eq!(manifest.size(), text.len() as u64);
    assert_eq!(*manifest.media_type(), MediaType::OCI_MANIFEST);
    let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    assert_eq!(
        *manifest.view(),
        View::Image(ImageManifest {
            config: descriptor(&MediaType::OCI_CONFIG, "config"),
            layers: ["lower", "upper"].map(|layer| descriptor(&MediaType::OCI_LAYER, layer)).into(),
            subject: Some(subject.clone()),
            artifact_type: Some("application/vnd.example".to_owned()),
            annotations: annotations.clone(),
        })
    );
    let config = descriptor(&MediaType::OCI_CONFIG, "config");
    let [lower, upper] = ["lower", "upper"].map(|layer| descriptor(&MediaType::OCI_LAYER, layer));
    let children = [(ChildKind::Config, &config), (ChildKind::Layer, &lower), (ChildKind::Layer, &upper)];
    assert_eq!(manifest.children().collect::<Vec<_>>(), children);
    assert_eq!(manifest.subject(), Some(&subject));
    let plain = Descriptor::new(MediaType::OCI_MANIFEST, manifest.digest(), manifest.size());
    assert_eq!(manifest.descriptor(), plain);
    let listed =
        Descriptor { artifact_type: Some("application/vnd.example".to_owned()), annotations, ..plain };
    assert_eq!(manifest.referrer_descriptor(), listed);
}

#[test]
fn an_index_names_manifests() {
    let manifest = parse(index().to_string(), None).unwrap();
    assert_eq!(*manifest.media_type(), MediaType::OCI_INDEX);
    let child = descriptor(&MediaType::OCI_MANIFEST, "image");
    assert_eq!(manifest.children().collect::<Vec<_>>(), [(ChildKind::Manifest, &child)]);
    assert_eq!(manifest.subject(), None);
    let expected =
        Index { manifests: vec![child], subject: None, artifact_type: None, annotations: BTreeMap::new() };
    assert_eq!(*manifest.view(), View::Index(expected));
}

#[test]
fn an_artifact_type_is_what_it_says_or_what_its_config_is() {
    let typed = json!({ "artifactType": "application/vnd.example" });
    for (document, expected) in [
        (image(), Some("application/vnd.oci.image.config.v1+json")),
        (with(image(), json!({ "artifactType": "" })), Some("application/vnd.oci.image.config.v1+json")),
        (with(image(), json!({ "artifactType": null })), Some("application/vnd.oci.image.config.v1+json")),
        (with(image(), typed.clone()), Some("application/vnd.example")),
        (index(), None),
        (with(index(), json!({ "artifactType": "" })), None),
        (with(index(), typed), Some("application/vnd.example")),
    ] {
        let manifest = parse(document.to_string(), None).unwrap();
        assert_eq!(manifest.artifact_type(), expected, "{document}");
        assert_eq!(manifest.referrer_descriptor().artifact_type.as_deref(), expected);
    }
}

fn check(document: &Value, declared: Option<&str>, expected: &str) {
    let manifest =
        parse(document.to_string(), declared).unwrap_or_else(|error| panic!("{document}: {error}"));
    assert_eq!(manifest.media_type().as_str(), expected, "{document}");
    let is_index = matches!(manifest.view(), View::Index(_));
    assert_eq!(is_index, manifest.media_type().kind() == Kind::Index, "{document}");
}

#[test]
fn the_type_is_declared_or_said_or_seen() {
    for (document, own) in
        [(image(), OCI_MANIFEST), (image(), DOCKER_MANIFEST), (index(), OCI_INDEX), (index(), DOCKER_LIST)]
    {
        check(&document, Some(own), own);
        let said = with(document.clone(), json!({ "mediaType": own }));
        check(&said, None, own);
        check(&said, Some(own), own);
        check(&said, Some(&own.to_ascii_uppercase()), own);
        check(&said, Some(&format!("{own}; charset=utf-8")), own);
    }
    for (document, seen) in [(image(), OCI_MANIFEST), (index(), OCI_INDEX)] {
        check(&document, None, seen);
        check(&with(document.clone(), json!({ "mediaType": null })), None, seen);
        check(&with(document, json!({ "mediaType": "" })), None, seen);
    }
}

#[test]
fn empty_images_and_indexes_and_the_nulls_of_go_are_taken() {
    for changes in [
        json!({ "layers": [] }),
        json!({ "layers": null }),
        json!({ "annotations": null, "subject": null, "artifactType": null }),
        json!({ "config": entry(&MediaType::OCI_EMPTY, "{}") }),
        json!({ "history": [], "signatures": null, "Custom": 1, "custom": 2 }),
    ] {
        check(&with(image(), changes), None, OCI_MANIFEST);
    }
    for changes in [json!({ "manifests": [] }), json!({ "manifests": null }), json!({ "config": null })] {
        check(&with(index(), changes), None, OCI_INDEX);
    }
    let inside = with(entry(&MediaType::OCI_MANIFEST, "image"), json!({ "urls": null, "platform": null }));
    check(&with(index(), json!({ "manifests": [inside] })), None, OCI_INDEX);
}

/// What was refused, as its kind with the reason.
fn refused(document: &Value, declared: Option<&str>) -> ManifestError {
    match parse(document.to_string(), declared) {
        Err(error) => error,
        Ok(manifest) => panic!("{document} is taken as {}", manifest.media_type()),
    }
}

fn confused(declared: &str, found: &str) -> ManifestError {
    ManifestError::Confused { declared: declared.to_owned(), found: found.to_owned() }
}

#[test]
fn a_document_of_two_shapes_is_refused() {
    let layers = json!({ "layers": image()["layers"] });
    let config = json!({ "config": image()["config"] });
    let manifests = json!({ "manifests": index()["manifests"] });
    for own in [OCI_MANIFEST, DOCKER_MANIFEST] {
        for (document, found) in [
            (with(image(), manifests.clone()), "it has `manifests`"),
            (with(image(), json!({ "manifests": [] })), "it has `manifests`"),
            (with(image(), json!({ "manifests": null })), "it has `manifests`"),
            (index(), "it has `manifests`"),
            (without(image(), "config"), "it has no `config`"),
            (with(image(), json!({ "config": null })), "it has no `config`"),
            (without(image(), "layers"), "it has no `layers`"),
            (json!({ "schemaVersion": 2 }), "it has no `config`"),
        ] {
            assert_eq!(refused(&document, Some(own)), confused(own, found), "{document}");
            let said = with(document, json!({ "mediaType": own }));
            assert_eq!(refused(&said, None), confused(own, found), "{said}");
        }
    }
    for own in [OCI_INDEX, DOCKER_LIST] {
        for (document, found) in [
            (with(index(), layers.clone()), "it has `layers`"),
            (with(index(), json!({ "layers": [] })), "it has `layers`"),
            (with(index(), json!({ "layers": null })), "it has `layers`"),
            (with(index(), config.clone()), "it has a `config`"),
            (image(), "it has a `config`"),
            (json!({ "schemaVersion": 2 }), "it has no `manifests`"),
        ] {
            assert_eq!(refused(&document, Some(own)), confused(own, found), "{document}");
            let said = with(document, json!({ "mediaType": own }));
            assert_eq!(refused(&said, None), confused(own, found), "{said}");
        }
    }
}

#[test]
fn a_document_without_a_type_has_to_have_one_shape() {
    let reason = "it has no `mediaType`, and its members do not tell what it is".to_owned();
    for document in [
        json!({ "schemaVersion": 2 }),
        json!({ "schemaVersion": 2, "config": image()["config"] }),
        with(image(), json!({ "manifests": index()["manifests"] })),
        with(image(), json!({ "manifests": null })),
        with(index(), json!({ "layers": null })),
    ] {
        assert_eq!(
            refused(&document, None),
            ManifestError::Malformed { reason: reason.clone() },
            "{document}"
        );
    }
    let without_config = without(image(), "config");
    assert_eq!(refused(&without_config, None), confused(OCI_MANIFEST, "it has no `config`"));
    let with_config = with(index(), json!({ "config": image()["config"] }));
    assert_eq!(refused(&with_config, None), confused(OCI_INDEX, "it has a `config`"));
}

#[test]
fn a_type_that_is_not_the_documents_own_is_refused() {
    let all = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
    for own in all {
        let shape = if own == OCI_INDEX || own == DOCKER_LIST { index() } else { image() };
        let document = with(shape, json!({ "mediaType": own }));
        for declared in all.into_iter().filter(|declared| *declared != own).chain(["application/json"]) {
            let expected = confused(declared, &format!("its own `mediaType` is `{own}`"));
            assert_eq!(refused(&document, Some(declared)), expected);
        }
    }
}

#[test]
fn what_is_no_manifests_type_is_refused() {
    for text in [
        "application/json",
        "application/octet-stream",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.artifact.manifest.v1+json",
    ] {
        let expected = ManifestError::NotAManifest { found: text.parse().unwrap() };
        assert_eq!(refused(&image(), Some(text)), expected);
        assert_eq!(refused(&with(index(), json!({ "mediaType": text })), None), expected);
    }
}

#[test]
fn schema_1_is_refused_by_its_name() {
    let schema1 = json!({
        "schemaVersion": 1, "name": "library/alpine", "tag": "latest", "architecture": "amd64",
        "fsLayers": [{ "blobSum": Digest::sha256(b"").to_string() }], "history": [], "signatures": [],
    });
    for declared in [
        None,
        Some("application/vnd.docker.distribution.manifest.v1+json"),
        Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
        Some("application/json"),
        Some(OCI_MANIFEST),
    ] {
        assert_eq!(refused(&schema1, declared), ManifestError::Schema1);
    }
    assert_eq!(refused(&with(image(), json!({ "fsLayers": [] })), None), ManifestError::Schema1);
    assert_eq!(refused(&with(image(), json!({ "fsLayers": null })), None), ManifestError::Schema1);
    let prettyjws = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    assert_eq!(refused(&image(), Some(prettyjws)), ManifestError::Schema1);
    assert_eq!(refused(&with(image(), json!({ "mediaType": prettyjws })), None), ManifestError::Schema1);
}

/// Text in place of a document, and how the reason begins.
fn check_malformed(text: &str, expected: &str) {
    match parse(text, None) {
        Err(ManifestError::Malformed { reason }) => {
            assert!(reason.starts_with(expected), "{text}: {reason}");
            assert!(reason.len() < 1000, "{reason}");
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn what_is_no_document_is_refused() {
    for (text, expected) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("null", "invalid type: null"),
        ("7", "invalid type: integer"),
        ("\"{}\"", "invalid type: string"),
        ("{}", "missing field `schemaVersion`"),
        ("<html>not found</html>", "expected value"),
        (&format!("{} {}", image(), image()), "trailing characters"),
        (&with(image(), json!({ "schemaVersion": 3 })).to_string(), "its schemaVersion is 3 and not 2"),
        (&with(image(), json!({ "schemaVersion": 0 })).to_string(), "its schemaVersion is 0 and not 2"),
        (&with(image(), json!({ "schemaVersion": "2" })).to_string(), "invalid type: string"),
        (&with(image(), json!({ "schemaVersion": -2 })).to_string(), "invalid value: integer"),
        (&with(image(), json!({ "schemaVersion": null })).to_string(), "invalid type: null"),
        (&with(image(), json!({ "mediaType": "json" })).to_string(), "`json` is not a media type"),
        (&with(image(), json!({ "layers": {} })).to_string(), "invalid type: map"),
        (&with(image(), json!({ "layers": [null] })).to_string(), "invalid type: null"),
        (&with(image(), json!({ "annotations": { "a": 1 } })).to_string(), "invalid type: integer"),
        (&with(image(), json!({ "config": { "size": 1 } })).to_string(), "missing field"),
        (&with(image(), json!({ "schemaVersion": "2".repeat(1 << 20) })).to_string(), "invalid type: string"),
        (&with(image(), json!({ "mediaType": "j".repeat(1 << 20) })).to_string(), "`jjjj"),
    ] {
        check_malformed(text, expected);
    }
    let latin1 = Bytes::from_static(b"{\"schemaVersion\":2,\"annotations\":{\"a\":\"\xe4\"}}");
    let Err(ManifestError::Malformed { reason }) = Manifest::parse(latin1, None) else { panic!() };
    assert!(reason.starts_with("invalid utf-8 sequence"), "{reason}");
}

/// An image with text put behind its opening brace.
fn image_beginning_with(members: &str) -> String {
    image().to_string().replacen('{', &format!("{{{members},"), 1)
}

#[test]
fn a_member_that_comes_twice_is_refused() {
    for member in ["schemaVersion", "config", "layers"] {
        let text = image_beginning_with(&format!("\"{member}\":{}", image()[member]));
        check_malformed(&text, &format!("the member `{member}` comes twice"));
    }
    for (member, value) in [
        ("mediaType", "\"\""),
        ("artifactType", "null"),
        ("subject", "null"),
        ("annotations", "{}"),
        ("manifests", "[]"),
        ("fsLayers", "[]"),
        ("unknown", "1"),
    ] {
        let twice = format!("\"{member}\":{value},\"{member}\":{value}");
        check_malformed(&image_beginning_with(&twice), &format!("the member `{member}` comes twice"));
    }
    check_malformed(
        &image_beginning_with("\"annotations\":{\"a\":\"1\",\"a\":\"2\"}"),
        "the member `a` comes twice",
    );
}

#[test]
fn a_member_that_comes_twice_in_a_descriptor_is_refused() {
    for (member, value) in [
        ("mediaType", "\"application/vnd.oci.image.layer.v1.tar\"".to_owned()),
        ("digest", format!("\"{}\"", Digest::sha256(b"other"))),
        ("size", "7".to_owned()),
        ("unknown", "1,\"unknown\":2".to_owned()),
        ("urls", "[],\"urls\":[]".to_owned()),
        ("data", "\"\",\"data\":\"\"".to_owned()),
    ] {
        let plain = entry(&MediaType::OCI_LAYER, "upper").to_string();
        let twice = plain.replacen('{', &format!("{{\"{member}\":{value},"), 1);
        let text = image().to_string().replace(&plain, &twice);
        check_malformed(&text, &format!("the member `{member}` comes twice"));
    }
    let platform = "{\"os\":\"linux\",\"architecture\":\"amd64\",\"os\":\"linux\"}";
    let text = index().to_string().replace("\"size\":", &format!("\"platform\":{platform},\"size\":"));
    check_malformed(&text, "the member `os` comes twice");
}

#[test]
fn a_member_that_only_some_readers_know_is_refused() {
    // An index to one reader, an image to Go, which takes no notice of case.
    let digest = Digest::sha256(b"");
    for (member, known) in [
        ("Layers", "layers"),
        ("LAYERS", "layers"),
        ("layer\u{17f}", "layers"),
        ("manife\u{17f}t\u{17f}", "manifests"),
        ("Manifests", "manifests"),
        ("Config", "config"),
        ("mediatype", "mediaType"),
        ("MediaType", "mediaType"),
        ("schemaversion", "schemaVersion"),
        ("Subject", "subject"),
        ("ArtifactType", "artifactType"),
        ("Annotations", "annotations"),
        ("fslayers", "fsLayers"),
    ] {
        let expected = format!("some readers take the member `{member}` for `{known}`");
        check_malformed(&with(index(), json!({ member: null })).to_string(), &expected);
        check_malformed(&with(image(), json!({ member: [] })).to_string(), &expected);
    }
    for (member, value, known) in [
        ("Digest", json!(digest.to_string()), "digest"),
        ("DIGEST", json!(digest.to_string()), "digest"),
        ("Size", json!(0), "size"),
        ("MediaType", json!("a/b"), "mediaType"),
        ("URLs", json!([]), "urls"),
        ("Data", json!("e30="), "data"),
        ("Platform", json!({}), "platform"),
    ] {
        let inside = with(entry(&MediaType::OCI_MANIFEST, "image"), json!({ member: value }));
        let expected = format!("some readers take the member `{member}` for `{known}`");
        check_malformed(&with(index(), json!({ "manifests": [inside.clone()] })).to_string(), &expected);
        check_malformed(&with(image(), json!({ "config": inside.clone() })).to_string(), &expected);
        check_malformed(&with(image(), json!({ "subject": inside })).to_string(), &expected);
    }
    let platform = json!({ "os": "linux", "architecture": "amd64", "OS.Version": "10" });
    let inside = with(entry(&MediaType::OCI_MANIFEST, "image"), json!({ "platform": platform }));
    let text = with(index(), json!({ "manifests": [inside] })).to_string();
    check_malformed(&text, "some readers take the member `OS.Version` for `os.version`");
}

#[test]
fn annotations_and_unknown_members_may_have_any_names() {
    let names = json!({ "Layers": "a", "layers": "b", "Digest": "c", "mediatype": "d" });
    let document = with(image(), json!({ "annotations": names, "custom": names }));
    let manifest = parse(document.to_string(), None).unwrap();
    assert_eq!(manifest.annotations()["Layers"], "a");
    assert_eq!(manifest.annotations()["layers"], "b");
}

#[test]
fn content_in_a_descriptor_is_checked() {
    let empty = |data: &str| {
        let config = with(entry(&MediaType::OCI_EMPTY, "{}"), json!({ "data": data }));
        with(image(), json!({ "config": config })).to_string()
    };
    assert!(parse(empty("e30="), None).is_ok());
    check_malformed(&empty("W10="), "the `data` of the descriptor of `sha256:44136fa355b3678a");
}

/// An image of exactly so many bytes.
fn image_of(size: usize) -> String {
    let mut text = image().to_string();
    text.extend(std::iter::repeat_n(' ', size - text.len()));
    text
}

#[test]
fn a_manifest_has_a_largest_size() {
    let limit = usize::try_from(MAX_MANIFEST_BYTES).unwrap();
    assert_eq!(parse(image_of(limit), None).unwrap().size(), MAX_MANIFEST_BYTES);
    let too_large = Err(ManifestError::TooLarge { found: MAX_MANIFEST_BYTES + 1 });
    let bytes = Bytes::from(image_of(limit + 1));
    assert_eq!(Manifest::parse(bytes.clone(), None), too_large);
    assert_eq!(Manifest::parse_with(bytes.clone(), None, Algorithm::Sha512), too_large);
    let digest = Digest::sha256(&bytes);
    assert_eq!(Manifest::parse_expecting(bytes, None, digest), too_large);
}

#[test]
fn deep_nesting_is_refused_or_passed_over_and_needs_no_stack() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(500_000), close.repeat(500_000));
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let thread = small.spawn(move || {
        for deep in [deep("[", "]"), deep("{\"a\":", "}")] {
            // The value of a member that nobody reads costs no stack at all.
            let text = image_beginning_with(&format!("\"unknown\":{deep}"));
            assert!(parse(text, None).is_ok());
            for member in ["annotations", "subject", "manifests", "mediaType", "artifactType"] {
                let text = image_beginning_with(&format!("\"{member}\":{deep}"));
                assert!(matches!(parse(text, None), Err(ManifestError::Malformed { .. })), "{member}");
            }
            assert!(matches!(parse(deep, None), Err(ManifestError::Malformed { .. })));
        }
        let descriptor = "{\"platform\":".repeat(300_000);
        let text = image_beginning_with(&format!("\"subject\":{descriptor}"));
        assert!(matches!(parse(text, None), Err(ManifestError::Malformed { .. })));
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn bytes_that_were_asked_for_have_to_be_those() {
    let bytes = Bytes::from(image().to_string());
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = Digest::of(algorithm, &bytes);
        let manifest = Manifest::parse_expecting(bytes.clone(), None, digest).unwrap();
        assert_eq!(manifest.digest(), digest);
        assert_eq!(Manifest::parse_with(bytes.clone(), None, algorithm), Ok(manifest));
        let expected = Digest::of(algorithm, b"else");
        let mismatch = ManifestError::Mismatch { expected, actual: digest };
        assert_eq!(Manifest::parse_expecting(bytes.clone(), None, expected), Err(mismatch));
    }
    assert_eq!(Manifest::parse(bytes.clone(), None).unwrap().digest(), Digest::sha256(&bytes));
    // The digest is looked at before the bytes are read.
    let garbage = Bytes::from_static(b"{");
    let expected = Digest::sha256(b"");
    let mismatch = ManifestError::Mismatch { expected, actual: Digest::sha256(b"{") };
    assert_eq!(Manifest::parse_expecting(garbage, None, expected), Err(mismatch));
}

#[test]
fn hints_say_what_to_do() {
    assert_eq!(
        ManifestError::Schema1.hint(),
        Some("push the image again with a current tool, which writes schema 2 or OCI")
    );
    let confused = refused(&index(), Some(OCI_MANIFEST));
    assert_eq!(confused.hint(), Some("send the manifest with the Content-Type that its `mediaType` says"));
    assert_eq!(ManifestError::TooLarge { found: 5 << 20 }.hint(), None);
}

/// A document with members of either shape, or none, in any order.
fn documents() -> impl Strategy<Value = String> {
    let members = [
        "\"schemaVersion\":2".to_owned(),
        "\"schemaVersion\":1".to_owned(),
        format!("\"mediaType\":\"{OCI_INDEX}\""),
        format!("\"mediaType\":\"{DOCKER_MANIFEST}\""),
        "\"mediaType\":null".to_owned(),
        format!("\"config\":{}", image()["config"]),
        format!("\"layers\":{}", image()["layers"]),
        format!("\"Layers\":{}", image()["layers"]),
        format!("\"manifests\":{}", index()["manifests"]),
        "\"manifests\":null".to_owned(),
        "\"fsLayers\":[]".to_owned(),
        "\"annotations\":{\"layers\":\"\"}".to_owned(),
    ];
    prop::collection::vec(prop::sample::select(members.to_vec()), 0..6)
        .prop_map(|members| format!("{{{}}}", members.join(",")))
}

proptest! {
    #[test]
    fn any_bytes_parse_or_are_refused(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            documents().prop_map(String::into_bytes),
            (documents(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
                let mut bytes = text.into_bytes();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes
            }),
        ],
        declared in prop::option::of(prop::sample::select(MediaType::MANIFESTS.to_vec())),
    ) {
        if let Ok(manifest) = Manifest::parse(bytes.clone().into(), declared.as_ref()) {
            prop_assert_eq!(&manifest.bytes()[..], &bytes[..]);
            let is_index = matches!(manifest.view(), View::Index(_));
            prop_assert_eq!(manifest.media_type().kind(), if is_index { Kind::Index } else { Kind::Manifest });
            // A reader that is told nothing but the type, and one that sees only members, see the same.
            let seen: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(seen.get("manifests").is_some(), is_index);
            prop_assert_eq!(seen.get("layers").is_some(), !is_index);
            let again = Manifest::parse(bytes.into(), Some(manifest.media_type()));
            prop_assert_eq!(again, Ok(manifest));
        }
    }
}
