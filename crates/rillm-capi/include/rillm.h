/* rillm: Llama-family language models in a few kilobytes. Made by cbindgen. Manual: https://github.com/rillm/rillm/blob/main/docs/c-api.md */

#ifndef RILLM_H
#define RILLM_H

#include <stddef.h>
#include <stdint.h>

/**
 * Largest number of parts in which rows are shared.
 */
#define RILLM_PARTS_MAX 8

/**
 * Largest number of options of rillm_choose.
 */
#define RILLM_OPTIONS_MAX 32

/**
 * The result of a call. The numbers do not change between versions.
 */
enum rillm_status_t
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Success.
   */
  RILLM_OK = 0,
  /**
   * An invalid argument: NULL where a value is required, a number out of range, or text that is not UTF-8.
   */
  RILLM_ERROR_ARGUMENT = 1,
  /**
   * The handle is not open: it never was, or it was closed.
   */
  RILLM_ERROR_CLOSED = 2,
  /**
   * The handle is in use: the call came from one of the callbacks.
   */
  RILLM_ERROR_BUSY = 3,
  /**
   * The read function failed, or the model's memory ends too early.
   */
  RILLM_ERROR_READ = 4,
  /**
   * The data is not a model that this version can run, or it is damaged.
   */
  RILLM_ERROR_MODEL = 5,
  /**
   * The memory is too small.
   */
  RILLM_ERROR_MEMORY = 6,
  /**
   * The text, or the prompt and the options, have more tokens than the context has room for.
   */
  RILLM_ERROR_PROMPT_TOO_LONG = 7,
  /**
   * The write function failed.
   */
  RILLM_ERROR_WRITE = 8,
  /**
   * The data is not a saved text of this model and version, or it is damaged, or the context is too small for it.
   */
  RILLM_ERROR_SAVED = 9,
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
   * There is no text, or it failed. A prompt of NULL continues it.
   */
  RILLM_END_NONE = 0,
  /**
   * The model generated an end-of-text token.
   */
  RILLM_END_OF_TEXT = 1,
  /**
   * max_tokens were generated. A prompt of NULL continues the text.
   */
  RILLM_END_MAX_TOKENS = 2,
  /**
   * The context has no room for another token.
   */
  RILLM_END_CONTEXT_FULL = 3,
  /**
   * The callback ended it. A prompt of NULL continues the text.
   */
  RILLM_END_STOPPED = 4,
  /**
   * The model generated one of the stop strings.
   */
  RILLM_END_STOP_STRING = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rillm_end_t rillm_end_t;
#else
typedef int32_t rillm_end_t;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * An open model in the memory of a setup. Only one thread may use it at a time.
 */
typedef struct rillm_t rillm_t;

/**
 * Rows of a matrix, a vector, and the sums to compute.
 */
typedef struct rillm_work_t rillm_work_t;

/**
 * Reads a part of the model file: fills `buffer` with `len` bytes from the byte 512 * `first_sector` on, and returns
 * 0. `len` is a multiple of 512, and the buffer may start at any address. Any other result means that the read failed.
 * The call that needed the bytes then fails with RILLM_ERROR_READ, and its message shows the result. The function must
 * not call rillm with the same handle, throw or longjmp.
 */
typedef int (*rillm_read_t)(void *user, uint32_t first_sector, void *buffer, size_t len);

/**
 * Has rillm_multiply called once for each of the parts 0 to `setup.parts` - 1, each on a core or thread of its own, one
 * of them its own, and returns when these calls have returned. A part that it leaves out is multiplied after it, so that
 * a core that is busy may be passed over. It is called for every few rows of every matrix of every token, some microseconds
 * apart: let the other cores poll, rather than wait for an interrupt. It must not call rillm with the same handle, throw
 * or longjmp.
 */
typedef void (*rillm_share_t)(void *user, const struct rillm_work_t *work);

/**
 * A model, and memory to run it in. Fields that are zero are left out: start with `rillm_setup_t setup = {0};`.
 */
