/* SPDX-License-Identifier: Apache-2.0
 * vpmaddwd on bytes widened to 16 bits is exact, where vpmaddubsw would saturate. Activations are widened DEPTH at a
 * time into a buffer on the stack, weights as they are loaded. */
#include <immintrin.h>

#include "requant_avx2.h"

enum { MR = 6, NR = 16, KR = 2, DEPTH = 512 };

static void widen(int32_t count, const int8_t *from, int16_t *to) {
  int32_t x = 0;
  for (; x + 16 <= count; x += 16) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(from + x));
    _mm256_store_si256((__m256i *)(void *)(to + x), _mm256_cvtepi8_epi16(bytes));
  }
  for (; x < count; x++) to[x] = from[x];
  if (count % KR) to[count] = 0;
}

/* M rows by V vectors, both known when this is inlined, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void sums(const int M, const int V, int32_t k, const int8_t *const *a,
                                                       const void *panel, __m256i sum[MR][2]) {
  int16_t wide[MR][DEPTH] __attribute__((aligned(32)));
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[i][v] = _mm256_load_si256((const __m256i *)panel + v);
  }
  const int8_t *w = (const int8_t *)panel + 2 * sizeof(int32_t) * NR;
  for (int32_t start = 0; start < k; start += DEPTH) {
    int32_t depth = k - start < DEPTH ? k - start : DEPTH;
    for (int i = 0; i < M; i++) widen(depth, a[i] + start, wide[i]);
    for (int32_t x = 0; x < depth; x += KR, w += KR * NR) {
      __m256i wx[2];
#pragma GCC unroll 2
      for (int v = 0; v < V; v++)
        wx[v] = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)(const void *)(w + 16 * v)));
#pragma GCC unroll 8
      for (int i = 0; i < M; i++) {
        int32_t two;
        __builtin_memcpy(&two, &wide[i][x], 4);
        __m256i ax = _mm256_set1_epi32(two);
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) sum[i][v] = _mm256_add_epi32(sum[i][v], _mm256_madd_epi16(ax, wx[v]));
      }
    }
  }
}

static inline __attribute__((always_inline)) void tile_s8(const int M, const int V, int32_t n, int32_t k,
                                                          const int8_t *const *a, const void *panel, int8_t *c,
                                                          size_t c_stride, const rlt_requant *q) {
  __m256i sum[MR][2];
  sums(M, V, k, a, panel, sum);
  const requant_avx2 rule = requant_start(q);
  const float *scale = (const float *)panel + NR;
  if (q->rows) {
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) {
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sum[i][v] = _mm256_add_epi32(sum[i][v], _mm256_set1_epi32(q->rows[i]));
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) {
    __m256i low = requant_eight(&rule, sum[i][0], _mm256_load_ps(scale));
    __m256i high = V > 1 ? requant_eight(&rule, sum[i][V - 1], _mm256_load_ps(scale + 8)) : low;
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
    store_bytes(c + (size_t)i * c_stride, pack_sixteen(&rule, words), n);
  }
}

static inline __attribute__((always_inline)) void tile_s32(const int M, int32_t n, int32_t k, const int8_t *const *a,
                                                           const void *panel, int32_t *c, size_t c_stride) {
  __m256i sum[MR][2];
  sums(M, 2, k, a, panel, sum);
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
#pragma GCC unroll 8
  for (int i = 0; i < M; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) {
      __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8 * v), lane);
      _mm256_maskstore_epi32(c + (size_t)i * c_stride + 8 * v, inside, sum[i][v]);
    }
  }
}

static void run(int32_t m, int32_t n, int32_t k, const int8_t *const *a, const void *panel, int8_t *c, size_t c_stride,
                const rlt_requant *q) {
#define ROWS(M)                                               \
  case M:                                                     \
    if (n > 8) tile_s8(M, 2, n, k, a, panel, c, c_stride, q); \
    else tile_s8(M, 1, n, k, a, panel, c, c_stride, q);       \
    return;
  switch (m) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) }
#undef ROWS
}

static void run_s32(int32_t m, int32_t n, int32_t k, const int8_t *const *a, const void *panel, int32_t *c,
                    size_t c_stride) {
#define ROWS(M)                               \
  case M:                                     \
    tile_s32(M, n, k, a, panel, c, c_stride); \
    return;
  switch (m) { ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) }
#undef ROWS
}

const rlt_s8_gemm rlt_s8_gemm_6x16__avx2 = {"rlt_s8_gemm_6x16__avx2", MR, NR, KR, 0, run, RLT_SUMS(run_s32)};
