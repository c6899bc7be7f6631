//! A C interface to rillm: a static library, and `include/rillm.h`, which has the same items under C's names.
//!
//! A program fills a [`Setup`] with its memory and with the model: a function that reads it, or the bytes of it.
//!
//! | call | |
//! | --- | --- |
//! | [`rillm_plan`] | how much of the memory the model takes, and what would be enough |
//! | [`rillm_init`] | opens the model and gives a [`Handle`] |
//! | [`rillm_generate()`] | takes a prompt, and hands text to a callback as it comes |
//! | [`rillm_chat`] | starts a chat, in which each prompt is a turn |
//! | [`rillm_choose`] | takes a prompt and texts, and says which one is the likeliest after it |
//! | [`rillm_push`], [`rillm_reset`] | append to the current text, or end it |
//! | [`rillm_save`], [`rillm_restore`] | the current text, computed, as bytes |
//! | [`rillm_tokenize`] | the tokens of a text |
//! | [`rillm_stats`], [`rillm_tokens`] | what was read and computed, and the tokens of the text |
//! | [`rillm_multiply`] | multiplies rows on another core |
//! | [`rillm_deinit`] | ends the use of the memory |
//! | [`rillm_error_message`] | a [`Status`] in words |
//!
//! What C does, in Rust:
//!
//! ```
//! use std::ffi::{c_char, c_int, c_void};
//! use std::ptr::null_mut;
//!
//! use rillm_capi::{Config, Handle, Setup, Status, rillm_deinit, rillm_generate, rillm_init};
//!
//! /// Appends text to the `String` that `user` points to.
//! unsafe extern "C" fn append(user: *mut c_void, text: *const c_char, len: usize) -> c_int {
//!     // SAFETY: `user` is what `rillm_generate` was given, and `text` is `len` bytes of UTF-8.
//!     let (all, text) = unsafe { (&mut *user.cast::<String>(), std::slice::from_raw_parts(text.cast(), len)) };
//!     all.push_str(std::str::from_utf8(text).unwrap());
//!     0
//! }
//!
//! # let model: &'static [u8] =
//! #     include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/rill-tales-1m/model.rillm"));
//! let mut memory = vec![0u8; 128 * 1024];
//! let setup = Setup {
//!     read: None,
//!     read_user: null_mut(),
//!     model: model.as_ptr().cast(),
//!     model_len: model.len(),
//!     memory: memory.as_mut_ptr().cast(),
//!     memory_len: memory.len(),
//!     external: null_mut(),
//!     external_len: 0,
//!     context: 0,
//!     batch: 0,
//!     chunk: 0,
//!     share: None,
//!     share_user: null_mut(),
//!     parts: 0,
//! };
//! let config = Config { max_tokens: 12, ..Config::default() };
//! let mut rillm: *mut Handle = null_mut();
//! let mut text = String::new();
//! // SAFETY: the model and the memory are there until `rillm_deinit`, and nothing else uses the memory.
//! unsafe {
//!     assert_eq!(rillm_init(&setup, &mut rillm, null_mut()), Status::RillmOk);
//!     let user = (&raw mut text).cast();
//!     let prompt = c"Once upon a time".as_ptr();
//!     assert_eq!(rillm_generate(rillm, prompt, &config, Some(append), user, null_mut()), Status::RillmOk);
//!     assert_eq!(rillm_deinit(rillm), Status::RillmOk);
//! }
//! assert_eq!(text, ", there was a little leaf on the highest branch of an");
//! ```
//!
//! All state is in the caller's memory: the model's description, the engine's buffers, and the handle, which refers to
//! both. Each is split off that memory separately, so that nothing borrows from itself. There is no allocator and no
//! global state.
//!
//! A panic would be a bug. It does not unwind into C: it aborts, on bare metal through C's `abort`.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

// The unsafe code is in this file, which receives C's pointers, and in a few lines of `place.rs`, `setup.rs`, `source.rs`,
// `stops.rs`, `chat_place.rs`, `cores.rs`, `engine.rs` and `handle.rs`.

// On a computer the static library needs a panic handler, which std provides.
#[cfg(not(target_os = "none"))]
extern crate std;

mod chat_place;
mod cores;
mod engine;
mod handle;
mod place;
mod setup;
mod source;
mod status;
mod stops;

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::null_mut;

use rillm::{Model, block_on};
use rillm_generate::{MOST_STOP_STRINGS, StopError};

