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

/// Rows, a vector, and the sums to compute.
struct Job<'a> {
    rows: Rows<'a>,
    x: &'a [i16],
    sums: &'a mut [i64],
}

/// Timeout in cycles for the second core after the first one has finished. It is more than 5 s; half of the rows takes
/// less than 1 ms.
const PATIENCE: u64 = 1 << 31;

/// The second core's current job, or null.
static JOB: AtomicPtr<Job<'static>> = AtomicPtr::new(ptr::null_mut());

/// The second core of esp-hal.
pub type Peripheral = CPU_CTRL<'static>;

/// The stack of the second core, which only multiplies.
pub type Stack = esp_hal::system::Stack<{ 8 << 10 }>;

/// Starts the second core, if it is to be used. Returns the multiplication on both cores.
pub fn start(core: Option<Peripheral>, stack: &'static mut Stack) -> Option<Dot> {
    let core = core?;
    platform::before_second_core();
    let guard = CpuControl::new(core).start_app_core(stack, work);
    // Dropping the guard would stop the core.
    mem::forget(guard.expect("a core that a reset has stopped; switch the power off and on"));
    platform::after_second_core();
    Some(dot)
}

/// The program of the second core.
fn work() {
    loop {
        let job = JOB.load(Ordering::Acquire);
        if job.is_null() {
            spin_loop();
            continue;
        }
        // SAFETY: the job and all that it borrows are valid until the first core sees null again. Until then, that core
        // uses only what is shared.
        let Job { rows, x, sums } = unsafe { &mut *job };
        platform::enter();
        rows.dot(x, sums);
        JOB.store(ptr::null_mut(), Ordering::Release);
    }
}

/// Multiplies the first half of the rows while the second core multiplies the other half. Each row is summed up on one
/// core, so the result is the same as on one core.
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
        // The second core still uses the borrowed data, so this cannot return.
        assert!(cycles() - start < PATIENCE, "the second core does not end its rows; reset the board");
    }
}
