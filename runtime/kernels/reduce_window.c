/* SPDX-License-Identifier: Apache-2.0
 * REDUCE_WINDOW: every position of a window of any rank reduced to one value, starting from a given one. */
#include "move.h"

typedef struct reduce_window_data {
  int32_t function;
  int32_t size[RLT_MAX_RANK], stride[RLT_MAX_RANK], dilation[RLT_MAX_RANK];
  int64_t step[RLT_MAX_RANK]; /* of the input */
} reduce_window_data;

/* ---- one run of elements `step` apart taken into *to ---- */

typedef void (*reduce_run)(int32_t function, const void *from, int64_t step, int64_t n, void *to);

#define LOOP(expression)            \
  for (int64_t i = 0; i < n; i++) { \
    v = x[i * step];                \
    a = (expression);               \
  }                                 \
  break
/* Integers wrap around; NaN stays. */
#define REDUCE(suffix, type, wide)                                                                     \
  static void reduce_##suffix(int32_t function, const void *from, int64_t step, int64_t n, void *to) { \
    const type *x = from;                                                                              \
    type a = *(type *)to, v;                                                                           \
    switch (function) {                                                                                \
      case RLT_REDUCE_WINDOW_FUNCTION_ADD:                                                             \
        LOOP((type)((wide)a + (wide)v));                                                               \
      case RLT_REDUCE_WINDOW_FUNCTION_MUL:                                                             \
        LOOP((type)((wide)a * (wide)v));                                                               \
      case RLT_REDUCE_WINDOW_FUNCTION_MINIMUM:                                                         \
        LOOP(v < a || !(v >= v) ? v : a);                                                              \
      case RLT_REDUCE_WINDOW_FUNCTION_MAXIMUM:                                                         \
        LOOP(v > a || !(v >= v) ? v : a);                                                              \
      case RLT_REDUCE_WINDOW_FUNCTION_ALL:                                                             \
        LOOP((type)((a < 0 || a > 0 || !(a >= a)) && (v < 0 || v > 0 || !(v >= v))));                  \
      default:                                                                                         \
        LOOP((type)(a < 0 || a > 0 || !(a >= a) || v < 0 || v > 0 || !(v >= v)));                      \
    }                                                                                                  \
    *(type *)to = a;                                                                                   \
  }
REDUCE(i8, int8_t, uint32_t)
REDUCE(i16, int16_t, uint32_t)
REDUCE(i32, int32_t, uint32_t)
REDUCE(i64, int64_t, uint64_t)
REDUCE(f32, float, float)
REDUCE(f64, double, double)

/* uint8_t has nothing below 0 to compare with. */
static void reduce_u8(int32_t function, const void *from, int64_t step, int64_t n, void *to) {
  const uint8_t *x = from;
  uint8_t a = *(uint8_t *)to, v;
  switch (function) {
    case RLT_REDUCE_WINDOW_FUNCTION_ADD:
      LOOP((uint8_t)(a + v));
    case RLT_REDUCE_WINDOW_FUNCTION_MUL:
      LOOP((uint8_t)(a * v));
    case RLT_REDUCE_WINDOW_FUNCTION_MINIMUM:
      LOOP(v < a ? v : a);
    case RLT_REDUCE_WINDOW_FUNCTION_MAXIMUM:
      LOOP(v > a ? v : a);
    case RLT_REDUCE_WINDOW_FUNCTION_ALL:
      LOOP((uint8_t)(a && v));
    default:
      LOOP((uint8_t)(a || v));
  }
  *(uint8_t *)to = a;
}

static reduce_run run_of(int32_t type) {
  switch (type) {
    case RLT_TYPE_INT8:
      return reduce_i8;
    case RLT_TYPE_INT16:
      return reduce_i16;
    case RLT_TYPE_INT32:
      return reduce_i32;
    case RLT_TYPE_INT64:
      return reduce_i64;
    case RLT_TYPE_FLOAT32:
      return reduce_f32;
    case RLT_TYPE_FLOAT64:
      return reduce_f64;
    default:
      return reduce_u8;
  }
}

/* ---- the kernel ---- */

