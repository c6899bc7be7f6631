/* Chooses among texts with rillm: choose MODEL.rillm PROMPT TEXT TEXT... */
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

static int failed(const char *call, rillm_status_t status, const rillm_message_t *message) {
  fprintf(stderr, "%s: %s (status %d)\n", call, message->text, (int)status);
  return EXIT_FAILURE;
}

static int choose(FILE *file, const char *prompt, const char *const *texts, size_t count) {
  rillm_setup_t setup = {0};
  rillm_message_t message;
  rillm_status_t status;
  rillm_t *rillm;
  double log_probabilities[RILLM_OPTIONS_MAX];
  size_t choice, i;

  setup.read = read_sectors;
  setup.read_user = file;
  setup.memory = memory;
  setup.memory_len = sizeof memory;
  status = rillm_init(&setup, &rillm, &message);
  if (status != RILLM_OK) {
    return failed("rillm_init", status, &message);
  }

  status = rillm_choose(rillm, prompt, texts, count, log_probabilities, &choice, &message);
  if (status != RILLM_OK) {
    return failed("rillm_choose", status, &message);
  }
  for (i = 0; i < count; i++) {
    printf("%f %s\n", log_probabilities[i], texts[i]);
  }
  /* On a chip: a pin, a motor, a message. */
  printf("%s\n", texts[choice]);
  rillm_deinit(rillm);
  return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  FILE *file = argc > 3 && argc - 3 <= RILLM_OPTIONS_MAX ? fopen(argv[1], "rb") : NULL;
  int code;

  if (file == NULL) {
    fprintf(stderr, "usage: %s MODEL.rillm PROMPT TEXT TEXT...\n", argv[0]);
    return EXIT_FAILURE;
  }
  code = choose(file, argv[2], (const char *const *)(argv + 3), (size_t)argc - 3);
  fclose(file);
  return code;
}
