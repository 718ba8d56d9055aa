/* SPDX-License-Identifier: Apache-2.0
 * CUMSUM along one axis, which may be computed. */
#include "move.h"

typedef struct cumsum_data {
  bool exclusive, reverse;
} cumsum_data;

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  cumsum_data *k = n->data;
  const rlt_tensor *x = n->in[0], *axis = n->in[1];
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64),
                         "FLOAT32, INT32 or INT64"));
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  RLT_TRY(rlt_check_type(p, axis, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  RLT_REQUIRE(p->err, axis->count == 1 && x->rank >= 1, RLT_BAD_MODEL, "%T must hold one axis of %T", axis, x);
  if (rlt_const_data(axis)) {
    int32_t value, count;
    RLT_TRY(rlt_const_ints(p, axis, 1, &value, &count));
    RLT_TRY(rlt_check_axis(p, &value, x->rank));
  }
  k->exclusive = rlt_fb_bool(&n->def->options, RLT_SLOT_CumsumOptions_exclusive, false);
  k->reverse = rlt_fb_bool(&n->def->options, RLT_SLOT_CumsumOptions_reverse, false);
  n->in_place = 0;
  n->tiles = rlt_flat_tiles(x->count);
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

/* One line of `size` elements, `step` apart, from element `at` on; integers wrap around. */
#define LINE(suffix, type)                                                                                        \
  static void line_##suffix(const void *from, void *to, int64_t at, int64_t step, int64_t size, bool exclusive) { \
    const type *x = (const type *)from + at;                                                                      \
    type *y = (type *)to + at, sum = 0;                                                                           \
    for (int64_t i = 0; i < size; i++) {                                                                          \
      type before = sum;                                                                                          \
      sum = (type)(sum + x[i * step]);                                                                            \
      y[i * step] = exclusive ? before : sum;                                                                     \
    }                                                                                                             \
  }
LINE(f32, float)
LINE(u32, uint32_t)
LINE(u64, uint64_t)

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const cumsum_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  int64_t axis = rlt_index_at(n->in[1], 0), begin, end;
  RLT_REQUIRE(r->err, axis >= -x->rank && axis < x->rank, RLT_BAD_VALUE, "the axis is out of range for %T", x);
  if (x->count == 0) return RLT_OK;
  if (axis < 0) axis += x->rank;
  int64_t size = x->dims[axis], inner = rlt_span(x, (int32_t)axis + 1, x->rank);
  rlt_part(n, (int64_t)x->count / size, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t at = i / inner * size * inner + i % inner + (k->reverse ? (size - 1) * inner : 0);
    int64_t step = k->reverse ? -inner : inner;
    if (x->type == RLT_TYPE_FLOAT32) {
      line_f32(x->data, n->out[0]->data, at, step, size, k->exclusive);
    } else if (x->type == RLT_TYPE_INT32) {
      line_u32(x->data, n->out[0]->data, at, step, size, k->exclusive);
    } else {
      line_u64(x->data, n->out[0]->data, at, step, size, k->exclusive);
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_cumsum = {
    .name = "CUMSUM", .data_size = sizeof(cumsum_data), .max_version = 1, .prepare = prepare, .run = run};
