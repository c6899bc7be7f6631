//! The console, with scripted input and the bundled model.

use std::fmt;

use crate::support::{BOARD, INT4, MODEL, One, RAM, RESCORING, Script, TestBoard, bundled, converse, run};
use rillm::Faulty;
use rillm::format::{Header, SectionKind};
use rillm::{
    Bytes, Memory, Model, Plan, PlanOptions, Q16, Residency, SECTOR_LEN, Sampling, Sector, Session, WeightSource,
    block_on,
};
use rillm_console::Board;
use rillm_generate::number::{Bytes as Size, Grouped};
use rillm_generate::{Check, Generation, Step, Unit};
use serde_json::{Value, json};

/// The text and the check line of a session without the console.
fn direct(file: &[u8], prompt: &str, sampling: Sampling, max_tokens: usize) -> (String, String) {
    let mut source = Bytes::copied(file);
    let model = block_on(Model::open(&mut source)).unwrap();
    let mut ram = vec![0; RAM];
    let mut session = Session::new(&model, source, Memory::internal(&mut ram), &PlanOptions::default()).unwrap();
    block_on(session.push_text(prompt)).unwrap();
    let mut generation = Generation::new(&model, prompt, sampling).max_tokens(max_tokens).with_fingerprint();
    let mut text = prompt.to_owned();
    loop {
        match block_on(generation.step(&mut session)).unwrap() {
            Step::Prefill => {}
            Step::Token(pieces) => text.extend(pieces),
            Step::Done(_) => break,
        }
    }
    text.extend(generation.finish());
    let check = Check { ids: session.tokens(), logits: generation.fingerprint().unwrap() }.to_string();
    (text.replace('\n', "\r\n"), check)
}

const GREEDY_12: &str = "/temp 0\r/max 12\r/check on\r";

#[test]
fn the_text_is_what_a_session_gives() {
    let (text, check) = direct(MODEL, "Once upon a time", Sampling::GREEDY, 12);
    let seen = converse(&format!("{GREEDY_12}Once upon a time\r"));
    assert!(seen.contains(&format!("> Once upon a time\r\n{text}\r\n12 tokens at ")), "{seen}");
    assert!(seen.contains(&format!("\r\n{check}\r\n> ")), "{seen}");
    // The same check line as in `docs/console.md`, and as `rillm run --temperature 0 -n 12 --check` prints it.
    assert!(check.ends_with(" 338 432, logits 97769a74"), "{check}");

    let drawn = Sampling::GREEDY.temperature(Q16::thousandths(800)).top_p(Q16::thousandths(950)).seed(7);
    let (text, _) = direct(MODEL, "Anna", drawn, 20);
    let seen = converse("/seed 7\n/max 20\nAnna\nAnna\n");
    assert_eq!(seen.matches(&format!("\r\n{text}\r\n")).count(), 2, "{seen}");
    assert_eq!(seen.matches(" · seed 7\r\n").count(), 2, "{seen}");
}

#[test]
fn weights_of_4_bits_and_logits_that_are_computed_again_give_what_a_session_gives() {
    for file in [INT4, RESCORING] {
        let (text, check) = direct(file, "and", Sampling::GREEDY, 6);
        let mut script = Script::new("/chat off\r/temp 0\r/max 6\r/check on\rand\r");
        let seen = run(&mut script, async |_| Ok::<_, &str>((Bytes::copied(file), "a file in memory")));
        assert!(seen.contains(&format!("> and\r\n{text}\r\n6 tokens at ")), "{text:?} in {seen}");
        assert!(seen.contains(&format!("\r\n{check}\r\n> ")), "{check} in {seen}");
    }
}

#[test]
fn the_likeliest_text_is_chosen() {
    let prompt = "Every night, he looked at the";
    let seen = converse(&format!("/choose {prompt} | sun | moon\r/choose {prompt} |sun|moon  \r"));
    // As `rillm choose --prompt "Every night, he looked at the " --option sun --option moon` says.
    assert!(seen.contains("\r\n-9.494129 sun\r\n-0.000168 moon\r\nchoice: 1, moon\r\n> "), "{seen}");
    assert!(!seen.contains("the moon"), "{seen}");
    assert_eq!(seen.matches(" moon\r\nchoice: ").count(), 2, "{seen}");
    assert_eq!(seen.matches("-9.494129 sun").count(), 1, "{seen}");
    for (line, expected) in [
        ("the", "there is nothing to choose from; type /choose PROMPT | TEXT | TEXT\r\n> "),
        ("the | moon | moon", "the texts with the indices 0 and 1 have the same tokens; leave one out\r\n> "),
        ("the | moon |", "the text with index 1 has no tokens"),
        (&"a|".repeat(22), "there are more than 20 texts; leave some out\r\n> "),
        (&format!("the {}| moon", "x ".repeat(200)), " and there is room for 109; shorten it\r\n> "),
    ] {
        let seen = converse(&format!("/choose {line}\r"));
        assert!(seen.contains(expected), "{expected:?} in {seen}");
    }
    let seen = converse(&format!("/choose {prompt} | sun | moon\r\x03/max\r"));
    assert!(!seen.contains("choice: ") && seen.contains("max 256"), "{seen}");
}

