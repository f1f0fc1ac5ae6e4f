//! What the proxy does to whom: rules that match requests and the faults that strike them.

use http::Method;
use pier_oci::Digest;

use super::{Canned, Fault, Pace};

/// Rules, tried in their order, and the speed of the line. Without rules the proxy passes everything on as it is.
#[derive(Clone, Debug)]
pub struct Script {
    pub(super) rules: Vec<Rule>,
    pub(super) pace: Pace,
}

/// Which requests a rule is about. Start from [`When::any`], [`When::get`] or [`When::on`] and narrow it.
#[derive(Clone, Debug)]
pub struct When {
    method: Option<Method>,
    kind: Option<Kind>,
    digest: Option<Digest>,
    ranged: Option<Ranged>,
    skip: u64,
    times: u64,
}

/// What a path is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// `/v2/`
    Base,
    /// A manifest, by tag or digest.
    Manifest,
    /// A blob by its digest.
    Blob,
    /// The start of an upload, or a session; whatever form the server gives to it below an `uploads` folder.
    Upload,
    /// A list of tags.
    Tags,
    /// A list of referrers.
    Referrers,
    /// The list of repositories.
    Catalog,
    /// Outside of `/v2/`, with `token` or `auth` in its path.
    Token,
    /// Anything else.
    Other,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ranged {
    Yes,
    No,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    when: When,
    fault: Fault,
    /// Requests that matched so far.
    met: u64,
}

/// What a request is, as far as rules care.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) kind: Kind,
    pub(super) digest: Option<Digest>,
    pub(super) has_range: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// No rules, no limit to the speed.
    pub fn new() -> Self {
        Self { rules: Vec::new(), pace: Pace::FREE }
    }

    /// Adds a rule. Of the rules that match a request, the first whose turn it is strikes; all of them count the request.
    #[must_use]
    pub fn rule(mut self, when: When, fault: Fault) -> Self {
        self.rules.push(Rule { when, fault, met: 0 });
        self
    }

    /// Adds a rule that answers in the registry's place.
    #[must_use]
    pub fn answer(self, when: When, answer: Canned) -> Self {
        self.rule(when, Fault::Answer(answer))
    }

    /// Makes every connection this slow.
    #[must_use]
    pub fn pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// What strikes this request.
    pub(super) fn strike(&mut self, asked: Asked<'_>) -> Option<Fault> {
        let mut struck = None;
        for rule in self.rules.iter_mut().filter(|rule| rule.when.matches(asked)) {
            let turn = rule.met;
            rule.met += 1;
            if struck.is_none() && turn >= rule.when.skip && turn - rule.when.skip < rule.when.times {
                struck = Some(rule.fault.clone());
            }
        }
        struck
    }
}

impl When {
    /// Every request, each time.
    pub fn any() -> Self {
        Self { method: None, kind: None, digest: None, ranged: None, skip: 0, times: u64::MAX }
    }

    /// A GET of this kind.
    pub fn get(kind: Kind) -> Self {
        Self::on(Method::GET, kind)
    }

    /// A request with this method and of this kind.
    pub fn on(method: Method, kind: Kind) -> Self {
        Self { method: Some(method), kind: Some(kind), ..Self::any() }
    }

    /// Any method, this kind.
    pub fn kind(kind: Kind) -> Self {
        Self { kind: Some(kind), ..Self::any() }
    }

