/* SPDX-License-Identifier: Apache-2.0 */
#include "math_rounded.h"

/* e^r by its Taylor series: |r| <= ln 2 / 2, so 14 terms leave 4e-18. */
static double exp_reduced(double r) {
  static const double inverse_factorial[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
                                             1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
                                             1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        0.5};
  double p = inverse_factorial[0];
  for (int i = 1; i < 12; i++) p = p * r + inverse_factorial[i];
  return (p * (r * r) + r) + 1.0;
}

double rlt_exp64(double x) {
  if (x != x) return x;
  if (x > 709.79) return rlt_bits_f64(0x7ff0000000000000u);
  if (x < -745.2) return 0.0;
  double scaled = x * 1.4426950408889634;
  int32_t n = (int32_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
  double r = x - (double)n * 6.93147180369123816490e-01; /* ln 2 in two parts: the first has 21 zero bits at its end */
  r = r - (double)n * 1.90821492927058770002e-10;
  int32_t half = n / 2;
  double a = rlt_bits_f64((uint64_t)(int64_t)(half + 1023) << 52);
  double b = rlt_bits_f64((uint64_t)(int64_t)(n - half + 1023) << 52);
  return exp_reduced(r) * a * b;
}

double rlt_log64(double x) {
  if (x != x || x < 0.0) return rlt_bits_f64(0x7ff8000000000000u);
  if (x == 0.0) return -rlt_bits_f64(0x7ff0000000000000u);
  uint64_t bits = rlt_f64_bits(x);
  if (bits == 0x7ff0000000000000u) return x;
  int32_t e = 0;
  if (bits < 0x0010000000000000u) {
    bits = rlt_f64_bits(x * 4503599627370496.0);
    e = -52;
  }
  e += (int32_t)(bits >> 52) - 1023;
  double m = rlt_bits_f64((bits & 0x000fffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    e++;
  }
  /* log m = 2 atanh(s) = 2 (s + s^3/3 + ...), s = f / (2 + f), |s| <= 0.172: 11 terms leave 1e-18. */
  double f = m - 1.0, s = f / (2.0 + f), z = s * s, p = 0.0;
  for (int k = 23; k >= 3; k -= 2) p = p * z + 1.0 / k;
  /* f - (f^2/2 - s (f^2/2 + 2 z p)) is 2 s (1 + z p), with the rounding error of s out of the leading term. */
  double h = 0.5 * f * f;
  double tail = (double)e * 1.90821492927058770002e-10;
  return (double)e * 6.93147180369123816490e-01 - ((h - (s * (h + 2.0 * z * p) + tail)) - f);
}

double rlt_logistic64(double x) {
  if (x < 0.0) {
    double z = rlt_exp64(x);
    return z / (1.0 + z);
  }
  return 1.0 / (1.0 + rlt_exp64(-x));
}

double rlt_tanh64(double x) {
  double magnitude = x < 0.0 ? -x : x;
  double y;
  if (magnitude < 0.04) {
    double z = x * x;
    y = magnitude * (1.0 + z * (-1.0 / 3 + z * (2.0 / 15 + z * (-17.0 / 315 + z * (62.0 / 2835)))));
  } else {
    y = 1.0 - 2.0 / (rlt_exp64(2.0 * magnitude) + 1.0);
  }
  return x < 0.0 ? -y : y;
}

float rlt_pow(float x, float y) {
  if (y == 0.0f || x == 1.0f) return 1.0f;
  if (x != x || y != y) return x + y;
  const float infinity = rlt_bits_f32(0x7f800000u);
  if (rlt_abs(y) == infinity) {
    if (x == -1.0f) return 1.0f;
    return (rlt_abs(x) > 1.0f) == (y > 0.0f) ? infinity : 0.0f;
  }
  if (x != 0.0f && rlt_abs(x) < infinity) return rlt_pow_usual(x, y);
  float result = (x == 0.0f) == (y < 0.0f) ? infinity : 0.0f;
  float half = rlt_abs(y) * 0.5f; /* y is odd if this is no integer, and y one */
  int is_odd = rlt_abs(y) < 16777216.0f && rlt_floor(y) == y && rlt_floor(half) != half;
  return rlt_f32_bits(x) >> 31 && is_odd ? -result : result;
}

uint16_t rlt_f32_to_f16(float x) {
  uint32_t bits = rlt_f32_bits(x);
  uint32_t sign = (bits >> 16) & 0x8000u;
  uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t result;
  if (magnitude > 0x7f800000u) {
    result = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) { /* 65520 and up round to infinity */
    result = 0x7c00u;
  } else if (magnitude < 0x38800000u) { /* below 2^-14: adding 1/2 leaves multiples of 2^-24 in the low bits */
    result = rlt_f32_bits(rlt_bits_f32(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    uint32_t odd = (magnitude >> 13) & 1u;
    result = (magnitude - (112u << 23) + 0xfffu + odd) >> 13;
  }
  return (uint16_t)(sign | result);
}