#[test]
fn a_failed_read_does_not_change_the_choice() {
    let open = async |_: Option<&str>| Ok::<_, &str>((Faulty::new(Bytes::copied(MODEL), 60), "a file"));
    let seen = run(&mut Script::new("/choose Every night, he looked at the | sun | moon\r"), open);
    assert!(seen.contains("[cannot read the model: a planned fault - trying again, 1 of 3]\r\n"), "{seen}");
    assert!(seen.contains("\r\n-9.494129 sun\r\n-0.000168 moon\r\nchoice: 1, moon\r\n> "), "{seen}");
}

#[test]
fn the_report_says_where_the_user_is() {
    let seen = converse("");
    for expected in [
        "rillm 0.1.0 on a test\r\n",
        "model: rill-tales-1m, ",
        "1,369,728 parameters, 6 layers, vocabulary 2,048, context 512\r\n",
        "\r\na file in memory\r\n",
        "RAM ",
        " of 128.00 KiB, context ",
        "\r\n  kv cache            86.86 KiB\r\n",
        " a token, read in chunks of ",
        "/help.\r\n> \r\n",
    ] {
        assert!(seen.contains(expected), "{expected:?} in {seen}");
    }
    assert!(seen.is_ascii());
}

#[test]
fn a_board_may_plan_for_a_context() {
    struct Spread;
    impl Board for Spread {
        fn name(&self) -> &str {
            "a board that plans"
        }

        fn plan_options(&self, _: &Model) -> PlanOptions {
            PlanOptions::default().context(10).residency(Residency::Spread { most: 20_000 })
        }
    }
    let mut script = Script::new("/max 99\rOnce upon a time\r");
    block_on(rillm_console::run(&mut script, &Spread, One(bundled), &mut vec![0; RAM], &mut [])).unwrap();
    let seen = script.seen();
    assert!(seen.contains("; 19.50 KiB resident, spread among them\r\n"), "{seen}");
    assert!(seen.contains(", context 10, batches of ") && seen.contains(", context of 10 full"), "{seen}");
}

#[test]
fn statistics_are_in_the_words_of_the_command() {
    let seen = converse("/temp 0\r/max 5\rOnce upon a time\r");
    let line = seen.lines().find(|line| line.starts_with("5 tokens at ")).unwrap();
    // The test's clock advances by a thousand with each reading.
    assert!(line.contains(" steps a token, /max reached · RAM "), "{line}");
    assert!(line.contains(" of 128.00 KiB · ") && line.contains(" reads and "), "{line}");
    assert!(line.ends_with(" seeks a token · seed 1"), "{line}");
}

#[test]
fn each_text_has_the_next_seed_until_one_is_set() {
    let seen = converse("/max 1\rA\rA\r/seed 40\rA\rA\r/seed\r/reset\r/seed\rA\r");
    let seeds: Vec<&str> = seen.lines().filter_map(|line| line.split(" · seed ").nth(1)).collect();
    assert_eq!(seeds, ["1", "2", "40", "40", "1"], "{seen}");
    assert!(seen.contains("seed 40, for every text\r\n"), "{seen}");
    assert!(seen.contains("seed 1, then one more for each text\r\n"), "{seen}");
}

