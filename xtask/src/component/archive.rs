//! Checks the symbols of an archive of the C library.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use object::read::archive::ArchiveFile;
use object::{Object, ObjectSymbol};
use rillm_firmware_builder::root;

use super::{HEADER, read};

/// What every C library has: the archive may need it.
const OF_C: [&str; 6] = ["abort", "memcpy", "memmove", "memset", "memcmp", "strlen"];

/// Checks that the archive has all functions of the header, and needs nothing but what every C library has.
///
/// # Errors
/// The archive cannot be read, or a symbol is missing.
pub fn check(path: &Path) -> Result<()> {
    let bytes = fs::read(path).context("cannot read the archive")?;
    let header = read(&root().join(HEADER))?;
    let (defined, needed) = symbols(&bytes)?;
    let missing: Vec<&str> = functions(&header).filter(|name| !defined.contains(*name)).collect();
    ensure!(missing.is_empty(), "the archive has no {}", missing.join(", "));
    let unknown: Vec<&String> =
        needed.iter().filter(|name| !defined.contains(*name) && !OF_C.contains(&name.as_str())).collect();
    ensure!(unknown.is_empty(), "the archive needs {unknown:?}, which no C library has");
    Ok(())
}

/// The names of the functions that the header declares.
fn functions(header: &str) -> impl Iterator<Item = &str> {
    header.lines().filter_map(|line| {
        let (declared, _) = line.strip_prefix(|first: char| first.is_ascii_alphabetic())?.split_once('(')?;
        let name = declared.rsplit([' ', '*']).next()?;
        name.starts_with("rillm_").then_some(name)
    })
}

/// The global symbols that the members of an archive define, and those that they need.
fn symbols(archive: &[u8]) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut defined, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for member in ArchiveFile::parse(archive)?.members() {
        let Ok(object) = object::File::parse(member?.data(archive)?) else { continue };
        for symbol in object.symbols().filter(|symbol| symbol.is_global()) {
            let set = if symbol.is_undefined() { &mut needed } else { &mut defined };
            set.insert(symbol.name()?.to_owned());
        }
    }
    Ok((defined, needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_declares_functions() {
        let header = read(&root().join(HEADER)).expect("the header");
        let found: BTreeSet<&str> = functions(&header).collect();
        for name in ["rillm_plan", "rillm_init", "rillm_generate", "rillm_multiply", "rillm_error_message"] {
            assert!(found.contains(name), "{name} {found:?}");
        }
        assert!(found.iter().all(|name| !name.ends_with("_t")), "{found:?}");
    }
}
