//! The files of the components: manifests that parse, and examples that compile with stubs for what is not here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

const STUBS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/component/stubs");

fn text(kind: Kind, path: &str) -> String {
    filled(&read(&kind.templates().join(path)).expect("a file of the component"), &["esp32", "esp32c3"])
}

#[test]
fn manifests_parse() {
    let json: serde_json::Value = serde_json::from_str(&text(Kind::Platformio, "library.json")).expect("JSON");
    assert_eq!((json["name"].as_str(), json["version"].as_str()), (Some("rillm"), Some(env!("CARGO_PKG_VERSION"))));
    let script = json["build"]["extraScript"].as_str().expect("a script");
    assert!(text(Kind::Platformio, script).contains("LIBS=[\"rillm\"]"));

    let properties = text(Kind::Platformio, "library.properties");
    let is_field = |line: &str| line.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
    assert!(properties.lines().all(is_field), "{properties}");

    for path in ["idf_component.yml", "examples/generate/main/idf_component.yml"] {
        let documents = yaml_rust2::YamlLoader::load_from_str(&text(Kind::EspIdf, path)).expect("YAML");
        assert!(documents[0]["dependencies"]["idf"].as_str().is_some(), "{path}");
    }
    let manifest = yaml_rust2::YamlLoader::load_from_str(&text(Kind::EspIdf, "idf_component.yml")).expect("YAML");
    let targets: Vec<_> = manifest[0]["targets"].as_vec().expect("a list").iter().map(|name| name.as_str()).collect();
    assert_eq!(targets, [Some("esp32"), Some("esp32c3")]);
    let example = manifest[0]["examples"][0]["path"].as_str().expect("a path");
    assert!(Kind::EspIdf.templates().join(example).join("CMakeLists.txt").is_file());
}

#[test]
fn the_model_fits_its_partition() {
    let table = text(Kind::EspIdf, "examples/generate/partitions.csv");
    let bytes = |size: &str| match size.split_at(size.len() - 1) {
        (count, "K") => count.parse::<u64>().expect("a number") << 10,
        (count, _) => count.parse::<u64>().expect("a number") << 20,
    };
    let rows: Vec<_> = table.lines().filter(|line| !line.starts_with('#')).collect();
    let size = |row: &str| bytes(row.rsplit(',').next().expect("a size").trim());
    // The bootloader and the table take 64 KiB, and the program starts at a multiple of that.
    assert!(rows.iter().map(|row| size(row)).sum::<u64>() + (64 << 10) <= 4 << 20);
    let model = rows.iter().find(|row| row.starts_with("model,")).expect("a partition for the model");
    assert!(size(model) >= fs::metadata(root().join("models/rill-tales-1m/model.rillm")).expect("the model").len());
}

/// Compiles a text with stubs for these headers, if the compiler is installed.
fn compiles(compiler: &str, options: &[&str], text: &str, stub: &str, headers: &[&str]) {
    if Command::new(compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("{compiler} is not installed: the example is not compiled");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for header in headers {
        let path = dir.path().join(header);
        fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
        fs::write(path, format!("#include \"{stub}\"\n")).expect("it can be written");
    }
    let source = dir.path().join("example");
    fs::write(&source, text).expect("it can be written");
    let mut command = Command::new(compiler);
    command.args(["-Wall", "-Wextra", "-Werror", "-c", "-I", STUBS, "-I"]).arg(dir.path());
    command.arg("-I").arg(root().join("crates/rillm-capi/include")).args(options);
    command.arg(&source).arg("-o").arg(Path::new("/dev/null"));
    let output = command.output().expect("the compiler runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_esp_idf_example_compiles_in_every_configuration() {
    let headers = [
        "esp_err.h",
        "esp_heap_caps.h",
        "esp_partition.h",
        "esp_vfs_fat.h",
        "sdkconfig.h",
        "sdmmc_cmd.h",
        "driver/sdspi_host.h",
        "driver/spi_common.h",
        "freertos/FreeRTOS.h",
        "freertos/task.h",
    ];
    let example = text(Kind::EspIdf, "examples/generate/main/main.c");
    let kconfig = text(Kind::EspIdf, "examples/generate/main/Kconfig.projbuild");
    for name in ["MODEL_IN_FLASH", "PIN_MOSI", "PIN_MISO", "PIN_CLK", "PIN_CS", "MEMORY"] {
        assert!(kconfig.contains(&format!("config EXAMPLE_{name}\n")), "{name}");
    }
    let pins = ["MOSI=15", "MISO=2", "CLK=14", "CS=13"].map(|pin| format!("-DCONFIG_EXAMPLE_PIN_{pin}"));
    for flash in [false, true] {
        for one_core in [false, true] {
            let mut options = vec!["-x", "c", "-std=gnu17", "-DCONFIG_EXAMPLE_MEMORY=96"];
            if flash {
                options.push("-DCONFIG_EXAMPLE_MODEL_IN_FLASH=1");
            } else {
                options.extend(pins.iter().map(String::as_str));
            }
            if one_core {
                options.push("-DCONFIG_FREERTOS_UNICORE=1");
            }
            compiles("cc", &options, &example, "esp_idf.h", &headers);
        }
    }
}

#[test]
fn the_arduino_example_compiles() {
    let sketch = text(Kind::Platformio, "examples/Generate/Generate.ino");
    compiles("c++", &["-x", "c++", "-std=c++17", "-include", "arduino.h"], &sketch, "arduino.h", &["SD.h", "SPI.h"]);
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    check_place(dir.path(), Kind::EspIdf).expect("it is empty");
    fs::write(dir.path().join("main.c"), "").expect("it can be written");
    let told = check_place(dir.path(), Kind::EspIdf).expect_err("it has a file").to_string();
    assert!(told.contains("no idf_component.yml"), "{told}");
    fs::write(dir.path().join("idf_component.yml"), "").expect("it can be written");
    check_place(dir.path(), Kind::EspIdf).expect("a component");
}
