/* SPDX-License-Identifier: Apache-2.0
 * One table per ISA level, complete in each; a level names the loops it beats and keeps the others of the level below.
 * The CPU is asked directly, because compiler helpers for it need a runtime library. */
#include "../include/rillet.h"
#include "loops.h"
#include "ukernels.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* XCR0: which registers the operating system saves. */
static uint64_t saved_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((uint64_t)high << 32) | low;
}

enum { NO_SIMD, HAS_AVX2, HAS_AVX512 };

static int level_of_this_machine(void) {
  const uint32_t fma = 1u << 12, osxsave = 1u << 27;
  const uint32_t avx2 = 1u << 5, f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31, vnni = 1u << 11;
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (fma | osxsave)) != (fma | osxsave)) return NO_SIMD;
  uint64_t state = saved_state();
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return NO_SIMD;
  if ((state & 0x06) != 0x06 || !(b & avx2)) return NO_SIMD;
  bool all = (b & (f | dq | bw | vl)) == (f | dq | bw | vl) && (c & vnni);
  return (state & 0xe6) == 0xe6 && all ? HAS_AVX512 : HAS_AVX2;
}
#else
static int level_of_this_machine(void) { return 0; }
#endif

static const rlt_ukernels levels[] = {
    {"scalar", &rlt_f32_gemm_4x4__scalar, &rlt_s8_gemm_4x4__scalar, &rlt_f32_depthwise_1__scalar,
     &rlt_s8_depthwise_1__scalar, &rlt_row_loops__scalar, &rlt_loops__scalar},
#if defined(__x86_64__)
    {"avx2", &rlt_f32_gemm_6x16__avx2, &rlt_s8_gemm_6x16__avx2, &rlt_f32_depthwise_16__avx2, &rlt_s8_depthwise_16__avx2,
     &rlt_row_loops__avx2, &rlt_loops__avx2},
    {"avx512", &rlt_f32_gemm_14x32__avx512, &rlt_s8_gemm_12x32__avx512, &rlt_f32_depthwise_32__avx512,
     &rlt_s8_depthwise_32__avx512, &rlt_row_loops__avx512, &rlt_loops__avx512},
#endif
};

static bool same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

const rlt_ukernels *rlt_select_ukernels(const char *cap) {
  int best = level_of_this_machine();
  if (!cap) return &levels[best];
  for (int i = 0; i < (int)(sizeof levels / sizeof levels[0]); i++)
    if (same(cap, levels[i].isa)) return &levels[i < best ? i : best];
  return NULL;
}

const char *rlt_best_isa(void) { return levels[level_of_this_machine()].isa; }
