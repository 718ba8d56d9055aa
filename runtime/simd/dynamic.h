/* SPDX-License-Identifier: Apache-2.0
 * Loops around the int8 product of float activations (dynamic range), in plain C that compilers vectorize: each ISA
 * includes this file and is compiled with its own flags. The results are the same bits everywhere. */
#ifndef RLT_DYNAMIC_H
#define RLT_DYNAMIC_H

#include "scalar.h"

enum { RLT_LANES = 32 };

/* Smallest and largest of `count` values and 0; NaN is passed over. */
static void rlt_range(const float *x, uint64_t count, float *least, float *most) {
  float lo[RLT_LANES] = {0}, hi[RLT_LANES] = {0};
  uint64_t i = 0;
  for (; i + RLT_LANES <= count; i += RLT_LANES)
    for (int j = 0; j < RLT_LANES; j++) {
      lo[j] = x[i + (uint64_t)j] < lo[j] ? x[i + (uint64_t)j] : lo[j];
      hi[j] = x[i + (uint64_t)j] > hi[j] ? x[i + (uint64_t)j] : hi[j];
    }
  for (int j = 0; i < count; i++, j++) {
    lo[j] = x[i] < lo[j] ? x[i] : lo[j];
    hi[j] = x[i] > hi[j] ? x[i] : hi[j];
  }
  for (int half = RLT_LANES / 2; half > 0; half /= 2)
    for (int j = 0; j < half; j++) {
      lo[j] = lo[j + half] < lo[j] ? lo[j + half] : lo[j];
      hi[j] = hi[j + half] > hi[j] ? hi[j + half] : hi[j];
    }
  *least = lo[0], *most = hi[0];
}

/* Nearest even of x * inverse + zero, clamped to int8; NaN gives -128. */
static void rlt_to_s8(const float *x, uint64_t count, float inverse, int32_t zero, int8_t *out) {
  float offset = (float)zero;
  for (uint64_t i = 0; i < count; i++) {
    float q = x[i] * inverse + offset;
    q = q > -128.0f ? q : -128.0f;
    q = q < 127.0f ? q : 127.0f;
    float shifted = q + 12582912.0f; /* 1.5 * 2^23: the addition rounds to integers */
    int32_t bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    out[i] = (int8_t)(bits - 0x4B400000);
  }
}

/* Sums back to real numbers: clamp((sums - zero * weight_sums) * (scale * weight_scales) + bias, lo, hi). */
static void rlt_from_sums(const int32_t *sums, int32_t n, int32_t zero, float scale, const int32_t *weight_sums,
                          const float *weight_scales, const float *bias, float lo, float hi, float *out) {
  for (int32_t j = 0; j < n; j++) {
    int32_t sum = (int32_t)((uint32_t)sums[j] - (uint32_t)zero * (uint32_t)weight_sums[j]);
    out[j] = rlt_clamp_f32((float)sum * (scale * weight_scales[j]) + bias[j], lo, hi);
  }
}

/* To int8 by offset + x * inverse, ties away from zero, and back by unit; NaN becomes -128 first. */
static void rlt_through_s8(const float *x, uint64_t count, float inverse, float offset, float unit, float *out) {
  for (uint64_t i = 0; i < count; i++) {
    float q = offset + x[i] * inverse;
    q = q > -128.0f ? q : -128.0f;
    q = q < 127.0f ? q : 127.0f;
    /* the float below one half, because 0.49999997 + 0.5 would round to 1 */
    int32_t rounded = (int32_t)(q < 0.0f ? q - 0.49999997f : q + 0.49999997f);
    out[i] = ((float)rounded - offset) * unit;
  }
}

#define RLT_DYNAMIC(isa) \
  const rlt_dynamic rlt_dynamic__##isa = {"rlt_dynamic__" #isa, rlt_range, rlt_to_s8, rlt_from_sums, rlt_through_s8};

#endif
