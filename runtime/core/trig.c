/* SPDX-License-Identifier: Apache-2.0
 * Sine, cosine, arc tangent and the normal distribution, by float64. */
#include "math_rounded.h"

static const double HALF_PI = 1.5707963267948966, PI = 3.141592653589793;

/* Taylor series: 9 terms leave 2e-19 at pi / 4. */
double rlt_sin_reduced64(double r) {
  double z = r * r, p = 0.0;
  for (int k = 17; k >= 3; k -= 2) p = (p + 1.0) * z * (-1.0 / (k * (k - 1)));
  return r + r * p;
}

double rlt_cos_reduced64(double r) {
  double z = r * r, p = 0.0;
  for (int k = 18; k >= 2; k -= 2) p = (p + 1.0) * z * (-1.0 / (k * (k - 1)));
  return 1.0 + p;
}

/* 2 / pi as 32-bit words, after one word of zeros: enough for the largest float32. */
static const uint32_t TWO_OVER_PI[8] = {0x00000000u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                        0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};

/* 32 bits of the table from a bit on. */
static uint64_t bits_from(int32_t bit) {
  uint64_t pair = (uint64_t)TWO_OVER_PI[bit / 32] << 32 | TWO_OVER_PI[bit / 32 + 1];
  return (uint32_t)(pair >> (32 - bit % 32));
}

/* |x| = n pi / 2 + r, |r| <= pi / 4, for finite |x| >= 2^20; returns n modulo 4. Multiples of 4 are never formed: bits
 * of 2 / pi that can only give such are left out (Payne and Hanek). */
static int32_t reduce(float x, double *r) {
  uint32_t bits = rlt_f32_bits(rlt_abs(x));
  uint64_t m = (bits & 0x007fffffu) | 0x00800000u;
  int32_t skip = (int32_t)(bits >> 23) - 150 - 2 + 32; /* m 2^e: bits of weight 2^(2 - e) and above go */
  uint64_t high = bits_from(skip) << 32 | bits_from(skip + 32);
  uint64_t turns = m * high + ((m * bits_from(skip + 64)) >> 32); /* in units of 2^-62 quarter turns */
  uint64_t n = (turns + ((uint64_t)1 << 61)) >> 62;
  uint64_t rest = turns - (n << 62);
  double fraction = rest >> 63 ? -(double)(0 - rest) : (double)rest;
  *r = fraction * (HALF_PI / 4611686018427387904.0);
  return (int32_t)(n & 3);
}

static float nan_f32(void) { return rlt_bits_f32(0x7fc00000u); }
static int is_finite(float x) { return (rlt_f32_bits(x) & 0x7fffffffu) < 0x7f800000u; }

float rlt_sin(float x) {
  double r;
  if (!is_finite(x)) return nan_f32();
  if (rlt_abs(x) < 1048576.0f) return rlt_sin_small(x);
  int32_t n = reduce(x, &r);
  double y = n & 1 ? rlt_cos_reduced64(r) : rlt_sin_reduced64(r);
  return (float)((n & 2) ^ (int32_t)(rlt_f32_bits(x) >> 30 & 2u) ? -y : y);
}

float rlt_cos(float x) {
  double r;
  if (!is_finite(x)) return nan_f32();
  if (rlt_abs(x) < 1048576.0f) return rlt_cos_small(x);
  int32_t n = reduce(x, &r);
  double y = n & 1 ? rlt_sin_reduced64(r) : rlt_cos_reduced64(r);
  return (float)((n + 1) & 2 ? -y : y);
}

/* atan t, |t| <= tan(pi / 8): 20 terms of the series leave 1e-18. */
static double atan_reduced(double t) {
  double z = t * t, p = 0.0;
  for (int k = 41; k >= 3; k -= 2) p = p * -z + 1.0 / k;
  return t - t * z * p;
}

double rlt_atan2_64(double y, double x) {
  if (x != x || y != y) return x + y;
  double up = y < 0.0 ? -y : y, along = x < 0.0 ? -x : x;
  double least = up < along ? up : along, most = up < along ? along : up;
  double t = least == most ? (most > 0.0 ? 1.0 : 0.0) : least / most; /* of two infinities, too */
  double angle = t > 0.41421356 ? PI / 4 + atan_reduced((t - 1.0) / (t + 1.0)) : atan_reduced(t);
  if (up > along) angle = HALF_PI - angle;
  if (rlt_f64_bits(x) >> 63) angle = PI - angle;
  return rlt_f64_bits(y) >> 63 ? -angle : angle;
}

float rlt_atan2(float y, float x) { return (float)rlt_atan2_64((double)y, (double)x); }

/* Half of erfc(z), z = -x / sqrt(2). Below 3 by the series of erf, erf z = 2 / sqrt(pi) e^-z^2 sum 2^n z^(2n+1) / (1 3
 * 5 ...), else by the continued fraction of erfc. */
double rlt_normal_below64(double x) {
  double z = x < 0.0 ? -x * 0.7071067811865476 : x * 0.7071067811865476;
  if (x != x) return x;
  if (z > 27.5) return x < 0.0 ? 0.0 : 1.0;
  double half_tail;
  if (z < 2.0) {
    double term = z, sum = z;
    for (int k = 1; k < 60; k++) {
      term *= 2.0 * z * z / (2 * k + 1);
      sum += term;
    }
    half_tail = 0.5 - 0.5641895835477563 * rlt_exp64(-z * z) * sum;
  } else {
    double f = 0.0; /* erfc z = e^-z^2 / sqrt(pi) / (z + (1/2) / (z + 1 / (z + (3/2) / (z + ...)))) */
    for (int k = 120; k >= 1; k--) f = 0.5 * k / (z + f);
    half_tail = 0.28209479177387814 * rlt_exp64(-z * z) / (z + f);
  }
  return x < 0.0 ? half_tail : 1.0 - half_tail;
}
