//! A card on a simulated SD host: every command of its initialisation and of reads, and what can go wrong at each.

mod card;
mod host;

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::support::registers::{HighSpeed, Registers, micros, now};
use crate::support::story::{self, IMAGE, file_bytes, open, registers, standard_capacity};
use crate::support::{BLOCK, block_on, read_all};
use aligned::Aligned;
use block_device_driver::BlockDevice as _;
use host::{Fault, Kind, SimulatedHost, World};
use rillm_card::{AlignedBlock, Blocks, Error, Sdmmc, SlotError, probe};
use sdio::{BusWidth, MmcError};

type TestCard = Sdmmc<'static, SimulatedHost>;
type SdError = Error<SlotError<MmcError>>;

const LEN: usize = 60 * BLOCK;

fn slot(world: &Rc<RefCell<World>>) -> TestCard {
    let bounce: Vec<AlignedBlock> = vec![Aligned([0; BLOCK]); 16];
    Sdmmc::new(SimulatedHost(Rc::clone(world)), bounce.leak())
}

/// Opens the file and reads it. What it reads is right.
fn story(card: &mut TestCard) -> Result<(), SdError> {
    story::story(card, LEN, &[32, 1, 7])
}

#[test]
fn cards_of_every_kind_are_read_in_the_fastest_way_that_they_have() {
    let cards = [
        (registers(), "SDHC, 5.2 MB, 4 bits at 40 MHz"),
        (standard_capacity(), "SD, 5.2 MB, 4 bits at 40 MHz"),
        (Registers { busy_rounds: 300, ..registers() }, "SDHC, 5.2 MB, 4 bits at 40 MHz"),
        (Registers { four_lines: false, ..registers() }, "SDHC, 5.2 MB, 4 bits at 40 MHz"),
        (Registers { high_speed: HighSpeed::Refuses, ..registers() }, "SDHC, 5.2 MB, 4 bits at 20 MHz"),
        (Registers { high_speed: HighSpeed::Unknown, ..standard_capacity() }, "SD, 5.2 MB, 4 bits at 20 MHz"),
    ];
    for (registers, words) in cards {
        let world = World::new(registers.clone());
        let mut card = slot(&world);
        let info = block_on(probe(&mut card, micros)).expect("a card").to_string();
        assert!(info.starts_with(words), "{info}");
        assert_eq!(world.borrow().card().four_lines, registers.four_lines);
        assert_eq!(block_on(card.count()).expect("blocks"), registers.blocks());
        story(&mut card).expect("a file");
    }
}

#[test]
fn wires_that_are_good_for_less() {
    for (wires, lines, mode) in [
        ((BusWidth::W4, 25_000_000), BusWidth::W4, "4 bits at 20 MHz"),
        ((BusWidth::W1, 50_000_000), BusWidth::W4, "1 bit at 20 MHz"),
        ((BusWidth::W1, 50_000_000), BusWidth::W1, "1 bit at 40 MHz"),
        ((BusWidth::W1, 20_000_000), BusWidth::W1, "1 bit at 20 MHz"),
    ] {
        let world = World::new(registers());
        (world.borrow_mut().wires, world.borrow_mut().lines) = (wires, lines);
        let mut card = slot(&world);
        let (info, _) = open(&mut card).expect("a slower way");
        assert_eq!(info.mode().to_string(), mode);
        story(&mut card).expect("a file");
    }
    let world = World::new(registers());
    world.borrow_mut().wires.1 = 10_000_000;
    let mut card = slot(&world);
    assert!(matches!(open(&mut card), Err(Error::Device(SlotError::Driver(MmcError::Crc)))));
}

#[test]
fn an_initialised_card_is_initialised_again() {
    let world = World::new(registers());
    let mut card = slot(&world);
    for _ in 0..3 {
        story(&mut card).expect("a healthy card");
        block_on(card.recover()).expect("a healthy card");
    }
    // In the first bytes of a board's life the card may have been initialised, too: its reset is not the card's.
    story(&mut slot(&world)).expect("a card that was left as it was");
}

