//! Chats with a model: reads a line, prints an answer, until the end of the input.
//!
//! ```sh
//! cargo run --release -p rillm --example chat -- MODEL.rillm
//! ```

use std::error::Error;
use std::io::{Write, stdin, stdout};

use rillm::{Bytes, Chat, Memory, Model, PlanOptions, Q16, Sampling, Session, block_on};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("give a .rillm file of a chat model, made by `rillm convert`")?;
    let file = std::fs::read(path)?;
    let model = block_on(Model::open(&mut Bytes::lent(&file)))?;
    let mut ram = vec![0; 4 << 20];
    let mut session = Session::new(&model, Bytes::lent(&file), Memory::internal(&mut ram), &PlanOptions::default())?;
    let mut chat = block_on(Chat::new(&mut session, None))?;
    let sampling = Sampling::default().temperature(Q16::thousandths(600)).top_k(40);
    for line in stdin().lines() {
        block_on(chat.ask(&mut session, &line?))?;
        let mut decoder = model.tokenizer().decoder();
        loop {
            chat.make_room(&mut session);
            let token = block_on(session.next(&sampling))?;
            decoder.push(token.kind, token.text).for_each(|text| print!("{text}"));
            stdout().flush()?;
            let id = token.id;
            if chat.ends(&session, id) {
                break;
            }
        }
        println!("{}", decoder.finish());
    }
    Ok(())
}
