//! The results of the cases as tables and as JSON.

use rillm_generate::number::Grouped;
use serde_json::{Value, json};

use super::commands::Checked;
use super::compare::Proof;
use super::trace::Traffic;
use crate::table::table;

/// A case with its result.
pub struct CaseResult<'a> {
    /// Name of the board.
    pub board: &'a str,
    /// Name of the model.
    pub model: &'a str,
    /// Name of the memory layout.
    pub plan: &'a str,
    /// The result, or why there is none.
    pub outcome: anyhow::Result<Proof>,
}

impl CaseResult<'_> {
    /// The problems found, in words.
    pub fn problems(&self) -> Vec<String> {
        match &self.outcome {
            Ok(proof) => proof.differences.clone(),
            Err(error) => vec![format!("{error:#}")],
        }
    }

    /// Names of board, model and memory layout.
    pub fn name(&self) -> String {
        format!("{} {}, {}", self.board, self.model, self.plan)
    }

    /// The result as JSON.
    pub fn json(&self) -> Value {
        let Self { board, model, plan, outcome } = self;
        let problems = self.problems();
        let mut value = json!({
            "board": board, "model": model, "plan": plan, "equal": problems.is_empty(), "differences": problems,
        });
        let Ok(proof) = outcome else { return value };
        let traffic = |traffic: Traffic| {
            let Traffic { reads, bytes, seeks } = traffic;
            json!({ "reads": reads, "bytes": bytes, "seeks": seeks })
        };
        let texts = proof.texts.iter().map(|text| {
            json!({
                "sampling": text.sampling, "prompt_tokens": text.prompt_tokens, "tokens": text.tokens,
                "logits_host": format!("{:08x}", text.logits[0]), "logits_board": format!("{:08x}", text.logits[1]),
                "engine": traffic(text.engine), "card": text.card.map(traffic),
            })
        });
        value["texts"] = texts.collect();
        let memories = proof.memories.iter().map(|(memory, expected)| {
            json!({ "touched": memory.touched, "planned": expected.planned, "given": memory.given })
        });
        value["memories"] = memories.collect();
        value["seconds"] = proof.time.as_secs_f64().into();
        value
    }
}

/// The commands of a board with their results.
pub struct Commands {
    /// Name of the board.
    pub board: String,
    /// The results, or why there are none.
    pub outcome: anyhow::Result<Vec<Checked>>,
}

impl Commands {
    /// The problems found, in words.
    pub fn problems(&self) -> Vec<String> {
        let Self { board, outcome } = self;
        match outcome {
            Ok(all) => {
                let each = |checked: &Checked| {
                    let about = |difference: &String| format!("{board} {}: {difference}", checked.command);
                    checked.differences.iter().map(about).collect::<Vec<_>>()
                };
                all.iter().flat_map(each).collect()
            }
            Err(error) => vec![format!("{board}, commands: {error:#}")],
        }
    }

    /// The results as JSON.
    pub fn json(&self) -> Value {
        let problems = self.problems();
        let all = self.outcome.iter().flatten().map(|checked| {
            let Checked { command, said, differences, time } = checked;
            json!({ "command": command, "said": said, "equal": differences.is_empty(), "seconds": time.as_secs_f64() })
        });
        json!({ "board": self.board, "equal": problems.is_empty(), "differences": problems, "commands": all.collect::<Value>() })
    }
}

/// A table with a row for every command.
pub fn commands(results: &[Commands]) -> String {
    let mut rows = vec![row(["board", "command", "", "the console says"])];
    for Commands { board, outcome } in results {
        for checked in outcome.iter().flatten() {
            let sign = if checked.differences.is_empty() { "=" } else { "≠" };
            rows.push(row([board, checked.command, sign, &checked.said]));
        }
    }
    table(&rows, "lll")
}

