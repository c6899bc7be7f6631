//! The differences between a board and the simulated chip of `cargo xtask esp simulate`. The feature `simulator`
//! selects one of two modules with the same items.

#[cfg(not(feature = "simulator"))]
mod chip;
#[cfg(feature = "simulator")]
mod simulator;

#[cfg(not(feature = "simulator"))]
pub use chip::*;
#[cfg(feature = "simulator")]
pub use simulator::*;

/// The parts of the board to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Whether to use the PSRAM.
    pub psram: bool,
    /// Whether to use the second core.
    pub second_core: bool,
}
