//! A firmware that continues a prompt: the part that is the same on every board. What a board is lies in `board.rs`.
#![no_std]
#![no_main]

mod board;

use rillm::block_on;
use rillm::source::{Sector, WeightSource};
use rillm::{model::Model, plan::PlanOptions, sampler::Sampling, session::Session, tokenizer::Decoder};

/// Where the model is read from: a card, a flash.
struct Card;

impl WeightSource for Card {
    type Error = &'static str;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), Self::Error> {
        board::read_sectors(first.0, buf)
    }
}

/// Continues a prompt to the end of the text, or of the room for it.
async fn tell(prompt: &str, ram: &mut [u8]) -> Result<(), rillm::error::Error<&'static str>> {
    let model = Model::open(&mut Card).await?;
    let options = PlanOptions::new(ram.len());
    let mut session = match Session::new(&model, Card, &options, ram) {
        Ok(session) => session,
        Err(too_small) => {
            board::print(format_args!("{too_small}"));
            return Ok(());
        }
    };
    session.push_text(prompt).await?;
    let mut decoder = Decoder::new(false);
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
