//! What a server said when it refused, fit to be shown: one line, short, and without what we sent it.

use serde_json::Value;

use crate::refusal::tidy;

/// The reason in a body: the specification's errors, OAuth2's, or what token servers use besides. Empty when it says nothing that is
/// meant for people; a page of HTML is not. Texts in `secrets` are taken out, since some servers repeat what they were sent.
pub(super) fn said(body: &[u8], secrets: &[&str]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let text = |value: &Value, names: &[&str]| {
        names
            .iter()
            .find_map(|name| value.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
    };
    let entry = value.get("errors").and_then(|errors| errors.get(0)).unwrap_or(&value);
    let code = text(entry, &["code", "error"]);
    let message = text(entry, &["message", "error_description", "details", "detail"]);
    let words = match (code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(words), None) | (None, Some(words)) => words,
        (None, None) => String::new(),
    };
    tidy(&without(words, secrets))
}

/// The error codes of the specification in a body.
pub(super) fn codes(body: &[u8]) -> Vec<String> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let errors = value.get("errors").and_then(Value::as_array);
    errors.into_iter().flatten().filter_map(|entry| entry.get("code")?.as_str().map(str::to_owned)).collect()
}

fn without(words: String, secrets: &[&str]) -> String {
    // A secret of a letter or two says nothing by itself, and taking it out would leave no word whole.
    secrets.iter().filter(|secret| secret.len() > 3).fold(words, |words, secret| words.replace(secret, "…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_in_every_usual_form() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
                "UNAUTHORIZED: authentication required",
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, "DENIED"),
            (r#"{"errors":[]}"#, ""),
            (r#"{"error":"invalid_grant","error_description":"it expired"}"#, "invalid_grant: it expired"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"message":"a\nb\u001b[31m"}"#, "a b [31m"),
            (r#"{"message":["x"]}"#, ""),
            (r#""text""#, ""),
            ("<html>Sign in</html>", ""),
            ("", ""),
        ] {
            assert_eq!(said(body.as_bytes(), &[]), expected, "{body}");
        }
        let long = format!(r#"{{"message":"{}"}}"#, "ä".repeat(1000));
        assert_eq!(said(long.as_bytes(), &[]).chars().count(), 301);
    }

    #[test]
    fn s21_what_we_sent_is_not_repeated() {
        let body = r#"{"message":"wrong password hunter2 (Basic YTpodW50ZXIy) for a"}"#;
        assert_eq!(
            said(body.as_bytes(), &["hunter2", "YTpodW50ZXIy", "a"]),
            "wrong password … (Basic …) for a"
        );
    }

    #[test]
    fn codes_are_read() {
        assert_eq!(codes(br#"{"errors":[{"code":"DENIED"},{"code":7},{"code":"X"}]}"#), ["DENIED", "X"]);
        assert_eq!(codes(b"DENIED"), [""; 0]);
    }
}
