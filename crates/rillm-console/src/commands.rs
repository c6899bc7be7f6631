//! Commands, parsed from an input line.

use core::fmt;

use crate::settings::Setting;

/// The text of `/help`.
pub const HELP: &str = "\
Type the beginning of a text; the model continues it. A model that was made
for chats answers instead, and remembers earlier turns.
/choose TEXT | A | B   how likely A and B are after TEXT, and which one is more
/temp T        above 1 bolder, below 1 safer, 0 always the likeliest token
/top_k K       choose among the K likeliest tokens, up to 256; 0 for all
/top_p P       choose among the likeliest tokens whose probabilities sum to P;
               1 for all
/seed N        the same seed gives the same text
/max N         end after N tokens
/stop TEXT     end before the model's next TEXT, up to 64 bytes; alone: before
               none
/chat on|off   off: a model for chats continues texts, too
/system TEXT   start the chat again with TEXT as its instructions; alone: with
               the model's own
/check on|off  after each text a line to compare with `rillm run --check`
/stats         what was done since the start, and where the memory goes
/stats --json  the same figures as one line of JSON
/selftest      whether kernel, memories, model file and a text are right
/bench         whether the board multiplies right, and what it takes
/models        the files that can be opened, and what is in them
/model         the model; with a name or a number of that list, open that file
/reset         forget the text, all settings as they were at the start
/help          this
Any other setting without a value shows the present one.
Ctrl-C or Ctrl-X ends a text or clears the line. Left, right, Home, End, Ctrl-U
(erase to the start) and Ctrl-W (erase a word) edit it, Up brings the last back.
";

/// A parsed input line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'l> {
    /// An empty line.
    Nothing,
    /// A prompt to continue.
    Prompt(&'l str),
    /// A prompt and texts to choose among, separated by bars.
    Choose(&'l str),
    /// Show a setting.
    Show(Setting),
    /// Change a setting.
    Set(Setting, &'l str),
    Stats,
    /// The statistics as JSON.
    StatsJson,
    /// Run the benchmarks.
    Bench,
    /// Run the self-test.
    SelfTest,
    Reset,
    /// Start a chat with a system prompt, if there is one.
    System(&'l str),
    Help,
    /// Show the model's dimensions.
    Model,
    /// Open another model: a name, or a number of the list.
    Open(&'l str),
    /// List the models.
    Models,
}

/// Why a line that begins with `/` is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown<'l> {
    Name(&'l str),
    /// The command, which takes no value, and the value.
    Value(&'l str, &'l str),
}

impl fmt::Display for Unknown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "there is no command `/{name}`; /help lists them"),
            Self::Value(name, value) => write!(f, "/{name} takes no value, and there is `{value}`; type /{name} alone"),
        }
    }
}

impl<'l> Command<'l> {
    /// Parses a line.
    pub fn parse(line: &'l str) -> Result<Self, Unknown<'l>> {
        if line.trim().is_empty() {
            return Ok(Self::Nothing);
        }
        let Some(command) = line.strip_prefix('/') else { return Ok(Self::Prompt(line)) };
        let (name, value) = command.split_once(' ').unwrap_or((command, ""));
        if name == "choose" {
            return Ok(Self::Choose(value));
        }
        let (name, value) = (name.trim_end(), value.trim());
        let setting = match name {
            "temp" => Setting::Temp,
            "top_k" => Setting::TopK,
            "top_p" => Setting::TopP,
            "seed" => Setting::Seed,
            "max" => Setting::Max,
            "check" => Setting::Check,
            "chat" => Setting::Chat,
            "system" => return Ok(Self::System(value)),
            // Without a value, the setting is cleared.
            "stop" => return Ok(Self::Set(Setting::Stop, value)),
            "model" if !value.is_empty() => return Ok(Self::Open(value)),
            "stats" if value == "--json" => return Ok(Self::StatsJson),
            _ => {
                let command = match name {
                    "stats" => Self::Stats,
                    "bench" => Self::Bench,
                    "selftest" => Self::SelfTest,
                    "reset" => Self::Reset,
                    "help" => Self::Help,
                    "model" => Self::Model,
                    "models" => Self::Models,
                    _ => return Err(Unknown::Name(name)),
                };
                return if value.is_empty() { Ok(command) } else { Err(Unknown::Value(name, value)) };
            }
        };
        Ok(if value.is_empty() { Self::Show(setting) } else { Self::Set(setting, value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(Command::parse("  "), Ok(Command::Nothing));
        assert_eq!(Command::parse(" /temp is a directory"), Ok(Command::Prompt(" /temp is a directory")));
        assert_eq!(Command::parse("/choose It is | on| off"), Ok(Command::Choose("It is | on| off")));
        assert_eq!(Command::parse("/system Be brief."), Ok(Command::System("Be brief.")));
        assert_eq!(Command::parse("/system"), Ok(Command::System("")));
        assert_eq!(Command::parse("/choose"), Ok(Command::Choose("")));
        assert_eq!(Command::parse("/temp"), Ok(Command::Show(Setting::Temp)));
        assert_eq!(Command::parse("/top_k  40 "), Ok(Command::Set(Setting::TopK, "40")));
        assert_eq!(Command::parse("/stop The end"), Ok(Command::Set(Setting::Stop, "The end")));
        assert_eq!(Command::parse("/stop"), Ok(Command::Set(Setting::Stop, "")));
        assert_eq!(Command::parse("/model "), Ok(Command::Model));
        assert_eq!(Command::parse("/model MY STORY.RIL"), Ok(Command::Open("MY STORY.RIL")));
        assert_eq!(Command::parse("/models"), Ok(Command::Models));
        assert_eq!(Command::parse("/stats"), Ok(Command::Stats));
        assert_eq!(Command::parse("/stats --json"), Ok(Command::StatsJson));
        assert_eq!(Command::parse("/stats now"), Err(Unknown::Value("stats", "now")));
        assert_eq!(Command::parse("/"), Err(Unknown::Name("")));
        assert_eq!(Command::parse("/Temp 1"), Err(Unknown::Name("Temp")));
    }

    #[test]
    fn help_fits_a_terminal_of_80_columns_and_names_every_command() {
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
        for line in HELP.lines().filter(|line| line.starts_with('/')) {
            let name = line.split(' ').next().unwrap_or_default();
            assert!(Command::parse(name).is_ok(), "{name}");
        }
    }
}
