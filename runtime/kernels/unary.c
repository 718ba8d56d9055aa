/* SPDX-License-Identifier: Apache-2.0 */
#include "unary.h"

/* ---- loops ---- */

#define LOOP(name, type, expression)                                     \
  static void name(const void *from, void *to, int64_t n, float alpha) { \
    const type *x = (const type *)from;                                  \
    type *y = (type *)to;                                                \
    (void)alpha;                                                         \
    for (int64_t i = 0; i < n; i++) {                                    \
      type v = x[i];                                                     \
      y[i] = (expression);                                               \
    }                                                                    \
  }

LOOP(relu_f32, float, v < 0.0f ? 0.0f : v)
LOOP(relu6_f32, float, rlt_clamp_f32(v, 0.0f, 6.0f))
LOOP(relu_n1_f32, float, rlt_clamp_f32(v, -1.0f, 1.0f))
LOOP(relu_01_f32, float, rlt_clamp_f32(v, 0.0f, 1.0f))
LOOP(leaky_relu_f32, float, v < 0.0f ? v * alpha : v)
LOOP(elu_f32, float, v < 0.0f ? (v > -0.02f ? v + v * v * (0.5f + v * (1.0f / 6)) : rlt_exp(v) - 1.0f) : v)
LOOP(logistic_f32, float, rlt_logistic(v))
LOOP(tanh_f32, float, rlt_tanh(v))
LOOP(hard_swish_f32, float, v *(rlt_clamp_f32(v + 3.0f, 0.0f, 6.0f) * (1.0f / 6)))
LOOP(exp_f32, float, rlt_exp(v))
LOOP(log_f32, float, rlt_log(v))
LOOP(sqrt_f32, float, rlt_sqrt(v))
LOOP(rsqrt_f32, float, 1.0f / rlt_sqrt(v))
LOOP(neg_f32, float, -v)
LOOP(abs_f32, float, rlt_abs(v))
LOOP(square_f32, float, v *v)
LOOP(floor_f32, float, rlt_floor(v))
LOOP(ceil_f32, float, rlt_ceil(v))
LOOP(round_f32, float, rlt_round_even(v))
/* Through unsigned types: negating the least integer wraps around. */
LOOP(neg_i32, int32_t, (int32_t)(0u - (uint32_t)v))
LOOP(neg_i64, int64_t, (int64_t)(0u - (uint64_t)v))
LOOP(abs_i32, int32_t, v < 0 ? (int32_t)(0u - (uint32_t)v) : v)
LOOP(not_bool, uint8_t, v == 0)

/* ---- one row per (op, type) ---- */

typedef struct unary_row {
  int32_t op, type;
  uint32_t element_bytes;
  rlt_unary_loop loop;
} unary_row;

static const unary_row ROWS[] = {
    {RLT_OP_RELU, RLT_TYPE_FLOAT32, 4, relu_f32},
    {RLT_OP_RELU6, RLT_TYPE_FLOAT32, 4, relu6_f32},
    {RLT_OP_RELU_N1_TO_1, RLT_TYPE_FLOAT32, 4, relu_n1_f32},
    {RLT_OP_RELU_0_TO_1, RLT_TYPE_FLOAT32, 4, relu_01_f32},
    {RLT_OP_LEAKY_RELU, RLT_TYPE_FLOAT32, 4, leaky_relu_f32},
    {RLT_OP_ELU, RLT_TYPE_FLOAT32, 4, elu_f32},
    {RLT_OP_LOGISTIC, RLT_TYPE_FLOAT32, 4, logistic_f32},
    {RLT_OP_TANH, RLT_TYPE_FLOAT32, 4, tanh_f32},
    {RLT_OP_HARD_SWISH, RLT_TYPE_FLOAT32, 4, hard_swish_f32},
    {RLT_OP_EXP, RLT_TYPE_FLOAT32, 4, exp_f32},
    {RLT_OP_LOG, RLT_TYPE_FLOAT32, 4, log_f32},
    {RLT_OP_SQRT, RLT_TYPE_FLOAT32, 4, sqrt_f32},
    {RLT_OP_RSQRT, RLT_TYPE_FLOAT32, 4, rsqrt_f32},
    {RLT_OP_NEG, RLT_TYPE_FLOAT32, 4, neg_f32},
    {RLT_OP_NEG, RLT_TYPE_INT32, 4, neg_i32},
    {RLT_OP_NEG, RLT_TYPE_INT64, 8, neg_i64},
    {RLT_OP_ABS, RLT_TYPE_FLOAT32, 4, abs_f32},
    {RLT_OP_ABS, RLT_TYPE_INT32, 4, abs_i32},
    {RLT_OP_SQUARE, RLT_TYPE_FLOAT32, 4, square_f32},
    {RLT_OP_FLOOR, RLT_TYPE_FLOAT32, 4, floor_f32},
    {RLT_OP_CEIL, RLT_TYPE_FLOAT32, 4, ceil_f32},
    {RLT_OP_ROUND, RLT_TYPE_FLOAT32, 4, round_f32},
    {RLT_OP_LOGICAL_NOT, RLT_TYPE_BOOL, 1, not_bool},
};

