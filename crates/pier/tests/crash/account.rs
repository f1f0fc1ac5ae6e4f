//! What one client knows: what was acknowledged to it, and what may or may not have been done.

use std::{collections::BTreeMap, io};

use crate::{
    client::{Client, Response},
    material::{Piece, digest},
};

/// Paths, and the digests of the bytes that each may show; `None` for nothing.
///
/// What was acknowledged leaves one; what was cut off adds one.
#[derive(Debug, Default)]
pub(crate) struct Account(BTreeMap<String, Vec<Option<String>>>);

impl Account {
    /// Counts an answer in: `changes` have happened when it is one of `done`, may have happened when there is none,
    /// and have not happened otherwise.
    pub(crate) fn note(
        &mut self,
        changes: &[(String, Option<&Piece>)],
        done: &[u16],
        answer: &io::Result<Response>,
    ) {
        for (path, piece) in changes {
            let shown = piece.map(|piece| piece.digest.clone());
            let may = self.0.entry(path.clone()).or_insert_with(|| vec![None]);
            match answer {
                Ok(response) if done.contains(&response.status) => *may = vec![shown],
                Ok(_) => {}
                Err(_) => may.push(shown),
            }
        }
    }

    /// Whether nothing says that the path shows nothing.
    pub(crate) fn surely_shows(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|may| !may.contains(&None))
    }

    pub(crate) fn may_show(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|may| may.iter().any(Option::is_some))
    }

    /// Paths that may show a digest.
    pub(crate) fn showing(&self, prefix: &str, wanted: &str) -> Vec<String> {
        let shows = |may: &Vec<Option<String>>| may.iter().flatten().any(|digest| digest == wanted);
        self.0
            .iter()
            .filter(|(path, may)| path.starts_with(prefix) && shows(may))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Asks for every path that `matters`: it shows what it may, byte for byte. From then on that is what is known.
    ///
    /// Fails when the server is gone.
    pub(crate) fn check(&mut self, client: &mut Client, matters: impl Fn(&str) -> bool) -> io::Result<()> {
        for (path, may) in self.0.iter_mut().filter(|(path, _)| matters(path)) {
            let answer = client.get(path)?;
            let shown = match answer.status {
                200 => Some(digest(&answer.body)),
                404 => None,
                status => panic!("GET {path}: {status}"),
            };
            assert!(may.contains(&shown), "{path} shows {shown:?}, and may show {may:?}");
            *may = vec![shown];
        }
        Ok(())
    }
}