#[test]
fn settings_are_shown_set_and_kept() {
    for (typed, expected) in [
        ("/temp", "temp 0.8"),
        ("/temp 1.25", "temp 1.25"),
        ("/temp warm", "`warm` cannot be taken: it is no number; write it as 1 or 0.8; still temp 0.8"),
        ("/temp -1", "`-1` cannot be taken: it must be 0 to 100; still temp 0.8"),
        ("/top_p", "top_p 0.95"),
        ("/top_p 2", "`2` cannot be taken: it must be 0 to 1; still top_p 0.95"),
        ("/top_k", "top_k 0, the whole vocabulary"),
        ("/top_k 256", "top_k 256"),
        (
            "/top_k 257",
            "`257` cannot be taken: it must be a whole number, 0 to 256; still top_k 0, the whole vocabulary",
        ),
        ("/max", "max 256 tokens"),
        ("/max 0", "`0` cannot be taken: it must be a whole number, 1 to 4294967295; still max 256 tokens"),
        (
            "/seed x",
            "`x` cannot be taken: it must be a whole number from 0 on, below 2^64; still seed 1, then one more for each text",
        ),
        ("/stop", "stop before no string"),
        ("/stop the end", "stop before `the end`"),
        (&format!("/stop {}", "x".repeat(64)), &format!("stop before `{}`", "x".repeat(64))),
        (
            &format!("/stop {}", "x".repeat(65)),
            &format!(
                "`{}` cannot be taken: it must have at most 64 bytes; still stop before no string",
                "x".repeat(65)
            ),
        ),
        ("/check", "check off"),
        ("/check on", "check on"),
        ("/check 1", "`1` cannot be taken: it must be on or off; still check off"),
        ("/verbose", "there is no command `/verbose`; /help lists them"),
        ("/help me", "/help takes no value, and there is `me`; type /help alone"),
        ("/model", "model: rill-tales-1m, "),
        ("/help", "Type the beginning of a text; the model continues it."),
        ("/reset", "the text is forgotten, the settings are those of the start"),
    ] {
        let seen = converse(&format!("{typed}\r"));
        assert!(seen.contains(&format!("> {typed}\r\n{expected}")), "{typed}: {seen}");
        assert!(seen.ends_with("\r\n> \r\n"), "{seen}");
    }
    let seen = converse("/temp 0.5\r/temp x\r/temp\r/reset\r/temp\r");
    assert!(seen.contains("still temp 0.5\r\n> /temp\r\ntemp 0.5\r\n"), "{seen}");
    assert!(seen.contains("> /temp\r\ntemp 0.8\r\n"), "{seen}");
}

#[test]
fn a_stop_string_ends_a_text_and_is_left_out() {
    let (text, _) = direct(MODEL, "Once upon a time", Sampling::GREEDY, 40);
    // The stop string spans one or two token boundaries.
    let (before, _) = text.split_once("the highest").unwrap();
    let seen = converse("/temp 0\r/max 40\r/stop the highest\rOnce upon a time\r/stop\rOnce upon a time\r");
    assert!(seen.contains(&format!("\r\n{before}\r\n")), "{seen}");
    assert_eq!(seen.matches(", stop string found · RAM ").count(), 1, "{seen}");
    // After clearing the stop string, the text is complete.
    assert!(seen.contains(&format!("> /stop\r\nstop before no string\r\n> Once upon a time\r\n{text}\r\n")), "{seen}");
    // Held-back text that might have started a stop string is printed at the end.
    let seen = converse("/temp 0\r/max 12\r/stop of an oak\rOnce upon a time\r");
    assert!(seen.contains("branch of an\r\n12 tokens at "), "{seen}");
}

#[test]
fn every_top_k_that_can_be_set_runs() {
    let seen = converse("/max 3\r/top_k 256\rA\r/top_k 1\rA\r/top_p 0\rA\r");
    assert_eq!(seen.matches(" tokens at ").count(), 3, "{seen}");
    assert!(!seen.contains('['), "{seen}");
}

#[test]
fn statistics_since_the_start() {
    let seen = converse("/stats\r/temp 0\r/max 4\rOnce\r/stats\r");
    assert!(seen.contains("> /stats\r\n0 tokens in 0 passes"), "{seen}");
    let last = seen.rsplit("> /stats\r\n").next().unwrap();
    assert!(last.contains(" bytes in ") && last.contains(" reads and ") && last.contains(" seeks; "), "{last}");
    assert!(last.contains(" steps computing and waiting:\r\n  tokenizer ") && last.contains(" %\r\n"), "{last}");
    assert!(last.contains("\r\nstack: 1,234 of 4,096 bytes at most\r\n"), "{last}");
}

#[test]
fn ctrl_c_ends_a_text_after_the_token_at_hand() {
    let (text, _) = direct(MODEL, "Once upon a time", Sampling::GREEDY, 200);
    // Typed after ten letters of the text. Input before Ctrl-C is discarded, input after it is kept.
    let typed_at = text[.."Once upon a time".len() + 10].to_owned();
    let mut script = Script::new("/temp 0\rOnce upon a time\r");
    script.when(&typed_at, "lost\r\x18/max\r");
    let seen = run(&mut script, bundled);
    let answer = seen.split("> Once upon a time\r\n").nth(1).unwrap().split("\r\n").next().unwrap();
    assert!(answer.len() < text.len() && text.starts_with(answer), "{answer}");
    assert!(seen.contains(", interrupted · RAM "), "{seen}");
    assert!(seen.contains("> /max\r\nmax 256 tokens\r\n"), "{seen}");
    assert!(!seen.contains("lost"), "{seen}");
}