/* One value of each list per dimension, all 1 or more. */
static rlt_status read_list(rlt_prep *p, const rlt_tensor *list, int32_t rank, int32_t *values) {
  int32_t count;
  RLT_TRY(rlt_const_ints(p, list, RLT_MAX_RANK, values, &count));
  RLT_REQUIRE(p->err, count == rank, RLT_BAD_MODEL, "%T must hold %d values, one per dimension", list, rank);
  for (int32_t d = 0; d < rank; d++)
    RLT_REQUIRE(p->err, values[d] >= 1, RLT_BAD_MODEL, "%T holds %d for dimension %d", list, values[d], d);
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  reduce_window_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  rlt_tensor *y = n->out[0];
  const uint64_t types = RLT_BIT(RLT_TYPE_BOOL) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8) |
                         RLT_BIT(RLT_TYPE_INT16) | RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64) |
                         RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_FLOAT64);
  RLT_TRY(rlt_check_arity(p, n, 5, 5, 1));
  RLT_TRY(rlt_check_type(p, x, types, "BOOL, INT8, UINT8, INT16, INT32, INT64, FLOAT32 or FLOAT64"));
  RLT_TRY(rlt_check_same_type(p, x, y));
  RLT_TRY(rlt_check_same_type(p, x, n->in[1]));
  RLT_REQUIRE(p->err, n->in[1]->count == 1, RLT_BAD_MODEL, "%T must be one value", n->in[1]);
  RLT_REQUIRE(p->err, x->rank >= 1, RLT_BAD_MODEL, "%T has no dimension", x);
  k->function = rlt_fb_i32(&n->def->options, RLT_SLOT_ReduceWindowOptions_reduce_function, 0);
  RLT_REQUIRE(p->err, k->function >= RLT_REDUCE_WINDOW_FUNCTION_ADD && k->function <= RLT_REDUCE_WINDOW_FUNCTION_ANY,
              RLT_UNSUPPORTED, "reduce function %d", k->function);
  if (x->type == RLT_TYPE_BOOL && k->function == RLT_REDUCE_WINDOW_FUNCTION_ADD)
    k->function = RLT_REDUCE_WINDOW_FUNCTION_ANY;
  RLT_TRY(read_list(p, n->in[2], x->rank, k->size));
  RLT_TRY(read_list(p, n->in[3], x->rank, k->stride));
  RLT_TRY(read_list(p, n->in[4], x->rank, k->dilation));
  int32_t dims[RLT_MAX_RANK];
  uint64_t taps = 1;
  for (int32_t d = 0; d < x->rank; d++) {
    int64_t extent = (int64_t)(k->size[d] - 1) * k->dilation[d] + 1;
    dims[d] = extent <= x->dims[d] ? (int32_t)((x->dims[d] - extent) / k->stride[d] + 1) : 0;
    if (dims[d] > 0) taps *= (uint64_t)k->size[d]; /* then no more than the input's */
  }
  RLT_TRY(rlt_set_shape(p, y, x->rank, dims));
  rlt_steps(x, k->step);
  n->macs = y->count > 0 && taps > UINT64_MAX / y->count ? UINT64_MAX : y->count * taps;
  n->tiles = rlt_unit_tiles((int64_t)y->count, taps < RLT_TILE ? (int64_t)taps : RLT_TILE);
  return RLT_OK;
}

/* Takes the window whose first element is `from` into *to. */
static void reduce_position(const rlt_node *n, reduce_run take, const uint8_t *from, uint32_t bytes, void *to) {
  const reduce_window_data *k = n->data;
  int32_t last = n->in[0]->rank - 1, index[RLT_MAX_RANK] = {0};
  for (;;) {
    int64_t at = 0;
    for (int32_t d = 0; d < last; d++) at += (int64_t)index[d] * k->dilation[d] * k->step[d];
    take(k->function, from + (uint64_t)at * bytes, k->dilation[last], k->size[last], to);
    int32_t d = last - 1;
    for (; d >= 0 && ++index[d] == k->size[d]; d--) index[d] = 0;
    if (d < 0) return;
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const reduce_window_data *k = n->data;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  uint32_t bytes = rlt_type_bytes(x->type);
  reduce_run take = run_of(x->type);
  int64_t begin, end;
  rlt_part(n, (int64_t)y->count, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t rest = i, from = 0;
    for (int32_t d = y->rank - 1; d >= 0; d--) {
      from += rest % y->dims[d] * k->stride[d] * k->step[d];
      rest /= y->dims[d];
    }
    uint8_t *to = (uint8_t *)y->data + (uint64_t)i * bytes;
    rlt_copy(to, n->in[1]->data, bytes);
    reduce_position(n, take, (const uint8_t *)x->data + (uint64_t)from * bytes, bytes, to);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_reduce_window = {"REDUCE_WINDOW", sizeof(reduce_window_data), 1, false, prepare, NULL, run};
