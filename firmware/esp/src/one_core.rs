//! A chip with one core.

use core::convert::Infallible;

use rillm::kernels::Dot;

/// There is none.
pub type Peripheral = Infallible;

/// No second core needs a stack.
pub type Stack = ();

/// There is no core to start.
pub fn start(_: Option<Peripheral>, _: &'static mut Stack) -> Option<Dot> {
    None
}