static const unary_row *find_row(int32_t op, int32_t type) {
  for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
    if (ROWS[i].op == op && ROWS[i].type == type) return &ROWS[i];
  }
  return NULL;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  rlt_tensor *x = n->in[0], *y = n->out[0];
  RLT_TRY(rlt_check_same_type(p, x, y));
  rlt_unary *k = n->data;
  k->alpha = n->def->op == RLT_OP_LEAKY_RELU ? rlt_fb_f32(&n->def->options, RLT_SLOT_LeakyReluOptions_alpha, 0.0f) : 0;
  k->loop = NULL;
  k->element_bytes = 1;
  const unary_row *row = find_row(n->def->op, x->type);
  if (row) {
    k->loop = row->loop;
    k->element_bytes = row->element_bytes;
  } else {
    RLT_TRY(rlt_unary_fill_table(p, n, k->alpha, k->table));
  }
  n->in_place = 0;
  RLT_TRY(rlt_set_shape(p, y, x->rank, x->dims));
  n->tiles = rlt_flat_tiles(x->count);
  return RLT_OK;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const rlt_unary *k = n->data;
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  const uint8_t *x = (const uint8_t *)n->in[0]->data + (uint64_t)begin * k->element_bytes;
  uint8_t *y = (uint8_t *)n->out[0]->data + (uint64_t)begin * k->element_bytes;
  if (k->loop) {
    k->loop(x, y, end - begin, k->alpha);
  } else {
    for (int64_t i = 0; i < end - begin; i++) y[i] = k->table[x[i]];
  }
  return RLT_OK;
}

#define KERNEL(symbol, op, version) \
  const rlt_kernel rlt_kernel_##symbol = {#op, sizeof(rlt_unary), version, false, prepare, NULL, run};

KERNEL(relu, RELU, 3)
KERNEL(relu6, RELU6, 3)
KERNEL(relu_n1_to_1, RELU_N1_TO_1, 1)
KERNEL(relu_0_to_1, RELU_0_TO_1, 1)
KERNEL(leaky_relu, LEAKY_RELU, 2)
KERNEL(elu, ELU, 2)
KERNEL(logistic, LOGISTIC, 3)
KERNEL(tanh, TANH, 3)
KERNEL(hard_swish, HARD_SWISH, 1)
KERNEL(exp, EXP, 2)
KERNEL(log, LOG, 2)
KERNEL(sqrt, SQRT, 1)
KERNEL(rsqrt, RSQRT, 3)
KERNEL(neg, NEG, 1)
KERNEL(abs, ABS, 5)
KERNEL(square, SQUARE, 1)
KERNEL(floor, FLOOR, 1)
KERNEL(ceil, CEIL, 1)
KERNEL(round, ROUND, 1)
KERNEL(logical_not, LOGICAL_NOT, 1)
