/* SPDX-License-Identifier: Apache-2.0
 * After gemmlowp's fixedpoint.h: the same steps in the same order, with the same roundings. */
#include "lstm_fixed.h"

enum { ONE = INT16_MAX };

static int16_t wrap(int32_t x) { return (int16_t)(uint16_t)x; }

static int16_t saturate(int32_t x) { return (int16_t)(x > INT16_MAX ? INT16_MAX : (x < INT16_MIN ? INT16_MIN : x)); }

/* A constant of 31 fraction bits, given as int32, in 16 bits. */
static int16_t constant(int32_t x) { return (int16_t)rlt_rounding_shift(x, 16); }

int16_t rlt_fixed_mul(int16_t a, int16_t b) {
  int32_t product = (int32_t)a * b;
  if (a == INT16_MIN && b == INT16_MIN) return INT16_MAX;
  return (int16_t)((product + (product >= 0 ? 1 << 14 : 1 - (1 << 14))) / (1 << 15));
}

static int16_t shift_left(int16_t x, int32_t bits) { return saturate((int32_t)x * (1 << bits)); }

static int16_t half_sum(int16_t a, int16_t b) {
  int32_t sum = (int32_t)a + b;
  return (int16_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
}

/* e^a for a in [-1/4, 0), no integer bits: Taylor's series around -1/8. */
static int16_t exp_of_quarter(int16_t a) {
  int16_t at = constant(1895147668), third = constant(715827883); /* e^(-1/8), 1/3 */
  int16_t x = wrap(a + (1 << 12));
  int16_t x2 = rlt_fixed_mul(x, x), x3 = rlt_fixed_mul(x2, x), x4 = rlt_fixed_mul(x2, x2);
  int16_t quarter = (int16_t)rlt_rounding_shift(x4, 2);
  int16_t tail = wrap(rlt_fixed_mul(wrap(quarter + x3), third) + x2);
  return saturate(at + rlt_fixed_mul(at, wrap(x + (int16_t)rlt_rounding_shift(tail, 1))));
}

/* e^a for a <= 0. */
static int16_t exp_of_negative(int16_t a, int32_t integer_bits) {
  /* e^-(2^(i - 2)) */
  static const int32_t powers[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  int32_t fraction_bits = 15 - integer_bits;
  int32_t quarter = fraction_bits >= 2 ? 1 << (fraction_bits - 2) : 0;
  int16_t rest = wrap((a & (quarter - 1)) - quarter);
  int16_t y = exp_of_quarter(shift_left(rest, integer_bits));
  int16_t whole = wrap(rest - a);
  for (int32_t i = 0; i < 7 && integer_bits > i - 2; i++)
    if (whole & (1 << (fraction_bits + i - 2))) y = rlt_fixed_mul(y, constant(powers[i]));
  if (integer_bits > 5 && a < -(1 << (20 - integer_bits))) y = 0; /* below -32 */
  return a == 0 ? ONE : y;
}

/* Newton's x near 1 / ((a + 1) / 2), 2 integer bits, for a in [0, 1]. */
static int16_t reciprocal_of_half(int16_t a) {
  int16_t half = half_sum(a, ONE);
  int16_t x = wrap(constant(1515870810) + rlt_fixed_mul(half, constant(-1010580540))); /* 48/17 - 32/17 half */
  for (int i = 0; i < 3; i++) {
    int16_t missing = wrap((1 << 13) - rlt_fixed_mul(half, x));
    x = wrap(x + shift_left(rlt_fixed_mul(x, missing), 2));
  }
  return x;
}

int16_t rlt_fixed_logistic(int16_t x) {
  if (x == 0) return 1 << 14;
  int16_t magnitude = x > 0 ? x : wrap(-x);
  int16_t y = shift_left(reciprocal_of_half(exp_of_negative(wrap(-magnitude), 3)), 1);
  return x > 0 ? y : wrap(ONE - y);
}

int16_t rlt_fixed_tanh(int16_t x, int32_t integer_bits) {
  if (x == 0) return 0;
  int16_t negative = x < 0 ? x : wrap(-x);
  int16_t e = exp_of_negative(negative, integer_bits + 1); /* of twice the value */
  int16_t y = shift_left(wrap(reciprocal_of_half(e) - (1 << 13)), 2);
  return x < 0 ? wrap(-y) : y;
}

/* ---- 32 bits ---- */

static int32_t shift_left_32(int32_t x, int32_t bits) {
  int64_t wide = (int64_t)x * ((int64_t)1 << bits);
  return wide > INT32_MAX ? INT32_MAX : (wide < INT32_MIN ? INT32_MIN : (int32_t)wide);
}

rlt_multiplier rlt_fixed_inverse_sqrt(int32_t x) {
  if (x <= 1) return (rlt_multiplier){INT32_MAX, 0};
  int32_t shift = 11;
  for (; x >= 1 << 29; shift++) x /= 4;
  for (; x < 1 << 27; shift--) x *= 4;
  /* Newton's method on numbers of 3 integer bits, from 1 */
  int32_t half = rlt_rounding_shift(x >> 1, 1), y = 1 << 28;
  for (int i = 0; i < 5; i++) {
    int32_t cube = shift_left_32(rlt_doubling_high_mul(rlt_doubling_high_mul(y, y), y), 6);
    int32_t more = rlt_doubling_high_mul((1 << 28) + (1 << 27), y), less = rlt_doubling_high_mul(half, cube);
    y = shift_left_32((int32_t)((uint32_t)more - (uint32_t)less), 3);
  }
  y = rlt_doubling_high_mul(y, 1518500250); /* sqrt(1/2) */
  if (shift < 0) {
    y = shift_left_32(y, -shift);
    shift = 0;
  }
  return (rlt_multiplier){y, -shift};
}
