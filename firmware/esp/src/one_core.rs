//! A chip with one core.

use core::convert::Infallible;

use rillm::kernels::Dot;

/// No second core needs a stack.
pub type Stack = ();

/// There is no core to start.
pub fn start(_: Option<Infallible>, _: &'static mut Stack) -> Option<Dot> {
    None
}
