//! A firmware that continues a prompt: the part that is the same on every board. What a board is lies in `board.rs`.
#![no_std]
#![no_main]

mod board;

use rillm::{Decoder, Memory, Model, PlanOptions, Sampling, Sector, Session, WeightSource, block_on};

/// Where the model is read from: a card, a flash.
struct Card;

impl WeightSource for Card {
    type Error = &'static str;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), Self::Error> {
        board::read_sectors(first.0, buf)
    }
}

/// Continues a prompt to the end of the text, or of the room for it.
async fn tell(prompt: &str, ram: &mut [u8]) -> Result<(), rillm::Error<&'static str>> {
    let model = Model::open(&mut Card).await?;
    let mut session = Session::new(&model, Card, Memory::internal(ram), &PlanOptions::default())?;
    session.push_text(prompt).await?;
    let mut decoder = Decoder::default();
    while session.tokens().len() < session.plan().context {
        let token = session.next(&Sampling::GREEDY).await?;
        if model.header().is_eos(token.id) {
            break;
        }
        decoder.push(token.kind, token.text).for_each(|text| board::print(format_args!("{text}")));
    }
    Ok(())
}

#[riscv_rt::entry]
fn main() -> ! {
    let prompt = "Once upon a time";
    board::print(format_args!("{prompt}"));
    if let Err(error) = block_on(tell(prompt, board::ram())) {
        board::print(format_args!("\n{error}"));
    }
    board::stop()
}
