//! Manifests, indexes and configs, as a registry sends them: what is accepted keeps its bytes, is not read in two ways,
//! and names only content that can be named.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pier_oci::{Digest, ImageConfig, MAX_MANIFEST_BYTES, Manifest, MediaType, View};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    for declared in [
        None,
        Some(MediaType::OCI_INDEX),
        Some(MediaType::OCI_MANIFEST),
        Some(MediaType::DOCKER_MANIFEST),
        Some(MediaType::DOCKER_LIST),
    ] {
        let Ok(manifest) = Manifest::parse(bytes.clone(), declared.as_ref()) else { continue };
        assert_eq!(manifest.bytes(), &bytes);
        assert_eq!(manifest.digest(), Digest::sha256(data));
        assert!(manifest.size() <= MAX_MANIFEST_BYTES as u64);
        if let Some(declared) = &declared {
            assert_eq!(manifest.media_type(), declared);
        }
        // A reader that goes by the fields and one that goes by the type see the same kind of document.
        match (manifest.view(), serde_json::from_slice::<serde_json::Value>(data)) {
            (View::Index(_), Ok(document)) => {
                assert!(document.get("layers").is_none() && document.get("config").is_none());
            }
            (_, Ok(document)) => assert!(document.get("manifests").is_none()),
            // Half of a surrogate pair, in a member that nobody here reads.
            (_, Err(error)) => assert!(error.is_syntax() && str::from_utf8(data).is_ok(), "{error}"),
        }
        let again =
            Manifest::parse(bytes.clone(), Some(manifest.media_type())).expect("its own type is right");
        assert_eq!(again.descriptor(), manifest.descriptor());
        assert_eq!(again.children().count(), manifest.children().count());
        drop(manifest.referrer_descriptor());
    }
    if let Ok(config) = ImageConfig::parse(data) {
        assert!(config.diff_ids.len() <= data.len());
    }
});
