/* SPDX-License-Identifier: Apache-2.0
 * Reads a FlexBuffer from FILE and prints what its map holds under each KEY: integer, number, count of elements and
 * their numbers, text. With --damage it instead reads every truncation and every flipped byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/core/flexbuffer.h"

static void show(rlt_bytes bytes, char **keys, int count, FILE *out) {
  rlt_flex root, value, item;
  if (!rlt_flex_root(bytes, &root)) {
    fprintf(out, "broken\n");
    return;
  }
  for (int i = 0; i < count; i++) {
    bool found = rlt_flex_get(&root, keys[i], &value);
    const char *text = rlt_flex_string(&value);
    fprintf(out, "%s %d %lld %.9g %d [", keys[i], found, (long long)rlt_flex_i64(&value, -1),
            rlt_flex_f64(&value, -1.0), rlt_flex_bool(&value, false));
    for (uint64_t k = 0; k < rlt_flex_count(&value) && k < 1000; k++)
      fprintf(out, "%s%.9g", k ? "," : "", rlt_flex_at(&value, k, &item) ? rlt_flex_f64(&item, -1.0) : -2.0);
    fprintf(out, "] %s\n", text ? text : "-");
  }
}

static void damage(const uint8_t *data, size_t size, char **keys, int count) {
  FILE *nowhere = fopen("/dev/null", "w");
  if (!nowhere) exit(2);
  for (size_t i = 0; i < size; i++) {
    for (int value = -1; value < 256; value++) { /* -1: cut short here */
      size_t kept = value < 0 ? i : size;
      uint8_t *copy = malloc(kept ? kept : 1);
      if (!copy) abort();
      memcpy(copy, data, kept);
      if (value >= 0) copy[i] = (uint8_t)value;
      show((rlt_bytes){copy, kept}, keys, count, nowhere);
      free(copy);
    }
  }
  fclose(nowhere);
}

int main(int argc, char **argv) {
  uint8_t data[4096];
  bool damaged = argc > 2 && !strcmp(argv[2], "--damage");
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
  if (!file) return fprintf(stderr, "usage: flex_driver FILE [--damage] KEY...\n"), 2;
  size_t size = fread(data, 1, sizeof data, file);
  fclose(file);
  char **keys = argv + 2 + damaged;
  int count = argc - 2 - damaged;
  if (damaged) {
    damage(data, size, keys, count);
  } else {
    show((rlt_bytes){data, size}, keys, count, stdout);
  }
  return 0;
}