/// A table with a row for every text.
pub fn texts(results: &[CaseResult<'_>]) -> String {
    let mut rows =
        vec![row(["board", "model", "memory", "prompt", "sampling", "tokens", "logits", "reads", "bytes", "seeks"])];
    for result in results {
        let Ok(proof) = &result.outcome else { continue };
        for text in &proof.texts {
            let [host, board] = text.logits;
            let sign = if host == board { '=' } else { '≠' };
            rows.push(vec![
                result.board.to_owned(),
                result.model.to_owned(),
                result.plan.to_owned(),
                text.prompt_tokens.to_string(),
                text.sampling.clone(),
                text.tokens.to_string(),
                format!("{host:08x} {sign} {board:08x}"),
                both(text.engine.reads, text.card.map(|card| card.reads)),
                both(text.engine.bytes, text.card.map(|card| card.bytes)),
                both(text.engine.seeks, text.card.map(|card| card.seeks)),
            ]);
        }
    }
    table(&rows, "llrlrlrrr")
}

/// A table with a row for every case.
pub fn memories(results: &[CaseResult<'_>]) -> String {
    let mut rows = vec![row(["board", "model", "memory", "SRAM touched", "planned", "PSRAM touched", "planned"])];
    for result in results {
        let Ok(proof) = &result.outcome else { continue };
        let mut cells = row([result.board, result.model, result.plan]);
        for (memory, expected) in &proof.memories {
            cells.extend([memory.touched, expected.planned].map(|bytes| Grouped(bytes as u64).to_string()));
        }
        rows.push(cells);
    }
    table(&rows, "llrrrr")
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// The engine's count, followed by the card's if it differs.
fn both(engine: u64, card: Option<u64>) -> String {
    match card.filter(|&card| card != engine) {
        None => Grouped(engine).to_string(),
        Some(card) => format!("{} ≠ {}", Grouped(engine), Grouped(card)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::prove::board::Memory;
    use crate::prove::compare::Compared;
    use crate::prove::memory::Expected;

    fn result(board_logits: u32, card_seeks: u64) -> CaseResult<'static> {
        let engine = Traffic { reads: 1234, bytes: 5_756_928, seeks: 36 };
        let text = Compared {
            sampling: "greedy".to_owned(),
            prompt_tokens: 4,
            tokens: 12,
            logits: [0x0254_a1de, board_logits],
            engine,
            card: Some(Traffic { seeks: card_seeks, ..engine }),
        };
        let memory = (Memory { touched: 1000, given: 2000 }, Expected { planned: 1007, touched: 997..=1007 });
        let differences = if board_logits == 1 { vec!["the logits".to_owned()] } else { vec![] };
        let proof = Proof {
            texts: vec![text],
            memories: vec![memory.clone(), memory],
            differences,
            time: Duration::from_secs(2),
        };
        CaseResult { board: "rv32", model: "small", plan: "64 KiB", outcome: Ok(proof) }
    }

    #[test]
    fn columns_line_up_and_what_differs_is_seen() {
        let table = texts(&[result(0x0254_a1de, 36), result(1, 37)]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[0],
            "board  model  memory  prompt  sampling  tokens  logits               reads      bytes    seeks"
        );
        assert_eq!(
            lines[1],
            "rv32   small  64 KiB       4  greedy        12  0254a1de = 0254a1de  1,234  5,756,928       36"
        );
        assert_eq!(
            lines[2],
            "rv32   small  64 KiB       4  greedy        12  0254a1de ≠ 00000001  1,234  5,756,928  36 ≠ 37"
        );
    }

    #[test]
    fn memory_is_touched_and_planned() {
        let table = memories(&[result(1, 36)]);
        let (header, line) = table.split_once('\n').expect("two lines");
        assert_eq!(header, "board  model  memory  SRAM touched  planned  PSRAM touched  planned");
        assert_eq!(line, "rv32   small  64 KiB         1,000    1,007          1,000    1,007\n");
    }

    #[test]
    fn commands_have_a_line_each() {
        let checked = |differences: &[&str]| Checked {
            command: "/choose",
            said: "choice: 1, moon".to_owned(),
            differences: differences.iter().map(|&words| words.to_owned()).collect(),
            time: Duration::from_secs(1),
        };
        let of = |checked| Commands { board: "rv32".to_owned(), outcome: Ok(vec![checked]) };
        let (equal, differs) = (of(checked(&[])), of(checked(&["hm"])));
        assert_eq!((equal.problems(), differs.problems()), (vec![], vec!["rv32 /choose: hm".to_owned()]));
        assert_eq!(differs.json()["commands"][0]["equal"], false);
        let told = commands(&[equal, differs]);
        let lines: Vec<_> = told.lines().skip(1).collect();
        assert_eq!(lines, ["rv32   /choose  =  choice: 1, moon", "rv32   /choose  ≠  choice: 1, moon"]);
    }

    #[test]
    fn scripts_see_the_same() {
        let value = result(1, 36).json();
        assert_eq!((&value["equal"], &value["differences"][0]), (&json!(false), &json!("the logits")));
        assert_eq!(value["texts"][0]["logits_board"], "00000001");
        assert_eq!(value["texts"][0]["card"]["seeks"], 36);
        assert_eq!(value["memories"][1], json!({ "touched": 1000, "planned": 1007, "given": 2000 }));
        let failed = CaseResult { outcome: Err(anyhow::anyhow!("no card")), ..result(1, 36) };
        assert_eq!((&failed.json()["equal"], &failed.json()["differences"]), (&json!(false), &json!(["no card"])));
        assert_eq!(texts(&[failed]).lines().count(), 1);
    }
}
