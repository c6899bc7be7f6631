//! Usage errors that clap does not find: options without effect beside the others, and hints at what was meant.

use std::ffi::OsString;
use std::path::Path;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Error};
use rillm::Q16;
use rillm_boards::{BoardSpec, ESP32};

use crate::files;
use crate::source::Access;

/// Options that have no effect in some case.
struct Useless {
    command: &'static str,
    options: &'static [&'static str],
    /// Describes the case, to follow "has no effect".
    case: &'static str,
    is_so: fn(&ArgMatches) -> bool,
}

const PACE: &[&str] = &["card_rate", "card_latency"];
// Without `seed`: every report shows it, and scripts pass one at any temperature.
const DRAWING: &[&str] = &["top_k", "top_p", "min_p"];

/// The cases that clap does not reject. Options left at their defaults do not count.
const TABLE: &[Useless] = &[
    Useless { command: "run", options: PACE, case: UNPACED, is_so: is_unpaced },
    Useless { command: "chat", options: PACE, case: UNPACED, is_so: is_unpaced },
    Useless { command: "tokenize", options: PACE, case: UNPACED, is_so: is_unpaced },
    Useless { command: "bench", options: PACE, case: UNPACED, is_so: is_unpaced },
    Useless { command: "choose", options: PACE, case: UNPACED, is_so: is_unpaced },
    Useless { command: "run", options: DRAWING, case: GREEDY, is_so: is_greedy },
    Useless { command: "chat", options: DRAWING, case: GREEDY, is_so: is_greedy },
    Useless { command: "run", options: &["chunk"], case: MAPPED, is_so: is_mapped },
    Useless { command: "chat", options: &["chunk"], case: MAPPED, is_so: is_mapped },
    Useless { command: "choose", options: &["chunk"], case: MAPPED, is_so: is_mapped },
    Useless {
        command: "convert",
        options: &["calibrate"],
        case: "with 8-bit weights, which take the nearest values; choose --bits 4",
        is_so: |convert| !is_searched(convert) && has_no_int4(convert),
    },
    Useless {
        command: "convert",
        options: &["evaluate"],
        case: "with --target-size or --max-kl, which evaluate what they make",
        is_so: is_searched,
    },
    Useless {
        command: "convert",
        options: &["rescore"],
        case: "with an 8-bit head, whose logits are exact enough; choose --head-bits 4",
        is_so: |convert| !is_searched(convert) && bits(convert, "head_bits") == "8",
    },
    Useless {
        command: "convert",
        options: &["bits"],
        case: "beside --layer-bits, --head-bits and --embed-bits, which are all of the weights",
        is_so: |convert| CLASSES.iter().all(|class| convert.contains_id(class)),
    },
    Useless {
        command: "plan",
        options: &["model", "context", "source", "no_psram", "old_chip"],
        case: "without a board; name one with --board, `rillm plan` alone lists them",
        is_so: |plan| board(plan).is_none(),
    },
    Useless {
        command: "plan",
        options: &["no_psram"],
        case: "with this --board, which has no PSRAM",
        is_so: |plan| board(plan).is_some_and(|board| board.psram.is_none()),
    },
    Useless {
        command: "plan",
        options: &["old_chip"],
        case: "with this --board, which has no ESP32 but a later chip",
        is_so: |plan| board(plan).is_some_and(|board| board.chip.name != ESP32.name),
    },
    Useless {
        command: "plan",
        options: &["old_chip"],
        case: "without PSRAM, which is what such a chip uses differently; leave --old-chip or --no-psram out",
        is_so: |plan| plan.get_flag("no_psram") || board(plan).is_some_and(|board| board.psram.is_none()),
    },
];

/// The classes of weights that `--bits` stands for.
const CLASSES: [&str; 3] = ["layer_bits", "head_bits", "embed_bits"];

const UNPACED: &str = "without --source throttled";
const GREEDY: &str = "with --temperature 0, which takes the likeliest token";
const MAPPED: &str = "with --source mmap, which reads nothing";

fn is_unpaced(run: &ArgMatches) -> bool {
    run.get_one::<Access>("source") != Some(&Access::Throttled)
}

fn is_mapped(run: &ArgMatches) -> bool {
    run.get_one::<Access>("source") == Some(&Access::Mmap)
}

/// Whether the widths are searched for.
fn is_searched(convert: &ArgMatches) -> bool {
    ["target_size", "max_kl"].iter().any(|goal| convert.contains_id(goal))
}

fn has_no_int4(convert: &ArgMatches) -> bool {
    CLASSES.iter().all(|class| bits(convert, class) == "8")
}

/// The bits of a class of weights.
fn bits<'a>(convert: &'a ArgMatches, class: &str) -> &'a str {
    let option = |name| convert.get_one::<String>(name);
    option(class).or(option("bits")).map_or("8", String::as_str)
}

