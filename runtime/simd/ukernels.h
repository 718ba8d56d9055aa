/* SPDX-License-Identifier: Apache-2.0
 * The inner loops of one ISA. Each loop is a record of what it computes on and how wide it is; kernels ask the table
 * they are given and hold no intrinsics. Loops are named rlt_<type>_<what>_<rows>x<columns>__<isa>.
 *
 * Integer loops give the same bits on every ISA. Float loops sum in the order of k, with or without fused
 * multiply-add, so they differ between ISAs by rounding only, and never with how rows are grouped. */
#ifndef RLT_UKERNELS_H
#define RLT_UKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds on mr and on nr, cr: buffers of kernels are sized by them. */
#define RLT_MAX_MR 16
#define RLT_MAX_NR 64

/* From int32 sums to bytes: clamp(nearest_even(float32(sum) * scale[column]), lo - zero, hi - zero) + zero. */
typedef struct rlt_requant {
  int32_t zero; /* the output's zero point */
  int32_t lo, hi;
  bool is_unsigned;    /* the output is UINT8, as are the activations of depthwise loops */
  const int32_t *rows; /* products: added to every sum of row i; NULL: nothing */
} rlt_requant;

/* c[i][j] = clamp(bias[j] + sum over k of a[i][k] * w[k][j], lo, hi) for i < m <= mr and j < n <= nr.
 * a: m pointers to rows of k floats. c: rows are c_stride floats apart. NaN passes the clamp.
 * panel: bias[nr], then k rows of w[nr]; 64-byte aligned. */
typedef struct rlt_f32_gemm {
  const char *name;
  int32_t mr, nr;
  void (*run)(int32_t m, int32_t n, int32_t k, const float *const *a, const float *panel, float *c, size_t c_stride,
              float lo, float hi);
} rlt_f32_gemm;

/* The same on int8 rows, exact in int32 (wrapping). The loop may add a_offset to every a[i][k], so the packed bias
 * holds bias - (input zero point + a_offset) * sum of w.
 * panel: int32 bias[nr], float scale[nr], then ceil(k / kr) groups of int8 w[nr][kr], zeros past k; 64-byte aligned. */
typedef struct rlt_s8_gemm {
  const char *name;
  int32_t mr, nr, kr;
  int32_t a_offset;
  void (*run)(int32_t m, int32_t n, int32_t k, const int8_t *const *a, const void *panel, int8_t *c, size_t c_stride,
              const rlt_requant *q);
  /* the sums themselves */
  void (*run_s32)(int32_t m, int32_t n, int32_t k, const int8_t *const *a, const void *panel, int32_t *c,
                  size_t c_stride);
} rlt_s8_gemm;

/* Depthwise: out[p][c] = clamp(bias[c] + sum over t of tap[p * tap_step + t][p * step + c] * w[t][c], lo, hi) for
 * p < pixels and c < channels: either every pixel has pointers of its own (tap_step = taps, step = 0), or all share
 * the first one's and move by `step` (tap_step = 0). out: pixels are `channels` apart.
 * packed: for every group of cr channels bias[cr], then taps rows of w[cr], zeros past the last channel. */
typedef struct rlt_f32_depthwise {
  const char *name;
  int32_t cr;
  void (*run)(int32_t pixels, int32_t channels, int32_t taps, const float *const *tap, size_t tap_step, size_t step,
              const float *packed, float *out, float lo, float hi);
} rlt_f32_depthwise;

/* The same on int8, exact; the packed bias holds bias - input zero point * sum of w.
 * packed: for every group of cr channels int32 bias[cr], float scale[cr], then ceil(taps / 2) pairs of int16
 * w[cr][2], the last one's second 0 where taps is odd. Within a group channel c stands at rlt_s8_depthwise_slot. */
typedef struct rlt_s8_depthwise {
  const char *name;
  int32_t cr; /* 1, or a multiple of 8 */
  void (*run)(int32_t pixels, int32_t channels, int32_t taps, const int8_t *const *tap, size_t tap_step, size_t step,
              const void *packed, int8_t *out, const rlt_requant *q);
} rlt_s8_depthwise;

/* Place of channel c of a group: the first four of every eight, then the last four of every eight. It is where
 * unpacking 16-bit halves within 128-bit lanes leaves them. */
static inline int32_t rlt_s8_depthwise_slot(int32_t cr, int32_t c) {
  if (cr == 1) return 0;
  return (c % 8 < 4 ? 0 : cr / 2) + c / 8 * 4 + c % 4;
}

