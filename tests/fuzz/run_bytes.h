/* SPDX-License-Identifier: Apache-2.0
 * Any bytes through open, prepare, bind and invoke, in memory of exactly the sizes asked for, so that sanitizers see a
 * step outside. A broken promise ends the process. */
#ifndef RUN_BYTES_H
#define RUN_BYTES_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* posix_memalign */
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rillet.h"

enum { INT32 = 2, INT64 = 4, STRING = 5, BOOL = 6 /* of TensorType */ };

/* Everything about a run that the model does not say. */
typedef struct run_choice {
  rlt_limits limits;
  const char *isa;
  int32_t threads; /* more than 1: tiles are cut up and run last first, on one thread */
  int32_t resize;  /* the first input gets this many times its first dimension; 1: as the file has it */
  int32_t cancel;  /* at this question; 0: never */
  uint32_t fill;   /* of inputs: 0 gives indices in range, others any bytes */
  bool preserve, no_grow, twice;
} run_choice;

static const rlt_limits small_limits = {.max_tensor_bytes = 1 << 22,
                                        .max_arena_bytes = 1 << 24,
                                        .max_macs = 1 << 26,
                                        .max_iterations = 1000,
                                        .max_region_bytes = 1 << 22};

static void expect(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "broken promise: %s\n", what);
  abort();
}

static void *block(size_t size) {
  void *p = NULL;
  expect(posix_memalign(&p, RLT_BLOCK_ALIGN, size ? size : 1) == 0, "the test has memory");
  return p;
}

/* rlt_options.grow: blocks that free_region gives back. */
enum { REGION_BLOCKS = 64 };
static void *region[REGION_BLOCKS];
static int region_blocks;

static void *grow(void *ctx, uint64_t bytes) {
  (void)ctx;
  if (region_blocks == REGION_BLOCKS) return NULL;
  return region[region_blocks++] = block((size_t)bytes);
}

static void free_region(void) {
  while (region_blocks > 0) free(region[--region_blocks]);
}

/* A status that fails must come with words. */
static rlt_status judged(rlt_status status, const rlt_error *err) {
  if (status != RLT_OK)
    expect(err->status == status && err->text[0] && memchr(err->text, 0, sizeof err->text), "a failure has words");
  return status;
}

/* Words of the test models' tables among others, and empty ones. */
static void fill_strings(rlt_string *to, uint64_t count, uint32_t fill) {
  static const char text[] = "abcab0ab1ab2";
  for (uint64_t k = 0; k < count; k++) {
    uint32_t value = (uint32_t)k * 2654435761u * (fill | 1u);
    to[k].data = text + (fill == 0 ? k % 3 : (value >> 8) % 8);
    to[k].size = fill == 0 ? 1 : (value >> 16) % 5;
  }
}

static void fill_inputs(const rlt_model *m, rlt_interpreter *it, uint32_t fill) {
  for (int32_t i = 0; i < rlt_input_count(m, 0); i++) {
    rlt_tensor_info info;
    int32_t tensor = rlt_input_tensor(m, 0, i);
    if (i > 0 && tensor == rlt_input_tensor(m, 0, i - 1)) continue; /* a list of 65536 times the same one is legal */
    uint8_t *data = rlt_tensor_data(it, 0, tensor);
    expect(rlt_get_tensor_info(it, 0, tensor, &info) == RLT_OK && (data || info.bytes == 0), "inputs have memory");
    if (info.type == STRING) {
      fill_strings((rlt_string *)(void *)data, info.bytes / sizeof(rlt_string), fill);
      continue;
    }
    bool is_index = info.type == INT32 && fill == 0; /* in range, so that the undamaged model runs */
    for (uint64_t k = 0; k < info.bytes; k++) {
      uint32_t value = (uint32_t)k * 2654435761u * (fill | 1u);
      data[k] = is_index ? k % 4 == 0 : (uint8_t)(fill == 0 ? k * 37 + 11 : value >> 24);
      if (info.type == BOOL) data[k] &= 1;
      if (fill % 4 == 1 && k % 4) data[k] = 0; /* small integers, tiny floats */
    }
  }
}

static unsigned read_bytes(unsigned sum, const uint8_t *data, uint64_t size) {
  for (uint64_t k = 0; k < size; k++) sum = sum * 31 + data[k];
  return sum;
}

static unsigned read_outputs(const rlt_model *m, const rlt_interpreter *it) {
  unsigned sum = 0;
  for (int32_t i = 0; i < rlt_output_count(m, 0); i++) {
    rlt_tensor_info info;
    int32_t tensor = rlt_output_tensor(m, 0, i);
    if (i > 0 && tensor == rlt_output_tensor(m, 0, i - 1)) continue;
    const uint8_t *data = rlt_tensor_data(it, 0, tensor);
    expect(rlt_get_tensor_info(it, 0, tensor, &info) == RLT_OK, "outputs are known");
    if (!data) continue;
    if (info.type != STRING) sum = read_bytes(sum, data, info.bytes);
    const rlt_string *strings = (const rlt_string *)(const void *)data;
    for (uint64_t k = 0; info.type == STRING && k < info.bytes / sizeof(rlt_string); k++)
      sum = read_bytes(sum, strings[k].data, strings[k].size);
  }
  return sum;
}

