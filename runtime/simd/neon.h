/* SPDX-License-Identifier: Apache-2.0
 * What the NEON loops of aarch64 and armv7 share. armv7 has half the registers, no conversion that rounds to nearest,
 * and takes denormal floats for zero. */
#ifndef RLT_NEON_H
#define RLT_NEON_H

#include <arm_neon.h>
#include <stdbool.h>

#include "scalar.h"

#if !defined(__aarch64__) && !defined(__ARM_FEATURE_FMA)
#error "armv7 loops need NEON with VFPv4 (Cortex-A7 and newer): compile with -mcpu=cortex-a7"
#endif

static inline int32x4_t neon_mlal_high(int32x4_t sum, int16x8_t a, int16x8_t b) {
#if defined(__aarch64__)
  return vmlal_high_s16(sum, a, b);
#else
  return vmlal_s16(sum, vget_high_s16(a), vget_high_s16(b));
#endif
}

static inline int32x4_t neon_mlal_high_n(int32x4_t sum, int16x8_t a, int16_t b) {
#if defined(__aarch64__)
  return vmlal_high_n_s16(sum, a, b);
#else
  return vmlal_n_s16(sum, vget_high_s16(a), b);
#endif
}

/* Eight bytes as 16 bits each. Compilers for armv7 would copy the bytes to the stack first, word by word. */
static inline int16x8_t neon_widen(const int8_t *from) {
#if defined(__aarch64__)
  return vmovl_s8(vld1_s8(from));
#else
  int8x8_t bytes;
  __asm__("vld1.8 {%P0}, [%1]" : "=w"(bytes) : "r"(from), "m"(*(const int8_t (*)[8])from));
  return vmovl_s8(bytes);
#endif
}

/* rlt_clamp_f32 */
static inline float32x4_t neon_clamp(float32x4_t x, float32x4_t lo, float32x4_t hi) {
  x = vbslq_f32(vcltq_f32(x, lo), lo, x);
  return vbslq_f32(vcgtq_f32(x, hi), hi, x);
}

/* The first n of four, zeros past them. */
static inline float32x4_t neon_load_f32(const float *from, int32_t n) {
  if (n >= 4) return vld1q_f32(from);
  float all[4] = {0};
  for (int32_t j = 0; j < n; j++) all[j] = from[j];
  return vld1q_f32(all);
}

/* Stores the first n of four. */
static inline void neon_store_f32(float *to, float32x4_t y, int32_t n) {
  if (n >= 4) {
    vst1q_f32(to, y);
    return;
  }
  if (n & 2) {
    vst1_f32(to, vget_low_f32(y));
    to += 2;
    y = vextq_f32(y, y, 2);
  }
  if (n & 1) vst1q_lane_f32(to, y, 0);
}

/* The first n of sixteen, zeros past them. */
static inline int8x16_t neon_load_s8(const int8_t *from, int32_t n) {
  if (n >= 16) return vld1q_s8(from);
  int8_t all[16] = {0};
  for (int32_t j = 0; j < n; j++) all[j] = from[j];
  return vld1q_s8(all);
}

/* Stores the first n of eight. */
static inline void neon_store_s8(int8_t *to, int8x8_t y, int32_t n) {
  if (n >= 8) {
    vst1_s8(to, y);
    return;
  }
  int8_t all[8];
  vst1_s8(all, y);
  for (int32_t j = 0; j < n; j++) to[j] = all[j];
}

/* rlt_requantize, for finite scales: narrowing cuts, so the bytes are right for int8 and uint8 alike */
typedef struct neon_requant {
  float32x4_t lo, hi;
  int32x4_t zero;
} neon_requant;

static inline neon_requant neon_requant_start(const rlt_requant *q) {
  neon_requant r = {vdupq_n_f32((float)(q->lo - q->zero)), vdupq_n_f32((float)(q->hi - q->zero)), vdupq_n_s32(q->zero)};
  return r;
}

static inline int32x4_t neon_requant_four(const neon_requant *q, int32x4_t sum, float32x4_t scale) {
  float32x4_t y = vminq_f32(vmaxq_f32(vmulq_f32(vcvtq_f32_s32(sum), scale), q->lo), q->hi);
#if defined(__aarch64__)
  int32x4_t nearest = vcvtnq_s32_f32(y);
#else /* 1.5 * 2^23: the sum's unit is 1, so the addition itself rounds to nearest even */
  int32x4_t nearest = vsubq_s32(vreinterpretq_s32_f32(vaddq_f32(y, vdupq_n_f32(12582912.0f))), vdupq_n_s32(0x4B400000));
#endif
  return vaddq_s32(nearest, q->zero);
}

static inline int8x8_t neon_requant_eight(const neon_requant *q, int32x4_t low, int32x4_t high, float32x4_t low_scale,
                                          float32x4_t high_scale) {
  int16x4_t l = vmovn_s32(neon_requant_four(q, low, low_scale));
  int16x4_t h = vmovn_s32(neon_requant_four(q, high, high_scale));
  return vmovn_s16(vcombine_s16(l, h));
}

#endif
