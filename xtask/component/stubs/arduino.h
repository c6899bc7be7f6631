/* What the Arduino example uses of Espressif's Arduino core (3.0), to compile the example without it. */
#ifndef RILLM_STUB_ARDUINO_H
#define RILLM_STUB_ARDUINO_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

class String {
 public:
  void trim();
  const char *c_str() const;
};
class Stream {
 public:
  void begin(unsigned long baud);
  int available();
  size_t write(const uint8_t *buffer, size_t size);
  size_t print(const String &text);
  size_t print(const char text[]);
  size_t println(const char text[]);
  size_t println();
  String readStringUntil(char terminator);
};
extern Stream Serial;
class File {
 public:
  bool seek(uint32_t position);
  size_t read(uint8_t *buffer, size_t size);
  operator bool() const;
};
class FS {
 public:
  bool begin();
  File open(const char *path);
};
extern FS SD;
class EspClass {
 public:
  uint32_t getMaxAllocPsram();
};
extern EspClass ESP;
bool psramFound();
void *ps_malloc(size_t size);
void delay(uint32_t milliseconds);
unsigned long millis();
size_t getArduinoLoopTaskStackSize();
#define SET_LOOP_TASK_STACK_SIZE(size) \
  size_t getArduinoLoopTaskStackSize() { return size; }

void setup();
void loop();
#endif
