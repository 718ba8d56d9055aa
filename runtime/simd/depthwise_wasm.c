/* SPDX-License-Identifier: Apache-2.0
 * Channels lie along the vector; a group's channels are finished for all pixels before the next group. */
#include "wasm.h"

enum { CR = 8 };

/* Where the pixels' taps are: as in ukernels.h, moved to the group's first channel; n of its channels exist. */
typedef struct place {
  int32_t pixels, taps, n;
  size_t channels, tap_step, step, at;
} place;

/* ---- float32 ---- */

static inline __attribute__((always_inline)) void f32_group(const bool whole, const place *k, const float *const *tap,
                                                            const float *packed, float *out, v128_t lo, v128_t hi) {
  const int32_t bytes = k->n * (int32_t)sizeof(float);
  size_t at = k->at;
  for (int32_t p = 0; p < k->pixels; p++, at += k->step, tap += k->tap_step, out += k->channels) {
    v128_t sum[2] = {wasm_v128_load(packed), wasm_v128_load(packed + 4)};
    for (int32_t t = 0; t < k->taps; t++) {
      const float *x = tap[t] + at, *w = packed + CR * (t + 1);
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) {
        v128_t xv = whole ? wasm_v128_load(x + 4 * v) : wasm_load_part(x + 4 * v, bytes - 16 * v);
        sum[v] = wasm_f32x4_add(sum[v], wasm_f32x4_mul(xv, wasm_v128_load(w + 4 * v)));
      }
    }
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) wasm_store_part(out + 4 * v, wasm_clamp(sum[v], lo, hi), whole ? 16 : bytes - 16 * v);
  }
}

static void f32_run(int32_t pixels, int32_t channels, int32_t taps, const float *const *tap, size_t tap_step,
                    size_t step, const float *packed, float *out, float lo, float hi) {
  const v128_t vlo = wasm_f32x4_splat(lo), vhi = wasm_f32x4_splat(hi);
  for (int32_t c = 0; c < channels; c += CR, packed += CR * (size_t)(taps + 1)) {
    place k = {pixels, taps, channels - c, (size_t)channels, tap_step, step, (size_t)c};
    if (k.n >= CR) f32_group(true, &k, tap, packed, out + c, vlo, vhi);
    else f32_group(false, &k, tap, packed, out + c, vlo, vhi);
  }
}

/* ---- int8 ---- */

static inline v128_t eight_words(const bool whole, const bool U8, const int8_t *x, int32_t n) {
  if (whole) return U8 ? wasm_u16x8_load8x8(x) : wasm_i16x8_load8x8(x);
  v128_t part = wasm_load_part(x, n);
  return U8 ? wasm_u16x8_extend_low_u8x16(part) : wasm_i16x8_extend_low_i8x16(part);
}

static inline __attribute__((always_inline)) void s8_group(const bool whole, const bool U8, const place *k,
                                                           const int8_t *const *tap, const char *group, int8_t *out,
                                                           const wasm_requant *q) {
  const int32_t *bias = (const int32_t *)(const void *)group;
  const float *scale = (const float *)(const void *)(bias + CR);
  const int16_t *w = (const int16_t *)(const void *)(scale + CR);
  size_t at = k->at;
  for (int32_t p = 0; p < k->pixels; p++, at += k->step, tap += k->tap_step, out += k->channels) {
    v128_t low = wasm_v128_load(bias), high = wasm_v128_load(bias + 4);
    for (int32_t t = 0; t < k->taps; t += 2) { /* the second tap of an odd last pair has weight 0 */
      v128_t x0 = eight_words(whole, U8, tap[t] + at, k->n), x1 = x0;
      if (t + 1 < k->taps) x1 = eight_words(whole, U8, tap[t + 1] + at, k->n);
      v128_t first = wasm_i16x8_shuffle(x0, x1, 0, 8, 1, 9, 2, 10, 3, 11);
      v128_t second = wasm_i16x8_shuffle(x0, x1, 4, 12, 5, 13, 6, 14, 7, 15);
      low = wasm_i32x4_add(low, wasm_i32x4_dot_i16x8(first, wasm_v128_load(w + CR * t)));
      high = wasm_i32x4_add(high, wasm_i32x4_dot_i16x8(second, wasm_v128_load(w + CR * (t + 1))));
    }
    wasm_store_part(out, wasm_requant_eight(q, low, high, scale), whole ? CR : k->n);
  }
}

static void s8_run(int32_t pixels, int32_t channels, int32_t taps, const int8_t *const *tap, size_t tap_step,
                   size_t step, const void *packed, int8_t *out, const rlt_requant *q) {
  const wasm_requant rule = wasm_requant_start(q);
  size_t bytes = CR * (2 * sizeof(int32_t) + 2 * sizeof(int16_t) * (size_t)((taps + 1) / 2));
  const char *group = packed;
  for (int32_t c = 0; c < channels; c += CR, group += bytes) {
    place k = {pixels, taps, channels - c, (size_t)channels, tap_step, step, (size_t)c};
    if (k.n < CR && q->is_unsigned) s8_group(false, true, &k, tap, group, out + c, &rule);
    else if (k.n < CR) s8_group(false, false, &k, tap, group, out + c, &rule);
    else if (q->is_unsigned) s8_group(true, true, &k, tap, group, out + c, &rule);
    else s8_group(true, false, &k, tap, group, out + c, &rule);
  }
}

const rlt_f32_depthwise rlt_f32_depthwise_8__wasm = {"rlt_f32_depthwise_8__wasm", CR, f32_run};
const rlt_s8_depthwise rlt_s8_depthwise_8__wasm = {"rlt_s8_depthwise_8__wasm", CR, s8_run};
