//! Continues a prompt with the bundled model, or with another `.rillm` file given after `--`.
//!
//! ```sh
//! cargo run --release -p rillm --example generate
//! ```

use std::error::Error;

use rillm::{Bytes, Decoder, Memory, Model, PlanOptions, Sampling, Session, block_on};

fn main() -> Result<(), Box<dyn Error>> {
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/rill-tales-1m/model.rillm");
    let file = std::fs::read(std::env::args().nth(1).as_deref().unwrap_or(bundled))?;
    let mut source = Bytes::copied(&file);
    let model = block_on(Model::open(&mut source))?;
    let mut ram = vec![0; 256 << 10];
    let mut session = Session::new(&model, source, Memory::internal(&mut ram), &PlanOptions::default())?;
    block_on(session.push_text("Once upon a time"))?;
    let mut decoder = Decoder::default();
    print!("Once upon a time");
    while session.tokens().len() < session.plan().context {
        let token = block_on(session.next(&Sampling::default()))?;
        decoder.push(token.kind, token.text).for_each(|text| print!("{text}"));
        if model.header().is_eos(token.id) {
            break;
        }
    }
    println!("{}", decoder.finish());
    Ok(())
}
