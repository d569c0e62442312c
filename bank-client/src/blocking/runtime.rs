//! Tokio runtime on which blocking calls run.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::runtime::Builder;
use tokio::task::unconstrained;

use crate::deviations::Deviations;
use crate::response::Entries;

/// One thread of its own, on which sockets and clocks are watched. Cheap to clone; it ends with the
/// last clone, and with the last handle and iterator that is on it.
#[derive(Debug, Clone)]
pub struct Runtime(Arc<Owned>);

#[derive(Debug)]
struct Owned(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// Starts it. Fails if the system has no thread left, or no descriptor.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("bank-client")
            .enable_all()
            .build()?;
        Ok(Self(Arc::new(Owned(Some(runtime)))))
    }

    /// Waits for whatever it is, on this thread.
    ///
    /// Unlike [`tokio::runtime::Runtime::block_on`], it does not mind being called on a thread of
    /// another runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        struct Unpark(Thread);

        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }

        // Sockets and timers are made on our runtime, not on the caller's.
        let _entered = self.0.0.as_ref().map(tokio::runtime::Runtime::enter);
        // The budget of the caller's task, if this is one, is never renewed while we hold its
        // thread.
        let mut future = pin!(unconstrained(future));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    pub(super) fn items<T>(&self, stream: BoxStream<'static, T>) -> Items<T> {
        self.entries(stream.into())
    }

    pub(super) fn entries<T>(&self, entries: Entries<T>) -> Items<T> {
        Items {
            entries,
            runtime: self.clone(),
        }
    }
}

/// It must not wait for what is under way: that is forbidden on a thread of another runtime.
impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A stream as an iterator: `next` waits for the next item. Dropping it cancels a
/// pending request.
#[must_use = "it sends nothing before it is iterated"]
pub struct Items<T> {
    entries: Entries<T>,
    runtime: Runtime,
}

impl<T> Items<T> {
    /// Deviations of the answers so far from the standard: see [`Entries::deviations`].
    #[must_use]
    pub fn deviations(&self) -> Deviations {
        self.entries.deviations()
    }
}

impl<T> Iterator for Items<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.runtime.block_on(self.entries.next())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream::iter;

    use super::*;

    /// What takes a runtime: a timer and a task.
    async fn something() -> u8 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::spawn(async { 7 }).await.unwrap()
    }

    #[test]
    fn it_waits_without_any_runtime_around_it() {
        assert_eq!(Runtime::start().unwrap().block_on(something()), 7);
    }

    #[tokio::test]
    async fn it_waits_on_a_thread_of_another_runtime() {
        let runtime = Runtime::start().unwrap();
        assert_eq!(runtime.block_on(something()), 7);
        // Dropped here, where waiting for its thread would be a panic.
    }

    #[tokio::test]
    async fn the_budget_of_the_callers_task_does_not_run_out() {
        let runtime = Runtime::start().unwrap();
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..10_000 {
            sender.send(number).unwrap();
        }
        drop(sender);
        let mut taken = 0;
        while runtime.block_on(receiver.recv()).is_some() {
            taken += 1;
        }
        assert_eq!(taken, 10_000);
    }

    #[test]
    fn an_iterator_ends_where_its_stream_does() {
        let runtime = Runtime::start().unwrap();
        let items = runtime.items(
            iter([1, 2, 3])
                .then(|n| async move { n + something().await })
                .boxed(),
        );
        drop(runtime);
        assert_eq!(items.collect::<Vec<_>>(), [8, 9, 10]);
    }
}
