/* SPDX-License-Identifier: Apache-2.0
 * Channels lie along the vector; a group's channels are finished for all pixels before the next group, so that its
 * weights stay in the first-level cache. */
#include "requant_avx2.h"

enum { CR = 16 };

/* Where the pixels' taps are: as in ukernels.h, moved to the group's first channel. */
typedef struct place {
  int32_t pixels, taps;
  size_t channels, tap_step, step, at;
} place;

/* ---- float32 ---- */

static inline __m256i lanes(int32_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline __attribute__((always_inline)) void f32_group(const bool whole, int32_t n, const place *k,
                                                            const float *const *tap, const float *w, float *out,
                                                            __m256 lo, __m256 hi) {
  const __m256i inside[2] = {lanes(n), lanes(n - 8)};
  size_t at = k->at;
  for (int32_t p = 0; p < k->pixels; p++, at += k->step, tap += k->tap_step, out += k->channels) {
    __m256 sum[2] = {_mm256_load_ps(w), _mm256_load_ps(w + 8)};
    for (int32_t t = 0; t < k->taps; t++) {
      const float *x = tap[t] + at, *wt = w + CR * (t + 1);
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) {
        __m256 xv = whole ? _mm256_loadu_ps(x + 8 * v) : _mm256_maskload_ps(x + 8 * v, inside[v]);
        sum[v] = _mm256_fmadd_ps(xv, _mm256_load_ps(wt + 8 * v), sum[v]);
      }
    }
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) { /* the operand order lets NaN pass */
      __m256 y = _mm256_min_ps(hi, _mm256_max_ps(lo, sum[v]));
      if (whole) _mm256_storeu_ps(out + 8 * v, y);
      else _mm256_maskstore_ps(out + 8 * v, inside[v], y);
    }
  }
}

static void f32_run(int32_t pixels, int32_t channels, int32_t taps, const float *const *tap, size_t tap_step,
                    size_t step, const float *packed, float *out, float lo, float hi) {
  const __m256 vlo = _mm256_set1_ps(lo), vhi = _mm256_set1_ps(hi);
  for (int32_t c = 0; c < channels; c += CR, packed += CR * (size_t)(taps + 1)) {
    place k = {pixels, taps, (size_t)channels, tap_step, step, (size_t)c};
    if (channels - c >= CR) f32_group(true, CR, &k, tap, packed, out + c, vlo, vhi);
    else f32_group(false, channels - c, &k, tap, packed, out + c, vlo, vhi);
  }
}

/* ---- int8 ---- */

static inline __m256i sixteen_words(const bool whole, const bool U8, const int8_t *x, int32_t n) {
  int8_t all[16] = {0};
  for (int32_t j = 0; !whole && j < n; j++) all[j] = x[j];
  __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(whole ? x : all));
  return U8 ? _mm256_cvtepu8_epi16(bytes) : _mm256_cvtepi8_epi16(bytes);
}

static inline __attribute__((always_inline)) void s8_group(const bool whole, const bool U8, int32_t n, const place *k,
                                                           const int8_t *const *tap, const char *group, int8_t *out,
                                                           const requant_avx2 *q) {
  const __m256i *bias = (const __m256i *)(const void *)group;
  const float *scale = (const float *)(const void *)(group + sizeof(int32_t) * CR);
  const __m256i *w = (const __m256i *)(const void *)(scale + CR);
  size_t at = k->at;
  for (int32_t p = 0; p < k->pixels; p++, at += k->step, tap += k->tap_step, out += k->channels) {
    __m256i low = _mm256_load_si256(bias), high = _mm256_load_si256(bias + 1);
    for (int32_t t = 0; t < k->taps; t += 2) { /* the second tap of an odd last pair has weight 0 */
      __m256i x0 = sixteen_words(whole, U8, tap[t] + at, n), x1 = x0;
      if (t + 1 < k->taps) x1 = sixteen_words(whole, U8, tap[t + 1] + at, n);
      low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(x0, x1), _mm256_load_si256(w + t)));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(x0, x1), _mm256_load_si256(w + t + 1)));
    }
    low = requant_eight(q, low, _mm256_load_ps(scale));
    high = requant_eight(q, high, _mm256_load_ps(scale + 8));
    store_bytes(out, pack_sixteen(q, _mm256_packs_epi32(low, high)), n);
  }
}

static void s8_run(int32_t pixels, int32_t channels, int32_t taps, const int8_t *const *tap, size_t tap_step,
                   size_t step, const void *packed, int8_t *out, const rlt_requant *q) {
  const requant_avx2 rule = requant_start(q);
  size_t bytes = CR * (2 * sizeof(int32_t) + 2 * sizeof(int16_t) * (size_t)((taps + 1) / 2));
  const char *group = packed;
  for (int32_t c = 0; c < channels; c += CR, group += bytes) {
    place k = {pixels, taps, (size_t)channels, tap_step, step, (size_t)c};
    if (channels - c < CR && q->is_unsigned) s8_group(false, true, channels - c, &k, tap, group, out + c, &rule);
    else if (channels - c < CR) s8_group(false, false, channels - c, &k, tap, group, out + c, &rule);
    else if (q->is_unsigned) s8_group(true, true, CR, &k, tap, group, out + c, &rule);
    else s8_group(true, false, CR, &k, tap, group, out + c, &rule);
  }
}

const rlt_f32_depthwise rlt_f32_depthwise_16__avx2 = {"rlt_f32_depthwise_16__avx2", CR, f32_run};
const rlt_s8_depthwise rlt_s8_depthwise_16__avx2 = {"rlt_s8_depthwise_16__avx2", CR, s8_run};
