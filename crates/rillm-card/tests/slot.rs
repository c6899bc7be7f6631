//! Cards that are initialised in the fastest way in which they can be read.

use std::cell::Cell;

use crate::support::{BLOCK, Failed, block_on};
use rillm_card::{Blocks, BusMode, Detected, Error, Slot, probe};

const MODES: [BusMode; 3] = [mode("4 bits", 40), mode("4 bits", 20), mode("1 bit", 20)];

const fn mode(lines: &'static str, mhz: u32) -> BusMode {
    BusMode { lines, hz: mhz * 1_000_000 }
}

thread_local! {
    static MICROS: Cell<u32> = const { Cell::new(u32::MAX - 1000) };
}

fn micros() -> u32 {
    MICROS.get()
}

/// A card in a slot.
struct Wired {
    present: bool,
    /// The first of the modes in which blocks come whole.
    works: usize,
    /// Blocks that it has, and what each takes.
    blocks: u32,
    block_micros: u32,
    begun: Vec<BusMode>,
    sampled: u32,
}

const GOOD: Wired =
    Wired { present: true, works: 0, blocks: 62_333_952, block_micros: 50, begun: Vec::new(), sampled: 0 };

impl Blocks for Wired {
    type Error = Failed;

    async fn count(&mut self) -> Result<u32, Failed> {
        Ok(self.blocks)
    }

    async fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), Failed> {
        panic!("samples are read into memory of the slot")
    }

    async fn recover(&mut self) -> Result<(), Failed> {
        panic!("a mode that fails is not tried again")
    }
}

impl Slot for Wired {
    fn modes(&self) -> &'static [BusMode] {
        &MODES
    }

    async fn initialise(&mut self, mode: BusMode) -> Result<Detected, Failed> {
        self.begun.push(mode);
        Ok(if self.present { Detected::Card { high_capacity: self.blocks > 1 << 22 } } else { Detected::NoCard })
    }

    async fn sample(&mut self, first: u32) -> Result<u32, Failed> {
        if self.begun.len() <= self.works {
            return Err(Failed);
        }
        self.sampled = self.sampled.max(first + 16);
        MICROS.set(MICROS.get().wrapping_add(16 * self.block_micros));
        Ok(16)
    }
}

fn said(mut wired: Wired) -> String {
    block_on(probe(&mut wired, micros)).map_or_else(|error| error.to_string(), |info| info.to_string())
}

#[test]
fn the_first_way_that_works_is_taken() {
    for works in 0..MODES.len() {
        let mut wired = Wired { works, ..GOOD };
        let info = block_on(probe(&mut wired, micros)).expect("a card");
        assert_eq!((info.mode(), info.bytes_per_second()), (MODES[works], 10_240_000));
        assert_eq!(wired.begun, MODES[..=works]);
        // A few hundred KB, whatever the card.
        assert_eq!(wired.sampled as usize * BLOCK, 256 << 10);
    }
}

#[test]
fn no_way_works() {
    let mut wired = Wired { works: MODES.len(), ..GOOD };
    assert_eq!(block_on(probe(&mut wired, micros)), Err(Error::Device(Failed)));
    assert_eq!(wired.begun, MODES);
}

#[test]
fn an_empty_slot() {
    let mut wired = Wired { present: false, ..GOOD };
    assert_eq!(block_on(probe(&mut wired, micros)), Err(Error::NoCard));
    assert_eq!(wired.begun, MODES[..1]);
}

#[test]
fn a_slow_card_is_not_waited_for() {
    let mut wired = Wired { block_micros: 2_000, ..GOOD };
    assert_eq!(block_on(probe(&mut wired, micros)).map(|info| info.bytes_per_second()), Ok(256_000));
    assert_eq!(wired.sampled, 32);
}

#[test]
fn words() {
    assert_eq!(said(Wired { ..GOOD }), "SDHC, 31.9 GB, 4 bits at 40 MHz, 10.2 MB/s");
    assert_eq!(said(Wired { blocks: 3_900_000, ..GOOD }), "SD, 1.9 GB, 4 bits at 40 MHz, 10.2 MB/s");
    assert_eq!(said(Wired { blocks: 124_735_488, ..GOOD }), "SDXC, 63.8 GB, 4 bits at 40 MHz, 10.2 MB/s");
    assert_eq!(
        said(Wired { works: 1, block_micros: 600, ..GOOD }),
        "SDHC, 31.9 GB, 4 bits at 20 MHz, 853.3 kB/s\n\
         4 bits at 40 MHz failed: no answer; look at the wires, short ones of one length are best\n\
         the card is slow: below 1 MB/s; try another one, with a class of 10 or U1"
    );
    let small = said(Wired { blocks: 125_056, block_micros: 20_000, ..GOOD });
    assert!(small.starts_with("SD, 64.0 MB, 4 bits at 40 MHz, 25.6 kB/s\n"), "{small}");
    assert!(said(Wired { present: false, ..GOOD }).starts_with("no card answers; push one in"));
}
