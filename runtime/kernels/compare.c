/* SPDX-License-Identifier: Apache-2.0
 * Comparisons and logical operators: two inputs broadcast to a BOOL. */
#include "binary.h"

/* 8- or 16-bit values brought to one scale by fixed-point multiplication. */
static inline int32_t level(int32_t x, int32_t zero, rlt_multiplier m) { return rlt_multiply((x - zero) * 256, m); }

#define PLAIN(name, suffix, type, operation) RLT_BINARY_ROW(name##_##suffix, type, uint8_t, u operation v)
#define SCALED(name, suffix, type, operation)           \
  RLT_BINARY_ROW(name##_scaled_##suffix, type, uint8_t, \
                 level(u, k->terms.a_zero, k->a_long) operation level(v, k->terms.b_zero, k->b_long))
#define ALL(name, operation)                                                                   \
  PLAIN(name, f32, float, operation)                                                           \
  PLAIN(name, i32, int32_t, operation)                                                         \
  RLT_BINARY_ROW(name##_f16, uint16_t, uint8_t, rlt_f16_to_f32(u) operation rlt_f16_to_f32(v)) \
  PLAIN(name, i64, int64_t, operation)                                                         \
  PLAIN(name, i8, int8_t, operation)                                                           \
  PLAIN(name, i16, int16_t, operation)                                                         \
  PLAIN(name, u8, uint8_t, operation)                                                          \
  SCALED(name, i8, int8_t, operation)                                                          \
  SCALED(name, i16, int16_t, operation)                                                        \
  SCALED(name, u8, uint8_t, operation)

ALL(equal, ==)
ALL(not_equal, !=)
ALL(greater, >)
ALL(greater_equal, >=)
ALL(less, <)
ALL(less_equal, <=)
RLT_BINARY_ROW(equal_string, rlt_string, uint8_t, rlt_compare_strings(&u, &v) == 0)
RLT_BINARY_ROW(not_equal_string, rlt_string, uint8_t, rlt_compare_strings(&u, &v) != 0)
RLT_BINARY_ROW(logical_and, uint8_t, uint8_t, (u != 0) & (v != 0))
RLT_BINARY_ROW(logical_or, uint8_t, uint8_t, (u != 0) | (v != 0))

typedef struct compare_rows {
  int32_t op;
  rlt_row f32, f16, i32, i64, i8, i16, u8, scaled_i8, scaled_i16, scaled_u8;
} compare_rows;

#define ROW(op, name)                                                                        \
  {RLT_OP_##op, name##_f32, name##_f16,       name##_i32,        name##_i64,      name##_i8, \
   name##_i16,  name##_u8,  name##_scaled_i8, name##_scaled_i16, name##_scaled_u8}
static const compare_rows ROWS[] = {ROW(EQUAL, equal),     ROW(NOT_EQUAL, not_equal),
                                    ROW(GREATER, greater), ROW(GREATER_EQUAL, greater_equal),
                                    ROW(LESS, less),       ROW(LESS_EQUAL, less_equal)};

/* Quantized values are compared as multiples of 1/256, even where both have one scale: so does LiteRT. */
static rlt_row scaled_row(rlt_binary *k, const rlt_node *n, const compare_rows *rows) {
  const rlt_tensor *a = n->in[0], *b = n->in[1];
  bool is_scaled = a->def->quant.n > 0 && b->def->quant.n > 0;
  bool is_order = n->def->op != RLT_OP_EQUAL && n->def->op != RLT_OP_NOT_EQUAL;
  if (a->type == RLT_TYPE_INT16 && is_order && rlt_same_quantization(a, b)) is_scaled = false; /* LiteRT's exception */
  if (is_scaled) {
    k->terms.a_zero = rlt_zero_point(a, 0);
    k->terms.b_zero = rlt_zero_point(b, 0);
    k->a_long = rlt_make_multiplier((double)rlt_scale(a, 0));
    k->b_long = rlt_make_multiplier((double)rlt_scale(b, 0));
  }
  if (a->type == RLT_TYPE_INT16) return is_scaled ? rows->scaled_i16 : rows->i16;
  if (a->type == RLT_TYPE_INT8) return is_scaled ? rows->scaled_i8 : rows->i8;
  return is_scaled ? rows->scaled_u8 : rows->u8;
}

static rlt_status prepare_compare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  const rlt_tensor *a = n->in[0];
  RLT_TRY(rlt_check_same_type(p, a, n->in[1]));
  RLT_TRY(rlt_check_type(p, n->out[0], RLT_BIT(RLT_TYPE_BOOL), "BOOL"));
  const compare_rows *rows = &ROWS[0];
  for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) rows = ROWS[i].op == n->def->op ? &ROWS[i] : rows;
  rlt_binary *k = n->data;
  k->in_bytes = rlt_type_bytes(a->type);
  k->out_bytes = 1;
  switch (a->type) {
    case RLT_TYPE_FLOAT32:
      k->row = rows->f32;
      break;
    case RLT_TYPE_FLOAT16:
      k->row = rows->f16;
      break;
    case RLT_TYPE_INT32:
      k->row = rows->i32;
      break;
    case RLT_TYPE_INT64:
      k->row = rows->i64;
      break;
    case RLT_TYPE_INT16:
    case RLT_TYPE_INT8:
    case RLT_TYPE_UINT8:
      RLT_REQUIRE(p->err, a->def->quant.n <= 1 && n->in[1]->def->quant.n <= 1, RLT_UNSUPPORTED,
                  "%T: a comparison takes one scale per tensor", a);
      k->row = scaled_row(k, n, rows);
      break;
    case RLT_TYPE_BOOL:
      RLT_REQUIRE(p->err, n->def->op == RLT_OP_EQUAL || n->def->op == RLT_OP_NOT_EQUAL, RLT_UNSUPPORTED,
                  "%T: BOOL has no order", a);
      k->row = rows->u8;
      break;
    case RLT_TYPE_STRING:
      RLT_REQUIRE(p->err, n->def->op == RLT_OP_EQUAL || n->def->op == RLT_OP_NOT_EQUAL, RLT_UNSUPPORTED,
                  "%T: STRING has no order", a);
      k->row = n->def->op == RLT_OP_EQUAL ? equal_string : not_equal_string;
      break;
    default:
      return rlt_check_type(p, a, RLT_BIT(RLT_TYPE_FLOAT32),
                            "FLOAT32, FLOAT16, INT32, INT64, INT8, INT16, UINT8, BOOL or STRING");
  }
  return rlt_binary_shapes(p, n);
}

