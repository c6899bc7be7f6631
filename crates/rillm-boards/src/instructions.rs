//! Instructions of a token, counted on emulated processors.

use rillm::Model;

use crate::figure::{Figure, Range};

/// Costs on a processor: instructions for each kind of operation, and cycles for an instruction. Some are in
/// hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Hundredths of an instruction for each product of a weight of 8 bits and an activation.
    pub weight: Figure,
    /// The same for a weight of 4 bits.
    pub int4_weight: Figure,
    /// Instructions for each output of a layer's matrix.
    pub output: Figure,
    /// Instructions for each element of a norm.
    pub norm: Figure,
    /// Instructions for each element of the feed-forward layer's gate.
    pub gate: Figure,
    /// Instructions for each value of a token's queries, keys and values.
    pub value: Figure,
    /// Instructions for each head and attended position.
    pub look: Figure,
    /// Hundredths of an instruction for each value of a head at an attended position.
    pub look_value: Figure,
    /// Instructions of sampling for each token of the vocabulary.
    pub logit: Figure,
    /// Instructions of sampling for any vocabulary.
    pub sample: Figure,
    /// Instructions for each byte of the weights' checksum.
    pub checksum: Figure,
    /// Hundredths of a cycle for each instruction.
    pub cycles: Figure,
}

const MEASURED: &str = "`cargo xtask measure`, docs/performance.md";
const BENCH: &str = "`/bench` in `cargo xtask emulate`, rows of 1,024 to 64, docs/performance.md";

impl Cpu {
    /// An RV32IMC core. The ranges cover three models.
    pub const RV32: Self = Self {
        weight: Figure::new(357, 391, MEASURED),
        int4_weight: Figure::new(454, 480, BENCH),
        output: Figure::new(40, 75, MEASURED),
        norm: Figure::new(80, 95, MEASURED),
        gate: Figure::new(111, 113, MEASURED),
        value: Figure::new(56, 70, MEASURED),
        look: Figure::new(74, 130, MEASURED),
        look_value: Figure::new(720, 800, MEASURED),
        logit: Figure::new(72, 84, MEASURED),
        sample: Figure::new(12_000, 60_000, MEASURED),
        checksum: Figure::new(10, 10, MEASURED),
        cycles: Figure::new(
            105,
            180,
            "1 for most; a taken branch takes 2 or 3 (ctrlsrc.io/posts/2023/counting-cpu-cycles-on-esp32c3-esp32c6); loads \
             and fetches that miss the cache more: a guess",
        ),
    };

    /// An Xtensa core with MAC16. 64-bit multiplications lie between two counts: `rv32` has the upper half of a product
    /// in one instruction, as the LX6 does; the emulated Xtensa does not.
    pub const LX6: Self = Self {
        weight: Figure::new(244, 275, MEASURED),
        int4_weight: Figure::new(238, 268, BENCH),
        output: Figure::new(40, 75, MEASURED),
        norm: Figure::new(80, 216, MEASURED),
        gate: Figure::new(111, 303, MEASURED),
        value: Figure::new(56, 235, MEASURED),
        look: Figure::new(74, 290, MEASURED),
        look_value: Figure::new(720, 1250, MEASURED),
        logit: Figure::new(72, 100, MEASURED),
        sample: Figure::new(12_000, 60_000, MEASURED),
        checksum: Figure::new(10, 10, MEASURED),
        cycles: Figure::new(
            105,
            180,
            "1 for most; 437 cycles for 256 MAC16 instructions (docs.espressif.com, esp-dsp benchmarks, dsps_dotprod_s16); \
             taken branches, loads and fetches that miss the cache more: a guess",
        ),
    };

    /// All figures, each with its name and the divisor for its display.
    pub fn figures(&self) -> [(&'static str, Figure, u64); 12] {
        [
            ("instructions a weight", self.weight, 100),
            ("instructions a weight of 4 bits", self.int4_weight, 100),
            ("instructions an output of a layer's matrix", self.output, 1),
            ("instructions an element of a norm", self.norm, 1),
            ("instructions an element of the gate", self.gate, 1),
            ("instructions a value of queries, keys, values", self.value, 1),
            ("instructions a head and position", self.look, 1),
            ("instructions a value of a head and position", self.look_value, 100),
            ("instructions a token of the vocabulary", self.logit, 1),
            ("instructions to sample", self.sample, 1),
            ("instructions a byte of a checksum", self.checksum, 1),
            ("cycles an instruction", self.cycles, 100),
        ]
    }
}

/// Number of instructions of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// Matrix rows times vectors, which all cores share.
    pub rows: Range,
    /// Everything else.
    pub rest: Range,
}

