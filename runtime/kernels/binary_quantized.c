/* SPDX-License-Identifier: Apache-2.0
 * ADD, SUB, MUL and SQUARED_DIFFERENCE over INT8 and UINT8, by the formulas of LiteRT's default x86-64 path
 * (docs/numerics.md): a short form for scales within its bounds, a long one for all others. */
#include "binary.h"

static inline int32_t fit(const rlt_binary *k, int32_t x) {
  int64_t y = (int64_t)x + k->out_zero;
  return y < k->q_lo ? k->q_lo : (y > k->q_hi ? k->q_hi : (int32_t)y);
}

/* x << left_shift times m, with gemmlowp's two roundings. */
static inline int32_t lift(const rlt_binary *k, int32_t x, rlt_multiplier m) {
  return rlt_multiply(x * (1 << k->left_shift), m);
}

static int32_t long_sum(const rlt_binary *k, int32_t u, int32_t v, int32_t sign) {
  int32_t sum = lift(k, u - k->a_zero, k->a_long) + sign * lift(k, v - k->b_zero, k->b_long);
  return fit(k, rlt_multiply(sum, k->out_long));
}

static int32_t long_product(const rlt_binary *k, int32_t u, int32_t v) {
  return fit(k, rlt_multiply((u - k->a_zero) * (v - k->b_zero), k->out_long));
}

static int32_t squared_difference(const rlt_binary *k, int32_t u, int32_t v) {
  int32_t difference = lift(k, u - k->a_zero, k->a_long) - lift(k, v - k->b_zero, k->b_long);
  return fit(k, rlt_multiply(difference * difference, k->out_long));
}

#define SUM_BEFORE                                                                                        \
  const int32_t bias = k->bias, shift = k->shift, a_mul = k->a_mul, b_mul = k->b_mul, zero = k->out_zero; \
  const int32_t lo = k->q_lo, hi = k->q_hi
#define MUL_BEFORE                                                          \
  const int32_t a_zero = k->a_zero, b_zero = k->b_zero, zero = k->out_zero; \
  const float scale = k->scale, lo = (float)(k->q_lo - zero), hi = (float)(k->q_hi - zero)