/// What the driver is for. Once this fails, the crate has mended it.
#[test]
fn sdio_alone_initialises_no_card_twice() {
    struct Delay;
    impl embedded_hal_async::delay::DelayNs for Delay {
        async fn delay_ns(&mut self, _: u32) {}
    }
    let world = World::new(registers());
    let host = SimulatedHost(Rc::clone(&world));
    let mut device = sdio::BlockDevice::<sdio::sd::Card, _, _, BLOCK>::new_uninit_sd_card(host, Delay);
    block_on(device.reacquire(40_000_000)).expect("the first time");
    block_on(device.read(0, &mut [Aligned([0; BLOCK])])).expect("a block");
    let error = block_on(device.reacquire(40_000_000)).expect_err("the card has no address any more");
    assert!(matches!(error, MmcError::Timeout));
    let (index, argument) = *world.borrow().log.last().expect("commands");
    assert!(index == 55 && argument >> 16 != 0 && world.borrow().card().rca == 0);
}

const KINDS: [Kind; 13] = [
    Kind::Unheard,
    Kind::Unanswered,
    Kind::Wrong(u32::MAX),
    Kind::Wrong(0x5a5a_a5a5),
    Kind::Checksum,
    Kind::Locked,
    Kind::Fifo,
    Kind::DataTimeout,
    Kind::Late(150_000),
    Kind::Hang,
    Kind::HangAtStop,
    Kind::Gone(300_000),
    Kind::Other,
];

/// Runs the story with a fault at each of its commands, and then without one.
fn at_every_command(stays: bool, registers: &Registers, mut check: impl FnMut(Kind, u32, u32, Result<(), SdError>)) {
    let world = World::new(registers.clone());
    story(&mut slot(&world)).expect("no fault");
    let commands = world.borrow().commands;
    assert!(commands > 60, "{commands}");
    for kind in KINDS {
        for at in 0..commands {
            let world = World::new(registers.clone());
            world.borrow_mut().fault = Some(Fault { kind, at, stays });
            let mut card = slot(&world);
            let start = now();
            let result = story(&mut card);
            // Whatever happens, it has an end: three ways to read a card, or four tries, each of a second and of the
            // commands before it.
            let seconds = now().wrapping_sub(start) / 1_000_000;
            assert!(seconds < 20, "{kind:?} at {at}: {seconds} s");
            check(kind, at, commands, result);
            world.borrow_mut().fault = None;
            if matches!(kind, Kind::Gone(_)) {
                world.borrow_mut().push(registers.clone());
            }
            story(&mut card).unwrap_or_else(|error| panic!("{kind:?} at {at}, later: {error}"));
        }
    }
}

#[test]
fn one_fault_at_every_command() {
    for registers in [registers(), standard_capacity()] {
        // The first command that is not of the insertion.
        let world = World::new(registers.clone());
        let mut card = slot(&world);
        block_on(probe(&mut card, micros)).expect("no fault");
        let inserted = world.borrow().commands;
        at_every_command(false, &registers, |kind, at, _, result| match result {
            Ok(()) => {}
            // A file that is open is the card's that it was opened on.
            Err(Error::Device(SlotError::OtherCard)) => assert_eq!(kind, Kind::Other),
            Err(error) => assert!(at < inserted, "{kind:?} at {at} of {inserted}: {error}"),
        });
    }
}

/// It is in the one answer without a checksum.
#[test]
fn how_addresses_are_counted_is_not_believed_of_one_answer() {
    for registers in [registers(), standard_capacity()] {
        let world = World::new(registers.clone());
        story(&mut slot(&world)).expect("no fault");
        let capacity = world.borrow().log.iter().rposition(|&(index, _)| index == 41).expect("ACMD41") as u32;
        let world = World::new(registers);
        world.borrow_mut().fault = Some(Fault { kind: Kind::Wrong(1 << 30), at: capacity, stays: false });
        let info = block_on(probe(&mut slot(&world), micros)).expect("a slower way").to_string();
        assert!(info.contains("\n4 bits at 40 MHz failed: unsupported card type; "), "{info}");
    }
}

#[test]
fn a_fault_that_stays_from_every_command_on() {
    at_every_command(true, &registers(), |kind, at, _, result| match (kind, result) {
        // What is late is waited for. Wrong answers may do no harm.
        (Kind::Late(_), result) => result.unwrap_or_else(|error| panic!("late at {at}: {error}")),
        (_, Ok(())) => {}
        (_, Err(Error::Device(_) | Error::NoCard)) => {}
        // Only of what is wrong all the time.
        (kind, Err(error)) => assert!(matches!(kind, Kind::Wrong(_)), "{kind:?} at {at}: {error}"),
    });
}

