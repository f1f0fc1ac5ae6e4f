//! Files of approved digests: what they say, what they do not, and who may change them.

use pier_oci::Platform;

use super::{written::FORMAT, *};
use crate::DigestKind;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn list(text: &str) -> ApprovedList {
    ApprovedList::parse(text.as_bytes()).unwrap()
}

fn entry(text: &str) -> ApprovedEntry {
    ApprovedEntry::new(Approval::of(digest(text)))
}

fn digests(list: &ApprovedList, choice: Choice<'_>, now: &str) -> Result<Vec<String>, ApprovedError> {
    let found = list.approvals(choice, &platform("linux/amd64"), time(now).unwrap())?;
    Ok(found.iter().map(|approval| approval.digest.to_string()).collect())
}

const NOW: &str = "2026-11-21T09:00:00Z";

#[test]
fn no_override_picks_newest() {
    let list = list(&format!("{{\"approved_hashes\":[\"{A}\",\"{B}\"]}}"));
    assert_eq!(digests(&list, Choice::Newest, NOW).unwrap(), [A]);
    assert_eq!(digests(&list, Choice::Any, NOW).unwrap(), [A, B]);
}

#[test]
fn override_present_and_override_not_present() {
    let list = list(&format!("{{\"approved_hashes\":[\"{A}\",\"{B}\"]}}"));
    assert_eq!(digests(&list, Choice::Override(&digest(B)), NOW).unwrap(), [B]);
    let other = Digest::sha256(b"other");
    assert_eq!(
        digests(&list, Choice::Override(&other), NOW),
        Err(ApprovedError::NotListed { digest: other })
    );
}

#[test]
fn old_defect_7_a_hash_without_its_prefix_is_the_same_digest() {
    let list = list(&format!("{{\"approved_hashes\":[\"{}\"]}}", &A[7..]));
    assert_eq!(digests(&list, Choice::Newest, NOW).unwrap(), [A]);
    assert_eq!(list.canonical(), format!("{{\"approved_hashes\":[\"{A}\"]}}").as_bytes());
}