typedef struct rillm_setup_t {
  /**
   * Reads the model; NULL if `model` is given.
   */
  rillm_read_t read;
  /**
   * First argument of `read`.
   */
  void *read_user;
  /**
   * The whole model file in memory: in memory-mapped flash, or a constant. It is used in place, and must not change
   * until rillm_deinit. NULL if `read` is given.
   */
  const void *model;
  /**
   * Length of `model` in bytes.
   */
  size_t model_len;
  /**
   * Memory at any address, for rillm alone until rillm_deinit. rillm_plan only uses its length.
   */
  void *memory;
  /**
   * Length of `memory` in bytes. With more memory, fewer weights are read for every token.
   */
  size_t memory_len;
  /**
   * External memory, slower than `memory`, such as PSRAM; or NULL.
   */
  void *external;
  /**
   * Length of `external` in bytes.
   */
  size_t external_len;
  /**
   * Tokens to make room for, prompt and answer together; 0 for as many as the model supports and the memory holds.
   */
  uint32_t context;
  /**
   * Tokens of a prompt to compute in one pass over the weights; 0 for as many as the memory holds, up to 32.
   */
  uint32_t batch;
  /**
   * Bytes of each read, rounded up to 512; 0 for as many as the memory holds, up to 16384.
   */
  size_t chunk;
  /**
   * Has other cores multiply a part of the rows; NULL to multiply all of them on the core of the call.
   */
  rillm_share_t share;
  /**
   * First argument of `share`.
   */
  void *share_user;
  /**
   * Number of parts for `share`, 2 to RILLM_PARTS_MAX: one for each core. 0 if `share` is NULL.
   */
  uint32_t parts;
} rillm_setup_t;

/**
 * The usage of the memory.
 */
typedef struct rillm_plan_t {
  /**
   * The smallest `memory_len` that works with this model, `external_len` and `context` (0: for one token). With a read
   * function, the smallest memory leads to many small reads.
   */
  size_t smallest;
  /**
   * Bytes of `memory` that are used.
   */
  size_t memory;
  /**
   * Bytes of `external` that are used.
   */
  size_t external;
  /**
   * Length of the context in tokens, prompt and answer together.
   */
  uint32_t context;
  /**
   * Tokens of a prompt that are computed in one pass over the weights.
   */
  uint32_t batch;
  /**
   * Bytes of the larger reads; 0 if all weights are in memory.
   */
  size_t chunk;
  /**
   * Bytes of resident weights, which stay in memory.
   */
  size_t resident;
  /**
   * Bytes of weights that a token uses. Those that are not resident are read for it, or used in the model's memory.
   */
  uint64_t weights;
} rillm_plan_t;

/**
 * Why a call failed, in one line of English: what was found, what was expected, and what to do. Empty after success.
 */
typedef struct rillm_message_t {
  /**
   * The line, zero-terminated. A line that is too long is cut at a character boundary.
   */
  char text[256];
} rillm_message_t;

/**
 * Sampling settings, and the limit of the text. All zeros: always the likeliest token, as many tokens as fit.
 */
typedef struct rillm_config_t {
  /**
   * Largest number of tokens to generate; 0 for as many as fit.
   */
  uint32_t max_tokens;
  /**
   * Higher is more random; 0 always takes the likeliest token.
   */
  float temperature;
  /**
   * Choose among this many of the likeliest tokens, 256 at most; 0 for all.
   */
  uint32_t top_k;
  /**
   * Choose among the fewest tokens whose probabilities add up to this; 0, and from 1 on, for all.
   */
  float top_p;
  /**
   * Choose among tokens with at least this share of the probability of the likeliest one; 0 for all.
   */
  float min_p;
  /**
   * Make the last 64 tokens less likely to be repeated: divides their logits, if positive. 0 and 1 for no penalty.
   */
  float repeat_penalty;
  /**
   * Seed of the random numbers: the same seed gives the same text.
   */
  uint64_t seed;
  /**
   * Zero-terminated strings before which the text ends: `stop_count` of them, at most 4, of at most 64 bytes. They are
   * copied where a text begins, and hold for its continuations. Text that may be the beginning of one is held back until
   * the next tokens show it. NULL if `stop_count` is 0.
   */
  const char *const *stop;
  /**
   * Number of strings in `stop`.
   */
  size_t stop_count;
} rillm_config_t;

/**
 * Receives the text as it is generated: `len` bytes of UTF-8, whole characters, not zero-terminated. It is also called
 * before each pass over the weights, with a `len` of 0. It returns 0 to continue, and anything else to end the text.
 * It must not call rillm with the same handle, throw or longjmp.
 */
