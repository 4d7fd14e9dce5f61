//! Work for a processor, away from the threads that serve connections, in two lanes: large messages
//! wait for each other, and small ones never wait for a large one. It does not know which work it
//! runs.

use std::{num::NonZeroU8, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::dkim::settings::DkimSettings;

/// As much work at a time as the settings allow.
#[derive(Debug)]
pub(super) struct Pool {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    large_message: u64,
    wait: Duration,
}

/// Whether anybody waits for the work any more.
pub(super) struct Over(CancellationToken);

/// Work that did not come to its end.
#[derive(Debug, Error)]
pub(super) enum Unfinished {
    /// The computation itself panicked.
    #[error("internal error while verifying DKIM")]
    BrokenOff {
        /// The panic, from tokio.
        source: JoinError,
    },
    /// It never began.
    #[error("a DKIM computation waited too long in the queue")]
    QueueTimeout,
}

impl Pool {
    pub(super) fn new(settings: &DkimSettings) -> Self {
        let lane = |size: NonZeroU8| Arc::new(Semaphore::new(usize::from(size.get())));
        Self {
            small: lane(settings.concurrency_small),
            large: lane(settings.concurrency_large),
            large_message: settings.large_message,
            wait: settings.queue_timeout,
        }
    }

    /// Runs `work` on a message of `octets` as soon as its lane has a free slot. It holds the slot
    /// until it ends, even if the result is not awaited any more, which it can tell.
    ///
    /// # Errors
    /// [`Unfinished`].
    pub(super) async fn run<T: Send + 'static>(
        &self,
        octets: u64,
        work: impl FnOnce(&Over) -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        let lane = if octets < self.large_message { &self.small } else { &self.large };
        // a lane is never closed
        let Ok(Ok(slot)) = timeout(self.wait, Arc::clone(lane).acquire_owned()).await else {
            return Err(Unfinished::QueueTimeout);
        };
        let token = CancellationToken::new();
        let over = Over(token.clone());
        let _cancel_when_dropped = token.drop_guard();
        let done = spawn_blocking(move || {
            let result = work(&over);
            drop(slot);
            result
        });
        done.await.map_err(|source| Unfinished::BrokenOff { source })
    }
}

impl Over {
    /// True once the result will not be looked at.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LARGE: u64 = 1000;

    fn pool() -> Pool {
        let one = NonZeroU8::MIN;
        let wait = Duration::from_secs(30);
        Pool::new(&DkimSettings {
            concurrency_small: one,
            concurrency_large: one,
            large_message: LARGE,
            queue_timeout: wait,
            ..DkimSettings::DEFAULT
        })
    }

    #[tokio::test]
    async fn small_messages_overtake_large_ones() {
        let pool = Arc::new(pool());
        let (release, released) = mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let large = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                let work = move |_: &Over| {
                    begun.send(()).expect("the test waits");
                    released.recv().expect("it is released");
                };
                pool.run(LARGE, work).await
            }
        });
        has_begun.await.expect("the large message has its slot");
        for number in 0..3 {
            assert_eq!(pool.run(LARGE - 1, move |_| number).await.expect("a slot"), number);
        }
        release.send(()).expect("the large message still waits");
        large.await.expect("no panic").expect("a slot");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_has_no_turn() {
        let pool = pool();
        let all = Arc::clone(&pool.large).acquire_owned().await.expect("it is open");
        assert!(matches!(pool.run(LARGE, |_| ()).await, Err(Unfinished::QueueTimeout)));
        drop(all);
        pool.run(LARGE, |_| ()).await.expect("a slot");
    }

    #[tokio::test]
    async fn abandoned_work_ends_by_a_flag_and_occupies_the_pool_until_it_ends() {
        let pool = Arc::new(pool());
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let abandoned = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                let work = move |over: &Over| {
                    begun.send(over.is_over()).expect("the test waits");
                    goes_on.recv().expect("the test sends");
                    ended.send(over.is_over()).expect("the test waits");
                };
                pool.run(LARGE, work).await
            }
        });
        assert!(!has_begun.await.expect("the work begins"));
        assert_eq!(pool.large.available_permits(), 0);
        abandoned.abort();
        assert!(abandoned.await.expect_err("it was aborted").is_cancelled());
        assert_eq!(pool.large.available_permits(), 0);
        go_on.send(()).expect("the work waits");
        assert!(has_ended.await.expect("the work ends"));
        pool.run(LARGE, |_| ()).await.expect("the slot is free again");
    }

    #[tokio::test]
    async fn a_panic_gives_the_place_back() {
        let pool = pool();
        let broken = pool.run(0, |_| panic!("a test's own")).await;
        assert!(matches!(broken, Err(Unfinished::BrokenOff { .. })));
        pool.run(0, |_| ()).await.expect("the slot is free again");
    }
}
