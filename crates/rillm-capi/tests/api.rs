//! The C interface, called as C code calls it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::slice;

use rillm::format::Header;
use rillm::{Bytes, Chat, Choice, Memory, Model, Nats, PlanOptions, Q16, Sampling, Session, block_on};
use rillm_capi::{
    Config, End, Handle, MemoryPlan, Message, Setup, Stats, Status, Work, rillm_chat, rillm_choose, rillm_deinit,
    rillm_error_message, rillm_generate, rillm_init, rillm_multiply, rillm_plan, rillm_push, rillm_reset,
    rillm_restore, rillm_save, rillm_stats, rillm_tokenize, rillm_tokens,
};

#[cfg(not(miri))]
use crate::support::chat_model::MODEL as CHAT_MODEL;
use crate::support::{INT4, MODEL, RESCORING, TINY, expected};
#[cfg(not(miri))]
use rillm_generate::{Generation, Step};

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
    external: null_mut(),
    external_len: 0,
    context: 0,
    batch: 0,
    chunk: 0,
    share: None,
    share_user: null_mut(),
    parts: 0,
};

fn lent(model: &[u8]) -> Setup {
    Setup { model: model.as_ptr().cast(), model_len: model.len(), ..NOTHING }
}

fn with_memory(setup: Setup, memory: &mut [u8]) -> Setup {
    Setup { memory: memory.as_mut_ptr().cast(), memory_len: memory.len(), ..setup }
}

const GREEDY: Config = Config {
    max_tokens: TOKENS as u32,
    temperature: 0.0,
    top_k: 0,
    top_p: 0.0,
    min_p: 0.0,
    repeat_penalty: 0.0,
    seed: 0,
    stop: null(),
    stop_count: 0,
};

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

fn push(handle: *mut Handle, text: &str) -> Result<(), (Status, String)> {
    let text = CString::new(text).expect("no zero");
    let mut message = NO_MESSAGE;
    // SAFETY: valid pointers.
    match unsafe { rillm_push(handle, text.as_ptr(), &mut message) } {
        Status::RillmOk => Ok(()),
        status => Err((status, words(&message).to_owned())),
    }
}

/// The index of the likeliest text, and the logarithm of each probability.
fn choose(handle: *mut Handle, prompt: &str, texts: &[&str]) -> Result<(usize, Vec<f64>), (Status, String)> {
    let prompt = CString::new(prompt).expect("no zero");
    let texts: Vec<CString> = texts.iter().map(|&text| CString::new(text).expect("no zero")).collect();
    let texts: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
    let (mut choice, mut message, mut logarithms) = (usize::MAX, NO_MESSAGE, vec![1.0; texts.len()]);
    // SAFETY: valid pointers, and room for as many numbers as there are texts.
    let status = unsafe {
        let logarithms = logarithms.as_mut_ptr();
        rillm_choose(handle, prompt.as_ptr(), texts.as_ptr(), texts.len(), logarithms, &mut choice, &mut message)
    };
    if status == Status::RillmOk {
        return Ok((choice, logarithms));
    }
    assert!(choice == usize::MAX && logarithms.iter().all(|&logarithm| logarithm == 1.0));
    Err((status, words(&message).to_owned()))
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
    assert!(plan.memory <= setup.memory_len && plan.external <= setup.external_len, "{plan:?}");
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
    let (mut memory, mut external) = (vec![0xff; 64 << 10], vec![0xff; 1 << 20]);
    let mut card = Card::new(MODEL);
    let setup = with_memory(card.setup(), &mut memory);
    let setup = Setup { external: external.as_mut_ptr().cast(), external_len: external.len(), ..setup };
    let (_, plan, _) = plan(&setup);
    assert!(plan.external > 900 << 10 && plan.resident > 500 << 10, "{plan:?}");
    let stats = check_text(&setup);
    assert!(stats.resident_bytes > 0, "{stats:?}");
}

