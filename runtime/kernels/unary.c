/* SPDX-License-Identifier: Apache-2.0 */
#include "unary.h"

#define BLOCK 512 /* FLOAT16 values converted together */

/* ---- what is no loop of an ISA; integers through unsigned types, because negating the least one wraps around ---- */

#define PLAIN(name, type, expression)                       \
  static void name(const void *from, void *to, int64_t n) { \
    for (int64_t i = 0; i < n; i++) {                       \
      type v = ((const type *)from)[i];                     \
      ((type *)to)[i] = (expression);                       \
    }                                                       \
  }

PLAIN(neg_i32, int32_t, (int32_t)(0u - (uint32_t)v))
PLAIN(neg_i8, int8_t, (int8_t)(0 - v))
PLAIN(neg_i16, int16_t, (int16_t)(0 - v))
PLAIN(neg_i64, int64_t, (int64_t)(0u - (uint64_t)v))
PLAIN(sign_i32, int32_t, (v > 0) - (v < 0))
PLAIN(sign_f64, double, v > 0 ? 1.0 : (v < 0 ? -1.0 : (v == v ? 0.0 : v)))
PLAIN(abs_i32, int32_t, v < 0 ? (int32_t)(0u - (uint32_t)v) : v)
PLAIN(not_bool, uint8_t, v == 0)

/* ---- one row per (op, type) ---- */

typedef struct unary_row {
  int32_t op, type;
  rlt_unary_op real;
  void (*plain)(const void *x, void *y, int64_t n); /* NULL: the loop `real` */
} unary_row;

#define REAL(op) {RLT_OP_##op, RLT_TYPE_FLOAT32, RLT_LOOP_##op, NULL}
#define PLAIN_ROW(op, type, loop) {RLT_OP_##op, RLT_TYPE_##type, RLT_UNARY_LOOPS, loop}
static const unary_row ROWS[] = {
    REAL(RELU),
    REAL(RELU6),
    REAL(RELU_N1_TO_1),
    REAL(RELU_0_TO_1),
    REAL(LEAKY_RELU),
    REAL(ELU),
    REAL(LOGISTIC),
    REAL(TANH),
    REAL(HARD_SWISH),
    REAL(EXP),
    REAL(LOG),
    REAL(SQRT),
    REAL(RSQRT),
    REAL(NEG),
    REAL(ABS),
    REAL(SQUARE),
    REAL(FLOOR),
    REAL(CEIL),
    REAL(ROUND),
    REAL(SIGN),
    REAL(GELU),
    REAL(SIN),
    REAL(COS),
    PLAIN_ROW(NEG, INT32, neg_i32),
    PLAIN_ROW(NEG, INT8, neg_i8),
    PLAIN_ROW(NEG, INT16, neg_i16),
    PLAIN_ROW(NEG, INT64, neg_i64),
    PLAIN_ROW(ABS, INT32, abs_i32),
    PLAIN_ROW(SIGN, INT32, sign_i32),
    PLAIN_ROW(SIGN, FLOAT64, sign_f64),
    PLAIN_ROW(LOGICAL_NOT, BOOL, not_bool),
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
  k->element_bytes = rlt_type_bytes(x->type);
  bool scaled = rlt_type_bytes(x->type) <= 2 && x->def->quant.n > 0; /* other integers' scales mean nothing here */
  bool is_half = x->type == RLT_TYPE_FLOAT16;                        /* computed in float32, rounded at the end */
  const unary_row *row = scaled ? NULL : find_row(n->def->op, is_half ? RLT_TYPE_FLOAT32 : x->type);
  n->loop = row && row->plain ? NULL : p->u->loops->name;
  if (row) {
    bool by_tanh = n->def->op == RLT_OP_GELU && rlt_unary_gelu_by_tanh(n);
    k->plain = row->plain;
    k->real = row->plain ? NULL : p->u->loops->unary[by_tanh ? RLT_LOOP_GELU_BY_TANH : row->real];
  } else if (x->type == RLT_TYPE_INT16) {
    RLT_TRY(rlt_unary_prepare_short(p, n, k->alpha, &k->short_ints));
  } else {
    RLT_TRY(rlt_unary_fill_table(p, n, k->alpha, k->table));
  }
  n->in_place = 0;
  RLT_TRY(rlt_set_shape(p, y, x->rank, x->dims));
  n->tiles = rlt_flat_tiles(x->count);
  return RLT_OK;
}

/* FLOAT16 through the loop of FLOAT32, a block at a time. */
static void run_half(const rlt_run *r, const rlt_unary *k, const uint16_t *x, uint16_t *y, int64_t n) {
  float from[BLOCK], to[BLOCK];
  for (int64_t at = 0; at < n; at += BLOCK) {
    int64_t count = n - at < BLOCK ? n - at : BLOCK;
    r->u->loops->f16_to_f32(x + at, from, count);
    if (k->real) k->real(from, to, count, k->alpha);
    else k->plain(from, to, count);
    for (int64_t i = 0; i < count; i++) y[at + i] = rlt_f32_to_f16(to[i]);
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const rlt_unary *k = n->data;
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  const uint8_t *x = (const uint8_t *)n->in[0]->data + (uint64_t)begin * k->element_bytes;
  uint8_t *y = (uint8_t *)n->out[0]->data + (uint64_t)begin * k->element_bytes;
  if (n->in[0]->type == RLT_TYPE_FLOAT16) {
    run_half(r, k, (const uint16_t *)(const void *)x, (uint16_t *)(void *)y, end - begin);
  } else if (k->real) {
    k->real((const float *)(const void *)x, (float *)(void *)y, end - begin, k->alpha);
  } else if (k->plain) {
    k->plain(x, y, end - begin);
  } else if (n->in[0]->type == RLT_TYPE_INT16) {
    rlt_unary_run_short(&k->short_ints, (const int16_t *)(const void *)x, (int16_t *)(void *)y, end - begin);
  } else {
    r->u->loops->look_up(k->table, x, y, end - begin);
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
KERNEL(sqrt, SQRT, 2)
KERNEL(rsqrt, RSQRT, 3)
KERNEL(neg, NEG, 1)
KERNEL(abs, ABS, 5)
KERNEL(square, SQUARE, 1)
KERNEL(floor, FLOOR, 1)
KERNEL(ceil, CEIL, 1)
KERNEL(round, ROUND, 1)
KERNEL(logical_not, LOGICAL_NOT, 1)
KERNEL(sin, SIN, 2)
KERNEL(cos, COS, 2)
KERNEL(sign, SIGN, 2)
KERNEL(gelu, GELU, 3)
