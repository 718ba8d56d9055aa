/* SPDX-License-Identifier: Apache-2.0
 * Channels lie along the vector; a group's channels are finished for all pixels before the next group. The weights of
 * nine taps (3 x 3) stay in registers; with more, two pixels share every weight loaded. */
#include <immintrin.h>
#include <stdbool.h>

#include "ukernels.h"

enum { CR = 32 };

/* Where the pixels' taps are: as in ukernels.h, moved to the group's first channel. */
typedef struct place {
  int32_t pixels, taps;
  size_t channels, tap_step, step, at;
} place;

/* ---- float32 ---- */

typedef struct f32_rule {
  __m512 lo, hi;
  __mmask16 inside[2];
} f32_rule;

static inline __attribute__((always_inline)) __m512 f32_load(const bool whole, const f32_rule *r, const float *x,
                                                             int v) {
  return whole ? _mm512_loadu_ps(x + 16 * v) : _mm512_maskz_loadu_ps(r->inside[v], x + 16 * v);
}

static inline __attribute__((always_inline)) void f32_store(const bool whole, const f32_rule *r, float *out, int v,
                                                            __m512 sum) {
  __m512 y = _mm512_min_ps(r->hi, _mm512_max_ps(r->lo, sum)); /* the operand order lets NaN pass */
  if (whole) _mm512_storeu_ps(out + 16 * v, y);
  else _mm512_mask_storeu_ps(out + 16 * v, r->inside[v], y);
}

static inline __attribute__((always_inline)) void f32_nine(const bool whole, const place *k, const float *const *tap,
                                                           const float *packed, float *out, const f32_rule *r) {
  __m512 w[10][2];
#pragma GCC unroll 10
  for (int t = 0; t < 10; t++) {
    w[t][0] = _mm512_load_ps(packed + CR * t);
    w[t][1] = _mm512_load_ps(packed + CR * t + 16);
  }
  size_t at = k->at;
  for (int32_t p = 0; p < k->pixels; p++, at += k->step, tap += k->tap_step, out += k->channels) {
    __m512 sum[2] = {w[0][0], w[0][1]};
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++) {
      const float *x = tap[t] + at;
      sum[0] = _mm512_fmadd_ps(f32_load(whole, r, x, 0), w[t + 1][0], sum[0]);
      sum[1] = _mm512_fmadd_ps(f32_load(whole, r, x, 1), w[t + 1][1], sum[1]);
    }
    f32_store(whole, r, out, 0, sum[0]);
    f32_store(whole, r, out, 1, sum[1]);
  }
}

