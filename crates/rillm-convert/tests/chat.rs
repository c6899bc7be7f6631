//! The `chat` section gives the tokens that `tokenizers` gives of what Jinja2 makes of a template.

use std::collections::BTreeMap;
use std::path::Path;

use rillm::SectorReader;
use rillm::format::{CHAT_HEADER_LEN, ChatHeader, ChatPart, Section, SectionKind};
use rillm::tokenizer::{Scratch, Tokenizer};
use rillm::{Bytes, SECTOR_LEN};
use rillm_convert::chat::{UnsupportedTemplate, section};
use rillm_convert::vocabulary::{TokenKind, Vocabulary};
use serde_json::{Value, json};
use tokenizers::Tokenizer as Reference;

const TINY: &str = include_str!("tiny_tokenizer.json");

/// A file of `chat_templates/`.
fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("chat_templates");
    std::fs::read_to_string(folder.join(name)).expect("a file")
}

/// The small tokenizer, and others that treat spaces in another way.
fn tokenizers() -> Vec<Value> {
    let prepend: Value = serde_json::from_str(TINY).expect("JSON");
    let metaspace = |scheme: &str| {
        let mut json = prepend.clone();
        json["normalizer"] = Value::Null;
        json["pre_tokenizer"] =
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
        json
    };
    vec![prepend.clone(), metaspace("first"), metaspace("always"), metaspace("never")]
}

fn vocabulary(tokenizer: &Value, template: &str) -> Vocabulary {
    let config = json!({"chat_template": template, "bos_token": "<s>", "eos_token": {"content": "</s>"}});
    let config = config.to_string();
    Vocabulary::from_tokenizer_json(tokenizer.to_string().as_bytes(), Some(config.as_bytes()), 403)
        .expect("a vocabulary")
}

/// A `chat` section and the tokenizer of its file.
struct Chat {
    header: ChatHeader,
    bytes: Vec<u8>,
    tokenizer: Vec<u8>,
}

impl Chat {
    fn of(vocabulary: &Vocabulary) -> Result<Self, UnsupportedTemplate> {
        let tokenizer = vocabulary.section().expect("a tokenizer");
        let bytes = section(vocabulary, &tokenizer)?;
        let header =
            ChatHeader::parse(bytes.first_chunk::<CHAT_HEADER_LEN>().expect("a header"), 403).expect("a header");
        assert_eq!(header.byte_len(), bytes.len() as u64);
        Ok(Self { header, bytes, tokenizer })
    }

    fn part(&self, part: ChatPart) -> Vec<u32> {
        let (at, len) = self.header.place(part);
        self.bytes[at as usize..][..4 * len].as_chunks().0.iter().map(|&id| u32::from_le_bytes(id)).collect()
    }

    /// A part, and what is said after it.
    fn said(&self, part: ChatPart, text: &str) -> Vec<u32> {
        let mut source = Bytes::lent(&self.tokenizer);
        let whole = Section { kind: SectionKind::Tokenizer, offset: 0, len: self.tokenizer.len() as u64, crc32: 0 };
        let mut sector = [0; SECTOR_LEN];
        let mut reader = SectorReader::new(&mut source, &mut sector);
        let tokenizer = rillm::block_on(Tokenizer::open(&mut reader, whole, 403)).expect("a tokenizer");
        let mut scratch: Scratch = [0; size_of::<Scratch>() / 8];
        let mut ids = vec![0; 4 * text.len() + 8];
        let mut encoder = tokenizer.content_encoder(text, self.header.spaces[part as usize], &mut scratch);
        let len = rillm::block_on(encoder.fill(&mut source, &mut ids)).expect("tokens");
        [&self.part(part)[..], &ids[..len]].concat()
    }
}

