/* rillm: Llama-family language models in a few kilobytes. Made by cbindgen from crates/rillm-capi/src; docs/c-api.md is its manual. */

#ifndef RILLM_H
#define RILLM_H

#include <stddef.h>
#include <stdint.h>

/**
 * How a call ended. Numbers stay what they are from version to version.
 */
enum rillm_status_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * It did what it should.
   */
  RILLM_OK = 0,
  /**
   * An argument cannot be: NULL where there must be something, a number out of its range, text that is no UTF-8.
   */
  RILLM_ERROR_ARGUMENT = 1,
  /**
   * The handle is not open: never was, or not any more.
   */
  RILLM_ERROR_CLOSED = 2,
  /**
   * The handle is in use: the call came from within one of the callbacks.
   */
  RILLM_ERROR_BUSY = 3,
  /**
   * The read function failed, or the model's memory ends too early.
   */
  RILLM_ERROR_READ = 4,
  /**
   * What was read is not a model that this version can run, or it is damaged.
   */
  RILLM_ERROR_MODEL = 5,
  /**
   * The memory is too small.
   */
  RILLM_ERROR_MEMORY = 6,
  /**
   * The prompt has more tokens than there is room for.
   */
  RILLM_ERROR_PROMPT_TOO_LONG = 7,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rillm_status_t rillm_status_t;
#else
typedef int32_t rillm_status_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Why a text ended.
 */
enum rillm_end_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * There is none, or it failed: a prompt of NULL goes on.
   */
  RILLM_END_NONE = 0,
  /**
   * The model ended it.
   */
  RILLM_END_OF_TEXT = 1,
  /**
   * As many tokens as were wanted. A prompt of NULL goes on.
   */
  RILLM_END_MAX_TOKENS = 2,
  /**
   * No room for another token.
   */
  RILLM_END_CONTEXT_FULL = 3,
  /**
   * The callback wanted it. A prompt of NULL goes on.
   */
  RILLM_END_STOPPED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rillm_end_t rillm_end_t;
#else
typedef int32_t rillm_end_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A model that was opened, in the memory of the setup. One thread uses it at a time.
 */
typedef struct rillm_t rillm_t;

/**
 * Reads a part of the model file: fills `buffer` with `len` bytes from the byte 512 * `first_sector` on, and returns 0.
 * `len` is a multiple of 512, and the buffer starts at any address. Anything but 0 means that it failed; the call that
 * needed the bytes then fails with RILLM_ERROR_READ, and the number is in its message. It must not call rillm with the
 * same handle, throw or longjmp.
 */
typedef int (*rillm_read_t)(void *user, uint32_t first_sector, void *buffer, size_t len);

/**
 * A model, and memory to run it in. All that is zero is left out: start with `rillm_setup_t setup = {0};`.
 */
typedef struct rillm_setup_t {
  /**
   * Reads the model; NULL where `model` is given.
   */
  rillm_read_t read;
  /**
   * What `read` is called with.
   */
  void *read_user;
  /**
   * The whole model file, where it lies: memory-mapped flash, a constant. It is used in place, and must stay as it is
   * until rillm_deinit. NULL where `read` is given.
   */
  const void *model;
  /**
   * Its bytes.
   */
  size_t model_len;
  /**
   * Memory at any address, which is rillm's until rillm_deinit. rillm_plan only looks at its length.
   */
  void *memory;
  /**
   * Its bytes. The more, the fewer weights are read for every token.
   */
  size_t memory_len;
  /**
   * A second, slower memory, external RAM for example, or NULL.
   */
  void *large;
  /**
   * Its bytes.
   */
  size_t large_len;
  /**
   * Tokens to make room for, prompt and answer together; 0 for as many as the model was made for, or as fit.
   */
  uint32_t context;
} rillm_setup_t;

/**
 * Where the memory goes.
 */
typedef struct rillm_plan_t {
  /**
   * The smallest `memory_len` that works with this model, this `large_len` and this `context` (0: for one token). With a
   * read function, so little makes many small reads.
   */
  size_t smallest;
  /**
   * Bytes of `memory` that are used.
   */
  size_t memory;
  /**
   * Bytes of `large` that are used.
   */
  size_t large;
  /**
   * Tokens that there is room for, prompt and answer together.
   */
  uint32_t context;
  /**
   * Tokens of a prompt that go through the weights together.
   */
  uint32_t batch;
  /**
   * Bytes of the larger reads; 0 if all weights are in memory.
   */
  size_t chunk;
  /**
   * Bytes of weights that stay in memory.
   */
  size_t pinned;
  /**
   * Bytes of weights that a token takes; those that are not pinned are read for it, or lie in the model's memory.
   */
  uint64_t weights;
} rillm_plan_t;

/**
 * Why a call failed, in one line of English: what was found, what was expected, what to do. Empty where it did not fail.
 */
