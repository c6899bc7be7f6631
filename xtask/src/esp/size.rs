//! The use of flash and internal RAM by a firmware.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use object::{Object, ObjectSection, SectionFlags};
use rillm_generate::number::Grouped;
use serde_json::{Value, json};

/// Prefixes of the names of sections in mapped flash. All other loaded sections are in internal RAM.
const IN_FLASH: [&str; 3] = [".text", ".rodata", ".flash"];
/// Suffixes of the names of sections that only reserve addresses: of memory that appears on two buses, up to the end of a
/// page, or for a longer model.
const PLACEHOLDERS: [&str; 3] = ["dummy", "gap", "room"];
const STACK: &str = ".stack";
/// ELF flag of a section that occupies memory while the program runs.
const SHF_ALLOC: u64 = 2;

/// Lengths in bytes by kind of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Instructions in flash.
    pub flash_code: u64,
    /// Constants in flash, model included.
    pub flash_constants: u64,
    /// Instructions in RAM.
    pub ram_code: u64,
    /// Initialised variables.
    pub data: u64,
    /// Variables that start as zero or uninitialised, the engine's memory included.
    pub bss: u64,
    /// RAM that is left beside the variables.
    pub stack: u64,
    /// The image for the flash, with bootloader and partition table.
    pub image: Option<u64>,
}

impl Size {
    /// The use by the ELF file at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is not an ELF file.
    pub fn of(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = object::File::parse(&*bytes).with_context(|| format!("{} is no ELF file", path.display()))?;
        let mut size = Self::default();
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
            let name = section.name().unwrap_or_default();
            if sh_flags & SHF_ALLOC != 0 && !PLACEHOLDERS.iter().any(|end| name.ends_with(end)) {
                *size.place(name, section.kind()) += section.size();
            }
        }
        Ok(size)
    }

    fn place(&mut self, name: &str, kind: object::SectionKind) -> &mut u64 {
        use object::SectionKind::{Text, UninitializedData};
        let in_flash = IN_FLASH.iter().any(|begin| name.starts_with(begin));
        match kind {
            _ if name == STACK => &mut self.stack,
            Text if in_flash => &mut self.flash_code,
            _ if in_flash => &mut self.flash_constants,
            Text => &mut self.ram_code,
            UninitializedData => &mut self.bss,
            _ => &mut self.data,
        }
    }

    /// Bytes of RAM in permanent use: code, variables and the engine's memory.
    pub fn static_ram(&self) -> u64 {
        self.ram_code + self.data + self.bss
    }

    /// The figures as JSON.
    pub fn json(&self) -> Value {
        json!({
            "flash_code": self.flash_code,
            "flash_constants": self.flash_constants,
            "ram_code": self.ram_code,
            "ram_data": self.data,
            "ram_bss": self.bss,
            "static_ram": self.static_ram(),
            "stack": self.stack,
            "image": self.image,
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("code in flash", self.flash_code),
            ("constants in flash, the model among them", self.flash_constants),
            ("code in RAM", self.ram_code),
            ("variables with a value", self.data),
            ("other variables, the engine's memory among them", self.bss),
            ("static RAM, the three together", self.static_ram()),
            ("left for the stack", self.stack),
        ];
        for (name, len) in lines.into_iter().chain(self.image.map(|len| ("image for the flash, from address 0", len))) {
            writeln!(f, "{:>11}  {name}", Grouped(len))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::SectionKind;

    #[test]
    fn sections_are_counted_where_they_lie() {
        let mut size = Size::default();
        for (index, (name, kind)) in [
            (".text", SectionKind::Text),
            (".rodata", SectionKind::ReadOnlyData),
            (".rwtext", SectionKind::Text),
            (".data", SectionKind::Data),
            (".bss", SectionKind::UninitializedData),
            (".stack", SectionKind::UninitializedData),
        ]
        .into_iter()
        .enumerate()
        {
            *size.place(name, kind) += 1 << index;
        }
        let expected =
            Size { flash_code: 1, flash_constants: 2, ram_code: 4, data: 8, bss: 16, stack: 32, image: None };
        assert_eq!(size, expected);
        assert_eq!(size.static_ram(), 28);
    }
}
