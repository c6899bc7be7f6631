//! The handle: guards the engine against use when closed or busy.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::engine::Engine;
use crate::status::Failure;

/// The state of an open handle: a number that uninitialised memory is unlikely to hold.
const OPEN: u32 = u32::from_le_bytes(*b"rill");
const BUSY: u32 = u32::from_le_bytes(*b"busy");
const CLOSED: u32 = 0;

/// An open model in the memory of a setup. Only one thread may use it at a time.
pub struct Handle {
    state: AtomicU32,
    engine: UnsafeCell<Engine>,
}

impl Handle {
    /// An open handle.
    pub fn new(engine: Engine) -> Self {
        Self { state: AtomicU32::new(OPEN), engine: UnsafeCell::new(engine) }
    }

    /// Runs `work` with the engine.
    pub fn with<T>(&self, work: impl FnOnce(&mut Engine) -> Result<T, Failure>) -> Result<T, Failure> {
        self.check()?;
        self.state.store(BUSY, Ordering::Relaxed);
        // SAFETY: a handle is not Sync, so only our thread uses it. On our thread the state excludes all other uses: a
        // call from within `work` finds the handle busy.
        let result = work(unsafe { &mut *self.engine.get() });
        self.state.store(OPEN, Ordering::Relaxed);
        result
    }

    /// Closes the handle. Only the memory is given back.
    pub fn close(&self) -> Result<(), Failure> {
        self.check()?;
        self.state.store(CLOSED, Ordering::Relaxed);
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        match self.state.load(Ordering::Relaxed) {
            OPEN => Ok(()),
            BUSY => Err(Failure::Busy),
            _ => Err(Failure::Closed),
        }
    }
}