#[test]
fn a_card_that_is_pulled_out_and_pushed_in_again() {
    let world = World::new(registers());
    let mut card = slot(&world);
    let (_, mut file) = open(&mut card).expect("a file");
    read_all(&mut file, LEN, &[32]).expect("bytes");
    world.borrow_mut().pull();
    let start = now();
    assert!(matches!(read_all(&mut file, LEN, &[32]), Err(Error::Device(SlotError::Driver(MmcError::Timeout)))));
    assert!(now().wrapping_sub(start) < 4_000_000);
    // The same card, in its first state: the file is read on.
    world.borrow_mut().push(registers());
    assert!(read_all(&mut file, LEN, &[32]).expect("bytes") == file_bytes(LEN));
    // Another one: never its bytes for the file's, however often they are asked for.
    world.borrow_mut().push(Registers { serial: 99, ..registers() });
    for _ in 0..3 {
        assert!(matches!(read_all(&mut file, LEN, &[32]), Err(Error::Device(SlotError::OtherCard))));
    }
    story(&mut card).expect("the other card's own file");
}

#[test]
fn an_empty_slot() {
    let world = World::new(registers());
    world.borrow_mut().pull();
    let mut card = slot(&world);
    assert!(matches!(open(&mut card), Err(Error::NoCard)));
    world.borrow_mut().push(registers());
    story(&mut card).expect("a card");
}

#[test]
fn nothing_is_read_of_a_card_that_is_not_initialised() {
    let mut card = slot(&World::new(registers()));
    let mut block = [0; BLOCK];
    assert!(matches!(block_on(card.read(0, &mut block)), Err(SlotError::NotInitialised)));
    block_on(card.recover()).expect("a card");
    block_on(card.read(0, &mut block)).expect("a block");
}

#[test]
fn long_reads_are_several_and_any_memory_is_filled() {
    for (reaches, longest) in [(true, 32), (false, 16)] {
        let world = World::new(registers());
        world.borrow_mut().reaches = reaches;
        let mut card = slot(&world);
        block_on(probe(&mut card, micros)).expect("a card");
        let image = IMAGE.with(Clone::clone);
        let mut bytes = vec![0; 100 * BLOCK + 8];
        let aligned = bytes.as_ptr().align_offset(4);
        for start in aligned..aligned + 4 {
            world.borrow_mut().reads.clear();
            bytes.fill(0xee);
            block_on(card.read(5, &mut bytes[start..start + 100 * BLOCK])).expect("bytes");
            assert!(bytes[start..start + 100 * BLOCK] == image[5 * BLOCK..105 * BLOCK]);
            assert!(bytes[..start].iter().chain(&bytes[start + 100 * BLOCK..]).all(|&byte| byte == 0xee));
            let longest = if start == aligned { longest } else { 16 };
            let lens: Vec<usize> = world.borrow().reads.iter().map(|read| read.0).collect();
            assert_eq!(lens.len(), 100_usize.div_ceil(longest));
            assert!(lens[..lens.len() - 1].iter().all(|&len| len == longest), "{lens:?}");
        }
    }
}

#[test]
fn a_read_that_is_dropped() {
    let world = World::new(registers());
    let mut card = slot(&world);
    block_on(probe(&mut card, micros)).expect("a card");
    let image = IMAGE.with(Clone::clone);
    for polls in 0..4 {
        let mut bytes: Vec<AlignedBlock> = vec![Aligned([0; BLOCK]); 32];
        let bytes = bytes.as_flattened_bytes();
        {
            let mut read = pin!(card.read(0, bytes));
            for _ in 0..polls {
                assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
        }
        // The card is sending, and is told to stop.
        let resets = world.borrow().resets;
        block_on(card.read(3, &mut bytes[..BLOCK])).expect("a block");
        assert!(bytes[..BLOCK] == image[3 * BLOCK..4 * BLOCK]);
        assert_eq!(world.borrow().resets - resets, u32::from(polls > 0));
    }
}

/// Blocks as bytes.
trait Flattened {
    fn as_flattened_bytes(&mut self) -> &mut [u8];
}

impl Flattened for Vec<AlignedBlock> {
    fn as_flattened_bytes(&mut self) -> &mut [u8] {
        block_device_driver::blocks_to_slice_mut(self)
    }
}

#[test]
fn an_address_that_no_card_of_bytes_has() {
    let mut card = slot(&World::new(standard_capacity()));
    block_on(probe(&mut card, micros)).expect("a card");
    for first in [1 << 23, u32::MAX, card_blocks()] {
        assert!(matches!(block_on(card.read(first, &mut [0; BLOCK])), Err(SlotError::Driver(_))));
        block_on(card.recover()).expect("a card");
    }
}

fn card_blocks() -> u32 {
    standard_capacity().blocks()
}
