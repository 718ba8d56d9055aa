/* SPDX-License-Identifier: Apache-2.0
 * Rounding and fixed-point arithmetic of quantized kernels. docs/numerics.md says which op uses which. */
#ifndef RLT_QUANTIZE_MATH_H
#define RLT_QUANTIZE_MATH_H

#include "../core/graph.h"
#include "../core/math.h"

/* Nearest integer, ties to even; saturates; NaN gives 0. */
static inline int32_t rlt_f32_to_i32(float x) {
  x = x == x ? rlt_round_even(x) : 0.0f;
  if (x >= 2147483648.0f) return INT32_MAX;
  return x <= -2147483648.0f ? INT32_MIN : (int32_t)x;
}

/* Nearest integer, ties away from zero, of a value within [-128, 127]; NaN gives 0. */
static inline int8_t rlt_round_s8(float x) {
  if (x != x) return 0;
  int32_t whole = (int32_t)x;
  float rest = x - (float)whole;
  return (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
}

/* Nearest integer, ties away from zero, of a value well inside int64. */
static inline int64_t rlt_f64_round_away(double x) { return (int64_t)(x < 0.0 ? x - 0.5 : x + 0.5); }

/* Bounds of an 8- or 16-bit integer type. */
static inline int32_t rlt_type_min(int32_t type) {
  return type == RLT_TYPE_INT8 ? INT8_MIN : (type == RLT_TYPE_INT16 ? INT16_MIN : 0);
}
static inline int32_t rlt_type_max(int32_t type) {
  if (type == RLT_TYPE_INT8) return INT8_MAX;
  return type == RLT_TYPE_INT16 ? INT16_MAX : (type == RLT_TYPE_UINT16 ? UINT16_MAX : UINT8_MAX);
}

/* The quantized value of a real number: round(x * inv_scale + zero), ties to even, clamped. NaN is taken as 0. */
static inline int32_t rlt_quantize_f32(float x, float inv_scale, int32_t zero, int32_t lo, int32_t hi) {
  float q = x * inv_scale + (float)zero;
  return rlt_round_clamped(q == q ? q : 0.0f, (float)lo, (float)hi);
}

/* ---- gemmlowp's fixed-point forms ---- */

/* A positive real number as multiplier * 2^(shift - 31), multiplier in [2^30, 2^31). */
typedef struct rlt_multiplier {
  int32_t value;
  int32_t shift;
} rlt_multiplier;

rlt_multiplier rlt_make_multiplier(double real);

/* round(a * b / 2^31), ties up; saturates at the one case that overflows. */
static inline int32_t rlt_doubling_high_mul(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  int64_t product = (int64_t)a * b;
  int64_t nudge = product >= 0 ? (1 << 30) : 1 - (1 << 30);
  return (int32_t)((product + nudge) / ((int64_t)1 << 31));
}

/* x / 2^exponent, ties away from zero; exponent in [0, 31]. */
static inline int32_t rlt_rounding_shift(int32_t x, int32_t exponent) {
  int32_t mask = (int32_t)(((int64_t)1 << exponent) - 1);
  int32_t remainder = x & mask;
  int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return (x >> exponent) + (remainder > threshold ? 1 : 0);
}

/* x * m with both roundings of the two functions above; a left shift saturates. */
static inline int32_t rlt_multiply(int32_t x, rlt_multiplier m) {
  int32_t left = m.shift > 0 ? m.shift : 0;
  int64_t wide = (int64_t)x * ((int64_t)1 << left);
  int32_t shifted = wide > INT32_MAX ? INT32_MAX : (wide < INT32_MIN ? INT32_MIN : (int32_t)wide);
  return rlt_rounding_shift(rlt_doubling_high_mul(shifted, m.value), m.shift > 0 ? 0 : -m.shift);
}

/* The same, but the second rounding takes ties up, as NEON's VRSHL does. */
static inline int32_t rlt_multiply_ties_up(int32_t x, rlt_multiplier m) {
  int64_t high = rlt_multiply(x, (rlt_multiplier){m.value, m.shift > 0 ? m.shift : 0});
  return m.shift >= 0 ? (int32_t)high : (int32_t)((high + ((int64_t)1 << (-m.shift - 1))) >> -m.shift);
}

static inline int64_t rlt_clamp_i64(int64_t x, int64_t bound) { return x < -bound ? -bound : (x > bound ? bound : x); }
static inline int32_t rlt_saturate_i32(int64_t x) {
  return x < INT32_MIN ? INT32_MIN : (x > INT32_MAX ? INT32_MAX : (int32_t)x);
}

/* x times the multiplier's first 16 bits, one rounding, ties up; saturates. */
static inline int32_t rlt_multiply_short(int64_t x, rlt_multiplier m) {
  int32_t reduced = m.value < 0x7fff0000 ? (m.value + (1 << 15)) >> 16 : 0x7fff, shift = 15 - m.shift;
  if (shift < 1) return rlt_saturate_i32(rlt_clamp_i64(x, INT32_MAX) * reduced);
  return rlt_saturate_i32((rlt_clamp_i64(x, (int64_t)1 << 47) * reduced + ((int64_t)1 << (shift - 1))) >> shift);
}

/* ---- checks for prepare ---- */

/* The tensor has one scale and one zero point. */
rlt_status rlt_require_quantized(rlt_prep *p, const rlt_tensor *t);
/* Two tensors of quantized type have the same scale (to one part in a million) and zero point. */
rlt_status rlt_require_same_quantization(rlt_prep *p, const rlt_tensor *a, const rlt_tensor *b);
bool rlt_same_quantization(const rlt_tensor *a, const rlt_tensor *b);

#endif
