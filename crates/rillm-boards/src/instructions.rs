//! Instructions of a token, as they were counted on emulated processors.

use rillm::format::Header;

use crate::figure::{Figure, Range};

/// What a processor takes: instructions, in hundredths where the name says so, and cycles for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Hundredths of an instruction for a weight times an activation.
    pub weight: Figure,
    /// For each output of a layer's matrix.
    pub output: Figure,
    /// For each element that a norm goes over.
    pub norm: Figure,
    /// For each element of the feed-forward layer's gate.
    pub gate: Figure,
    /// For each value of a token's queries, keys and values.
    pub value: Figure,
    /// For each head and position that it looks at.
    pub look: Figure,
    /// Hundredths of an instruction for each value of a head at a position that it looks at.
    pub look_value: Figure,
    /// For each token of the vocabulary, to sample.
    pub logit: Figure,
    /// To sample, whatever the vocabulary.
    pub sample: Figure,
    /// For each byte of the weights' checksum.
    pub checksum: Figure,
    /// Hundredths of a cycle an instruction.
    pub cycles: Figure,
}

const MEASURED: &str = "`cargo xtask measure`, docs/performance.md";

impl Cpu {
    /// An RV32IMC core. The ranges are those of three models.
    pub const RV32: Self = Self {
        weight: Figure::new(357, 391, MEASURED),
        output: Figure::new(45, 75, MEASURED),
        norm: Figure::new(172, 198, MEASURED),
        gate: Figure::new(283, 287, MEASURED),
        value: Figure::new(98, 137, MEASURED),
        look: Figure::new(260, 290, MEASURED),
        look_value: Figure::new(490, 530, MEASURED),
        logit: Figure::new(176, 180, MEASURED),
        sample: Figure::new(100_000, 190_000, MEASURED),
        checksum: Figure::new(10, 10, MEASURED),
        cycles: Figure::new(
            105,
            180,
            "1 for most; a taken branch takes 2 or 3 (ctrlsrc.io/posts/2023/counting-cpu-cycles-on-esp32c3-esp32c6); loads \
             and fetches that miss the cache more: a guess",
        ),
    };

    /// An Xtensa core with MAC16. What multiplies in 64 bits is between what `rv32` takes, which has the upper half of a
    /// product in one instruction as the LX6 has, and what the emulated Xtensa takes, which has not.
    pub const LX6: Self = Self {
        weight: Figure::new(244, 275, MEASURED),
        output: Figure::new(45, 75, MEASURED),
        norm: Figure::new(172, 389, MEASURED),
        gate: Figure::new(283, 798, MEASURED),
        value: Figure::new(98, 319, MEASURED),
        look: Figure::new(260, 620, MEASURED),
        look_value: Figure::new(490, 880, MEASURED),
        logit: Figure::new(176, 413, MEASURED),
        sample: Figure::new(100_000, 190_000, MEASURED),
        checksum: Figure::new(10, 10, MEASURED),
        cycles: Figure::new(
            105,
            180,
            "1 for most; 437 cycles for 256 MAC16 instructions (docs.espressif.com, esp-dsp benchmarks, dsps_dotprod_s16); \
             taken branches, loads and fetches that miss the cache more: a guess",
        ),
    };

    /// The figures with what they are of, and by how much they are too large.
    pub fn figures(&self) -> [(&'static str, Figure, u64); 11] {
        [
            ("instructions a weight", self.weight, 100),
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

/// Instructions of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// Of rows times vectors, which all cores share.
    pub rows: Range,
    /// Of everything else.
    pub rest: Range,
}

impl Instructions {
    /// Of a token that looks at `positions`, itself included, and goes on through the head and the sampler, or of a prompt's
    /// earlier token, which of the last layer needs keys and values only.
    pub fn of(header: &Header, cpu: &Cpu, positions: u64, head: bool) -> Self {
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
        let mut norms = (2 * layers + 1).saturating_mul(hidden);
        if head {
            weights = weights.saturating_add(hidden.saturating_mul(vocabulary));
        } else {
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
            rows: cpu.weight.range.times(weights).over(100),
            rest: sum.into_iter().fold(Range::default(), Range::plus),
        }
    }

    /// All of them.
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
        // docs/performance.md: the stages of a token, but for reading, tokenizer and embedding.
        let count = |cpu, positions, head| Instructions::of(model.header(), cpu, positions, head).all();
        let within = |range: Range, counted: u64| {
            assert!((range.low * 98 / 100..=range.high * 102 / 100).contains(&counted), "{counted} {range:?}");
        };
        within(count(&Cpu::RV32, 21, true), 376_232 + 972_928 + 4_446_048 + 603_173 + 311_666 + 550_156);
        within(count(&Cpu::RV32, 40, false), 484_566 + 3_775_112 + 501_606 + 261_790);
        within(count(&Cpu::LX6, 21, true), 840_672 + 676_147 + 3_262_384 + 1_678_950 + 627_597 + 968_863);
        within(count(&Cpu::LX6, 40, false), 1_061_988 + 2_771_703 + 1_397_519 + 528_616);
    }
}
