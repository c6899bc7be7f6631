//! What `cargo xtask esp simulate` has in place of what the simulated chip lacks: the serial line's input and the card's blocks
//! come through words of memory, and the second core starts. No board has this.
//!
//! The runner, `emulated-tests/src/simulate/simulator.py`, knows the words by their order.

use core::convert::Infallible;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};

use esp_hal::Blocking;
use esp_hal::uart::Uart;
use rillm::SECTOR_LEN;
use rillm_card::{Blocks, BusMode, Detected, Slot};

use super::Parts;

/// Bits a second of the serial line's output: a simulated line is as slow as a real one.
pub const BAUD: u32 = 5_000_000;

/// Bytes of input that are kept, and words of a transfer: 1 KiB.
const INPUT_LEN: usize = 64;
const TRANSFER_LEN: usize = 256;

/// What is asked of the runner. It answers with 0.
const DONE: u32 = 0;
const OPTIONS: u32 = 1;
const COUNT: u32 = 2;
const READ: u32 = 3;

/// What the runner wants left out.
const NO_PSRAM: u32 = 1;
const ONE_CORE: u32 = 2;

/// The words.
#[repr(C)]
struct Mailbox {
    /// What is asked.
    request: AtomicU32,
    /// The first block, and how many; the runner's answer where that is a number.
    argument: [AtomicU32; 2],
    /// Bytes that were typed and that were read, since the start.
    typed: AtomicU32,
    read: AtomicU32,
    /// 1 while nothing goes on until a byte is typed.
    waits: AtomicU32,
    /// Bytes that were typed, a word each.
    input: [AtomicU32; INPUT_LEN],
    /// Blocks.
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

/// Asks the runner and waits for its answer.
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

/// What the runner wants used.
pub fn parts() -> Parts {
    let without = ask(OPTIONS, [0; 2]);
    Parts { psram: without & NO_PSRAM == 0, second_core: without & ONE_CORE == 0 }
}

/// The card's blocks in place of the board's slot.
pub fn slot<S>(_: S) -> MailboxCard {
    MailboxCard
}

/// The mailbox's input in place of the serial line's.
#[derive(Default)]
pub struct Input;

impl Input {
    /// Whether there is a byte.
    pub fn is_ready(&mut self, _: &mut Uart<'static, Blocking>) -> bool {
        enter();
        RILLM_SIMULATOR.typed.load(Ordering::Acquire) != RILLM_SIMULATOR.read.load(Ordering::Relaxed)
    }

    /// Takes at least a byte of what was typed.
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

/// A revision that may use PSRAM for anything; the simulated chip is of revision 0.
pub fn revision() -> u8 {
    u8::MAX
}

/// The simulated chip's package has no name, and the PSRAM needs no pins.
pub fn has_known_package() -> bool {
    true
}

/// The card's blocks.
#[derive(Clone, Copy, Debug)]
pub struct MailboxCard;

impl Blocks for MailboxCard {
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

impl Slot for MailboxCard {
    fn modes(&self) -> &'static [BusMode] {
        &[BusMode { lines: "simulated", hz: 0 }]
    }

    async fn initialise(&mut self, _: BusMode) -> Result<Detected, Infallible> {
        Ok(if ask(COUNT, [0; 2]) > 0 { Detected::Card { high_capacity: true } } else { Detected::NoCard })
    }

    async fn sample(&mut self, first: u32) -> Result<u32, Infallible> {
        self.read(first, &mut [0; SECTOR_LEN]).await?;
        Ok(1)
    }
}

/// Called where the engine and the console come to the firmware's code: tells the simulated core that no window of registers is
/// taken but the one in use.
///
/// labwired 0.25.0 has no exceptions of windows here: it keeps callers' registers beside the chip. Where a call comes to windows
/// that are marked as taken, as it does once all 64 registers are, it keeps those, too, and puts them back at the `retw`, over
/// what the function has returned: of that only the first word is spared (`exec_retw` in `call_window.rs`). The second word of a
/// u64 is lost once eight calls of eight registers are nested. Where nothing is marked nothing is put back, and the callers' own
/// registers come back all the same. So this is called wherever the engine and the console come to the firmware's code, deep in
/// their calls. A chip would lose the callers' registers here.
#[inline(always)]
pub fn enter() {
    use core::arch::asm;

    let base: u32;
    // SAFETY: the simulated chip has what this forgets a second time.
    unsafe {
        asm!("rsr {}, windowbase", out(reg) base, options(nostack));
        asm!("wsr {}, windowstart", "rsync", in(reg) 1u32 << base, options(nostack));
    }
}

/// Where the simulated chip keeps what the second core is to run, and lets it.
const APP_CPU_CLOCK: *mut u32 = 0x3ff0_0058 as *mut u32;
const APP_CPU_ENTRY: *const u32 = 0x3ff0_0038 as *const u32;
/// The ROM's routine that has the second core jump there.
const ROM_BOOT_APP_CPU: usize = 0x4000_689c;

/// What the simulated chip wants before its second core is started.
pub fn before_second_core() {
    // SAFETY: a register of the simulated chip, a bit of which says that the core has been reset.
    unsafe { APP_CPU_CLOCK.write_volatile(APP_CPU_CLOCK.read_volatile() | 1 << 5) };
}

/// What it wants after that: on a chip the second core's own ROM reads the entry.
pub fn after_second_core() {
    // SAFETY: the simulator has this routine of the ROM, which takes an address.
    unsafe {
        let boot: extern "C" fn(u32) = core::mem::transmute(ROM_BOOT_APP_CPU);
        boot(APP_CPU_ENTRY.read_volatile());
    }
}
