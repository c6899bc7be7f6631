//! The caller's memory, cut into the parts of a [`Plan`].

use crate::forward::Workspace;
use crate::kv_cache::KvCache;
use crate::plan::{Place, Plan};
use crate::vector::{Narrow, Wide};

/// Every part of the memory but the candidates'.
pub(crate) struct Memory<'m> {
    /// The chunk buffers, the tokenizer's scratch and the sectors of an embedding record: one of them at a time.
    pub buffers: &'m mut [u8],
    pub rope: &'m mut [u8],
    /// Tokens, in the order in which they came.
    pub history: &'m mut [u32],
    pub work: Workspace<'m>,
    pub pinned: &'m mut [u8],
}

impl<'m> Memory<'m> {
    /// Cuts `fast` and `large`, which are at least [`Plan::total`] and [`Plan::large_total`], up: the sampler's
    /// candidates, and everything else.
    pub fn new(plan: &Plan, fast: &'m mut [u8], large: &'m mut [u8]) -> (&'m mut [u64], Self) {
        let (sizes, batch) = (plan.sizes, plan.batch);
        let (mut rest, mut large) = (Rest(fast), Rest(large));
        rest.align();
        if plan.large_total() > 0 {
            large.align();
        }
        let candidates = rest.cut(8 * plan.candidates);
        let buffers = rest.cut(sizes.buffers);
        let rope = rest.cut(sizes.rope);
        let x = rest.i32s(batch * sizes.x);
        let a = rest.cut(2 * batch * sizes.a);
        let y = rest.i32s(batch * sizes.y);
        let [x_exponents, a_exponents, excess, y_exponents] = core::array::from_fn(|_| rest.i32s(batch));
        let scores = rest.i32s(plan.context);
        let history = rest.cut(4 * plan.context);
        let mut cut = |place, len| match place {
            Place::Fast => rest.cut(len),
            Place::Large => large.cut(len),
        };
        let cache = cut(plan.cache_place, sizes.cache.byte_len());
        let pinned = cut(plan.pinned_place, plan.pinned);
        let memory = Self {
            buffers,
            rope,
            history: bytemuck::cast_slice_mut(history),
            work: Workspace {
                x: Wide { mantissas: x, stride: sizes.x, exponents: x_exponents },
                a: Narrow { mantissas: bytemuck::cast_slice_mut(a), stride: sizes.a, exponents: a_exponents, excess },
                y: Wide { mantissas: y, stride: sizes.y, exponents: y_exponents },
                scores,
                cache: KvCache { bytes: cache, shape: sizes.cache },
            },
            pinned,
        };
        (bytemuck::cast_slice_mut(candidates), memory)
    }
}

/// What is left to cut.
struct Rest<'m>(&'m mut [u8]);

impl<'m> Rest<'m> {
    /// Skips to an address that 64-bit numbers may have.
    fn align(&mut self) {
        let skip = self.0.as_ptr().align_offset(8);
        self.cut(skip);
    }

    fn cut(&mut self, len: usize) -> &'m mut [u8] {
        let (cut, rest) = core::mem::take(&mut self.0).split_at_mut(len);
        self.0 = rest;
        cut
    }

    fn i32s(&mut self, len: usize) -> &'m mut [i32] {
        bytemuck::cast_slice_mut(self.cut(4 * len))
    }
}
