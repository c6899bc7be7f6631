//! A simulated SD host, the wires of its slot, and what goes wrong with them.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use rillm_card::SdmmcHost;
use sdio::{
    BlockReadCommand, BlockWriteCommand, BusWidth, ByteReadCommand, ByteWriteCommand, ControlCommand, MmcBus, MmcError,
    Response, ResponseLen,
};

use super::card::{Answer, SimulatedCard};
use crate::support::BLOCK;
use crate::support::registers::{Registers, micros, now, pass};

/// What goes wrong with a command, or with what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The card does not hear it.
    Unheard,
    /// The card hears it, and the host not the answer.
    Unanswered,
    /// The host hears another answer, with a right checksum.
    Wrong(u32),
    /// The answer's checksum is wrong, or the data's.
    Checksum,
    /// The host takes no command, until it is reset.
    Locked,
    /// The host loses bytes.
    Fifo,
    /// The data does not come, and the host says so.
    DataTimeout,
    /// The data comes so many microseconds late.
    Late(u32),
    /// The host never says anything.
    Hang,
    /// The data is there, and the host never says that the read was stopped.
    HangAtStop,
    /// The card loses its power for so many microseconds, before it hears this.
    Gone(u32),
    /// Another card is pushed in.
    Other,
}

#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub kind: Kind,
    /// Commands before it.
    pub at: u32,
    /// All after it fail alike.
    pub stays: bool,
}

/// SdmmcHost, wires and card.
pub struct World {
    registers: Registers,
    card: Option<SimulatedCard>,
    back_at: u32,
    width: BusWidth,
    pub hz: u32,
    /// The host is in the middle of something.
    locked: bool,
    pub fault: Option<Fault>,
    pub commands: u32,
    /// Index and argument of each.
    pub log: Vec<(u8, u32)>,
    /// Blocks of each read of blocks, and its clock and width.
    pub reads: Vec<(usize, u32, bool)>,
    /// What the wires are good for.
    pub wires: (BusWidth, u32),
    /// Data lines of the host.
    pub lines: BusWidth,
    /// MemoryCard that the host does not reach.
    pub reaches: bool,
    pub resets: u32,
}

impl World {
    pub fn new(registers: Registers) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            card: Some(SimulatedCard::new(registers.clone())),
            registers,
            back_at: 0,
            width: BusWidth::W1,
            hz: 0,
            locked: false,
            fault: None,
            commands: 0,
            log: Vec::new(),
            reads: Vec::new(),
            wires: (BusWidth::W4, 50_000_000),
            lines: BusWidth::W4,
            reaches: true,
            resets: 0,
        }))
    }

    pub fn pull(&mut self) {
        self.card = None;
        self.back_at = now().wrapping_add(u32::MAX / 2);
    }

    pub fn push(&mut self, registers: Registers) {
        self.card = Some(SimulatedCard::new(registers.clone()));
        self.registers = registers;
    }

    pub fn card(&self) -> &SimulatedCard {
        self.card.as_ref().expect("a card")
    }

    /// The fault of the command that comes now.
    fn fault(&mut self) -> Option<Kind> {
        let index = self.commands;
        self.commands += 1;
        if self.card.is_none() && (now().wrapping_sub(self.back_at) as i32) >= 0 {
            self.card = Some(SimulatedCard::new(self.registers.clone()));
        }
        let fault = self.fault.filter(|fault| index == fault.at || (fault.stays && index > fault.at))?;
        match fault.kind {
            Kind::Gone(micros) => {
                self.card = None;
                self.back_at = now().wrapping_add(micros);
                None
            }
            Kind::Other => {
                self.push(Registers { serial: 8, ..self.registers.clone() });
                None
            }
            kind => Some(kind),
        }
    }

    /// Sends a command. `None`: there will be no end.
    fn command(
        &mut self,
        index: u8,
        argument: u32,
        blocks: usize,
        len: ResponseLen,
    ) -> Option<Result<[u32; 4], MmcError>> {
        assert!(self.hz > 0, "the clock is not set");
        let fault = self.fault();
        self.log.push((index, argument));
        // 136 clocks at most.
        pass(136_000_000 / self.hz);
        if self.locked || fault == Some(Kind::Locked) {
            self.locked = true;
            return Some(Err(MmcError::Other));
        }
        if fault == Some(Kind::Hang) {
            self.locked = true;
            return None;
        }
        let is_heard = fault != Some(Kind::Unheard);
        let answer = self.card.as_mut().filter(|_| is_heard).map(|card| card.command(index, argument, blocks));
        let mut words = match (answer, len) {
            (_, ResponseLen::Zero) => [0; 4],
            (None | Some(Answer::Nothing), _) => return Some(Err(MmcError::Timeout)),
            (Some(Answer::Word(word)), ResponseLen::R48) => [word, 0, 0, 0],
            (Some(Answer::Long(bytes)), ResponseLen::R136) => {
                let number = u128::from_be_bytes(bytes);
                [0, 32, 64, 96].map(|shift| (number >> shift) as u32)
            }
            other => panic!("{other:?}"),
        };
        match fault {
            Some(Kind::Unanswered) => return Some(Err(MmcError::Timeout)),
            Some(Kind::Checksum) => return Some(Err(MmcError::Crc)),
            Some(Kind::Fifo) => return Some(Err(MmcError::Io)),
            Some(Kind::Wrong(bits)) => words = words.map(|word| word ^ bits),
            _ => {}
        }
        Some(Ok(words))
    }

    /// Takes what the card sends.
    fn data(&mut self, buf: &mut [u8], auto_stop: bool) -> Result<(), MmcError> {
        let wires_hold = self.wires_hold();
        // No data comes from no card, or of an address that there is none of.
        let card = self.card.as_mut().filter(|card| card.data.len() == buf.len()).ok_or(MmcError::Timeout)?;
        if !wires_hold {
            return Err(MmcError::Crc);
        }
        buf.copy_from_slice(&std::mem::take(&mut card.data));
        if auto_stop {
            card.command(12, 0, 0);
        } else {
            card.sent();
        }
        Ok(())
    }

    /// Whether data comes whole.
    fn wires_hold(&self) -> bool {
        let Some(card) = &self.card else { return false };
        let four = matches!(self.width, BusWidth::W4);
        four == card.four_lines
            && (!four || matches!(self.wires.0, BusWidth::W4))
            && self.hz <= self.wires.1
            && self.hz <= if card.high_speed { 50_000_000 } else { 25_000_000 }
    }
}

