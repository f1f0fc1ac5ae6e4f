//! Published digests, texts that are none, and properties of all of them.

use proptest::prelude::*;

use super::*;
use crate::strategies;

/// Of the empty text (FIPS 180-4).
const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SHA512: &str = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                      47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

#[test]
fn digests_of_nothing_are_as_published() {
    for (algorithm, hex) in [(Algorithm::Sha256, SHA256), (Algorithm::Sha512, SHA512)] {
        let digest = Digest::of(algorithm, b"");
        assert_eq!(digest.hex(), hex);
        assert_eq!(digest.to_string(), format!("{algorithm}:{hex}"));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.algorithm(), algorithm);
        assert_eq!(digest.as_bytes().len(), algorithm.digest_len());
    }
    assert_eq!(Digest::sha256(b""), Digest::of(Algorithm::Sha256, b""));
}

fn check(text: &str, expected: DigestError) {
    assert_eq!(text.parse::<Digest>(), Err(expected), "{text:?}");
}

#[test]
fn only_the_one_spelling_is_a_digest() {
    for text in ["", SHA256, "sha256", "../../etc/passwd", "sha256-e3b0"] {
        check(text, DigestError::NoAlgorithm { found: excerpt(text) });
    }
    for algorithm in
        ["", "SHA256", "Sha256", "md5", "sha1", "sha384", "blake3", " sha256", "sha256 ", "sha256+b64"]
    {
        let found = algorithm.to_owned();
        check(&format!("{algorithm}:{SHA256}"), DigestError::UnknownAlgorithm { found });
    }
    let length = |algorithm, expected, found| DigestError::Length { algorithm, expected, found };
    for (text, found) in [
        (format!("sha256:{}", &SHA256[1..]), 63),
        (format!("sha256:{SHA256}0"), 65),
        (format!("sha256:{SHA256}\n"), 65),
        (format!("sha256: {SHA256}"), 65),
        (format!("sha256:{SHA512}"), 128),
        ("sha256:".to_owned(), 0),
        ("sha256:../../../etc/passwd".to_owned(), 19),
    ] {
        check(&text, length(Algorithm::Sha256, 64, found));
    }
    check(&format!("sha512:{SHA256}"), length(Algorithm::Sha512, 128, 64));
    for (at, found) in [(0, 'E'), (3, 'G'), (9, '/'), (20, '.'), (63, ' '), (5, '\0'), (7, ':'), (8, '`')] {
        let mut hex = SHA256.to_owned();
        hex.replace_range(at..=at, &found.to_string());
        check(&format!("sha256:{hex}"), DigestError::NotHex { found, position: at });
    }
    // Two bytes of text that are one character keep the length and are found nevertheless.
    check(&format!("sha256:é{}", &SHA256[2..]), DigestError::NotHex { found: 'é', position: 0 });
    check(&format!("sha256:{}", SHA256.to_uppercase()), DigestError::NotHex { found: 'E', position: 0 });
}

#[test]
fn hints_say_how_a_digest_is_written() {
    let hint = |text: String| text.parse::<Digest>().unwrap_err().hint();
    assert_eq!(hint(format!("sha256:{}", SHA256.to_uppercase())), "write the digest in lower case");
    assert_eq!(
        hint("latest".to_owned()),
        "a digest is `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits"
    );
}

#[test]
fn a_refused_text_is_shown_short_and_without_control_characters() {
    for text in ["a\u{1b}[31m".repeat(10_000), format!("\n{}:00", "b".repeat(100_000))] {
        let shown = text.parse::<Digest>().unwrap_err().to_string();
        assert!(shown.len() < 800 && !shown.contains(char::is_control), "{shown}");
    }
    let shown = format!("sha256:\u{7}{}", &SHA256[1..]).parse::<Digest>().unwrap_err().to_string();
    assert_eq!(shown, "`\\u{7}` at position 0 of a digest is not a lower-case hexadecimal digit");
}

#[test]
fn raw_bytes_have_to_be_as_many_as_the_algorithm_makes() {
    for (algorithm, len) in [(Algorithm::Sha256, 32), (Algorithm::Sha512, 64)] {
        for found in [0, len - 1, len + 1, 1000] {
            let expected = DigestError::Length { algorithm, expected: 2 * len, found: 2 * found };
            assert_eq!(Digest::from_bytes(algorithm, &vec![0; found]), Err(expected));
        }
    }
}

#[test]
fn digests_of_one_beginning_and_two_algorithms_differ() {
    let short = Digest::from_bytes(Algorithm::Sha256, &[0; 32]).unwrap();
    let long = Digest::from_bytes(Algorithm::Sha512, &[0; 64]).unwrap();
    assert_ne!(short, long);
}

#[test]
fn serialises_as_text() {
    let digest = Digest::sha256(b"");
    let text = format!("\"sha256:{SHA256}\"");
    assert_eq!(serde_json::to_string(&digest).unwrap(), text);
    assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
    // Escaped text cannot be borrowed and is read nevertheless.
    assert_eq!(serde_json::from_str::<Digest>(&text.replace("sha", "\\u0073ha")).unwrap(), digest);
    assert!(serde_json::from_str::<Digest>("\"latest\"").is_err());
    assert!(serde_json::from_str::<Digest>("7").is_err());
}

proptest! {
    #[test]
    fn digests_print_as_they_parse(digest in strategies::digest()) {
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        prop_assert_eq!(Digest::from_bytes(digest.algorithm(), digest.as_bytes()), Ok(digest));
        prop_assert_eq!(digest.hex().len(), 2 * digest.as_bytes().len());
    }

    #[test]
    fn any_text_is_what_the_digest_prints_or_is_refused(
        text in prop_oneof![".*", "sha(256:[0-9a-fA-F]{64}|512:[0-9a-f]{127,129})", "sha256:[0-9a-fé]{62,65}"]
    ) {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text);
        }
    }

    #[test]
    fn the_hash_does_not_depend_on_the_pieces(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)
    ) {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut hasher = Hasher::new(algorithm);
            for piece in &pieces {
                hasher.update(piece);
            }
            prop_assert_eq!(hasher.algorithm(), algorithm);
            prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &pieces.concat()));
        }
    }
}
