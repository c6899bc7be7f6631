//! The texts that a template writes around messages.

use super::UnsupportedTemplate;
use super::template::{Conversation, Template};

/// The messages of the conversations on which a template is tried: words that no template contains.
const SYSTEM: &str = "Wsys0w";
const USERS: [&str; 4] = ["Wuser1w", "Wuser2w", "Wuser3w", "Wuser4w"];
const ANSWERS: [&str; 3] = ["Wanswer1w", "Wanswer2w", "Wanswer3w"];

/// The texts around messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// The text before the first user message without a system message.
    pub begin: String,
    /// The texts around a system message; `None` if the template has no place for one that a device could follow.
    pub system: Option<System>,
    /// The text from a user message to the start of the model's answer.
    pub ask: String,
    /// The text from a user message to the answer of an earlier turn: `ask`, or more or less of it.
    pub between: String,
    /// The text from an answer to the next user message.
    pub next: String,
    /// Whether the template trims user messages.
    pub trim_user: bool,
}

/// The texts around a system prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct System {
    pub before: String,
    /// The text from the system message to the first user message.
    pub after: String,
    /// Whether the template trims the system message.
    pub trim: bool,
}

impl Form {
    /// Finds the texts, and verifies them on conversations of one to four turns.
    pub fn of(template: &Template<'_>) -> Result<Self, UnsupportedTemplate> {
        let first = template.render(conversation(1, None))?;
        let [begin, ask] = cut(&first, [USERS[0]])?;
        let second = template.render(conversation(2, None))?;
        let [begin_again, between, next, ask_again] = cut(&second, [USERS[0], ANSWERS[0], USERS[1]])?;
        if (begin, ask) != (begin_again, ask_again) {
            return Err(UnsupportedTemplate::Varies("its first or its last text depends on how many turns there are"));
        }
        // What an earlier answer has more is the model's to write: Llama-2's space, or empty thoughts. What it has less are
        // thoughts that the template begins for the last answer only; the cache keeps them.
        if !between.starts_with(ask.trim_end()) && !ask.starts_with(between) {
            return Err(UnsupportedTemplate::Varies(
                "what stands before an answer differs from what stood before earlier ones",
            ));
        }
        let mut form = Self {
            begin: begin.to_owned(),
            system: None,
            ask: ask.to_owned(),
            between: between.to_owned(),
            next: next.to_owned(),
            trim_user: false,
        };
        form.trim_user =
            trims(USERS[0], |user| template.render(Conversation { system: None, users: &[user], answers: &[] }))?;
        form.check(template, None)?;
        form.system = form.system(template).ok();
        Ok(form)
    }

    /// The texts around a system prompt.
    fn system(&self, template: &Template<'_>) -> Result<System, UnsupportedTemplate> {
        let first = template.render(conversation(1, Some(SYSTEM)))?;
        let [before, after, _] = cut(&first, [SYSTEM, USERS[0]])?;
        let system = System { before: before.to_owned(), after: after.to_owned(), trim: false };
        Self { system: Some(system.clone()), ..self.clone() }.check(template, Some(SYSTEM))?;
        let trim = trims(SYSTEM, |text| template.render(conversation(1, Some(text))))?;
        Ok(System { trim, ..system })
    }

    /// Compares the form's output with the template's.
    fn check(&self, template: &Template<'_>, system: Option<&str>) -> Result<(), UnsupportedTemplate> {
        for turns in 1..=USERS.len() {
            let conversation = conversation(turns, system);
            if template.render(conversation)? != self.render(conversation) {
                return Err(UnsupportedTemplate::Varies("a longer conversation is not what shorter ones make expect"));
            }
        }
        Ok(())
    }

    /// The form of what a device has computed: before an earlier answer stands what stood there when it was written.
    pub fn computed(&self) -> Self {
        let between = if self.ask.starts_with(&self.between) { &self.ask } else { &self.between };
        Self { between: between.clone(), ..self.clone() }
    }

