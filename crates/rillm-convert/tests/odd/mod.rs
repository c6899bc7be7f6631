//! Odd checkpoints: a table of what checkpoints out in the world have done, and what `transformers`, `tokenizers` and
//! llama.cpp make of it. A report of a checkpoint that is read wrongly becomes a row of `rows/*.json`; `make.py` asks the
//! references and writes `goldens.json`.

mod checkpoint;
mod found;
mod gguf;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value};

use found::Golden;

/// A checkpoint that differs from a base.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// What is odd, as a sentence. The row's name.
    row: String,
    /// A folder of `bases/`.
    base: String,
    /// Files: an object changes what a JSON file says (see [`checkpoint::merge`]), a text is a file's whole content, and
    /// null removes a file.
    #[serde(default)]
    files: Map<String, Value>,
    /// File, old text, new text: the first place where the file has it.
    #[serde(default)]
    replace: Vec<(String, String, String)>,
    /// Changes of the weights.
    #[serde(default)]
    weights: Vec<weights::Edit>,
    /// The checkpoint becomes a GGUF file, with these changes of its keys: each has a type and a value.
    gguf: Option<Map<String, Value>>,
    /// What is compared; the file of rows has a default.
    #[serde(default)]
    look: Vec<Look>,
    /// Texts to tokenise, besides those that every row has; `make.py` reads them.
    #[serde(default)]
    #[allow(dead_code, reason = "make.py reads it")]
    probes: Vec<String>,
    /// Converting it is refused, and the message has this text.
    refused: Option<String>,
    /// It gets no `chat` section, and the reason has this text.
    no_chat: Option<String>,
    /// Why what is expected is not what the reference does.
    because: Option<String>,
    /// What is expected in place of what the reference gives.
    #[serde(default)]
    #[allow(dead_code, reason = "make.py reads it")]
    instead: Map<String, Value>,
    /// An earlier row, of which the same is expected.
    #[allow(dead_code, reason = "make.py reads it")]
    same_as: Option<String>,
}

/// What of a converted checkpoint is compared.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Look {
    /// Tokens of texts.
    Tokens,
    /// Texts of those tokens.
    Texts,
    /// Tokens of conversations.
    Chat,
    /// Which tokens end an answer.
    Ends,
    /// The largest logits after a prompt.
    Logits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    look: Vec<Look>,
    rows: Vec<Row>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("odd")
}

/// All rows, those of a file one after the other.
fn rows() -> Vec<Row> {
    let mut files: Vec<_> =
        fs::read_dir(folder().join("rows")).expect("rows").map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let rows: Result<Rows, _> = serde_json::from_slice(&fs::read(&file).unwrap());
        let rows = rows.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        all.extend(
            rows.rows
                .into_iter()
                .map(|row| Row { look: if row.look.is_empty() { rows.look.clone() } else { row.look }, ..row }),
        );
    }
    all
}

#[test]
fn odd_checkpoints_are_read_as_others_read_them_or_refused() {
    let rows = rows();
    let goldens: BTreeMap<String, Golden> =
        serde_json::from_slice::<Value>(&fs::read(folder().join("goldens.json")).unwrap())
            .and_then(|goldens| serde_json::from_value(goldens["rows"].clone()))
            .expect("goldens");
    let names: BTreeSet<&str> = rows.iter().map(|row| row.row.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "two rows have one name");
    let strays: Vec<_> = goldens.keys().filter(|name| !names.contains(name.as_str())).collect();
    assert!(strays.is_empty(), "goldens without rows; run make.py: {strays:?}");

    let failures: Vec<String> = rows
        .par_iter()
        .filter_map(|row| {
            let directory = tempfile::tempdir().expect("a directory");
            let problems = match goldens.get(&row.row) {
                Some(golden) => found::compare(row, golden, &checkpoint::write(row, directory.path())),
                None => vec!["no golden; run make.py".to_owned()],
            };
            let because = row.because.as_ref().map_or_else(String::new, |because| format!(" ({because})"));
            (!problems.is_empty()).then(|| format!("{}{because}\n    {}", row.row, problems.join("\n    ")))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} rows:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

/// For `make.py`, which asks the references about them: a folder for each row, named by its place.
#[test]
#[ignore = "writes the checkpoints into the folder $RILLM_ODD"]
fn write_the_checkpoints() {
    let out = PathBuf::from(std::env::var_os("RILLM_ODD").expect("$RILLM_ODD is a folder"));
    for (place, row) in rows().iter().enumerate() {
        let directory = out.join(place.to_string());
        fs::create_dir(&directory).expect("a folder");
        checkpoint::write(row, &directory);
    }
}
