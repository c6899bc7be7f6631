//! `rillm-web-bindgen INPUT.wasm OUTPUT_DIRECTORY`: what the `wasm-bindgen` command does with `--target web`, without a server and
//! a test runner to compile, and in the version of `Cargo.lock`.

use std::env;

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let mut next = |name| args.next().with_context(|| format!("{name} is missing"));
    let (input, output) = (next("INPUT.wasm")?, next("OUTPUT_DIRECTORY")?);
    let mut bindgen = Bindgen::new();
    bindgen.input_path(&input).web(true)?.typescript(true).remove_name_section(true).out_name("engine");
    bindgen.generate(output).with_context(|| format!("cannot make JavaScript for {input}"))
}
