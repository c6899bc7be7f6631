//! Runs every target on its corpus: seeds, and inputs that the fuzzer found earlier.

use std::path::Path;

#[test]
fn kept_inputs_break_nothing() {
    for (name, target) in rillm_fuzz::TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut inputs: Vec<_> = std::fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
            .map(|entry| entry.expect("an entry").path())
            .collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{} is empty", directory.display());
        for input in &inputs {
            println!("{}", input.display());
            target(&std::fs::read(input).expect("a file"));
        }
    }
}