fn is_greedy(run: &ArgMatches) -> bool {
    run.get_one::<Q16>("temperature") == Some(&Q16::ZERO)
}

fn board(plan: &ArgMatches) -> Option<&'static BoardSpec> {
    plan.get_one::<&'static BoardSpec>("board").copied()
}

/// Rejects options that have no effect beside the others.
pub fn check(cli: &Command, matches: &ArgMatches) -> Result<(), Error> {
    let Some((name, given)) = matches.subcommand() else { return Ok(()) };
    for Useless { options, case, is_so, .. } in TABLE.iter().filter(|useless| useless.command == name) {
        let is_given = |option: &&&str| given.value_source(option) == Some(ValueSource::CommandLine);
        if let Some(option) = options.iter().find(is_given)
            && is_so(given)
        {
            let mut command = cli.find_subcommand(name).unwrap_or(cli).clone();
            let message = format!("--{} has no effect {case}", option.replace('_', "-"));
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
    }
    Ok(())
}

/// Adds a hint at what was probably meant to an error.
pub fn with_tip(mut error: Error, cli: &Command, arguments: &[OsString]) -> Error {
    let arguments: Vec<String> = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(tip) = tip(&error, cli, &arguments) {
        // clap's suggestions by spelling are worse than this one.
        for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
            error.remove(kind);
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    error
}

fn tip(error: &Error, cli: &Command, arguments: &[String]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let command = arguments.first()?.as_str();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand)?;
            let near = error.get(ContextKind::SuggestedSubcommand).is_some() && !word.contains(char::is_whitespace);
            if is_file(&word) { Some(file_tip(&word)) } else { (!near).then(|| prompt_tip(&word)) }
        }
        ErrorKind::UnknownArgument => {
            let word = text(ContextKind::InvalidArg)?;
            let is_option = word.starts_with('-');
            match command {
                // An option before the command, or without one.
                _ if command.starts_with('-') => {
                    let name = word.trim_start_matches('-').split('=').next()?;
                    let is_of = |command: &&Command| {
                        let is_it = |letter: char| letter.to_string() == name;
                        let mut options = command.get_arguments();
                        options.any(|option| option.get_long() == Some(name) || option.get_short().is_some_and(is_it))
                    };
                    let of = cli.get_subcommands().find(is_of)?.get_name();
                    let rest: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
                    Some(format!("it is an option of a command: rillm {of} {}", rest.join(" ")))
                }
                "run" | "chat" if !is_option && is_file(&word) => Some(file_tip(&word)),
                "run" if word == "-" => Some("without --prompt the text is read from standard input".to_owned()),
                "run" if !is_option => Some(prompt_tip(&word)),
                "chat" if !is_option => {
                    Some("type messages in the chat, or give them on standard input, one a line".to_owned())
                }
                "choose" if !is_option => Some(format!("a text to choose is given with --option {}", quoted(&word))),
                "plan" if BoardSpec::named(&word).is_some() => Some(format!("rillm plan --board {word}")),
                "plan" if !is_option => Some(format!("rillm plan --board BOARD --model {}", quoted(&word))),
                "inspect" | "card" | "convert" if matches!(word.as_str(), "--model" | "-m") => {
                    Some(format!("the file is named without an option, as in rillm {command} FILE"))
                }
                "tokenize" if matches!(word.as_str(), "--prompt" | "-p") => {
                    Some("the text is given without an option, as in rillm tokenize \"The little fox\"".to_owned())
                }
                _ => None,
            }
        }
        ErrorKind::MissingRequiredArgument if command == "convert" => {
            let source = arguments[1..].iter().find(|word| !word.starts_with('-'))?;
            let name = Path::new(source).file_stem()?.to_string_lossy().to_lowercase();
            let make = format!("the output file is missing: rillm convert {} {name}.rillm", quoted(source));
            Some(files::download(Path::new(source)).unwrap_or(make))
        }
        _ => None,
    }
}

/// Whether a word looks like a file name rather than a prompt.
fn is_file(word: &str) -> bool {
    let path = Path::new(word);
    path.exists() || files::is_model(path) || files::is_checkpoint(path) || files::download(path).is_some()
}

fn file_tip(word: &str) -> String {
    let (path, word) = (Path::new(word), quoted(word));
    if let Some(download) = files::download(path) {
        download
    } else if files::is_checkpoint(path) && !files::starts_as_model(path) {
        format!("a model file is made of a checkpoint: rillm convert {word} model.rillm")
    } else {
        format!("a model is named with --model: rillm run --model {word}")
    }
}

fn prompt_tip(word: &str) -> String {
    format!("a text to continue is given with --prompt: rillm run --prompt {}", quoted(word))
}

/// A word quoted for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%\\".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("{word:?}") }
}
