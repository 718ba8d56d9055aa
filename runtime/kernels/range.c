/* SPDX-License-Identifier: Apache-2.0
 * RANGE, and BROADCAST_ARGS: the shape that two shapes broadcast to. */
#include "move.h"

/* ---- RANGE: start, start + delta, ... up to but not including limit ---- */

/* Elements between whole numbers; -1: delta leads away from the limit or is 0. */
static int64_t whole_count(int64_t start, int64_t limit, int64_t delta) {
  if (delta == 0 || (delta > 0 ? start > limit : start < limit)) return -1;
  uint64_t span = start < limit ? (uint64_t)limit - (uint64_t)start : (uint64_t)start - (uint64_t)limit;
  uint64_t step = delta > 0 ? (uint64_t)delta : 0 - (uint64_t)delta;
  uint64_t count = span / step + (span % step != 0);
  return count > INT32_MAX ? INT64_MAX : (int64_t)count;
}

static int64_t real_count(float start, float limit, float delta) {
  bool towards = (start <= limit && delta > 0.0f) || (start >= limit && delta < 0.0f);
  if (!towards) return -1;
  float steps = rlt_ceil(rlt_abs((limit - start) / delta));
  return steps < 2147483648.0f ? (int64_t)steps : INT64_MAX; /* NaN, too */
}

static int64_t count_of(const void *start, const void *limit, const void *delta, int32_t type) {
  if (type == RLT_TYPE_FLOAT32) {
    return real_count(*(const float *)start, *(const float *)limit, *(const float *)delta);
  }
  if (type == RLT_TYPE_INT32) {
    return whole_count(*(const int32_t *)start, *(const int32_t *)limit, *(const int32_t *)delta);
  }
  return whole_count(*(const int64_t *)start, *(const int64_t *)limit, *(const int64_t *)delta);
}

static rlt_status prepare_range(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 1));
  rlt_tensor *y = n->out[0];
  const void *values[3];
  RLT_TRY(rlt_check_type(p, y, RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64),
                         "FLOAT32, INT32 or INT64"));
  for (int32_t i = 0; i < 3; i++) {
    RLT_TRY(rlt_check_same_type(p, n->in[i], y));
    RLT_REQUIRE(p->err, n->in[i]->count == 1, RLT_BAD_MODEL, "%T must be one value", n->in[i]);
    values[i] = rlt_const_data(n->in[i]);
    if (!values[i]) return RLT_LATER;
  }
  int64_t count = count_of(values[0], values[1], values[2], y->type);
  RLT_REQUIRE(p->err, count >= 0 && count <= INT32_MAX, RLT_BAD_MODEL, "delta %T does not lead to limit %T", n->in[2],
              n->in[1]);
  return rlt_set_shape(p, y, 1, &(int32_t){(int32_t)count});
}

/* Reals add delta again and again, as the peer does. */
#define FILL(type, wide)                                               \
  {                                                                    \
    type value = *(const type *)n->in[0]->data, *to = (type *)y->data; \
    const type delta = *(const type *)n->in[2]->data;                  \
    for (uint64_t i = 0; i < y->count; i++) {                          \
      to[i] = value;                                                   \
      value = (type)((wide)value + (wide)delta);                       \
    }                                                                  \
  }

static rlt_status run_range(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r, (void)first, (void)last;
  const rlt_tensor *y = n->out[0];
  switch (y->type) {
    case RLT_TYPE_FLOAT32:
      FILL(float, float) break;
    case RLT_TYPE_INT32:
      FILL(int32_t, uint32_t) break;
    default:
      FILL(int64_t, uint64_t) break;
  }
  return RLT_OK;
}

/* ---- BROADCAST_ARGS ---- */

static rlt_status prepare_broadcast_args(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  const rlt_tensor *a = n->in[0], *b = n->in[1];
  RLT_TRY(rlt_check_type(p, a, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  RLT_TRY(rlt_check_same_type(p, a, b));
  RLT_TRY(rlt_check_same_type(p, a, n->out[0]));
  RLT_REQUIRE(p->err, a->rank == 1 && b->rank == 1, RLT_BAD_MODEL, "%T and %T must be shapes", a, b);
  return rlt_set_shape(p, n->out[0], 1, a->dims[0] > b->dims[0] ? a->dims : b->dims);
}

static rlt_status run_broadcast_args(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const rlt_tensor *y = n->out[0];
  int64_t rank = (int64_t)y->count;
  for (int64_t d = 0; d < rank; d++) {
    int64_t size = 1;
    for (int32_t i = 0; i < 2; i++) {
      int64_t at = d - (rank - (int64_t)n->in[i]->count);
      int64_t other = at < 0 ? 1 : rlt_index_at(n->in[i], at);
      RLT_REQUIRE(r->err, size == 1 || other == 1 || other == size, RLT_BAD_VALUE,
                  "the shapes %T and %T hold do not broadcast", n->in[0], n->in[1]);
      if (other != 1) size = other;
    }
    if (y->type == RLT_TYPE_INT32) {
      ((int32_t *)y->data)[d] = (int32_t)size;
    } else {
      ((int64_t *)y->data)[d] = size;
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_range = {.name = "RANGE", .max_version = 2, .prepare = prepare_range, .run = run_range};
const rlt_kernel rlt_kernel_broadcast_args = {
    .name = "BROADCAST_ARGS", .max_version = 1, .prepare = prepare_broadcast_args, .run = run_broadcast_args};