typedef struct rillm_message_t {
  /**
   * The line, with a zero after it. One that is too long is cut between two characters.
   */
  char text[256];
} rillm_message_t;

/**
 * How the next token is chosen, and when the text ends. All zeros: always the likeliest token, as many as there is room for.
 */
typedef struct rillm_config_t {
  /**
   * Tokens to generate; 0 for as many as there is room for.
   */
  uint32_t max_tokens;
  /**
   * Above 1 bolder, below 1 safer, 0 always the likeliest token.
   */
  float temperature;
  /**
   * Choose among so many of the likeliest tokens, 256 at most; 0 for all.
   */
  uint32_t top_k;
  /**
   * Choose among the fewest tokens that have this probability together; 0, and from 1 on, for all.
   */
  float top_p;
  /**
   * The same seed gives the same text.
   */
  uint64_t seed;
} rillm_config_t;

/**
 * Takes the text as it comes: `len` bytes of UTF-8, whole characters, without a zero after them. Before each pass over the
 * weights it is called with a `len` of 0. It returns 0 to go on, and anything else to end the text. It must not call
 * rillm with the same handle, throw or longjmp.
 */
typedef int (*rillm_text_t)(void *user, const char *text, size_t len);

/**
 * What a model has done so far, and the last text.
 */
typedef struct rillm_stats_t {
  /**
   * Why the last rillm_generate ended.
   */
  rillm_end_t end;
  /**
   * Tokens of the last prompt, with the one that starts a text.
   */
  uint32_t prompt_tokens;
  /**
   * Tokens that the last rillm_generate generated.
   */
  uint32_t generated_tokens;
  /**
   * Tokens that there is room for, prompt and answer together.
   */
  uint32_t context;
  /**
   * Since rillm_init: tokens that went through the layers, prompts included.
   */
  uint64_t tokens;
  /**
   * Since rillm_init: reads, their bytes, and those of them that did not start where the one before ended.
   */
  uint64_t reads;
  /**
   * See `reads`.
   */
  uint64_t read_bytes;
  /**
   * See `reads`.
   */
  uint64_t seeks;
  /**
   * Since rillm_init: bytes of weights that were used where they lay in memory.
   */
  uint64_t resident_bytes;
} rillm_stats_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Says where the memory of a setup would go, and how much of it is needed at least: fills `plan`, also where the memory is
 * too small; with zeros where the model cannot be opened. Reads a few kilobytes of the model. `message` may be NULL.
 *
 * # Safety
 * Pointers are NULL or valid, and `setup.model` is so many bytes.
 */
rillm_status_t rillm_plan(const struct rillm_setup_t *setup,
                          struct rillm_plan_t *plan,
                          struct rillm_message_t *message);

/**
 * Opens a model in the memory of a setup: fills `rillm` with a handle, or with NULL where it fails. `setup` itself is not
 * needed any more then. `message` may be NULL.
 *
 * # Safety
 * Pointers are NULL or valid; memory and model are so many bytes, and nobody else's until rillm_deinit.
 */
rillm_status_t rillm_init(const struct rillm_setup_t *setup,
                          struct rillm_t **rillm,
                          struct rillm_message_t *message);

/**
 * Writes a text: `on_text` gets what comes after `prompt`, which is UTF-8 with a zero at its end. Each prompt starts a new
 * text. A `prompt` of NULL goes on with the one at hand, after an error too: no token is lost or doubled. `user` is what
 * `on_text` is called with. `message` may be NULL.
 *
 * # Safety
 * Pointers are NULL or valid, and no other thread is using the handle.
 */
rillm_status_t rillm_generate(struct rillm_t *rillm,
                              const char *prompt,
                              const struct rillm_config_t *config,
                              rillm_text_t on_text,
                              void *user,
                              struct rillm_message_t *message);

/**
 * Says what was done so far: fills `stats`.
 *
 * # Safety
 * Pointers are NULL or valid, and no other thread is using the handle.
 */
rillm_status_t rillm_stats(struct rillm_t *rillm, struct rillm_stats_t *stats);

/**
 * Says which tokens the text at hand has, prompt and answer: copies the first `room` of them to `tokens`, which may be NULL
 * where `room` is 0, and returns how many there are; 0 where the handle is not open or in use.
 *
 * # Safety
 * `tokens` has room for `room` numbers, and no other thread is using the handle.
 */
size_t rillm_tokens(struct rillm_t *rillm,
                    uint32_t *tokens,
                    size_t room);

/**
 * Ends the use of the memory; there is nothing else to give back. A handle of NULL is none, which is no error.
 *
 * # Safety
 * The handle is NULL or valid, and no other thread is using it.
 */
rillm_status_t rillm_deinit(struct rillm_t *rillm);

/**
 * What a status means and what to do about it, in general words; a rillm_message_t has those of the case at hand.
 */
const char *rillm_error_message(int32_t status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RILLM_H */
