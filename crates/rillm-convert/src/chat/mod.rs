//! A checkpoint's chat template in the form that a device follows: the texts around the messages, as tokens.
//!
//! A template is a program in Jinja. [`section`] runs it on conversations with known contents and finds the texts that
//! it writes around the messages (`form`). It then checks them on more conversations and tokenizes the texts
//! (`tokens`).

mod form;
mod template;
pub(crate) mod tokens;

use crate::vocabulary::Vocabulary;
use form::Form;
use template::Template;

/// The longest supported template in bytes. Known ones have up to 20,000.
const MAX_TEMPLATE: usize = 1 << 16;
/// The stack for minijinja, which compiles an expression such as `1+1+1` by recursion, one level for each byte or two.
/// This is enough for the longest template.
const STACK: usize = 1 << 28;

/// Why a file gets no `chat` section. The conversion continues without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsupportedTemplate {
    /// There is no template.
    #[error("the checkpoint has no chat template")]
    NoTemplate,
    /// The template cannot be run.
    #[error("the chat template does not run: {0}")]
    Template(String),
    /// A message does not appear exactly once and unchanged.
    #[error("the chat template does not repeat every message once, unchanged and in order")]
    Contents,
    /// The texts around the messages depend on more than the roles.
    #[error("the text of the chat template around messages depends on more than their roles: {0}")]
    Varies(&'static str),
    /// No token marks the end of an answer.
    #[error("the chat template has no mark at the end of an answer")]
    NoEnd,
    /// The tokens of a conversation differ from the tokens of its parts.
    #[error("a conversation has other tokens than its parts: {0}")]
    Tokens(&'static str),
    /// The tokenizer's tables are invalid.
    #[error("the tokenizer cannot be used: {0}")]
    Tokenizer(String),
}

/// The `chat` section of a file with this vocabulary and this `tokenizer` section.
///
/// # Errors
/// [`UnsupportedTemplate`]: there is no template, or a device cannot follow it.
pub fn section(vocabulary: &Vocabulary, tokenizer: &[u8]) -> Result<Vec<u8>, UnsupportedTemplate> {
    if vocabulary.chat_template.is_empty() {
        return Err(UnsupportedTemplate::NoTemplate);
    }
    if vocabulary.chat_template.len() > MAX_TEMPLATE {
        return Err(UnsupportedTemplate::Template(format!("it is longer than {MAX_TEMPLATE} bytes")));
    }
    let form = on_large_stack(|| Form::of(&Template::new(&vocabulary.chat_template, &vocabulary.special_tokens)?))?;
    tokens::section(&form, vocabulary, tokenizer)
}

/// Runs `work` with a stack of [`STACK`] bytes. WebAssembly has no threads: there it runs on the program's own stack, whose end is a
/// trap.
fn on_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, UnsupportedTemplate> + Send,
) -> Result<T, UnsupportedTemplate> {
    if cfg!(target_family = "wasm") {
        return work();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| UnsupportedTemplate::Template(error.to_string()))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
