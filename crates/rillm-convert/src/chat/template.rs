//! A chat template with the environment that `transformers` gives it.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::UnsupportedTemplate;

/// The most minijinja fuel for one conversation: instructions, and 64 bytes of data each. Templates of known models
/// take a few thousand.
const FUEL: u64 = 1 << 20;

/// The messages of a conversation that ends with a user message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversation<'a> {
    /// The system message, if there is one.
    pub system: Option<&'a str>,
    /// The user messages, one more than answers.
    pub users: &'a [&'a str],
    /// The answers.
    pub answers: &'a [&'a str],
}

/// A compiled template.
pub(super) struct Template<'a> {
    environment: Environment<'a>,
    special_tokens: &'a [(String, String)],
}

impl<'a> Template<'a> {
    /// Compiles `source`. `special_tokens` are variables with their values, for example `bos_token`.
    pub fn new(source: &'a str, special_tokens: &'a [(String, String)]) -> Result<Self, UnsupportedTemplate> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(refusal)?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(|state, value, method, args| {
            let text = value.as_str().and_then(|text| text_method(text, method, args));
            text.map_or_else(|| unknown_method_callback(state, value, method, args), Ok)
        });
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: &str| strftime(format));
        environment.add_filter("tojson", tojson);
        // In Python a string is a sequence, and an undefined value has the methods of a string.
        environment.add_test("sequence", |value: &Value| {
            matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined)
        });
        environment.add_template_owned("chat", as_minijinja_has_it(source)).map_err(refusal)?;
        Ok(Self { environment, special_tokens })
    }

    /// Renders the conversation up to the start of the model's answer.
    pub fn render(&self, conversation: Conversation<'_>) -> Result<String, UnsupportedTemplate> {
        let message = |role: &str, text: &str| Value::from_pairs([("role", role), ("content", text)]);
        let mut messages: Vec<Value> = conversation.system.iter().map(|text| message("system", text)).collect();
        for (turn, user) in conversation.users.iter().enumerate() {
            messages.push(message("user", user));
            messages.extend(conversation.answers.get(turn).map(|answer| message("assistant", answer)));
        }
        let mut variables = vec![
            ("messages", Value::from(messages)),
            ("add_generation_prompt", Value::from(true)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ];
        variables.extend(self.special_tokens.iter().map(|(name, text)| (name.as_str(), Value::from(text.as_str()))));
        let template = self.environment.get_template("chat").map_err(refusal)?;
        template.render(Value::from_pairs(variables)).map_err(refusal)
    }
}

/// What `transformers` makes of texts, numbers and the like, whatever layout is asked for. Lists and objects, which only tools
/// need, are refused: minijinja counts what they take only once it is taken.
fn tojson(value: &Value, _indent: Option<&Value>, _layout: Kwargs) -> Result<Value, Error> {
    Ok(match value.kind() {
        ValueKind::String => serde_json::Value::from(value.as_str()).to_string().into(),
        ValueKind::Number => value.to_string().into(),
        ValueKind::Bool => if value.is_true() { "true" } else { "false" }.into(),
        ValueKind::None => "null".into(),
        kind => {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("rillm writes no {kind} as JSON")));
        }
    })
}