typedef int (*rillm_text_t)(void *user, const char *text, size_t len);

/**
 * Receives a piece of a saved text, and returns 0; anything else ends the saving. Many pieces are as short as 2 bytes:
 * buffer them where a write is expensive. It must not call rillm with the same handle, throw or longjmp.
 */
typedef int (*rillm_write_bytes_t)(void *user, const void *bytes, size_t len);

/**
 * Fills `bytes` with the next `len` bytes of a saved text, and returns 0; anything else means that it cannot. It must
 * not call rillm with the same handle, throw or longjmp.
 */
typedef int (*rillm_read_bytes_t)(void *user, void *bytes, size_t len);

/**
 * Statistics since rillm_init, and of the last text.
 */
typedef struct rillm_stats_t {
  /**
   * Why the last rillm_generate ended.
   */
  rillm_end_t end;
  /**
   * Tokens of the last prompt, beginning-of-text token included.
   */
  uint32_t prompt_tokens;
  /**
   * Tokens that the last rillm_generate generated.
   */
  uint32_t generated_tokens;
  /**
   * In a chat, the number of oldest turns that were forgotten to make room for the last one and its answer.
   */
  uint32_t forgotten_turns;
  /**
   * Length of the context in tokens, prompt and answer together.
   */
  uint32_t context;
  /**
   * Since rillm_init: tokens computed, prompts included.
   */
  uint64_t tokens;
  /**
   * Since rillm_init: reads, their bytes, and seeks: reads that did not start where the one before ended.
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
   * Since rillm_init: bytes of weights that were in memory and not read.
   */
  uint64_t resident_bytes;
} rillm_stats_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Plans the memory of a setup: fills `plan` with the usage and the smallest size, also where the memory is too small.
 * If the model cannot be opened, `plan` is all zeros. Reads a few kilobytes of the model. `message` may be NULL.
 *
 * # Safety
 * Pointers are NULL or valid, and `setup.model` has `setup.model_len` bytes.
 */
rillm_status_t rillm_plan(const struct rillm_setup_t *setup,
                          struct rillm_plan_t *plan,
                          struct rillm_message_t *message);

/**
 * Opens a model in the memory of a setup. Sets `rillm` to a handle, or to NULL if it fails. `setup` itself may be
 * discarded afterwards. `message` may be NULL.
 *
 * # Safety
 * Pointers are NULL or valid. Memory and model have the lengths given, and nobody else uses them until rillm_deinit.
 */
rillm_status_t rillm_init(const struct rillm_setup_t *setup,
                          struct rillm_t **rillm,
                          struct rillm_message_t *message);

/**
 * Generates a text after `prompt`, which is zero-terminated UTF-8, and passes it to `on_text`. Each prompt starts a
 * new text. A `prompt` of NULL continues the current text, after an error too: no token is lost or repeated. `user` is
 * passed to `on_text`. `message` may be NULL.
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
 * Chooses among `count` texts, at most RILLM_OPTIONS_MAX: sets `choice` to the index of the one that is the likeliest
 * after the current text and `prompt`, and `log_probabilities` to the natural logarithm of the probability of each.
 * <https://github.com/rillm/rillm/blob/main/docs/choose.md> defines them. A space between the prompt and the texts may stand
 * at the end of the prompt or at the start of the texts.
 *
 * The current text stays, and what was computed of it: put text that several choices share there by rillm_push. A
 * `prompt` of NULL is an empty one. `log_probabilities`, with room for `count` numbers, and `message` may be NULL.
 * After an error neither `choice` nor `log_probabilities` is set.
 *
 * # Safety
 * Pointers are NULL or valid, `options` has `count` zero-terminated strings, and no other thread is using the handle.
 */
rillm_status_t rillm_choose(struct rillm_t *rillm,
                            const char *prompt,
                            const char *const *options,
                            size_t count,
                            double *log_probabilities,
                            size_t *choice,
                            struct rillm_message_t *message);

