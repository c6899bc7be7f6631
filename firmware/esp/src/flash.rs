//! The model in flash, which is mapped into memory and used where it lies.

use rillm::Bytes;

/// As the multiplication wants it.
#[repr(C, align(4))]
struct Aligned<T: ?Sized>(T);

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("RILLM_MODEL_FILE")));

/// The model that was built in.
pub fn model() -> Bytes<'static> {
    Bytes::lent(&MODEL.0)
}
