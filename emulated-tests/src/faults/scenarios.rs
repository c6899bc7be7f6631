//! The scenarios: card failures, and how each must end.

use crate::faults::cards::{CardContents, FRAGMENTS, Unusable};
use crate::machine::{Board, Storage};

/// A card failure on a board.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name of the scenario.
    pub name: &'static str,
    /// The board.
    pub board: Board,
    /// The contents of the card, or of the file that replaces it.
    pub card: CardContents,
    /// Whether the board has a card alone, or the model in flash, too.
    pub source: Storage,
    /// The fault of a block that the card sends.
    pub fault: Option<Fault>,
    /// Whether the card's driver verifies the CRC of every block.
    pub crc: bool,
    /// Passes between two checks of the weights; 0 for none.
    pub check_every: u32,
    /// The message that the console must print. If empty, it must print no error.
    pub says: &'static str,
    /// How the scenario must end.
    pub end: End,
}

/// How a scenario ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The tokens and logits equal those of the run without a fault. The console prints at most one error.
    Same,
    /// The text is given up with an error. After the card is back, the same prompt gives the text of the run without a
    /// fault.
    SameLater,
    /// There is no text. The console prints the reason and accepts further input.
    Words,
    /// Other tokens or logits, without an error.
    Unnoticed,
}

impl End {
    /// The words in the table.
    pub fn words(self) -> &'static str {
        match self {
            Self::Same => "as without the fault",
            Self::SameLater => "given up; the next text as without the fault",
            Self::Words => "no text, the console listens",
            Self::Unnoticed => "ANOTHER TEXT, unnoticed",
        }
    }
}

/// A fault of a block: `error@N`, `flip@N:always`.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    kind: &'static str,
    at: Moment,
    more: &'static str,
}

impl Fault {
    /// The fault as the firmware's argument.
    pub fn word(self, places: &Places) -> String {
        let block = match self.at {
            Moment::Opening => places.opening,
            Moment::Tokenizer => places.tokenizer,
            Moment::Token => places.token,
        };
        format!("{}@{block}{}", self.kind, self.more)
    }
}

/// When a fault occurs.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// While the file is searched on the card.
    Opening,
    /// While the prompt is encoded.
    Tokenizer,
    /// During a read of weights, after the text has begun.
    Token,
}

/// The places in a certain setup, as indices of the blocks that the card sends, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    opening: usize,
    tokenizer: usize,
    token: usize,
}

/// Weights are streamed where this many blocks on either side are contiguous on the card. No other read is as long.
const STREAMED: usize = 64;

impl Places {
    /// The places in a run without a fault. `blocks` are the block numbers in the order in which the card sent them;
    /// the first `opening` of them precede the prompt. None if no weights were streamed.
    pub fn of(blocks: &[u64], opening: usize) -> Option<Self> {
        let is_streamed = |at: usize| {
            let around = at.checked_sub(STREAMED).and_then(|start| blocks.get(start..=at + STREAMED));
            around.is_some_and(|around| around.is_sorted_by(|a, b| a + 1 == *b))
        };
        let token = (blocks.len() * 2 / 3..blocks.len()).find(|&at| is_streamed(at))?;
        Some(Self { opening: opening.div_ceil(2), tokenizer: opening + 1, token: token + 1 })
    }
}

const fn fault(kind: &'static str, at: Moment, more: &'static str) -> Option<Fault> {
    Some(Fault { kind, at, more })
}

