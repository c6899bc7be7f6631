//! Every command with outputs that cannot be written, with outputs that are its inputs, and under signals.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{self, Models, TEMPLATE, chatty, llama2c, path, rillm, text};

/// The path and contents of every file below a directory.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.insert(entry.path(), fs::read(entry.path()).expect("a file"));
        } else {
            found.insert(entry.path(), format!("{kind:?}").into_bytes());
        }
    }
    found
}

/// Runs a command that must fail and change nothing below `directory`. Returns its message.
fn refused(directory: &Path, args: &[&str], stdin: &str) -> String {
    let before = files(directory);
    let mut command = rillm(args);
    command.current_dir(directory).timeout(Duration::from_secs(60)).write_stdin(stdin);
    let assert = command.assert().failure();
    let stderr = text(assert.get_output().stderr.clone());
    let code = assert.get_output().status.code();
    assert!(matches!(code, Some(1 | 2)) && stderr.starts_with("error: "), "{args:?} {code:?}: {stderr}");
    assert!(files(directory) == before, "{args:?} has changed something: {stderr}");
    stderr
}

/// A checkpoint with every kind of file, a llama2.c file, and a model of each.
fn everything() -> Models {
    let models = chatty(TEMPLATE);
    for (name, content) in [
        ("special_tokens_map.json", "{}"),
        ("added_tokens.json", "{}"),
        ("generation_config.json", r#"{"eos_token_id": []}"#),
        ("merges.txt", ""),
        ("README.md", "# A model"),
        ("shard-without-ending", ""),
    ] {
        fs::write(models.checkpoint().join(name), content).expect("a file");
    }
    let (model, tokenizer) = llama2c();
    fs::create_dir(models.at("llama2c")).expect("a directory");
    fs::write(models.at("llama2c/model.bin"), model).expect("a file");
    fs::write(models.at("llama2c/tok259.bin"), &tokenizer).expect("a file");
    fs::write(models.at("tokenizer.bin"), tokenizer).expect("a file");
    rillm(&["convert", path(&models.at("llama2c/model.bin")), path(&models.at("other.rillm"))]).assert().success();
    models
}

/// Other paths of the same file: through another directory, a symbolic link and a hard link.
fn spellings(directory: &Path, file: &str) -> Vec<String> {
    let mut names = vec![file.to_owned(), format!("./checkpoint/../{file}"), path(&directory.join(file)).to_owned()];
    fs::create_dir_all(directory.join("links")).expect("a directory");
    let mut link = |name: &str, made: std::io::Result<()>| {
        if made.is_ok() {
            names.push(format!("links/{name}"));
        }
    };
    let link_to = |name: &str| directory.join("links").join(name);
    link("hard", fs::hard_link(directory.join(file), link_to("hard")));
    #[cfg(unix)]
    link("soft", std::os::unix::fs::symlink(directory.join(file), link_to("soft")));
    names
}

#[test]
fn what_is_read_is_never_written() {
    let models = everything();
    let directory = models.at("");
    let mut inputs: Vec<String> =
        files(&models.checkpoint()).keys().map(|file| format!("checkpoint/{}", name(file))).collect();
    inputs.sort();
    assert!(inputs.len() >= 10);
    let with_input = |command: &[&str], inputs: &[&str]| {
        for input in inputs {
            for spelling in spellings(&directory, input) {
                let args: Vec<&str> =
                    command.iter().map(|word| if *word == "OUT" { &spelling } else { *word }).collect();
                refused(&directory, &args, &format!("/save {spelling}\n"));
            }
            fs::remove_dir_all(directory.join("links")).expect("the links");
        }
    };
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    with_input(&["convert", "checkpoint", "OUT"], &inputs);
    with_input(&["convert", "llama2c/model.bin", "OUT"], &["llama2c/model.bin", "llama2c/tok259.bin"]);
    with_input(&["convert", "llama2c/model.bin", "OUT", "--tokenizer", "tokenizer.bin"], &["tokenizer.bin"]);
    with_input(&["card", "other.rillm", "model.rillm", "-o", "OUT"], &["model.rillm", "other.rillm"]);
    with_input(&["card", "-o", "OUT"], &["model.rillm"]);
    let others = ["model.rillm", "other.rillm", "checkpoint/README.md", "checkpoint/config.json"];
    with_input(&["run", "--prompt", "a", "-n", "1", "--model", "model.rillm", "--prompt-cache", "OUT"], &others);
    with_input(&["chat", "--model", "model.rillm", "--prompt-cache", "OUT"], &others);
    // `/save` with the path that is typed.
    with_input(&["chat", "--model", "model.rillm"], &others);
}

#[test]
fn what_would_be_read_is_not_made() {
    let models = everything();
    let directory = models.at("");
    fs::remove_file(directory.join("checkpoint/generation_config.json")).expect("a file");
    for (source, out) in [
        ("checkpoint", "checkpoint/generation_config.json"),
        ("checkpoint", "checkpoint/../checkpoint/tokenizer.model"),
        ("checkpoint", "checkpoint/model-00001-of-00002.SAFETENSORS"),
        ("llama2c/model.bin", "llama2c/tokenizer.bin"),
    ] {
        let message = refused(&directory, &["convert", source, out], "");
        assert!(message.contains("would be taken for a file of the checkpoint"), "{message}");
    }
    // A model beside the checkpoint's files is not one of them. An older model is replaced.
    for out in ["checkpoint/model.rillm", "llama2c/model.rillm", "llama2c/made"] {
        let source = if out.starts_with("llama") { "llama2c/model.bin" } else { "checkpoint" };
        for _ in 0..2 {
            rillm(&["convert", source, out]).current_dir(&directory).assert().success();
        }
    }
}

fn name(file: &Path) -> String {
    file.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Every command that writes a file, with `OUT` for its path, and its standard input.
const MAKERS: [(&[&str], &str); 5] = [
    (&["convert", "checkpoint", "OUT"], ""),
    (&["card", "model.rillm", "-o", "OUT"], ""),
    (&["run", "--prompt", "a", "-n", "1", "--model", "model.rillm", "--prompt-cache", "OUT"], ""),
    (&["chat", "--model", "model.rillm", "--prompt-cache", "OUT"], ""),
    (&["chat", "--model", "model.rillm"], "/save OUT\n"),
];

/// Runs every command that writes a file with the output `out`. Each must fail.
fn no_place(models: &Models, out: &str, expected: &[&str]) {
    for (command, stdin) in MAKERS {
        let args: Vec<&str> = command.iter().map(|word| if *word == "OUT" { out } else { *word }).collect();
        let message = refused(&models.at(""), &args, &stdin.replace("OUT", out));
        assert!(expected.iter().any(|expected| message.contains(expected)), "{args:?}: {message}");
    }
}

#[test]
fn places_that_no_file_can_be_made_in() {
    let models = everything();
    no_place(&models, "checkpoint", &["is a directory"]);
    no_place(&models, "nowhere/out", &["there is no directory nowhere"]);
    no_place(&models, "model.rillm/out", &["(os error", "there is no directory"]);
    no_place(&models, "-", &["standard output cannot be used", "name a file"]);
}

#[cfg(unix)]
#[test]
fn devices_pipes_and_sockets_stay_what_they_are() {
    let models = everything();
    let at = |name: &str| models.at(name);
    assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo").success());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
    std::os::unix::fs::symlink("/dev/null", at("null")).expect("a link");
    std::os::unix::fs::symlink("nowhere", at("dangling")).expect("a link");
    no_place(&models, "pipe", &["is a pipe"]);
    no_place(&models, "socket", &["is a socket"]);
    no_place(&models, "null", &["is a device"]);
    no_place(&models, "/dev/full", &["is a device"]);
    no_place(&models, "dangling", &["is a link that leads nowhere"]);
    // Nor does a command wait for a pipe as its input.
    for args in [
        &["run", "--model", "pipe"][..],
        &["inspect", "pipe"],
        &["convert", "pipe", "out.rillm"],
        &["convert", "checkpoint", "out.rillm", "--tokenizer", "pipe"],
        &["card", "--check", "pipe"],
        &["eval", "--model", "model.rillm", "--against", "pipe", "--text", "checkpoint/README.md"],
    ] {
        assert!(refused(&models.at(""), args, "").contains("is a pipe"), "{args:?}");
    }
    // The link stays a link, and its target is the new file.
    std::os::unix::fs::symlink("checkpoint/made.rillm", at("link.rillm")).expect("a link");
    fs::write(at("checkpoint/made.rillm"), "RILLM").expect("a file");
    rillm(&["convert", path(&models.checkpoint()), path(&at("link.rillm"))]).assert().success();
    assert!(fs::symlink_metadata(at("link.rillm")).expect("a link").is_symlink());
    assert_eq!(fs::read(at("checkpoint/made.rillm")).expect("a file"), fs::read(models.file()).expect("a file"));
}

#[test]
fn standard_input_is_read_as_text_only() {
    let models = everything();
    for args in [
        &["run", "--model", "-"][..],
        &["chat", "-m", "-"],
        &["tokenize", "--model", "-", "text"],
        &["inspect", "-"],
        &["convert", "-", "out.rillm"],
        &["convert", "checkpoint", "out.rillm", "--tokenizer", "-"],
        &["card", "-", "-o", "card.img"],
        &["card", "--check", "-"],
        &["plan", "--board", "esp32-cam", "--model", "-"],
        &["eval", "--model", "-", "--against", "checkpoint", "--text", "-"],
        &["eval", "--model", "model.rillm", "--against", "-", "--text", "-"],
    ] {
        assert!(refused(&models.at(""), args, "").contains("standard input cannot be used here"), "{args:?}");
    }
    let eval = ["eval", "--model", "model.rillm", "--against", "checkpoint", "--json", "--text"];
    let evaluation = |text: &str| {
        let mut command = rillm(&[&eval[..], &[text]].concat());
        support::stdout(command.current_dir(models.at("")).write_stdin("the cat and the dog"))
    };
    fs::write(models.at("book.txt"), "the cat and the dog").expect("a file");
    assert_eq!(evaluation("-"), evaluation("book.txt"));
}

/// Standard output and standard error that cannot be written.
#[cfg(target_os = "linux")]
mod streams {
    use super::*;
    use std::fs::File;
    use std::io::pipe;
    use std::process::{Command, Stdio};

    /// State of a stream.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Stream {
        Kept,
        Full,
        Unread,
        Closed,
    }

    /// Runs a command. Returns its exit code and the text of the streams that were captured.
    fn run(directory: &Path, args: &[&str], stdout: Stream, stderr: Stream) -> (Option<i32>, String, String) {
        // Only a shell starts a program with a closed descriptor.
        let closed = |stream, how| if stream == Stream::Closed { how } else { "" };
        let script = format!("exec \"$@\" {} {}", closed(stdout, ">&-"), closed(stderr, "2>&-"));
        let stdio = |stream| match stream {
            Stream::Full => File::options().write(true).open("/dev/full").expect("a device").into(),
            Stream::Unread => pipe().expect("a pipe").1.into(),
            Stream::Kept | Stream::Closed => Stdio::piped(),
        };
        let output = Command::new("sh")
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_rillm")])
            .args(args)
            .current_dir(directory)
            .stdin(File::open(directory.join("lines.txt")).expect("a file"))
            .stdout(stdio(stdout))
            .stderr(stdio(stderr))
            .output()
            .expect("a command");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    const CACHE: &[&str] = &["--prompt-cache", "cache"];

    /// Commands and their exit codes.
    const COMMANDS: &[(&[&str], i32)] = &[
        (&["--help"], 0),
        (&["--version"], 0),
        (&["run", "--help"], 0),
        (&["walk"], 2),
        (&["run", "hi"], 2),
        (&["run", "--top-p", "2"], 2),
        (&["run", "--card-rate", "1M"], 2),
        (&["run", "--stop", "a", "--stop", "b", "--stop", "c", "--stop", "d", "--stop", "e"], 2),
        (&["run", "--seed", "1", "--prompt", "a", "-n", "3"], 0),
        (&["run", "--seed", "1", "--prompt", "a", "-n", "3", "--check"], 0),
        (&["run", "--model", "nowhere.rillm"], 1),
        (&["run", "--model", "model.rillm", "--prompt", "a", "--ram", "18K", "-n", "60", "--seed", "1"], 0),
        (&["chat", "--model", "model.rillm", "--seed", "1", "-n", "3"], 1),
        (&["chat"], 1),
        (&["inspect", "model.rillm", "--verify"], 0),
        (&["inspect", "model.rillm", "--json"], 0),
        (&["inspect", "lines.txt"], 1),
        (&["tokenize", "--json", "a"], 0),
        (&["convert", "checkpoint", "made.rillm", "--json"], 0),
        (&["convert", "checkpoint", "checkpoint/config.json"], 1),
        (&["card", "model.rillm", "-o", "card.img"], 0),
        (&["card", "--check", "card.img"], 0),
        (&["card", "--check", "model.rillm"], 1),
        (&["plan"], 0),
        (&["plan", "--board", "esp32-cam"], 0),
        (&["plan", "--board", "esp32-cam", "--json"], 0),
        (&["eval", "--model", "model.rillm", "--against", "checkpoint", "--text", "lines.txt"], 0),
    ];

    #[test]
    fn a_stream_that_cannot_be_written_ends_no_command_in_a_panic() {
        let models = everything();
        let directory = models.at("");
        fs::write(models.at("lines.txt"), "hello\n/help\n/stats\n/nonsense\nthe cat\n").expect("a file");
        // Times differ from run to run.
        let timeless = |text: &str| ["µs", " s; try it", "\"seconds\""].iter().all(|time| !text.contains(time));
        for &(args, expected) in COMMANDS {
            let (code, whole, said) = run(&directory, args, Stream::Kept, Stream::Kept);
            assert_eq!(code, Some(expected), "{args:?}: {said}");
            for unwritten in [Stream::Full, Stream::Unread, Stream::Closed] {
                // An unwritable standard error changes nothing else.
                let (code, stdout, _) = run(&directory, args, Stream::Kept, unwritten);
                assert_eq!(code, Some(expected), "{args:?}, standard error {unwritten:?}");
                assert!(stdout == whole || !timeless(&whole), "{args:?}: {stdout}");
                let code = match unwritten {
                    _ if whole.is_empty() => expected,
                    Stream::Full | Stream::Unread => 1,
                    Stream::Kept | Stream::Closed => expected,
                };
                let (found, _, stderr) = run(&directory, args, unwritten, Stream::Kept);
                assert_eq!(found, Some(code), "{args:?}, standard output {unwritten:?}: {stderr}");
                assert!(!stderr.contains("panicked"), "{stderr}");
                match unwritten {
                    Stream::Full if !whole.is_empty() => {
                        assert!(
                            stderr.contains("error: cannot write to standard output: No space left"),
                            "{args:?}: {stderr}"
                        );
                    }
                    Stream::Unread if expected == 0 => assert!(!stderr.contains("error"), "{args:?}: {stderr}"),
                    _ => {}
                }
                assert_eq!(run(&directory, args, unwritten, unwritten).0, Some(code), "{args:?}, both {unwritten:?}");
            }
        }
        let parts: Vec<_> = files(&directory).into_keys().filter(|file| name(file).ends_with(".part")).collect();
        assert_eq!(parts, [] as [PathBuf; 0]);
    }

    #[test]
    fn what_was_computed_is_kept_where_nobody_reads_the_text() {
        let models = everything();
        let directory = models.at("");
        fs::write(models.at("lines.txt"), "hello\n").expect("a file");
        for command in
            [&["run", "--model", "model.rillm", "--prompt", "a", "-n", "3"][..], &["chat", "--model", "model.rillm"]]
        {
            for unwritten in [Stream::Full, Stream::Unread] {
                let (found, _, stderr) = run(&directory, &[command, CACHE].concat(), unwritten, Stream::Kept);
                assert_eq!(found, Some(1), "{stderr}");
                assert!(fs::read(models.at("cache")).expect("a cache").starts_with(b"RILLS"));
                fs::remove_file(models.at("cache")).expect("a file");
            }
        }
    }
}

/// Signals to a running command.
#[cfg(unix)]
mod signals {
    use super::*;
    use std::io::Write;
    use std::process::{Child, Command, Stdio};
    use std::thread::sleep;
    use std::time::Instant;

    use rillm_convert::checkpoint::Dtype;
    use rillm_quantise::config::LlamaConfig;

    const SIGNALS: [(&str, i32); 3] = [("-INT", 130), ("-TERM", 143), ("-HUP", 129)];

    fn start(directory: &Path, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_rillm"))
            .args(args)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child")
    }

    fn kill(child: &Child, signal: &str) {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill").success());
    }

    /// Waits until `is_so` returns true, for at most a minute.
    fn wait_until(mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing happens");
            sleep(Duration::from_millis(1));
        }
    }

    fn has_part(directory: &Path) -> bool {
        fs::read_dir(directory)
            .expect("a directory")
            .any(|entry| name(&entry.expect("an entry").path()).ends_with(".part"))
    }

    #[test]
    fn a_signal_leaves_no_file_in_progress() {
        let models = everything();
        let directory = models.at("");
        // A long tail makes writing the image slow.
        let long = fs::File::options().append(true).open(models.file()).expect("a file");
        long.set_len(1 << 30).expect("a tail");
        let large = models.at("large");
        fs::create_dir(&large).expect("a directory");
        let config = LlamaConfig {
            hidden_size: 1024,
            intermediate_size: 8192,
            n_layers: 1,
            n_heads: 8,
            n_kv_heads: 8,
            head_dim: 128,
            ..support::config()
        };
        rillm_convert::random::write(&large, &config, Dtype::Bf16, 1).expect("a checkpoint");
        fs::copy(models.checkpoint().join("tokenizer.json"), large.join("tokenizer.json")).expect("a tokenizer");
        for (signal, code) in SIGNALS {
            for args in [&["convert", "large", "out/made.rillm"][..], &["card", "model.rillm", "-o", "out/card.img"]] {
                let out = models.at("out");
                fs::create_dir(&out).expect("a directory");
                fs::write(out.join(Path::new(args.last().expect("a word")).file_name().expect("a name")), "older")
                    .expect("a file");
                let child = start(&directory, args);
                wait_until(|| has_part(&out));
                kill(&child, signal);
                let output = child.wait_with_output().expect("an end");
                let said = text(output.stderr);
                assert_eq!(output.status.code(), Some(code), "{args:?} {signal}: {said}");
                assert!(said.contains("interrupted; nothing was written"), "{args:?}: {said}");
                let left = files(&out);
                assert!(left.len() == 1 && left.values().all(|content| content == b"older"), "{args:?}");
                fs::remove_dir_all(out).expect("a directory");
            }
        }
    }

    #[test]
    fn a_signal_keeps_what_was_computed() {
        let models = everything();
        let directory = models.at("");
        let slow =
            ["--model", "model.rillm", "--prompt-cache", "cache", "--source", "throttled", "--card-latency", "20000"];
        let run = ["run", "--prompt", "a", "-n", "90", "--ram", "36K"];
        for (signal, code) in SIGNALS {
            for (command, is_idle) in [(&run[..], false), (&["chat", "--ram", "60K"], false), (&["chat"], true)] {
                let mut child = start(&directory, &[command, &slow].concat());
                let mut stdin = child.stdin.take().expect("a pipe");
                if is_idle {
                    // Until the chat waits for a line.
                    stdin.write_all(b"/stats\n").expect("a line");
                    let mut byte = [0];
                    std::io::Read::read_exact(child.stderr.as_mut().expect("a pipe"), &mut byte).expect("an answer");
                } else {
                    stdin.write_all(b"hello\n").expect("a line");
                    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut [0]).expect("a letter");
                }
                // Ctrl-C ends the answer, not the chat. The end of its input ends the chat.
                let code = if command[0] == "chat" && signal == "-INT" && !is_idle { 0 } else { code };
                kill(&child, signal);
                let _stdin = (code != 0).then_some(stdin);
                let output = child.wait_with_output().expect("an end");
                assert_eq!(output.status.code(), Some(code), "{command:?} {signal}: {}", text(output.stderr));
                assert!(fs::read(models.at("cache")).expect("a cache").starts_with(b"RILLS"));
                fs::remove_file(models.at("cache")).expect("a file");
            }
        }
    }

    #[test]
    fn nohup_is_honoured() {
        let models = everything();
        let args =
            ["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_rillm"), "chat", "--model", "model.rillm"];
        if !cfg!(target_os = "linux") {
            return;
        }
        let mut child = Command::new("sh")
            .args(args)
            .current_dir(models.at(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(b"/stats\n").expect("a line");
        std::io::Read::read_exact(child.stderr.as_mut().expect("a pipe"), &mut [0]).expect("an answer");
        kill(&child, "-HUP");
        sleep(Duration::from_millis(200));
        drop(stdin);
        assert_eq!(child.wait().expect("an end").code(), Some(0));
    }
}
