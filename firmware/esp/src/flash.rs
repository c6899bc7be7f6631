//! The model in memory-mapped flash, used in place.

use rillm::Bytes;

/// Aligned for the multiplication kernel.
#[repr(C, align(4))]
struct Aligned<T: ?Sized>(T);

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("RILLM_MODEL_FILE")));

/// The model that was built in.
pub fn model() -> Bytes<'static> {
    Bytes::lent(&MODEL.0)
}
