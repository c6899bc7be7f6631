//! A chat template and what `transformers` gives it to work with.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::Unfollowable;

/// What a template may spend on one conversation, in minijinja's fuel: instructions, and 64 bytes of data each. Those of
/// known models take a few thousand.
const FUEL: u64 = 1 << 20;

/// What is said in a conversation that ends with a user's text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversation<'a> {
    /// The system text, if one is given.
    pub system: Option<&'a str>,
    /// The user's texts, one more than answers.
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
    /// Compiles `source`. `special_tokens` are variables and their values, as `bos_token`.
    pub fn new(source: &'a str, special_tokens: &'a [(String, String)]) -> Result<Self, Unfollowable> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(refusal)?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", tojson);
        environment.add_template("chat", source).map_err(refusal)?;
        Ok(Self { environment, special_tokens })
    }

    /// The conversation, up to where the model goes on.
    pub fn render(&self, conversation: Conversation<'_>) -> Result<String, Unfollowable> {
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
        ValueKind::Number | ValueKind::Bool => value.to_string().into(),
        ValueKind::None => "null".into(),
        kind => {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("rillm writes no {kind} as JSON")));
        }
    })
}

fn refusal(error: Error) -> Unfollowable {
    Unfollowable::Template(error.to_string())
}
