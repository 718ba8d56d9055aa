/* SPDX-License-Identifier: Apache-2.0
 * Elementary functions without a C library: the same bits on every compiler and machine.
 *
 * The float32 ones are inline and branch-free, so that loops over them vectorize. Errors against the exact value, as
 * tests/runtime/test_math.py holds them: exp and log 1.01 ULP, tanh 1.5, logistic and rsqrt 2.5,
 * normal_below 4; sqrt, floor, ceil and round_even are exact; sin, cos, atan2 and pow are rounded once from float64.
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

/* 2^n for n in [-252, 254], as the product of two factors that are both normal. */
static inline float rlt_scale_pow2(float x, int32_t n) {
  int32_t half = n >> 1;
  float a = rlt_bits_f32((uint32_t)(half + 127) << 23);
  float b = rlt_bits_f32((uint32_t)(n - half + 127) << 23);
  return x * a * b;
}

/* e^x. x = n ln 2 + r, |r| <= ln 2 / 2; e^r = 1 + r + r^2 p(r), p fitted to 4e-9 relative to e^r. */
static inline float rlt_exp(float x) {
  const float shifter = 12582912.0f; /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
  float c = x > 89.0f ? 89.0f : x;
  c = c < -104.0f ? -104.0f : c;
  float t = c * 1.44269504f + shifter;
  float n = t - shifter;
  float r = c - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  float p = 1.3951718574389815e-3f;
  p = p * r + 8.369598537683487e-3f;
  p = p * r + 4.16661873459816e-2f;
  p = p * r + 1.6666512191295624e-1f;
  p = p * r + 0.5f;
  float y = (p * (r * r) + r) + 1.0f;
  /* The integer sits in t's low bits; for NaN any will do, since y is NaN: masked to stay in range. */
  int32_t e = (int32_t)((rlt_f32_bits(t) + 256u) & 0x1ffu) - 256;
  return rlt_scale_pow2(y, e);
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
  float p = 6.746640801429749e-2f;
  p = p * f - 1.1675652116537094e-1f;
  p = p * f + 1.1888162046670914e-1f;
  p = p * f - 1.240558922290802e-1f;
  p = p * f + 1.4219552278518677e-1f;
  p = p * f - 1.666799634695053e-1f;
  p = p * f + 2.000211924314499e-1f;
  p = p * f - 2.5000008940696716e-1f;
  p = p * f + 3.333331346511841e-1f;
  float z = f * f;
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
  float z = rlt_exp(-rlt_abs(x));
  float y = (x < 0.0f ? z : 1.0f) / (1.0f + z);
  return x == x ? y : x;
}

/* Odd polynomial below 0.625, 1 - 2 / (e^2|x| + 1) above. */
static inline float rlt_tanh(float x) {
  float magnitude = rlt_abs(x);
  float z = x * x;
  float p = -5.704218056052923e-3f;
  p = p * z + 2.0638424903154373e-2f;
  p = p * z - 5.37395216524601e-2f;
  p = p * z + 1.3331440091133118e-1f;
  p = p * z - 3.333328068256378e-1f;
  float small = rlt_copysign(x + x * z * p, x); /* of -0, too */
  float large = 1.0f - 2.0f / (rlt_exp(magnitude + magnitude) + 1.0f);
  return magnitude < 0.625f ? small : (x == x ? rlt_copysign(large, x) : x);
}

/* Correctly rounded; NaN below zero. One instruction under -fno-math-errno. */
static inline float rlt_sqrt(float x) { return __builtin_sqrtf(x); }

/* The standard normal distribution below x. Above |x|: R(|x|) e^(-x^2 / 2) / (1 + |x|) with R fitted to 2e-9 over
 * [0, 14.5], the exponential in two factors so that rounding x^2 costs nothing. */
static inline float rlt_normal_below(float x) {
  float z = rlt_abs(x);
  z = z > 16.0f ? 16.0f : z;
  float u = (z - 4.0f) / (z + 4.0f);
  float p = -7.286278560059145e-05f;
  p = p * u - 6.34155876468867e-05f;
  p = p * u + 6.918377475813031e-04f;
  p = p * u - 3.0202537891454995e-04f;
  p = p * u - 5.00328978523612e-03f;
  p = p * u + 1.793988235294819e-02f;
  p = p * u - 3.2197535037994385e-02f;
  p = p * u + 2.8599999845027924e-02f;
  p = p * u + 1.3999615795910358e-02f;
  p = p * u - 9.670346975326538e-02f;
  p = p * u + 4.72053200006485e-01f;
  float head = rlt_bits_f32(rlt_f32_bits(z) & 0xfffff000u); /* 12 bits: its square is exact */
  float tail = rlt_exp(-0.5f * (head * head)) * rlt_exp(-0.5f * ((z - head) * (z + head))) * (p / (1.0f + z));
  return x == x ? (x < 0.0f ? tail : 1.0f - tail) : x;
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
