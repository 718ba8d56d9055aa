/* SPDX-License-Identifier: Apache-2.0
 * Matrix products and depthwise loops in plain C: complete, and the definition of the integer results. */
#include "scalar.h"

enum { MR = 4, NR = 4 };

static void f32_gemm(int32_t m, int32_t n, int32_t k, const float *const *a, const float *panel, float *c,
                     size_t c_stride, float lo, float hi) {
  float sum[MR][NR];
  for (int32_t i = 0; i < MR; i++)
    for (int32_t j = 0; j < NR; j++) sum[i][j] = panel[j];
  const float *rows[MR]; /* rows past m repeat the last one: four independent sums keep the pipeline busy */
  for (int32_t i = 0; i < MR; i++) rows[i] = a[i < m ? i : m - 1];
  const float *w = panel + NR;
  for (int32_t x = 0; x < k; x++, w += NR)
    for (int32_t i = 0; i < MR; i++)
      for (int32_t j = 0; j < NR; j++) sum[i][j] += rows[i][x] * w[j];
  for (int32_t i = 0; i < m; i++)
    for (int32_t j = 0; j < n; j++) c[(size_t)i * c_stride + (size_t)j] = rlt_clamp_f32(sum[i][j], lo, hi);
}

/* Unsigned, because int32 sums may wrap. */
static void s8_sums(int32_t m, int32_t k, const int8_t *const *a, const void *panel, uint32_t sum[MR][NR]) {
  const uint32_t *bias = panel;
  for (int32_t i = 0; i < MR; i++)
    for (int32_t j = 0; j < NR; j++) sum[i][j] = bias[j];
  const int8_t *rows[MR];
  for (int32_t i = 0; i < MR; i++) rows[i] = a[i < m ? i : m - 1];
  const int8_t *w = (const int8_t *)panel + 2 * sizeof(int32_t) * NR;
  for (int32_t x = 0; x < k; x++, w += NR)
    for (int32_t i = 0; i < MR; i++)
      for (int32_t j = 0; j < NR; j++) sum[i][j] += (uint32_t)(rows[i][x] * w[j]);
}

static void s8_gemm(int32_t m, int32_t n, int32_t k, const int8_t *const *a, const void *panel, int8_t *c,
                    size_t c_stride, const rlt_requant *q) {
  uint32_t sum[MR][NR];
  s8_sums(m, k, a, panel, sum);
  const float *scale = (const float *)panel + NR;
  for (int32_t i = 0; i < m; i++) {
    uint32_t row = q->rows ? (uint32_t)q->rows[i] : 0;
    for (int32_t j = 0; j < n; j++)
      c[(size_t)i * c_stride + (size_t)j] = rlt_requantize((int32_t)(sum[i][j] + row), scale[j], q);
  }
}

static void s8_gemm_s32(int32_t m, int32_t n, int32_t k, const int8_t *const *a, const void *panel, int32_t *c,
                        size_t c_stride) {
  uint32_t sum[MR][NR];
  s8_sums(m, k, a, panel, sum);
  for (int32_t i = 0; i < m; i++)
    for (int32_t j = 0; j < n; j++) c[(size_t)i * c_stride + (size_t)j] = (int32_t)sum[i][j];
}

static void f32_depthwise(int32_t pixels, int32_t channels, int32_t taps, const float *const *tap, size_t tap_step,
                          size_t step, const float *packed, float *out, float lo, float hi) {
  for (int32_t p = 0; p < pixels; p++, tap += tap_step)
    for (int32_t c = 0; c < channels; c++) {
      const float *w = packed + (size_t)c * (size_t)(taps + 1);
      float sum = w[0];
      for (int32_t t = 0; t < taps; t++) sum += tap[t][(size_t)p * step + (size_t)c] * w[1 + t];
      out[(size_t)p * (size_t)channels + (size_t)c] = rlt_clamp_f32(sum, lo, hi);
    }
}

static void s8_depthwise(int32_t pixels, int32_t channels, int32_t taps, const int8_t *const *tap, size_t tap_step,
                         size_t step, const void *packed, int8_t *out, const rlt_requant *q) {
  size_t group = 2 * sizeof(int32_t) + 2 * sizeof(int16_t) * (size_t)((taps + 1) / 2);
  for (int32_t p = 0; p < pixels; p++, tap += tap_step)
    for (int32_t c = 0; c < channels; c++) {
      const char *g = (const char *)packed + (size_t)c * group;
      const int16_t *w = (const int16_t *)(const void *)(g + 2 * sizeof(int32_t));
      uint32_t sum = *(const uint32_t *)(const void *)g;
      for (int32_t t = 0; t < taps; t++) {
        int8_t x = tap[t][(size_t)p * step + (size_t)c];
        sum += (uint32_t)((q->is_unsigned ? (uint8_t)x : x) * w[t]);
      }
      float scale = *(const float *)(const void *)(g + sizeof(int32_t));
      out[(size_t)p * (size_t)channels + (size_t)c] = rlt_requantize((int32_t)sum, scale, q);
    }
}

const rlt_f32_gemm rlt_f32_gemm_4x4__scalar = {"rlt_f32_gemm_4x4__scalar", MR, NR, f32_gemm};
const rlt_s8_gemm rlt_s8_gemm_4x4__scalar = {"rlt_s8_gemm_4x4__scalar", MR, NR, 1, 0, s8_gemm, s8_gemm_s32};
const rlt_f32_depthwise rlt_f32_depthwise_1__scalar = {"rlt_f32_depthwise_1__scalar", 1, f32_depthwise};
const rlt_s8_depthwise rlt_s8_depthwise_1__scalar = {"rlt_s8_depthwise_1__scalar", 1, s8_depthwise};
