/* Generates with rillm on two cores, here two threads: second_core MODEL.rillm [PROMPT [MAX_TOKENS]] */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "rillm.h"

static unsigned char memory[128 * 1024];

/* The second core's rows, or NULL: it multiplies them and sets this to NULL again. */
static _Atomic(const rillm_work_t *) rows_of_second_core;
static atomic_bool ended;

/* The program of the second core. */
static void *second_core(void *unused) {
  (void)unused;
  while (!atomic_load(&ended)) {
    const rillm_work_t *work = atomic_load_explicit(&rows_of_second_core, memory_order_acquire);
    if (work == NULL) {
      sched_yield(); /* On a chip the core polls: an interrupt would come too late. */
      continue;
    }
    rillm_multiply(work, 1);
    atomic_store_explicit(&rows_of_second_core, NULL, memory_order_release);
  }
  return NULL;
}

/* Multiplies rows on both cores. */
static void share(void *user, const rillm_work_t *work) {
  (void)user;
  atomic_store_explicit(&rows_of_second_core, work, memory_order_release);
  rillm_multiply(work, 0);
  while (atomic_load_explicit(&rows_of_second_core, memory_order_acquire) != NULL) {
    sched_yield();
  }
}

static int read_sectors(void *user, uint32_t first_sector, void *buffer, size_t len) {
  FILE *file = (FILE *)user;
  if (fseek(file, (long)first_sector * 512, SEEK_SET) != 0) {
    return -1;
  }
  return fread(buffer, 1, len, file) == len ? 0 : -2;
}

static int print(void *user, const char *text, size_t len) {
  (void)user;
  return fwrite(text, 1, len, stdout) != len;
}

static int generate(FILE *file, const char *prompt, uint32_t max_tokens) {
  rillm_setup_t setup = {0};
  rillm_config_t config = {0};
  rillm_stats_t stats;
  rillm_message_t message;
  rillm_t *rillm;

  setup.read = read_sectors;
  setup.read_user = file;
  setup.memory = memory;
  setup.memory_len = sizeof memory;
  setup.share = share;
  setup.parts = 2;
  config.max_tokens = max_tokens;

  if (rillm_init(&setup, &rillm, &message) != RILLM_OK) {
    fprintf(stderr, "rillm_init: %s\n", message.text);
    return EXIT_FAILURE;
  }
  printf("%s", prompt);
  if (rillm_generate(rillm, prompt, &config, print, NULL, &message) != RILLM_OK) {
    fprintf(stderr, "rillm_generate: %s\n", message.text);
    return EXIT_FAILURE;
  }
  printf("\n");
  rillm_stats(rillm, &stats);
  fprintf(stderr, "%lu tokens after a prompt of %lu, in two threads\n", (unsigned long)stats.generated_tokens,
          (unsigned long)stats.prompt_tokens);
  rillm_deinit(rillm);
  return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
  pthread_t thread;
  int code;

  if (file == NULL || pthread_create(&thread, NULL, second_core, NULL) != 0) {
    fprintf(stderr, "usage: %s MODEL.rillm [PROMPT [MAX_TOKENS]]\n", argv[0]);
    return EXIT_FAILURE;
  }
  code = generate(file, argc > 2 ? argv[2] : "Once upon a time", argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 64);
  atomic_store(&ended, 1);
  pthread_join(thread, NULL);
  fclose(file);
  return code;
}