/* P pixels side by side. */
static inline __attribute__((always_inline)) void f32_pixels(const bool whole, const int P, const place *k,
                                                             const float *const *tap, size_t at, const float *packed,
                                                             float *out, const f32_rule *r) {
  __m512 sum[2][2];
#pragma GCC unroll 2
  for (int p = 0; p < P; p++) {
    sum[p][0] = _mm512_load_ps(packed);
    sum[p][1] = _mm512_load_ps(packed + 16);
  }
  const float *w = packed + CR;
  for (int32_t t = 0; t < k->taps; t++, w += CR) {
    __m512 w0 = _mm512_load_ps(w), w1 = _mm512_load_ps(w + 16);
#pragma GCC unroll 2
    for (int p = 0; p < P; p++) {
      const float *x = tap[(size_t)p * k->tap_step + (size_t)t] + at + (size_t)p * k->step;
      sum[p][0] = _mm512_fmadd_ps(f32_load(whole, r, x, 0), w0, sum[p][0]);
      sum[p][1] = _mm512_fmadd_ps(f32_load(whole, r, x, 1), w1, sum[p][1]);
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < P; p++) {
    f32_store(whole, r, out + (size_t)p * k->channels, 0, sum[p][0]);
    f32_store(whole, r, out + (size_t)p * k->channels, 1, sum[p][1]);
  }
}

static inline __attribute__((always_inline)) void f32_group(const bool whole, const place *k, const float *const *tap,
                                                            const float *packed, float *out, const f32_rule *r) {
  if (k->taps == 9) {
    f32_nine(whole, k, tap, packed, out, r);
    return;
  }
  size_t at = k->at;
  int32_t p = 0;
  for (; p + 2 <= k->pixels; p += 2, at += 2 * k->step, tap += 2 * k->tap_step, out += 2 * k->channels)
    f32_pixels(whole, 2, k, tap, at, packed, out, r);
  if (p < k->pixels) f32_pixels(whole, 1, k, tap, at, packed, out, r);
}

static __mmask16 first16(int32_t n) {
  if (n <= 0) return 0;
  return (__mmask16)(n >= 16 ? 0xffffu : 0xffffu >> (16 - n));
}

static void f32_run(int32_t pixels, int32_t channels, int32_t taps, const float *const *tap, size_t tap_step,
                    size_t step, const float *packed, float *out, float lo, float hi) {
  for (int32_t c = 0; c < channels; c += CR, packed += CR * (size_t)(taps + 1)) {
    int32_t n = channels - c;
    place k = {pixels, taps, (size_t)channels, tap_step, step, (size_t)c};
    f32_rule r = {_mm512_set1_ps(lo), _mm512_set1_ps(hi), {first16(n), first16(n - 16)}};
    if (n >= CR) f32_group(true, &k, tap, packed, out + c, &r);
    else f32_group(false, &k, tap, packed, out + c, &r);
  }
}

/* ---- int8 ---- */

typedef struct s8_rule {
  __m512 lo, hi, scale[2];
  __m512i zero, bias[2];
  __m256i turn; /* exclusive or with the bytes: packing saturates to int8, so UINT8 goes through it less 128 */
  __mmask32 inside;
} s8_rule;

static inline __m512i requant_sixteen(const s8_rule *r, __m512i sum, __m512 scale) {
  __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
  return _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_min_ps(r->hi, _mm512_max_ps(r->lo, y))), r->zero);
}

static inline __attribute__((always_inline)) __m512i s8_load(const bool whole, const bool U8, const s8_rule *r,
                                                             const int8_t *x) {
  __m256i bytes = whole ? _mm256_loadu_si256((const __m256i *)(const void *)x) : _mm256_maskz_loadu_epi8(r->inside, x);
  return U8 ? _mm512_cvtepu8_epi16(bytes) : _mm512_cvtepi8_epi16(bytes);
}

static inline __attribute__((always_inline)) void s8_store(const bool whole, const s8_rule *r, int8_t *out, __m512i low,
                                                           __m512i high) {
  low = requant_sixteen(r, low, r->scale[0]);
  high = requant_sixteen(r, high, r->scale[1]);
  __m256i bytes = _mm256_xor_si256(_mm512_cvtsepi16_epi8(_mm512_packs_epi32(low, high)), r->turn);
  if (whole) _mm256_storeu_si256((__m256i *)(void *)out, bytes);
  else _mm256_mask_storeu_epi8(out, r->inside, bytes);
}

static inline __attribute__((always_inline)) void s8_nine(const bool whole, const bool U8, const place *k,
                                                          const int8_t *const *tap, const int16_t *packed, int8_t *out,
                                                          const s8_rule *r) {
  __m512i w[5][2];
#pragma GCC unroll 5
  for (int t = 0; t < 5; t++) {
    w[t][0] = _mm512_load_si512(packed + 2 * CR * t);
    w[t][1] = _mm512_load_si512(packed + 2 * CR * t + CR);
  }
  size_t at = k->at;
  for (int32_t p = 0; p < k->pixels; p++, at += k->step, tap += k->tap_step, out += k->channels) {
    __m512i low = r->bias[0], high = r->bias[1];
#pragma GCC unroll 5
    for (int t = 0; t < 5; t++) {
      __m512i x0 = s8_load(whole, U8, r, tap[2 * t] + at);
      __m512i x1 =
          t < 4 ? s8_load(whole, U8, r, tap[t < 4 ? 2 * t + 1 : 0] + at) : x0; /* the ninth pairs with weight 0 */
      low = _mm512_dpwssd_epi32(low, _mm512_unpacklo_epi16(x0, x1), w[t][0]);
      high = _mm512_dpwssd_epi32(high, _mm512_unpackhi_epi16(x0, x1), w[t][1]);
    }
    s8_store(whole, r, out, low, high);
  }
}

