/* SPDX-License-Identifier: Apache-2.0
 * The scalar rules that every vector loop must reproduce. */
#ifndef RLT_SCALAR_H
#define RLT_SCALAR_H

#include "ukernels.h"

static inline float rlt_clamp_f32(float x, float lo, float hi) {
  x = x < lo ? lo : x; /* false for NaN, which stays */
  return x > hi ? hi : x;
}

/* The byte of an int8 or, where q says so, of a uint8. */
static inline int8_t rlt_requantize(int32_t sum, float scale, const rlt_requant *q) {
  float x = rlt_clamp_f32((float)sum * scale, (float)(q->lo - q->zero), (float)(q->hi - q->zero));
  /* 1.5 * 2^23: the sum's unit is 1, so the addition itself rounds to nearest even */
  float shifted = x + 12582912.0f;
  int32_t bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  return (int8_t)(bits - 0x4B400000 + q->zero);
}

#endif
