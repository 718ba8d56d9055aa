/* SPDX-License-Identifier: Apache-2.0
 * gemmlowp's 16-bit fixed-point logistic and tanh, bit by bit: the same steps in the same order with the same
 * roundings (its fixedpoint.h). A number with i integer bits is its integer times 2^(i - 15). Values are held in int32
 * and nothing branches on them, so that loops over these functions vectorize. */
#ifndef RLT_FIXED16_H
#define RLT_FIXED16_H

#include <stdint.h>

#define RLT_FIXED_ONE INT16_MAX
/* A constant of 31 fraction bits in 15, rounded. */
#define RLT_FIXED_CONSTANT(x) (((x) + (1 << 15)) >> 16)

static inline int32_t rlt_fixed_wrap(int32_t x) { return (int16_t)(uint16_t)(uint32_t)x; }
static inline int32_t rlt_fixed_saturate(int32_t x) {
  x = x > INT16_MAX ? INT16_MAX : x;
  return x < INT16_MIN ? INT16_MIN : x;
}

/* round(a b / 2^15), ties up; saturates where both are the least value. */
static inline int32_t rlt_fixed_mul(int32_t a, int32_t b) {
  int32_t y = (a * b + (1 << 14)) >> 15;
  return y > INT16_MAX ? INT16_MAX : y;
}

/* x / 2^bits, ties away from zero; bits >= 1. */
static inline int32_t rlt_fixed_shift(int32_t x, int32_t bits) { return (x + (1 << (bits - 1)) - (x < 0)) >> bits; }

/* e^a for a in [-1/4, 0), no integer bits: Taylor's series around -1/8. */
static inline int32_t rlt_fixed_exp_quarter(int32_t a) {
  const int32_t at = RLT_FIXED_CONSTANT(1895147668), third = RLT_FIXED_CONSTANT(715827883); /* e^(-1/8), 1/3 */
  int32_t x = rlt_fixed_wrap(a + (1 << 12));
  int32_t x2 = rlt_fixed_mul(x, x), x3 = rlt_fixed_mul(x2, x), x4 = rlt_fixed_mul(x2, x2);
  int32_t tail = rlt_fixed_wrap(rlt_fixed_mul(rlt_fixed_wrap(rlt_fixed_shift(x4, 2) + x3), third) + x2);
  return rlt_fixed_saturate(at + rlt_fixed_mul(at, rlt_fixed_wrap(x + rlt_fixed_shift(tail, 1))));
}

/* e^a for a <= 0 of 1 to 7 integer bits. */
static inline int32_t rlt_fixed_exp(int32_t a, int32_t integer_bits) {
  /* e^-(2^(i - 2)) */
  static const int32_t powers[] = {RLT_FIXED_CONSTANT(1672461947), RLT_FIXED_CONSTANT(1302514674),
                                   RLT_FIXED_CONSTANT(790015084),  RLT_FIXED_CONSTANT(290630308),
                                   RLT_FIXED_CONSTANT(39332535),   RLT_FIXED_CONSTANT(720401),
                                   RLT_FIXED_CONSTANT(242)};
  const int32_t unit = 13 - integer_bits; /* the bit that stands for 1/4 */
  const int32_t quarter = 1 << unit;
  int32_t rest = (a & (quarter - 1)) - quarter;
  int32_t y = rlt_fixed_exp_quarter(rest * (1 << integer_bits)); /* exact: rest >= -1/4 */
  int32_t whole = rlt_fixed_wrap(rest - a);
  for (int32_t i = 0; i < 7; i++) { /* bits from 2^15 on are never set */
    int32_t times = rlt_fixed_mul(y, powers[i]);
    y = (whole >> (unit + i)) & 1 ? times : y;
  }
  const int32_t tiny = integer_bits > 5 ? -(1 << (20 - integer_bits)) : INT32_MIN; /* -32 */
  y = a < tiny ? 0 : y;
  return a == 0 ? RLT_FIXED_ONE : y;
}

/* Newton's approximation of 2 / (a + 1), 2 integer bits, for a in [0, 1]. */
static inline int32_t rlt_fixed_two_over(int32_t a) {
  int32_t half = (a + RLT_FIXED_ONE + 1) >> 1;
  int32_t x = RLT_FIXED_CONSTANT(1515870810) + rlt_fixed_mul(half, RLT_FIXED_CONSTANT(-1010580540));
  for (int i = 0; i < 3; i++) { /* from 48/17 - 32/17 half */
    int32_t missing = rlt_fixed_wrap((1 << 13) - rlt_fixed_mul(half, x));
    x = rlt_fixed_wrap(x + rlt_fixed_saturate(rlt_fixed_mul(x, missing) * 4));
  }
  return x;
}

/* 1 / (1 + e^-x), 3 integer bits in, none out. */
static inline int32_t rlt_fixed_logistic(int32_t x) {
  int32_t e = rlt_fixed_exp(x > 0 ? -x : x, 3);
  int32_t y = rlt_fixed_saturate(rlt_fixed_two_over(e) * 2);
  y = x > 0 ? y : RLT_FIXED_ONE - y;
  return x == 0 ? 1 << 14 : y;
}

/* 0 to 6 integer bits in, none out. */
static inline int32_t rlt_fixed_tanh(int32_t x, int32_t integer_bits) {
  int32_t e = rlt_fixed_exp(x > 0 ? -x : x, integer_bits + 1); /* of twice the value */
  int32_t y = rlt_fixed_saturate((rlt_fixed_two_over(e) - (1 << 13)) * 4);
  y = x < 0 ? -y : y;
  return x == 0 ? 0 : y;
}

#endif