#[test]
fn what_is_typed_ahead_is_kept() {
    let seen = converse("/temp 0\r/max 3\rOnce\rThe fox\r/max\r");
    assert!(seen.contains("> The fox\r\nThe fox") && seen.ends_with("> /max\r\nmax 3 tokens\r\n> \r\n"), "{seen}");
    // More input than the type-ahead buffer holds.
    let many = "/temp\r".repeat(100);
    let seen = converse(&format!("/max 3\rOnce\r{many}"));
    assert_eq!(seen.matches("> /temp\r\ntemp 0.8\r\n").count(), 100);
}

#[test]
fn lines_are_edited() {
    let seen = converse("/tenp\x08\x08mp\r/tmp\x1b[D\x1b[De\r/temp 1\x15/max\r\x1b[A\rgarbage\x03/seed\r");
    assert_eq!(seen.matches("temp 0.8\r\n").count(), 2, "{seen}");
    assert!(seen.contains("/tenp\x08 \x08\x08 \x08mp\r\n"), "{seen}");
    assert_eq!(seen.matches("max 256 tokens\r\n").count(), 2, "{seen}");
    assert!(seen.contains("garbage^C\r\n> /seed\r\nseed 1"), "{seen}");
}

#[test]
fn a_line_that_is_too_long_rings_the_bell() {
    let seen = converse(&format!("/{}\r/max\r", "x".repeat(600)));
    assert_eq!(seen.matches('\x07').count(), 89, "{seen}");
    assert!(seen.contains("there is no command `/xxx") && seen.contains("max 256 tokens\r\n"), "{seen}");
}

#[test]
fn a_line_without_an_end_counts() {
    assert!(converse("/max").ends_with("> /max\r\nmax 256 tokens\r\n> \r\n"));
}

#[test]
fn a_prompt_that_is_too_long_is_refused() {
    let seen = converse(&format!("{}\r/max\r", "o ".repeat(255)));
    assert!(seen.contains("tokens and there is room for ") && seen.contains("; shorten it\r\n> /max\r\n"), "{seen}");
}

#[test]
fn marks_and_scripts_are_prompts() {
    for prompt in ["</s>", "狐狸 😀", " /temp", "e\u{301}"] {
        let seen = converse(&format!("/max 2\r{prompt}\r"));
        assert!(seen.contains(&format!("> {prompt}\r\n{prompt}")), "{seen}");
        assert!(seen.contains(" tokens at "), "{seen}");
    }
}

#[test]
fn a_read_that_fails_is_repeated_and_the_tokens_stay() {
    let (_, check) = direct(MODEL, "Once upon a time", Sampling::GREEDY, 12);
    // Fails at every read after those of opening the model.
    let mut struck = 0;
    for reads in (9..200).step_by(13) {
        let mut script = Script::new(&format!("{GREEDY_12}Once upon a time\r"));
        let seen = run(&mut script, async |_| Ok::<_, &str>((Faulty::new(Bytes::copied(MODEL), reads), "faulty")));
        struck += seen.matches("\r\n[cannot read the model: a planned fault - trying again, 1 of 3]\r\n").count();
        assert!(seen.contains(&format!("\r\n{check}\r\n")), "{reads}: {seen}");
    }
    assert!(struck > 5, "{struck}");
}

/// A source that fails permanently from a certain read on, or returns wrong bytes once.
struct Pulled {
    inner: Bytes<'static>,
    reads: u64,
    flip: bool,
}

impl WeightSource for Pulled {
    type Error = &'static str;

    async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), &'static str> {
        self.reads = self.reads.wrapping_sub(1);
        if !self.flip && self.reads > u64::MAX / 2 {
            return Err("the card did not answer");
        }
        self.inner.read(first, buf).await.map_err(|_| "past the end")?;
        if self.flip && self.reads == 0 {
            buf[SECTOR_LEN / 2] ^= 4;
        }
        Ok(())
    }
}

