/* SPDX-License-Identifier: Apache-2.0
 * Channels lie along the vector; a group's channels are finished for all pixels before the next group. Nine taps
 * (3 x 3) are known at compile time, so that a group's weights stay in registers. */
#include <immintrin.h>

#include "ukernels.h"

enum { CR = 32 };

/* ---- float32 ---- */

static inline __mmask16 first16(int32_t n) {
  return n >= 16 ? (__mmask16)0xffff : (n <= 0 ? (__mmask16)0 : (__mmask16)(0xffffu >> (16 - n)));
}

static inline __attribute__((always_inline)) void f32_group(const int V, const int taps, int32_t pixels, int32_t n,
                                                            size_t channels, const float *const *tap, size_t at,
                                                            size_t step, const float *w, float *out, __m512 lo,
                                                            __m512 hi) {
  __mmask16 last = first16(n - 16 * (V - 1));
  for (int32_t p = 0; p < pixels; p++, at += step, out += channels) {
    __m512 sum[2];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[v] = _mm512_load_ps(w + 16 * v);
#pragma GCC unroll 9
    for (int t = 0; t < taps; t++) {
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) {
        const float *from = tap[t] + at + 16 * v;
        __m512 x = v < V - 1 ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(last, from);
        sum[v] = _mm512_fmadd_ps(x, _mm512_load_ps(w + CR * (t + 1) + 16 * v), sum[v]);
      }
    }
#pragma GCC unroll 2
    for (int v = 0; v < V; v++)
      _mm512_mask_storeu_ps(out + 16 * v, v < V - 1 ? (__mmask16)0xffff : last,
                            _mm512_min_ps(hi, _mm512_max_ps(lo, sum[v])));
  }
}

static void f32_run(int32_t pixels, int32_t channels, int32_t taps, const float *const *tap, size_t step,
                    const float *packed, float *out, float lo, float hi) {
  __m512 vlo = _mm512_set1_ps(lo), vhi = _mm512_set1_ps(hi);
  size_t all = (size_t)channels;
  for (int32_t c = 0; c < channels; c += CR, packed += CR * (size_t)(taps + 1)) {
    int32_t n = channels - c < CR ? channels - c : CR;
    size_t at = (size_t)c;
    if (n > 16 && taps == 9) f32_group(2, 9, pixels, n, all, tap, at, step, packed, out + c, vlo, vhi);
    else if (n > 16) f32_group(2, taps, pixels, n, all, tap, at, step, packed, out + c, vlo, vhi);
    else if (taps == 9) f32_group(1, 9, pixels, n, all, tap, at, step, packed, out + c, vlo, vhi);
    else f32_group(1, taps, pixels, n, all, tap, at, step, packed, out + c, vlo, vhi);
  }
}

/* ---- int8 ---- */

typedef struct requant {
  __m512 lo, hi;
  __m512i zero;
} requant;

static inline __m512i requant_sixteen(const requant *q, __m512i sum, __m512 scale) {
  __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
  return _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_min_ps(q->hi, _mm512_max_ps(q->lo, y))), q->zero);
}

static inline __attribute__((always_inline)) void s8_group(const int taps, int32_t pixels, __mmask32 inside,
                                                           size_t channels, const int8_t *const *tap, size_t at,
                                                           size_t step, const char *group, int8_t *out,
                                                           const requant *q) {
  const int32_t *bias = (const int32_t *)(const void *)group;
  const float *scale = (const float *)(const void *)(bias + CR);
  const int16_t *w = (const int16_t *)(const void *)(scale + CR);
  for (int32_t p = 0; p < pixels; p++, at += step, out += channels) {
    __m512i low = _mm512_load_si512(bias), high = _mm512_load_si512(bias + 16);
#pragma GCC unroll 5
    for (int t = 0; t < taps; t += 2) { /* the second tap of an odd last pair has weight 0 */
      __m512i x0 = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(inside, tap[t] + at));
      __m512i x1 = t + 1 < taps ? _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(inside, tap[t + 1] + at)) : x0;
      low = _mm512_dpwssd_epi32(low, _mm512_unpacklo_epi16(x0, x1), _mm512_load_si512(w + CR * t));
      high = _mm512_dpwssd_epi32(high, _mm512_unpackhi_epi16(x0, x1), _mm512_load_si512(w + CR * (t + 1)));
    }
    low = requant_sixteen(q, low, _mm512_load_ps(scale));
    high = requant_sixteen(q, high, _mm512_load_ps(scale + 16));
    __m256i bytes = _mm512_cvtsepi16_epi8(_mm512_packs_epi32(low, high));
    if (inside == 0xffffffffu) _mm256_storeu_si256((__m256i *)(void *)out, bytes);
    else _mm256_mask_storeu_epi8(out, inside, bytes);
  }
}

static void s8_run(int32_t pixels, int32_t channels, int32_t taps, const int8_t *const *tap, size_t step,
                   const void *packed, int8_t *out, const rlt_requant *q) {
  const requant rule = {_mm512_set1_ps((float)(q->lo - q->zero)), _mm512_set1_ps((float)(q->hi - q->zero)),
                        _mm512_set1_epi32(q->zero)};
  size_t bytes = CR * (2 * sizeof(int32_t) + 2 * sizeof(int16_t) * (size_t)((taps + 1) / 2));
  size_t all = (size_t)channels;
  const char *group = packed;
  for (int32_t c = 0; c < channels; c += CR, group += bytes) {
    int32_t n = channels - c < CR ? channels - c : CR;
    __mmask32 inside = 0xffffffffu >> (CR - n);
    if (taps == 9) s8_group(9, pixels, inside, all, tap, (size_t)c, step, group, out + c, &rule);
    else s8_group(taps, pixels, inside, all, tap, (size_t)c, step, group, out + c, &rule);
  }
}

const rlt_f32_depthwise rlt_f32_depthwise_32__avx512 = {"rlt_f32_depthwise_32__avx512", CR, f32_run};
const rlt_s8_depthwise rlt_s8_depthwise_32__avx512 = {"rlt_s8_depthwise_32__avx512", CR, s8_run};
