//! Names of images that are none.

use crate::pier::Store;

#[track_caller]
fn check(reference: &str, expected: &str) {
    Store::empty().pier(&["rm", reference]).refused(2, expected);
}

#[test]
fn what_is_no_reference_is_refused_with_its_reason() {
    check(
        "",
        "error: an image reference is missing\n\
         hint: name an image, for example `alpine:3.22` or `ghcr.io/owner/app@sha256:…`\n",
    );
    check(
        "Foo/bar",
        "error: `Foo/bar` is not an image reference: `Foo/bar` is not a repository name: it has upper-case letters\n\
         hint: write it in lower case\n",
    );
    check(
        "https://x",
        "error: `https://x` is a URL and not an image reference\nhint: leave out the scheme: `host/repository:tag`\n",
    );
    check(
        "a@sha256:12",
        "error: `a@sha256:12` is not an image reference: a sha256 digest has 64 hexadecimal digits, this one has 2\n\
         hint: a digest is `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits\n",
    );
    check(
        "a:.b",
        "error: `a:.b` is not an image reference: `.b` is not a tag: it begins with something other than a letter, a \
         digit or `_`\n",
    );
}

#[test]
fn one_wrong_reference_among_several_changes_nothing() {
    let store = Store::empty();
    let said = store.pier(&["rm", "a:1", "B:1"]);
    assert_eq!(said.status, 2);
    // The store was not even opened.
    assert_eq!(std::fs::read_dir(store.data()).unwrap().count(), 0);
}
