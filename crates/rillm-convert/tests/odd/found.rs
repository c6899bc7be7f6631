//! What rillm makes of a row's checkpoint, and what it should.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use rillm::format::{CHAT_HEADER_LEN, ChatHeader, ChatPart, Header};
use rillm_convert::checkpoint::Checkpoint;
use rillm_convert::vocabulary::Vocabulary;
use rillm_convert::write::{Options, convert};
use serde::Deserialize;

use super::{Look, Row};
use crate::support::engine::{Engine, decode};

/// What the references say of a row; what they were not asked, or could not say, is absent.
#[derive(Debug, Deserialize)]
pub struct Golden {
    /// Texts, and their tokens.
    #[serde(default)]
    tokens: Vec<(String, Vec<u32>)>,
    /// What each of these token lists is as text.
    #[serde(default)]
    texts: Vec<String>,
    /// Conversations, and their tokens up to an answer; none where the template refuses.
    chat: Option<Vec<Conversation>>,
    /// The tokens that end an answer.
    ends: Option<BTreeSet<u32>>,
    /// A prompt, and the most probable tokens after it.
    logits: Option<Logits>,
}

#[derive(Debug, Deserialize)]
struct Conversation {
    system: Option<String>,
    users: Vec<String>,
    /// None where the template refuses the conversation.
    tokens: Option<Vec<u32>>,
}

#[derive(Debug, Deserialize)]
struct Logits {
    prompt: Vec<u32>,
    /// Tokens with their logits, the largest first.
    top: Vec<(usize, f32)>,
    /// The numbers are logarithms of probabilities, rather than logits.
    normalised: bool,
}

/// transformers computes in float32 and in another order than the reference.
const TOLERANCE: f32 = 2e-3;
/// llama.cpp rounds to float16 or to 8 bits on its way.
const TOLERANCE_OF_LLAMA_CPP: f32 = 3e-2;

/// What differs from what is expected.
pub fn compare(row: &Row, golden: &Golden, path: &Path) -> Vec<String> {
    let found = Found::of(path);
    match (&row.refused, found) {
        (Some(expected), Err(message)) if message.contains(expected) => Vec::new(),
        (Some(expected), Err(message)) => vec![format!("is refused by {message:?}, without the text {expected:?}")],
        (Some(_), Ok(_)) => vec!["is converted, and was to be refused".to_owned()],
        (None, Err(message)) => vec![format!("is refused: {message}")],
        (None, Ok(mut found)) => row.look.iter().flat_map(|&look| compare_one(row, golden, &mut found, look)).collect(),
    }
}

fn compare_one(row: &Row, golden: &Golden, found: &mut Found, look: Look) -> Vec<String> {
    let absent = || vec![format!("no golden for {look:?}: the reference refuses it, so the row needs `refused`")];
    match look {
        Look::Tokens if golden.tokens.is_empty() => absent(),
        Look::Tokens => {
            let differs = golden.tokens.iter().filter_map(|(text, expected)| {
                let tokens = found.engine.encode(text).expect("tokens");
                (tokens != *expected).then(|| format!("tokens of {text:?}: {tokens:?}, expected {expected:?}"))
            });
            differs.collect()
        }
        Look::Texts => {
            let differs = golden.tokens.iter().zip(&golden.texts).filter_map(|((_, ids), expected)| {
                let text = decode(&found.vocabulary, found.engine.tokenizer.decoder(), ids);
                (text != *expected).then(|| format!("text of {ids:?}: {text:?}, expected {expected:?}"))
            });
            differs.collect()
        }
        Look::Chat => match (&row.no_chat, &golden.chat) {
            (Some(reason), _) => match &found.chat {
                Err(message) if message.contains(reason) => Vec::new(),
                Err(message) => vec![format!("does not chat because of {message:?}, without the text {reason:?}")],
                Ok(_) => vec!["chats, and was not to".to_owned()],
            },
            (None, None) => absent(),
            (None, Some(conversations)) => found.compare_chat(conversations),
        },
        Look::Ends => match &golden.ends {
            Some(expected) if found.ends == *expected => Vec::new(),
            Some(expected) => vec![format!("tokens that end an answer: {:?}, expected {expected:?}", found.ends)],
            None => absent(),
        },
        Look::Logits => golden.logits.as_ref().map_or_else(absent, |expected| found.compare_logits(expected)),
    }
}

/// A converted checkpoint.
struct Found {
    checkpoint: Checkpoint,
    vocabulary: Vocabulary,
    engine: Engine,
    /// The `chat` section.
    chat: Result<Vec<u8>, String>,
    ends: BTreeSet<u32>,
}