#[test]
fn a_card_that_was_pulled_out_is_opened_again() {
    let mut script = Script::new("/max 5\rOnce\rOnce\r");
    let mut opened = 0;
    let seen = run(&mut script, async |_| {
        opened += 1;
        match opened {
            1 => Ok((Pulled { inner: Bytes::copied(MODEL), reads: 60, flip: false }, "a card")),
            2 => Err("no card answers: put one in"),
            _ => Ok((Pulled { inner: Bytes::copied(MODEL), reads: u64::MAX / 2, flip: false }, "a card")),
        }
    });
    assert_eq!(opened, 3);
    for n in 1..=3 {
        let line = format!("[cannot read the model: the card did not answer - trying again, {n} of 3]\r\n");
        assert_eq!(seen.matches(&line).count(), 1, "{seen}");
    }
    assert!(seen.contains("given up; check that the card sits firmly, then enter the text again]\r\n"), "{seen}");
    // The first file that can be used is opened, here the same one.
    assert!(seen.contains("cannot open one.rillm: no card answers: put one in\r\nmodel: rill-tales-1m"), "{seen}");
    assert!(seen.ends_with("> \r\n"), "{seen}");
}

#[test]
fn a_damaged_transfer_is_repeated() {
    let (_, check) = direct(MODEL, "Once upon a time", Sampling::GREEDY, 12);
    let mut struck = 0;
    for reads in 60..75 {
        let mut script = Script::new(&format!("{GREEDY_12}Once upon a time\r"));
        let seen = run(&mut script, async |_| {
            Ok::<_, &str>((Pulled { inner: Bytes::copied(MODEL), reads, flip: true }, "a bad wire"))
        });
        struck += seen.matches("checksum").count();
        if seen.contains("checksum") {
            assert!(seen.contains("trying again, 1 of 3]") && seen.contains(&format!("\r\n{check}\r\n")), "{seen}");
        }
    }
    assert!(struck > 5, "{struck}");
}

#[test]
fn a_bit_of_a_tensors_header_that_flips_is_read_again() {
    struct Flipping {
        inner: Bytes<'static>,
        byte: u64,
        struck: bool,
    }
    impl WeightSource for Flipping {
        type Error = <Bytes<'static> as WeightSource>::Error;
        async fn read(&mut self, first: Sector, buf: &mut [u8]) -> Result<(), Self::Error> {
            self.inner.read(first, buf).await?;
            let start = u64::from(first.0) * SECTOR_LEN as u64;
            if !self.struck && (start..start + buf.len() as u64).contains(&self.byte) {
                buf[(self.byte - start) as usize] ^= 4;
                self.struck = true;
            }
            Ok(())
        }
    }
    let (_, check) = direct(MODEL, "Once upon a time", Sampling::GREEDY, 12);
    let header = Header::parse(MODEL.first_chunk().unwrap()).unwrap();
    let tape = header.section(SectionKind::Tape).unwrap();
    // Fields of the first tensor: kind, quantisation, layer, rows and columns.
    for at in [0, 1, 4, 8, 12] {
        let mut script = Script::new(&format!("{GREEDY_12}Once upon a time\r"));
        let seen = run(&mut script, async |_| {
            let source = Flipping { inner: Bytes::copied(MODEL), byte: tape.offset + at, struck: false };
            Ok::<_, &str>((source, "a bad wire"))
        });
        assert!(seen.contains("trying again, 1 of 3]") && seen.contains(&format!("\r\n{check}\r\n")), "{seen}");
    }
}

#[test]
fn no_model_at_the_start_waits_for_enter() {
    let mut script = Script::new("\r/model GOOD\r/max 1\rOnce\r");
    let mut names = Vec::new();
    let seen = run(&mut script, async |name: Option<&str>| {
        names.push(name.map(str::to_owned));
        match name {
            Some("GOOD") => Ok((Bytes::copied(MODEL), "a file in memory")),
            _ => Err("there is no .rillm file; copy one to the card"),
        }
    });
    assert_eq!(names, [None, None, Some("GOOD".to_owned())]);
    let refused = "cannot open one.rillm: there is no .rillm file; copy one to the card\r\nEnter tries again, /model";
    assert_eq!(seen.matches(refused).count(), 2, "{seen}");
    assert!(seen.contains("1 token at "), "{seen}");
}

#[test]
fn a_damaged_file_is_said() {
    for (bytes, expected) in [
        (&MODEL[..SECTOR_LEN], "the file ends after 512 bytes"),
        (&MODEL[..0], "the file ends after 0 bytes"),
        (&MODEL[512..], "not a .rillm file"),
    ] {
        let mut script = Script::new("\r");
        let seen = run(&mut script, async |_| Ok::<_, &str>((Bytes::copied(bytes), "damaged")));
        assert_eq!(seen.matches("cannot open one.rillm: ").count(), 2, "{seen}");
        assert!(seen.contains(expected), "{seen}");
    }
}

