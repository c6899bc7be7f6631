//! Checks the models on a card, read as a device reads them.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Result, bail};
use console::style;
use rillm::{SECTOR_LEN, block_on};
use rillm_card::{Blocks, CardFile, DEFAULT_EXTENTS, PartitionId, SearchedPartitions, for_each_model};
use serde::Serialize;

use crate::model_file::{from_path, open};
use crate::number::grouped;
use crate::say;
use crate::sections::tensor_table;
use crate::source::{Access, CardPace, read_exact_at};
use crate::verify::verify;

/// The largest number of extents that is counted. A file with more of them is reported in any case.
const MAX_EXTENTS: usize = 4096;

/// The result for one model. Scripts depend on these field names.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// File name on the card.
    pub name: String,
    /// Length in bytes, as the directory has it.
    pub bytes: u64,
    /// Number of extents of the file; absent where they cannot be determined.
    pub fragments: Option<usize>,
    /// The problem, if there is one.
    pub problem: Option<String>,
    /// The partition of the file, where the card has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
}

impl Checked {
    /// The problem after the file name, if there is one.
    pub fn complaint(&self) -> Option<String> {
        self.problem.as_ref().map(|problem| format!("{}: {problem}", self.name))
    }
}

/// Whether a device would open a file of this name: `*.rillm`, but not the `._*` companions that macOS writes.
pub fn is_model(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".rillm") && !name.starts_with("._")
}

/// Checks every model in the root directories of a card (block device or image). Also returns which partitions were
/// searched.
pub fn card(file: &File) -> Result<(Vec<Checked>, SearchedPartitions)> {
    let mut blocks = FileBlocks::new(file)?;
    let mut found: Vec<(String, u64, PartitionId)> = Vec::new();
    let visit = |file: rillm_card::File<'_>| found.push((file.name.to_string(), file.len.into(), file.partition));
    let searched = block_on(for_each_model(&mut blocks, visit))?;
    if found.is_empty() {
        bail!("{}", rillm_card::Error::<io::Error>::NoModel { searched });
    }
    let mut files: Vec<Checked> = Vec::new();
    for (index, (name, bytes, place)) in found.iter().enumerate() {
        let mut fragments = None;
        let same_name = |(other, _, _): &&(String, u64, PartitionId)| other.to_lowercase() == name.to_lowercase();
        let problem = match found[..index].iter().find(same_name) {
            Some((other, _, first)) => {
                Some(format!("a device opens {other} of {first} by this name; rename one of them"))
            }
            None => model_on_card(&mut blocks, name, &mut fragments).err().map(|error| say::causes(&error)),
        };
        let partition = (searched.len() > 1).then(|| place.to_string());
        files.push(Checked { name: name.clone(), bytes: *bytes, fragments, problem, partition });
    }
    Ok((files, searched))
}

fn model_on_card(blocks: &mut FileBlocks<'_>, name: &str, fragments: &mut Option<usize>) -> Result<()> {
    let file: CardFile<_, MAX_EXTENTS> = block_on(CardFile::open(blocks, Some(name)))?;
    let count = file.extents();
    *fragments = Some(count);
    let len = file.len().into();
    let (model, mut file) = open(file, len)?;
    let tensors = tensor_table(model.header(), &mut file)?;
    verify(model.header(), &tensors, &mut file)?;
    if count > DEFAULT_EXTENTS {
        bail!("it has {count} fragments and a device stores {DEFAULT_EXTENTS}; copy it to a freshly formatted card");
    }
    Ok(())
}

/// Checks every model in a directory.
pub fn directory(path: &Path) -> Result<Vec<Checked>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_model(&name) && entry.path().is_file() {
            names.push((name, entry.metadata()?.len()));
        }
    }
    if names.is_empty() {
        bail!("there is no .rillm file in this directory; a device looks nowhere but in a card's root directory");
    }
    names.sort();
    let check = |(name, bytes): (String, u64)| {
        let problem = model_in_directory(&path.join(&name)).err().map(|error| say::causes(&error));
        Checked { name, bytes, fragments: None, problem, partition: None }
    };
    Ok(names.into_iter().map(check).collect())
}

fn model_in_directory(path: &Path) -> Result<()> {
    let (model, mut source) = from_path(path, Access::File, CardPace::UNUSED)?;
    let tensors = tensor_table(model.header(), &mut source)?;
    verify(model.header(), &tensors, &mut source)
}

/// Prints the results as a table.
pub fn print(files: &[Checked], out: &mut impl Write) -> io::Result<()> {
    let width = files.iter().map(|file| file.name.chars().count()).max().unwrap_or(0).max(24);
    writeln!(out, "{}", style(format!("{:<width$} {:>14} {:>9}", "model", "bytes", "fragments")).bold())?;
    for Checked { name, bytes, fragments, problem, partition } in files {
        let number = fragments.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let verdict = match (problem, fragments) {
            (Some(_), _) => style("wrong").red().bold(),
            (None, Some(2..)) => style("whole; each fragment more is a seek a pass").yellow(),
            (None, _) => style("whole").green().bold(),
        };
        let partition = partition.as_ref().map(|partition| format!("  on {partition}")).unwrap_or_default();
        writeln!(out, "{name:<width$} {:>14} {number:>9}  {verdict}{partition}", grouped(*bytes))?;
    }
    Ok(())
}

/// A block device or an image as a block device of the card crate.
struct FileBlocks<'a> {
    file: &'a File,
    count: u32,
}

impl<'a> FileBlocks<'a> {
    fn new(mut file: &'a File) -> Result<Self> {
        // Some systems do not report the length of a device. Reads past its end fail in that case.
        let len = file.seek(SeekFrom::End(0)).unwrap_or(0);
        let is_file = file.metadata()?.is_file();
        if is_file && len < SECTOR_LEN as u64 {
            bail!("it has {len} bytes: no card and no image of one; `rillm card -o card.img` makes one");
        }
        let mut start = [0; SECTOR_LEN];
        if read_exact_at(file, &mut start, 0).is_ok() && start.starts_with(b"RILLM") {
            bail!("it is a model and no card; check it with `rillm inspect --verify`");
        }
        let blocks = u32::try_from(len / SECTOR_LEN as u64).unwrap_or(u32::MAX);
        Ok(Self { file, count: if blocks == 0 { u32::MAX } else { blocks } })
    }
}

impl Blocks for FileBlocks<'_> {
    type Error = io::Error;

    async fn count(&mut self) -> io::Result<u32> {
        Ok(self.count)
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> io::Result<()> {
        read_exact_at(self.file, buf, u64::from(first) * SECTOR_LEN as u64)
    }

    async fn recover(&mut self) -> io::Result<()> {
        Ok(())
    }
}
