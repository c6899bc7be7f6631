//! A card over a simulated SPI bus: every command of its initialisation and of reads, and what can go wrong at each.

mod card;

use std::cell::RefCell;
use std::rc::Rc;

use crate::support::registers::{Registers, micros, now, pass};
use crate::support::story::{self, file_bytes, open, registers, standard_capacity};
use crate::support::{BLOCK, block_on, read_all};
use card::{Fault, SimulatedCard, State};
use embedded_hal::spi::{ErrorKind, ErrorType, Operation, SpiDevice};
use embedded_sdmmc::SdCardError;
use rillm_card::{Blocks, Error, SlotError, SpiCard, SpiHost, probe};

type TestCard = SpiCard<Bus>;
type SpiError = Error<SlotError<SdCardError>>;

/// More than the first of the two fragments in which the file lies.
const LEN: usize = 40 * BLOCK;

/// The bus, its wires, and what is in the slot.
struct World {
    card: Option<SimulatedCard>,
    hz: u32,
    /// What the wires are good for.
    most_hz: u32,
    fault: Option<(Fault, u32, bool)>,
    commands: u32,
    transactions: u32,
    /// The bus's own error, from this transaction on.
    broken_from: Option<u32>,
}

impl World {
    fn new(registers: Registers) -> Rc<RefCell<Self>> {
        let card = Some(SimulatedCard::new(registers));
        let (hz, most_hz, fault, commands, transactions) = (0, 25_000_000, None, 0, 0);
        Rc::new(RefCell::new(Self { card, hz, most_hz, fault, commands, transactions, broken_from: None }))
    }

    fn push(&mut self, registers: Registers) {
        self.card = Some(SimulatedCard::new(registers));
    }

    fn exchange(&mut self, byte: u8) -> u8 {
        let Self { card, fault, commands, hz, most_hz, .. } = self;
        let Some(card) = card else { return 0xff };
        let answer = card.exchange(byte, &mut || {
            let index = *commands;
            *commands += 1;
            fault.filter(|&(_, at, stays)| index == at || (stays && index > at)).map(|(fault, ..)| fault)
        });
        // Too fast for the wires: a bit arrives late.
        if hz > most_hz && answer != 0xff { answer >> 1 } else { answer }
    }

    /// Exchanges the bytes of a block at once, where nothing happens between them: see [`SimulatedCard::exchange_block`].
    fn exchange_block(&mut self, bytes: &mut [u8]) -> bool {
        self.hz <= self.most_hz && self.card.as_mut().is_some_and(|card| card.exchange_block(bytes))
    }
}

struct Bus(Rc<RefCell<World>>);

impl ErrorType for Bus {
    type Error = ErrorKind;
}

impl SpiDevice for Bus {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), ErrorKind> {
        let world = &mut *self.0.borrow_mut();
        world.transactions += 1;
        if world.broken_from.is_some_and(|from| world.transactions > from) {
            return Err(ErrorKind::ModeFault);
        }
        let mut bits = 0;
        for operation in operations {
            match operation {
                Operation::Write(bytes) => bytes.iter().for_each(|&byte| {
                    bits += 8;
                    world.exchange(byte);
                }),
                Operation::TransferInPlace(bytes) => {
                    bits += 8 * bytes.len() as u64;
                    if !world.exchange_block(bytes) {
                        bytes.iter_mut().for_each(|byte| *byte = world.exchange(*byte));
                    }
                }
                Operation::Transfer(to, from) => to.iter_mut().zip(from.iter()).for_each(|(to, &byte)| {
                    bits += 8;
                    *to = world.exchange(byte);
                }),
                other => panic!("{other:?}"),
            }
        }
        pass((bits * 1_000_000_u64).div_ceil(u64::from(world.hz)) as u32);
        Ok(())
    }
}

impl SpiHost for Bus {
    fn set_clock(&mut self, hz: u32) -> Result<(), ErrorKind> {
        self.0.borrow_mut().hz = hz;
        Ok(())
    }

    fn wake(&mut self) -> Result<(), ErrorKind> {
        let mut world = self.0.borrow_mut();
        assert!(world.hz <= 400_000);
        if let Some(card) = &mut world.card {
            (0..10).for_each(|_| card.deselected());
        }
        Ok(())
    }

    fn micros() -> u32 {
        micros()
    }
}

fn slot(world: &Rc<RefCell<World>>) -> TestCard {
    SpiCard::new(Bus(Rc::clone(world)))
}

/// Opens the file and reads it. What it reads is right.
fn story(card: &mut TestCard) -> Result<(), SpiError> {
    story::story(card, LEN, &[20, 1, 5])
}

#[test]
fn cards_of_every_kind() {
    for (registers, kind) in [
        (registers(), "SDHC, "),
        (standard_capacity(), "SD, "),
        (Registers { busy_rounds: 500, ..registers() }, "SDHC, "),
    ] {
        let world = World::new(registers.clone());
        let mut card = slot(&world);
        let (info, _) = open(&mut card).expect("a card");
        let info = info.to_string();
        assert!(info.starts_with(kind) && info.contains("SPI at 20 MHz"), "{info}");
        assert_eq!(block_on(card.count()).expect("blocks"), registers.blocks());
        for _ in 0..2 {
            story(&mut card).expect("an initialised card");
            block_on(card.recover()).expect("an initialised card");
        }
        story(&mut slot(&world)).expect("a card that was left as it was");
    }
}

