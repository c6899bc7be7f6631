//! The tokens of the texts around messages, cut out of whole conversations.

use rillm::SectorReader;
use rillm::format::{ChatHeader, ChatPart, Section, SectionKind, TokenKind};
use rillm::tokenizer::{Scratch, Tokenizer};
use rillm::{Bytes, SECTOR_LEN, block_on};

use super::UnsupportedTemplate;
use super::form::Form;
use super::template::Conversation;
use crate::vocabulary::Vocabulary;

/// The messages of the conversations that are cut up: ordinary words.
const PROBES: [&str; 4] = ["hello", "Good morning to you", "What is 7 times 8?", "a small cat, and I"];

/// The `chat` section.
pub(super) fn section(form: &Form, vocabulary: &Vocabulary, tokenizer: &[u8]) -> Result<Vec<u8>, UnsupportedTemplate> {
    let mut encoder = Encoder::new(tokenizer, vocabulary.tokens.len() as u32)?;
    let first = |system, user: &str| form.render(Conversation { system, users: &[user], answers: &[] });

    let begin = encoder.around(|user| first(None, user))?;
    let ask = begin.after.clone();
    let (mut before_system, mut after_system) = (Around::default(), false);
    if form.system.is_some() {
        let mut befores = Vec::new();
        for system in PROBES {
            let user = encoder.around(|user| first(Some(system), user))?;
            if user.after != ask {
                return Err(UnsupportedTemplate::Tokens("after a system prompt a user's text ends in another way"));
            }
            befores.push(user.before);
            after_system = user.space;
        }
        before_system = encoder.cut(&befores)?;
    }
    // The white space before the mark is the answer's; a model that wants it there writes it.
    let mut next = encoder.around(|user| [form.next.trim_start(), user, &form.ask].concat())?;
    if !next.before.first().is_some_and(|&end| is_mark(vocabulary, end)) {
        return Err(UnsupportedTemplate::NoEnd);
    }
    let second = form.computed().render(Conversation { system: None, users: &PROBES[..2], answers: &PROBES[2..3] });
    let whole = encoder.whole(&second)?;
    let start = [&begin.before, &encoder.content(PROBES[0], begin.space)?, &ask].map(Vec::as_slice).concat();
    let rest = [&next.before, &encoder.content(PROBES[1], next.space)?, &ask].map(Vec::as_slice).concat();
    if !whole.strip_prefix(&start[..]).is_some_and(|whole| whole.ends_with(&rest)) {
        return Err(UnsupportedTemplate::Tokens("a second turn has others"));
    }
    let end = next.before.remove(0);

    let parts = [
        (ChatPart::Begin, begin.before, begin.space),
        (ChatPart::BeginSystem, before_system.before, before_system.space),
        (ChatPart::AfterSystem, before_system.after, after_system),
        (ChatPart::Next, next.before, next.space),
        (ChatPart::Ask, ask, false),
    ];
    let mut header = ChatHeader {
        trim_user: form.trim_user,
        trim_system: form.system.as_ref().is_some_and(|system| system.trim),
        system: form.system.is_some(),
        end,
        lens: [0; 5],
        spaces: [false; 5],
    };
    let mut bytes = Vec::new();
    for (part, tokens, space) in &parts {
        (header.lens[*part as usize], header.spaces[*part as usize]) = (tokens.len() as u32, *space);
        bytes.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
    }
    Ok([&header.emit()[..], &bytes].concat())
}

/// The tokens of a text, without the token before every text.
pub(crate) fn encode(tokenizer: &[u8], vocab_size: u32, text: &str) -> Result<Vec<u32>, UnsupportedTemplate> {
    Encoder::new(tokenizer, vocab_size)?.whole(text)
}

/// Whether a token marks the end of an answer in a text: a special token, or an added one that is more than white
/// space.
fn is_mark(vocabulary: &Vocabulary, id: u32) -> bool {
    let mut added = vocabulary.added.iter();
    vocabulary.tokens[id as usize].kind == TokenKind::Control
        || added.any(|added| added.id == id && !added.content.trim().is_empty())
}

/// The tokens around a message in a conversation.
#[derive(Default)]
struct Around {
    before: Vec<u32>,
    after: Vec<u32>,
    /// Whether a space before the message is encoded with it.
    space: bool,
}

/// The tokenizer of the output file.
struct Encoder<'a> {
    source: Bytes<'a>,
    tokenizer: Tokenizer,
    scratch: Box<Scratch>,
}

impl<'a> Encoder<'a> {
    fn new(section: &'a [u8], vocab_size: u32) -> Result<Self, UnsupportedTemplate> {
        let whole = Section { kind: SectionKind::Tokenizer, offset: 0, len: section.len() as u64, crc32: 0 };
        let mut source = Bytes::lent(section);
        let mut sector = [0; SECTOR_LEN];
        let tokenizer = block_on(Tokenizer::open(&mut SectorReader::new(&mut source, &mut sector), whole, vocab_size))
            .map_err(|error| UnsupportedTemplate::Tokenizer(error.to_string()))?;
        Ok(Self { source, tokenizer, scratch: Box::new([0; size_of::<Scratch>() / 8]) })
    }

    /// The tokens around the messages in `text`, which is the same conversation with other words.
    fn around(&mut self, text: impl Fn(&str) -> String) -> Result<Around, UnsupportedTemplate> {
        let wholes = PROBES.map(|probe| self.whole(&text(probe)));
        let wholes: Vec<_> = wholes.into_iter().collect::<Result<_, _>>()?;
        self.cut(&wholes)
    }

    /// The tokens around the probes in `wholes`, each of which holds one of them.
    fn cut(&mut self, wholes: &[Vec<u32>]) -> Result<Around, UnsupportedTemplate> {
        for space in [true, false] {
            let probes = PROBES.map(|probe| self.content(probe, space));
            let probes: Vec<_> = probes.into_iter().collect::<Result<_, _>>()?;
            for (start, window) in wholes[0].windows(probes[0].len()).enumerate() {
                let (before, after) = (&wholes[0][..start], &wholes[0][start + window.len()..]);
                let pairs = || wholes.iter().zip(&probes);
                if pairs().all(|(whole, probe)| *whole == [before, probe, after].concat()) {
                    return Ok(Around { before: before.to_vec(), after: after.to_vec(), space });
                }
            }
        }
        Err(UnsupportedTemplate::Tokens("what is said becomes one token with what stands beside it"))
    }

    /// The tokens of a text that contains special tokens.
    fn whole(&mut self, text: &str) -> Result<Vec<u32>, UnsupportedTemplate> {
        let encoder = self.tokenizer.encoder(text, false, &mut self.scratch);
        ids(encoder, &mut self.source)
    }

    /// The tokens of a message.
    fn content(&mut self, text: &str, space: bool) -> Result<Vec<u32>, UnsupportedTemplate> {
        let encoder = self.tokenizer.content_encoder(text, space, &mut self.scratch);
        ids(encoder, &mut self.source)
    }
}

fn ids(mut encoder: rillm::tokenizer::Encoder<'_>, source: &mut Bytes<'_>) -> Result<Vec<u32>, UnsupportedTemplate> {
    let (mut ids, mut some) = (Vec::new(), [0; 64]);
    loop {
        let len = block_on(encoder.fill(source, &mut some))
            .map_err(|error| UnsupportedTemplate::Tokenizer(error.to_string()))?;
        ids.extend(&some[..len]);
        if len < some.len() {
            return Ok(ids);
        }
    }
}