    /// A conversation as the template has it, without its treatment of white space.
    pub fn render(&self, conversation: Conversation<'_>) -> String {
        let mut text = match (conversation.system, &self.system) {
            (Some(given), Some(system)) => [&system.before, given, &system.after].concat(),
            _ => self.begin.clone(),
        };
        for (turn, user) in conversation.users.iter().enumerate() {
            text.push_str(user);
            match conversation.answers.get(turn) {
                Some(answer) => text.extend([&self.between, *answer, &self.next]),
                None => text.push_str(&self.ask),
            }
        }
        text
    }
}

/// A conversation of so many turns, the last one without an answer.
fn conversation(turns: usize, system: Option<&str>) -> Conversation<'_> {
    Conversation { system, users: &USERS[..turns], answers: &ANSWERS[..turns - 1] }
}

/// The texts before, between and after `contents`, each of which occurs in `text` once and in this order.
fn cut<'a, const CONTENTS: usize, const TEXTS: usize>(
    text: &'a str,
    contents: [&str; CONTENTS],
) -> Result<[&'a str; TEXTS], UnsupportedTemplate> {
    let mut texts = [""; TEXTS];
    let mut rest = text;
    for (place, content) in texts.iter_mut().zip(contents) {
        (*place, rest) = rest.split_once(content).ok_or(UnsupportedTemplate::Contents)?;
    }
    texts[TEXTS - 1] = rest;
    match texts.iter().any(|text| contents.iter().any(|content| text.contains(content))) {
        true => Err(UnsupportedTemplate::Contents),
        false => Ok(texts),
    }
}

