//! The `Link` header that leads to a list's next page, per RFC 8288.

use super::query::percent_encoded;

/// The header's value: the same list, with these parameters.
pub fn to_next_page<'a>(path: &str, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let parameters: Vec<_> = parameters
        .into_iter()
        .map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value)))
        .collect();
    format!("<{path}?{}>; rel=\"next\"", parameters.join("&"))
}

/// The target of the link to the next page, if a header's value has one.
pub fn next_page(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, behind) = rest.split_once('<')?;
        let (target, behind) = behind.split_once('>')?;
        let parameters = behind.split('<').next().unwrap_or_default();
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .trim()
                    .trim_matches('"')
                    .split_whitespace()
                    .any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{strategies, wire::Query};

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let header = to_next_page("/v2/a/b/tags/list", [("n", "2"), ("last", "a b/ü")]);
        assert_eq!(header, r#"</v2/a/b/tags/list?n=2&last=a%20b%2F%C3%BC>; rel="next""#);
        assert_eq!(next_page(&header), Some("/v2/a/b/tags/list?n=2&last=a%20b%2F%C3%BC"));
    }

    #[test]
    fn only_the_next_page_counts() {
        assert_eq!(next_page("</p>; rel=prev, </n>; title=x; REL=\"last next\""), Some("/n"));
        for header in ["", "</p>", "</p>; rel=prev", "</p; rel=next", "rel=next"] {
            assert_eq!(next_page(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(name in strategies::repository_name(), limit: usize, last: String) {
            let path = format!("/v2/{name}/tags/list");
            let limit = limit.to_string();
            let header = to_next_page(&path, [("n", limit.as_str()), ("last", &last)]);
            let (found, query) = next_page(&header).and_then(|target| target.split_once('?')).unwrap();
            prop_assert_eq!(found, path);
            let query = Query::parse(query);
            prop_assert_eq!(query.first("n"), Some(&*limit));
            prop_assert_eq!(query.first("last"), Some(&*last));
        }

        #[test]
        fn any_header_leads_into_itself_or_nowhere(
            header in prop_oneof![".*", "(<[a-z]{0,3}>|;| |rel|=|\"|next|,|<|>){0,12}"]
        ) {
            if let Some(target) = next_page(&header) {
                let bracketed = format!("<{target}>");
                prop_assert!(header.contains(&bracketed));
            }
        }
    }
}
