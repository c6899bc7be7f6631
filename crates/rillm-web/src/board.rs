//! A model on a board: the plan of its memory, what a token reads, and the expected time.

use rillm::format::{FormatError, SectionKind, TENSOR_ENTRY_LEN, TensorEntry, TensorKind};
use rillm::{MemoryLen, Model, Plan, PlanOptions, WeightSource};
use rillm_boards::{ALL, BoardSpec, Estimate, ModelPlace, Pace, Range, options};
use serde_json::{Value, json};

use crate::settings::BoardChoice;

/// A plan for a board.
#[derive(Clone, Copy, Debug)]
pub struct BoardPlan {
    /// The board.
    pub board: &'static BoardSpec,
    /// Where the model is stored.
    pub place: ModelPlace,
    /// The memory that the engine gets.
    pub given: MemoryLen,
    /// Its division.
    pub plan: Plan,
}

/// All boards: `id`, `name`, `chip`, and the bytes of `internal` and `external` memory.
pub fn boards() -> Value {
    let describe = |board: &&BoardSpec| {
        json!({
            "id": board.id, "name": board.name, "chip": board.chip.name, "mhz": board.chip.mhz, "cores": board.chip.cores,
            "internal": board.chip.sram, "external": board.external_len(), "external_name": board.external_name(),
            "flash": board.flash, "flash_model": board.flash_model_len(), "card": board.card.describe(),
        })
    };
    ALL.iter().map(describe).collect()
}

impl BoardPlan {
    /// Plans `model`, whose file has `len` bytes, for a board. `source` lends its memory if the model is in flash.
    ///
    /// # Errors
    /// There is no such board, or the board has too little memory or storage for the model.
    pub fn new<S: WeightSource>(model: &Model, source: &S, len: u64, choice: &BoardChoice) -> Result<Self, String> {
        let board = BoardSpec::named(&choice.board).ok_or_else(|| format!("there is no board {:?}", choice.board))?;
        let place = if choice.flash { ModelPlace::Flash } else { ModelPlace::Card };
        let most = board.model_len(place);
        if len > most {
            let room = if choice.flash { "the flash beside the firmware" } else { "a file on a FAT32 card" };
            return Err(format!("the model has {len} bytes, and {room} has room for {most}"));
        }
        let given = limited(board.memory(), choice.budget);
        let options = Self::options(board, model, place);
        let plan = Plan::new(model, source, given, &options).map_err(|error| error.to_string())?;
        Ok(Self { board, place, given, plan })
    }

    /// The options of the firmware's plan.
    fn options(board: &BoardSpec, model: &Model, place: ModelPlace) -> PlanOptions {
        options(&Pace::of(board), model, place)
    }

    fn estimate<'a>(&'a self, model: &'a Model) -> Estimate<'a> {
        Estimate { model, plan: &self.plan, pace: Pace::of(self.board), place: self.place }
    }

    /// The plan as JSON. Fields that `rillm plan --json` has are the same there. `given` and `external_given` are the two
    /// memories, `streamed` the ranges of the tape that a token reads, `token_seconds` the expected time of a token.
    pub fn json(&self, model: &Model) -> Value {
        let plan = &self.plan;
        let estimate = self.estimate(model);
        let traffic = estimate.token_traffic();
        let prompt = 64.min(plan.context as u64 - 1).max(1);
        let token = estimate.token(estimate.positions());
        let seconds = |time: Range| [time.low as f64 / 1e6, time.high as f64 / 1e6];
        let rate = [token.high, token.low].map(|time| 1e6 / time.max(1) as f64);
        let memory = plan.allocations().into_iter().map(
            |row| json!({"name": row.buffer.name(), "bytes": row.len, "place": self.board.region_name(row.region)}),
        );
        let streamed = plan.streamed(model).map(|range| [range.start, range.end]);
        json!({
            "board": self.board.id,
            "source": self.place.name(),
            "given": self.given.internal,
            "external_given": self.given.external,
            "external_name": self.board.external_name(),
            "context": plan.context,
            "batch": plan.batch,
            "chunk": plan.chunk,
            "resident": plan.resident,
            "ram_used": plan.memory().internal,
            "external_used": plan.memory().external,
            "memory": memory.collect::<Vec<_>>(),
            "bytes_per_token": traffic.bytes,
            "reads_per_token": traffic.reads,
            "seeks_per_token": traffic.seeks,
            "resident_bytes_per_token": traffic.resident_bytes,
            "tokens_per_second": rate,
            "token_seconds": seconds(token),
            "prompt_tokens": prompt,
            "seconds_to_first_token": seconds(estimate.prompt(prompt)),
            "streamed": streamed.collect::<Vec<_>>(),
        })
    }
}

