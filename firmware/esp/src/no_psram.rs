//! A chip without external memory.

use core::convert::Infallible;

/// There is none.
pub type Peripheral = Infallible;

/// Never happens.
pub type Error = Infallible;

/// There is no memory to map.
pub fn map(_: Option<Peripheral>, _: bool) -> Result<Option<Infallible>, Error> {
    Ok(None)
}

/// There is no memory to test.
pub fn memory(mapped: Infallible) -> Result<&'static mut [u8], Error> {
    match mapped {}
}

/// Whether the memory can hold only weights.
pub fn for_weights_alone() -> bool {
    false
}
