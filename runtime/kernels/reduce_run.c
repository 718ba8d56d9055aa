/* SPDX-License-Identifier: Apache-2.0 */
#include "reduce_run.h"

#define LOOP(expression)            \
  for (int64_t i = 0; i < n; i++) { \
    v = x[i * step];                \
    a = (expression);               \
  }                                 \
  break
/* Whether a number is something else than 0, as NaN is. Unsigned ones have nothing below 0 to compare with. */
#define IS_SET(x) ((x) < 0 || (x) > 0 || !((x) >= (x)))
#define IS_SET_UNSIGNED(x) ((x) > 0)
/* Integers wrap around; NaN stays. */
#define REDUCE(suffix, type, wide, is_set)                                                             \
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
        LOOP((type)(is_set(a) && is_set(v)));                                                          \
      default:                                                                                         \
        LOOP((type)(is_set(a) || is_set(v)));                                                          \
    }                                                                                                  \
    *(type *)to = a;                                                                                   \
  }
REDUCE(i8, int8_t, uint32_t, IS_SET)
REDUCE(i16, int16_t, uint32_t, IS_SET)
REDUCE(i32, int32_t, uint32_t, IS_SET)
REDUCE(i64, int64_t, uint64_t, IS_SET)
REDUCE(f32, float, float, IS_SET)
REDUCE(f64, double, double, IS_SET)
REDUCE(u8, uint8_t, uint32_t, IS_SET_UNSIGNED)
REDUCE(u16, uint16_t, uint32_t, IS_SET_UNSIGNED)
REDUCE(u32, uint32_t, uint32_t, IS_SET_UNSIGNED)
REDUCE(u64, uint64_t, uint64_t, IS_SET_UNSIGNED)

static void reduce_f16(int32_t function, const void *from, int64_t step, int64_t n, void *to) {
  const uint16_t *x = from;
  for (int64_t i = 0; i < n; i++) {
    float a = rlt_f16_to_f32(*(uint16_t *)to), v = rlt_f16_to_f32(x[i * step]);
    reduce_f32(function, &v, 1, 1, &a);
    *(uint16_t *)to = rlt_f32_to_f16(a);
  }
}

rlt_reduce_run rlt_reduce_run_of(int32_t type) {
  switch (type) {
    case RLT_TYPE_INT8:
      return reduce_i8;
    case RLT_TYPE_INT16:
      return reduce_i16;
    case RLT_TYPE_INT32:
      return reduce_i32;
    case RLT_TYPE_INT64:
      return reduce_i64;
    case RLT_TYPE_BOOL:
    case RLT_TYPE_UINT8:
      return reduce_u8;
    case RLT_TYPE_UINT16:
      return reduce_u16;
    case RLT_TYPE_UINT32:
      return reduce_u32;
    case RLT_TYPE_UINT64:
      return reduce_u64;
    case RLT_TYPE_FLOAT16:
      return reduce_f16;
    case RLT_TYPE_FLOAT32:
      return reduce_f32;
    case RLT_TYPE_FLOAT64:
      return reduce_f64;
    default:
      return NULL;
  }
}

rlt_status rlt_body_function(rlt_prep *p, int32_t body, const rlt_tensor *x, int32_t *function) {
  static const struct {
    int32_t op, function;
    bool is_logical;
  } known[] = {
      {RLT_OP_ADD, RLT_REDUCE_WINDOW_FUNCTION_ADD, false},
      {RLT_OP_STABLEHLO_ADD, RLT_REDUCE_WINDOW_FUNCTION_ADD, false},
      {RLT_OP_MUL, RLT_REDUCE_WINDOW_FUNCTION_MUL, false},
      {RLT_OP_STABLEHLO_MULTIPLY, RLT_REDUCE_WINDOW_FUNCTION_MUL, false},
      {RLT_OP_MAXIMUM, RLT_REDUCE_WINDOW_FUNCTION_MAXIMUM, false},
      {RLT_OP_STABLEHLO_MAXIMUM, RLT_REDUCE_WINDOW_FUNCTION_MAXIMUM, false},
      {RLT_OP_MINIMUM, RLT_REDUCE_WINDOW_FUNCTION_MINIMUM, false},
      {RLT_OP_STABLEHLO_MINIMUM, RLT_REDUCE_WINDOW_FUNCTION_MINIMUM, false},
      {RLT_OP_LOGICAL_AND, RLT_REDUCE_WINDOW_FUNCTION_ALL, true},
      {RLT_OP_STABLEHLO_AND, RLT_REDUCE_WINDOW_FUNCTION_ALL, true},
      {RLT_OP_LOGICAL_OR, RLT_REDUCE_WINDOW_FUNCTION_ANY, true},
      {RLT_OP_STABLEHLO_OR, RLT_REDUCE_WINDOW_FUNCTION_ANY, true},
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (known[i].op != body) continue;
    RLT_REQUIRE(p->err, !known[i].is_logical || x->type == RLT_TYPE_BOOL, RLT_UNSUPPORTED,
                "its body is %s, which is supported on BOOL only: on %t it works on bits", rlt_op_name(body), x->type);
    *function = rlt_function_on(x->type, known[i].function);
    return RLT_OK;
  }
  return rlt_fail(p->err, RLT_UNSUPPORTED,
                  "its body must be one ADD, MUL, MAXIMUM, MINIMUM, LOGICAL_AND or LOGICAL_OR, or their STABLEHLO_ "
                  "forms, of the subgraph's two inputs; write other bodies as operators of their own");
}