/// At most `budget` bytes of `memory`, internal ones first.
fn limited(memory: MemoryLen, budget: Option<usize>) -> MemoryLen {
    let budget = budget.unwrap_or(usize::MAX);
    let internal = memory.internal.min(budget);
    MemoryLen { internal, external: memory.external.min(budget - internal) }
}

/// A model as JSON: its dimensions, and the tensors of the tape in order, with the bytes of each. `read` returns `len` bytes of
/// the file from an offset on.
///
/// # Errors
/// The table of tensors is damaged or missing.
pub fn describe<'f>(
    model: &Model,
    len: u64,
    read: impl Fn(u64, usize) -> Option<&'f [u8]>,
) -> Result<Value, FormatError> {
    let header = model.header();
    let table = header.section(SectionKind::Tensors)?;
    let bytes = read(table.offset, table.len as usize).ok_or(FormatError::Truncated)?;
    let entries = bytes.as_chunks::<TENSOR_ENTRY_LEN>().0.iter().map(TensorEntry::parse);
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let tensors = entries.iter().filter(|entry| entry.tensor.kind != TensorKind::Embedding);
    let tensors = tensors.map(|entry| {
        let TensorEntry { tensor, len, .. } = entry;
        json!({"name": tensor.kind.to_string(), "layer": tensor.layer, "bytes": len})
    });
    Ok(json!({
        "name": header.source_name().unwrap_or("model"),
        "bytes": len,
        "parameters": header.parameters(),
        "layers": header.n_layers,
        "vocabulary": header.vocab_size,
        "context": header.context_length,
        "chat": header.section(SectionKind::Chat).is_ok(),
        "tape": model.tape_len(),
        "tensors": tensors.collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use rillm::{Bytes, block_on};

    use super::*;

    static FILE: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/rill-tales-1m/model.rillm"));

    fn model() -> Model {
        block_on(Model::open(&mut Bytes::copied(FILE))).expect("the bundled model")
    }

    fn planned(board: &str, flash: bool, budget: Option<usize>) -> Result<BoardPlan, String> {
        let choice = BoardChoice { board: board.to_owned(), flash, budget };
        let source = if flash { Bytes::lent(FILE) } else { Bytes::copied(FILE) };
        BoardPlan::new(&model(), &source, FILE.len() as u64, &choice)
    }

    #[test]
    fn streamed_and_resident_parts_are_the_tape() {
        let model = model();
        for board in ALL {
            let plan = planned(board.id, false, None).expect(board.id);
            let streamed: u64 = plan.plan.streamed(&model).map(|range| range.end - range.start).sum();
            let traffic = plan.plan.pass_traffic(&model, true);
            assert_eq!(streamed + traffic.resident_bytes, model.tape_len(), "{}", board.id);
            assert!(streamed <= traffic.bytes, "{}", board.id);
        }
    }

    #[test]
    fn a_budget_takes_internal_memory_first() {
        let all = planned("esp32-cam", false, None).expect("a plan");
        let some = planned("esp32-cam", false, Some((144 << 10) + 4096)).expect("a plan");
        assert_eq!(some.given, MemoryLen { internal: 144 << 10, external: 4096 });
        assert!(some.plan.resident < all.plan.resident);
        let error = planned("esp32-cam", false, Some(4096)).expect_err("too little");
        assert!(error.contains("too few"), "{error}");
        assert!(planned("esp8266", false, None).is_err());
        // Nothing is read from flash.
        assert_eq!(planned("esp32-c3", true, None).expect("a plan").json(&model())["bytes_per_token"], 0);
    }

    #[test]
    fn the_tensors_are_the_tape() {
        let model = model();
        let read = |offset: u64, len| FILE.get(offset as usize..)?.get(..len);
        let described = describe(&model, FILE.len() as u64, read).expect("a description");
        let tensors = described["tensors"].as_array().expect("tensors");
        let bytes: u64 = tensors.iter().map(|tensor| tensor["bytes"].as_u64().expect("bytes")).sum();
        assert_eq!(bytes, model.tape_len());
        assert_eq!(described["chat"], false);
    }
}
