//! An SD host as `sdio`'s bus, with timeouts and a reset after failures.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use rillm::block_on;
use sdio::common::stop_transmission;
use sdio::{
    BlockReadCommand, BlockWriteCommand, BusWidth, ByteReadCommand, ByteWriteCommand, Command, ControlCommand, MmcBus,
    MmcError,
};

/// The longest time of a command: a card may be busy for 250 ms after the command that stops a read.
const COMMAND_MICROS: u32 = 300_000;
/// The longest time of a read: a card sends the first byte of a block within 100 ms, and a read of
/// [`SdmmcHost::LONGEST`] blocks takes 20 ms or less in addition. Hosts that count clocks time out earlier.
const READ_MICROS: u32 = 1_000_000;

/// An SD host: `sdio`'s bus with a reset, a data timeout and a clock. The host stops a read of several blocks
/// (`auto_stop`).
pub trait SdmmcHost: MmcBus {
    /// Most blocks of one read.
    const LONGEST: usize;

    /// Resets the host after a command or transfer that failed or was dropped. The settings of [`MmcBus::set_bus`]
    /// stay.
    fn reset(&mut self);

    /// Sets the host's data timeout to 250 ms at a clock of `hz`.
    fn set_data_timeout(&mut self, hz: u32);

    /// Whether DMA reaches `buf`, which is aligned to 4 bytes.
    fn reaches(&self, buf: &[u8]) -> bool;

    /// A clock that counts microseconds modulo 2^32.
    fn micros() -> u32;
}

/// A host with timeouts for its commands and reads.
pub(crate) struct TimedBus<H> {
    pub host: H,
    /// Whether only one data line is used.
    pub one_line: bool,
    /// Whether a command was answered, or failed with another error than a timeout, since this was last cleared.
    pub answered: bool,
    /// Whether the last command or transfer failed or was dropped: the host may wait, and the card may send.
    needs_reset: bool,
}

impl<H: SdmmcHost> TimedBus<H> {
    pub const fn new(host: H) -> Self {
        Self { host, one_line: false, answered: false, needs_reset: false }
    }

    /// Resets the host and stops the card, after a failed or dropped operation. The host may have stopped the card's
    /// clock because its FIFO is full, and then sends no command; the card sends blocks until it is told to stop.
    fn reset_after_failure(&mut self) {
        if core::mem::take(&mut self.needs_reset) {
            self.host.reset();
            let answer = block_on(with_timeout::<H, _>(COMMAND_MICROS, self.host.send_command(stop_transmission())));
            // A card that is not sending does not answer.
            self.needs_reset = !matches!(answer, Ok(_) | Err(MmcError::Timeout));
        }
    }

    /// Records the result of a host operation. An empty slot never answers; any other error is a fault of a card.
    fn record<T>(&mut self, result: Result<T, MmcError>) -> Result<T, MmcError> {
        self.needs_reset |= result.is_err();
        self.answered |= matches!(result, Err(error) if !matches!(error, MmcError::Timeout));
        result
    }
}

impl<H: SdmmcHost> MmcBus for TimedBus<H> {
    /// Waits for the command's end without polling other futures.
    async fn send_command<'a, C: ControlCommand + 'a>(&mut self, command: C) -> Result<C::Resp<'a>, MmcError> {
        let result = block_on(with_timeout::<H, _>(COMMAND_MICROS, self.host.send_command(command)));
        // CMD0 has no answer.
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

/// Drops `work` if it has not ended after `most` microseconds.
async fn with_timeout<H: SdmmcHost, T>(
    most: u32,
    work: impl Future<Output = Result<T, MmcError>>,
) -> Result<T, MmcError> {
    let mut work = pin!(work);
    let start = H::micros();
    poll_fn(|context| match work.as_mut().poll(context) {
        // Work that has ended counts, even after the timeout.
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending if H::micros().wrapping_sub(start) > most => Poll::Ready(Err(MmcError::Timeout)),
        Poll::Pending => {
            // A host that hangs wakes no task, and a sleeping executor would never look at the clock again.
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}
