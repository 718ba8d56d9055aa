/* SPDX-License-Identifier: Apache-2.0
 * armv7's vectors take denormal floats for zero and give one NaN. While a kernel runs, its scalars do so too: else a
 * value would depend on whether it lay in a loop's vectors or in what is left over after them, and so on how tiles are
 * shared among threads. Elsewhere there is nothing to do. */
#ifndef RLT_FLOAT_MODE_H
#define RLT_FLOAT_MODE_H

#include <stdint.h>

#if defined(__ARM_NEON) && !defined(__aarch64__)
/* Returns what rlt_float_mode_leave takes. */
static inline uint32_t rlt_float_mode_enter(void) {
  const uint32_t flush_to_zero = 1u << 24, default_nan = 1u << 25;
  uint32_t before;
  __asm__ volatile("vmrs %0, fpscr" : "=r"(before)::"memory");
  __asm__ volatile("vmsr fpscr, %0" ::"r"(before | flush_to_zero | default_nan) : "memory");
  return before;
}
static inline void rlt_float_mode_leave(uint32_t before) {
  __asm__ volatile("vmsr fpscr, %0" ::"r"(before) : "memory");
}
#else
static inline uint32_t rlt_float_mode_enter(void) { return 0; }
static inline void rlt_float_mode_leave(uint32_t before) { (void)before; }
#endif

#endif
