//! Progress bars on standard error, shown only if it is a terminal.

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// A bar that counts bytes.
pub fn bytes(len: u64) -> ProgressBar {
    bar(len, "{bar:20} {binary_bytes}/{binary_total_bytes} {msg}")
}

/// A bar that counts tokens.
pub fn tokens(len: u64) -> ProgressBar {
    bar(len, "{bar:20} {pos}/{len} tokens, {eta} left {msg}")
}

/// A bar that counts weights.
pub fn weights(len: u64) -> ProgressBar {
    bar(len, "{bar:20} {human_pos}/{human_len} weights, {eta} left {msg}")
}

/// A bar that counts steps.
pub fn steps(len: u64) -> ProgressBar {
    bar(len, "{bar:20} {pos}/{len} steps, {eta} left {msg}")
}

/// A counter of passes over the weights, whose number is not known before.
pub fn passes() -> ProgressBar {
    let template = ProgressStyle::with_template("{spinner} {pos} passes").expect("a valid template");
    ProgressBar::new_spinner().with_style(template).with_finish(ProgressFinish::AndClear)
}

/// A bar that is erased at the end, whether the work succeeds or fails. Its prefix says what the work is for, if it is one of several.
fn bar(len: u64, template: &str) -> ProgressBar {
    ProgressBar::new(len)
        .with_style(ProgressStyle::with_template(&format!("{{prefix}}{template}")).expect("a valid template"))
        .with_finish(ProgressFinish::AndClear)
}