pub struct SimulatedHost(pub Rc<RefCell<World>>);

impl MmcBus for SimulatedHost {
    async fn send_command<'a, C: ControlCommand + 'a>(&mut self, command: C) -> Result<C::Resp<'a>, MmcError> {
        let len = <C::Resp<'a> as Response>::LEN;
        let result = self.0.borrow_mut().command(C::INDEX, command.arg(), 0, len);
        match result {
            Some(words) => words.map(|words| C::Resp::from_words(&words)),
            None => pending().await,
        }
    }

    async fn read_blocks<'a, C: BlockReadCommand + 'a>(
        &mut self,
        mut command: C,
        auto_stop: bool,
    ) -> Result<C::Resp<'a>, MmcError> {
        let (index, argument) = (C::INDEX, command.arg());
        let (blocks, block_len) = (command.block_count() as usize, command.block_size().len());
        assert!(blocks <= Self::LONGEST, "a read of {blocks} blocks is more than DMA has descriptors for");
        assert_eq!(auto_stop, index == 18);
        assert!(command.buf().as_ptr().addr().is_multiple_of(4));
        let (answer, kind) = {
            let world = &mut *self.0.borrow_mut();
            let kind =
                world.fault.filter(|fault| world.commands == fault.at || (fault.stays && world.commands > fault.at));
            let answer = world.command(index, argument, blocks, ResponseLen::R48);
            if matches!(index, 17 | 18) {
                world.reads.push((blocks, world.hz, matches!(world.width, BusWidth::W4)));
            }
            // Whatever ends before the end: the host is not through, and the card is sending.
            if answer.is_some() {
                world.locked = true;
            }
            (answer, kind.map(|fault| fault.kind))
        };
        let words = match answer {
            Some(words) => words?,
            None => pending().await,
        };
        let late = match kind {
            Some(Kind::Late(micros)) => micros,
            Some(Kind::DataTimeout) => 250_000,
            _ => 0,
        };
        let lines = if matches!(self.0.borrow().width, BusWidth::W4) { 4 } else { 1 };
        let bits = (blocks * block_len * 8) as u64;
        let micros_of_data = (bits * 1_000_000 / lines / u64::from(self.0.borrow().hz)) as u32;
        let start = now();
        poll_fn(
            |_| {
                if micros().wrapping_sub(start) >= micros_of_data + late { Poll::Ready(()) } else { Poll::Pending }
            },
        )
        .await;
        if kind == Some(Kind::DataTimeout) {
            return Err(MmcError::Timeout);
        }
        self.0.borrow_mut().data(command.buf(), auto_stop)?;
        if kind == Some(Kind::HangAtStop) {
            return pending().await;
        }
        self.0.borrow_mut().locked = false;
        Ok(C::Resp::from_words(&words))
    }

    async fn write_blocks<'a, C: BlockWriteCommand + 'a>(&mut self, _: C, _: bool) -> Result<C::Resp<'a>, MmcError> {
        panic!("a card is read only")
    }

    async fn read_bytes<'a, C: ByteReadCommand + 'a>(&mut self, _: C) -> Result<C::Resp<'a>, MmcError> {
        panic!("a memory card has no bytes")
    }

    async fn write_bytes<'a, C: ByteWriteCommand + 'a>(&mut self, _: C) -> Result<C::Resp<'a>, MmcError> {
        panic!("a card is read only")
    }

    async fn init_idle(&mut self, hz: u32) -> Result<(), MmcError> {
        assert!(hz <= 400_000);
        self.set_bus(BusWidth::W1, hz)
    }

    fn set_bus(&mut self, width: BusWidth, hz: u32) -> Result<(), MmcError> {
        let mut world = self.0.borrow_mut();
        if world.locked {
            return Err(MmcError::Other);
        }
        (world.width, world.hz) = (width, hz);
        Ok(())
    }

    fn supports_mmc(&self) -> bool {
        true
    }

    fn supports_auto_stop(&self) -> bool {
        true
    }

    fn supports_bus_width(&self) -> BusWidth {
        self.0.borrow().lines
    }

    fn supports_frequency(&self) -> u32 {
        40_000_000
    }
}

impl SdmmcHost for SimulatedHost {
    const LONGEST: usize = 16 * 1024 / BLOCK;

    fn reset(&mut self) {
        let mut world = self.0.borrow_mut();
        (world.locked, world.resets) = (false, world.resets + 1);
    }

    fn set_data_timeout(&mut self, hz: u32) {
        assert!(hz / 4 < 1 << 24);
    }

    fn reaches(&self, _: &[u8]) -> bool {
        self.0.borrow().reaches
    }

    fn micros() -> u32 {
        micros()
    }
}