#[test]
fn another_file_is_opened_by_name_and_a_missing_one_is_no_loss() {
    let mut script = Script::new("/max 2\r/model B\r/model C\r/max\rOnce\r/model\r");
    let mut names = Vec::new();
    let seen = run(&mut script, async |name: Option<&str>| {
        names.push(name.map(str::to_owned));
        if name == Some("C") { Err("there is no file C") } else { Ok((Bytes::lent(MODEL), "flash")) }
    });
    assert_eq!(names, [None, Some("B".to_owned()), Some("C".to_owned()), Some("B".to_owned())]);
    assert!(seen.contains("cannot open C: there is no file C\r\nmodel: rill-tales-1m"), "{seen}");
    assert!(seen.contains("> /max\r\nmax 2 tokens\r\n"), "{seen}");
    assert!(seen.contains("weights: used where they lie\r\n"), "{seen}");
    assert!(seen.contains(" · nothing read · seed 1\r\n"), "{seen}");
    let seen = converse(&format!("/model {}\r/max\r", "n".repeat(65)));
    assert!(seen.contains("the name is longer than 64 bytes") && seen.contains("max 256 tokens\r\n"), "{seen}");
}

#[test]
fn memory_that_is_too_small_is_said() {
    let mut script = Script::new("\r");
    let (mut internal, mut external) = ([0; 2000], []);
    let open = async |_: Option<&str>| Ok::<_, &str>((Bytes::copied(MODEL), "a file"));
    block_on(rillm_console::run(&mut script, &BOARD, One(open), &mut internal, &mut external)).unwrap();
    assert!(script.seen().contains("cannot open one.rillm: 2000 bytes of memory are "), "{}", script.seen());
}

#[test]
fn a_second_memory_is_used_and_shown() {
    let (_, check) = direct(MODEL, "Once upon a time", Sampling::GREEDY, 12);
    let mut script = Script::new(&format!("{GREEDY_12}Once upon a time\r"));
    let (mut internal, mut external) = (vec![0; RAM], vec![0; 4 << 20]);
    let open = async |_: Option<&str>| Ok::<_, &str>((Bytes::copied(MODEL), "a file"));
    block_on(rillm_console::run(&mut script, &BOARD, One(open), &mut internal, &mut external)).unwrap();
    let seen = script.seen();
    assert!(seen.contains(" of 128.00 KiB and ") && seen.contains(" of 4.00 MiB"), "{seen}");
    assert!(seen.contains(" in external memory\r\n") && seen.contains("weights: all in memory\r\n"), "{seen}");
    assert!(seen.contains(&check), "{seen}");
}

#[test]
fn errors_of_the_byte_console_end_it() {
    let mut script = Script::new("/max\r");
    script.broken = true;
    let (mut internal, mut external) = (vec![0; RAM], []);
    let open = async |_: Option<&str>| Ok::<_, &str>((Bytes::copied(MODEL), "a file"));
    assert!(block_on(rillm_console::run(&mut script, &BOARD, One(open), &mut internal, &mut external)).is_err());
}
#[test]
fn the_console_itself_is_small() {
    let mut script = Script::new("");
    let future = rillm_console::run(&mut script, &BOARD, One(bundled), &mut [], &mut []);
    // Includes the model's tables, the session, and the engine's futures. On a board they are on the stack or in a
    // static.
    assert!(size_of_val(&future) <= 8 * 1024, "{}", size_of_val(&future));
}

#[test]
fn the_bench_proves_the_kernel_and_times_it() {
    let seen = run(&mut Script::new("/bench\r"), bundled);
    assert!(seen.contains("kernel: 500 of 500 random matrices"), "{seen}");
    assert!(seen.contains("rows of 1024:") && seen.contains("steps a weight"), "{seen}");
}

