/* SPDX-License-Identifier: Apache-2.0
 * One table per ISA level, complete in each; a level names the loops it beats and keeps the others of the level below.
 * x86 CPUs are asked directly, because compiler helpers for it need a runtime library; Arm's answer only to the
 * operating system. */
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
#elif defined(__aarch64__)
enum { HAS_NEON = 1, HAS_DOT };
#define HWCAP_ASIMDDP ((uint64_t)1 << 20)

static int level_of_this_machine(void) {
#ifdef RLT_HAS_PLATFORM
  uint64_t hwcap = rlt_hwcap();
#else
  uint64_t hwcap = rlt_hwcap ? rlt_hwcap() : 0;
#endif
  return hwcap & HWCAP_ASIMDDP ? HAS_DOT : HAS_NEON;
}
#elif defined(__ARM_NEON) || defined(__wasm_simd128__)
static int level_of_this_machine(void) { return 1; } /* the whole build needs it */
#else
static int level_of_this_machine(void) { return 0; }
#endif

/* A build for models without floats, or without integers, runs the scalar products where it should not need any. */
#if defined(RLT_SELECTION)
#include "lacking.h"
#endif
#if defined(RLT_LACKS_f32_gemm)
#define F32_GEMM(loop) &rlt_f32_gemm_4x4__scalar
#else
#define F32_GEMM(loop) &rlt_f32_gemm_##loop
#endif
#if defined(RLT_LACKS_s8_gemm)
#define S8_GEMM(loop) &rlt_s8_gemm_4x4__scalar
#else
#define S8_GEMM(loop) &rlt_s8_gemm_##loop
#endif
#if defined(RLT_LACKS_f32_depthwise)
#define F32_DEPTHWISE(loop) &rlt_f32_depthwise_1__scalar
#else
#define F32_DEPTHWISE(loop) &rlt_f32_depthwise_##loop
#endif
#if defined(RLT_LACKS_s8_depthwise)
#define S8_DEPTHWISE(loop) &rlt_s8_depthwise_1__scalar
#else
#define S8_DEPTHWISE(loop) &rlt_s8_depthwise_##loop
#endif

static const rlt_ukernels levels[] = {
    {"scalar", F32_GEMM(4x4__scalar), S8_GEMM(4x4__scalar), F32_DEPTHWISE(1__scalar), S8_DEPTHWISE(1__scalar),
     &rlt_row_loops__scalar, &rlt_loops__scalar},
#if defined(__x86_64__)
    {"avx2", F32_GEMM(6x16__avx2), S8_GEMM(6x16__avx2), F32_DEPTHWISE(16__avx2), S8_DEPTHWISE(16__avx2),
     &rlt_row_loops__avx2, &rlt_loops__avx2},
    {"avx512", F32_GEMM(14x32__avx512), S8_GEMM(12x32__avx512), F32_DEPTHWISE(32__avx512), S8_DEPTHWISE(32__avx512),
     &rlt_row_loops__avx512, &rlt_loops__avx512},
#elif defined(__aarch64__)
    {"neon", F32_GEMM(8x8__neon), S8_GEMM(8x8__neon), F32_DEPTHWISE(8__neon), S8_DEPTHWISE(16__neon),
     &rlt_row_loops__neon, &rlt_loops__neon},
    {"neon_dot", F32_GEMM(8x8__neon), S8_GEMM(8x8__neon_dot), F32_DEPTHWISE(8__neon), S8_DEPTHWISE(16__neon),
     &rlt_row_loops__neon, &rlt_loops__neon},
#elif defined(__ARM_NEON)
    {"armv7", F32_GEMM(6x8__armv7), S8_GEMM(4x8__armv7), F32_DEPTHWISE(8__armv7), S8_DEPTHWISE(16__armv7),
     &rlt_row_loops__armv7, &rlt_loops__armv7},
#elif defined(__wasm_simd128__)
    {"wasm", F32_GEMM(4x8__wasm), S8_GEMM(4x8__wasm), F32_DEPTHWISE(8__wasm), S8_DEPTHWISE(8__wasm),
     &rlt_row_loops__wasm, &rlt_loops__wasm},
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
