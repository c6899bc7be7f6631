/* Continues a text with a model in flash or on an SD card. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "esp_err.h"
#include "esp_heap_caps.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "sdkconfig.h"

#include "rillm.h"

#if CONFIG_EXAMPLE_MODEL_IN_FLASH
#include "esp_partition.h"

/* The model is used where it lies. */
static void find_model(rillm_setup_t *setup) {
  const esp_partition_t *partition =
      esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, "model");
  esp_partition_mmap_handle_t handle;

  ESP_ERROR_CHECK(partition == NULL ? ESP_ERR_NOT_FOUND : ESP_OK);
  ESP_ERROR_CHECK(
      esp_partition_mmap(partition, 0, partition->size, ESP_PARTITION_MMAP_DATA, &setup->model, &handle));
  setup->model_len = partition->size;
}
#else
#include "driver/sdspi_host.h"
#include "driver/spi_common.h"
#include "esp_vfs_fat.h"
#include "sdmmc_cmd.h"

static int model_file;

static int read_sectors(void *user, uint32_t first_sector, void *buffer, size_t len) {
  (void)user;
  if (lseek(model_file, (off_t)first_sector * 512, SEEK_SET) < 0) {
    return -1;
  }
  return read(model_file, buffer, len) == (ssize_t)len ? 0 : -2;
}

static void find_model(rillm_setup_t *setup) {
  esp_vfs_fat_sdmmc_mount_config_t mount = {.max_files = 2};
  sdmmc_host_t host = SDSPI_HOST_DEFAULT();
  sdspi_device_config_t slot = SDSPI_DEVICE_CONFIG_DEFAULT();
  spi_bus_config_t bus = {.mosi_io_num = CONFIG_EXAMPLE_PIN_MOSI,
                          .miso_io_num = CONFIG_EXAMPLE_PIN_MISO,
                          .sclk_io_num = CONFIG_EXAMPLE_PIN_CLK,
                          .quadwp_io_num = -1,
                          .quadhd_io_num = -1,
                          .max_transfer_sz = 16 * 1024};
  sdmmc_card_t *card;

  ESP_ERROR_CHECK(spi_bus_initialize((spi_host_device_t)host.slot, &bus, SDSPI_DEFAULT_DMA));
  slot.gpio_cs = (gpio_num_t)CONFIG_EXAMPLE_PIN_CS;
  slot.host_id = (spi_host_device_t)host.slot;
  ESP_ERROR_CHECK(esp_vfs_fat_sdspi_mount("/sd", &host, &slot, &mount, &card));
  model_file = open("/sd/model.rillm", O_RDONLY);
  ESP_ERROR_CHECK(model_file < 0 ? ESP_ERR_NOT_FOUND : ESP_OK);
  setup->read = read_sectors;
}
#endif

#if !CONFIG_FREERTOS_UNICORE
#include <stdatomic.h>
#include <stdbool.h>

/* The second core's rows, or NULL: it multiplies them and sets this to NULL again. */
static _Atomic(const rillm_work_t *) rows_of_second_core;
/* Whether a text is being generated. Between texts the second core is free. */
static atomic_bool generating;
static TaskHandle_t second_core;

static void multiply(void *unused) {
  (void)unused;
  for (;;) {
    ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
    while (atomic_load(&generating)) {
      const rillm_work_t *work = atomic_load_explicit(&rows_of_second_core, memory_order_acquire);
      if (work != NULL) {
        rillm_multiply(work, 1);
        atomic_store_explicit(&rows_of_second_core, NULL, memory_order_release);
      }
    }
  }
}

/* Multiplies rows on both cores. */
static void share(void *user, const rillm_work_t *work) {
  (void)user;
  atomic_store_explicit(&rows_of_second_core, work, memory_order_release);
  rillm_multiply(work, 0);
  while (atomic_load_explicit(&rows_of_second_core, memory_order_acquire) != NULL) {
  }
}
#endif

static int print(void *user, const char *text, size_t len) {
  (void)user;
  fwrite(text, 1, len, stdout);
  fflush(stdout);
  if (len == 0) {
    vTaskDelay(1); /* A pass begins: the idle task feeds the watchdog. */
  }
  return 0;
}

void app_main(void) {
  static const char prompt[] = "Once upon a time";
  rillm_setup_t setup = {0};
  rillm_config_t config = {0};
  rillm_message_t message;
  rillm_status_t status;
  rillm_stats_t stats;
  rillm_t *rillm;

  find_model(&setup);
  setup.memory_len = CONFIG_EXAMPLE_MEMORY * 1024;
  setup.memory = heap_caps_malloc(setup.memory_len, MALLOC_CAP_INTERNAL | MALLOC_CAP_8BIT);
  setup.external_len = heap_caps_get_largest_free_block(MALLOC_CAP_SPIRAM);
  setup.external = setup.external_len == 0 ? NULL : heap_caps_malloc(setup.external_len, MALLOC_CAP_SPIRAM);
  if (setup.external == NULL) {
    setup.external_len = 0;
  }
#if !CONFIG_FREERTOS_UNICORE
  xTaskCreatePinnedToCore(multiply, "rillm", 8192, NULL, 5, &second_core, 1);
  setup.share = share;
  setup.parts = 2;
#endif
  status = rillm_init(&setup, &rillm, &message);
  if (status != RILLM_OK) {
    printf("rillm_init: %s\n", message.text);
    return;
  }

  config.max_tokens = 200;
  config.temperature = 0.8f;
  config.top_p = 0.95f;
  config.seed = 1;
  printf("%s", prompt);
#if !CONFIG_FREERTOS_UNICORE
  atomic_store(&generating, true);
  xTaskNotifyGive(second_core);
#endif
  status = rillm_generate(rillm, prompt, &config, print, NULL, &message);
#if !CONFIG_FREERTOS_UNICORE
  atomic_store(&generating, false);
#endif
  printf("\n");
  if (status != RILLM_OK) {
    printf("rillm_generate: %s\n", message.text);
  }
  rillm_stats(rillm, &stats);
  printf("%lu tokens, %lu bytes read\n", (unsigned long)stats.generated_tokens, (unsigned long)stats.read_bytes);
  rillm_deinit(rillm);
}