#[test]
fn a_self_test_looks_at_everything() {
    let seen = converse(&format!("{GREEDY_12}/selftest\rOnce upon a time\r"));
    for expected in [
        "> /selftest\r\nkernel: 500 of 500 random matrices multiplied as the definition has it\r\n",
        "\r\ninternal memory: 131,072 bytes hold what is written\r\nmodel file: ",
        " bytes read, all checksums are right, ",
        " steps a byte\r\ntext: logits 97769a74, as everywhere\r\nselftest: passed\r\n> ",
    ] {
        assert!(seen.contains(expected), "{expected:?} in {seen}");
    }
    let (_, check) = direct(MODEL, "Once upon a time", Sampling::GREEDY, 12);
    assert!(seen.contains(&check), "{seen}");

    // A bit of the tokenizer, which no text may need.
    let mut source = Bytes::copied(MODEL);
    let model = block_on(Model::open(&mut source)).unwrap();
    let section = model.header().section(SectionKind::Tokenizer).unwrap();
    let mut file = MODEL.to_vec();
    file[(section.offset + section.len) as usize - 1] ^= 1;
    let file: &'static [u8] = file.leak();
    let open = async |_: Option<&str>| Ok::<_, &str>((Bytes::copied(file), "a file"));
    let (mut internal, mut external) = (vec![0; RAM], vec![0; 4 << 20]);
    let mut script = Script::new("/selftest\r");
    block_on(rillm_console::run(&mut script, &BOARD, One(open), &mut internal, &mut external)).unwrap();
    let seen = script.seen();
    assert!(seen.contains("\r\nexternal memory: 4,194,304 bytes hold what is written\r\n"), "{seen}");
    assert!(seen.contains("\r\nmodel file: tokenizer is damaged: checksum "), "{seen}");
    assert!(seen.contains("as everywhere\r\nselftest: failed\r\n"), "{seen}");

    let mut script = Script::new("/selftest\r");
    block_on(rillm_console::run(&mut script, &TestBoard(None), One(bundled), &mut vec![0; RAM], &mut [])).unwrap();
    assert!(script.seen().contains(", all checksums are right\r\n"), "{}", script.seen());
    let seen = converse("/selftest\r\x03");
    assert!(seen.contains("model file: stopped\r\n") && seen.contains("selftest: failed\r\n"), "{seen}");
}

#[test]
fn a_self_test_tells_a_failing_card() {
    let open = async |_: Option<&str>| Ok::<_, &str>((Faulty::new(Bytes::copied(MODEL), 12), "a file"));
    let seen = run(&mut Script::new("/selftest\r"), open);
    assert!(seen.contains("cannot read the model: a planned fault\r\n"), "{seen}");
    assert!(seen.contains("selftest: failed\r\n"), "{seen}");
}

