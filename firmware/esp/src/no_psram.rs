//! A chip without external memory.

use core::convert::Infallible;

/// There is no reason that there is none.
pub type Error = Infallible;

/// Nothing is mapped.
pub fn map(_: Option<Infallible>, _: bool) -> Result<Option<Infallible>, Error> {
    Ok(None)
}

/// Nothing is memory.
pub fn memory(mapped: Infallible) -> Result<&'static mut [u8], Error> {
    match mapped {}
}

/// Whether nothing but weights may lie in it.
pub fn for_weights_alone() -> bool {
    false
}