pub use cores::{RILLM_PARTS_MAX, ShareRows, Work};
pub use engine::{Config, End, Stats};
pub use handle::Handle;
pub use setup::{MemoryPlan, Setup};
pub use source::ReadSectors;
pub use status::{Message, Status};

use engine::Engine;
use place::Region;
use status::Failure;

/// Receives the text as it is generated: `len` bytes of UTF-8, whole characters, not zero-terminated. It is also called
/// before each pass over the weights, with a `len` of 0. It returns 0 to continue, and anything else to end the text.
/// It must not call rillm with the same handle, throw or longjmp.
pub type OnText = Option<unsafe extern "C" fn(user: *mut c_void, text: *const c_char, len: usize) -> c_int>;

/// Receives a piece of a saved text, and returns 0; anything else ends the saving. Many pieces are as short as 2 bytes:
/// buffer them where a write is expensive. It must not call rillm with the same handle, throw or longjmp.
pub type OnBytes = Option<unsafe extern "C" fn(user: *mut c_void, bytes: *const c_void, len: usize) -> c_int>;

/// Fills `bytes` with the next `len` bytes of a saved text, and returns 0; anything else means that it cannot. It must
/// not call rillm with the same handle, throw or longjmp.
pub type ReadBytes = Option<unsafe extern "C" fn(user: *mut c_void, bytes: *mut c_void, len: usize) -> c_int>;

/// Plans the memory of a setup: fills `plan` with the usage and the smallest size, also where the memory is too small.
/// If the model cannot be opened, `plan` is all zeros. Reads a few kilobytes of the model. `message` may be NULL.
///
/// # Safety
/// Pointers are NULL or valid, and `setup.model` has `setup.model_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_plan(setup: *const Setup, plan: *mut MemoryPlan, message: *mut Message) -> Status {
    let run = || {
        if plan.is_null() {
            return Err(Failure::Null("plan"));
        }
        // SAFETY: not null, so valid.
        unsafe { plan.write(MemoryPlan::default()) };
        // SAFETY: null or valid, by our own contract.
        let setup = unsafe { setup.as_ref() }.ok_or(Failure::Null("setup"))?;
        // SAFETY: by our own contract.
        let mut source = unsafe { setup.source()? };
        let model = block_on(Model::open(&mut source))?;
        let planned = setup.plan(&model, &source);
        // SAFETY: not null, so valid.
        unsafe { plan.write(MemoryPlan::of(setup, &model, &source, planned.as_ref().ok())) };
        planned.map(|_| ())
    };
    // SAFETY: null or valid, by our own contract.
    unsafe { report(run(), message) }
}

/// Opens a model in the memory of a setup. Sets `rillm` to a handle, or to NULL if it fails. `setup` itself may be
/// discarded afterwards. `message` may be NULL.
///
/// # Safety
/// Pointers are NULL or valid. Memory and model have the lengths given, and nobody else uses them until rillm_deinit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_init(setup: *const Setup, rillm: *mut *mut Handle, message: *mut Message) -> Status {
    let run = || {
        if rillm.is_null() {
            return Err(Failure::Null("rillm"));
        }
        // SAFETY: not null, so valid.
        unsafe { rillm.write(null_mut()) };
        // SAFETY: null or valid, by our own contract.
        let setup = unsafe { setup.as_ref() }.ok_or(Failure::Null("setup"))?;
        setup.check_memory()?;
        // SAFETY: by our own contract.
        let source = unsafe { setup.source()? };
        // SAFETY: by our own contract; the lengths were checked, and that they do not overlap.
        let [mut memory, mut external] =
            unsafe { [Region::new(setup.memory, setup.memory_len), Region::new(setup.external, setup.external_len)] };
        let engine = Engine::open(setup, source, &mut memory, &mut external)?;
        let handle = memory.place(Handle::new(engine)).ok_or(Failure::Setup("setup.memory is too small"))?;
        // SAFETY: not null, so valid.
        unsafe { rillm.write(handle) };
        Ok(())
    };
    // SAFETY: null or valid, by our own contract.
    unsafe { report(run(), message) }
}