/**
 * Starts a chat with a model that has a chat template. The current text ends. From now on, until rillm_reset or
 * rillm_restore, each prompt of rillm_generate is a turn, and the text is the answer to it: earlier turns stay in the
 * context and are not computed again. When the context is full, the oldest ones are forgotten, each as a whole. `system`,
 * zero-terminated UTF-8, is the system prompt; NULL for the template's own start. rillm_save saves the text of a chat, not
 * the turns. After an error the current text is empty, and no chat. `message` may be NULL.
 *
 * # Safety
 * Pointers are NULL or valid, and no other thread is using the handle.
 */
rillm_status_t rillm_chat(struct rillm_t *rillm,
                          const char *system,
                          struct rillm_message_t *message);

/**
 * Appends `text`, which is zero-terminated UTF-8, to the current text. Nothing is computed yet: rillm_generate with a
 * prompt of NULL continues it, and rillm_choose compares what may follow it. In a chat, it is a part of the answer. After
 * an error the current text is as before. `message` may be NULL.
 *
 * # Safety
 * Pointers are NULL or valid, and no other thread is using the handle.
 */
rillm_status_t rillm_push(struct rillm_t *rillm,
                          const char *text,
                          struct rillm_message_t *message);

/**
 * Counts the tokens that `text`, which is zero-terminated UTF-8, would append to the current text, and copies the
 * first `room` of them to `tokens`, which may be NULL if `room` is 0. The current text stays. A text that the context
 * has no room for is an error. `message` may be NULL.
 *
 * # Safety
 * Pointers are NULL or valid, `tokens` has room for `room` numbers, and no other thread is using the handle.
 */
rillm_status_t rillm_tokenize(struct rillm_t *rillm,
                              const char *text,
                              uint32_t *tokens,
                              size_t room,
                              size_t *count,
                              struct rillm_message_t *message);

/**
 * Saves the current text, and what was computed of it, through `write`: to a file, or to flash. `user` is passed to
 * `write`. `message` may be NULL.
 *
 * # Safety
 * Pointers are NULL or valid, and no other thread is using the handle.
 */
rillm_status_t rillm_save(struct rillm_t *rillm,
                          rillm_write_bytes_t write,
                          void *user,
                          struct rillm_message_t *message);

/**
 * Replaces the current text by one that rillm_save has written, read through `read`: rillm_generate with a prompt of
 * NULL continues it, with the same text as if it had never been saved, and nothing is computed again. The model file
 * must be the same; the memory may be another one. After an error the current text is empty. `user` is passed to
 * `read`. `message` may be NULL.
 *
 * # Safety
 * Pointers are NULL or valid, and no other thread is using the handle.
 */
rillm_status_t rillm_restore(struct rillm_t *rillm,
                             rillm_read_bytes_t read,
                             void *user,
                             struct rillm_message_t *message);

/**
 * Ends the current text, or the chat: rillm_push starts a new text.
 *
 * # Safety
 * The handle is NULL or valid, and no other thread is using it.
 */
rillm_status_t rillm_reset(struct rillm_t *rillm);

/**
 * Fills `stats` with the statistics so far.
 *
 * # Safety
 * Pointers are NULL or valid, and no other thread is using the handle.
 */
rillm_status_t rillm_stats(struct rillm_t *rillm, struct rillm_stats_t *stats);

/**
 * Copies the first `room` tokens of the current text, prompt and answer, to `tokens`, which may be NULL if `room` is
 * 0. Returns the number of tokens of the text; 0 if the handle is not open or in use.
 *
 * # Safety
 * `tokens` has room for `room` numbers, and no other thread is using the handle.
 */
size_t rillm_tokens(struct rillm_t *rillm,
                    uint32_t *tokens,
                    size_t room);

/**
 * Multiplies a part of the rows that the setup's `share` was called with, on the core or thread of the call. The result is
 * the same as on one core.
 *
 * # Safety
 * `work` is what `share` was called with, that call has not returned, and nobody else multiplies this part.
 */
void rillm_multiply(const struct rillm_work_t *work,
                    uint32_t part);

/**
 * Closes the handle and ends the use of the memory. There is nothing else to free. A handle of NULL is not an error.
 *
 * # Safety
 * The handle is NULL or valid, and no other thread is using it.
 */
rillm_status_t rillm_deinit(struct rillm_t *rillm);

/**
 * Describes a status and what to do about it, in general. A rillm_message_t describes the actual case.
 */
const char *rillm_error_message(int32_t status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RILLM_H */
