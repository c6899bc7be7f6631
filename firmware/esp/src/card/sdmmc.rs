//! A card on the chip's SD host: four data lines or one, and DMA.
//!
//! The engine polls a read as often as it takes a chunk from the tape, and otherwise multiplies (`drive` and `Tape::rows` in its
//! `tape.rs`). So a read has to be under way after its first poll: commands, which take microseconds, are waited for, and only the
//! transfer of blocks is left to DMA and to the interrupt that keeps its descriptors filled. When it ends, the engine need not know
//! before it is through with its chunk: until then it has no buffer to fill. Nothing here counts on being woken: the
//! interrupt leaves its result where the next poll finds it, which is all that a `block_on` needs.

use core::future::{Future, poll_fn};
use core::ops::Range;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::task::Poll;

use aligned::{A4, Aligned};
use block_device_driver::{BlockDevice as _, slice_to_blocks_mut};
use embedded_hal_async::delay::DelayNs;
use esp_hal::Async;
use esp_hal::delay::Delay;
use esp_hal::gpio::{Input, InputConfig, InputPin, Pull};
use esp_hal::peripherals::SDHOST;
use esp_hal::sdmmc::Slot as HostSlot;
use esp_hal::time::{Duration, Instant};
use rillm_card::{Blocks, Found, Mode, Slot};
use sdio::common::stop_transmission;
use sdio::sd::Card;
use sdio::{
    BlockDevice, BlockReadCommand, BlockWriteCommand, BusWidth, ByteReadCommand, ByteWriteCommand, Command,
    ControlCommand, MmcBus, MmcError, Response,
};
use static_cell::ConstStaticCell;

const BLOCK_LEN: usize = 512;
/// Blocks of a read into memory that DMA does not reach.
const BOUNCE: usize = 16;
/// The memory that DMA reaches: the chip's own. As esp-hal has it.
#[cfg(feature = "esp32")]
const DMA: Range<usize> = 0x3ffa_e000..0x4000_0000;
#[cfg(feature = "esp32s3")]
const DMA: Range<usize> = 0x3fc8_8000..0x3fd0_0000;
#[cfg(feature = "esp32p4")]
const DMA: Range<usize> = 0x4ff4_0000..0x4ffa_dfc0;

const ONE_LINE: &str = "1 bit";
const FOUR_LINES: &str = "4 bits";
/// The ways to read a card of which four data lines are wired, and one.
const FOUR: [Mode; 3] = [mode(FOUR_LINES, 40), mode(FOUR_LINES, 20), mode(ONE_LINE, 20)];
const ONE: [Mode; 2] = [mode(ONE_LINE, 40), mode(ONE_LINE, 20)];

/// The number of the command that ends a read.
const STOP: u8 = 12;
/// The longest that a command takes: a card may be busy for 250 ms after one that stops a read.
const COMMAND: Duration = Duration::from_millis(300);
/// A card sends the first byte of a block within 100 ms; the host counts clocks, a part of a second of them.
const DATA_PART: u32 = 4;

/// What the driver of a card and the bus below it, which it does not lend, tell each other. There is one host.
static ONE_BIT: AtomicBool = AtomicBool::new(false);
static ANSWERED: AtomicBool = AtomicBool::new(false);

static BOUNCE_BLOCKS: ConstStaticCell<[Aligned<A4, [u8; BLOCK_LEN]>; BOUNCE]> =
    ConstStaticCell::new([Aligned([0; BLOCK_LEN]); BOUNCE]);

/// A card on the SD host's slot of that number.
pub struct Sdmmc<'d, const SLOT: u8> {
    card: BlockDevice<Card, Bus<'d, SLOT>, Pause, BLOCK_LEN>,
    modes: &'static [Mode],
    hz: u32,
    bounce: &'static mut [Aligned<A4, [u8; BLOCK_LEN]>; BOUNCE],
}

impl<'d, const SLOT: u8> Sdmmc<'d, SLOT> {
    /// The card on the slot, which has its pins. With fewer than four data lines one is used. To be called once.
    pub fn new(slot: HostSlot<'d, SLOT, esp_hal::Blocking>) -> Self {
        let slot = slot.into_async();
        let modes: &[Mode] = if matches!(slot.supports_bus_width(), BusWidth::W1) { &ONE } else { &FOUR };
        let bus = Bus { slot, unfinished: false };
        Self { card: BlockDevice::new_uninit_sd_card(bus, Pause), modes, hz: modes[0].hz, bounce: BOUNCE_BLOCKS.take() }
    }
}

/// Has the chip's own resistor pull a line up, before the slot gets its pin: CMD and each data line need one, the fourth data line
/// where one is used, too. The SD host of the ESP32 switches on none where the pad has them elsewhere, as all of these have.
pub fn pull_up(pin: impl InputPin) {
    Input::new(pin, InputConfig::default().with_pull(Pull::Up));
}

const fn mode(lines: &'static str, mhz: u32) -> Mode {
    Mode { lines, hz: mhz * 1_000_000 }
}