/// Generates a text after `prompt`, which is zero-terminated UTF-8, and passes it to `on_text`. Each prompt starts a
/// new text. A `prompt` of NULL continues the current text, after an error too: no token is lost or repeated. `user` is
/// passed to `on_text`. `message` may be NULL.
///
/// # Safety
/// Pointers are NULL or valid, and no other thread is using the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_generate(
    rillm: *mut Handle,
    prompt: *const c_char,
    config: *const Config,
    on_text: OnText,
    user: *mut c_void,
    message: *mut Message,
) -> Status {
    let run = || {
        // SAFETY: null or valid, by our own contract.
        // The settings are copied: a callback may change the caller's.
        let (handle, config) = unsafe { (rillm.as_ref(), config.as_ref().copied()) };
        let handle = handle.ok_or(Failure::Null("rillm"))?;
        let config = config.ok_or(Failure::Null("config"))?;
        let on_text = on_text.ok_or(Failure::Null("on_text"))?;
        // SAFETY: null or zero-terminated, by our own contract.
        let prompt = unsafe { text("the prompt", prompt)? };
        let mut stops = [""; MOST_STOP_STRINGS];
        let stops = stops.get_mut(..config.stop_count).ok_or(StopError::TooMany { count: config.stop_count })?;
        if config.stop.is_null() && config.stop_count > 0 {
            return Err(Failure::Null("config.stop"));
        }
        for (index, stop) in stops.iter_mut().enumerate() {
            // SAFETY: not null, so `stop_count` strings, by our own contract.
            let string = unsafe { text("a stop string", *config.stop.add(index))? };
            *stop = string.ok_or(Failure::Null("a stop string"))?;
        }
        // SAFETY: the caller's function, with the arguments that it expects.
        let print = |text: &str| unsafe { on_text(user, text.as_ptr().cast(), text.len()) } == 0;
        handle.with(|engine| engine.generate(prompt, &config, stops, print))
    };
    // SAFETY: null or valid, by our own contract.
    unsafe { report(run(), message) }
}

/// Chooses among `count` texts, at most RILLM_OPTIONS_MAX: sets `choice` to the index of the one that is the likeliest
/// after the current text and `prompt`, and `log_probabilities` to the natural logarithm of the probability of each.
/// <https://github.com/rillm/rillm/blob/main/docs/choose.md> defines them. A space between the prompt and the texts may stand
/// at the end of the prompt or at the start of the texts.
///
/// The current text stays, and what was computed of it: put text that several choices share there by rillm_push. A
/// `prompt` of NULL is an empty one. `log_probabilities`, with room for `count` numbers, and `message` may be NULL.
/// After an error neither `choice` nor `log_probabilities` is set.
///
/// # Safety
/// Pointers are NULL or valid, `options` has `count` zero-terminated strings, and no other thread is using the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_choose(
    rillm: *mut Handle,
    prompt: *const c_char,
    options: *const *const c_char,
    count: usize,
    log_probabilities: *mut f64,
    choice: *mut usize,
    message: *mut Message,
) -> Status {
    let run = || {
        // SAFETY: null or valid, by our own contract.
        let handle = unsafe { rillm.as_ref() }.ok_or(Failure::Null("rillm"))?;
        if options.is_null() && count > 0 {
            return Err(Failure::Null("options"));
        }
        if choice.is_null() {
            return Err(Failure::Null("choice"));
        }
        // SAFETY: null or zero-terminated, by our own contract.
        let prompt = unsafe { text("the prompt", prompt)? }.unwrap_or_default();
        // SAFETY: not null, so `count` strings, by our own contract.
        let option =
            |index: usize| unsafe { text("an option", *options.add(index)) }?.ok_or(Failure::Null("an option"));
        let result = |index: usize, logarithm: f64| {
            if !log_probabilities.is_null() {
                // SAFETY: not null, so with room for `count` numbers.
                unsafe { log_probabilities.add(index).write(logarithm) };
            }
        };
        let best = handle.with(|engine| engine.choose(prompt, count, option, result))?;
        // SAFETY: not null, so valid.
        unsafe { choice.write(best) };
        Ok(())
    };
    // SAFETY: null or valid, by our own contract.
    unsafe { report(run(), message) }
}

/// Starts a chat with a model that has a chat template. The current text ends. From now on, until rillm_reset or
/// rillm_restore, each prompt of rillm_generate is a turn, and the text is the answer to it: earlier turns stay in the
/// context and are not computed again. When the context is full, the oldest ones are forgotten, each as a whole. `system`,
/// zero-terminated UTF-8, is the system prompt; NULL for the template's own start. rillm_save saves the text of a chat, not
/// the turns. After an error the current text is empty, and no chat. `message` may be NULL.
///
/// # Safety
/// Pointers are NULL or valid, and no other thread is using the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_chat(rillm: *mut Handle, system: *const c_char, message: *mut Message) -> Status {
    let run = || {
        // SAFETY: null or valid, by our own contract.
        let (handle, system) = unsafe { (rillm.as_ref(), text("the system prompt", system)?) };
        handle.ok_or(Failure::Null("rillm"))?.with(|engine| engine.start_chat(system))
    };
    // SAFETY: null or valid, by our own contract.
    unsafe { report(run(), message) }
}

