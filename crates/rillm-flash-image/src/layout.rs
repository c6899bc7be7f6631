//! The order of segments in an application, and the gaps between them: the same as espflash's.

use crate::application::Segment;
use crate::chip::PAGE;

/// Bytes of an application's header, and of a segment's.
pub const HEADER_LEN: usize = 24;
pub const SEGMENT_HEADER_LEN: usize = 8;
/// Bootloaders do not map a segment's last page if it has fewer bytes than this there. Zeros fill it up.
const LAST_PAGE: usize = 0x24;
/// The most zeros at the end of a mapped segment.
pub const MOST_TRAILING: usize = LAST_PAGE;

/// A segment as it lies in the application: up to two parts, then zeros.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    pub address: u32,
    pub parts: [&'a [u8]; 2],
    pub zeros: usize,
}

impl<'a> Placed<'a> {
    fn one(address: u32, bytes: &'a [u8]) -> Self {
        Self { address, parts: [bytes, &[]], zeros: 0 }
    }

    fn filling(zeros: usize) -> Self {
        Self { address: 0, parts: [&[]; 2], zeros }
    }

    /// Its length without its header.
    pub fn len(&self) -> usize {
        self.parts[0].len() + self.parts[1].len() + self.zeros
    }
}

/// Lays out the mapped segments in order. Bytes for RAM fill the gaps before them, and their rest comes last.
pub fn lay_out<'a>(constants: Placed<'a>, code: &'a [Segment], ram: &'a [Segment]) -> Vec<Placed<'a>> {
    let mut placed: Vec<Placed<'a>> = Vec::new();
    let mut at = HEADER_LEN;
    let mut put = |segment: Placed<'a>, at: &mut usize| {
        *at += SEGMENT_HEADER_LEN + segment.len();
        placed.push(segment);
    };
    let mut ram = ram.iter().map(|segment| (segment.address, &segment.bytes[..])).peekable();
    let code = code.iter().map(|segment| Placed::one(segment.address, &segment.bytes));
    for mut mapped in std::iter::once(constants).chain(code) {
        while let Some(gap) = gap(at, mapped.address) {
            match ram.peek_mut().filter(|_| gap > SEGMENT_HEADER_LEN) {
                Some((address, bytes)) => {
                    let (head, tail) = bytes.split_at(gap.min(bytes.len()));
                    put(Placed::one(*address, head), &mut at);
                    (*address, *bytes) = (*address + head.len() as u32, tail);
                }
                None => put(Placed::filling(gap), &mut at),
            }
            ram.next_if(|(_, bytes)| bytes.is_empty());
        }
        let last = (at + SEGMENT_HEADER_LEN + mapped.len()) % PAGE as usize;
        mapped.zeros = LAST_PAGE.saturating_sub(last);
        put(mapped, &mut at);
    }
    ram.for_each(|(address, bytes)| put(Placed::one(address, bytes), &mut at));
    placed
}

/// The bytes between two headers, the one that comes next at `at` and the one behind it, with which a mapped segment lies
/// at the same offset in a page of flash as in memory. None if it does so at `at`.
fn gap(at: usize, address: u32) -> Option<usize> {
    let page = PAGE as usize;
    let missing = (address as usize + page - SEGMENT_HEADER_LEN - at % page) % page;
    match missing {
        0 => None,
        // A header more lies between.
        1..=SEGMENT_HEADER_LEN => Some(missing + page - SEGMENT_HEADER_LEN),
        _ => Some(missing - SEGMENT_HEADER_LEN),
    }
}