/// Whether the template trims the text that it `render`s, alone or with others.
fn trims(
    text: &str,
    render: impl Fn(&str) -> Result<String, UnsupportedTemplate>,
) -> Result<bool, UnsupportedTemplate> {
    let padded = format!(" \n {text} \n ");
    let (bare, found) = (render(text)?, render(&padded)?);
    match found == bare {
        true => Ok(true),
        false if found == bare.replacen(text, &padded, 1) => Ok(false),
        false => Err(UnsupportedTemplate::Varies("it takes away some of the white space around what is said")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn form(source: &str) -> Result<Form, UnsupportedTemplate> {
        let special = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, text)| (name.into(), text.into()));
        Form::of(&Template::new(source, &special)?)
    }

    /// What Jinja2 makes of the template of each name, and the template; `make.py` beside them made it.
    fn renderings() -> Vec<(String, String, Option<String>)> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chat_templates");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
        let renderings: BTreeMap<String, Option<String>> =
            serde_json::from_str(&read("renderings.json")).expect("JSON");
        let with_source = |(name, text): (String, Option<String>)| {
            let (template, _) = name.split_once(' ').expect("a template and a kind");
            (name.clone(), read(&format!("{template}.jinja")), text)
        };
        renderings.into_iter().map(with_source).collect()
    }

    #[test]
    fn forms_of_known_templates_give_what_jinja_gives() {
        let renderings = renderings();
        assert_eq!(renderings.len(), 22);
        for (name, source, expected) in renderings {
            let form = form(&source).unwrap_or_else(|error| panic!("{name}: {error}"));
            let system = name.ends_with(" system").then_some("Be brief.");
            let Some(expected) = expected else {
                assert!(system.is_some() && form.system.is_none(), "{name}");
                continue;
            };
            let last = if form.trim_user { "Why?" } else { "Why?\n" };
            let users = ["What is a rill?", "Where does it go?", last];
            let answers = ["A small stream.", "To the sea."];
            assert_eq!(form.render(Conversation { system, users: &users, answers: &answers }), expected, "{name}");
        }
    }

    /// What stands before earlier answers may be more than what the model goes on from, or less; a device has what stood there when
    /// the answer was written.
    #[test]
    fn a_generation_prompt_and_what_stands_before_earlier_answers_are_of_one_kind() {
        let with = |between: &str, ask: &str| {
            format!(
                "{{% for m in messages %}}{{{{ ('{between}' if m.role == 'assistant' else '<user>') + m.content + '<end>' }}}}\
                 {{% endfor %}}{ask}"
            )
        };
        let texts = |source: &str| form(source).map(|form| (form.ask.clone(), form.computed().between));
        for (between, ask, computed) in [
            ("<bot>", "<bot>", "<bot>"),
            ("<bot>", "<bot><think>\\n", "<bot><think>\\n"),
            ("<bot><think>\\n\\n</think>\\n\\n", "<bot><think>\\n", "<bot><think>\\n\\n</think>\\n\\n"),
            ("<bot><think>\\n\\n</think>\\n\\n", "<bot>", "<bot><think>\\n\\n</think>\\n\\n"),
            ("<bot>", "<bot>\\n", "<bot>\\n"),
            ("<bot> ", "<bot>", "<bot> "),
            ("<bot>", "", "<bot>"),
        ] {
            let (ask, computed) = (format!("{{{{ '{ask}' }}}}"), computed.replace("\\n", "\n"));
            let found = texts(&with(between, &ask)).expect("a form");
            assert_eq!(found.1, format!("<end>{computed}"), "{between} {ask}");
            assert!(found.0.starts_with("<end>"), "{found:?}");
        }
    }

    #[test]
    fn templates_of_more_than_fixed_texts_are_refused() {
        let refused = |source: &str| form(source).expect_err(source).to_string();
        let turns = "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}";
        assert!(form(&format!("{turns}<assistant>")).is_ok());
        for (source, reason) in [
            ("{{ messages", "does not run: "),
            ("{{ raise_exception('no') }}", "does not run: "),
            ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "fuel"),
            (
                "{% set ns = namespace(x='ab') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
                "fuel",
            ),
            (
                "{% set ns = namespace(x=[]) %}{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
                "JSON",
            ),
            ("{{ [1] | tojson(indent=1000000000000) }}", "JSON"),
            ("hello", "does not repeat every message"),
            ("{{ messages[-1].content | upper }}", "does not repeat every message"),
            ("{% for m in messages[-1:] %}{{ m.content }}{% endfor %}", "does not repeat every message"),
            ("{{ messages | length }}{% for m in messages %}<m>{{ m.content }}{% endfor %}", "how many turns"),
            ("{% for m in messages %}{{ loop.index0 // 5 }}{{ m.content }}{% endfor %}0", "shorter ones make expect"),
            ("{% for m in messages %}{{ '<m>' + m.content.lstrip() }}{% endfor %}<m>", "white space"),
            ("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<other>", "stood before earlier ones"),
        ] {
            let error = refused(source);
            assert!(error.contains(reason), "{source}: {error}");
        }
    }

    #[test]
    fn a_system_text_without_a_place_of_its_own_is_none() {
        // Mistral's later models repeat it with the last user text.
        let last = "{% for m in messages %}{% if m.role != 'system' %}{% if loop.last and messages[0].role == 'system' %}\
                    {{ messages[0].content }}{% endif %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}<assistant>";
        let ignored =
            "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>";
        for source in [ignored, last] {
            assert_eq!(form(source).map(|form| form.system), Ok(None), "{source}");
        }
    }

    #[test]
    fn white_space_is_trimmed_where_the_template_does() {
        let of = |user: &str| {
            format!("{{% for m in messages %}}<{{{{ m.role }}}}>{{{{ {user} }}}}{{% endfor %}}<assistant>")
        };
        let trims = |source: &str| form(source).map(|form| (form.trim_user, form.system.map(|system| system.trim)));
        assert_eq!(trims(&of("m.content")), Ok((false, Some(false))));
        assert_eq!(trims(&of("m.content | trim")), Ok((true, Some(true))));
        assert_eq!(trims(&of("m.content if m.role == 'system' else m.content.strip()")), Ok((true, Some(false))));
    }
}
