/* SPDX-License-Identifier: Apache-2.0
 * What the WebAssembly SIMD loops share. Multiply-adds are not fused. */
#ifndef RLT_WASM_H
#define RLT_WASM_H

#include <stdbool.h>
#include <wasm_simd128.h>

#include "scalar.h"

/* rlt_clamp_f32: the pseudo-minimum and -maximum are its comparisons. */
static inline v128_t wasm_clamp(v128_t x, v128_t lo, v128_t hi) { return wasm_f32x4_pmin(wasm_f32x4_pmax(x, lo), hi); }

/* The first `bytes` of sixteen, zeros past them. */
static inline v128_t wasm_load_part(const void *from, int32_t bytes) {
  if (bytes >= 16) return wasm_v128_load(from);
  int8_t all[16] = {0};
  for (int32_t j = 0; j < bytes; j++) all[j] = ((const int8_t *)from)[j];
  return wasm_v128_load(all);
}

/* Stores the first `bytes` of sixteen. */
static inline void wasm_store_part(void *to, v128_t y, int32_t bytes) {
  if (bytes >= 16) {
    wasm_v128_store(to, y);
    return;
  }
  if (bytes == 8) {
    wasm_v128_store64_lane(to, y, 0);
    return;
  }
  int8_t all[16];
  wasm_v128_store(all, y);
  for (int32_t j = 0; j < bytes; j++) ((int8_t *)to)[j] = all[j];
}

/* rlt_requantize, for finite scales. Narrowing saturates to int8: UINT8 goes through it less 128. */
typedef struct wasm_requant {
  v128_t lo, hi, zero;
  v128_t turn; /* exclusive or with the bytes */
} wasm_requant;

static inline wasm_requant wasm_requant_start(const rlt_requant *q) {
  return (wasm_requant){wasm_f32x4_splat((float)(q->lo - q->zero)), wasm_f32x4_splat((float)(q->hi - q->zero)),
                        wasm_i32x4_splat(q->is_unsigned ? q->zero - 128 : q->zero),
                        wasm_i8x16_splat(q->is_unsigned ? -128 : 0)};
}

static inline v128_t wasm_requant_four(const wasm_requant *q, v128_t sum, v128_t scale) {
  v128_t y = wasm_clamp(wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sum), scale), q->lo, q->hi);
  /* 1.5 * 2^23: the sum's unit is 1, so the addition itself rounds to nearest even */
  v128_t shifted = wasm_f32x4_add(y, wasm_f32x4_splat(12582912.0f));
  return wasm_i32x4_add(wasm_i32x4_sub(shifted, wasm_i32x4_splat(0x4B400000)), q->zero);
}

/* Eight bytes, twice. */
static inline v128_t wasm_requant_eight(const wasm_requant *q, v128_t low, v128_t high, const float *scale) {
  low = wasm_requant_four(q, low, wasm_v128_load(scale));
  high = wasm_requant_four(q, high, wasm_v128_load(scale + 4));
  v128_t words = wasm_i16x8_narrow_i32x4(low, high);
  return wasm_v128_xor(wasm_i8x16_narrow_i16x8(words, words), q->turn);
}

#endif