#[test]
fn the_bench_reads_the_file_and_the_memories_and_gives_them_back() {
    let bench = |file: Bytes<'static>, internal: usize, external: usize, unit| {
        let mut script = Script::new("/temp 0\r/max 3\rOnce\r/bench\rOnce\r/stats\r");
        let board = TestBoard(Some(unit));
        let open = async |_: Option<&str>| Ok::<_, &str>((file, "a file"));
        block_on(rillm_console::run(&mut script, &board, One(open), &mut vec![0; internal], &mut vec![1; external]))
            .unwrap();
        let seen = script.seen();
        let texts: Vec<&str> = seen.lines().filter(|line| line.starts_with("Once")).collect();
        assert!(texts.len() == 2 && texts[0] == texts[1] && texts[0].len() > 8, "{seen}");
        // The totals of tokens exclude the reads of `/bench`, and the report is printed once.
        assert!(seen.contains("\r\n6 tokens in ") || seen.contains("\r\n8 tokens in "), "{seen}");
        assert_eq!(seen.matches("weights: ").count(), 2, "{seen}");
        let lines = seen.lines().filter(|line| line.starts_with("model file, ") || line.starts_with("external memory"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let micros = Unit::Time { per_second: 1_000_000 };
    // A thousand ticks for each of 64, 128, 32 and 8 reads.
    assert_eq!(
        bench(Bytes::copied(MODEL), 128 << 10, 0, micros),
        [
            "model file, 512 B at random places: 0.51 MB/s",
            "model file, 4.00 KiB at a time: 4.10 MB/s",
            "model file, 16.00 KiB at a time: 16.38 MB/s",
            "model file, 64.00 KiB at a time: 65.54 MB/s",
        ]
    );
    let steps = Unit::Count("steps");
    assert_eq!(
        bench(Bytes::copied(MODEL), 60_000, 4000, steps),
        [
            "model file, 512 B at random places: 1.95 steps a byte",
            "model file, 4.00 KiB at a time: 0.24 steps a byte",
            "model file, 16.00 KiB at a time: 0.06 steps a byte",
            "external memory: 0.25 steps a byte",
        ]
    );
    let lent = bench(Bytes::lent(MODEL), 128 << 10, 0, steps);
    assert!(lent.len() == 1 && lent[0].starts_with("model file, where it lies: 0.00 steps"), "{lent:?}");
}

#[test]
fn a_card_that_fails_while_it_is_timed_is_told() {
    let mut script = Script::new("/bench\r/max 1\rA\r");
    let seen = run(&mut script, async |_| Ok::<_, &str>((Faulty::new(Bytes::copied(MODEL), 100), "faulty")));
    assert!(seen.contains("cannot read the model: a planned fault\r\n> /max 1\r\n"), "{seen}");
    assert!(seen.contains("\r\n1 token at "), "{seen}");
}

#[test]
fn a_board_says_what_it_is_and_what_it_expects() {
    struct Talkative;
    impl Board for Talkative {
        fn name(&self) -> &str {
            "a test"
        }

        fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
            writeln!(out, "chip: one of many")
        }

        fn expect(&self, out: &mut dyn fmt::Write, model: &Model, plan: &Plan) -> fmt::Result {
            writeln!(out, "{} layers, {} positions", model.header().n_layers, plan.context)
        }

        fn stats(&self, out: &mut dyn fmt::Write) -> fmt::Result {
            writeln!(out, "temperature: fine")
        }
    }
    let mut script = Script::new("/stats\r");
    block_on(rillm_console::run(&mut script, &Talkative, One(bundled), &mut vec![0; RAM], &mut [])).unwrap();
    let seen = script.seen();
    assert!(seen.contains("rillm 0.1.0 on a test\r\nchip: one of many\r\nmodel: "), "{seen}");
    assert!(seen.contains(" resident\r\n6 layers, 109 positions\r\nType the beginning"), "{seen}");
    assert!(seen.ends_with(" resident\r\ntemperature: fine\r\n> \r\n"), "{seen}");
}

#[test]
fn statistics_tell_what_a_token_takes() {
    let seen = converse("/temp 0\r/max 4\rOnce\r/stats\r");
    let line = seen.lines().find(|line| line.contains(" steps a token: ")).filter(|line| line.contains("computing"));
    let line = line.unwrap();
    let number = |text: &str| text.replace(',', "").parse::<i64>().unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!([words[5], words[7], words[8], words[9], words[11]], ["computing,", "waiting", "for", "reads,", "took"]);
    let [total, compute, wait, read] = [words[0], words[4], words[6], words[12]].map(number);
    assert!((total - compute - wait).abs() <= 1 && read > 0 && wait >= read, "{line}");
}

#[test]
fn the_figures_of_stats_as_json() {
    let typed = |board: &dyn Board| {
        let mut script = Script::new("/temp 0\r/max 4\rOnce\r/stats\r/stats --json\r");
        block_on(rillm_console::run(&mut script, board, One(bundled), &mut vec![0; RAM], &mut vec![0; 40_000]))
            .unwrap();
        let seen = script.seen();
        let line = seen.rsplit("> /stats --json\r\n").next().unwrap().split_once("\r\n> ").unwrap().0.to_owned();
        (serde_json::from_str::<Value>(&line).expect(&line), seen)
    };
    let (json, seen) = typed(&BOARD);
    let number = |value: &Value| Grouped(value.as_u64().expect("a whole number")).to_string();
    let of = |name: &str| number(&json[name]);
    assert!(seen.contains(&format!("\r\n{} tokens in {} passes, ", of("tokens"), of("passes"))), "{seen}");
    let [bytes, reads, seeks] = ["bytes", "reads", "seeks"].map(of);
    assert!(seen.contains(&format!("\r\n{bytes} bytes in {reads} reads and {seeks} seeks; ")), "{seen}");
    let resident = json["resident_bytes"].as_u64().unwrap();
    assert!(seen.contains(&format!(" seeks; {} used in memory", Size(resident))), "{seen}");
    let memory = |name: &str| ["used", "given"].map(|of| Size(json["memory"][name][of].as_u64().unwrap()));
    let ([used, given], [external_used, external_given]) = (memory("internal"), memory("external"));
    assert!(seen.contains(&format!("RAM {used} of {given} and {external_used} of {external_given}, ")), "{seen}");
    assert_eq!(json["stack"], json!({ "used": 1234, "given": 4096 }));
    assert_eq!(json["clock"], json!({ "unit": "steps", "per_second": null }));
    let Value::Object(ticks) = &json["ticks"] else { panic!("{json}") };
    assert_eq!(ticks.len(), 11, "{json}");
    for (name, ticks) in ticks.iter().filter(|(name, _)| *name != "read") {
        assert!(seen.contains(&format!("\r\n  {name:<10} {:>20} steps ", number(ticks))), "{name}: {seen}");
    }
    assert!(ticks["read"].as_u64() > Some(0));

    let (json, _) = typed(&TestBoard(Some(Unit::Time { per_second: 1000 })));
    assert_eq!(json["clock"], json!({ "unit": "ticks", "per_second": 1000 }));
    struct Nameless;
    impl Board for Nameless {
        fn name(&self) -> &str {
            ""
        }
    }
    let (json, seen) = typed(&Nameless);
    assert_eq!(["clock", "ticks", "stack"].map(|field| &json[field]), [&Value::Null; 3], "{seen}");
}
