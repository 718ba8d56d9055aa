/* SPDX-License-Identifier: Apache-2.0
 * What one core can do at most: loops that touch registers only, one per ISA and type, with enough independent sums
 * to hide the latency. */
#ifndef RLT_PEAK_H
#define RLT_PEAK_H

#include <immintrin.h>
#include <stdint.h>

/* Operations (a multiply and an add are two) of one call. */
typedef struct peak_loop {
  const char *isa, *type, *what;
  double (*run)(int32_t rounds); /* returns the operations done */
} peak_loop;

#define SUMS 20
#define UNROLL _Pragma("GCC unroll 20")

static volatile int32_t peak_sink;

__attribute__((target("avx512f"), noinline)) static double peak_f32_avx512(int32_t rounds) {
  __m512 sum[SUMS], a = _mm512_set1_ps(1.0f), b = _mm512_set1_ps(0.5f);
  UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm512_set1_ps((float)i);
  for (int32_t r = 0; r < rounds; r++) {
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm512_fmadd_ps(a, b, sum[i]);
    __asm__ volatile("" : "+x"(a), "+x"(b));
  }
  UNROLL for (int i = 1; i < SUMS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  peak_sink = _mm512_cmp_ps_mask(sum[0], a, _CMP_LT_OQ);
  return 2.0 * 16 * SUMS * rounds;
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"), noinline)) static double peak_s8_avx512(int32_t rounds) {
  __m512i sum[SUMS], a = _mm512_set1_epi32(peak_sink), b = _mm512_set1_epi8(3);
  UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm512_set1_epi32(i);
  for (int32_t r = 0; r < rounds; r++) {
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
    __asm__ volatile("" : "+x"(a), "+x"(b));
  }
  UNROLL for (int i = 1; i < SUMS; i++) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  peak_sink = _mm512_cmplt_epi32_mask(sum[0], a);
  return 2.0 * 64 * SUMS * rounds;
}

#undef SUMS
#define SUMS 12

__attribute__((target("avx2,fma"), noinline)) static double peak_f32_avx2(int32_t rounds) {
  __m256 sum[SUMS], a = _mm256_set1_ps(1.0f), b = _mm256_set1_ps(0.5f);
  UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm256_set1_ps((float)i);
  for (int32_t r = 0; r < rounds; r++) {
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm256_fmadd_ps(a, b, sum[i]);
    __asm__ volatile("" : "+x"(a), "+x"(b));
  }
  UNROLL for (int i = 1; i < SUMS; i++) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  peak_sink = _mm256_movemask_ps(sum[0]);
  return 2.0 * 8 * SUMS * rounds;
}

__attribute__((target("avx2,fma"), noinline)) static double peak_s8_avx2(int32_t rounds) {
  __m256i sum[SUMS], a = _mm256_set1_epi16((int16_t)peak_sink), b = _mm256_set1_epi16(3);
  UNROLL for (int i = 0; i < SUMS; i++) sum[i] = _mm256_set1_epi32(i);
  for (int32_t r = 0; r < rounds; r++) {
    UNROLL for (int i = 0; i < SUMS; i++) {
      sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(a, b));
      __asm__ volatile("" : "+x"(a), "+x"(b)); /* or one product would serve all sums */
    }
  }
  UNROLL for (int i = 1; i < SUMS; i++) sum[0] = _mm256_add_epi32(sum[0], sum[i]);
  peak_sink = _mm256_movemask_epi8(sum[0]);
  return 2.0 * 16 * SUMS * rounds;
}

static const peak_loop peak_loops[] = {
    {"avx2", "f32", "vfmadd231ps ymm", peak_f32_avx2},
    {"avx2", "s8", "vpmaddwd + vpaddd ymm", peak_s8_avx2},
    {"avx512", "f32", "vfmadd231ps zmm", peak_f32_avx512},
    {"avx512", "s8", "vpdpbusd zmm", peak_s8_avx512},
};

#endif
