/* Continues a prompt with rillm: generate MODEL.rillm [PROMPT [MAX_TOKENS [TEMPERATURE]]] */
#include <stdio.h>
#include <stdlib.h>

#include "rillm.h"

/* All the memory that the model gets. On a chip: what the program leaves of its RAM. */
static unsigned char memory[128 * 1024];

/* Reads 512-byte sectors of the model. On a chip: the card's driver, or that of the flash. */
static int read_sectors(void *user, uint32_t first_sector, void *buffer, size_t len) {
  FILE *file = (FILE *)user;
  if (fseek(file, (long)first_sector * 512, SEEK_SET) != 0) {
    return -1;
  }
  return fread(buffer, 1, len, file) == len ? 0 : -2;
}

/* Prints text as it comes. */
static int print(void *user, const char *text, size_t len) {
  (void)user;
  if (fwrite(text, 1, len, stdout) != len) {
    return 1;
  }
  return fflush(stdout);
}

static int failed(const char *call, rillm_status_t status, const rillm_message_t *message) {
  fprintf(stderr, "%s: %s (status %d)\n", call, message->text, (int)status);
  return EXIT_FAILURE;
}

static int generate(FILE *file, const char *prompt, const rillm_config_t *config) {
  rillm_setup_t setup = {0};
  rillm_plan_t plan;
  rillm_stats_t stats;
  rillm_message_t message;
  rillm_status_t status;
  rillm_t *rillm;

  setup.read = read_sectors;
  setup.read_user = file;
  setup.memory = memory;
  setup.memory_len = sizeof memory;

  status = rillm_plan(&setup, &plan, &message);
  if (status != RILLM_OK) {
    if (status == RILLM_ERROR_MEMORY) {
      fprintf(stderr, "this model needs %lu bytes of memory\n", (unsigned long)plan.smallest);
    }
    return failed("rillm_plan", status, &message);
  }
  status = rillm_init(&setup, &rillm, &message);
  if (status != RILLM_OK) {
    return failed("rillm_init", status, &message);
  }

  printf("%s", prompt);
  status = rillm_generate(rillm, prompt, config, print, NULL, &message);
  printf("\n");
  if (status != RILLM_OK) {
    return failed("rillm_generate", status, &message);
  }

  rillm_stats(rillm, &stats);
  fprintf(stderr, "%lu tokens after a prompt of %lu, in %lu of %lu bytes of memory; %lu reads, %lu bytes\n",
          (unsigned long)stats.generated_tokens, (unsigned long)stats.prompt_tokens, (unsigned long)plan.memory,
          (unsigned long)sizeof memory, (unsigned long)stats.reads, (unsigned long)stats.read_bytes);
  rillm_deinit(rillm);
  return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  const char *prompt = argc > 2 ? argv[2] : "Once upon a time";
  rillm_config_t config = {0};
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
  int code;

  if (file == NULL) {
    fprintf(stderr, "usage: %s MODEL.rillm [PROMPT [MAX_TOKENS [TEMPERATURE]]]\n", argv[0]);
    return EXIT_FAILURE;
  }
  config.max_tokens = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 64;
  config.temperature = argc > 4 ? strtof(argv[4], NULL) : 0.0f;
  code = generate(file, prompt, &config);
  fclose(file);
  return code;
}