/// The scenario without a fault.
pub const PLAIN: Scenario = Scenario {
    name: "no fault",
    board: Board::Rv32,
    card: CardContents::Whole,
    source: Storage::Card,
    fault: None,
    crc: false,
    check_every: 64,
    says: "",
    end: End::Same,
};

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    use Moment::{Opening, Token, Tokenizer};
    let recovers = |name, fault| Scenario { name, fault, ..PLAIN };
    let unopened = |name, card, says| Scenario { name, card, says, end: End::Words, ..PLAIN };
    let flipped = Scenario { fault: fault("flip", Token, ""), ..PLAIN };
    let always = Scenario { fault: fault("flip", Token, ":always"), ..PLAIN };
    const OLD: &str = "cannot open unusable.rillm: this file has format version 3";
    let after = |name, unusable, says| Scenario { name, card: CardContents::After(unusable), says, ..PLAIN };
    const CUT: &str = "it was not copied whole";
    vec![
        recovers("error while the card is opened", fault("error", Opening, "")),
        recovers("error in the tokenizer", fault("error", Tokenizer, "")),
        recovers("error in the middle of a token", fault("error", Token, "")),
        recovers("late by 100 bytes", fault("late", Token, ":100")),
        recovers("late by more than the driver waits", fault("late", Token, ":100000")),
        recovers("gone while the card is opened", fault("gone", Opening, ":3000")),
        recovers("gone in the middle of a token", fault("gone", Token, ":3000")),
        Scenario {
            name: "gone for long",
            fault: fault("gone", Token, ":13000000"),
            says: "given up; check that the card sits firmly",
            end: End::SameLater,
            ..PLAIN
        },
        Scenario { name: "a bit flips, checked", check_every: 1, says: "trying again, 1 of 3", ..flipped },
        Scenario { name: "a bit flips, CRC", crc: true, ..flipped },
        Scenario { name: "a bit flips, neither", check_every: 0, end: End::Unnoticed, ..flipped },
        Scenario {
            name: "a bit stays flipped, checked",
            check_every: 1,
            says: "given up; check that the card sits firmly",
            end: End::Words,
            ..always
        },
        Scenario { name: "a bit stays flipped, neither", check_every: 0, end: End::Unnoticed, ..always },
        unopened("file of 0 bytes", CardContents::Cut(0), "the file has no bytes"),
        unopened("file cut after 700 bytes", CardContents::Cut(700), CUT),
        unopened("file cut after 64 KiB", CardContents::Cut(64 << 10), CUT),
        unopened("file cut after 1 MiB", CardContents::Cut(1 << 20), CUT),
        unopened("file without its last sector", CardContents::CutBy(512), CUT),
        unopened("card of zeros", CardContents::Erased, "no partition table and no FAT file system"),
        unopened("partition table without a partition", CardContents::NoPartition, "partition table is empty"),
        unopened("exFAT", CardContents::ExFat, "formatted as exFAT"),
        unopened("no .rillm file", CardContents::NoModel, "no .rillm file"),
        after(
            "a damaged model, and a good one",
            Unusable::Damaged,
            "cannot open unusable.rillm: the checksum of the header is",
        ),
        after("a model of another version, and a good one", Unusable::OtherVersion, OLD),
        unopened("a model of another version alone", CardContents::Alone(Unusable::OtherVersion), OLD),
        Scenario {
            name: "a model of another version, and a good one in flash",
            card: CardContents::Alone(Unusable::OtherVersion),
            source: Storage::Both,
            says: OLD,
            ..PLAIN
        },
        Scenario { name: "file in fragments", card: CardContents::InFragments, says: FRAGMENTS, ..PLAIN },
        Scenario { board: Board::Xtensa, ..unopened("file cut after 1 MiB", CardContents::Cut(1 << 20), CUT) },
        Scenario { board: Board::Xtensa, ..unopened("no such file", CardContents::NoModel, "there is no such file") },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_before_the_prompt_right_after_it_and_among_streamed_weights() {
        // 10 blocks to open the file, then for each of three tokens one block and 500 blocks of weights.
        let token = std::iter::once(5000).chain(1000..1500);
        let blocks: Vec<u64> = (0..10).chain(token.clone()).chain(token.clone()).chain(token).collect();
        let places = Places::of(&blocks, 10).expect("there are weights");
        assert_eq!(places, Places { opening: 5, tokenizer: 11, token: places.token });
        let around = &blocks[places.token - 1 - STREAMED..places.token + STREAMED];
        assert!(around[0] >= 1000 && around.len() == 2 * STREAMED + 1 && around[2 * STREAMED] < 1500, "{around:?}");
        assert!(places.token > blocks.len() * 2 / 3);
        assert_eq!(
            fault("flip", Moment::Opening, ":always").map(|fault| fault.word(&places)),
            Some("flip@5:always".into())
        );
    }

    #[test]
    fn without_streamed_weights_there_is_no_place_among_them() {
        let blocks: Vec<u64> = (0..10).chain((0..300).map(|at| at * 7)).collect();
        assert_eq!(Places::of(&blocks, 10), None);
    }

    #[test]
    fn names_tell_the_scenarios_apart() {
        let all = all();
        for (at, scenario) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| (other.name, other.board) != (scenario.name, scenario.board)));
        }
    }
}
