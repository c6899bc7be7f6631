//! The platform of `cargo xtask esp simulate`. It replaces what the simulated chip lacks: serial input and card blocks
//! come through a mailbox in memory, and the second core starts in another way. It is not for real boards.
//!
//! The runner, `emulated-tests/src/simulate/simulator.py`, relies on the order of the mailbox's words.

use core::convert::Infallible;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};

use esp_hal::Blocking;
use esp_hal::uart::Uart;
use rillm::SECTOR_LEN;
use rillm_card::{Blocks, Found, Mode, Slot};

use super::Parts;

/// Baud rate of serial output: a simulated line is as slow as a real one, so a fast one is set.
pub const BAUD: u32 = 5_000_000;

/// Bytes of the input buffer, and words of a transfer: 1 KiB.
const INPUT_LEN: usize = 64;
const TRANSFER_LEN: usize = 256;

/// Requests to the runner. `DONE` is its answer.
const DONE: u32 = 0;
const OPTIONS: u32 = 1;
const COUNT: u32 = 2;
const READ: u32 = 3;

/// Bits of the answer to `OPTIONS`: parts not to use.
const NO_PSRAM: u32 = 1;
const ONE_CORE: u32 = 2;

/// The mailbox.
#[repr(C)]
struct Mailbox {
    /// The current request.
    request: AtomicU32,
    /// The first block and the number of blocks of a request. The runner writes a number here as its answer.
    argument: [AtomicU32; 2],
    /// Number of bytes typed and read since the start.
    typed: AtomicU32,
    read: AtomicU32,
    /// 1 while the firmware waits for input.
    waits: AtomicU32,
    /// The typed bytes, one in each word.
    input: [AtomicU32; INPUT_LEN],
    /// The blocks of a transfer.
    transfer: [AtomicU32; TRANSFER_LEN],
}

#[unsafe(no_mangle)]
static RILLM_SIMULATOR: Mailbox = Mailbox {
    request: AtomicU32::new(0),
    argument: [const { AtomicU32::new(0) }; 2],
    typed: AtomicU32::new(0),
    read: AtomicU32::new(0),
    waits: AtomicU32::new(0),
    input: [const { AtomicU32::new(0) }; INPUT_LEN],
    transfer: [const { AtomicU32::new(0) }; TRANSFER_LEN],
};

/// Sends a request to the runner and waits for its answer.
fn ask(request: u32, argument: [u32; 2]) -> u32 {
    enter();
    let mailbox = &RILLM_SIMULATOR;
    mailbox.argument[0].store(argument[0], Ordering::Relaxed);
    mailbox.argument[1].store(argument[1], Ordering::Relaxed);
    mailbox.request.store(request, Ordering::Release);
    while mailbox.request.load(Ordering::Acquire) != DONE {
        spin_loop();
    }
    mailbox.argument[0].load(Ordering::Relaxed)
}

/// The parts that the runner wants used.
pub fn parts() -> Parts {
    let without = ask(OPTIONS, [0; 2]);
    Parts { psram: without & NO_PSRAM == 0, second_core: without & ONE_CORE == 0 }
}

/// Replaces the board's slot by the card of the runner.
pub fn slot<S>(_: S) -> Card {
    Card
}

/// Serial input from the mailbox.
#[derive(Default)]
pub struct Input;

impl Input {
    /// Whether a byte has been typed.
    pub fn is_ready(&mut self, _: &mut Uart<'static, Blocking>) -> bool {
        enter();
        RILLM_SIMULATOR.typed.load(Ordering::Acquire) != RILLM_SIMULATOR.read.load(Ordering::Relaxed)
    }

    /// Returns at least one typed byte.
    pub fn read(&mut self, uart: &mut Uart<'static, Blocking>, buf: &mut [u8]) -> usize {
        let mailbox = &RILLM_SIMULATOR;
        if !self.is_ready(uart) {
            mailbox.waits.store(1, Ordering::Release);
            while !self.is_ready(uart) {
                spin_loop();
            }
            mailbox.waits.store(0, Ordering::Release);
        }
        let mut at = mailbox.read.load(Ordering::Relaxed);
        let mut len = 0;
        while let Some(slot) = buf.get_mut(len).filter(|_| at != mailbox.typed.load(Ordering::Acquire)) {
            *slot = mailbox.input[at as usize % INPUT_LEN].load(Ordering::Relaxed) as u8;
            (at, len) = (at.wrapping_add(1), len + 1);
        }
        mailbox.read.store(at, Ordering::Release);
        len
    }
}

