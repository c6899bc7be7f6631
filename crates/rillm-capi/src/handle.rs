//! The handle: who may use the engine, and whether it is there at all.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::engine::Engine;
use crate::status::Failure;

/// Numbers that memory does not hold by chance.
const OPEN: u32 = u32::from_le_bytes(*b"rill");
const BUSY: u32 = u32::from_le_bytes(*b"busy");
const CLOSED: u32 = 0;

/// A model that was opened, in the memory of the setup. One thread uses it at a time.
pub struct Handle {
    state: AtomicU32,
    engine: UnsafeCell<Engine>,
}

impl Handle {
    /// An open handle.
    pub fn new(engine: Engine) -> Self {
        Self { state: AtomicU32::new(OPEN), engine: UnsafeCell::new(engine) }
    }

    /// Lets `work` use the engine.
    pub fn with<T>(&self, work: impl FnOnce(&mut Engine) -> Result<T, Failure>) -> Result<T, Failure> {
        self.check()?;
        self.state.store(BUSY, Ordering::Relaxed);
        // SAFETY: a handle is no thread's but ours (it is not Sync), and on our thread the state keeps all others out: who
        // calls again from within `work` finds it busy.
        let result = work(unsafe { &mut *self.engine.get() });
        self.state.store(OPEN, Ordering::Relaxed);
        result
    }

    /// Ends it: there is nothing to give back but the memory.
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
