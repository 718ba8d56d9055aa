/* SPDX-License-Identifier: Apache-2.0
 * classify MODEL.tflite INPUT.bin: runs a classifier on the bytes of a file and prints its best class and the score. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
  void *bytes = block(*size = (size_t)ftell(file));
  rewind(file);
  if (fread(bytes, 1, *size, file) != *size) perror(path), exit(1);
  return fclose(file), bytes;
}

static double score(const void *y, int32_t type, uint64_t i) { /* type: TensorType of the schema; 9 INT8, 3 UINT8 */
  return type == 9 ? ((const int8_t *)y)[i] : type == 3 ? ((const uint8_t *)y)[i] : (double)((const float *)y)[i];
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: classify MODEL.tflite INPUT.bin\n"), 2;
  size_t size, need, given;
  const void *file = read_file(argv[1], &size), *input = read_file(argv[2], &given);
  const rlt_model *model;
  must(rlt_open_size(file, size, &need, &err));
  must(rlt_open(file, size, NULL, NULL, 0, block(need), need, &model, &err));

  const rlt_options options = {.threads = 1};
  rlt_interpreter *it;
  rlt_sizes sizes;
  need = rlt_create_size(model, &options);
  must(rlt_create(model, &options, block(need), need, &it, &err));
  must(rlt_prepare(it, &err)); /* from here on the sizes are exact: the memory is yours */
  must(rlt_get_sizes(it, &sizes));
  must(rlt_bind(it, block(sizes.prepared), sizes.prepared, false, block(sizes.arena), sizes.arena, &err));

  rlt_tensor_info x, y;
  int32_t in = rlt_input_tensor(model, 0, 0), out = rlt_output_tensor(model, 0, 0);
  must(rlt_get_tensor_info(it, 0, in, &x));
  must(rlt_get_tensor_info(it, 0, out, &y));
  if (given != x.bytes)
    return fprintf(stderr, "%s: the model takes %llu bytes\n", argv[2], (unsigned long long)x.bytes), 1;
  memcpy(rlt_tensor_data(it, 0, in), input, given);
  must(rlt_invoke(it, &err));

  const void *scores = rlt_tensor_data(it, 0, out);
  uint64_t best = 0, classes = y.bytes / (y.type == 9 || y.type == 3 ? 1 : sizeof(float));
  if (classes == 0) return fprintf(stderr, "the output is empty\n"), 1;
  for (uint64_t i = 1; i < classes; i++)
    if (score(scores, y.type, i) > score(scores, y.type, best)) best = i;
  return printf("%llu %g\n", (unsigned long long)best, score(scores, y.type, best)) < 0;
}