/// A revision that may use PSRAM for everything. The simulated chip has revision 0.
pub fn revision() -> u8 {
    u8::MAX
}

/// The simulated package is unknown, but its PSRAM needs no pins.
pub fn has_known_package() -> bool {
    true
}

/// The card of the runner.
#[derive(Clone, Copy, Debug)]
pub struct Card;

impl Blocks for Card {
    type Error = Infallible;

    async fn count(&mut self) -> Result<u32, Infallible> {
        Ok(ask(COUNT, [0; 2]))
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        let pieces = buf.chunks_mut(size_of_val(&RILLM_SIMULATOR.transfer));
        for (piece, first) in pieces.zip((first..).step_by(size_of_val(&RILLM_SIMULATOR.transfer) / SECTOR_LEN)) {
            ask(READ, [first, (piece.len() / SECTOR_LEN) as u32]);
            for (bytes, word) in piece.chunks_exact_mut(4).zip(&RILLM_SIMULATOR.transfer) {
                bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
            }
        }
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Slot for Card {
    fn modes(&self) -> &'static [Mode] {
        &[Mode { lines: "simulated", hz: 0 }]
    }

    async fn begin(&mut self, _: Mode) -> Result<Found, Infallible> {
        Ok(if ask(COUNT, [0; 2]) > 0 { Found::Card { high_capacity: true } } else { Found::Nothing })
    }

    async fn sample(&mut self, first: u32) -> Result<u32, Infallible> {
        self.read(first, &mut [0; SECTOR_LEN]).await?;
        Ok(1)
    }
}

/// Called where the engine and the console call the firmware. Marks all register windows of the simulated core as free,
/// except the current one.
///
/// labwired 0.25.0 does not raise window exceptions here: it saves the callers' registers outside the chip. If a call
/// reaches windows marked as used, which happens once all 64 registers are, labwired saves those as well and restores
/// them at the `retw`. This overwrites the function's result except for its first word (`exec_retw` in
/// `call_window.rs`), so the second word of a u64 is lost once eight calls of eight registers are nested. If no window
/// is marked, nothing is overwritten, and the callers' own registers are restored all the same. A real chip would lose
/// the callers' registers here.
#[inline(always)]
pub fn enter() {
    use core::arch::asm;

    let base: u32;
    // SAFETY: the simulated chip has a second copy of everything that this marks as free.
    unsafe {
        asm!("rsr {}, windowbase", out(reg) base, options(nostack));
        asm!("wsr {}, windowstart", "rsync", in(reg) 1u32 << base, options(nostack));
    }
}

/// Registers of the simulated chip that start the second core: clock and entry.
const APP_CPU_CLOCK: *mut u32 = 0x3ff0_0058 as *mut u32;
const APP_CPU_ENTRY: *const u32 = 0x3ff0_0038 as *const u32;
/// The ROM routine that sets the entry of the second core.
const ROM_BOOT_APP_CPU: usize = 0x4000_689c;

/// Resets the second core, as the simulated chip requires before its start.
pub fn before_second_core() {
    // SAFETY: a register of the simulated chip; this bit marks the core as reset.
    unsafe { APP_CPU_CLOCK.write_volatile(APP_CPU_CLOCK.read_volatile() | 1 << 5) };
}

/// Sets the entry of the second core. On a real chip, the ROM on that core reads it.
pub fn after_second_core() {
    // SAFETY: the simulator implements this ROM routine, which takes an address.
    unsafe {
        let boot: extern "C" fn(u32) = core::mem::transmute(ROM_BOOT_APP_CPU);
        boot(APP_CPU_ENTRY.read_volatile());
    }
}
