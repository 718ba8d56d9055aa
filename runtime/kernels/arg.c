/* SPDX-License-Identifier: Apache-2.0
 * ARG_MAX and ARG_MIN: position of the first extreme value along one axis. NaN is never an extreme unless it is
 * first. */
#include "common.h"

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  int32_t *axis = n->data, count;
  rlt_tensor *x = n->in[0], *y = n->out[0];
  RLT_TRY(rlt_check_type(p, x,
                         RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8) |
                             RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64) | RLT_BIT(RLT_TYPE_BOOL),
                         "FLOAT32, INT8, UINT8, INT32, INT64 or BOOL"));
  RLT_TRY(rlt_check_type(p, y, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  RLT_TRY(rlt_const_ints(p, n->in[1], 1, axis, &count));
  RLT_REQUIRE(p->err, count == 1, RLT_BAD_MODEL, "%T must hold one axis", n->in[1]);
  RLT_TRY(rlt_check_axis(p, axis, x->rank));
  int32_t dims[RLT_MAX_RANK], rank = 0;
  for (int32_t d = 0; d < x->rank; d++) {
    if (d != *axis) dims[rank++] = x->dims[d];
  }
  RLT_TRY(rlt_set_shape(p, y, rank, dims));
  RLT_REQUIRE(p->err, x->dims[*axis] > 0 || y->count == 0, RLT_BAD_MODEL, "%T is empty along axis %d", x, *axis);
  n->tiles = rlt_unit_tiles((int64_t)y->count, x->dims[*axis]);
  return RLT_OK;
}

/* Best of `size` values `step` elements apart; ties go to the first. */
#define BEST(suffix, type)                                                               \
  static int64_t best_##suffix(const void *from, int64_t size, int64_t step, bool max) { \
    const type *x = (const type *)from;                                                  \
    int64_t best = 0;                                                                    \
    for (int64_t i = 1; i < size; i++) {                                                 \
      type v = x[i * step], b = x[best * step];                                          \
      best = (max ? v > b : v < b) ? i : best;                                           \
    }                                                                                    \
    return best;                                                                         \
  }
BEST(f32, float)
BEST(i8, int8_t)
BEST(u8, uint8_t)
BEST(i32, int32_t)
BEST(i64, int64_t)

static int64_t best_of(const rlt_tensor *x, int64_t at, int64_t size, int64_t step, bool max) {
  const uint8_t *from = (const uint8_t *)x->data + (uint64_t)at * rlt_type_bytes(x->type);
  switch (x->type) {
    case RLT_TYPE_FLOAT32:
      return best_f32(from, size, step, max);
    case RLT_TYPE_INT8:
      return best_i8(from, size, step, max);
    case RLT_TYPE_INT32:
      return best_i32(from, size, step, max);
    case RLT_TYPE_INT64:
      return best_i64(from, size, step, max);
    default:
      return best_u8(from, size, step, max);
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  int32_t axis = *(const int32_t *)n->data;
  int64_t size = x->dims[axis], step = rlt_span(x, axis + 1, x->rank), begin, end;
  rlt_part(n, (int64_t)y->count, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t best = best_of(x, i / step * size * step + i % step, size, step, n->def->op == RLT_OP_ARG_MAX);
    if (y->type == RLT_TYPE_INT32) {
      ((int32_t *)y->data)[i] = (int32_t)best;
    } else {
      ((int64_t *)y->data)[i] = best;
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_arg_max = {"ARG_MAX", sizeof(int32_t), 3, false, prepare, NULL, run};
const rlt_kernel rlt_kernel_arg_min = {"ARG_MIN", sizeof(int32_t), 3, false, prepare, NULL, run};