#[test]
#[cfg_attr(miri, ignore = "takes long")]
fn a_choice_is_the_engines() {
    const TEXTS: [&str; 3] = [" and", " a", " and a"];
    let mut memory = vec![0; 128 << 10];
    let mut source = Bytes::lent(MODEL);
    let model = block_on(Model::open(&mut source)).expect("a model");
    let mut session =
        Session::new(&model, source, Memory::internal(&mut memory), &PlanOptions::default()).expect("room");
    block_on(session.push_text("a")).expect("room");
    let before = session.tokens().to_vec();
    let mut choices = TEXTS.map(Choice::new);
    let best = block_on(session.choose(PROMPT, &mut choices)).expect("a choice");
    let expected = choices.map(|choice| choice.log_probability().0 as f64 / f64::from(1 << Nats::FRACTION_BITS));
    let expected = Ok((best, expected.to_vec()));

    let mut card = Card::new(MODEL);
    let mut memory = vec![0; 128 << 10];
    let setup = card.setup();
    let handle = init(&with_memory(setup, &mut memory)).expect("opens");
    push(handle, "a").expect("room");
    assert_eq!(choose(handle, PROMPT, &TEXTS), expected);
    assert_eq!(tokens(handle), before);
    // Without a prompt, and without logarithms.
    let text = c" and".as_ptr();
    let mut choice = usize::MAX;
    // SAFETY: valid pointers.
    let status = unsafe { rillm_choose(handle, null(), &text, 1, null_mut(), &mut choice, null_mut()) };
    assert_eq!((status, choice), (Status::RillmOk, 0));

    // After a failed read the call can be repeated.
    // SAFETY: the card, which nobody uses meanwhile.
    unsafe { (*setup.read_user.cast::<Card<'_>>()).reads_to_failure = Some(2) };
    assert_eq!(choose(handle, PROMPT, &TEXTS).expect_err("a failed read").0, Status::RillmErrorRead);
    assert_eq!(choose(handle, PROMPT, &TEXTS), expected);

    let refused = |texts: &[&str]| choose(handle, PROMPT, texts).expect_err("refused");
    let argument = |message: &str| (Status::RillmErrorArgument, message.to_owned());
    assert_eq!(refused(&[]), argument("there is nothing to choose from: give at least one text"));
    assert_eq!(refused(&["a"; 33]), argument("count is 33; it must be at most 32"));
    assert_eq!(refused(&["a", "a"]).0, Status::RillmErrorArgument);
    assert_eq!(refused(&[&"a ".repeat(400)]).0, Status::RillmErrorPromptTooLong);
    // SAFETY: valid pointers but for those that are null.
    unsafe {
        let choose = |texts, choice| rillm_choose(handle, null(), texts, 1, null_mut(), choice, null_mut());
        assert_eq!(choose(&text, null_mut()), Status::RillmErrorArgument);
        assert_eq!(choose(null(), &mut choice), Status::RillmErrorArgument);
        assert_eq!(choose(&null(), &mut choice), Status::RillmErrorArgument);
        assert_eq!(choose(&c"\xff".as_ptr(), &mut choice), Status::RillmErrorArgument);
    }
    assert_eq!(deinit(handle), Status::RillmOk);
    assert_eq!(choose(handle, PROMPT, &TEXTS).expect_err("closed").0, Status::RillmErrorClosed);
}

#[test]
fn a_text_that_is_pushed_goes_on() {
    let mut memory = vec![0; 128 << 10];
    let handle = init(&with_memory(lent(MODEL), &mut memory)).expect("opens");
    let mut listener = Listener::default();
    generate(handle, Some("and"), &GREEDY, &mut listener).expect("a text");
    // SAFETY: valid handles.
    unsafe {
        assert_eq!(rillm_reset(handle), Status::RillmOk);
        assert_eq!(rillm_reset(null_mut()), Status::RillmErrorArgument);
        assert_eq!(rillm_push(handle, null(), null_mut()), Status::RillmErrorArgument);
    }
    assert!(tokens(handle).is_empty() && stats(handle).end == End::RillmEndNone);
    push(handle, PROMPT).expect("room");
    let mut listener = Listener::default();
    generate(handle, None, &GREEDY, &mut listener).expect("a text");
    assert_eq!((listener.text, tokens(handle)), expected(MODEL, PROMPT, TOKENS, &Sampling::GREEDY));
    assert_eq!(stats(handle).prompt_tokens as usize + TOKENS, tokens(handle).len());
    let (status, message) = push(handle, &"a ".repeat(400)).expect_err("refused");
    assert_eq!(status, Status::RillmErrorPromptTooLong, "{message}");
    assert_eq!(deinit(handle), Status::RillmOk);
}

/// Appends the bytes of a saved text to the `Vec` that `user` points to.
unsafe extern "C" fn write_bytes(user: *mut c_void, bytes: *const c_void, len: usize) -> c_int {
    // SAFETY: the test's bytes, and a piece of `len` bytes.
    let (all, piece) = unsafe { (&mut *user.cast::<Vec<u8>>(), slice::from_raw_parts(bytes.cast(), len)) };
    if all.len() + len > all.capacity() {
        return 28;
    }
    all.extend_from_slice(piece);
    0
}

/// Takes the bytes of a saved text from the slice that `user` points to.
unsafe extern "C" fn read_bytes(user: *mut c_void, bytes: *mut c_void, len: usize) -> c_int {
    // SAFETY: the test's bytes, and room for `len` of them.
    let (all, piece) = unsafe { (&mut *user.cast::<&[u8]>(), slice::from_raw_parts_mut(bytes.cast(), len)) };
    let Some(next) = all.split_off(..len) else { return -1 };
    piece.copy_from_slice(next);
    0
}

#[test]
#[cfg_attr(miri, ignore = "takes long")]
fn a_saved_text_goes_on_in_another_memory() {
    const HALF: Config = Config { max_tokens: TOKENS as u32 / 2, ..GREEDY };
    let mut memory = vec![0; 128 << 10];
    let handle = init(&with_memory(lent(MODEL), &mut memory)).expect("opens");
    let mut listener = Listener::default();
    generate(handle, Some(PROMPT), &HALF, &mut listener).expect("a text");
    let (mut saved, mut message) = (Vec::<u8>::with_capacity(1 << 20), NO_MESSAGE);
    let mut short = Vec::<u8>::with_capacity(100);
    // SAFETY: valid pointers.
    unsafe {
        let status = rillm_save(handle, Some(write_bytes), (&raw mut short).cast(), &mut message);
        assert_eq!(status, Status::RillmErrorWrite);
        assert_eq!(words(&message), "the write function returned 28 instead of 0; save the text again");
        assert_eq!(rillm_save(handle, None, null_mut(), null_mut()), Status::RillmErrorArgument);
        assert_eq!(rillm_save(handle, Some(write_bytes), (&raw mut saved).cast(), &mut message), Status::RillmOk);
    }
    assert_eq!(deinit(handle), Status::RillmOk);

    let mut card = Card::new(MODEL);
    let mut memory = vec![0; 80 << 10];
    let handle = init(&with_memory(Setup { context: 50, ..card.setup() }, &mut memory)).expect("opens");
    let restore = |bytes: &[u8]| {
        let (mut bytes, mut message) = (bytes, NO_MESSAGE);
        // SAFETY: valid pointers.
        let status = unsafe { rillm_restore(handle, Some(read_bytes), (&raw mut bytes).cast(), &mut message) };
        (status, words(&message).to_owned())
    };
    let (status, message) = restore(&saved[..saved.len() - 1]);
    assert!(status == Status::RillmErrorRead && message.contains("returned -1"), "{message}");
    assert!(tokens(handle).is_empty());
    let (status, message) = restore(&[b'x'; 200]);
    assert!(status == Status::RillmErrorSaved && message.contains("no saved session"), "{message}");
    assert_eq!(restore(&saved).0, Status::RillmOk);
    let before = stats(handle).tokens;
    let config = Config { max_tokens: (TOKENS - TOKENS / 2) as u32, ..GREEDY };
    generate(handle, None, &config, &mut listener).expect("the rest");
    assert_eq!((listener.text, tokens(handle)), expected(MODEL, PROMPT, TOKENS, &Sampling::GREEDY));
    assert_eq!(stats(handle).tokens - before, u64::from(config.max_tokens));
    assert_eq!(deinit(handle), Status::RillmOk);
}

#[test]
fn a_text_is_tokenised_without_becoming_the_current_one() {
    let mut memory = vec![0; 128 << 10];
    let handle = init(&with_memory(lent(MODEL), &mut memory)).expect("opens");
    let tokenize = |text: &CStr, tokens: &mut [u32]| {
        let mut count = 0;
        let (start, room) = (tokens.as_mut_ptr(), tokens.len());
        // SAFETY: valid pointers, and room for as many tokens.
        let status = unsafe { rillm_tokenize(handle, text.as_ptr(), start, room, &mut count, null_mut()) };
        (status, count)
    };
    let mut found = [0; 9];
    let (status, count) = tokenize(c"and a", &mut found);
    push(handle, "and a").expect("room");
    let before = tokens(handle);
    assert_eq!((status, &found[..count]), (Status::RillmOk, &*before));
    // The rest of a text has no token that starts one.
    assert_eq!(tokenize(c"and a", &mut found[..1]), (Status::RillmOk, count - 1));
    assert_eq!(found[0], before[1]);
    assert_eq!(tokens(handle), before);
    assert_eq!(tokenize(c"\xff", &mut []).0, Status::RillmErrorArgument);
    let long = CString::new("a ".repeat(600)).expect("no zero");
    assert_eq!(tokenize(&long, &mut []).0, Status::RillmErrorPromptTooLong);
    // SAFETY: valid pointers but for those that are null.
    unsafe {
        let (text, mut count) = (c"a".as_ptr(), 0);
        let null_count = rillm_tokenize(handle, text, null_mut(), 0, null_mut(), null_mut());
        let null_tokens = rillm_tokenize(handle, text, null_mut(), 1, &mut count, null_mut());
        assert_eq!([null_count, null_tokens], [Status::RillmErrorArgument; 2]);
    }
    assert_eq!(deinit(handle), Status::RillmOk);
}

/// Cores as threads, and which parts they leave out.
struct Cores {
    parts: u32,
    left_out: u32,
    calls: usize,
}

/// Work that goes to other threads.
struct Shared(*const Work<'static>);

// SAFETY: the threads only pass it to `rillm_multiply`, which is made for that.
unsafe impl Sync for Shared {}

impl Shared {
    fn multiply(&self, part: u32) {
        // SAFETY: `share` waits for all parts, and each is multiplied once.
        unsafe { rillm_multiply(self.0, part) }
    }
}

unsafe extern "C" fn share(user: *mut c_void, work: *const Work<'static>) {
    // SAFETY: the test's cores.
    let cores = unsafe { &mut *user.cast::<Cores>() };
    cores.calls += 1;
    let work = &Shared(work);
    std::thread::scope(|scope| {
        for part in (0..cores.parts).filter(|part| cores.left_out >> part & 1 == 0) {
            scope.spawn(move || work.multiply(part));
        }
    });
}

#[test]
fn other_cores_multiply_their_parts() {
    let few = if cfg!(miri) { 1 } else { 3 };
    for (parts, left_out) in [(2, 0), (2, 0b10), (3, 0b1), (8, 0b1010_0000), (8, 0xff)] {
        // Miri is slow.
        for model in [MODEL, INT4, RESCORING].into_iter().take(if cfg!(miri) { 1 } else { 3 }) {
            let mut cores = Cores { parts, left_out, calls: 0 };
            let mut memory = vec![0; 64 << 10];
            let setup = with_memory(lent(model), &mut memory);
            let setup = Setup { share: Some(share), share_user: (&raw mut cores).cast(), parts, ..setup };
            check_text_of(model, "a", few, &setup);
            assert!(cores.calls > 0);
        }
    }
}

#[test]
fn the_setup_limits_batches_and_reads() {
    let mut card = Card::new(MODEL);
    let setup = Setup { memory_len: 256 << 10, batch: 3, chunk: 1000, ..card.setup() };
    let (status, plan, _) = plan(&setup);
    assert_eq!((status, plan.batch, plan.chunk), (Status::RillmOk, 3, 1024));
}

#[test]
#[cfg_attr(miri, ignore = "takes long")]
fn a_text_ends_before_a_stop_string() {
    let (text, _) = expected(MODEL, "Once upon a time", 60, &Sampling::GREEDY);
    let at = text.find(". ").expect("a sentence");
    let mut memory = vec![0; 128 << 10];
    let handle = init(&with_memory(lent(MODEL), &mut memory)).expect("opens");
    let mut strings = [CString::new("no such text").expect("no zero"), CString::new(". ").expect("no zero")];
    let pointers = strings.each_ref().map(|string| string.as_ptr());
    let config = Config { max_tokens: 3, stop: pointers.as_ptr(), stop_count: 2, ..GREEDY };
    let mut listener = Listener::default();
    generate(handle, Some("Once upon a time"), &config, &mut listener).expect("a text");
    // The strings are the engine's own from the beginning of the text on.
    strings = [c"x".to_owned(), c"y".to_owned()];
    let pointers = strings.each_ref().map(|string| string.as_ptr());
    let config = Config { max_tokens: 60, stop: pointers.as_ptr(), ..config };
    generate(handle, None, &config, &mut listener).expect("the rest");
    assert_eq!((&*listener.text, stats(handle).end), (&text[..at], End::RillmEndStopString));
    // Nothing follows, and another text has other strings.
    generate(handle, None, &config, &mut listener).expect("nothing");
    assert_eq!((&*listener.text, stats(handle).end), (&text[..at], End::RillmEndStopString));
    // SAFETY: a valid handle.
    assert_eq!(unsafe { rillm_reset(handle) }, Status::RillmOk);
    push(handle, "Once upon a time").expect("room");
    let end = CString::new(&text[4..9]).expect("no zero");
    let config = Config { max_tokens: 60, stop: &end.as_ptr(), stop_count: 1, ..GREEDY };
    let mut listener = Listener::default();
    generate(handle, None, &config, &mut listener).expect("a text");
    assert_eq!((&*listener.text, stats(handle).end), (&text[..4], End::RillmEndStopString));
    for (config, reason) in [
        (Config { stop_count: 5, ..config }, "config.stop: there are 5 stop strings and may be 4"),
        (Config { stop: null(), ..config }, "config.stop is NULL"),
        (Config { stop: &null(), ..config }, "a stop string is NULL"),
        (Config { stop: &c"".as_ptr(), ..config }, "config.stop: a stop string is empty"),
        (Config { stop: &c"a\xff".as_ptr(), ..config }, "a stop string is not UTF-8 at byte 1"),
    ] {
        let (status, words) = generate(handle, Some(PROMPT), &config, &mut Listener::default()).expect_err(reason);
        assert_eq!(status, Status::RillmErrorArgument, "{words}");
        assert!(words.contains(reason), "{words}");
    }
    assert_eq!(deinit(handle), Status::RillmOk);
}

/// A conversation of the engine: the answers, the tokens, and the turns that were forgotten for the last one.
#[cfg(not(miri))]
fn conversation(system: Option<&str>, turns: &[&str]) -> (Vec<String>, Vec<u32>, u32) {
    let mut source = Bytes::copied(&CHAT_MODEL);
    let model = block_on(Model::open(&mut source)).expect("a model");
    let mut ram = vec![0; 1 << 20];
    let mut session = Session::new(&model, source, Memory::internal(&mut ram), &PlanOptions::default()).expect("room");
    let mut chat = block_on(Chat::new(&mut session, system)).expect("a chat");
    let (mut answers, mut forgotten) = (Vec::new(), 0);
    for turn in turns {
        forgotten = block_on(chat.ask(&mut session, turn)).expect("room");
        let generation = Generation::new(&model, "", Sampling::GREEDY).max_tokens(TOKENS / 4);
        let (mut generation, mut answer) = (generation.in_chat(&mut chat), String::new());
        loop {
            match block_on(generation.step(&mut session)).expect("a step") {
                Step::Token(text) => answer.extend(text),
                Step::Prefill => {}
                Step::Done(_) => break,
            }
        }
        forgotten += generation.forgotten_turns();
        answers.push(answer);
    }
    (answers, session.tokens().to_vec(), forgotten)
}

#[test]
#[cfg(not(miri))]
fn a_chat_is_the_engines() {
    let turns = ["the boat and the sea"; 7];
    let mut card = Card::new(&CHAT_MODEL);
    let mut memory = vec![0; 128 << 10];
    let setup = card.setup();
    let handle = init(&with_memory(setup, &mut memory)).expect("opens");
    let chat = |system: Option<&CStr>| {
        let mut message = NO_MESSAGE;
        // SAFETY: valid pointers, or null.
        let status = unsafe { rillm_chat(handle, system.map_or(null(), CStr::as_ptr), &mut message) };
        (status, words(&message).to_owned())
    };
    let config = Config { max_tokens: TOKENS as u32 / 4, ..GREEDY };
    for system in [None, Some(c"say one thing")] {
        assert_eq!(chat(system), (Status::RillmOk, String::new()));
        let system = system.map(|system| system.to_str().expect("UTF-8"));
        for (at, turn) in turns.into_iter().enumerate() {
            let mut listener = Listener::default();
            if at == 3 {
                // After a failed read the turn is said again.
                // SAFETY: the card, which nobody uses meanwhile.
                unsafe { (*setup.read_user.cast::<Card<'_>>()).reads_to_failure = Some(1) };
                let (status, _) = generate(handle, Some(turn), &config, &mut listener).expect_err("a failed read");
                assert_eq!((status, &*listener.text), (Status::RillmErrorRead, ""));
            }
            if at == 1 {
                // An answer in two parts is one answer.
                let part = Config { max_tokens: 2, ..config };
                generate(handle, Some(turn), &part, &mut listener).expect("a part");
                let rest = Config { max_tokens: config.max_tokens - 2, ..config };
                generate(handle, None, &rest, &mut listener).expect("the rest");
            } else {
                generate(handle, Some(turn), &config, &mut listener).expect("an answer");
            }
            let (answers, ids, forgotten) = conversation(system, &turns[..=at]);
            assert_eq!((&listener.text, tokens(handle)), (&answers[at], ids), "turn {at}");
            assert_eq!(stats(handle).forgotten_turns, forgotten, "turn {at}");
            assert!(at < 6 || (0..=at).any(|at| conversation(system, &turns[..=at]).2 > 0));
        }
    }
    let long = "x y ".repeat(100);
    let (status, message) = generate(handle, Some(&long), &config, &mut Listener::default()).expect_err("too long");
    assert_eq!(status, Status::RillmErrorPromptTooLong, "{message}");
    // A reset ends the chat.
    // SAFETY: a valid handle.
    assert_eq!(unsafe { rillm_reset(handle) }, Status::RillmOk);
    generate(handle, Some("the"), &config, &mut Listener::default()).expect("a text");
    assert_eq!(tokens(handle)[..2], [1, 323]);
    assert_eq!(chat(Some(c"\xff")).0, Status::RillmErrorArgument);
    assert_eq!(deinit(handle), Status::RillmOk);

    let mut memory = vec![0; 128 << 10];
    let handle = init(&with_memory(lent(MODEL), &mut memory)).expect("opens");
    let mut message = NO_MESSAGE;
    // SAFETY: valid pointers, or null.
    let status = unsafe { rillm_chat(handle, null(), &mut message) };
    assert!(status == Status::RillmErrorArgument && words(&message).contains("does not chat"), "{}", words(&message));
    assert_eq!(deinit(handle), Status::RillmOk);
}

/// For Miri: what refers to the stop strings and to the chat in the caller's memory.
#[test]
fn chats_and_stop_strings_follow_each_other() {
    let mut memory = vec![0; 64 << 10];
    let handle = init(&with_memory(lent(TINY), &mut memory)).expect("opens");
    let one = Config { max_tokens: 1, ..GREEDY };
    for strings in [[c"x", c"yy"], [c"no such text", c"z"]] {
        let pointers = strings.map(CStr::as_ptr);
        let config = Config { stop: pointers.as_ptr(), stop_count: 2, ..one };
        // SAFETY: a valid handle.
        assert_eq!(unsafe { rillm_chat(handle, null(), null_mut()) }, Status::RillmOk);
        let mut listener = Listener::default();
        for strings in [&config, &one] {
            push(handle, "a").expect("room");
            for config in [strings, &one, strings] {
                generate(handle, None, config, &mut listener).expect("a part of an answer");
            }
            // The context has no room for a turn.
            let (status, _) = generate(handle, Some("b"), strings, &mut listener).expect_err("too long");
            assert_eq!(status, Status::RillmErrorPromptTooLong);
        }
        // A text that is none of the chat, with the strings of the same place.
        // SAFETY: a valid handle.
        assert_eq!(unsafe { rillm_reset(handle) }, Status::RillmOk);
        generate(handle, Some("a"), &config, &mut listener).expect("a text");
        generate(handle, None, &one, &mut listener).expect("a text");
        assert!(tokens(handle).len() > 3);
    }
    assert_eq!(deinit(handle), Status::RillmOk);
}

#[test]
#[cfg_attr(miri, ignore = "takes long")]
fn sampling_is_the_engines() {
    let sampling = Sampling::GREEDY.temperature(Q16::thousandths(500)).top_k(50).top_p(Q16::thousandths(950)).seed(7);
    let config = Config { temperature: 0.5, top_k: 50, top_p: 0.95, seed: 7, ..GREEDY };
    let mut memory = vec![0; 64 << 10];
    let handle = init(&with_memory(lent(MODEL), &mut memory)).expect("opens");
    let mut listener = Listener::default();
    generate(handle, Some(PROMPT), &config, &mut listener).expect("a text");
    let (text, _) = expected(MODEL, PROMPT, TOKENS, &sampling);
    assert_eq!(listener.text, text);
    assert_ne!(text, expected(MODEL, PROMPT, TOKENS, &Sampling::GREEDY).0);
    let config = Config { temperature: 2.0, min_p: 0.0625, repeat_penalty: 1.5, seed: 7, ..GREEDY };
    let sampling = Sampling::GREEDY
        .temperature(Q16::thousandths(2000))
        .min_p(Q16(1 << 12))
        .repeat_penalty(Q16::thousandths(1500))
        .seed(7);
    let mut listener = Listener::default();
    generate(handle, Some(PROMPT), &config, &mut listener).expect("a text");
    assert_eq!(listener.text, expected(MODEL, PROMPT, TOKENS, &sampling).0);

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
        for external_len in [0, 50_000] {
            let mut card = Card::new(MODEL);
            for setup in [card.setup(), lent(MODEL)] {
                let setup = Setup { context, external_len, ..setup };
                let (status, none, words) = plan(&setup);
                assert_eq!(status, Status::RillmErrorMemory, "{words}");
                assert!(none.smallest > 0 && none.memory == 0 && none.weights > 0);
                let (mut memory, mut external) = (vec![0; none.smallest], vec![0; external_len]);
                let external = if external_len == 0 { null_mut() } else { external.as_mut_ptr().cast() };
                let enough = Setup { external, ..with_memory(setup, &mut memory) };
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
    let within = Setup { external: good.memory.wrapping_byte_add(1000), external_len: 10, ..good };
    let onto = Setup { external: good.model.cast_mut(), external_len: 1, ..good };
    for (setup, reason) in [
        (Setup { memory: null_mut(), ..good }, "setup.memory is NULL"),
        (Setup { model: null(), model_len: 0, ..good }, "neither a read function nor a model"),
        (both, "both a read function and a model"),
        (Setup { external_len: 5, ..good }, "setup.external is NULL"),
        (Setup { memory_len: usize::MAX, ..good }, "setup.memory of "),
        (Setup { model_len: usize::MAX / 2 + 1, ..good }, "setup.model of "),
        (within, "setup.memory and setup.external overlap"),
        (onto, "setup.external and setup.model overlap"),
        (Setup { parts: 2, ..good }, "setup.share is NULL"),
        (Setup { share: Some(share), parts: 1, ..good }, "setup.parts is 1"),
        (Setup { share: Some(share), parts: 9, ..good }, "takes 2 to 8 parts"),
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
        rillm_multiply(null(), 0);
    }

    let handle = init(&good).expect("opens");
    for (config, reason) in [
        (Config { temperature: f32::NAN, ..GREEDY }, "config.temperature is not a number"),
        (Config { temperature: -0.5, ..GREEDY }, "config.temperature is negative"),
        (Config { top_p: f32::NEG_INFINITY, ..GREEDY }, "config.top_p is negative"),
        (Config { min_p: -1.0, ..GREEDY }, "config.min_p is negative"),
        (Config { repeat_penalty: f32::NAN, ..GREEDY }, "config.repeat_penalty is not a number"),
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
fn a_stack_of_256_kib_is_enough() {
    // Through a few kilobytes, and in place with batches: then more rows and vectors are multiplied at a time.
    for (memory_len, in_place) in [(64 << 10, false), (4 << 20, true)] {
        calls_on_a_stack(256 << 10, memory_len, in_place);
    }
}

fn calls_on_a_stack(stack_len: usize, memory_len: usize, in_place: bool) {
    let calls = move || {
        let (mut memory, mut card) = (vec![0; memory_len], Card::new(MODEL));
        let setup = with_memory(if in_place { lent(MODEL) } else { card.setup() }, &mut memory);
        let (mut plan, mut handle, mut message) = (MemoryPlan::default(), null_mut(), NO_MESSAGE);
        let config = Config { temperature: 0.8, top_p: 0.9, ..GREEDY };
        let mut listener = Listener::default();
        let user = (&raw mut listener).cast();
        // SAFETY: valid pointers.
        unsafe {
            assert_eq!(rillm_plan(&setup, &mut plan, &mut message), Status::RillmOk);
            assert_eq!(rillm_init(&setup, &mut handle, &mut message), Status::RillmOk);
            let long =
                CString::new("The little fox saw a tree. ".repeat(if in_place { 20 } else { 1 })).expect("no zero");
            let prompt = long.as_ptr();
            let (texts, mut choice) = ([c" ran".as_ptr(), c" slept".as_ptr()], 0);
            let chosen = rillm_choose(handle, prompt, texts.as_ptr(), 2, null_mut(), &mut choice, &mut message);
            assert_eq!(chosen, Status::RillmOk);
            assert_eq!(plan.batch > 16, in_place, "{plan:?}");
            rillm_generate(handle, prompt, &config, Some(listen), user, &mut message)
        }
    };
    let thread = std::thread::Builder::new().stack_size(stack_len).spawn(calls).expect("a thread");
    assert_eq!(thread.join().expect("no panic"), Status::RillmOk);
}

#[test]
fn a_status_has_words() {
    // SAFETY: a zero-terminated constant.
    let words = |status| unsafe { CStr::from_ptr(rillm_error_message(status)) }.to_str().expect("UTF-8");
    assert!(words(Status::RillmErrorMemory as i32).contains("rillm_plan"));
    assert!(words(99).contains("no status"));
}
