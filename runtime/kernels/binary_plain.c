/* SPDX-License-Identifier: Apache-2.0
 * Elementwise operators of two inputs on plain types, without scales and activations: ATAN2, BITWISE_XOR, RIGHT_SHIFT
 * and the STABLEHLO_ ones. */
#include "binary.h"

#define ROWS_OF(name, suffix, type, expression) RLT_BINARY_ROW(name##_##suffix, type, type, expression)

/* Integers wrap around: the arithmetic is that of an unsigned type of at least 32 bits. */
#define INTEGER_ROWS(suffix, type, wide)                                \
  ROWS_OF(add, suffix, type, (type)((wide)u + (wide)v))                 \
  ROWS_OF(multiply, suffix, type, (type)((wide)u * (wide)v))            \
  ROWS_OF(maximum, suffix, type, u > v ? u : v)                         \
  ROWS_OF(minimum, suffix, type, u < v ? u : v)                         \
  ROWS_OF(and, suffix, type, (type)(u & v))                             \
  ROWS_OF(xor, suffix, type, (type)(u ^ v))                             \
  ROWS_OF(shift_right, suffix, type, (type)(u >> shift_of_##suffix(v))) \
  ROWS_OF(shift_left, suffix, type, (type)((uint64_t)v >= 8 * sizeof(type) ? 0 : (wide)u << v))

/* A shift to the right by less than 0 or more than all bits is by none or by all but one. */
#define SHIFT(suffix, type) \
  static inline int32_t shift_of_##suffix(type v) { return v < 1 ? 0 : (v > BITS(type) ? BITS(type) : (int32_t)v); }
#define BITS(type) ((int32_t)(8 * sizeof(type) - 1))
#define UNSIGNED_SHIFT(suffix, type) \
  static inline int32_t shift_of_##suffix(type v) { return v > (type)BITS(type) ? BITS(type) : (int32_t)v; }
SHIFT(i8, int8_t)
SHIFT(i16, int16_t)
SHIFT(i32, int32_t)
SHIFT(i64, int64_t)
UNSIGNED_SHIFT(u8, uint8_t)
UNSIGNED_SHIFT(u16, uint16_t)
UNSIGNED_SHIFT(u32, uint32_t)
UNSIGNED_SHIFT(u64, uint64_t)

INTEGER_ROWS(i8, int8_t, uint32_t)
INTEGER_ROWS(i16, int16_t, uint32_t)
INTEGER_ROWS(i32, int32_t, uint32_t)
INTEGER_ROWS(i64, int64_t, uint64_t)
INTEGER_ROWS(u8, uint8_t, uint32_t)
INTEGER_ROWS(u16, uint16_t, uint32_t)
INTEGER_ROWS(u32, uint32_t, uint32_t)
INTEGER_ROWS(u64, uint64_t, uint64_t)

/* Of a sum and a product of truth values every one but 0 is true; NaN is kept. */
ROWS_OF(or, bool, uint8_t, (u | v) != 0)
ROWS_OF(and, bool, uint8_t, u != 0 && v != 0)
#define REAL_ROWS(suffix, type)                           \
  ROWS_OF(add, suffix, type, u + v)                       \
  ROWS_OF(multiply, suffix, type, u *v)                   \
  ROWS_OF(maximum, suffix, type, u > v || u != u ? u : v) \
  ROWS_OF(minimum, suffix, type, u < v || u != u ? u : v)
REAL_ROWS(f32, float)
REAL_ROWS(f64, double)
ROWS_OF(atan2, f32, float, rlt_atan2(u, v))
ROWS_OF(atan2, f64, double, rlt_atan2_64(u, v))

/* ---- one row per op: its loop for every type ---- */

enum { I8, I16, I32, I64, U8, U16, U32, U64, BOOL, F32, F64, TYPES };

static int32_t column_of(int32_t type) {
  switch (type) {
    case RLT_TYPE_INT8:
      return I8;
    case RLT_TYPE_INT16:
      return I16;
    case RLT_TYPE_INT32:
      return I32;
    case RLT_TYPE_INT64:
      return I64;
    case RLT_TYPE_UINT8:
      return U8;
    case RLT_TYPE_UINT16:
      return U16;
    case RLT_TYPE_UINT32:
      return U32;
    case RLT_TYPE_UINT64:
      return U64;
    case RLT_TYPE_BOOL:
      return BOOL;
    case RLT_TYPE_FLOAT32:
      return F32;
    case RLT_TYPE_FLOAT64:
      return F64;
    default:
      return TYPES;
  }
}

typedef struct plain_rows {
  int32_t op;
  bool broadcasts;
  rlt_row of[TYPES]; /* NULL: refused */
} plain_rows;

#define ALL(name) name##_i8, name##_i16, name##_i32, name##_i64, name##_u8, name##_u16, name##_u32, name##_u64
#define REALS(name) name##_f32, name##_f64
static const plain_rows ROWS[] = {
    {RLT_OP_ATAN2, true, {[F32] = atan2_f32, [F64] = atan2_f64}},
    {RLT_OP_BITWISE_XOR, true, {ALL(xor)}},
    {RLT_OP_RIGHT_SHIFT, true, {ALL(shift_right)}},
    {RLT_OP_STABLEHLO_ADD, false, {ALL(add), or_bool, REALS(add)}},
    {RLT_OP_STABLEHLO_MULTIPLY, false, {ALL(multiply), and_bool, REALS(multiply)}},
    {RLT_OP_STABLEHLO_MAXIMUM, false, {ALL(maximum), or_bool, REALS(maximum)}},
    {RLT_OP_STABLEHLO_MINIMUM, false, {ALL(minimum), and_bool, REALS(minimum)}},
    {RLT_OP_STABLEHLO_AND, false, {ALL(and), and_bool}},
    {RLT_OP_STABLEHLO_SHIFT_LEFT, false, {ALL(shift_left)}},
};

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  const rlt_tensor *a = n->in[0], *b = n->in[1];
  RLT_TRY(rlt_check_same_type(p, a, b));
  RLT_TRY(rlt_check_same_type(p, a, n->out[0]));
  const plain_rows *rows = &ROWS[0];
  for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) rows = ROWS[i].op == n->def->op ? &ROWS[i] : rows;
  rlt_binary *k = n->data;
  int32_t column = column_of(a->type);
  k->row = column < TYPES ? rows->of[column] : NULL;
  RLT_REQUIRE(p->err, k->row, RLT_UNSUPPORTED, "%T: this op has no kernel for %t", a, a->type);
  k->in_bytes = k->out_bytes = rlt_type_bytes(a->type);
  bool same = a->rank == b->rank;
  for (int32_t d = 0; d < a->rank && same; d++) same = a->dims[d] == b->dims[d];
  RLT_REQUIRE(p->err, same || rows->broadcasts, RLT_BAD_MODEL, "%T and %T must have the same shape", a, b);
  return rlt_binary_shapes(p, n);
}

#define KERNEL(symbol, op)                                                 \
  const rlt_kernel rlt_kernel_##symbol = {.name = #op,                     \
                                          .data_size = sizeof(rlt_binary), \
                                          .max_version = 1,                \
                                          .prepare = prepare,              \
                                          .run = rlt_binary_run_tiles};

KERNEL(atan2, ATAN2)
KERNEL(bitwise_xor, BITWISE_XOR)
KERNEL(right_shift, RIGHT_SHIFT)
KERNEL(stablehlo_add, STABLEHLO_ADD)
KERNEL(stablehlo_multiply, STABLEHLO_MULTIPLY)
KERNEL(stablehlo_maximum, STABLEHLO_MAXIMUM)
KERNEL(stablehlo_minimum, STABLEHLO_MINIMUM)
KERNEL(stablehlo_and, STABLEHLO_AND)
KERNEL(stablehlo_shift_left, STABLEHLO_SHIFT_LEFT)
