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
        let mut traffic = Traffic { resident_bytes: len, ..Traffic::default() };
        if self.chunk == 0 {
            // All of it is in memory, or lent by the source.
            return traffic;
        }
        let mut end = None;
        for run in self.pins(model.tape_len()).runs(len) {
            let read = run.end - run.start;
            traffic.reads += read.div_ceil(self.chunk as u64);
            traffic.bytes += read.next_multiple_of(SECTOR_LEN as u64);
            traffic.seeks += u64::from(end != Some(run.start));
            traffic.resident_bytes -= read;
            end = Some(run.end);
        }
        traffic
    }

    /// What reading the embedding of the token `id` takes, from a source that does not lend its memory.
    pub fn embedding_traffic(&self, model: &Model, id: u32) -> Traffic {
        let (_, at) = Sector::of(model.record_offset(id));
        let bytes = (at + model.embedding().record_len as usize).next_multiple_of(SECTOR_LEN);
        Traffic { reads: 1, bytes: bytes as u64, seeks: 1, resident_bytes: 0 }
    }
}
