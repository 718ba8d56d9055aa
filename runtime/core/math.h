/* SPDX-License-Identifier: Apache-2.0
 * Elementary functions without a C library: the same bits on every compiler and machine.
 *
 * The float32 ones are inline and branch-free, so that loops over them vectorize. Errors against the exact value, as
 * tests/runtime/test_math.py holds them: exp 0.95 ULP, log 0.9, elu 1.1, tanh 1.5, logistic and
 * rsqrt 2.5, gelu 7; sqrt, floor, ceil and round_even are exact; sin, cos, atan2 and pow are rounded once from float64.
 * The float64 ones (math.c) make tables and constants: exp64 and log64 1 ULP, logistic64 3, tanh64 32; so what is
 * rounded from them to float32 is the nearest float32 in all but a few of 10^8 cases. NaN gives NaN throughout. */
#ifndef RLT_MATH_H
#define RLT_MATH_H

#include <stdint.h>

static inline uint32_t rlt_f32_bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float rlt_bits_f32(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

static inline uint64_t rlt_f64_bits(double x) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline double rlt_bits_f64(uint64_t bits) {
  double x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

static inline float rlt_abs(float x) { return rlt_bits_f32(rlt_f32_bits(x) & 0x7fffffffu); }
static inline float rlt_copysign(float magnitude, float sign) {
  return rlt_bits_f32((rlt_f32_bits(magnitude) & 0x7fffffffu) | (rlt_f32_bits(sign) & 0x80000000u));
}

/* NaN stays NaN. */
static inline float rlt_clamp_f32(float x, float lo, float hi) { return x < lo ? lo : (x > hi ? hi : x); }

static inline int32_t rlt_clamp_i32(int32_t x, int32_t lo, int32_t hi) { return x < lo ? lo : (x > hi ? hi : x); }

/* Nearest integer, ties to even, of x clamped to [lo, hi]; |lo|, |hi| <= 2^21. NaN gives hi. */
static inline int32_t rlt_round_clamped(float x, float lo, float hi) {
  x = x < hi ? x : hi;
  x = x > lo ? x : lo;
  return (int32_t)(rlt_f32_bits(x + 12582912.0f) - 0x4b400000u); /* 1.5 * 2^23 */
}

/* Nearest integer, ties to even, as a float of the same sign. */
static inline float rlt_round_even(float x) {
  const float big = 8388608.0f; /* 2^23: from here on every float is an integer */
  float magnitude = rlt_abs(x);
  float rounded = magnitude < big ? (magnitude + big) - big : magnitude;
  return rlt_copysign(rounded, x);
}

static inline float rlt_floor(float x) {
  float rounded = rlt_round_even(x);
  return rlt_copysign(rounded > x ? rounded - 1.0f : rounded, x);
}

static inline float rlt_ceil(float x) { return -rlt_floor(-x); }

/* e^x is 2^n e^r, |r| <= ln 2 / 2. Adding 1.5 * 2^23 leaves the nearest integer in a float's low bits; with a bias on
 * top of it they are the exponent field of a power of two. r comes in two parts: ln 2 is 0.693359375, of which
 * multiples are exact, less 2.12194440e-4. */
#define RLT_EXP_SHIFTER 12582912.0f

/* e^r - 1 for r = a + b, b small: r + r^2 p(r), p fitted to 4e-9 relative to e^r; few of its terms wait on others. */
static inline float rlt_exp_m1_reduced(float a, float b) {
  float r = a + b;
  float z = r * r;
  float low = r * 1.6666512191295624e-1f + 0.5f;
  float high = (r * 8.369598537683487e-3f + 4.16661873459816e-2f) + z * 1.3951718574389815e-3f;
  return (z * (low + z * high) + b) + a;
}

/* 2^n e^r, n + 254 being t's low nine bits, 2^n in two factors that are both normal. NaN's bits give any two. */
static inline float rlt_exp_finish(float t, float a, float b) {
  uint32_t bits = rlt_f32_bits(t), half = (bits << 22) & 0x7f800000u;
  float y = rlt_exp_m1_reduced(a, b) + 1.0f;
  return y * rlt_bits_f32(half) * rlt_bits_f32((bits << 23) - half);
}

/* e^c for c in [-126, 89]. */
static inline float rlt_exp_within(float c) {
  const float shifter = RLT_EXP_SHIFTER + 254.0f;
  float t = c * 1.44269504f + shifter, n = t - shifter;
  return rlt_exp_finish(t, c - n * 0.693359375f, n * 2.12194440e-4f);
}

static inline float rlt_exp(float x) {
  float c = x > 89.0f ? 89.0f : x;
  return rlt_exp_within(c < -104.0f ? -104.0f : c);
}

/* e^x - 1 for x in [-87, 87], without loss near 0. */
static inline float rlt_exp_m1(float x) {
  const float shifter = RLT_EXP_SHIFTER + 127.0f;
  float t = x * 1.44269504f + shifter, n = t - shifter;
  float scale = rlt_bits_f32(rlt_f32_bits(t) << 23);
  return scale * rlt_exp_m1_reduced(x - n * 0.693359375f, n * 2.12194440e-4f) + (scale - 1.0f);
}

/* Natural logarithm. x = 2^e m, m in [sqrt(1/2), sqrt(2)); log m = f - f^2 / 2 + f^3 p(f), f = m - 1. */
static inline float rlt_log(float x) {
  int tiny = x < 1.17549435e-38f;
  float scaled = tiny ? x * 8388608.0f : x;
  uint32_t bits = rlt_f32_bits(scaled);
  uint32_t k = bits - 0x3f3504f3u; /* the bits of sqrt(1/2): the exponent field is then that of m's range */
  int32_t e = (int32_t)(k & 0xff800000u) / 8388608;
  float m = rlt_bits_f32((k & 0x007fffffu) + 0x3f3504f3u);
  float n = (float)(tiny ? e - 23 : e);
  float f = m - 1.0f;
  float z = f * f;
  float p = (f * -1.1675652116537094e-1f + 1.1888162046670914e-1f) + z * 6.746640801429749e-2f;
  p = (f * -1.240558922290802e-1f + 1.4219552278518677e-1f) + z * p;
  p = (f * -1.666799634695053e-1f + 2.000211924314499e-1f) + z * p;
  p = (f * -2.5000008940696716e-1f + 3.333331346511841e-1f) + z * p;
  float y = f * z * p - n * 2.12194440e-4f;
  y = y - 0.5f * z;
  float result = (f + y) + n * 0.693359375f;
  const float infinity = rlt_bits_f32(0x7f800000u);
  result = x == infinity ? infinity : result;
  result = x == 0.0f ? -infinity : result;
  return x >= 0.0f ? result : rlt_bits_f32(0x7fc00000u);
}

/* 1 / (1 + e^-x), by the half where the exponential does not overflow: no loss for large |x|. */
static inline float rlt_logistic(float x) {
  float c = -rlt_abs(x);
  float z = rlt_exp_within(c < -104.0f ? -104.0f : c);
  return (x < 0.0f ? z : 1.0f) / (1.0f + z);
}

/* Odd polynomial below 0.625, 1 - 2 / (e^2|x| + 1) above, which is 1 from 9.1 on. */
static inline float rlt_tanh(float x) {
  float magnitude = rlt_abs(x);
  float z = x * x;
  float p = (z * -5.37395216524601e-2f + 1.3331440091133118e-1f) +
            (z * z) * (z * -5.704218056052923e-3f + 2.0638424903154373e-2f);
  float small = x + x * z * (p * z - 3.333328068256378e-1f);
  float c = magnitude > 9.1f ? 9.1f : magnitude;
  float large = 1.0f - 2.0f / (rlt_exp_m1(c + c) + 2.0f);
  return rlt_copysign(magnitude < 0.625f ? small : large, x);
}

/* x, or e^x - 1 below zero. */
static inline float rlt_elu(float x) {
  float below = rlt_exp_m1(x < -20.0f ? -20.0f : x);
  return x < 0.0f ? below : x;
}

/* Correctly rounded; NaN below zero. One instruction under -fno-math-errno. */
static inline float rlt_sqrt(float x) { return __builtin_sqrtf(x); }

/* x times the standard normal distribution below x: x or 0, less |x| Q(|x|), Q(z) = e^(-z^2 / 2) p(z) / q(z) with p / q
 * fitted to 6e-9 over [0, 14.5]; the square in two parts, the first one exact, so that rounding it costs nothing. */
static inline float rlt_gelu(float x) {
  float z = rlt_abs(x);
  z = z > 14.5f ? 14.5f : z;
  float head = rlt_bits_f32(rlt_f32_bits(z) & 0xfffff000u);
  const float shifter = RLT_EXP_SHIFTER + 254.0f;
  float c = head * head * -0.5f;
  float t = c * 1.44269504f + shifter, n = t - shifter;
  float e = rlt_exp_finish(t, c - n * 0.693359375f, n * 2.12194440e-4f + (z - head) * (z + head) * -0.5f);
  float w = z * z;
  float p = z * 4.0684001907954960e-2f + 1.8338599428721286e-1f;
  p = (z * 4.3849892641817390e-1f + 0.5f) + w * (p + w * 4.1238220270062315e-3f);
  float q = z * 1.0336770890412003e-2f + 1.0198604577944537e-1f;
  q = (z * 4.6986880571446044e-1f + 1.2031303107627815f) + w * q;
  q = (z * 1.6748828380997620f + 1.0f) + w * q;
  /* -infinity gives NaN, as its product with 0 does */
  return (x < 0.0f ? 0.0f : x) + (x < 0.0f ? x : -z) * (p / q) * e;
}

/* Any argument, however large; NaN for infinity. */
float rlt_sin(float x);
float rlt_cos(float x);
/* The angle of (x, y) in [-pi, pi], by the rules of C's atan2. */
float rlt_atan2(float y, float x);
double rlt_atan2_64(double y, double x); /* 4 ULP */
/* Of an angle in [-pi / 4, pi / 4]: 1 ULP. */
double rlt_sin_reduced64(double r);
double rlt_cos_reduced64(double r);

double rlt_exp64(double x);
double rlt_log64(double x);
double rlt_tanh64(double x);
double rlt_logistic64(double x);
double rlt_normal_below64(double x); /* 1e-13 of the result */

/* x to the power y by the rules of C's pow, rounded once from float64. */
float rlt_pow(float x, float y);

/* Half precision, IEEE binary16: exact both ways where exact, else nearest even. */
static inline float rlt_f16_to_f32(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
  uint32_t magnitude = half & 0x7fffu;
  uint32_t normal = (magnitude << 13) + (magnitude < 0x7c00u ? 112u << 23 : 224u << 23); /* the exponent's bias */
  uint32_t tiny = rlt_f32_bits((float)(int32_t)magnitude * 5.9604644775390625e-8f);      /* multiples of 2^-24 */
  return rlt_bits_f32(sign | (magnitude < 0x400u ? tiny : normal));
}
uint16_t rlt_f32_to_f16(float x);

#endif
