//! The C interface, called as C code calls it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::slice;

use rillm::format::Header;
use rillm::{Q16, Sampling};
use rillm_capi::{
    Config, End, Handle, MemoryPlan, Message, Setup, Stats, Status, rillm_deinit, rillm_error_message, rillm_generate,
    rillm_init, rillm_plan, rillm_stats, rillm_tokens,
};

use crate::support::{INT4, MODEL, RESCORING, expected};

const PROMPT: &str = if cfg!(miri) { "and" } else { "The little fox" };
/// Tokens of a text. Fewer under Miri, which is slow.
const TOKENS: usize = if cfg!(miri) { 3 } else { 24 };

/// A model behind a read function, and the errors to simulate.
struct Card<'a> {
    bytes: &'a [u8],
    reads_to_failure: Option<usize>,
}

impl<'a> Card<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, reads_to_failure: None }
    }

    fn setup(&mut self) -> Setup {
        Setup { read: Some(read), read_user: (&raw mut *self).cast(), ..NOTHING }
    }
}

unsafe extern "C" fn read(user: *mut c_void, first_sector: u32, buffer: *mut c_void, len: usize) -> c_int {
    // SAFETY: the test's card, and a buffer of `len` bytes.
    let (card, buffer) = unsafe { (&mut *user.cast::<Card<'_>>(), slice::from_raw_parts_mut(buffer.cast(), len)) };
    assert!(len > 0 && len.is_multiple_of(512));
    match &mut card.reads_to_failure {
        Some(0) => {
            card.reads_to_failure = None;
            buffer.fill(0xa5);
            return -5;
        }
        Some(reads) => *reads -= 1,
        None => {}
    }
    let start = first_sector as usize * 512;
    let Some(bytes) = card.bytes.get(start..start + len) else { return -6 };
    buffer.copy_from_slice(bytes);
    0
}

const NOTHING: Setup = Setup {
    read: None,
    read_user: null_mut(),
    model: null(),
    model_len: 0,
    memory: null_mut(),
    memory_len: 0,
    large: null_mut(),
    large_len: 0,
    context: 0,
};

fn lent(model: &[u8]) -> Setup {
    Setup { model: model.as_ptr().cast(), model_len: model.len(), ..NOTHING }
}

fn with_memory(setup: Setup, memory: &mut [u8]) -> Setup {
    Setup { memory: memory.as_mut_ptr().cast(), memory_len: memory.len(), ..setup }
}

const GREEDY: Config = Config { max_tokens: TOKENS as u32, temperature: 0.0, top_k: 0, top_p: 0.0, seed: 0 };

/// The text that a callback receives, and when to stop.
#[derive(Default)]
struct Listener {
    text: String,
    calls: usize,
    stop_at: Option<usize>,
    /// A handle to use from within the callback, and the results.
    handle: Option<*mut Handle>,
    misuse: Vec<Status>,
}

unsafe extern "C" fn listen(user: *mut c_void, text: *const c_char, len: usize) -> c_int {
    // SAFETY: the test's listener, and text of `len` bytes.
    let (listener, text) = unsafe { (&mut *user.cast::<Listener>(), slice::from_raw_parts(text.cast(), len)) };
    listener.text.push_str(std::str::from_utf8(text).expect("whole characters"));
    if let Some(handle) = listener.handle {
        let mut stats = Stats::default();
        // SAFETY: valid pointers.
        listener.misuse = unsafe {
            assert_eq!(rillm_tokens(handle, null_mut(), 0), 0);
            let again = rillm_generate(handle, null(), &GREEDY, Some(listen), user, null_mut());
            vec![again, rillm_stats(handle, &mut stats), rillm_deinit(handle)]
        };
    }
    listener.calls += 1;
    c_int::from(listener.stop_at.is_some_and(|calls| listener.calls >= calls))
}

fn words(message: &Message) -> &str {
    // SAFETY: the text is zero-terminated.
    unsafe { CStr::from_ptr(message.text.as_ptr()) }.to_str().expect("UTF-8")
}

const NO_MESSAGE: Message = Message { text: [b'?' as c_char; 256] };

fn plan(setup: &Setup) -> (Status, MemoryPlan, String) {
    let (mut plan, mut message) = (MemoryPlan::default(), NO_MESSAGE);
    // SAFETY: valid pointers.
    let status = unsafe { rillm_plan(setup, &mut plan, &mut message) };
    (status, plan, words(&message).to_owned())
}

fn init(setup: &Setup) -> Result<*mut Handle, (Status, String)> {
    let (mut handle, mut message) = (std::ptr::dangling_mut(), NO_MESSAGE);
    // SAFETY: valid pointers.
    match unsafe { rillm_init(setup, &mut handle, &mut message) } {
        Status::RillmOk => {
            assert_eq!(words(&message), "");
            Ok(handle)
        }
        status => {
            assert!(handle.is_null());
            Err((status, words(&message).to_owned()))
        }
    }
}

fn generate(
    handle: *mut Handle,
    prompt: Option<&str>,
    config: &Config,
    listener: &mut Listener,
) -> Result<(), (Status, String)> {
    let prompt = prompt.map(|prompt| CString::new(prompt).expect("no zero"));
    let prompt = prompt.as_ref().map_or(null(), |prompt| prompt.as_ptr());
    let mut message = NO_MESSAGE;
    // SAFETY: valid pointers.
    match unsafe { rillm_generate(handle, prompt, config, Some(listen), (&raw mut *listener).cast(), &mut message) } {
        Status::RillmOk => {
            assert_eq!(words(&message), "");
            Ok(())
        }
        status => Err((status, words(&message).to_owned())),
    }
}

fn stats(handle: *mut Handle) -> Stats {
    let mut stats = Stats::default();
    // SAFETY: valid pointers.
    assert_eq!(unsafe { rillm_stats(handle, &mut stats) }, Status::RillmOk);
    stats
}

fn tokens(handle: *mut Handle) -> Vec<u32> {
    // SAFETY: copying no tokens needs no room.
    let mut tokens = vec![0; unsafe { rillm_tokens(handle, null_mut(), 0) }];
    // SAFETY: there is room for all of them.
    assert_eq!(unsafe { rillm_tokens(handle, tokens.as_mut_ptr(), tokens.len()) }, tokens.len());
    tokens
}

fn deinit(handle: *mut Handle) -> Status {
    // SAFETY: a handle, or a closed one in memory that is still there.
    unsafe { rillm_deinit(handle) }
}

/// Checks that the text of a setup with [`MODEL`] equals the engine's own.
fn check_text(setup: &Setup) -> Stats {
    check_text_of(MODEL, PROMPT, TOKENS, setup)
}

/// Checks that the text of a setup with a model equals the engine's own.
fn check_text_of(model: &'static [u8], prompt: &str, most: usize, setup: &Setup) -> Stats {
    let (status, plan, _) = plan(setup);
    assert_eq!(status, Status::RillmOk);
    assert!(plan.memory <= setup.memory_len && plan.large <= setup.large_len, "{plan:?}");
    let handle = init(setup).expect("opens");
    let mut listener = Listener::default();
    let config = Config { max_tokens: most as u32, ..GREEDY };
    generate(handle, Some(prompt), &config, &mut listener).expect("a text");
    let (text, ids) = expected(model, prompt, most, &Sampling::GREEDY);
    assert_eq!((listener.text, tokens(handle)), (text, ids.clone()));
    let stats = stats(handle);
    assert_eq!(stats.prompt_tokens as usize + most, ids.len());
    assert_eq!((stats.generated_tokens as usize, stats.end), (most, End::RillmEndMaxTokens));
    assert_eq!(stats.context, plan.context);
    assert_eq!(deinit(handle), Status::RillmOk);
    stats
}

#[test]
fn a_model_that_is_read_gives_the_engines_text_wherever_the_memory_starts() {
    let mut memory = vec![0xff; 128 << 10];
    for skip in if cfg!(miri) { 3..4 } else { 0..9 } {
        let mut card = Card::new(MODEL);
        let stats = check_text(&with_memory(card.setup(), &mut memory[skip..]));
        assert!(stats.reads > 0 && stats.seeks < stats.reads && stats.read_bytes > stats.reads * 512, "{stats:?}");
    }
}

#[test]
fn a_model_in_memory_gives_the_engines_text() {
    let mut memory = vec![0xff; 64 << 10];
    let stats = check_text(&with_memory(lent(MODEL), &mut memory));
    assert_eq!((stats.reads, stats.read_bytes), (0, 0));
    assert!(stats.resident_bytes > MODEL.len() as u64);
}

#[test]
fn weights_of_4_bits_and_logits_that_are_computed_again_give_the_engines_text() {
    let mut memory = vec![0xff; 12 << 10];
    for (model, rescoring) in [(INT4, false), (RESCORING, true)] {
        let header = Header::parse(model.first_chunk().expect("a sector")).expect("a model");
        assert_eq!(header.rescoring.is_some(), rescoring);
        let mut card = Card::new(model);
        let stats = check_text_of(model, "and", 6, &with_memory(card.setup(), &mut memory));
        // Rows are computed again beside the tape's reads of each token.
        assert_eq!(stats.reads > 60, rescoring, "{stats:?}");
        let stats = check_text_of(model, "and", 6, &with_memory(lent(model), &mut memory));
        assert_eq!(stats.reads, 0);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes long")]
fn a_second_memory_keeps_weights() {
    let (mut memory, mut large) = (vec![0xff; 64 << 10], vec![0xff; 1 << 20]);
    let mut card = Card::new(MODEL);
    let setup = with_memory(card.setup(), &mut memory);
    let setup = Setup { large: large.as_mut_ptr().cast(), large_len: large.len(), ..setup };
    let (_, plan, _) = plan(&setup);
    assert!(plan.large > 900 << 10 && plan.pinned > 500 << 10, "{plan:?}");
    let stats = check_text(&setup);
    assert!(stats.resident_bytes > 0, "{stats:?}");
}

#[test]
#[cfg_attr(miri, ignore = "takes long")]
fn sampling_is_the_engines() {
    let sampling = Sampling::GREEDY.temperature(Q16(1 << 15)).top_k(50).top_p(Q16(62259)).seed(7);
    let config = Config { temperature: 0.5, top_k: 50, top_p: 0.95, seed: 7, ..GREEDY };
    let mut memory = vec![0; 64 << 10];
    let handle = init(&with_memory(lent(MODEL), &mut memory)).expect("opens");
    let mut listener = Listener::default();
    generate(handle, Some(PROMPT), &config, &mut listener).expect("a text");
    let (text, _) = expected(MODEL, PROMPT, TOKENS, &sampling);
    assert_eq!(listener.text, text);
    assert_ne!(text, expected(MODEL, PROMPT, TOKENS, &Sampling::GREEDY).0);

    // Without a limit the text goes on to its end.
    let mut whole = Listener::default();
    generate(handle, Some("Once upon a time"), &Config::default(), &mut whole).expect("a text");
    let stats = stats(handle);
    assert!(matches!(stats.end, End::RillmEndOfText | End::RillmEndContextFull), "{stats:?}");
    assert_eq!(whole.text, expected(MODEL, "Once upon a time", stats.generated_tokens as usize, &Sampling::GREEDY).0);
}

#[test]
fn the_smallest_memory_works_and_a_byte_less_does_not() {
    for context in if cfg!(miri) { vec![1] } else { vec![0, 40, 300] } {
        for large_len in [0, 50_000] {
            let mut card = Card::new(MODEL);
            for setup in [card.setup(), lent(MODEL)] {
                let setup = Setup { context, large_len, ..setup };
                let (status, none, words) = plan(&setup);
                assert_eq!(status, Status::RillmErrorMemory, "{words}");
                assert!(none.smallest > 0 && none.memory == 0 && none.weights > 0);
                let (mut memory, mut large) = (vec![0; none.smallest], vec![0; large_len]);
                let large = if large_len == 0 { null_mut() } else { large.as_mut_ptr().cast() };
                let enough = Setup { large, ..with_memory(setup, &mut memory) };
                let (status, some, words) = plan(&enough);
                assert_eq!((status, words.as_str()), (Status::RillmOk, ""));
                assert_eq!((some.smallest, some.context), (none.smallest, context.max(1)));
                assert!(some.memory <= none.smallest, "{some:?}");
                let handle = init(&enough).expect("opens");
                assert_eq!(deinit(handle), Status::RillmOk);

                let short = Setup { memory_len: none.smallest - 1, ..enough };
                let (status, words) = init(&short).expect_err("a byte is missing");
                assert_eq!(status, Status::RillmErrorMemory);
                assert!(words.starts_with("setup.memory_len: ") && words.contains("too few"), "{words}");
            }
        }
    }
}

#[test]
fn a_text_that_was_stopped_goes_on() {
    let mut memory = vec![0; 64 << 10];
    let handle = init(&with_memory(lent(MODEL), &mut memory)).expect("opens");
    let mut whole = Listener::default();
    generate(handle, Some(PROMPT), &GREEDY, &mut whole).expect("a text");
    assert!(whole.calls >= TOKENS);

    // Stopped by the callback, at any point.
    let (mut text, mut generated, mut call) = (String::new(), 0, 1);
    let mut prompt = Some(PROMPT);
    while generated < TOKENS as u32 {
        let config = Config { max_tokens: TOKENS as u32 - generated, ..GREEDY };
        let mut listener = Listener { stop_at: Some(call), ..Listener::default() };
        generate(handle, prompt.take(), &config, &mut listener).expect("a part");
        text += &listener.text;
        let stats = stats(handle);
        assert!(matches!(stats.end, End::RillmEndStopped | End::RillmEndMaxTokens), "{stats:?}");
        generated += stats.generated_tokens;
        call = call % 5 + 1;
    }
    assert_eq!(text, whole.text);

    // Stopped by the number of tokens.
    let mut steps = Listener::default();
    prompt = Some(PROMPT);
    for _ in 0..TOKENS {
        generate(handle, prompt.take(), &Config { max_tokens: 1, ..GREEDY }, &mut steps).expect("a token");
    }
    assert_eq!(steps.text, whole.text);
    assert_eq!(deinit(handle), Status::RillmOk);
}

#[test]
#[cfg_attr(miri, ignore = "takes long")]
fn after_a_failed_read_the_text_goes_on_as_if_nothing_had_happened() {
    let (whole, _) = expected(MODEL, PROMPT, TOKENS, &Sampling::GREEDY);
    let mut memory = vec![0; 48 << 10];
    for reads in (0..40).chain((40..2000).step_by(37)) {
        let mut card = Card::new(MODEL);
        let handle = init(&with_memory(card.setup(), &mut memory)).expect("opens");
        card.reads_to_failure = Some(reads);
        let mut listener = Listener::default();
        let (status, words) = generate(handle, Some(PROMPT), &GREEDY, &mut listener).expect_err("fails");
        assert_eq!(status, Status::RillmErrorRead);
        assert!(words.contains("the read function returned -5 instead of 0 for "), "{words}");
        let stats = stats(handle);
        assert_eq!(stats.end, End::RillmEndNone);
        // The prompt itself may have failed. It is accepted as a whole or not at all.
        let prompt = (stats.prompt_tokens == 0).then_some(PROMPT);
        let config = Config { max_tokens: TOKENS as u32 - stats.generated_tokens, ..GREEDY };
        generate(handle, prompt, &config, &mut listener).expect("goes on");
        assert_eq!(listener.text, whole, "after {reads} reads");
        assert_eq!(deinit(handle), Status::RillmOk);
    }
}

#[test]
fn a_handle_that_is_in_use_or_not_open_is_refused() {
    let mut memory = vec![0; 64 << 10];
    let setup = with_memory(lent(MODEL), &mut memory);
    let handle = init(&setup).expect("opens");
    let mut listener = Listener { handle: Some(handle), stop_at: Some(1), ..Listener::default() };
    generate(handle, Some(PROMPT), &GREEDY, &mut listener).expect("a text");
    assert_eq!(listener.misuse, [Status::RillmErrorBusy; 3]);

    assert_eq!(deinit(handle), Status::RillmOk);
    assert_eq!(deinit(handle), Status::RillmErrorClosed);
    assert_eq!(deinit(null_mut()), Status::RillmOk);
    let (status, words) = generate(handle, Some(PROMPT), &GREEDY, &mut Listener::default()).expect_err("closed");
    assert_eq!((status, words.contains("rillm_init")), (Status::RillmErrorClosed, true), "{words}");
    let mut stats = Stats::default();
    // SAFETY: the memory is still there.
    assert_eq!(unsafe { rillm_stats(handle, &mut stats) }, Status::RillmErrorClosed);
    // SAFETY: the memory is still there.
    assert_eq!(unsafe { rillm_tokens(handle, null_mut(), 0) }, 0);

    // The memory can be used again.
    let handle = init(&setup).expect("opens again");
    assert_eq!(deinit(handle), Status::RillmOk);
}

#[test]
fn arguments_that_cannot_be_are_refused_with_a_reason() {
    let mut memory = vec![0; 64 << 10];
    let good = with_memory(lent(MODEL), &mut memory);
    let mut card = Card::new(MODEL);
    let both = Setup { read: card.setup().read, ..good };
    let within = Setup { large: good.memory.wrapping_byte_add(1000), large_len: 10, ..good };
    let onto = Setup { large: good.model.cast_mut(), large_len: 1, ..good };
    for (setup, reason) in [
        (Setup { memory: null_mut(), ..good }, "setup.memory is NULL"),
        (Setup { model: null(), model_len: 0, ..good }, "neither a read function nor a model"),
        (both, "both a read function and a model"),
        (Setup { large_len: 5, ..good }, "setup.large is NULL"),
        (Setup { memory_len: usize::MAX, ..good }, "setup.memory of "),
        (Setup { model_len: usize::MAX / 2 + 1, ..good }, "setup.model of "),
        (within, "setup.memory and setup.large overlap"),
        (onto, "setup.large and setup.model overlap"),
    ] {
        let (status, words) = init(&setup).expect_err(reason);
        assert_eq!(status, Status::RillmErrorArgument, "{words}");
        assert!(words.contains(reason), "{words}");
    }
    // SAFETY: null is accepted.
    unsafe {
        let (mut handle, mut plan) = (null_mut(), MemoryPlan::default());
        assert_eq!(rillm_init(&good, null_mut(), null_mut()), Status::RillmErrorArgument);
        assert_eq!(rillm_init(null(), &mut handle, null_mut()), Status::RillmErrorArgument);
        assert_eq!(rillm_plan(&good, null_mut(), null_mut()), Status::RillmErrorArgument);
        assert_eq!(rillm_plan(null(), &mut plan, null_mut()), Status::RillmErrorArgument);
        assert_eq!(rillm_stats(null_mut(), &mut Stats::default()), Status::RillmErrorArgument);
        assert_eq!(rillm_tokens(null_mut(), null_mut(), 0), 0);
    }

    let handle = init(&good).expect("opens");
    for (config, reason) in [
        (Config { temperature: f32::NAN, ..GREEDY }, "config.temperature is not a number"),
        (Config { temperature: -0.5, ..GREEDY }, "config.temperature is negative"),
        (Config { top_p: f32::NEG_INFINITY, ..GREEDY }, "config.top_p is negative"),
        (Config { temperature: 1.0, top_k: 257, ..GREEDY }, "config.top_k is 257; it must be at most 256"),
    ] {
        let (status, words) = generate(handle, Some(PROMPT), &config, &mut Listener::default()).expect_err(reason);
        assert_eq!(status, Status::RillmErrorArgument, "{words}");
        assert!(words.contains(reason), "{words}");
    }
    let mut user = Listener::default();
    let user = (&raw mut user).cast();
    // SAFETY: valid pointers, or null.
    unsafe {
        let mut message = NO_MESSAGE;
        let prompt = c"a\xff".as_ptr();
        let status = rillm_generate(handle, prompt, &GREEDY, Some(listen), user, &mut message);
        assert_eq!((status, words(&message).contains("at byte 1")), (Status::RillmErrorArgument, true));
        let status = rillm_generate(null_mut(), prompt, &GREEDY, Some(listen), user, null_mut());
        assert_eq!(status, Status::RillmErrorArgument);
        let status = rillm_generate(handle, prompt, null(), Some(listen), user, null_mut());
        assert_eq!(status, Status::RillmErrorArgument);
        let status = rillm_generate(handle, prompt, &GREEDY, None, user, null_mut());
        assert_eq!(status, Status::RillmErrorArgument);
        assert_eq!(rillm_stats(handle, null_mut()), Status::RillmErrorArgument);
    }
    assert_eq!(deinit(handle), Status::RillmOk);
    // There is no text yet to continue.
    let handle = init(&good).expect("opens");
    let (status, words) = generate(handle, None, &GREEDY, &mut Listener::default()).expect_err("nothing there");
    assert_eq!((status, words.contains("give a prompt first")), (Status::RillmErrorArgument, true), "{words}");
}

#[test]
fn models_that_are_none_and_prompts_that_are_too_long_are_refused() {
    let mut memory = vec![0; 64 << 10];
    let mut damaged = MODEL[..4096].to_vec();
    damaged[20] ^= 1;
    let long = "and then ".repeat(400);
    for (model, status, reason) in [
        (&damaged[..], Status::RillmErrorModel, "checksum"),
        (&[0; 512], Status::RillmErrorModel, "not a .rillm file"),
        (&MODEL[..0], Status::RillmErrorRead, "the file ends after 0 bytes"),
    ] {
        let mut card = Card::new(model);
        let read = init(&with_memory(card.setup(), &mut memory)).expect_err(reason);
        let found = init(&with_memory(lent(model), &mut memory)).expect_err(reason);
        assert_eq!((found.0, read.0), (status, status));
        assert!(found.1.contains(reason), "{}", found.1);
    }
    // An incomplete copy of a file opens, since opening reads only what it needs.
    let half = lent(&MODEL[..MODEL.len() / 2]);
    let handle = init(&with_memory(half, &mut memory)).expect("opens");
    let (status, words) = generate(handle, Some(""), &GREEDY, &mut Listener::default()).expect_err("half a model");
    assert_eq!((status, words.contains("not copied whole")), (Status::RillmErrorRead, true), "{words}");
    if !cfg!(miri) {
        let handle = init(&with_memory(lent(MODEL), &mut memory)).expect("opens");
        let (status, words) = generate(handle, Some(&long), &GREEDY, &mut Listener::default()).expect_err("long");
        assert_eq!((status, words.contains("shorten the prompt")), (Status::RillmErrorPromptTooLong, true), "{words}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "an interpreter's stack says nothing")]
fn a_stack_of_24_kib_is_enough() {
    let calls = || {
        let (mut memory, mut card) = (vec![0; 64 << 10], Card::new(MODEL));
        let setup = with_memory(card.setup(), &mut memory);
        let (mut plan, mut handle, mut message) = (MemoryPlan::default(), null_mut(), NO_MESSAGE);
        let config = Config { temperature: 0.8, top_p: 0.9, ..GREEDY };
        let mut listener = Listener::default();
        let user = (&raw mut listener).cast();
        // SAFETY: valid pointers.
        unsafe {
            assert_eq!(rillm_plan(&setup, &mut plan, &mut message), Status::RillmOk);
            assert_eq!(rillm_init(&setup, &mut handle, &mut message), Status::RillmOk);
            rillm_generate(handle, c"The little fox".as_ptr(), &config, Some(listen), user, &mut message)
        }
    };
    let thread = std::thread::Builder::new().stack_size(24 << 10).spawn(calls).expect("a thread");
    assert_eq!(thread.join().expect("no panic"), Status::RillmOk);
}

#[test]
fn a_status_has_words() {
    // SAFETY: a zero-terminated constant.
    let words = |status| unsafe { CStr::from_ptr(rillm_error_message(status)) }.to_str().expect("UTF-8");
    assert!(words(Status::RillmErrorMemory as i32).contains("rillm_plan"));
    assert!(words(99).contains("no status"));
}
