//! What boards report as JSON: the console's statistics, from `/stats --json`, and the last lines of an emulated board.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use rillm_generate::number::Grouped;
use serde_json::Value;

/// Statistics since the start of the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Number of computed tokens.
    pub tokens: u64,
    /// Number of reads of the model file.
    pub reads: u64,
    /// Number of bytes read.
    pub bytes: u64,
    /// Number of reads that did not start where the previous one ended.
    pub seeks: u64,
    /// Use of the stack.
    pub stack: Stack,
    /// Ticks of the clock by stage. Empty without a clock.
    pub ticks: BTreeMap<String, u64>,
}

/// Use of the stack, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    /// High-water mark.
    pub used: u64,
    /// Length of the stack.
    pub given: u64,
}

impl Stats {
    /// Parses the output of `/stats --json`.
    ///
    /// # Errors
    /// The line is not that output, or lacks a field.
    pub fn parse(line: &str) -> Result<Self> {
        let read = || {
            let json: Value = serde_json::from_str(line)?;
            let field = |name: &'static str| whole(&json, name);
            let stack = |name| whole(&json["stack"], name);
            let ticks = json["ticks"].as_object().into_iter().flatten();
            let ticks = ticks.map(|(stage, count)| Ok((stage.clone(), count.as_u64().context("ticks are whole")?)));
            anyhow::Ok(Self {
                tokens: field("tokens")?,
                reads: field("reads")?,
                bytes: field("bytes")?,
                seeks: field("seeks")?,
                stack: Stack { used: stack("used")?, given: stack("given")? },
                ticks: ticks.collect::<Result<_>>()?,
            })
        };
        read().with_context(|| format!("`/stats --json` was answered with\n{line}"))
    }
}

/// A figure of a board's last words, in which a line has its name and a JSON object: `memory: {"SRAM":{"touched":9,...}}`.
pub fn last_figure(words: &str, name: &str, pointer: &str) -> Option<u64> {
    last_report(words, name)?.pointer(pointer)?.as_u64()
}

/// The object of a line of a board's last words.
pub fn last_report(words: &str, name: &str) -> Option<Value> {
    let object = |line: &str| serde_json::from_str(line.trim().strip_prefix(name)?.strip_prefix(": ")?).ok();
    words.lines().find_map(object)
}

fn whole(json: &Value, name: &'static str) -> Result<u64> {
    json[name].as_u64().with_context(|| format!("`{name}` is missing or no whole number"))
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", Grouped(self.used), Grouped(self.given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_among_other_words() {
        let words = "\r\ncard: 9 bytes\r\ncard: {\"blocks\":11278,\"struck\":null}\r\nmemory: {\"SRAM\":{\"touched\":7,\"given\":9}}\r\n";
        assert_eq!(last_figure(words, "card", "/blocks"), Some(11278));
        assert_eq!(last_figure(words, "memory", "/SRAM/touched"), Some(7));
        assert_eq!(last_figure(words, "memory", "/PSRAM/touched"), None);
        assert_eq!(last_figure(words, "card", "/struck"), None);
        assert_eq!(last_report(words, "flash"), None);
    }

    #[test]
    fn figures_are_read_from_the_consoles_line() {
        let line = r#"{"tokens":8,"passes":4,"reads":385,"bytes":5756928,"seeks":36,"resident_bytes":0,"memory":{},
                       "stack":{"used":18044,"given":24576},"clock":null,"ticks":{"read":1,"matmul":834182320}}"#;
        let stats = Stats::parse(line).expect("it is whole");
        assert_eq!((stats.tokens, stats.reads, stats.bytes, stats.seeks), (8, 385, 5_756_928, 36));
        assert_eq!((stats.stack.to_string(), stats.ticks["matmul"]), ("18,044 of 24,576".to_owned(), 834_182_320));
        let without_clock = line.replace(r#"{"read":1,"matmul":834182320}"#, "null");
        assert!(Stats::parse(&without_clock).is_ok_and(|stats| stats.ticks.is_empty()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |line| format!("{:#}", Stats::parse(line).expect_err("it is not whole"));
        assert!(error(r#"{"tokens":8}"#).contains("`reads` is missing"));
        assert!(error("there is no model").contains("answered with\nthere is no model"));
    }
}
