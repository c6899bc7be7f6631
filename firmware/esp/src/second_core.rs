//! The second core, which multiplies half of the rows.

use core::hint::spin_loop;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use esp_hal::peripherals::CPU_CTRL;
use esp_hal::system::CpuControl;
use rillm::kernels::{Dot, Rows};

use crate::clock::cycles;
use crate::platform;

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

/// The second core's stack, on which it multiplies, and nothing else.
pub type Stack = esp_hal::system::Stack<{ 8 << 10 }>;

/// Starts the second core, if it is to be used, and returns what multiplies with both.
pub fn start(core: Option<CPU_CTRL<'static>>, stack: &'static mut Stack) -> Option<Dot> {
    let core = core?;
    platform::before_second_core();
    let guard = CpuControl::new(core).start_app_core(stack, work);
    // Dropping the guard would stop it.
    mem::forget(guard.expect("a core that a reset has stopped; switch the power off and on"));
    platform::after_second_core();
    Some(dot)
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
        platform::enter();
        rows.dot(x, sums);
        JOB.store(ptr::null_mut(), Ordering::Release);
    }
}

/// Multiplies the first half of the rows while the second core multiplies the others. Each row's sum is computed by one core,
/// from beginning to end: the bits are those of one core.
fn dot(rows: &Rows<'_>, x: &[i16], sums: &mut [i64]) {
    platform::enter();
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
