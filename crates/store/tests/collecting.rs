//! The collector in turns, as a server runs it.

#![expect(clippy::expect_used, reason = "what a test sets up has to work")]

use std::{num::NonZeroUsize, path::Path};

use pier_store::{Collected, Rest, Store, StoreOptions, Turn};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// Digests in one round.
const ROUND: u32 = 128;

/// Has digests of no blob reviewed at these times.
fn queue(data: &Path, dues: impl Iterator<Item = i64>) {
    let mut database = rusqlite::Connection::open(data.join("catalog.sqlite")).expect("the database opens");
    let all = database.transaction().expect("begun");
    for (number, due) in dues.enumerate() {
        let mut digest = vec![1; 33];
        digest[1..9].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        all.execute("INSERT INTO review (digest, due_at) VALUES (?1, ?2)", rusqlite::params![digest, due])
            .expect("queued");
    }
    all.commit().expect("committed");
}

fn waiting(data: &Path) -> u32 {
    let database = rusqlite::Connection::open(data.join("catalog.sqlite")).expect("the database opens");
    database.query_row("SELECT count(*) FROM review", [], |row| row.get(0)).expect("counted")
}

#[tokio::test]
async fn a_turn_looks_at_no_more_than_it_may_and_turns_come_to_an_end() {
    let data = tempfile::tempdir().expect("a folder");
    let store = Store::open(data.path(), StoreOptions::default()).expect("the store opens");
    let all = 5 * ROUND + 1;
    queue(data.path(), (0..all).map(|due| 1 + i64::from(due % 7)));
    for turn in 1..=5 {
        let done = store.collect_turn(ONE).await.expect("collected");
        assert_eq!(done.rest, Rest::More, "turn {turn}");
        assert_eq!(waiting(data.path()), all - turn * ROUND);
    }
    let last = store.collect_turn(ONE).await.expect("collected");
    assert_eq!(last, Turn { collected: Collected::default(), rest: Rest::Nothing });
    assert_eq!(waiting(data.path()), 0);
}

#[tokio::test]
async fn what_is_not_due_is_not_looked_at() {
    let data = tempfile::tempdir().expect("a folder");
    let store = Store::open(data.path(), StoreOptions::default()).expect("the store opens");
    queue(data.path(), [1, i64::MAX].into_iter());
    assert_eq!(store.collect_turn(ONE).await.expect("collected").rest, Rest::Nothing);
    assert_eq!(waiting(data.path()), 1);
}
