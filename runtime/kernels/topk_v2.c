/* SPDX-License-Identifier: Apache-2.0
 * TOPK_V2: the k largest values along the last dimension, in descending order, and where they are. Of equal values the
 * first comes first; NaN comes last. A heap of k positions keeps the worst of the best on top. */
#include "move.h"

typedef bool (*before_fn)(const void *row, int32_t a, int32_t b);

typedef struct topk_data {
  before_fn before; /* whether position a is to come before b */
} topk_data;

#define BEFORE(suffix, type)                                           \
  static bool before_##suffix(const void *row, int32_t a, int32_t b) { \
    type u = ((const type *)row)[a], v = ((const type *)row)[b];       \
    return u > v || (!(u < v) && a < b);                               \
  }
BEFORE(i8, int8_t)
BEFORE(u8, uint8_t)
BEFORE(i16, int16_t)
BEFORE(i32, int32_t)
BEFORE(i64, int64_t)
static bool before_f32(const void *row, int32_t a, int32_t b) {
  float u = ((const float *)row)[a], v = ((const float *)row)[b];
  if ((u != u) != (v != v)) return v != v;
  return u > v || (!(u < v) && a < b);
}

static before_fn before_of(int32_t type) {
  switch (type) {
    case RLT_TYPE_FLOAT32:
      return before_f32;
    case RLT_TYPE_INT8:
      return before_i8;
    case RLT_TYPE_UINT8:
      return before_u8;
    case RLT_TYPE_INT16:
      return before_i16;
    case RLT_TYPE_INT32:
      return before_i32;
    case RLT_TYPE_INT64:
      return before_i64;
    default:
      return NULL;
  }
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 2));
  topk_data *k = n->data;
  const rlt_tensor *x = n->in[0], *wanted = n->in[1];
  rlt_tensor *values = n->out[0], *indices = n->out[1];
  int32_t dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_moved(p, x, values));
  k->before = before_of(x->type);
  RLT_REQUIRE(p->err, k->before, RLT_UNSUPPORTED, "%T: this op has no kernel for %t", x, x->type);
  RLT_TRY(rlt_check_type(p, wanted, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT16), "INT32 or INT16"));
  RLT_TRY(rlt_check_type(p, indices, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT16), "INT32 or INT16"));
  RLT_REQUIRE(p->err, x->rank >= 1 && wanted->count == 1, RLT_BAD_MODEL, "%T must be one number for %T", wanted, x);
  int32_t last = x->rank - 1;
  for (int32_t d = 0; d < last; d++) dims[d] = x->dims[d];
  const void *value = rlt_const_data(wanted);
  if (!value) return RLT_LATER;
  int32_t count = wanted->type == RLT_TYPE_INT32 ? *(const int32_t *)value : *(const int16_t *)value;
  dims[last] = count < 0 ? 0 : count;
  RLT_REQUIRE(p->err, dims[last] <= x->dims[last], RLT_BAD_MODEL, "%d values are wanted of each row of %T", dims[last],
              x);
  RLT_REQUIRE(p->err, indices->type == RLT_TYPE_INT32 || x->dims[last] <= INT16_MAX, RLT_BAD_MODEL,
              "rows of %T are too long for INT16 indices", x);
  RLT_TRY(rlt_set_shape(p, values, x->rank, dims));
  RLT_TRY(rlt_set_shape(p, indices, x->rank, dims));
  n->scratch_bytes = (uint64_t)dims[last] * sizeof(int32_t);
  n->tiles = rlt_unit_tiles(rlt_span(x, 0, last), x->dims[last]);
  return RLT_OK;
}

/* Moves heap[at] down until neither child has to come after it. */
static void sift(const topk_data *k, const void *row, int32_t *heap, int32_t size, int32_t at) {
  for (int64_t child = 2 * (int64_t)at + 1; child < size; child = 2 * (int64_t)at + 1) {
    if (child + 1 < size && k->before(row, heap[child], heap[child + 1])) child++;
    if (!k->before(row, heap[at], heap[child])) return;
    int32_t moved = heap[at];
    heap[at] = heap[child];
    heap[child] = moved;
    at = (int32_t)child;
  }
}

/* The `count` first of `size` positions, in order. */
static void best_of(const topk_data *k, const void *row, int32_t size, int32_t count, int32_t *heap) {
  for (int32_t i = 0; i < count; i++) heap[i] = i;
  for (int32_t i = count / 2 - 1; i >= 0; i--) sift(k, row, heap, count, i);
  for (int32_t i = count; i < size; i++) {
    if (!k->before(row, i, heap[0])) continue;
    heap[0] = i;
    sift(k, row, heap, count, 0);
  }
  for (int32_t left = count - 1; left > 0; left--) {
    int32_t worst = heap[0];
    heap[0] = heap[left];
    heap[left] = worst;
    sift(k, row, heap, left, 0);
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const topk_data *k = n->data;
  const rlt_tensor *x = n->in[0], *values = n->out[0], *indices = n->out[1];
  int32_t size = x->dims[x->rank - 1], count = values->dims[x->rank - 1];
  uint32_t bytes = rlt_type_bytes(x->type);
  if (values->count == 0) return RLT_OK;
  int64_t begin, end;
  rlt_part(n, rlt_span(x, 0, x->rank - 1), first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    const uint8_t *row = (const uint8_t *)x->data + (uint64_t)(i * size) * bytes;
    uint8_t *to = (uint8_t *)values->data + (uint64_t)(i * count) * bytes;
    int32_t *heap = r->scratch;
    best_of(k, row, size, count, heap);
    for (int32_t j = 0; j < count; j++) {
      rlt_copy(to + (uint64_t)j * bytes, row + (uint64_t)heap[j] * bytes, bytes);
      if (indices->type == RLT_TYPE_INT32) {
        ((int32_t *)indices->data)[i * count + j] = heap[j];
      } else {
        ((int16_t *)indices->data)[i * count + j] = (int16_t)heap[j];
      }
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_topk_v2 = {
    .name = "TOPK_V2", .data_size = sizeof(topk_data), .max_version = 3, .prepare = prepare, .run = run};