static rlt_status prepare_logical(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  for (int32_t i = 0; i < 2; i++) RLT_TRY(rlt_check_type(p, n->in[i], RLT_BIT(RLT_TYPE_BOOL), "BOOL"));
  RLT_TRY(rlt_check_type(p, n->out[0], RLT_BIT(RLT_TYPE_BOOL), "BOOL"));
  rlt_binary *k = n->data;
  k->in_bytes = k->out_bytes = 1;
  k->row = n->def->op == RLT_OP_LOGICAL_AND ? logical_and : logical_or;
  return rlt_binary_shapes(p, n);
}

#define KERNEL(symbol, op, version, prepare) \
  const rlt_kernel rlt_kernel_##symbol = {#op, sizeof(rlt_binary), version, false, prepare, NULL, rlt_binary_run_tiles};

KERNEL(equal, EQUAL, 5, prepare_compare)
KERNEL(not_equal, NOT_EQUAL, 4, prepare_compare)
KERNEL(greater, GREATER, 2, prepare_compare)
KERNEL(greater_equal, GREATER_EQUAL, 3, prepare_compare)
KERNEL(less, LESS, 3, prepare_compare)
KERNEL(less_equal, LESS_EQUAL, 3, prepare_compare)
KERNEL(logical_and, LOGICAL_AND, 1, prepare_logical)
KERNEL(logical_or, LOGICAL_OR, 1, prepare_logical)
