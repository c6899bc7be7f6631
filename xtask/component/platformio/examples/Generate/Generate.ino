// Continues the lines that are typed into the serial monitor, with a model on an SD card: /model.rillm.
#include <SD.h>
#include <SPI.h>
#include <rillm.h>

// rillm needs 24 KiB of stack.
SET_LOOP_TASK_STACK_SIZE(32 * 1024);

const size_t MEMORY = 96 * 1024;

static File model;
static rillm_t *rillm;

static int readSectors(void *, uint32_t firstSector, void *buffer, size_t len) {
  if (!model.seek(firstSector * 512)) {
    return -1;
  }
  return model.read(static_cast<uint8_t *>(buffer), len) == len ? 0 : -2;
}

static int printText(void *, const char *text, size_t len) {
  Serial.write(reinterpret_cast<const uint8_t *>(text), len);
  if (len == 0) {
    delay(1);  // A pass begins: the idle task feeds the watchdog.
  }
  return 0;
}

void setup() {
  Serial.begin(115200);
  if (!SD.begin()) {
    Serial.println("there is no card");
    return;
  }
  model = SD.open("/model.rillm");
  if (!model) {
    Serial.println("there is no /model.rillm on the card");
    return;
  }

  rillm_setup_t setup = {};
  setup.read = readSectors;
  setup.memory_len = MEMORY;
  setup.memory = malloc(MEMORY);
  if (psramFound()) {
    setup.external_len = ESP.getMaxAllocPsram();
    setup.external = ps_malloc(setup.external_len);
    if (setup.external == nullptr) {
      setup.external_len = 0;
    }
  }
  rillm_message_t message;
  if (rillm_init(&setup, &rillm, &message) != RILLM_OK) {
    Serial.println(message.text);
    return;
  }
  Serial.println("Type the beginning of a text.");
}

void loop() {
  if (rillm == nullptr || !Serial.available()) {
    delay(10);
    return;
  }
  String prompt = Serial.readStringUntil('\n');
  prompt.trim();

  rillm_config_t config = {};
  config.max_tokens = 100;
  config.temperature = 0.8f;
  config.top_p = 0.95f;
  config.seed = millis();
  rillm_message_t message;
  Serial.print(prompt);
  if (rillm_generate(rillm, prompt.c_str(), &config, printText, nullptr, &message) != RILLM_OK) {
    Serial.print(message.text);
  }
  Serial.println();
}
