//! What passes will read, by their plan: what [`Counted`](crate::counted::Counted) will count.

use crate::counted::Traffic;
use crate::model::Model;
use crate::plan::Plan;
use crate::source::{SECTOR_LEN, Sector};

impl Plan {
    /// What a pass over the tape reads, once what is pinned is there: one that goes on through the head, or one that ends
    /// with the last layer's keys and values, as those of a prompt's earlier tokens do.
    pub fn pass_traffic(&self, model: &Model, head: bool) -> Traffic {
        let len = if head { model.tape_len() } else { model.prefix_len() };
        let pinned = (self.pinned as u64).min(len);
        if self.chunk == 0 {
            // All of it is in memory, or lent by the source.
            return Traffic { resident_bytes: len, ..Traffic::default() };
        }
        let bytes = (len - pinned).next_multiple_of(SECTOR_LEN as u64);
        let reads = bytes.div_ceil(self.chunk as u64);
        Traffic { reads, bytes, seeks: reads.min(1), resident_bytes: pinned }
    }

    /// What reading the embedding of the token `id` takes, from a source that does not lend its memory.
    pub fn embedding_traffic(&self, model: &Model, id: u32) -> Traffic {
        let (_, at) = Sector::of(model.record_offset(id));
        let bytes = (at + model.embedding().record_len as usize).next_multiple_of(SECTOR_LEN);
        Traffic { reads: 1, bytes: bytes as u64, seeks: 1, resident_bytes: 0 }
    }
}
