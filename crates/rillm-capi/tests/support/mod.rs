//! The expected text of the C interface: the engine's own.

#[cfg(not(miri))]
#[path = "../../../rillm-console/tests/support/chat_model.rs"]
pub mod chat_model;

use rillm::{Bytes, Decoder, Memory, Model, PlanOptions, Sampling, Session, block_on};

/// The bundled model, or a smaller one for Miri.
#[cfg(not(miri))]
pub const MODEL: &[u8] = include_bytes!("../../../../models/rill-tales-1m/model.rillm");
#[cfg(miri)]
pub const MODEL: &[u8] = TINY;
/// A random model with a chat template, whose context of 16 tokens has no room for a turn.
pub const TINY: &[u8] = include_bytes!("../../../../fuzz/corpus/rillm_file/llama");

/// Random models of few tokens: one of 4 bits, and one whose best logits are computed again.
pub const INT4: &[u8] = include_bytes!("../../../../fuzz/corpus/rillm_file/int4");
pub const RESCORING: &[u8] = include_bytes!("../../../../fuzz/corpus/rillm_file/rescoring");

/// The engine's text after a prompt, in memory of its own choice, and all tokens.
pub fn expected(file: &'static [u8], prompt: &str, tokens: usize, sampling: &Sampling) -> (String, Vec<u32>) {
    let mut source = Bytes::lent(file);
    let model = block_on(Model::open(&mut source)).expect("a model");
    let mut memory = vec![0; 1 << 20];
    let mut session =
        Session::new(&model, source, Memory::internal(&mut memory), &PlanOptions::default()).expect("room");
    block_on(session.push_text(prompt)).expect("room");
    let mut decoder = if prompt.is_empty() { model.tokenizer().decoder() } else { Decoder::new(false) };
    let mut text = String::new();
    for _ in 0..tokens {
        let token = block_on(session.next(sampling)).expect("a token");
        let ended = model.header().is_eos(token.id);
        text.extend(decoder.push(token.kind, token.text));
        if ended {
            text.push_str(decoder.finish());
            break;
        }
    }
    (text, session.tokens().to_vec())
}
