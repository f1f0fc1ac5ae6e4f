//! One answer for all who ask at about the same time.
//!
//! Strangers may ask whether a server is ready. However many do, and however long it takes, one look is under way and no second.

use std::{
    fmt,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared as SharedFuture},
};
use tokio::time::{Instant, timeout};

/// An answer that one looks up for all.
pub(super) struct Shared<T> {
    /// How long it is good for.
    good_for: Duration,
    state: Mutex<State<T>>,
}

struct State<T> {
    last: Option<(Instant, T)>,
    /// A task of its own, which comes to an end whether or not somebody still waits: what it does on another thread cannot be called off, so
    /// nothing is to be begun beside it. `None` is what becomes of one that panics.
    under_way: Option<SharedFuture<BoxFuture<'static, Option<T>>>>,
}

impl<T: Clone + Send + Sync + 'static> Shared<T> {
    pub(super) fn new(good_for: Duration) -> Self {
        Self { good_for, state: Mutex::new(State { last: None, under_way: None }) }
    }

    /// The answer, if there is one within `limit`.
    pub(super) async fn get<F>(&self, limit: Duration, look: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let under_way = {
            let mut state = self.lock();
            if let Some((found_at, answer)) = &state.last
                && found_at.elapsed() < self.good_for
            {
                return Some(answer.clone());
            }
            let begin = || {
                let looking = tokio::spawn(look());
                async move { looking.await.ok() }.boxed().shared()
            };
            state.under_way.get_or_insert_with(begin).clone()
        };
        let answer = timeout(limit, under_way.clone()).await.ok()?;
        let mut state = self.lock();
        // The first of those who waited notes it; by now there may be a later one.
        if state.under_way.as_ref().is_some_and(|present| present.ptr_eq(&under_way)) {
            state.under_way = None;
            state.last = answer.clone().map(|answer| (Instant::now(), answer));
        }
        answer
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("good_for", &self.good_for).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    };

    use tokio::sync::Notify;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks that are counted, each of which takes until it is let go.
    #[derive(Clone, Default)]
    struct Looks {
        begun: Arc<AtomicU32>,
        may_end: Arc<Notify>,
    }

    impl Looks {
        async fn look(self) -> u32 {
            let number = self.begun.fetch_add(1, Relaxed) + 1;
            self.may_end.notified().await;
            number
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_who_ask_at_once_share_one_look_and_later_ones_its_answer() {
        let (shared, looks) = (Shared::new(SECOND), Looks::default());
        looks.may_end.notify_one();
        let get = || shared.get(2 * SECOND, || looks.clone().look());
        let answers = futures_util::future::join_all((0..1000).map(|_| get())).await;
        assert_eq!(answers, vec![Some(1); 1000]);
        tokio::time::advance(SECOND / 2).await;
        assert_eq!((get().await, looks.begun.load(Relaxed)), (Some(1), 1));
        tokio::time::advance(SECOND).await;
        looks.may_end.notify_one();
        assert_eq!(get().await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_takes_too_long_is_waited_for_again_and_none_is_begun_beside_it() {
        let (shared, looks) = (Shared::new(SECOND), Looks::default());
        let get = || shared.get(2 * SECOND, || looks.clone().look());
        for _ in 0..10 {
            assert_eq!(get().await, None);
        }
        assert_eq!(looks.begun.load(Relaxed), 1);
        looks.may_end.notify_one();
        assert_eq!(get().await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_panics_is_no_answer_and_the_next_one_is() {
        let shared = Shared::new(SECOND);
        let broken = || async { if SECOND.is_zero() { 0 } else { panic!("no thread is to be had") } };
        assert_eq!(shared.get(2 * SECOND, broken).await, None);
        assert_eq!(shared.get(2 * SECOND, || async { 7 }).await, Some(7));
    }
}
