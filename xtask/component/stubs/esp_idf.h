/* What the ESP-IDF example uses of ESP-IDF, with the signatures of its manual (5.3), to compile the example without it. */
#ifndef RILLM_STUB_ESP_IDF_H
#define RILLM_STUB_ESP_IDF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int esp_err_t;
#define ESP_OK 0
#define ESP_ERR_NOT_FOUND 0x105
void _esp_error_check_failed(esp_err_t error);
#define ESP_ERROR_CHECK(x) \
  do { \
    esp_err_t error = (x); \
    if (error != ESP_OK) { \
      _esp_error_check_failed(error); \
    } \
  } while (0)

#define MALLOC_CAP_8BIT (1 << 2)
#define MALLOC_CAP_SPIRAM (1 << 10)
#define MALLOC_CAP_INTERNAL (1 << 11)
void *heap_caps_malloc(size_t size, uint32_t caps);
size_t heap_caps_get_largest_free_block(uint32_t caps);

typedef uint32_t TickType_t;
typedef int BaseType_t;
typedef unsigned UBaseType_t;
typedef struct tskTaskControlBlock *TaskHandle_t;
typedef void (*TaskFunction_t)(void *);
#define pdTRUE 1
#define portMAX_DELAY 0xffffffffUL
BaseType_t xTaskCreatePinnedToCore(TaskFunction_t code, const char *const name, const uint32_t stack_depth,
                                   void *const parameters, UBaseType_t priority, TaskHandle_t *const task,
                                   const BaseType_t core);
uint32_t ulTaskNotifyTake(BaseType_t clear, TickType_t ticks);
BaseType_t xTaskNotifyGive(TaskHandle_t task);
void vTaskDelay(const TickType_t ticks);

typedef enum { ESP_PARTITION_TYPE_APP, ESP_PARTITION_TYPE_DATA } esp_partition_type_t;
typedef enum { ESP_PARTITION_SUBTYPE_ANY = 0xff } esp_partition_subtype_t;
typedef enum { ESP_PARTITION_MMAP_DATA, ESP_PARTITION_MMAP_INST } esp_partition_mmap_memory_t;
typedef uint32_t esp_partition_mmap_handle_t;
typedef struct {
  uint32_t address;
  uint32_t size;
} esp_partition_t;
const esp_partition_t *esp_partition_find_first(esp_partition_type_t type, esp_partition_subtype_t subtype,
                                                const char *label);
esp_err_t esp_partition_mmap(const esp_partition_t *partition, size_t offset, size_t size,
                             esp_partition_mmap_memory_t memory, const void **out_ptr,
                             esp_partition_mmap_handle_t *out_handle);

typedef enum { SPI1_HOST, SPI2_HOST, SPI3_HOST } spi_host_device_t;
typedef int gpio_num_t;
typedef struct {
  int mosi_io_num, miso_io_num, sclk_io_num, quadwp_io_num, quadhd_io_num, max_transfer_sz;
} spi_bus_config_t;
#define SDSPI_DEFAULT_DMA 3
esp_err_t spi_bus_initialize(spi_host_device_t host, const spi_bus_config_t *config, int dma);
typedef struct {
  int slot;
} sdmmc_host_t;
typedef struct {
  spi_host_device_t host_id;
  gpio_num_t gpio_cs;
} sdspi_device_config_t;
#define SDSPI_HOST_DEFAULT() {.slot = SPI2_HOST}
#define SDSPI_DEVICE_CONFIG_DEFAULT() {.host_id = SPI2_HOST, .gpio_cs = 13}
typedef struct sdmmc_card sdmmc_card_t;
typedef struct {
  bool format_if_mount_failed;
  int max_files;
  size_t allocation_unit_size;
} esp_vfs_fat_sdmmc_mount_config_t;
esp_err_t esp_vfs_fat_sdspi_mount(const char *base_path, const sdmmc_host_t *host, const sdspi_device_config_t *slot,
                                  const esp_vfs_fat_sdmmc_mount_config_t *mount, sdmmc_card_t **card);

void app_main(void);
#endif