/* All that can be asked of a model, whether it runs or not. */
static void ask_everything(const rlt_model *m, const rlt_interpreter *it) {
  rlt_tensor_info tensor;
  rlt_node_info node;
  for (int32_t g = 0; g < rlt_subgraph_count(m); g++) {
    for (int32_t i = 0; i < rlt_tensor_count(m, g); i++) (void)rlt_get_tensor_info(it, g, i, &tensor);
    for (int32_t i = 0; i < rlt_node_count(m, g); i++) (void)rlt_get_node_info(it, g, i, &node);
  }
  for (int32_t s = 0; s < rlt_signature_count(m); s++)
    for (int32_t i = 0; rlt_signature_tensor(m, s, i % 2, i / 2, &(int32_t){0}) && i < 100; i++) continue;
}

static int32_t questions_left;
static bool ask_to_cancel(void *ctx) {
  (void)ctx;
  return --questions_left == 0;
}

static void split_backwards(void *pool, int32_t tiles, rlt_task task, void *ctx) {
  int32_t threads = *(int32_t *)pool, step = tiles / (2 * threads) + 1, turn = 0;
  for (int32_t last = tiles; last > 0; last -= step) task(ctx, last > step ? last - step : 0, last, turn++ % threads);
}

static rlt_status resize(const rlt_model *m, rlt_interpreter *it, const run_choice *c, rlt_error *err) {
  rlt_tensor_info info;
  int32_t tensor = rlt_input_tensor(m, 0, 0);
  if (c->resize == 1 || tensor < 0 || rlt_get_tensor_info(it, 0, tensor, &info) != RLT_OK || info.rank == 0)
    return RLT_OK;
  if (info.dims[0] > 64) return RLT_OK;
  info.dims[0] *= c->resize;
  return judged(rlt_resize_input(it, tensor, info.rank, info.dims, err), err);
}

static rlt_status invoke(const rlt_model *m, rlt_interpreter *it, const run_choice *c, unsigned *sum, rlt_error *err) {
  fill_inputs(m, it, c->fill);
  questions_left = c->cancel;
  rlt_status status = judged(rlt_invoke(it, err), err);
  expect(status != RLT_CANCELLED || c->cancel > 0, "nobody cancelled");
  if (status == RLT_OK) *sum = read_outputs(m, it);
  if (!c->twice) return status;
  expect(rlt_reset_variables(it, err) == RLT_OK, "variables can be reset");
  fill_inputs(m, it, c->fill);
  questions_left = 0;
  (void)judged(rlt_invoke(it, err), err);
  return status;
}

static rlt_status run_interpreter(const rlt_model *m, const run_choice *c, unsigned *sum) {
  int32_t threads = c->threads;
  rlt_options options = {.threads = threads,
                         .parallel_for = threads > 1 ? split_backwards : NULL,
                         .pool = &threads,
                         .isa = c->isa,
                         .preserve_all_tensors = c->preserve,
                         .cancel = c->cancel ? ask_to_cancel : NULL,
                         .grow = c->no_grow ? NULL : grow};
  rlt_interpreter *it = NULL;
  rlt_error err;
  rlt_sizes sizes;
  size_t size = rlt_create_size(m, &options);
  void *state = block(size);
  rlt_status status = judged(rlt_create(m, &options, state, size, &it, &err), &err);
  if (status == RLT_OK) status = resize(m, it, c, &err);
  if (status == RLT_OK) status = judged(rlt_prepare(it, &err), &err);
  if (it) ask_everything(m, it);
  if (status == RLT_OK) {
    expect(rlt_get_sizes(it, &sizes) == RLT_OK, "sizes are known");
    void *prepared = block(sizes.prepared), *arena = block(sizes.arena);
    memset(arena, 0x5a, sizes.arena);
    status = judged(rlt_bind(it, prepared, sizes.prepared, false, arena, sizes.arena, &err), &err);
    if (status == RLT_OK) status = invoke(m, it, c, sum, &err);
    ask_everything(m, it);
    free_region();
    free(prepared);
    free(arena);
  }
  free(state);
  return status;
}

static rlt_status run_with(const uint8_t *data, size_t size, const run_choice *c, unsigned *sum) {
  const rlt_model *m;
  rlt_error err;
  size_t need;
  rlt_status status = judged(rlt_open_size(data, size, &need, &err), &err);
  if (status != RLT_OK) return status;
  void *structure = block(need);
  status = judged(rlt_open(data, size, &c->limits, NULL, 0, structure, need, &m, &err), &err);
  if (status == RLT_OK) status = run_interpreter(m, c, sum);
  free(structure);
  return status;
}

#endif
