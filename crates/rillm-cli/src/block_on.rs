//! Running the engine's futures on a laptop.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread::sleep;
use std::time::Duration;

/// Polls `future` to its end. The sources here are ready at once or after some time on the clock, so that a short sleep
/// stands in for a wake-up.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        sleep(Duration::from_micros(50));
    }
}