#define ROWS(suffix, type)                                                                       \
  RLT_BINARY_ROW(sum_##suffix, type, type, RLT_INDEPENDENT, SUM_BEFORE,                          \
                 rlt_clamp_i32(((bias + u * a_mul + v * b_mul) >> shift) + zero, lo, hi))        \
  RLT_BINARY_ROW(mul_##suffix, type, type, RLT_INDEPENDENT, MUL_BEFORE,                          \
                 rlt_round_clamped((float)((u - a_zero) * (v - b_zero)) * scale, lo, hi) + zero) \
  RLT_BINARY_ROW(long_add_##suffix, type, type, , (void)k, long_sum(k, u, v, 1))                 \
  RLT_BINARY_ROW(long_sub_##suffix, type, type, , (void)k, long_sum(k, u, v, -1))                \
  RLT_BINARY_ROW(long_mul_##suffix, type, type, , (void)k, long_product(k, u, v))                \
  RLT_BINARY_ROW(squared_difference_##suffix, type, type, , (void)k, squared_difference(k, u, v))
ROWS(i8, int8_t)
ROWS(u8, uint8_t)

typedef struct quantized_rows {
  rlt_row sum, mul, long_add, long_sub, long_mul, squared_difference;
} quantized_rows;

static const quantized_rows SIGNED = {sum_i8, mul_i8, long_add_i8, long_sub_i8, long_mul_i8, squared_difference_i8};
static const quantized_rows UNSIGNED = {sum_u8, mul_u8, long_add_u8, long_sub_u8, long_mul_u8, squared_difference_u8};

void rlt_binary_long_form(rlt_binary *k, float a_scale, float b_scale, float out_scale, int32_t left_shift) {
  double twice = (double)(2.0f * (a_scale > b_scale ? a_scale : b_scale));
  k->left_shift = left_shift;
  k->a_long = rlt_make_multiplier((double)a_scale / twice);
  k->b_long = rlt_make_multiplier((double)b_scale / twice);
  k->out_long = rlt_make_multiplier(twice / (double)((float)(1 << left_shift) * out_scale));
}

/* Multipliers of 21 bits for the two ratios, which must lie in [2^-10, 2^8); false if they do not. */
static bool short_sum(rlt_binary *k, float a_ratio, float b_ratio, bool subtract) {
  const float least = 1.0f / 1024, most = 256.0f;
  if (!(a_ratio >= least && a_ratio < most && b_ratio >= least && b_ratio < most)) return false;
  float larger = a_ratio > b_ratio ? a_ratio : b_ratio;
  k->shift = 20 - ((int32_t)(rlt_f32_bits(larger) >> 23) - 127);
  float power = rlt_bits_f32((uint32_t)(k->shift + 127) << 23);
  k->a_mul = rlt_f32_to_i32(a_ratio * power);
  k->b_mul = rlt_f32_to_i32(b_ratio * power);
  if (subtract) k->b_mul = -k->b_mul;
  k->bias = (1 << (k->shift - 1)) - k->a_mul * k->a_zero - k->b_mul * k->b_zero;
  return true;
}

static void choose_sum(rlt_binary *k, const quantized_rows *rows, float a, float b, float out, bool subtract) {
  if (short_sum(k, a / out, b / out, subtract)) {
    k->row = rows->sum;
  } else {
    rlt_binary_long_form(k, a, b, out, 20);
    k->row = subtract ? rows->long_sub : rows->long_add;
  }
}

static void choose_product(rlt_binary *k, const quantized_rows *rows, float a, float b, float out) {
  float product = a * b;
  k->scale = product / out;
  k->row = rows->mul;
  if (k->scale >= 1.0f / 65536 && k->scale < 256.0f) return;
  k->out_long = rlt_make_multiplier((double)k->scale);
  k->row = rows->long_mul;
}

rlt_status rlt_binary_quantized(rlt_prep *p, rlt_node *n, int32_t activation) {
  rlt_binary *k = n->data;
  const rlt_tensor *a = n->in[0], *b = n->in[1], *y = n->out[0];
  bool known = n->def->op == RLT_OP_ADD || n->def->op == RLT_OP_SUB || n->def->op == RLT_OP_MUL ||
               n->def->op == RLT_OP_SQUARED_DIFFERENCE;
  bool eight_bits = a->type == RLT_TYPE_INT8 || a->type == RLT_TYPE_UINT8;
  RLT_REQUIRE(p->err, known && eight_bits, RLT_UNSUPPORTED, "%T: this op has no kernel for %t", a, a->type);
  RLT_TRY(rlt_require_quantized(p, a));
  RLT_TRY(rlt_require_quantized(p, b));
  RLT_TRY(rlt_require_quantized(p, y));
  RLT_TRY(rlt_activation_quantized(p, activation, y, &k->q_lo, &k->q_hi));
  k->in_bytes = k->out_bytes = 1;
  k->a_zero = rlt_zero_point(a, 0);
  k->b_zero = rlt_zero_point(b, 0);
  k->out_zero = rlt_zero_point(y, 0);
  float a_scale = rlt_scale(a, 0), b_scale = rlt_scale(b, 0), out_scale = rlt_scale(y, 0);
  const quantized_rows *rows = a->type == RLT_TYPE_INT8 ? &SIGNED : &UNSIGNED;
  if (n->def->op == RLT_OP_MUL) {
    choose_product(k, rows, a_scale, b_scale, out_scale);
  } else if (n->def->op == RLT_OP_SQUARED_DIFFERENCE) {
    rlt_binary_long_form(k, a_scale, b_scale, out_scale, 7);
    double twice = (double)(2.0f * (a_scale > b_scale ? a_scale : b_scale));
    k->out_long = rlt_make_multiplier(twice * twice / (double)(16384.0f * out_scale));
    k->row = rows->squared_difference;
  } else {
    choose_sum(k, rows, a_scale, b_scale, out_scale, n->def->op == RLT_OP_SUB);
  }
  return RLT_OK;
}
