//! An SD host as `sdio`'s bus, with an end to every wait, and brought back to order after what failed.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use rillm::block_on;
use sdio::common::stop_transmission;
use sdio::{
    BlockReadCommand, BlockWriteCommand, BusWidth, ByteReadCommand, ByteWriteCommand, Command, ControlCommand, MmcBus,
    MmcError,
};

/// Microseconds that a command takes at most: a card may be busy for 250 ms after the one that stops a read.
const COMMAND_MICROS: u32 = 300_000;
/// Microseconds that a read takes at most. A card sends the first byte of a block with_timeout 100 ms, and a read of
/// [`SdmmcHost::LONGEST`] blocks takes 20 ms or less besides; hosts that count clocks give up before.
const READ_MICROS: u32 = 1_000_000;

/// An SD host: `sdio`'s bus, and what a driver asks of it besides. A read of several blocks is stopped by the host (`auto_stop`).
pub trait SdmmcHost: MmcBus {
    /// Blocks that one read may have.
    const LONGEST: usize;

    /// Has the host forget what it is doing, after a command or a transfer that failed or was dropped. What
    /// [`MmcBus::set_bus`] has set stays set.
    fn reset(&mut self);

    /// Has the host give up on a block that does not begin with_timeout 250 ms, at a clock of `hz`.
    fn set_data_timeout(&mut self, hz: u32);

    /// Whether a read may go straight into `buf`, which is aligned to 4 bytes.
    fn reaches(&self, buf: &[u8]) -> bool;

    /// A clock that counts microseconds, modulo 2^32.
    fn micros() -> u32;
}

/// A host on whose commands and reads there is a limit of time.
pub(crate) struct TimedBus<H> {
    pub host: H,
    /// One data line is used, however many there are.
    pub one_line: bool,
    /// Something has answered a command, or failed otherwise than for want of an answer, since this was last cleared.
    pub answered: bool,
    /// The last command or transfer failed or was dropped: the host may be waiting, and the card sending.
    needs_reset: bool,
}

impl<H: SdmmcHost> TimedBus<H> {
    pub const fn new(host: H) -> Self {
        Self { host, one_line: false, answered: false, needs_reset: false }
    }

    /// After what failed or was dropped: a host may have stopped the card's clock for want of room, and would send no
    /// command, and a card goes on sending blocks until it is told to stop.
    fn reset_after_failure(&mut self) {
        if core::mem::take(&mut self.needs_reset) {
            self.host.reset();
            let answer = block_on(with_timeout::<H, _>(COMMAND_MICROS, self.host.send_command(stop_transmission())));
            // A card that is not sending does not answer.
            self.needs_reset = !matches!(answer, Ok(_) | Err(MmcError::Timeout));
        }
    }

    /// Writes down how an operation of the host's ended. An empty slot is silent, and anything else is a sign of a fault.
    fn record<T>(&mut self, result: Result<T, MmcError>) -> Result<T, MmcError> {
        self.needs_reset |= result.is_err();
        self.answered |= matches!(result, Err(error) if !matches!(error, MmcError::Timeout));
        result
    }
}

impl<H: SdmmcHost> MmcBus for TimedBus<H> {
    /// A command is waited for where it is, and no other future is polled meanwhile.
    async fn send_command<'a, C: ControlCommand + 'a>(&mut self, command: C) -> Result<C::Resp<'a>, MmcError> {
        let result = block_on(with_timeout::<H, _>(COMMAND_MICROS, self.host.send_command(command)));
        // The first command has no answer.
        self.answered |= <C as Command>::INDEX != 0 && result.is_ok();
        self.record(result)
    }

    async fn read_blocks<'a, C: BlockReadCommand + 'a>(
        &mut self,
        command: C,
        auto_stop: bool,
    ) -> Result<C::Resp<'a>, MmcError> {
        self.reset_after_failure();
        self.needs_reset = true;
        let answer = with_timeout::<H, _>(READ_MICROS, self.host.read_blocks(command, auto_stop)).await?;
        self.needs_reset = false;
        Ok(answer)
    }

    async fn write_blocks<'a, C: BlockWriteCommand + 'a>(&mut self, _: C, _: bool) -> Result<C::Resp<'a>, MmcError> {
        Err(MmcError::Unsupported)
    }

    async fn read_bytes<'a, C: ByteReadCommand + 'a>(&mut self, _: C) -> Result<C::Resp<'a>, MmcError> {
        Err(MmcError::Unsupported)
    }

    async fn write_bytes<'a, C: ByteWriteCommand + 'a>(&mut self, _: C) -> Result<C::Resp<'a>, MmcError> {
        Err(MmcError::Unsupported)
    }

    async fn init_idle(&mut self, hz: u32) -> Result<(), MmcError> {
        self.reset_after_failure();
        self.host.set_data_timeout(hz);
        let result = block_on(with_timeout::<H, _>(COMMAND_MICROS, self.host.init_idle(hz)));
        self.record(result)
    }

    fn set_bus(&mut self, width: BusWidth, hz: u32) -> Result<(), MmcError> {
        self.host.set_data_timeout(hz);
        let result = self.host.set_bus(width, hz);
        self.record(result)
    }

    fn supports_mmc(&self) -> bool {
        self.host.supports_mmc()
    }

    fn supports_auto_stop(&self) -> bool {
        true
    }

    fn supports_bus_width(&self) -> BusWidth {
        if self.one_line { BusWidth::W1 } else { self.host.supports_bus_width() }
    }

    fn supports_frequency(&self) -> u32 {
        self.host.supports_frequency()
    }
}

/// Gives `work` up where it has not ended with_timeout `most` microseconds.
async fn with_timeout<H: SdmmcHost, T>(
    most: u32,
    work: impl Future<Output = Result<T, MmcError>>,
) -> Result<T, MmcError> {
    let mut work = pin!(work);
    let start = H::micros();
    poll_fn(|context| match work.as_mut().poll(context) {
        // Work that has ended counts, however late it is asked.
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending if H::micros().wrapping_sub(start) > most => Poll::Ready(Err(MmcError::Timeout)),
        Poll::Pending => {
            // A host that hangs wakes nobody, and an executor that sleeps would not look at the clock again.
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}
