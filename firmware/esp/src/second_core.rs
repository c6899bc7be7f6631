//! The second core, which multiplies half of the rows.

use core::hint::spin_loop;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use esp_hal::peripherals::CPU_CTRL;
use esp_hal::system::{CpuControl, Stack};
use rillm::kernels::{Dot, Rows};

use crate::clock::cycles;

/// Rows, a vector, and a sum for each row.
struct Job<'a> {
    rows: Rows<'a>,
    x: &'a [i16],
    sums: &'a mut [i64],
}

/// Cycles that the second core may take longer than the first one: more than 5 s, where half of the rows takes less than 1 ms.
const PATIENCE: u64 = 1 << 31;

/// What the second core is to do; null where it has nothing to.
static JOB: AtomicPtr<Job<'static>> = AtomicPtr::new(ptr::null_mut());

/// Starts the second core, and returns what multiplies with both.
pub fn start<const LEN: usize>(core: CPU_CTRL<'static>, stack: &'static mut Stack<LEN>) -> Dot {
    #[cfg(feature = "simulator")]
    crate::simulator::before_second_core();
    let guard = CpuControl::new(core).start_app_core(stack, work);
    // Dropping the guard would stop it.
    mem::forget(guard.expect("a core that a reset has stopped; switch the power off and on"));
    #[cfg(feature = "simulator")]
    crate::simulator::after_second_core();
    dot
}

/// The second core's program.
fn work() {
    loop {
        let job = JOB.load(Ordering::Acquire);
        if job.is_null() {
            spin_loop();
            continue;
        }
        // SAFETY: the first core has given it a job that is there, with all that it borrows, until it is null again; and that
        // core uses none of it meanwhile but what it shares.
        let Job { rows, x, sums } = unsafe { &mut *job };
        #[cfg(feature = "simulator")]
        crate::simulator::forget_windows();
        rows.dot(x, sums);
        JOB.store(ptr::null_mut(), Ordering::Release);
    }
}

/// Multiplies the first half of the rows while the second core multiplies the others. Each row's sum is computed by one core,
/// from beginning to end: the bits are those of one core.
fn dot(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    #[cfg(feature = "simulator")]
    crate::simulator::forget_windows();
    let half = rows.len().div_ceil(2);
    let (first, second) = rows.split_at(half);
    let (first_sums, second_sums) = sums.split_at_mut(half);
    let mut job = Job { rows: second, x, sums: second_sums };
    JOB.store((&raw mut job).cast(), Ordering::Release);
    first.dot(x, first_sums);
    let start = cycles();
    while !JOB.load(Ordering::Acquire).is_null() {
        spin_loop();
        // What it was lent cannot be taken back.
        assert!(cycles() - start < PATIENCE, "the second core does not end its rows; reset the board");
    }
}
