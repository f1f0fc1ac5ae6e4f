//! Work that goes on for as long as the server does: looking at files, answering Prometheus, collecting.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;

/// How long work that has panicked rests before it is begun again.
const REST: Duration = Duration::from_secs(5);

/// Does work without an end until dropped. If it panics all the same, that is said, and it is begun again: a server whose certificates
/// grow old, or whose users stay when they were removed, because a task has silently gone is worse off than one that does it twice.
pub(super) async fn for_ever<F>(what: &'static str, mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()>,
{
    loop {
        // Nothing of the work that panicked is used again: the next one begins anew.
        if AssertUnwindSafe(begin()).catch_unwind().await.is_ok() {
            tracing::error!(what, again_in = ?REST, "ended, and should not have");
        } else {
            tracing::error!(what, again_in = ?REST, "panicked");
        }
        tokio::time::sleep(REST).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_or_ends_is_begun_again() {
        let (begun, mut beginnings) = mpsc::unbounded_channel();
        let mut times = 0;
        let work = for_ever("testing", || {
            times += 1;
            let (begun, times) = (begun.clone(), times);
            async move {
                begun.send(times).unwrap();
                match times {
                    1 => panic!("for the test"),
                    2 => {}
                    _ => std::future::pending().await,
                }
            }
        });
        assert!(timeout(10 * REST, work).await.is_err());
        let mut seen = Vec::new();
        while let Ok(number) = beginnings.try_recv() {
            seen.push(number);
        }
        assert_eq!(seen, [1, 2, 3]);
    }
}