#[test]
fn wires_that_are_good_for_less() {
    for (most, mode) in [(10_000_000, "SPI at 10 MHz"), (4_000_000, "SPI at 4 MHz")] {
        let world = World::new(registers());
        world.borrow_mut().most_hz = most;
        let mut card = slot(&world);
        assert_eq!(open(&mut card).expect("a slower way").0.mode().to_string(), mode);
        story(&mut card).expect("a file");
    }
    let world = World::new(registers());
    world.borrow_mut().most_hz = 400_000;
    assert!(matches!(open(&mut slot(&world)), Err(Error::Device(SlotError::Driver(_)))));
}

#[test]
fn a_card_that_was_left_sending() {
    for several in [false, true] {
        let world = World::new(registers());
        story(&mut slot(&world)).expect("a card");
        world.borrow_mut().card.as_mut().expect("the card").sends(40, several);
        story(&mut slot(&world)).expect("a card that sends");
    }
}

#[test]
fn an_empty_slot() {
    let world = World::new(registers());
    world.borrow_mut().card = None;
    let mut card = slot(&world);
    let start = now();
    assert!(matches!(open(&mut card), Err(Error::NoCard)));
    assert!(now().wrapping_sub(start) < 3_000_000);
    world.borrow_mut().push(registers());
    story(&mut card).expect("a card");
}

#[test]
fn a_card_that_is_pulled_out_and_pushed_in_again() {
    let world = World::new(registers());
    let mut card = slot(&world);
    let (_, mut file) = open(&mut card).expect("a file");
    world.borrow_mut().card = None;
    assert!(matches!(read_all(&mut file, LEN, &[20]), Err(Error::Device(SlotError::Driver(_)))));
    world.borrow_mut().push(registers());
    assert!(read_all(&mut file, LEN, &[20]).expect("bytes") == file_bytes(LEN));
    // Another one, of another size.
    for other in [standard_capacity(), Registers::new(vec![0; (20 << 20) + 1], true)] {
        world.borrow_mut().push(other);
        for _ in 0..2 {
            assert!(matches!(read_all(&mut file, LEN, &[20]), Err(Error::Device(SlotError::OtherCard))));
        }
    }
}

const FAULTS: [Fault; 10] = [
    Fault::Unheard,
    Fault::Wrong(0x7f),
    Fault::Wrong(0x05),
    Fault::Command,
    Fault::Data,
    Fault::ErrorToken,
    Fault::NoToken,
    Fault::Late,
    Fault::Low,
    Fault::PowerLoss,
];

fn at_every_command(stays: bool, registers: &Registers, mut check: impl FnMut(Fault, u32, Result<(), SpiError>)) {
    let world = World::new(registers.clone());
    story(&mut slot(&world)).expect("no fault");
    let commands = world.borrow().commands;
    assert!(commands > 60, "{commands}");
    for fault in FAULTS {
        for at in 0..commands {
            let world = World::new(registers.clone());
            world.borrow_mut().fault = Some((fault, at, stays));
            let mut card = slot(&world);
            let start = now();
            let result = story(&mut card);
            let seconds = now().wrapping_sub(start) / 1_000_000;
            assert!(seconds < 20, "{fault:?} at {at}: {seconds} s");
            check(fault, at, result);
            world.borrow_mut().fault = None;
            let (_, mut file) = open(&mut card).unwrap_or_else(|error| panic!("{fault:?} at {at}, later: {error}"));
            assert!(read_all(&mut file, BLOCK, &[1]).expect("a block") == file_bytes(BLOCK));
        }
    }
}

#[test]
fn one_fault_at_every_command() {
    for registers in [registers(), standard_capacity()] {
        let world = World::new(registers.clone());
        let mut card = slot(&world);
        block_on(probe(&mut card, micros)).expect("no fault");
        let inserted = world.borrow().commands;
        at_every_command(false, &registers, |fault, at, result| {
            if let Err(error) = result {
                assert!(at < inserted, "{fault:?} at {at} of {inserted}: {error}");
            }
        });
    }
}

#[test]
fn a_fault_that_stays_from_every_command_on() {
    at_every_command(true, &registers(), |fault, at, result| match result {
        Ok(()) | Err(Error::Device(_) | Error::NoCard) => {}
        Err(error) => panic!("{fault:?} at {at}: {error}"),
    });
}

/// What the driver would ask 10,000 times, for 5 s.
#[test]
fn a_card_that_never_says_the_right_thing() {
    let world = World::new(registers());
    world.borrow_mut().fault = Some((Fault::Pattern, 0, true));
    let mut card = slot(&world);
    for _ in 0..2 {
        let start = now();
        let result = block_on(card.recover());
        assert!(matches!(result, Err(SlotError::Driver(SdCardError::TimeoutReadBuffer))), "{result:?}");
        assert!(now().wrapping_sub(start) < 3_100_000);
    }
    world.borrow_mut().fault = None;
    story(&mut card).expect("a card");
}

#[test]
fn a_bus_that_fails() {
    let world = World::new(registers());
    let mut card = slot(&world);
    story(&mut card).expect("a card");
    let transactions = world.borrow().transactions;
    for from in (0..transactions).step_by(transactions as usize / 60) {
        let world = World::new(registers());
        world.borrow_mut().broken_from = Some(from);
        let mut card = slot(&world);
        assert!(matches!(story(&mut card), Err(Error::Device(SlotError::Driver(SdCardError::Transport)))));
        world.borrow_mut().broken_from = None;
        story(&mut card).expect("a bus that works again");
    }
}

#[test]
fn nothing_is_read_of_a_card_that_is_not_initialised() {
    let world = World::new(registers());
    let mut card = slot(&world);
    assert!(matches!(block_on(card.read(0, &mut [0; BLOCK])), Err(SlotError::NotInitialised)));
    assert_eq!(world.borrow().card.as_ref().expect("the card").state, State::SdMode);
    block_on(card.recover()).expect("a card");
    block_on(card.read(0, &mut [0; BLOCK])).expect("a block");
}
