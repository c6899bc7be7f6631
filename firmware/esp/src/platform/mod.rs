//! What is one thing on a board and another one in the simulated chip of `cargo xtask esp simulate`. The feature `simulator` chooses
//! between two modules with the same items.

#[cfg(not(feature = "simulator"))]
mod chip;
#[cfg(feature = "simulator")]
mod simulator;

#[cfg(not(feature = "simulator"))]
pub use chip::*;
#[cfg(feature = "simulator")]
pub use simulator::*;

/// Which of the board's parts are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The PSRAM.
    pub psram: bool,
    /// The second core.
    pub second_core: bool,
}
