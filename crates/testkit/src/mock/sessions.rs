//! The names of upload sessions, as different registries give them.

use std::collections::HashMap;
use std::net::SocketAddr;

use pier_oci::wire::Endpoint;

use super::manners::Sessions;

/// The parameter that has to come back.
const STATE: &str = "_state=";

/// Names that were given, each for a path of the registry behind.
#[derive(Debug, Default)]
pub(super) struct Names {
    serial: u64,
    /// By what is at the end of a name; only the newest of each session.
    paths: HashMap<String, String>,
}

/// The client did not use the name that it was given last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Names {
    /// Path and query of the registry behind for those of a request.
    pub(super) fn inward(
        &self,
        sessions: Sessions,
        path: &str,
        query: &str,
    ) -> Result<(String, String), Lost> {
        match sessions {
            Sessions::Changing if path.starts_with("/artifacts-uploads/") => {
                let name = path.rsplit('/').next().unwrap_or_default();
                let inside = self.paths.get(name).ok_or(Lost)?;
                Ok((inside.clone(), query.to_owned()))
            }
            Sessions::Stateful | Sessions::Changing if is_session(path) => {
                let (state, rest): (Vec<_>, Vec<_>) =
                    query.split('&').partition(|parameter| parameter.starts_with(STATE));
                let state = state.first().and_then(|state| state.strip_prefix(STATE)).ok_or(Lost)?;
                if self.paths.get(state).is_none_or(|inside| inside != path) {
                    return Err(Lost);
                }
                Ok((path.to_owned(), rest.join("&")))
            }
            _ => Ok((path.to_owned(), query.to_owned())),
        }
    }

    /// The `Location` to give for one of the registry behind.
    pub(super) fn outward(&mut self, sessions: Sessions, host: SocketAddr, location: &str) -> String {
        if sessions == Sessions::Plain || !is_session(location) {
            return location.to_owned();
        }
        // What came before is of no use any more.
        self.paths.retain(|_, inside| inside != location);
        self.serial += 1;
        let name = format!("AJ-{}_x", self.serial);
        self.paths.insert(name.clone(), location.to_owned());
        match sessions {
            Sessions::Changing => {
                format!("http://{host}/artifacts-uploads/namespaces/p/repositories/r/uploads/{name}")
            }
            Sessions::Plain | Sessions::Stateful => format!("http://{host}{location}?{STATE}{name}"),
        }
    }
}

fn is_session(path: &str) -> bool {
    matches!(path.parse(), Ok(Endpoint::Upload { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "/v2/a/blobs/uploads/01900000-0000-4000-8000-000000000000";

    #[test]
    fn a_name_leads_back_until_the_next_is_given() {
        let host = SocketAddr::from(([127, 0, 0, 1], 5000));
        for sessions in [Sessions::Stateful, Sessions::Changing] {
            let mut names = Names::default();
            let mut given = || {
                let location = names.outward(sessions, host, SESSION);
                let target = location.strip_prefix("http://127.0.0.1:5000").unwrap().to_owned();
                let (path, query) = target.split_once('?').unwrap_or((&target, ""));
                (path.to_owned(), query.to_owned())
            };
            let (first, second) = (given(), given());
            assert_eq!(names.inward(sessions, &first.0, &first.1), Err(Lost), "{sessions:?}");
            let last = format!("{}&digest=x", second.1);
            let (path, query) = names.inward(sessions, &second.0, &last).unwrap();
            assert_eq!((path.as_str(), query.trim_start_matches('&')), (SESSION, "digest=x"));
            assert_eq!(names.inward(sessions, SESSION, ""), Err(Lost), "{sessions:?}");
        }
        let names = Names::default();
        let passed = (SESSION.to_owned(), "digest=x".to_owned());
        assert_eq!(names.inward(Sessions::Plain, SESSION, "digest=x"), Ok(passed));
    }
}
