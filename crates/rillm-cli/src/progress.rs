//! Progress bars, on standard error, where that is a terminal.

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// A bar that shows bytes.
pub fn bytes(len: u64) -> ProgressBar {
    bar(len, "{bar:20} {binary_bytes}/{binary_total_bytes} {msg}")
}

/// A bar that shows tokens.
pub fn tokens(len: u64) -> ProgressBar {
    bar(len, "{bar:20} {pos}/{len} tokens, {eta} left {msg}")
}

/// A bar that leaves no trace, whether its work is done or fails.
fn bar(len: u64, template: &str) -> ProgressBar {
    ProgressBar::new(len)
        .with_style(ProgressStyle::with_template(template).expect("a valid template"))
        .with_finish(ProgressFinish::AndClear)
}
