//! Selects the model that is built into flash, and places it so that another one can replace it in the finished image.

use std::path::PathBuf;
use std::{env, fs};

use rillm::SECTOR_LEN;
use rillm::format::Header;
use rillm_boards::{ALL, Chip};

/// Environment variable with the path of a model that replaces the bundled one.
const MODEL: &str = "RILLM_MODEL";
const BUNDLED: &str = "../../models/rill-tales-1m/model.rillm";

fn main() {
    let dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let named = env::var_os(MODEL).filter(|path| !path.is_empty()).map(PathBuf::from);
    // A relative path is relative to the directory where cargo was started, usually the package.
    let path = named.unwrap_or_else(|| dir.join(BUNDLED));
    let Ok(path) = path.canonicalize() else {
        panic!("there is no model at {}; {MODEL} names a .rillm file, or nothing for the bundled one", path.display())
    };
    check(&path);
    println!("cargo::rerun-if-env-changed={MODEL}");
    println!("cargo::rerun-if-changed={}", path.display());
    println!("cargo::rustc-env=RILLM_MODEL_FILE={}", path.display());

    let script = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("rillm.x");
    fs::write(&script, linker_script()).expect("cargo makes the folder");
    println!("cargo::rerun-if-changed=model.x");
    println!("cargo::rustc-link-arg-examples=-T{}", script.display());
}

/// esp-hal's `linkall.x` with the model. GNU's linker, Xtensa's, looks for the place of an `INSERT` only in what follows.
fn linker_script() -> String {
    let model = include_str!("model.x").replace("ROOM", &room().to_string());
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "xtensa") {
        let chip = if is_chip(&rillm_boards::ESP32) { "esp32" } else { "esp32s3" };
        format!(
            "INCLUDE \"memory.x\"\nINCLUDE \"alias.x\"\n{model}\nINCLUDE \"{chip}.x\"\nINCLUDE \"hal-defaults.x\"\n"
        )
    } else {
        format!("INCLUDE \"linkall.x\"\n{model}")
    }
}

/// The firmware takes the model's length from its header.
fn check(path: &PathBuf) {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let header = bytes.first_chunk::<SECTOR_LEN>().ok_or("it is too short".to_owned());
    let header = header.and_then(|header| Header::parse(header).map_err(|error| error.to_string()));
    let header = header.unwrap_or_else(|error| panic!("{} is no model: {error}", path.display()));
    assert_eq!(header.file_len(), bytes.len() as u64, "{} was not copied whole; copy it again", path.display());
}

/// The addresses that code leaves to the model: as many as the longest model takes that one of the chip's boards has
/// flash for. Code and constants of an ESP32 have address ranges of their own.
fn room() -> usize {
    let boards = ALL.iter().filter(|board| is_chip(board.chip) && !is_chip(&rillm_boards::ESP32));
    boards.map(|board| board.flash_model_len()).max().unwrap_or(0)
}

/// Whether the firmware is for a chip, by the package's features.
fn is_chip(chip: &Chip) -> bool {
    let feature = chip.name.to_uppercase().replace('-', "");
    env::var_os(format!("CARGO_FEATURE_{feature}")).is_some()
}
