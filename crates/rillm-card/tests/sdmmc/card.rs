//! A simulated SD card: its states, addresses, and the commands that it ignores.

use crate::support::BLOCK;
use crate::support::registers::{HighSpeed, Registers};

/// SD Physical Layer, figures 4-2 and 4-13, with their numbers in the card's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Idle = 0,
    Ready = 1,
    Identification = 2,
    StandBy = 3,
    Transfer = 4,
    Sending = 5,
}

/// What a card says to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Nothing,
    Word(u32),
    Long([u8; 16]),
}

/// A powered card.
#[derive(Debug)]
pub struct SimulatedCard {
    pub registers: Registers,
    pub state: State,
    /// Its relative address: 0 until CMD3, and again after CMD0.
    pub rca: u16,
    pub four_lines: bool,
    pub high_speed: bool,
    /// What it sends now.
    pub data: Vec<u8>,
    /// ACMD41s since CMD0.
    rounds: u32,
    /// CMD8 was understood.
    knows_voltage: bool,
    /// The next command is an application's.
    app: bool,
    /// The last command was one that it does not know in this state.
    illegal: bool,
    /// Addresses that it has had: the next one is another.
    addresses: u16,
}

const ILLEGAL_COMMAND: u32 = 1 << 22;
const OUT_OF_RANGE: u32 = 1 << 31;
const READY_FOR_DATA: u32 = 1 << 8;
const APP_CMD: u32 = 1 << 5;

impl SimulatedCard {
    pub fn new(registers: Registers) -> Self {
        Self {
            registers,
            state: State::Idle,
            rca: 0,
            four_lines: false,
            high_speed: false,
            data: Vec::new(),
            rounds: 0,
            knows_voltage: false,
            app: false,
            illegal: false,
            addresses: 0,
        }
    }

    fn status(&mut self) -> u32 {
        let illegal = std::mem::take(&mut self.illegal);
        let app = if self.app { APP_CMD } else { 0 };
        (self.state as u32) << 9 | READY_FOR_DATA | app | if illegal { ILLEGAL_COMMAND } else { 0 }
    }

    fn r1(&mut self) -> Answer {
        Answer::Word(self.status())
    }

    fn send(&mut self, data: &[u8]) -> Answer {
        // The answer tells the state before.
        let answer = self.r1();
        (self.data, self.state) = (data.to_vec(), State::Sending);
        answer
    }

    fn is_mine(&self, argument: u32) -> bool {
        (argument >> 16) as u16 == self.rca
    }

    /// A command with a right checksum; `blocks` is what the host is going to take of CMD18's endless ones.
    pub fn command(&mut self, index: u8, argument: u32, blocks: usize) -> Answer {
        use State::{Identification, Idle, Ready, Sending, StandBy, Transfer};
        let app = std::mem::take(&mut self.app);
        match (index, app, self.state) {
            (0, ..) => {
                *self = Self { addresses: self.addresses, ..Self::new(self.registers.clone()) };
                Answer::Nothing
            }
            // 2.7 to 3.6 V, and the pattern back.
            (8, false, Idle) if argument >> 8 == 1 => {
                self.knows_voltage = true;
                Answer::Word(argument)
            }
            (55, ..) if self.is_mine(argument) && self.state != Sending => {
                self.app = true;
                self.r1()
            }
            (41, true, Idle) => {
                self.rounds += 1;
                let (window, host_high_capacity) = (argument & 0x00ff_8000, argument >> 30 & 1 == 1);
                let stays =
                    window == 0 || (self.registers.high_capacity && !(host_high_capacity && self.knows_voltage));
                if stays || self.rounds <= self.registers.busy_rounds {
                    return Answer::Word(self.registers.ocr() & 0x3fff_ffff);
                }
                self.state = Ready;
                Answer::Word(self.registers.ocr())
            }
            (2, false, Ready) => {
                self.state = Identification;
                Answer::Long(self.registers.cid())
            }
            (3, false, Identification | StandBy) => {
                let status = self.status();
                self.addresses += 1;
                (self.state, self.rca) = (StandBy, 0x1234 ^ self.addresses << 3);
                Answer::Word(u32::from(self.rca) << 16 | (status & 0x1fff))
            }
            (9, false, StandBy) if self.is_mine(argument) => Answer::Long(self.registers.csd()),
            (7, false, StandBy) if self.is_mine(argument) => {
                let answer = self.r1();
                self.state = Transfer;
                answer
            }
            (13, false, _) if self.is_mine(argument) && self.rca != 0 => self.r1(),
            (16, false, Transfer) if argument as usize == BLOCK => self.r1(),
            (6, true, Transfer) if argument == 0 || (argument == 2 && self.registers.four_lines) => {
                self.four_lines = argument == 2;
                self.r1()
            }
            (51, true, Transfer) => self.send(&self.registers.scr()),
            (13, true, Transfer) => self.send(&[0; 64]),
            (6, false, Transfer) if self.registers.high_speed != HighSpeed::Unknown => {
                let takes = self.registers.high_speed == HighSpeed::Takes && argument & 0xf == 1;
                self.high_speed = takes && argument >> 31 == 1;
                let mut status = [0; 64];
                status[16] = if takes { 1 } else { 0xf };
                self.send(&status)
            }
            (17 | 18, false, Transfer) => {
                let blocks = if index == 17 { 1 } else { blocks };
                match self.registers.at(argument, blocks).map(<[u8]>::to_vec) {
                    Some(data) => self.send(&data),
                    None => Answer::Word(self.status() | OUT_OF_RANGE),
                }
            }
            (12, false, Sending) => {
                let answer = self.r1();
                self.state = Transfer;
                answer
            }
            _ => {
                self.illegal = true;
                Answer::Nothing
            }
        }
    }

    /// All of a single block, or of a register, was sent.
    pub fn sent(&mut self) {
        self.state = State::Transfer;
    }
}