static inline __attribute__((always_inline)) void s8_any(const bool whole, const bool U8, const place *k,
                                                         const int8_t *const *tap, const int16_t *w, int8_t *out,
                                                         const s8_rule *r) {
  size_t at = k->at;
  for (int32_t p = 0; p < k->pixels; p++, at += k->step, tap += k->tap_step, out += k->channels) {
    __m512i low = r->bias[0], high = r->bias[1];
    for (int32_t t = 0; t < k->taps; t += 2) {
      __m512i x0 = s8_load(whole, U8, r, tap[t] + at), x1 = x0; /* an odd last tap pairs with weight 0 */
      if (t + 1 < k->taps) x1 = s8_load(whole, U8, r, tap[t + 1] + at);
      low = _mm512_dpwssd_epi32(low, _mm512_unpacklo_epi16(x0, x1), _mm512_load_si512(w + CR * t));
      high = _mm512_dpwssd_epi32(high, _mm512_unpackhi_epi16(x0, x1), _mm512_load_si512(w + CR * (t + 1)));
    }
    s8_store(whole, r, out, low, high);
  }
}

static inline __attribute__((always_inline)) void s8_group(const bool whole, const bool U8, const place *k,
                                                           const int8_t *const *tap, const int16_t *w, int8_t *out,
                                                           const s8_rule *r) {
  if (k->taps == 9) s8_nine(whole, U8, k, tap, w, out, r);
  else s8_any(whole, U8, k, tap, w, out, r);
}

static void s8_run(int32_t pixels, int32_t channels, int32_t taps, const int8_t *const *tap, size_t tap_step,
                   size_t step, const void *packed, int8_t *out, const rlt_requant *q) {
  size_t bytes = CR * (2 * sizeof(int32_t) + 2 * sizeof(int16_t) * (size_t)((taps + 1) / 2));
  const char *group = packed;
  for (int32_t c = 0; c < channels; c += CR, group += bytes) {
    const int32_t *bias = (const int32_t *)(const void *)group;
    const float *scale = (const float *)(const void *)(bias + CR);
    const int16_t *w = (const int16_t *)(const void *)(scale + CR);
    int32_t n = channels - c;
    place k = {pixels, taps, (size_t)channels, tap_step, step, (size_t)c};
    s8_rule r = {_mm512_set1_ps((float)(q->lo - q->zero)),
                 _mm512_set1_ps((float)(q->hi - q->zero)),
                 {_mm512_load_ps(scale), _mm512_load_ps(scale + 16)},
                 _mm512_set1_epi32(q->is_unsigned ? q->zero - 128 : q->zero),
                 {_mm512_load_si512(bias), _mm512_load_si512(bias + 16)},
                 _mm256_set1_epi8(q->is_unsigned ? (char)0x80 : 0),
                 n >= CR ? 0xffffffffu : 0xffffffffu >> (CR - n)};
    if (n < CR && q->is_unsigned) s8_group(false, true, &k, tap, w, out + c, &r);
    else if (n < CR) s8_group(false, false, &k, tap, w, out + c, &r);
    else if (q->is_unsigned) s8_group(true, true, &k, tap, w, out + c, &r);
    else s8_group(true, false, &k, tap, w, out + c, &r);
  }
}

const rlt_f32_depthwise rlt_f32_depthwise_32__avx512 = {"rlt_f32_depthwise_32__avx512", CR, f32_run};
const rlt_s8_depthwise rlt_s8_depthwise_32__avx512 = {"rlt_s8_depthwise_32__avx512", CR, s8_run};