impl Found {
    /// Converts a checkpoint, or says why that is refused.
    fn of(path: &Path) -> Result<Self, String> {
        let checkpoint = Checkpoint::open(path).map_err(|error| error.to_string())?;
        let vocab_size = checkpoint.config().vocab_size;
        let vocabulary = Vocabulary::open(path, vocab_size).map_err(|error| error.to_string())?;
        let sections = vocabulary.sections().map_err(|error| error.to_string())?;
        let out = tempfile::NamedTempFile::new().expect("a file");
        convert(&checkpoint, &sections, Options::default(), |_| ControlFlow::Continue(()), out.path())
            .map_err(|error| error.to_string())?;
        let file = fs::read(out.path()).expect("a file");
        let header = Header::parse(file.first_chunk().expect("a sector")).expect("a header");
        let engine = Engine::open(&sections.tokenizer, vocab_size).expect("a tokenizer");
        let chat = sections.chat.map_err(|error| error.to_string());
        let ends = header.eos.into_iter().flatten().collect();
        Ok(Self { checkpoint, vocabulary, engine, chat, ends })
    }

    fn compare_chat(&mut self, conversations: &[Conversation]) -> Vec<String> {
        let section = match &self.chat {
            Ok(section) => section,
            Err(message) => return vec![format!("does not chat: {message}")],
        };
        let vocab_size = self.vocabulary.tokens.len() as u32;
        let chat = Chat {
            header: ChatHeader::parse(section.first_chunk::<CHAT_HEADER_LEN>().expect("a header"), vocab_size)
                .expect("a header"),
            section,
            engine: &mut self.engine,
        };
        chat.compare(conversations)
    }

    fn compare_logits(&self, expected: &Logits) -> Vec<String> {
        let mut reference = self.checkpoint.reference();
        let mut logits = Vec::new();
        for (position, &token) in expected.prompt.iter().enumerate() {
            logits = reference.forward(token, position).to_vec();
        }
        if expected.normalised {
            let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
            logits.iter_mut().for_each(|logit| *logit -= sum.ln());
        }
        let found: Vec<_> = expected.top.iter().map(|&(token, _)| (token, logits[token])).collect();
        let tolerance = if expected.normalised { TOLERANCE_OF_LLAMA_CPP } else { TOLERANCE };
        let close = found.iter().zip(&expected.top).all(|(found, expected)| (found.1 - expected.1).abs() < tolerance);
        if close { Vec::new() } else { vec![format!("logits {found:?}, expected {:?}", expected.top)] }
    }
}

/// A `chat` section and the tokenizer of its file.
struct Chat<'a> {
    header: ChatHeader,
    section: &'a [u8],
    engine: &'a mut Engine,
}

impl Chat<'_> {
    fn part(&self, part: ChatPart) -> Vec<u32> {
        let (at, len) = self.header.place(part);
        self.section[at as usize..][..4 * len].as_chunks().0.iter().map(|&id| u32::from_le_bytes(id)).collect()
    }

    /// A part, and what is said after it.
    fn said(&mut self, part: ChatPart, text: &str) -> Vec<u32> {
        let trims = if part == ChatPart::BeginSystem { self.header.trim_system } else { self.header.trim_user };
        let text = if trims { text.trim() } else { text };
        let said = self.engine.encode_content(text, self.header.spaces[part as usize]).expect("tokens");
        [self.part(part), said].concat()
    }

    /// A conversation of one turn is to be the reference's. Of a longer one that holds for how it starts and for what
    /// stands around the last user's text: the model wrote what lies between.
    fn compare(mut self, conversations: &[Conversation]) -> Vec<String> {
        let mut problems = Vec::new();
        for Conversation { system, users, tokens } in conversations {
            if system.is_some() && !self.header.system {
                if tokens.is_some() {
                    problems.push("has no place for a system prompt".to_owned());
                }
                continue;
            }
            let Some(expected) = tokens else {
                problems.push(format!("takes a conversation that the template refuses: system {system:?}, {users:?}"));
                continue;
            };
            let start = match system {
                Some(system) => {
                    [self.said(ChatPart::BeginSystem, system), self.said(ChatPart::AfterSystem, &users[0])].concat()
                }
                None => self.said(ChatPart::Begin, &users[0]),
            };
            let ask = self.part(ChatPart::Ask);
            let agrees = match &users[1..] {
                [] => *expected == [&start[..], &ask].concat(),
                [.., last] => {
                    let end = [vec![self.header.end], self.said(ChatPart::Next, last), ask.clone()].concat();
                    let agrees = expected.starts_with(&start) && expected.ends_with(&end);
                    if !agrees {
                        problems.push(format!("chat of {users:?} ends in {end:?}"));
                    }
                    agrees
                }
            };
            if !agrees {
                problems.push(format!("chat starts with {start:?} and {ask:?}, expected {expected:?}"));
            }
        }
        problems
    }
}