impl Instructions {
    /// The instructions of a token that attends to `positions`, itself included. With `head`, it goes on through the
    /// head and the sampler. Without, it is an earlier token of the prompt, which needs only keys and values of the
    /// last layer.
    pub fn of(model: &Model, cpu: &Cpu, positions: u64, head: bool) -> Self {
        let (header, int4) = (model.header(), model.int4_weights());
        let [layers, hidden, intermediate, heads, head_dim, vocabulary] = [
            header.n_layers,
            header.hidden_size,
            header.intermediate_size,
            header.n_heads,
            header.head_dim,
            header.vocab_size,
        ]
        .map(u64::from);
        let (q, kv) = (u64::from(header.q_dim()), 2 * u64::from(header.kv_dim()));
        let whole = if head { layers } else { layers - 1 };
        let layer = hidden * (2 * q + kv + 3 * intermediate);
        let mut weights = layers.saturating_mul(layer);
        let mut int4_weights = int4.layers;
        let mut norms = (2 * layers + 1).saturating_mul(hidden);
        if head {
            weights = weights.saturating_add(hidden.saturating_mul(vocabulary));
            int4_weights = int4_weights.saturating_add(int4.head);
        } else {
            // The last layer's share, as if all layers were alike.
            let share = u128::from(int4_weights) * u128::from(layer - hidden * kv) / u128::from(layers * layer);
            int4_weights -= share as u64;
            weights = weights - layer + hidden * kv;
            norms -= 2 * hidden;
        }
        let outputs = whole * (q + kv + 2 * hidden + 2 * intermediate) + if head { 0 } else { kv };
        let values = whole * (q + kv) + if head { 0 } else { kv };
        let looks = whole * heads * positions;
        let sum = [
            cpu.output.range.times(outputs),
            cpu.norm.range.times(norms),
            cpu.gate.range.times(whole * intermediate),
            cpu.value.range.times(values),
            cpu.look.range.times(looks),
            cpu.look_value.range.times(looks.saturating_mul(head_dim)).over(100),
            if head { cpu.logit.range.times(vocabulary).plus(cpu.sample.range) } else { Range::default() },
        ];
        Self {
            rows: cpu
                .weight
                .range
                .times(weights.saturating_sub(int4_weights))
                .plus(cpu.int4_weight.range.times(int4_weights))
                .over(100),
            rest: sum.into_iter().fold(Range::default(), Range::plus),
        }
    }

    /// The sum of both.
    pub fn all(self) -> Range {
        self.rows.plus(self.rest)
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { rows: self.rows.plus(other.rows), rest: self.rest.plus(other.rest) }
    }

    pub(crate) fn times(self, by: u64) -> Self {
        Self { rows: self.rows.times(by), rest: self.rest.times(by) }
    }
}

#[cfg(test)]
mod tests {
    use rillm::{Bytes, Model, block_on};

    use super::*;

    #[test]
    fn instructions_are_those_that_were_counted() {
        let model = block_on(Model::open(&mut Bytes::copied(crate::BUNDLED))).expect("the bundled model");
        // docs/performance.md: the stages of a token without reading, tokenizer and embedding.
        let count = |cpu, positions, head| Instructions::of(&model, cpu, positions, head).all();
        let within = |range: Range, counted: u64| {
            assert!((range.low * 98 / 100..=range.high * 102 / 100).contains(&counted), "{counted} {range:?}");
        };
        within(count(&Cpu::RV32, 21, true), 263_004 + 976_000 + 4_261_368 + 236_232 + 149_830 + 194_535);
        within(count(&Cpu::RV32, 40, false), 349_233 + 3_616_564 + 196_668 + 125_431);
        within(count(&Cpu::LX6, 21, true), 670_047 + 677_181 + 3_038_853 + 635_638 + 356_522 + 231_631);
        within(count(&Cpu::LX6, 40, false), 834_896 + 2_576_629 + 529_484 + 300_435);
    }
}
