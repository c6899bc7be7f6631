//! The use of a chip's memories by a firmware.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use object::{Object, ObjectSection};

/// Lengths in bytes of a program's sections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// Instructions.
    pub text: u64,
    /// Constants.
    pub rodata: u64,
    /// Initialised variables, whose values are in flash as well.
    pub data: u64,
    /// Variables that start as zero.
    pub bss: u64,
}

impl Sections {
    /// Reads the sections of the ELF file at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is not an ELF file.
    pub fn of(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = object::File::parse(&*bytes).with_context(|| format!("{} is no ELF file", path.display()))?;
        let size = |prefix: &str| {
            let named = |name: &str| name == prefix || name.strip_prefix(prefix).is_some_and(|s| s.starts_with('.'));
            file.sections().filter(|section| section.name().is_ok_and(named)).map(|section| section.size()).sum()
        };
        Ok(Self { text: size(".text"), rodata: size(".rodata"), data: size(".data"), bss: size(".bss") })
    }
}

impl fmt::Display for Sections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, rodata, data, bss } = self;
        write!(f, "firmware: {text} bytes of code, {rodata} of constants, {data} + {bss} of variables")
    }
}
