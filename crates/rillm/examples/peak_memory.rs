//! Measures how much of its memory a session writes to, and compares that with the plan.
//!
//! ```sh
//! cargo run --release -p rillm --example peak_memory -- MODEL.rillm 4194304 "The capital of France is" 20
//! ```
//!
//! The arguments are the model, the bytes of memory, the prompt, and the number of tokens. The memory is filled with
//! one pattern, then in a second run with another. Bytes that differ from the pattern in one of the runs were written
//! to.

use std::env::args;
use std::error::Error;
use std::fs;

use rillm::{Bytes, Memory, Model, PlanOptions, Sampling, Session, block_on};

/// Guard bytes before and after the session's memory, which nothing may write to.
const GUARD: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = args().skip(1).collect();
    let [path, ram, prompt, tokens] = &arguments[..] else {
        return Err("give a model, bytes of memory, a prompt and a number of tokens".into());
    };
    let ram: usize = ram.parse()?;
    let file = fs::read(path)?;
    let mut source = Bytes::copied(&file);
    let model = block_on(Model::open(&mut source))?;

    let mut touched = vec![false; ram];
    let (mut planned, mut done) = (0, 0);
    for pattern in [0x5a, 0xa5] {
        let mut memory = vec![pattern; ram + 2 * GUARD];
        let (before, rest) = memory.split_at_mut(GUARD);
        let (inside, after) = rest.split_at_mut(ram);
        let mut session = Session::new(&model, source, Memory::internal(inside), &PlanOptions::default())?;
        block_on(session.push_text(prompt))?;
        for _ in 0..tokens.parse()? {
            if session.tokens().len() == session.plan().context {
                break;
            }
            block_on(session.next(&Sampling::GREEDY))?;
        }
        (planned, done) = (session.plan().memory().internal, session.tokens().len());
        assert!(before.iter().chain(&*after).all(|&byte| byte == pattern), "the guards were written to");
        for (touched, &byte) in touched.iter_mut().zip(&*inside) {
            *touched |= byte != pattern;
        }
    }
    let peak = touched.iter().rposition(|&touched| touched).map_or(0, |last| last + 1);
    let written = touched.iter().filter(|&&touched| touched).count();
    println!(
        "planned {planned} bytes of {ram}, the last one written to is number {peak}; {written} were written to, {done} tokens"
    );
    Ok(())
}