#[track_caller]
fn malformed(text: &str, part: &str) {
    match ApprovedList::parse(text.as_bytes()).unwrap_err() {
        ApprovedError::Malformed { reason } => assert!(reason.contains(part), "{reason}"),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_malformed_approves_nothing() {
    malformed("", "EOF");
    malformed("[]", "neither `approved_hashes` alone");
    malformed("{}", "neither `approved_hashes` alone");
    malformed("{\"approved_hashes\":{}}", "expected a sequence");
    malformed("{\"approved_hashes\":[\"sha256:00\"]}", "64 hexadecimal digits");
    malformed("{\"approved_hashes\":[\"zz\"]}", "digest has 64");
    malformed(&format!("{{\"approved_hashes\":[\"{}\"]}}", A.to_uppercase()), "SHA256");
    malformed(&format!("{{\"approved_hashes\":[\"{A}\"],\"approved_hashes\":[\"{B}\"]}}"), "approved_hashes");
    malformed(&format!("{{\"approved_hashes\":[\"{A}\"],\"Approved_hashes\":[]}}"), "Approved_hashes");
    malformed(&format!("{{\"approved_hashes\":[\"{A}\"],\"more\":1}}"), "unknown field");
    malformed(&format!("{{\"approved_hashes\":[\"{A}\"]}} x"), "trailing");
    malformed(&format!("{{\"approved_hashes\":[\"{A}\"],\"version\":1}}"), "neither");
    malformed("{\"format\":\"pier-approved/2\",\"version\":1,\"approved\":[]}", "pier-approved/2");
    malformed("{\"format\":\"pier-approved/1\",\"version\":-1,\"approved\":[]}", "invalid value");
    let with = |rest: &str| {
        format!("{{\"format\":\"{FORMAT}\",\"version\":1,\"approved\":[{{\"digest\":\"{A}\",{rest}}}]}}")
    };
    malformed(&with("\"kind\":\"layer\""), "unknown variant");
    malformed(&with("\"not_after\":\"tomorrow\""), "is not a time");
    malformed(&with("\"not_after\":\"2026-11-21T09:00:00.5Z\""), "is not a time");
    malformed(&with("\"platform\":\"linux\""), "linux");
    malformed(&with("\"nota\":\"x\""), "unknown field");
    malformed(&" ".repeat(1 + (1 << 20)), "more than 1048576 bytes");
}

#[test]
fn an_empty_list_approves_nothing() {
    assert_eq!(digests(&list("{\"approved_hashes\":[]}"), Choice::Newest, NOW), Err(ApprovedError::Empty));
    let empty = ApprovedList::new();
    assert_eq!(digests(&empty, Choice::Any, NOW), Err(ApprovedError::Empty));
}

#[test]
fn what_is_out_of_its_time_or_for_another_platform_does_not_count() {
    let mut list = ApprovedList::new();
    list.add(ApprovedEntry { not_after: Some(time("2026-11-21T09:00:00Z").unwrap()), ..entry(A) }).unwrap();
    list.add(ApprovedEntry { not_before: Some(time("2026-11-21T09:00:02Z").unwrap()), ..entry(B) }).unwrap();
    assert_eq!(digests(&list, Choice::Any, "2026-11-21T09:00:00Z").unwrap(), [A]);
    assert_eq!(
        digests(&list, Choice::Any, "2026-11-21T09:00:01Z"),
        Err(ApprovedError::NoneInForce { known: 2 })
    );
    assert_eq!(digests(&list, Choice::Newest, "2026-11-21T09:00:02Z").unwrap(), [B]);
    let expired = Choice::Override(&digest(A));
    assert_eq!(
        digests(&list, expired, "2026-11-21T09:00:02Z"),
        Err(ApprovedError::NotListed { digest: digest(A) })
    );

    let mut list = ApprovedList::new();
    let arm = Approval { platform: Some(platform("linux/arm64")), ..Approval::of(digest(B)) };
    list.add(entry(A)).unwrap();
    list.add(ApprovedEntry::new(arm)).unwrap();
    assert_eq!(digests(&list, Choice::Newest, NOW).unwrap(), [A]);
}

/// Everything that an entry can say.
fn full() -> ApprovedList {
    let mut list = ApprovedList::new();
    list.add(ApprovedEntry {
        approval: Approval {
            digest: digest(A),
            kind: Some(DigestKind::Manifest),
            platform: Some(platform("linux/amd64")),
        },
        not_before: Some(time("2026-11-21T00:00:00Z").unwrap()),
        not_after: Some(time("2027-01-01T00:00:00Z").unwrap()),
        note: Some("release \"12\"".to_owned()),
    })
    .unwrap();
    list
}

#[test]
fn the_canonical_form_is_the_same_however_a_file_is_laid_out() {
    let list = full();
    let expected = format!(
        "{{\"approved\":[{{\"digest\":\"{A}\",\"kind\":\"manifest\",\"not_after\":\"2027-01-01T00:00:00Z\",\
         \"not_before\":\"2026-11-21T00:00:00Z\",\"note\":\"release \\\"12\\\"\",\"platform\":\"linux/amd64\"}}],\
         \"format\":\"pier-approved/1\",\"version\":1}}"
    );
    assert_eq!(String::from_utf8(list.canonical()).unwrap(), expected);
    assert_eq!(list.digest(), Digest::sha256(expected.as_bytes()));
    let again = ApprovedList::parse(&list.to_file()).unwrap();
    assert_eq!((again.canonical(), again), (list.canonical(), list));
}

#[test]
fn changes_raise_the_version_and_undo_the_signature() {
    let mut list = full();
    list.sign(&SigningKey::generate().unwrap()).unwrap();
    assert!(list.signed_by().is_some());
    list.add(entry(B)).unwrap();
    assert_eq!((list.version(), list.signed_by()), (Some(2), None));
    list.add(entry(B)).unwrap();
    assert_eq!((list.version(), list.entries.len()), (Some(3), 2));
    assert!(!list.remove(&Digest::sha256(b"other")).unwrap());
    assert_eq!(list.version(), Some(3));
    assert!(list.remove(&digest(B)).unwrap());
    assert_eq!((list.version(), list.entries.len()), (Some(4), 1));
}

#[test]
fn a_signature_by_the_key_is_accepted_and_nothing_else_is() {
    let (mine, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let mut list = full();
    assert_eq!(list.accept(&mine.public(), None), Err(ApprovedError::Unsigned));
    list.sign(&mine).unwrap();
    let read = ApprovedList::parse(&list.to_file()).unwrap();
    let accepted = Accepted { version: 1, digest: list.digest() };
    assert_eq!(read.accept(&mine.public(), None).unwrap(), accepted);
    assert_eq!(read.accept(&other.public(), None), Err(ApprovedError::AnotherKey { key: mine.public() }));
    // Whoever changes the list cannot sign it, nor say that somebody else has.
    let text = String::from_utf8(list.to_file()).unwrap();
    for (from, to) in [
        (A, B),
        ("\"version\": 1", "\"version\": 2"),
        ("release", "Release"),
        ("2027", "2037"),
        ("amd64", "arm64"),
        ("manifest", "config"),
    ] {
        let changed = ApprovedList::parse(text.replacen(from, to, 1).as_bytes()).unwrap();
        assert_eq!(changed.accept(&mine.public(), None), Err(ApprovedError::BadSignature), "{from}");
    }
    let mut forged = full();
    forged.sign(&other).unwrap();
    let forged = text.replace(&list.signature.unwrap().value, &forged.signature.unwrap().value);
    let forged = ApprovedList::parse(forged.as_bytes()).unwrap();
    assert_eq!(forged.accept(&mine.public(), None), Err(ApprovedError::BadSignature));
}

#[test]
fn a_version_never_goes_back_and_is_one_list() {
    let key = SigningKey::generate().unwrap();
    let mut old = full();
    old.sign(&key).unwrap();
    let mut new = full();
    new.add(entry(B)).unwrap();
    new.sign(&key).unwrap();
    let accepted = old.accept(&key.public(), None).unwrap();
    assert_eq!(old.accept(&key.public(), Some(&accepted)).unwrap(), accepted);
    let accepted = new.accept(&key.public(), Some(&accepted)).unwrap();
    assert_eq!(
        old.accept(&key.public(), Some(&accepted)),
        Err(ApprovedError::RolledBack { found: 1, accepted: 2 })
    );
    let mut other = full();
    other.add(entry("sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc")).unwrap();
    other.sign(&key).unwrap();
    assert_eq!(other.accept(&key.public(), Some(&accepted)), Err(ApprovedError::Forked { version: 2 }));
}

#[test]
fn keys_are_read_as_openssl_writes_them() {
    // RFC 8410, section 10.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let key = SigningKey::from_pem(PRIVATE).unwrap();
    assert_eq!(key.public(), PublicKey::from_pem(PUBLIC).unwrap());
    assert_eq!((key.to_pem().unwrap().as_str(), key.public().to_pem().as_str()), (PRIVATE, PUBLIC));
    assert_eq!(format!("{key:?}"), "SigningKey");
    for text in ["", PRIVATE, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert!(matches!(PublicKey::from_pem(text), Err(ApprovedError::Key { .. })));
    }
    for text in ["", PUBLIC, "-----BEGIN PRIVATE KEY-----\nA\n-----END PRIVATE KEY-----\n"] {
        assert!(matches!(SigningKey::from_pem(text), Err(ApprovedError::Key { .. })));
    }
}

#[test]
fn a_bare_list_cannot_be_signed() {
    let mut list = ApprovedList::bare();
    list.add(entry(A)).unwrap();
    assert_eq!(
        list.sign(&SigningKey::generate().unwrap()),
        Err(ApprovedError::NoPlace { what: "a signature" })
    );
    let end = time(NOW).unwrap();
    assert!(matches!(list.expire(end), Err(ApprovedError::NoPlace { .. })));
    assert!(matches!(list.add_in_place(entry(B), end), Err(ApprovedError::NoPlace { .. })));
    assert_eq!(
        (list.version(), list.to_file()),
        (None, format!("{{\n  \"approved_hashes\": [\n    \"{A}\"\n  ]\n}}\n").into_bytes())
    );
}

#[test]
fn a_list_counts_until_it_expires() {
    let key = SigningKey::generate().unwrap();
    let mut list = full();
    list.sign(&key).unwrap();
    let before = list.accept(&key.public(), None).unwrap();
    let end = time("2026-12-01T00:00:00Z").unwrap();
    list.expire(end).unwrap();
    // Another end is another list.
    assert_eq!((list.version(), list.expires(), list.signed_by()), (Some(2), Some(end), None));
    list.sign(&key).unwrap();
    list.expire(end).unwrap();
    assert_eq!(list.version(), Some(2), "it is the same end");
    let read = ApprovedList::parse(&list.to_file()).unwrap();
    assert_eq!(read, list);
    read.accept(&key.public(), Some(&before)).unwrap();
    assert_eq!(digests(&read, Choice::Newest, "2026-12-01T00:00:00Z").unwrap(), [A]);
    let expired = ApprovedError::Expired { expires: end };
    for choice in [Choice::Newest, Choice::Any, Choice::Override(&digest(A))] {
        assert_eq!(digests(&read, choice, "2026-12-01T00:00:01Z"), Err(expired.clone()));
    }
    assert!(expired.is_distrust());
    assert_eq!(expired.to_string(), "the list of approved digests expired at 2026-12-01T00:00:00Z");
    // Who carries it cannot have it count for longer.
    let text = String::from_utf8(list.to_file()).unwrap();
    for (from, to) in [("2026-12-01", "2036-12-01"), ("  \"expires\": \"2026-12-01T00:00:00Z\",\n", "")] {
        assert!(text.contains(from), "{text}");
        let changed = ApprovedList::parse(text.replace(from, to).as_bytes()).unwrap();
        assert_eq!(changed.accept(&key.public(), None), Err(ApprovedError::BadSignature), "{from}");
    }
}

#[test]
fn what_was_approved_before_counts_for_a_while_beside_the_new_one() {
    let mut list = ApprovedList::new();
    let arm = Approval { platform: Some(platform("linux/arm64")), ..Approval::of(digest(A)) };
    list.add(ApprovedEntry::new(arm)).unwrap();
    let soon = time("2026-11-22T00:00:00Z").unwrap();
    list.add(ApprovedEntry { not_after: Some(soon), ..entry(A) }).unwrap();
    list.add(entry(&Digest::sha256(b"older").to_string())).unwrap();
    let end = time("2026-11-28T09:00:00Z").unwrap();
    list.add_in_place(entry(B), end + Duration::from_millis(500)).unwrap();
    let ends: Vec<_> = list.entries().iter().map(|entry| entry.not_after).collect();
    // The new one has no end, an earlier end stays, and what is for another platform has nothing to do with it.
    assert_eq!(ends, [None, Some(end), Some(soon), None]);
    assert_eq!(list.version(), Some(4));
    assert_eq!(ApprovedList::parse(&list.to_file()).unwrap(), list);
}

#[test]
fn a_version_does_not_begin_anew() {
    let text = format!("{{\"format\":\"{FORMAT}\",\"version\":{},\"approved\":[]}}", u64::MAX);
    let mut list = list(&text);
    assert_eq!(list.add(entry(A)), Err(ApprovedError::LastVersion));
    assert_eq!(list.expire(time(NOW).unwrap()), Err(ApprovedError::LastVersion));
    assert_eq!((list.entries(), list.version(), list.expires()), (&[][..], Some(u64::MAX), None));
}

#[test]
fn what_stands_in_a_file_gives_a_terminal_no_orders() {
    let with = |key: &str| {
        format!(
            "{{\"format\":\"{FORMAT}\",\"version\":1,\"approved\":[],\
             \"signature\":{{\"key\":\"{key}\",\"value\":\"\"}}}}"
        )
    };
    malformed(&with("\\u001b[2J"), "`\\u{1b}[2J` is no key");
    malformed(&with("AAAA"), "`AAAA` is no key");
    malformed("{\"\\u001b[2J\":1}", "unknown field `\\u{1b}[2J`");
    malformed("{\"format\":\"\\u202e\",\"version\":1,\"approved\":[]}", "`\\u{202e}`");
}