    /// Only where the path ends with this digest.
    #[must_use]
    pub fn digest(self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self }
    }

    /// Only requests for a range.
    #[must_use]
    pub fn ranged(self) -> Self {
        Self { ranged: Some(Ranged::Yes), ..self }
    }

    /// Only requests for the whole.
    #[must_use]
    pub fn whole(self) -> Self {
        Self { ranged: Some(Ranged::No), ..self }
    }

    /// Lets so many that match pass before the first that is struck.
    #[must_use]
    pub fn skip(self, requests: u64) -> Self {
        Self { skip: requests, ..self }
    }

    /// Strikes so many and no more.
    #[must_use]
    pub fn times(self, requests: u64) -> Self {
        Self { times: requests, ..self }
    }

    /// Strikes the first that matches, and no other.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    fn matches(&self, asked: Asked<'_>) -> bool {
        let ranged = if asked.has_range { Ranged::Yes } else { Ranged::No };
        self.method.as_ref().is_none_or(|method| method == asked.method)
            && self.kind.is_none_or(|kind| kind == asked.kind)
            && self.digest.is_none_or(|digest| Some(digest) == asked.digest)
            && self.ranged.is_none_or(|wanted| wanted == ranged)
    }
}

impl Kind {
    /// What a path is about. More forgiving than the specification, since other registries have upload URLs of their own.
    pub fn of(path: &str) -> Self {
        let is_below = |folder: &str| path.rsplit_once('/').is_some_and(|(head, _)| head.ends_with(folder));
        let Some(rest) = path.strip_prefix("/v2") else {
            return match path {
                path if path.contains("uploads/") => Self::Upload,
                path if path.contains("token") || path.contains("auth") => Self::Token,
                _ => Self::Other,
            };
        };
        match rest {
            "" | "/" => Self::Base,
            "/_catalog" => Self::Catalog,
            _ if rest.ends_with("/tags/list") => Self::Tags,
            _ if is_below("/manifests") => Self::Manifest,
            _ if is_below("/referrers") => Self::Referrers,
            _ if is_below("/blobs") && !rest.ends_with("/uploads") => Self::Blob,
            _ if rest.contains("/uploads") => Self::Upload,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn paths_are_told_apart() {
        for (path, expected) in [
            ("/v2", Kind::Base),
            ("/v2/", Kind::Base),
            ("/v2/_catalog", Kind::Catalog),
            ("/v2/a/b/tags/list", Kind::Tags),
            ("/v2/a/manifests/latest", Kind::Manifest),
            ("/v2/a/blobs/uploads/", Kind::Upload),
            ("/v2/a/blobs/uploads", Kind::Upload),
            ("/v2/a/blobs/uploads/0190", Kind::Upload),
            ("/artifacts-uploads/namespaces/p/repositories/r/uploads/AB", Kind::Upload),
            ("/token", Kind::Token),
            ("/service/auth", Kind::Token),
            ("/elsewhere", Kind::Other),
        ] {
            assert_eq!(Kind::of(path), expected, "{path}");
        }
        assert_eq!(Kind::of(&format!("/v2/a/blobs/{DIGEST}")), Kind::Blob);
        assert_eq!(Kind::of(&format!("/v2/a/manifests/{DIGEST}")), Kind::Manifest);
        assert_eq!(Kind::of(&format!("/v2/a/referrers/{DIGEST}")), Kind::Referrers);
    }

    #[test]
    fn the_first_rule_whose_turn_it_is_strikes() {
        let get = Asked { method: &Method::GET, kind: Kind::Blob, digest: None, has_range: true };
        let head = Asked { method: &Method::HEAD, ..get };
        let whole = Asked { has_range: false, ..get };
        let mut script = Script::new()
            .rule(When::get(Kind::Blob).skip(1).times(2), Fault::Flip { at: 1 })
            .rule(When::get(Kind::Blob).ranged(), Fault::Flip { at: 2 })
            .rule(When::kind(Kind::Blob).once(), Fault::Flip { at: 3 });
        let struck: Vec<_> = [get, get, head, whole, whole, get, head]
            .map(|asked| script.strike(asked).map(|fault| format!("{fault:?}")))
            .into_iter()
            .collect();
        let flip = |at: u64| Some(format!("{:?}", Fault::Flip { at }));
        // The first GET is the second rule's, since the first rule lets one pass; the third rule saw that GET and is done.
        assert_eq!(struck, [flip(2), flip(1), None, flip(1), None, flip(2), None]);
    }
}
