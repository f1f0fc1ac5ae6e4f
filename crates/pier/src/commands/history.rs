//! `pier history`

use std::time::UNIX_EPOCH;

use anyhow::anyhow;
use pier_content::{Catalog as _, TagMove, catalog::KEPT_MOVES};
use pier_oci::{Digest, Selector};
use serde::Serialize;

use crate::{
    cli::History,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
    stored_name::StoredName,
};

/// One move of a tag.
#[derive(Debug, Serialize)]
struct Entry {
    /// What it named from then on; `null` when it was removed.
    digest: Option<Digest>,
    /// Milliseconds since 1970.
    moved_at: u64,
    #[serde(skip)]
    said: String,
}

pub(crate) async fn run(options: &History, config: &Config, output: &Output) -> Result<Status, Failure> {
    let name = StoredName::parse(&options.reference)?;
    let Selector::Tag(tag) = name.selector() else {
        let error = anyhow!("`{}` is a digest, and a digest never names anything else", options.reference);
        return Err(Failure::new(Status::Usage, error).with_hint("name a tag, such as repository:latest"));
    };
    let store = super::open_store(config)?;
    for repository in name.repositories() {
        let moves = store.tag_history(repository, &tag, KEPT_MOVES).await?;
        if !moves.is_empty() {
            let entries: Vec<Entry> = moves.into_iter().map(Entry::from).collect();
            output.data(&entries, |entries| text(entries))?;
            return Ok(Status::Done);
        }
    }
    Err(name.not_found())
}

impl From<TagMove> for Entry {
    fn from(step: TagMove) -> Self {
        let since = step.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            digest: step.digest,
            moved_at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            said: humantime::format_rfc3339_seconds(step.at).to_string(),
        }
    }
}

fn text(entries: &[Entry]) -> String {
    let mut rows = vec![vec!["MOVED".to_owned(), "DIGEST".to_owned()]];
    rows.extend(entries.iter().map(|entry| {
        let digest = entry.digest.map_or_else(|| "removed".to_owned(), |digest| digest.to_string());
        vec![entry.said.clone(), digest]
    }));
    output::table(&rows)
}
