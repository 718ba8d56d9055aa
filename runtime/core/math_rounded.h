/* SPDX-License-Identifier: Apache-2.0
 * Sine, cosine and powers of float32 rounded once from float64, for all but the few arguments that trig.c and math.c
 * treat apart: inline and branch-free, so that loops over them vectorize. */
#ifndef RLT_MATH_ROUNDED_H
#define RLT_MATH_ROUNDED_H

#include "math.h"

/* sin r for |r| <= pi / 2: the Taylor series, of which 8 terms leave 6e-12. */
static inline double rlt_sin_quarter64(double r) {
  double z = r * r, w = z * z;
  double p = z * (-1.0 / 1307674368000.0) + 1.0 / 6227020800.0;
  p = (z * (-1.0 / 39916800.0) + 1.0 / 362880.0) + w * p;
  p = (z * (-1.0 / 5040.0) + 1.0 / 120.0) + w * p;
  return r * (z * (z * p - 1.0 / 6) + 1.0);
}

#define RLT_INTEGER_SHIFTER64 6755399441055744.0 /* 1.5 * 2^52 */

/* Of x = n pi + r, |x| < 2^20; the last bit of `shifted` says whether the sign turns. pi in two parts, the first of 33
 * bits. */
static inline float rlt_sin_of_rest(double x, double n, double shifted) {
  double y = rlt_sin_quarter64((x - n * 3.14159265346825122834) - n * 1.215420101301238449864e-10);
  return (float)rlt_bits_f64(rlt_f64_bits(y) ^ rlt_f64_bits(shifted) << 63);
}

/* For |x| < 2^20. */
static inline float rlt_sin_small(float x) {
  double t = (double)x * 0.3183098861837907 + RLT_INTEGER_SHIFTER64;
  return rlt_sin_of_rest((double)x, t - RLT_INTEGER_SHIFTER64, t);
}
static inline float rlt_cos_small(float x) {
  double t = ((double)x * 0.3183098861837907 + 0.5) + RLT_INTEGER_SHIFTER64;
  return rlt_sin_of_rest((double)x, (t - RLT_INTEGER_SHIFTER64) - 0.5, t);
}

/* log x for finite x > 0 that were float32: 2 atanh s, s = (m - 1) / (m + 1), and the exponent's share. */
static inline double rlt_log_of_float64(double x) {
  const uint64_t half_root = 0x3fe6a09e00000000u; /* about sqrt(1/2) */
  uint64_t k = rlt_f64_bits(x) - half_root;
  double e = rlt_bits_f64(((k + ((uint64_t)1023 << 52)) >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023.0);
  double m = rlt_bits_f64((k & 0x000fffffffffffffu) + half_root);
  double s = (m - 1.0) / (m + 1.0), z = s * s, w = z * z;
  double p = z * (2.0 / 15) + 2.0 / 13;
  p = (z * (2.0 / 11) + 2.0 / 9) + w * p;
  p = (z * (2.0 / 7) + 2.0 / 5) + w * p;
  return e * 0.6931471805599453 + (s * z * (z * p + 2.0 / 3) + (s + s));
}

/* e^x for x in [-1000, 700], 1e-4 ULP of float32. */
static inline double rlt_exp_for_float64(double x) {
  double t = x * 1.4426950408889634 + (RLT_INTEGER_SHIFTER64 + 1023.0);
  double r = x - (t - (RLT_INTEGER_SHIFTER64 + 1023.0)) * 0.6931471805599453;
  double z = r * r;
  double p = r * (1.0 / 362880) + 1.0 / 40320;
  p = (r * (1.0 / 5040) + 1.0 / 720) + z * p;
  p = (r * (1.0 / 120) + 1.0 / 24) + z * p;
  p = (r * (1.0 / 6) + 0.5) + z * p;
  return (z * p + (r + 1.0)) * rlt_bits_f64(rlt_f64_bits(t) << 52);
}

/* x^y for finite x that is not 0 and finite y: 2e-4 ULP besides the rounding. */
static inline float rlt_pow_usual(float x, float y) {
  double w = (double)y * rlt_log_of_float64((double)rlt_abs(x));
  w = w > 100.0 ? 100.0 : w;
  w = w < -150.0 ? -150.0 : w;
  double power = rlt_exp_for_float64(w);
  float result = (float)(power > 3.4028235677973366e38 ? rlt_bits_f64(0x7ff0000000000000u) : power);
  /* A negative x: y must be an integer, and an odd one turns the sign. From 2^24 on every float is even. */
  float magnitude = rlt_abs(y), half = magnitude * 0.5f;
  uint32_t is_odd = (uint32_t)(magnitude < 16777216.0f) & (uint32_t)(rlt_floor(half) != half);
  float turned = rlt_bits_f32(rlt_f32_bits(result) ^ is_odd << 31);
  turned = rlt_floor(magnitude) != magnitude ? rlt_bits_f32(0x7fc00000u) : turned;
  return x < 0.0f ? turned : result;
}

#endif
