/* Starts an example of the C interface in QEMU, with the arguments of the semihosting command line, separated by '|'. */
#include <semihost.h>
#include <string.h>

int example(int argc, char **argv);

int main(void) {
  static char line[512];
  static char *arguments[16];
  char *at;
  int count = 0;

  if (sys_semihost_get_cmdline(line, sizeof line) != 0) {
    return 2;
  }
  for (at = strtok(line, "|"); at != NULL && count < 15; at = strtok(NULL, "|")) {
    arguments[count++] = at;
  }
  return example(count, arguments);
}
