//! What is asked of a token server, and what is made of its answers.

use super::*;

fn answer(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    Response::builder().status(status).body(body.into()).unwrap()
}

/// Answers everything with one answer.
struct Always(Response<Bytes>);

#[async_trait::async_trait]
impl TokenServer for Always {
    async fn ask(&self, _: Request<Bytes>) -> Result<Response<Bytes>> {
        Ok(self.0.clone())
    }
}

async fn fetched(response: Response<Bytes>) -> Result<Outcome> {
    let (realm, scopes) = ("https://auth.r.io/token".parse().unwrap(), Scopes::none());
    let wanted = Wanted { realm: &realm, service: None, scopes: &scopes };
    fetch(&Always(response), "r.io", &wanted, None).await
}

#[tokio::test]
async fn tokens_are_read_under_both_of_their_names() {
    for (body, token, seconds) in [
        (r#"{"token":"a"}"#, "a", 60.0),
        (r#"{"access_token":"b"}"#, "b", 60.0),
        (r#"{"token":"a","access_token":"b"}"#, "b", 60.0),
        (r#"{"token":"a","access_token":""}"#, "a", 60.0),
        (r#"{"token":"a","expires_in":300,"issued_at":"1999-01-01T00:00:00Z"}"#, "a", 300.0),
        (r#"{"token":"a","expires_in":"300"}"#, "a", 300.0),
        (r#"{"token":"a","expires_in":0.5}"#, "a", 0.5),
        (r#"{"token":"a","expires_in":0}"#, "a", 60.0),
        (r#"{"token":"a","expires_in":-5}"#, "a", 60.0),
        (r#"{"token":"a","expires_in":null}"#, "a", 60.0),
        (r#"{"token":"a","expires_in":"soon"}"#, "a", 60.0),
        (r#"{"token":"a","expires_in":1e300}"#, "a", 86_400.0),
        (r#"{"token":"a","expires_in":99999999999999999999}"#, "a", 86_400.0),
    ] {
        let Outcome::Issued(issued) = fetched(answer(200, body)).await.unwrap() else { panic!("{body}") };
        assert_eq!(issued.header.to_str().unwrap(), format!("Bearer {token}"), "{body}");
        assert!(issued.header.is_sensitive());
        assert_eq!(issued.lifetime, Duration::from_secs_f64(seconds), "{body}");
    }
}

#[tokio::test]
async fn s21_answers_that_hold_no_token_are_readable_errors_without_values() {
    for (status, body, expected) in [
        (200, "", "it answers with what is not JSON"),
        (200, "<html>Sign in</html>", "it answers with what is not JSON"),
        (200, "\"hunter2\"", "its answer holds no token"),
        (200, "{}", "its answer holds no token"),
        (200, r#"{"token":["hunter2"]}"#, "its answer holds no token"),
        (200, r#"{"token":"hunter2\n"}"#, "its token does not fit into a header"),
        (302, "", "it answers with 302 Found"),
    ] {
        let error = fetched(answer(status, body)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { operation: "fetch a token", .. }), "{error:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, format!("the token server cannot be understood: {expected}"), "{body}");
    }
}

#[tokio::test]
async fn a_busy_token_server_is_asked_again_when_it_says() {
    for status in [429, 500, 502, 503, 504, 408] {
        let mut response = answer(status, r#"{"message":"slow down"}"#);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("17"));
        let error = fetched(response).await.unwrap_err();
        assert!(error.is_retryable(), "{status}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.starts_with("the token server says slow down ("), "{cause}");
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_not_a_failure() {
    for (status, body, expected) in [
        (
            401,
            r#"{"details":"incorrect username or password"}"#,
            "incorrect username or password (401 Unauthorized)",
        ),
        (403, "", "403 Forbidden"),
        (400, r#"{"error":"invalid_grant"}"#, "invalid_grant (400 Bad Request)"),
        (404, "<html>", "404 Not Found"),
        (501, "", "501 Not Implemented"),
    ] {
        let Outcome::Refused { words } = fetched(answer(status, body)).await.unwrap() else {
            panic!("{status}")
        };
        assert_eq!(words, expected);
    }
}