/// A template as Jinja reads it, of which minijinja lacks two things: every kind of line break is `\n`, and
/// `{% generation %}`, which `transformers` adds to find what the model wrote, is a block that does nothing.
fn as_minijinja_has_it(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some((at, close)) = next_tag(rest) {
        let (before, tag) = rest.split_at(at);
        let (tag, after) = tag.split_at(tag_len(tag, close));
        let inside = tag.trim_start_matches("{%").trim_end_matches("%}");
        let name = inside.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        out.push_str(before);
        match name {
            "generation" if close == "%}" => out.push_str(&tag.replace(name, "with")),
            "endgeneration" if close == "%}" => out.push_str(&tag.replace(name, "endwith")),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out + rest
}

/// The position of the next tag, expression or comment, and its closing delimiter.
fn next_tag(source: &str) -> Option<(usize, &'static str)> {
    let kinds = [("{%", "%}"), ("{{", "}}"), ("{#", "#}")];
    kinds.into_iter().filter_map(|(open, close)| Some((source.find(open)?, close))).min()
}

/// Bytes of the tag that `tag` starts with, up to what closes it outside of texts.
fn tag_len(tag: &str, close: &str) -> usize {
    let mut quote = None;
    let mut chars = tag.char_indices().skip(2);
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, _) if tag[at..].starts_with(close) => return at + close.len(),
            (None, '\'' | '"') if close != "#}" => quote = Some(c),
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    tag.len()
}

/// The date for templates that ask for it. A device has no clock, so it is always midnight of 26 July 2024, the default
/// date of Llama 3's templates.
fn strftime(format: &str) -> Result<String, Error> {
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        // A hyphen removes a leading zero.
        let mut code = rest.next();
        let is_bare = code == Some('-');
        if is_bare {
            code = rest.next();
        }
        let text = match code {
            Some('Y') => "2024",
            Some('y') => "24",
            Some('m') => "07",
            Some('B') => "July",
            Some('b' | 'h') => "Jul",
            Some('d' | 'e') => "26",
            Some('A') => "Friday",
            Some('a') => "Fri",
            Some('j') => "208",
            Some('F') => "2024-07-26",
            Some('D' | 'x') => "07/26/24",
            Some('H' | 'M' | 'S') => "00",
            Some('I') => "12",
            Some('p') => "AM",
            Some('R') => "00:00",
            Some('T' | 'X') => "00:00:00",
            Some('c') => "Fri Jul 26 00:00:00 2024",
            Some('Z' | 'z') => "",
            Some('%') => "%",
            _ => {
                let message = format!("rillm knows no date written as {format:?}");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        };
        let bare = text.strip_prefix('0').filter(|bare| is_bare && bare.len() == 1);
        out.push_str(bare.unwrap_or(text));
    }
    Ok(out)
}

/// Methods of Python's strings that minijinja lacks; `None` for other methods and arguments.
fn text_method(text: &str, method: &str, args: &[Value]) -> Option<Value> {
    let (first, rest) = args.split_first()?;
    let part = first.as_str().filter(|part| !part.is_empty() || method.starts_with("remove"))?;
    let list = |parts: &[&str]| Value::from_iter(parts.iter().map(|&part| Value::from(part)));
    let value = match (method, rest) {
        ("removeprefix", []) => text.strip_prefix(part).unwrap_or(text).into(),
        ("removesuffix", []) => text.strip_suffix(part).unwrap_or(text).into(),
        ("partition", []) => {
            let (before, after) = text.split_once(part).map_or((text, None), |(before, after)| (before, Some(after)));
            list(&[before, after.map_or("", |_| part), after.unwrap_or_default()])
        }
        ("rpartition", []) => {
            let (before, after) = text.rsplit_once(part).map_or((None, text), |(before, after)| (Some(before), after));
            list(&[before.unwrap_or_default(), before.map_or("", |_| part), after])
        }
        ("rsplit", []) => list(&text.split(part).collect::<Vec<_>>()),
        ("rsplit", [most]) => {
            let most = usize::try_from(most.as_i64()?).map_or(usize::MAX, |most| most.saturating_add(1));
            let mut parts: Vec<_> = text.rsplitn(most, part).collect();
            parts.reverse();
            list(&parts)
        }
        _ => return None,
    };
    Some(value)
}

fn refusal(error: Error) -> UnsupportedTemplate {
    UnsupportedTemplate::Template(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What chat templates have no use for, and minijinja does not have.
    const OTHER: &[&str] = &[
        "  {% raw %}\n x {% endraw %}\n b",
        "{% block a %}x{% endblock %}",
        "{{ '%s-%d' % ('a', 1) }}",
        "{{ 'a=b'.partition('=') }}",
        "{{ '7'.zfill(3) }}{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3) }}|{{ 'a'.center(3) }}|",
        "{{ 'abc'.index('b') }}",
        "{{ 'aB'.swapcase() }}",
        "{{ [1, 2].index(2) }}",
        "{{ messages[0].copy().role }}",
        "{{ 'é'.encode() }}",
        "{{ 'Ab'.casefold() }}",
        "{{ 'a\\tb'.expandtabs(2) }}",
        "{{ 'abc'.rindex('c') }}",
        "{{ 'a b c' | wordcount }}",
        "{{ 'abcdefghij' | truncate(6) }}",
        "{{ 'a b' | urlencode }}",
        "{{ '<b>a</b>' | striptags }}",
        "{{ 1000 | filesizeformat }}",
        "{{ 'a' | center(5) }}|",
        "{{ 'aaa bbb' | wordwrap(3) }}",
        "{{ {'a': 1} | xmlattr }}",
        "{{ [1] | random }}",
        "{{ cycler('a', 'b').next() }}",
        "{{ joiner(',')() }}",
        "{{ messages[0] | tojson | length > 5 }}",
        "{{ lipsum is defined }}",
    ];

    /// `features.py` beside the file has made it with `transformers`.
    #[test]
    fn templates_give_what_transformers_gives() {
        let rows = include_str!("../../tests/chat_templates/features.json");
        let rows: Vec<(String, Option<String>)> = serde_json::from_str(rows).expect("JSON");
        let special = [("bos_token", "<s>"), ("eos_token", "</s>")];
        let special = special.map(|(name, text)| (name.into(), text.into()));
        let conversation = Conversation {
            system: Some("Be brief."),
            users: &["What is a rill?", " Why?\n"],
            answers: &["A small stream."],
        };
        let mut others = Vec::new();
        for (source, expected) in rows {
            let found = Template::new(&source, &special).and_then(|template| template.render(conversation));
            if found.as_ref().ok() != expected.as_ref() {
                println!("{source:?}\n    expected {expected:?}\n    found    {found:?}");
                others.push(source);
            }
        }
        assert_eq!(others, OTHER);
    }

    #[test]
    fn the_date_is_that_of_llama_3() {
        let dated = |format| strftime(format).map_err(|error| error.to_string());
        assert_eq!(
            dated("%d %b %Y, %A %-d.%-m.%y %H:%M 100%%"),
            Ok("26 Jul 2024, Friday 26.7.24 00:00 100%".to_owned())
        );
        assert_eq!((dated("%-H"), dated("%e %B")), (Ok("0".to_owned()), Ok("26 July".to_owned())));
        assert!(dated("%Q").is_err() && dated("%").is_err());
    }
}
