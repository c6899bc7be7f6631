//! A minimal executor.

use core::future::Future;
use core::hint::spin_loop;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

/// Polls `future` until it is ready, and returns its output.
///
/// With a blocking source, each future of a session is ready at the first poll. If a future returns `Pending`, this
/// function polls again at once: it neither sleeps nor waits for a wake-up. A program with other tasks should run the
/// session in its own executor instead.
///
/// ```
/// assert_eq!(rillm::block_on(async { 6 * 7 }), 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        spin_loop();
    }
}
