//! `rillm plan`.

use crate::support::{Models, error, json, path, rillm, stdout};
use rillm::{Bytes, Memory, Model, Sampling, Session, block_on};
use rillm_boards::{self as boards, ModelPlace, Pace, options};

static BUNDLED: &[u8] = include_bytes!("../model.rillm");

#[test]
fn a_session_reads_what_the_plan_says() {
    for board in boards::ALL {
        for (name, place, mut source) in
            [("card", ModelPlace::Card, Bytes::copied(BUNDLED)), ("flash", ModelPlace::Flash, Bytes::lent(BUNDLED))]
        {
            let args = ["plan", "--board", board.id, "--source", name, "--context", "128", "--json"];
            let said = json(&mut rillm(&args));
            let model = block_on(Model::open(&mut source)).expect("the bundled model");
            let options = options(&Pace::of(board), &model, place).context(128);
            let (mut internal, mut external) = (vec![0; board.chip.sram], vec![0; board.external_len()]);
            let memory = Memory { internal: &mut internal, external: &mut external };
            let mut session = Session::new(&model, source, memory, &options).expect("it fits");
            for (field, value) in [
                ("ram_used", session.stats().memory.internal),
                ("external_used", session.stats().memory.external),
                ("context", session.plan().context),
                ("batch", session.plan().batch),
                ("resident", session.plan().resident),
            ] {
                assert_eq!(said[field], value, "{field} of {args:?}");
            }
            session.push(&[1, 2, 3]).expect("there is room");
            block_on(session.next(&Sampling::GREEDY)).expect("a token");
            let before = session.stats().traffic;
            let id = block_on(session.next(&Sampling::GREEDY)).expect("another one").id;
            let after = session.stats().traffic;
            // The plan uses the vocabulary's first token; this token's row may lie in fewer or more sectors.
            let row =
                |id| if place == ModelPlace::Card { session.plan().embedding_traffic(&model, id).bytes } else { 0 };
            for (field, count) in [
                ("reads_per_token", after.reads - before.reads),
                ("bytes_per_token", after.bytes - before.bytes + row(0) - row(id)),
                ("seeks_per_token", after.seeks - before.seeks),
                ("resident_bytes_per_token", after.resident_bytes - before.resident_bytes),
            ] {
                assert_eq!(said[field], count, "{field} of {args:?}");
            }
        }
    }
}

#[test]
fn a_measured_bench_replaces_the_modelled_rates() {
    let line = "model file, 4.00 KiB at a time: 1.00 MB/s\nmodel file, 16.00 KiB at a time: 1.00 MB/s";
    let plan = |more: &[&str]| {
        let mut command = rillm(&["plan", "--board", "esp32-c3", "--source", "card"]);
        command.args(more);
        command
    };
    let [modelled, measured] = [&["--json"][..], &["--json", "--bench", line]].map(|more| json(&mut plan(more)));
    assert_eq!(measured["tokens_per_second_without_bench"], modelled["tokens_per_second"]);
    assert!(modelled["tokens_per_second_without_bench"].is_null());
    let constants = measured["constants"].as_array().expect("a list");
    let card = constants.iter().find(|constant| constant["name"] == "MB/s from the card").expect("a rate");
    assert_eq!((card["range"][0].as_f64(), card["source"].as_str()), (Some(1.0), Some("the board's /bench")));
    // All weights come from the card, at 1 MB/s.
    let most = 1e6 / measured["bytes_per_token"].as_f64().expect("bytes");
    assert!(measured["tokens_per_second"][1].as_f64().expect("a speed") < most);
    let models = Models::new();
    std::fs::write(models.at("bench.txt"), format!("> /bench\r\n{line}\r\n")).expect("a file");
    let shown = stdout(&mut plan(&["--bench", path(&models.at("bench.txt"))]));
    assert!(shown.contains("with the rates of its /bench") && shown.contains("without /bench"), "{shown}");
    let told = error(&mut plan(&["--bench", "no-such-file"]), 1);
    assert!(told.contains("--bench has no line"), "{told}");
}

#[test]
fn boards_are_listed() {
    for args in [&["plan"][..], &["plan", "--board"]] {
        let listed = stdout(&mut rillm(args));
        for board in boards::ALL {
            assert!(listed.contains(board.id) && listed.contains(board.name), "{listed}");
        }
    }
    let unknown = error(&mut rillm(&["plan", "--board", "arduino"]), 2);
    for board in boards::ALL {
        assert!(unknown.contains(board.id), "{unknown}");
    }
    assert_eq!(json(&mut rillm(&["plan", "--json"])).as_array().map(Vec::len), Some(boards::ALL.len()));
}

#[test]
fn a_model_of_the_board_is_called_one() {
    let said = stdout(&mut rillm(&["plan", "--board", "esp32-cam"]));
    for words in
        ["by a model of the board, not a measurement", "tokens/s", "kv cache", "PSRAM", "seeks", "MB/s from the card"]
    {
        assert!(said.contains(words), "{words} in {said}");
    }
    let [low, high] = ["/tokens_per_second/0", "/tokens_per_second/1"].map(|at| {
        let said = json(&mut rillm(&["plan", "--board", "esp32-cam", "--json"]));
        assert_eq!(said["modelled"], true);
        said.pointer(at).and_then(serde_json::Value::as_f64).expect("a number")
    });
    assert!(0.0 < low && low < high, "{low} {high}");
}

#[test]
fn a_model_is_planned_where_the_board_reads_it_fastest() {
    let source =
        |arguments: &[&str]| json(&mut rillm(&[&["plan", "--json", "--board"], arguments].concat()))["source"].clone();
    assert_eq!(source(&["esp32-c3"]), "flash");
    assert_eq!(source(&["esp32-c6", "--source", "card"]), "card");
    assert_eq!(source(&["esp32-cam"]), "card");
}

#[test]
fn what_does_not_fit_is_said_with_a_remedy() {
    let little = error(&mut rillm(&["plan", "--board", "esp32-c3", "--context", "512"]), 1);
    assert!(little.contains("bytes of memory are") && little.contains("ask for a context of at most"), "{little}");

    let models = Models::converted();
    let file = models.file();
    let too_long = error(&mut rillm(&["plan", "--board", "esp32-c3", "--model", path(&file), "--context", "97"]), 1);
    assert!(too_long.contains("the 96 tokens"), "{too_long}");

    // A file with extra bytes at its end is a valid model, but too long for the flash.
    let mut bytes = std::fs::read(&file).expect("a file");
    bytes.resize(4 << 20, 0);
    std::fs::write(&file, bytes).expect("written");
    let flash = ["plan", "--board", "esp32-c3", "--model", path(&file), "--source", "flash"];
    let too_large = error(&mut rillm(&flash), 1);
    assert!(too_large.contains("4,194,304 bytes") && too_large.contains("--source card"), "{too_large}");
    rillm(&["plan", "--board", "esp32-s3-devkitc", "--model", path(&file), "--source", "flash"]).assert().success();
}
