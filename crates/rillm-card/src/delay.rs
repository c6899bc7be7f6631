//! Delays measured by a clock of microseconds.

/// A busy wait on a clock that counts microseconds.
pub(crate) struct ClockDelay(pub fn() -> u32);

impl ClockDelay {
    fn nanos(&self, nanos: u32) {
        let start = (self.0)();
        // The clock may tick right after this reading, so one more microsecond is waited.
        let least = nanos.div_ceil(1000) + 1;
        while (self.0)().wrapping_sub(start) < least {
            core::hint::spin_loop();
        }
    }
}

#[cfg(feature = "spi")]
impl embedded_hal::delay::DelayNs for ClockDelay {
    fn delay_ns(&mut self, nanos: u32) {
        self.nanos(nanos);
    }
}

#[cfg(feature = "sdio")]
impl embedded_hal_async::delay::DelayNs for ClockDelay {
    async fn delay_ns(&mut self, nanos: u32) {
        self.nanos(nanos);
    }
}
