//! The examples in C, compiled and run like a user's programs. Their results are the engine's.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rillm::Sampling;

use crate::support::{MODEL, expected};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PROMPT: &str = "The little fox";
const TOKENS: usize = 40;

/// Builds the static library in the target directory of this test.
fn library() -> PathBuf {
    let test = env::current_exe().expect("a path");
    let profile = test.parent().and_then(Path::parent).expect("target/debug/deps");
    let name = profile.file_name().and_then(|name| name.to_str()).expect("a name");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "rillm-capi", "--manifest-path"]);
    cargo.arg(Path::new(DIR).join("Cargo.toml")).arg("--target-dir").arg(profile.parent().expect("target"));
    cargo.args(["--profile", if name == "debug" { "dev" } else { name }]);
    assert!(cargo.status().expect("cargo runs").success());
    profile.join("librillm_capi.a")
}

/// Whether a program is installed. If not, prints what is skipped.
fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("{program} is not installed: what needs it is not tested");
    }
    found
}

/// Compiles an example.
fn compile(compiler: &str, options: &[&str], example: &str, out: &Path) -> Output {
    let mut command = Command::new(compiler);
    command.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"]).args(options);
    command.arg("-I").arg(Path::new(DIR).join("include")).arg(Path::new(DIR).join("examples").join(example));
    // `none`: the linker recognises the library by its name again, whatever the language of the source.
    command.args(["-x", "none"]).arg(library()).arg("-o").arg(out);
    command.output().expect("the compiler runs")
}

fn run(mut command: Command) {
    command.arg(Path::new(DIR).join("../../models/rill-tales-1m/model.rillm")).args([PROMPT, &TOKENS.to_string()]);
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {stderr}");
    let (text, ids) = expected(MODEL, PROMPT, TOKENS, &Sampling::GREEDY);
    assert_eq!(stdout, format!("{PROMPT}{text}\n"), "{command:?}");
    let prompt = ids.len() - TOKENS;
    let (stats, _) = stderr.split_once(", in ").expect("statistics");
    assert_eq!(stats, format!("{TOKENS} tokens after a prompt of {prompt}"), "{stderr}");
}

#[test]
fn the_example_says_what_the_engine_says() {
    if !is_there("cc") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("generate");
    let Output { status, stderr, .. } = compile("cc", &["-std=c99", "-O1"], "generate.c", &program);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    run(Command::new(&program));
    if is_there("valgrind") {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=1", "--leak-check=full"]).arg(&program);
        run(valgrind);
    }

    // The message of the example if there is no model.
    let Output { status, stderr, .. } =
        Command::new(&program).arg(Path::new(DIR).join("Cargo.toml")).output().expect("it runs");
    assert!(!status.success());
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(stderr.contains("rillm_plan: not a .rillm file"), "{stderr}");
}

#[test]
fn the_other_example_chooses_what_the_engine_chooses() {
    let sanitizers = ["-std=c99", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("choose");
    if !is_there("cc") {
        return;
    }
    if !compile("cc", &sanitizers, "choose.c", &program).status.success() {
        let Output { status, stderr, .. } = compile("cc", &["-std=c99"], "choose.c", &program);
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    }
    let mut command = Command::new(&program);
    command.arg(Path::new(DIR).join("../../models/rill-tales-1m/model.rillm"));
    let Output { status, stdout, stderr } =
        command.args(["Every night, he looked at the", " sun", " moon"]).output().expect("it runs");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    // As `rillm choose` prints it.
    assert_eq!(String::from_utf8_lossy(&stdout), "-9.494129  sun\n-0.000168  moon\n moon\n");
}

#[test]
fn two_cores_say_what_the_engine_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("second_core");
    if !is_there("cc") {
        return;
    }
    let Output { status, stderr, .. } = compile("cc", &["-std=c11", "-O1", "-pthread"], "second_core.c", &program);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    run(Command::new(&program));
}

#[test]
fn the_example_is_cpp_too() {
    if !is_there("c++") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("generate");
    // `= {0}` is the idiom of C for zero initialisation, and valid in C++.
    let options = ["-x", "c++", "-std=c++11", "-O1", "-Wno-missing-field-initializers"];
    let Output { status, stderr, .. } = compile("c++", &options, "generate.c", &program);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    run(Command::new(&program));
}

#[test]
fn the_example_does_nothing_that_sanitizers_mind() {
    let sanitizers = ["-std=c99", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("generate");
    if !is_there("cc") || !compile("cc", &sanitizers, "generate.c", &program).status.success() {
        eprintln!("this C compiler has no sanitizers: nothing is tested with them");
        return;
    }
    run(Command::new(&program));
}
