//! A row's checkpoint, written into a folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Row, folder, gguf, weights};

/// Copies the row's base into `directory`, changes it and returns what to convert: the directory, or a GGUF file in it.
pub fn write(row: &Row, directory: &Path) -> PathBuf {
    let base = folder().join("bases").join(&row.base);
    if let Some(keys) = &row.gguf {
        let path = directory.join("model.gguf");
        fs::write(&path, gguf::file(&base, keys, &row.weights)).expect("a file");
        return path;
    }
    for file in fs::read_dir(&base).unwrap_or_else(|error| panic!("{}: {error}", base.display())) {
        let file = file.expect("a file").path();
        fs::copy(&file, directory.join(file.file_name().expect("a name"))).expect("a copy");
    }
    if !row.weights.is_empty() {
        weights::rewrite(directory, &row.weights);
    }
    for (name, change) in &row.files {
        let path = directory.join(name);
        match change {
            Value::Null => fs::remove_file(&path).expect("a file to remove"),
            Value::String(text) => fs::write(&path, text).expect("a file"),
            change => {
                let bytes = fs::read(&path).unwrap_or_else(|_| b"{}".to_vec());
                let mut json = serde_json::from_slice(&bytes).expect("JSON");
                merge(&mut json, change);
                fs::write(&path, json.to_string()).expect("a file");
            }
        }
    }
    for (name, old, new) in &row.replace {
        let path = directory.join(name);
        let text = fs::read_to_string(&path).expect("a text");
        assert!(text.contains(old), "{}: {name} has no {old}", row.row);
        fs::write(&path, text.replacen(old, new, 1)).expect("a file");
    }
    directory.to_owned()
}

/// A JSON merge patch (RFC 7396): null removes a field. Besides, `"$null"` stands for a null that stays, and an object that
/// meets an array changes its elements by their places, `"-"` being the place behind the last.
pub fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (target, Value::String(text)) if text == "$null" => *target = Value::Null,
        (Value::Array(array), Value::Object(patch)) => {
            for (place, value) in patch {
                match place.parse::<usize>() {
                    Ok(place) => merge(&mut array[place], value),
                    Err(_) => array.push(value.clone()),
                }
            }
        }
        (target, Value::Object(patch)) => {
            if !target.is_object() {
                *target = Value::Object(Map::new());
            }
            let object = target.as_object_mut().expect("an object");
            for (name, value) in patch {
                match value {
                    Value::Null => drop(object.remove(name)),
                    value => merge(object.entry(name).or_insert(Value::Null), value),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
