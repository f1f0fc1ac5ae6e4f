//! Platforms as people write them and as containerd names them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

#[test]
fn a_platform_has_one_name() {
    for (text, expected) in [
        ("linux/amd64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/x86_64/v1", "linux/amd64"),
        ("linux/x86_64/V3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("linux/i686", "linux/386"),
        ("linux/386", "linux/386"),
        ("linux/arm64", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/aarch64/9", "linux/arm64/v9"),
        ("linux/arm64/9.0", "linux/arm64/v9"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm64/v9.2", "linux/arm64/v9.2"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/5", "linux/arm/v5"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/8", "linux/arm/v8"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("macOS/aarch64", "darwin/arm64"),
        ("windows/amd64", "windows/amd64"),
        ("linux/s390x", "linux/s390x"),
    ] {
        let parsed = platform(text);
        assert_eq!(parsed.to_string(), expected, "{text}");
        assert_eq!(parsed.normalized(), parsed, "{text}");
    }
}

#[test]
fn what_is_no_platform_is_refused() {
    for text in
        ["", "linux", "linux/", "/amd64", "linux//v8", "linux/arm/v7/x", "lin ux/amd64", "linux/ä", "a/b\n"]
    {
        let error = text.parse::<Platform>().unwrap_err();
        assert_eq!(error, PlatformError { found: text.replace('\n', "\\n") }, "{text}");
    }
    assert!("a".repeat(1000).parse::<Platform>().unwrap_err().found.len() < 100);
}

#[test]
fn rust_names_become_go_names() {
    use Endian::{Big, Little};
    for (os, architecture, endian, expected) in [
        ("linux", "x86_64", Little, "linux/amd64"),
        ("linux", "x86", Little, "linux/386"),
        ("linux", "aarch64", Little, "linux/arm64"),
        ("macos", "aarch64", Little, "darwin/arm64"),
        ("linux", "arm", Little, "linux/arm/v6"),
        ("linux", "powerpc64", Little, "linux/ppc64le"),
        ("linux", "powerpc64", Big, "linux/ppc64"),
        ("linux", "powerpc", Big, "linux/ppc"),
        ("linux", "mips", Big, "linux/mips"),
        ("linux", "mips", Little, "linux/mipsle"),
        ("linux", "mips64", Big, "linux/mips64"),
        ("linux", "mips64", Little, "linux/mips64le"),
        ("linux", "loongarch64", Little, "linux/loong64"),
        ("linux", "riscv64", Little, "linux/riscv64"),
        ("linux", "s390x", Big, "linux/s390x"),
    ] {
        assert_eq!(Platform::named_by_rust(os, architecture, endian), platform(expected), "{architecture}");
    }
    let here = Platform::from_rust(std::env::consts::OS, std::env::consts::ARCH);
    assert_eq!(here, here.normalized());
}

/// The expected platforms without their system, from the second on; the first is the platform itself.
fn check_compatible(text: &str, expected: &[&str]) {
    let all: Vec<_> = platform(text).compatible().iter().map(ToString::to_string).collect();
    let mut whole = vec![platform(text).to_string()];
    whole.extend(expected.iter().map(|name| format!("linux/{name}")));
    assert_eq!(all, whole, "{text}");
}

#[test]
fn what_runs_here_comes_best_first() {
    check_compatible("linux/amd64", &["386"]);
    check_compatible("linux/amd64/v2", &["amd64", "386"]);
    check_compatible("linux/amd64/v4", &["amd64/v3", "amd64/v2", "amd64", "386"]);
    check_compatible("linux/386", &[]);
    check_compatible("linux/arm/v5", &[]);
    check_compatible("linux/arm/v6", &["arm/v5"]);
    check_compatible("linux/arm", &["arm/v6", "arm/v5"]);
    check_compatible("linux/arm/v8", &["arm/v7", "arm/v6", "arm/v5"]);
    let arm = ["arm/v8", "arm/v7", "arm/v6", "arm/v5"];
    check_compatible("linux/arm64", &arm);
    check_compatible("linux/arm64/v8.2", &[&["arm64/v8.1", "arm64"][..], &arm].concat());
    let v8 = ["arm64/v8.5", "arm64/v8.4", "arm64/v8.3", "arm64/v8.2", "arm64/v8.1", "arm64"];
    check_compatible("linux/arm64/v9", &[&v8[..], &arm].concat());
    check_compatible("linux/arm64/v9.1", &[&["arm64/v9", "arm64/v8.6"][..], &v8, &arm].concat());
    check_compatible("linux/s390x", &[]);
    check_compatible("linux/riscv64", &[]);
}

#[test]
fn an_unknown_variant_runs_only_itself_and_what_needs_no_variant() {
    check_compatible("linux/amd64/v0", &["386"]);
    check_compatible("linux/amd64/x", &["386"]);
    check_compatible("linux/arm/x", &[]);
    check_compatible("linux/arm/v200", &[]);
    check_compatible("linux/arm64/x", &[]);
    check_compatible("linux/arm64/v10", &[]);
    check_compatible("linux/arm64/v8.99", &[]);
}

#[test]
fn deserialised_platforms_stay_as_written_and_match_by_their_normal_names() {
    let written: Platform =
        serde_json::from_value(json!({ "os": "linux", "architecture": "arm64", "variant": "v8" })).unwrap();
    assert_eq!(written.to_string(), "linux/arm64/v8");
    assert_ne!(written, platform("linux/arm64"));
    assert_eq!(written.normalized(), platform("linux/arm64"));
    assert!(platform("linux/arm64").matches(&written));
    assert!(written.matches(&platform("linux/arm64")));
    assert!(!platform("linux/arm").matches(&written));
    assert!(!platform("darwin/arm64").matches(&written));
    assert!(!platform("linux/arm64/v9").matches(&written));
    let empty: Platform =
        serde_json::from_value(json!({ "os": "Linux", "architecture": "x86_64", "variant": "" })).unwrap();
    assert!(platform("linux/amd64").matches(&empty));
}

#[test]
fn an_image_that_asks_for_more_than_there_is_does_not_match() {
    let with = |os: &str, features: &[&str]| Platform {
        os_features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        ..Platform::new(os, "amd64", None)
    };
    assert!(with("linux", &["b", "a"]).matches(&with("linux", &["a"])));
    assert!(with("linux", &["a"]).matches(&with("linux", &[])));
    assert!(!with("linux", &[]).matches(&with("linux", &["a"])));
    assert!(!with("linux", &["b"]).matches(&with("linux", &["a", "b"])));
    // Older Windows images ask for it, and it never decided.
    assert!(with("windows", &[]).matches(&with("windows", &["win32k"])));
    assert!(!with("linux", &[]).matches(&with("linux", &["win32k"])));
}

#[test]
fn nulls_of_go_are_empty() {
    let document = json!({
        "os": "windows", "architecture": "amd64", "variant": null, "os.version": null, "os.features": null
    });
    assert_eq!(
        serde_json::from_value::<Platform>(document).unwrap(),
        Platform::new("windows", "amd64", None)
    );
}

#[test]
fn serialises_as_it_is_read() {
    let document = json!({
        "os": "windows", "architecture": "amd64", "os.version": "10.0.17763.1", "os.features": ["win32k"]
    });
    let read: Platform = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), document);
}

proptest! {
    #[test]
    fn any_text_parses_to_what_it_prints_or_is_refused(
        text in prop_oneof![".*", "[a-zA-Z0-9._-]{1,6}/[a-z0-9._-]{1,6}(/[Vv]?[0-9.]{1,5})?", "linux/(arm|arm64|amd64)/v?[0-9.]{1,5}"]
    ) {
        if let Ok(parsed) = text.parse::<Platform>() {
            prop_assert_eq!(parsed.to_string().parse::<Platform>().unwrap(), parsed.clone());
            prop_assert_eq!(parsed.normalized(), parsed.clone());
            let all = parsed.compatible();
            prop_assert_eq!(&all[0], &parsed);
            prop_assert!(all.len() <= 32);
            for (place, one) in all.iter().enumerate() {
                prop_assert_eq!(one.normalized(), one.clone());
                prop_assert!(!all[..place].contains(one), "{} is listed twice", one);
            }
        }
    }
}