impl<const SLOT: u8> Blocks for Sdmmc<'_, SLOT> {
    type Error = MmcError;

    async fn count(&mut self) -> Result<u32, MmcError> {
        // The driver's own `size` takes the blocks of 1,024 bytes that a card of 2 GB counts for shorter ones.
        Ok(u32::try_from(self.card.card().csd.card_size() / BLOCK_LEN as u64).unwrap_or(u32::MAX))
    }

    /// A drop before the end stops the transfer: esp-hal then switches DMA off and empties the host, and waits for that. The card
    /// goes on sending, until the next operation tells it to stop.
    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), MmcError> {
        let place = buf.as_ptr_range();
        if place.start.addr().is_multiple_of(4) && DMA.start <= place.start.addr() && place.end.addr() <= DMA.end {
            return self.card.read(first, slice_to_blocks_mut(buf)).await;
        }
        let mut first = first;
        for piece in buf.chunks_mut(BOUNCE * BLOCK_LEN) {
            let blocks = &mut self.bounce[..piece.len() / BLOCK_LEN];
            self.card.read(first, blocks).await?;
            for (to, from) in piece.chunks_exact_mut(BLOCK_LEN).zip(blocks) {
                to.copy_from_slice(&**from);
                first += 1;
            }
        }
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), MmcError> {
        self.card.reacquire(self.hz).await
    }
}

impl<const SLOT: u8> Slot for Sdmmc<'_, SLOT> {
    fn modes(&self) -> &'static [Mode] {
        self.modes
    }

    async fn begin(&mut self, mode: Mode) -> Result<Found, MmcError> {
        self.hz = mode.hz;
        ONE_BIT.store(mode.lines == ONE_LINE, Relaxed);
        ANSWERED.store(false, Relaxed);
        match self.card.reacquire(mode.hz).await {
            Ok(()) if self.card.freq() < mode.hz => Err(MmcError::Signaling),
            Ok(()) => Ok(Found::Card { high_capacity: self.card.card().ocr.high_capacity() }),
            Err(_) if !ANSWERED.load(Relaxed) => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    async fn sample(&mut self, first: u32) -> Result<u32, MmcError> {
        self.card.read(first, self.bounce).await?;
        Ok(BOUNCE as u32)
    }
}

/// The host's slot, in which commands are over at once, and which is brought back to order after a transfer that was not finished.
struct Bus<'d, const SLOT: u8> {
    slot: HostSlot<'d, SLOT, Async>,
    unfinished: bool,
}

impl<const SLOT: u8> Bus<'_, SLOT> {
    /// Has the host forget a transfer that was dropped or failed: it may have stopped the card's clock for want of room, and would
    /// then send no command. What is set stays set. Whether there was one.
    fn settle(&mut self) -> bool {
        let unfinished = core::mem::take(&mut self.unfinished);
        if unfinished {
            let control = SDHOST::regs().ctrl();
            control.modify(|_, w| w.controller_reset().set_bit().fifo_reset().set_bit().dma_reset().set_bit());
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(1) {
                let control = control.read();
                let under_way =
                    [control.controller_reset().bit(), control.fifo_reset().bit(), control.dma_reset().bit()];
                if under_way == [false; 3] {
                    break;
                }
            }
        }
        unfinished
    }

    /// Has the host give up on data that does not come.
    fn set_data_timeout(hz: u32) {
        // SAFETY: any number of 24 bits is one of clocks, and of 8 bits, too: those until the answer to a command.
        SDHOST::regs()
            .tmout()
            .write(|w| unsafe { w.response_timeout().bits(0xff).data_timeout().bits(hz / DATA_PART) });
    }
}

impl<const SLOT: u8> MmcBus for Bus<'_, SLOT> {
    async fn send_command<'a, C: ControlCommand + 'a>(&mut self, command: C) -> Result<C::Resp<'a>, MmcError> {
        self.settle();
        let answer = match at_once(self.slot.send_command(command)).await {
            // After each error the driver has the card stop, before the next read. One that is not sending, because it was
            // initialised meanwhile, does not answer that; what is wrong besides, the next command meets.
            Err(_) if <C as Command>::INDEX == STOP => return Ok(<C::Resp<'a> as Response>::from_words(&[0; 4])),
            answer => answer?,
        };
        // The first command has no answer.
        if <C as Command>::INDEX != 0 {
            ANSWERED.store(true, Relaxed);
        }
        Ok(answer)
    }

    async fn read_blocks<'a, C: BlockReadCommand + 'a>(
        &mut self,
        command: C,
        auto_stop: bool,
    ) -> Result<C::Resp<'a>, MmcError> {
        self.settle();
        self.unfinished = true;
        let answer = self.slot.read_blocks(command, auto_stop).await?;
        self.unfinished = false;
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
        if self.settle() {
            // A card that is not sending does not answer.
            let _ = at_once(self.slot.send_command(stop_transmission())).await;
        }
        Self::set_data_timeout(hz);
        self.slot.init_idle(hz).await
    }

    fn set_bus(&mut self, width: BusWidth, hz: u32) -> Result<(), MmcError> {
        Self::set_data_timeout(hz);
        self.slot.set_bus(width, hz)
    }

    fn supports_mmc(&self) -> bool {
        true
    }

    fn supports_auto_stop(&self) -> bool {
        self.slot.supports_auto_stop()
    }

    fn supports_bus_width(&self) -> BusWidth {
        if ONE_BIT.load(Relaxed) { BusWidth::W1 } else { BusWidth::W4 }
    }

    fn supports_frequency(&self) -> u32 {
        self.slot.supports_frequency()
    }
}

/// Waits for a command, and for no other future meanwhile.
async fn at_once<T>(command: impl Future<Output = Result<T, MmcError>>) -> Result<T, MmcError> {
    let mut command = pin!(command);
    let start = Instant::now();
    poll_fn(|context| {
        loop {
            if let Poll::Ready(result) = command.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            if start.elapsed() > COMMAND {
                return Poll::Ready(Err(MmcError::Timeout));
            }
        }
    })
    .await
}

/// Waits where it is.
struct Pause;

impl DelayNs for Pause {
    async fn delay_ns(&mut self, nanos: u32) {
        // Longer by what a call takes, which no card minds.
        Delay::new().delay_nanos(nanos);
    }
}
