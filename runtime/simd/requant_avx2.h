/* SPDX-License-Identifier: Apache-2.0
 * rlt_requantize of sixteen sums. Packing saturates to int8: UINT8 goes through it less 128. */
#ifndef RLT_REQUANT_AVX2_H
#define RLT_REQUANT_AVX2_H

#include <immintrin.h>
#include <stdbool.h>

#include "ukernels.h"

typedef struct requant_avx2 {
  __m256 lo, hi;
  __m256i zero;
  __m128i turn; /* exclusive or with the bytes */
} requant_avx2;

static inline requant_avx2 requant_start(const rlt_requant *q) {
  return (requant_avx2){_mm256_set1_ps((float)(q->lo - q->zero)), _mm256_set1_ps((float)(q->hi - q->zero)),
                        _mm256_set1_epi32(q->is_unsigned ? q->zero - 128 : q->zero),
                        _mm_set1_epi8(q->is_unsigned ? (char)0x80 : 0)};
}

static inline __m256i requant_eight(const requant_avx2 *q, __m256i sum, __m256 scale) {
  __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale);
  return _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_min_ps(q->hi, _mm256_max_ps(q->lo, y))), q->zero);
}

/* a, b: within each 128-bit lane, what vpackssdw then puts side by side. */
static inline __m128i pack_sixteen(const requant_avx2 *q, __m256i words) {
  __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  return _mm_xor_si128(bytes, q->turn);
}

/* Stores the first n of sixteen bytes. */
static inline void store_bytes(int8_t *to, __m128i bytes, int32_t n) {
  if (n >= 16) {
    _mm_storeu_si128((__m128i *)(void *)to, bytes);
    return;
  }
  int8_t all[16];
  _mm_storeu_si128((__m128i *)(void *)all, bytes);
  for (int32_t j = 0; j < n; j++) to[j] = all[j];
}

#endif