/// Appends `text`, which is zero-terminated UTF-8, to the current text. Nothing is computed yet: rillm_generate with a
/// prompt of NULL continues it, and rillm_choose compares what may follow it. In a chat, it is a part of the answer. After
/// an error the current text is as before. `message` may be NULL.
///
/// # Safety
/// Pointers are NULL or valid, and no other thread is using the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_push(rillm: *mut Handle, text: *const c_char, message: *mut Message) -> Status {
    let run = || {
        // SAFETY: null or valid, by our own contract.
        let (handle, text) = unsafe { (rillm.as_ref(), self::text("the text", text)?) };
        let (handle, text) = (handle.ok_or(Failure::Null("rillm"))?, text.ok_or(Failure::Null("text"))?);
        handle.with(|engine| engine.push(text))
    };
    // SAFETY: null or valid, by our own contract.
    unsafe { report(run(), message) }
}

/// Counts the tokens that `text`, which is zero-terminated UTF-8, would append to the current text, and copies the
/// first `room` of them to `tokens`, which may be NULL if `room` is 0. The current text stays. A text that the context
/// has no room for is an error. `message` may be NULL.
///
/// # Safety
/// Pointers are NULL or valid, `tokens` has room for `room` numbers, and no other thread is using the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_tokenize(
    rillm: *mut Handle,
    text: *const c_char,
    tokens: *mut u32,
    room: usize,
    count: *mut usize,
    message: *mut Message,
) -> Status {
    let run = || {
        // SAFETY: null or valid, by our own contract.
        let (handle, text) = unsafe { (rillm.as_ref(), self::text("the text", text)?) };
        let (handle, text) = (handle.ok_or(Failure::Null("rillm"))?, text.ok_or(Failure::Null("text"))?);
        if tokens.is_null() && room > 0 {
            return Err(Failure::Null("tokens"));
        }
        if count.is_null() {
            return Err(Failure::Null("count"));
        }
        let copy = |found: &[u32]| {
            if room > 0 {
                // SAFETY: not null, so with room for `room` numbers; nobody else uses the engine's memory.
                unsafe { tokens.copy_from_nonoverlapping(found.as_ptr(), found.len().min(room)) };
            }
            found.len()
        };
        let found = handle.with(|engine| engine.tokenize(text, copy))?;
        // SAFETY: not null, so valid.
        unsafe { count.write(found) };
        Ok(())
    };
    // SAFETY: null or valid, by our own contract.
    unsafe { report(run(), message) }
}

/// Saves the current text, and what was computed of it, through `write`: to a file, or to flash. `user` is passed to
/// `write`. `message` may be NULL.
///
/// # Safety
/// Pointers are NULL or valid, and no other thread is using the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_save(
    rillm: *mut Handle,
    write: OnBytes,
    user: *mut c_void,
    message: *mut Message,
) -> Status {
    let run = || {
        // SAFETY: null or valid, by our own contract.
        let handle = unsafe { rillm.as_ref() }.ok_or(Failure::Null("rillm"))?;
        let write = write.ok_or(Failure::Null("write"))?;
        // SAFETY: the caller's function, with the arguments that it expects.
        handle.with(|engine| engine.save(|bytes| unsafe { write(user, bytes.as_ptr().cast(), bytes.len()) }))
    };
    // SAFETY: null or valid, by our own contract.
    unsafe { report(run(), message) }
}

/// Replaces the current text by one that rillm_save has written, read through `read`: rillm_generate with a prompt of
/// NULL continues it, with the same text as if it had never been saved, and nothing is computed again. The model file
/// must be the same; the memory may be another one. After an error the current text is empty. `user` is passed to
/// `read`. `message` may be NULL.
///
/// # Safety
/// Pointers are NULL or valid, and no other thread is using the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_restore(
    rillm: *mut Handle,
    read: ReadBytes,
    user: *mut c_void,
    message: *mut Message,
) -> Status {
    let run = || {
        // SAFETY: null or valid, by our own contract.
        let handle = unsafe { rillm.as_ref() }.ok_or(Failure::Null("rillm"))?;
        let read = read.ok_or(Failure::Null("read"))?;
        // SAFETY: the caller's function, with the arguments that it expects.
        handle.with(|engine| engine.restore(|bytes| unsafe { read(user, bytes.as_mut_ptr().cast(), bytes.len()) }))
    };
    // SAFETY: null or valid, by our own contract.
    unsafe { report(run(), message) }
}

