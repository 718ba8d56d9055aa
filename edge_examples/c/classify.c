/* SPDX-License-Identifier: Apache-2.0
 * Runs a .tflite classifier on raw input bytes and prints its five best classes.
 *
 *   classify MODEL.tflite [INPUT.bin]      INPUT.bin holds the first input's values; without it they are zeros */
#include <stdio.h>
#include <stdlib.h>

#include "rillet.h"

static rlt_error err; /* what a call that fails has to say */

static void must(rlt_status status) {
  if (status != RLT_OK) fprintf(stderr, "%s: %s\n", rlt_status_name(status), err.text), exit(1);
}

static void *block(size_t bytes) {
  return aligned_alloc(RLT_BLOCK_ALIGN, (bytes / RLT_BLOCK_ALIGN + 1) * RLT_BLOCK_ALIGN);
}

static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) perror(path), exit(1);
  *size = (size_t)ftell(file);
  rewind(file);
  void *bytes = block(*size);
  if (fread(bytes, 1, *size, file) != *size) perror(path), exit(1);
  fclose(file);
  return bytes;
}

static double value(const rlt_tensor_info *t, const void *data, uint64_t i) {
  if (t->type == 9) return ((const int8_t *)data)[i]; /* INT8, of the schema's TensorType */
  return t->type == 3 ? ((const uint8_t *)data)[i] : ((const float *)data)[i];
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: classify MODEL.tflite [INPUT.bin]\n"), 2;
  size_t size, need, given = 0;
  const void *file = read_file(argv[1], &size);
  const rlt_model *model;
  must(rlt_open_size(file, size, &need, &err));
  must(rlt_open(file, size, NULL, NULL, 0, block(need), need, &model, &err));

  rlt_options options = {.threads = 1};
  rlt_interpreter *it;
  rlt_sizes sizes;
  need = rlt_create_size(model, &options);
  must(rlt_create(model, &options, block(need), need, &it, &err));
  must(rlt_prepare(it, &err)); /* from here on the sizes are exact: the memory is yours */
  must(rlt_get_sizes(it, &sizes));
  must(rlt_bind(it, block(sizes.prepared), sizes.prepared, false, block(sizes.arena), sizes.arena, &err));

  rlt_tensor_info in, out;
  must(rlt_get_tensor_info(it, 0, rlt_input_tensor(model, 0, 0), &in));
  unsigned char *x = rlt_tensor_data(it, 0, rlt_input_tensor(model, 0, 0));
  const unsigned char *from = argc > 2 ? read_file(argv[2], &given) : NULL;
  for (uint64_t i = 0; i < in.bytes; i++) x[i] = i < given ? from[i] : 0;
  must(rlt_invoke(it, &err));

  must(rlt_get_tensor_info(it, 0, rlt_output_tensor(model, 0, 0), &out));
  const void *y = rlt_tensor_data(it, 0, rlt_output_tensor(model, 0, 0));
  uint64_t classes = (uint64_t)out.dims[out.rank - 1];
  for (int rank = 0; rank < 5; rank++) { /* ties go to the first */
    uint64_t best = classes;
    static unsigned char taken[1 << 16];
    for (uint64_t i = 0; i < classes && i < sizeof taken; i++)
      if (!taken[i] && (best == classes || value(&out, y, i) > value(&out, y, best))) best = i;
    if (best == classes) break;
    taken[best] = 1;
    printf("%llu %g\n", (unsigned long long)best, value(&out, y, best));
  }
  return 0;
}