/* Loops that make the rows of a product and finish them, and that turn matrices; what each computes stands in rows.h
 * and transpose.h. */
typedef struct rlt_row_loops {
  const char *name;
  void (*copy_runs)(char *to, size_t to_step, const char *from, size_t from_step, int32_t count, size_t bytes);
  void (*range)(const float *x, uint64_t count, float *least, float *most);
  void (*to_s8)(const float *x, uint64_t count, float inverse, int32_t zero, int8_t *out);
  void (*from_sums)(const int32_t *sums, int32_t n, int32_t zero, float scale, const int32_t *weight_sums,
                    const float *weight_scales, const float *bias, float lo, float hi, float *out);
  void (*through_s8)(const float *x, uint64_t count, float inverse, float offset, float unit, float *out);
  void (*turn)(const uint8_t *from, size_t from_step, int8_t *to, size_t to_step, int32_t count, size_t bytes,
               int32_t *sums);
  void (*transpose)(const void *x, size_t x_step, void *y, size_t y_step, size_t rows, size_t columns, uint32_t bytes);
} rlt_row_loops;

typedef struct rlt_ukernels {
  const char *isa;
  const rlt_f32_gemm *f32_gemm;
  const rlt_s8_gemm *s8_gemm;
  const rlt_f32_depthwise *f32_depthwise;
  const rlt_s8_depthwise *s8_depthwise;
  const rlt_row_loops *rows;
  const struct rlt_loops *loops; /* loops.h: everything elementwise */
} rlt_ukernels;

/* Best table this machine has, not above `cap` ("scalar", "avx2", "avx512", "neon", "neon_dot", "armv7", "wasm"; NULL:
 * no cap). NULL: `cap` is no ISA of this build. */
const rlt_ukernels *rlt_select_ukernels(const char *cap);

/* What the operating system says of the CPU (on Linux AT_HWCAP), where it alone can tell. The platform layer defines
 * it; a program without one runs on what every CPU of its architecture has. */
#ifdef RLT_HAS_PLATFORM
uint64_t rlt_hwcap(void); /* not weak, or a static library would not bring it along */
#else
uint64_t rlt_hwcap(void) __attribute__((weak));
#endif

/* A build for a few models may have no use for the sums. */
#ifndef RLT_SUMS
#define RLT_SUMS(run_s32) run_s32
#endif

/* The records, one file each. avx512 means F, BW, VL, DQ and VNNI; avx2 means AVX2 and FMA; neon is aarch64's and
 * neon_dot adds dot products of bytes; armv7 means NEON with VFPv4. */
extern const rlt_f32_gemm rlt_f32_gemm_4x4__scalar, rlt_f32_gemm_6x16__avx2, rlt_f32_gemm_14x32__avx512;
extern const rlt_f32_gemm rlt_f32_gemm_8x8__neon, rlt_f32_gemm_6x8__armv7, rlt_f32_gemm_4x8__wasm;
extern const rlt_s8_gemm rlt_s8_gemm_4x4__scalar, rlt_s8_gemm_6x16__avx2, rlt_s8_gemm_12x32__avx512;
extern const rlt_s8_gemm rlt_s8_gemm_8x8__neon, rlt_s8_gemm_8x8__neon_dot, rlt_s8_gemm_4x8__armv7;
extern const rlt_s8_gemm rlt_s8_gemm_4x8__wasm;
extern const rlt_f32_depthwise rlt_f32_depthwise_1__scalar, rlt_f32_depthwise_16__avx2, rlt_f32_depthwise_32__avx512;
extern const rlt_f32_depthwise rlt_f32_depthwise_8__neon, rlt_f32_depthwise_8__armv7, rlt_f32_depthwise_8__wasm;
extern const rlt_s8_depthwise rlt_s8_depthwise_1__scalar, rlt_s8_depthwise_16__avx2, rlt_s8_depthwise_32__avx512;
extern const rlt_s8_depthwise rlt_s8_depthwise_16__neon, rlt_s8_depthwise_16__armv7, rlt_s8_depthwise_8__wasm;
extern const rlt_row_loops rlt_row_loops__scalar, rlt_row_loops__avx2, rlt_row_loops__avx512;
extern const rlt_row_loops rlt_row_loops__neon, rlt_row_loops__armv7, rlt_row_loops__wasm;

#endif