/// Ends the current text, or the chat: rillm_push starts a new text.
///
/// # Safety
/// The handle is NULL or valid, and no other thread is using it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_reset(rillm: *mut Handle) -> Status {
    // SAFETY: null or valid, by our own contract.
    let handle = unsafe { rillm.as_ref() }.ok_or(Failure::Null("rillm"));
    let reset = |engine: &mut Engine| {
        engine.reset();
        Ok(())
    };
    handle.and_then(|handle| handle.with(reset)).map_or_else(|failure| failure.status(), |()| Status::RillmOk)
}

/// Fills `stats` with the statistics so far.
///
/// # Safety
/// Pointers are NULL or valid, and no other thread is using the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_stats(rillm: *mut Handle, stats: *mut Stats) -> Status {
    let run = || {
        // SAFETY: null or valid, by our own contract.
        let handle = unsafe { rillm.as_ref() }.ok_or(Failure::Null("rillm"))?;
        if stats.is_null() {
            return Err(Failure::Null("stats"));
        }
        let done = handle.with(|engine| Ok(engine.stats()))?;
        // SAFETY: not null, so valid.
        unsafe { stats.write(done) };
        Ok(())
    };
    run().map_or_else(|failure| failure.status(), |()| Status::RillmOk)
}

/// Copies the first `room` tokens of the current text, prompt and answer, to `tokens`, which may be NULL if `room` is
/// 0. Returns the number of tokens of the text; 0 if the handle is not open or in use.
///
/// # Safety
/// `tokens` has room for `room` numbers, and no other thread is using the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_tokens(rillm: *mut Handle, tokens: *mut u32, room: usize) -> usize {
    // SAFETY: null or valid, by our own contract.
    let Some(handle) = (unsafe { rillm.as_ref() }) else { return 0 };
    let copy = |engine: &mut Engine| {
        let all = engine.tokens();
        if !tokens.is_null() {
            // SAFETY: both sides have this many tokens, and nobody else uses the memory of the engine that is copied
            // from.
            unsafe { tokens.copy_from_nonoverlapping(all.as_ptr(), all.len().min(room)) };
        }
        Ok(all.len())
    };
    handle.with(copy).unwrap_or(0)
}

/// Multiplies a part of the rows that the setup's `share` was called with, on the core or thread of the call. The result is
/// the same as on one core.
///
/// # Safety
/// `work` is what `share` was called with, that call has not returned, and nobody else multiplies this part.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_multiply(work: *const Work<'static>, part: u32) {
    // SAFETY: null or valid, by our own contract.
    if let Some(work) = unsafe { work.as_ref() } {
        // SAFETY: by our own contract.
        unsafe { work.multiply(part as usize) };
    }
}

/// Closes the handle and ends the use of the memory. There is nothing else to free. A handle of NULL is not an error.
///
/// # Safety
/// The handle is NULL or valid, and no other thread is using it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rillm_deinit(rillm: *mut Handle) -> Status {
    // SAFETY: null or valid, by our own contract.
    match unsafe { rillm.as_ref() }.map(Handle::close) {
        None | Some(Ok(())) => Status::RillmOk,
        Some(Err(failure)) => failure.status(),
    }
}

/// Describes a status and what to do about it, in general. A rillm_message_t describes the actual case.
#[unsafe(no_mangle)]
pub extern "C" fn rillm_error_message(status: i32) -> *const c_char {
    Status::words(status).as_ptr()
}

/// The text at `text`, called `what` in errors; `None` for a null pointer.
///
/// # Safety
/// `text` is null or zero-terminated, and does not change during `'t`.
unsafe fn text<'t>(what: &'static str, text: *const c_char) -> Result<Option<&'t str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, so zero-terminated.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    text.map(Some).map_err(|error| Failure::NotUtf8(what, error.valid_up_to()))
}

/// Returns the status, and writes the message if it is wanted.
///
/// # Safety
/// `message` is null or valid.
unsafe fn report(result: Result<(), Failure>, message: *mut Message) -> Status {
    if !message.is_null() {
        // SAFETY: as our caller promises.
        unsafe { message.write(Message::of(result)) };
    }
    result.map_or_else(|failure| failure.status(), |()| Status::RillmOk)
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn abort() -> !;
    }
    // SAFETY: C's own function, which takes no arguments.
    unsafe { abort() }
}
