/* SPDX-License-Identifier: Apache-2.0
 * Operators of the caller's own in C: opens MODEL with those below, which stand before the build's, and prints what it
 * computes from the floats 0, 1, 2... in every input, or the status and its words.
 *
 *   custom_driver MODEL [ROWS]             with ROWS the first input is resized to that many rows
 *
 * Affine: y = slope x + offset, slope and offset being the two floats of its options. Repeat: the rows of its first
 * input as often as its second, which may be known only while the model runs, says. Fails: fails when it runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/platform/platform.h"

typedef struct counts {
  int prepared, run;
} counts;

static rlt_error err;

static void *block(uint64_t size) {
  void *p = aligned_alloc(RLT_BLOCK_ALIGN, ((size_t)size + RLT_BLOCK_ALIGN) / RLT_BLOCK_ALIGN * RLT_BLOCK_ALIGN);
  if (!p) abort();
  return p;
}

/* For what has no bound; given back at the end. */
static void *given[8];

static void *grow(void *ctx, uint64_t size) {
  int *count = ctx;
  if (*count == sizeof given / sizeof *given) return NULL;
  return given[(*count)++] = block(size);
}

static rlt_status affine_prepare(void *ctx, rlt_custom_call *call) {
  ((counts *)ctx)->prepared++;
  if (call->options_size != 2 * sizeof(float)) {
    snprintf(call->error, sizeof call->error, "%s wants two floats, not %zu bytes", call->name, call->options_size);
    return RLT_BAD_MODEL;
  }
  call->outputs[0].rank = call->inputs[0].rank;
  memcpy(call->outputs[0].dims, call->inputs[0].dims, sizeof call->inputs[0].dims);
  return RLT_OK;
}

static rlt_status affine_run(void *ctx, rlt_custom_call *call) {
  const float *x = call->inputs[0].data;
  float *y = call->outputs[0].data, options[2];
  ((counts *)ctx)->run++;
  memcpy(options, call->options, sizeof options);
  for (uint64_t i = 0; i < call->outputs[0].bytes / sizeof(float); i++) y[i] = options[0] * x[i] + options[1];
  return RLT_OK;
}

static rlt_status repeat_prepare(void *ctx, rlt_custom_call *call) {
  rlt_custom_tensor *y = &call->outputs[0];
  (void)ctx;
  if (call->n_inputs != 2 || call->inputs[0].rank != 2) return RLT_UNSUPPORTED;
  if (!call->inputs[1].data) return RLT_LATER;
  y->rank = 2;
  y->dims[0] = call->inputs[0].dims[0] * *(const int32_t *)call->inputs[1].data;
  y->dims[1] = call->inputs[0].dims[1];
  return RLT_OK;
}

static rlt_status repeat_run(void *ctx, rlt_custom_call *call) {
  uint64_t size = call->inputs[0].bytes;
  (void)ctx;
  for (uint64_t at = 0; at < call->outputs[0].bytes; at += size)
    memcpy((char *)call->outputs[0].data + at, call->inputs[0].data, (size_t)size);
  return RLT_OK;
}

static rlt_status keep_shape(void *ctx, rlt_custom_call *call) {
  (void)ctx, (void)call;
  return RLT_OK;
}

static rlt_status fails(void *ctx, rlt_custom_call *call) {
  (void)ctx;
  memset(call->error, 'x', sizeof call->error); /* the runtime ends it */
  return RLT_BAD_VALUE;
}

static void say(rlt_status status) {
  printf("%s %s\n", rlt_status_name(status), err.text);
  exit(0);
}

static void try(rlt_status status) {
  if (status != RLT_OK) say(status);
}

static void fill(rlt_interpreter *it, int32_t tensor) {
  rlt_tensor_info info;
  if (rlt_get_tensor_info(it, 0, tensor, &info) != RLT_OK) exit(2);
  for (uint64_t i = 0; i < info.bytes / 4; i++) {
    float real = (float)i;
    int32_t count = 2;
    memcpy((char *)rlt_tensor_data(it, 0, tensor) + 4 * i, info.type == 0 ? (void *)&real : (void *)&count, 4);
  }
}

static void print(rlt_interpreter *it, int32_t tensor) {
  rlt_tensor_info info;
  if (rlt_get_tensor_info(it, 0, tensor, &info) != RLT_OK) exit(2);
  const float *data = rlt_tensor_data(it, 0, tensor);
  for (uint64_t i = 0; i < info.bytes / 4; i++) printf("%g ", (double)data[i]);
  puts("");
}

int main(int argc, char **argv) {
  static _Alignas(16) uint8_t file[4096];
  counts seen = {0, 0};
  const rlt_custom_op ops[] = {{"Affine", affine_prepare, affine_run, &seen},
                               {"Repeat", repeat_prepare, repeat_run, NULL},
                               {"Fails", keep_shape, fails, NULL}};
  int grown = 0;
  rlt_options options = {.threads = 1, .grow = grow, .grow_ctx = &grown};
  const rlt_model *model;
  rlt_interpreter *it;
  rlt_sizes sizes;
  size_t need;
  FILE *in = argc > 1 ? fopen(argv[1], "rb") : NULL;
  if (!in) return fprintf(stderr, "usage: custom_driver MODEL [ROWS]\n"), 2;
  size_t size = fread(file, 1, sizeof file, in);
  fclose(in);
  try(rlt_open_size(file, size, &need, &err));
  void *structure = block(need);
  try(rlt_open(file, size, NULL, ops, sizeof ops / sizeof *ops, structure, need, &model, &err));
  need = rlt_create_size(model, &options);
  void *state = block(need);
  try(rlt_create(model, &options, state, need, &it, &err));
  if (argc > 2) {
    const int32_t dims[] = {atoi(argv[2]), 3};
    try(rlt_resize_input(it, rlt_input_tensor(model, 0, 0), 2, dims, &err));
  }
  try(rlt_prepare(it, &err));
  try(rlt_get_sizes(it, &sizes));
  void *prepared = block(sizes.prepared), *arena = block(sizes.arena);
  try(rlt_bind(it, prepared, (size_t)sizes.prepared, false, arena, (size_t)sizes.arena, &err));
  for (int32_t i = 0; i < rlt_input_count(model, 0); i++) fill(it, rlt_input_tensor(model, 0, i));
  for (int i = 0; i < 2; i++) try(rlt_invoke(it, &err));
  print(it, rlt_output_tensor(model, 0, 0));
  printf("prepared %d run %d\n", seen.prepared, seen.run);
  while (grown > 0) free(given[--grown]);
  free(structure), free(state), free(prepared), free(arena);
  return 0;
}