#[test]
fn the_tokens_of_a_chat_are_those_of_its_text() {
    let renderings: BTreeMap<String, Option<String>> = serde_json::from_str(&fixture("renderings.json")).expect("JSON");
    let mut compared = 0;
    for json in tokenizers() {
        let reference = Reference::from_bytes(json.to_string()).expect("a tokenizer");
        // The tiny tokenizer has a mark at the end of an answer for these.
        for name in ["llama2", "mistral", "zephyr"] {
            let vocabulary = vocabulary(&json, &fixture(&format!("{name}.jinja")));
            let chat = Chat::of(&vocabulary).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(chat.header.system, renderings[&format!("{name} system")].is_some(), "{name}");
            for system in [false, true] {
                let Some(text) = &renderings[&format!("{name} {}", if system { "system" } else { "plain" })] else {
                    continue;
                };
                let whole = reference.encode(text.as_str(), false).expect("tokens").get_ids().to_vec();
                let start = match system {
                    true => [
                        chat.said(ChatPart::BeginSystem, "Be brief."),
                        chat.said(ChatPart::AfterSystem, "What is a rill?"),
                    ]
                    .concat(),
                    false => chat.said(ChatPart::Begin, "What is a rill?"),
                };
                let last = if chat.header.trim_user { "Why?" } else { "Why?\n" };
                let asks = [start, said_next(&chat, "Where does it go?"), said_next(&chat, last)];
                let mut rest = &whole[..];
                for (turn, ask) in asks.iter().enumerate() {
                    let ask = [&ask[..], &chat.part(ChatPart::Ask)].concat();
                    let answer = rest.windows(ask.len()).position(|window| window == ask);
                    let answer = answer.unwrap_or_else(|| panic!("{name}: turn {turn} {ask:?} is not in {rest:?}"));
                    assert!(turn > 0 || answer == 0, "{name}");
                    rest = &rest[answer + ask.len()..];
                }
                assert!(rest.is_empty(), "{name}: {rest:?}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 4 * 5);
}

fn said_next(chat: &Chat, text: &str) -> Vec<u32> {
    [vec![chat.header.end], chat.said(ChatPart::Next, text)].concat()
}

#[test]
fn an_answer_without_a_mark_at_its_end_is_refused() {
    let tokenizer = &tokenizers()[0];
    let refused = |template: &str| Chat::of(&vocabulary(tokenizer, template)).err();
    // This tokenizer has no <|im_end|>: to it that is text.
    assert_eq!(refused(&fixture("chatml.jinja")), Some(UnsupportedTemplate::NoEnd));
    assert_eq!(refused(""), Some(UnsupportedTemplate::NoTemplate));
    let turns = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}assistant:";
    assert_eq!(refused(turns), Some(UnsupportedTemplate::NoEnd));
    assert_eq!(refused(&turns.replace("'\n'", "'<|end|>'")), None);
}

/// A generation prompt may begin the model's thoughts, which earlier turns do not have: the device has them as they were computed.
#[test]
fn a_prompt_that_begins_thoughts_is_the_last_part() {
    for json in tokenizers() {
        let reference = Reference::from_bytes(json.to_string()).expect("a tokenizer");
        let turns = "{% for m in messages %}{{ '[' + m.role + ']' + m.content + '<|end|>' }}{% endfor %}";
        let chat = |prompt: &str| Chat::of(&vocabulary(&json, &format!("{turns}{prompt}"))).expect("a chat");
        let (plain, thinking) = (chat("[assistant]"), chat("[assistant]{{ '<think>\n' }}"));
        assert_eq!(
            (plain.header.end, plain.part(ChatPart::Next)),
            (thinking.header.end, thinking.part(ChatPart::Next))
        );
        let text = |chat: &Chat| reference.decode(&chat.part(ChatPart::Ask), false).expect("a text");
        assert_eq!(text(&thinking), format!("{}<think>\n", text(&plain)));
    }
}

/// An added token that is no special one ends an answer as well; a name makes it a special one, which nobody can type.
#[test]
fn the_mark_at_the_end_of_an_answer_may_be_any_added_token() {
    let mut tokenizer = tokenizers().remove(0);
    let mark = &mut tokenizer["added_tokens"][3];
    mark["special"] = false.into();
    let (id, content) = (mark["id"].as_u64().expect("a number"), mark["content"].as_str().expect("a text").to_owned());
    let turns = |end: &str| {
        format!("{{% for m in messages %}}[{{{{ m.role }}}}]{{{{ m.content }}}}{end}{{% endfor %}}[assistant]")
    };
    let chat = Chat::of(&vocabulary(&tokenizer, &turns(&content))).expect("a chat");
    assert_eq!(u64::from(chat.header.end), id);

    let config = json!({"chat_template": turns("{{ eos_token }}"), "eos_token": content}).to_string();
    let named = Vocabulary::from_tokenizer_json(tokenizer.to_string().as_bytes(), Some(config.as_bytes()), 403);
    let named = named.expect("a vocabulary");
    assert_eq!(named.tokens[id as usize].kind, TokenKind::Control);
    assert_eq!(Chat::of(&named).map(|chat| u64::from(chat.header.end)), Ok(id));
    // White space is a mark of nothing.
    tokenizer["added_tokens"][3]["content"] = "\n\n".into();
    assert_eq!(Chat::of(&vocabulary(&tokenizer, &turns("{{ '\n\n' }}"))).err(), Some(UnsupportedTemplate::NoEnd));
}

/// Templates that are compiled by recursion, a level for every byte or two.
#[test]
fn templates_that_nest_deeply_or_are_too_long_are_refused() {
    let tokenizer: Value = serde_json::from_str(TINY).expect("JSON");
    let refused = |template: &str| {
        let vocabulary = vocabulary(&tokenizer, template);
        section(&vocabulary, &vocabulary.section().expect("a tokenizer")).expect_err("a refusal").to_string()
    };
    for (first, level) in [("1", "+1"), ("x", ".a"), ("", "-"), ("", "not "), ("x", "[0]"), ("x", "()"), ("", "[")] {
        let levels = level.repeat(((1 << 16) - 10) / level.len());
        let template = format!("{{{{ {first}{levels}{}}}}}", if first.is_empty() { "1" } else { "" });
        assert!(!refused(&template).contains("longer"), "{level}");
    }
    assert!(refused(&"x".repeat((1 << 16) + 1)).contains("longer than 65536 bytes"));
}
