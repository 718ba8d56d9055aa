/* SPDX-License-Identifier: Apache-2.0 */
#include "softmax_short.h"

static double exponential(double x) { return rlt_exp64(x); }
static double reciprocal(double x) { return 1.0 / (1.0 + x); }

void rlt_softmax_short_fill(rlt_softmax_short *k, float scale, float beta) {
  const float unit = 2.0f / 65535.0f, y_least = unit * -32768.0f, y_most = unit * 32767.0f;
  k->to_steps = rlt_make_multiplier((double)scale * (double)beta / (10.0 / 65535.0));
  rlt_sampled e = {exponential, 10.0f / 65535.0f * -65535.0f, 0.0f, y_least, y_most, false};
  rlt_sampled r = {reciprocal, 0.0f, 1.0f, y_least, y_most, false};
  rlt_fill_samples(&e, k->exponentials);
  rlt_fill_samples(&r, k->reciprocals);
}

static int32_t clamp_i16(int32_t x) { return x < INT16_MIN ? INT16_MIN : (x > INT16_MAX ? INT16_MAX : x); }

void rlt_softmax_short_row(const rlt_softmax_short *k, const int16_t *x, int16_t *y, int64_t n) {
  int32_t most = x[0];
  int64_t total = 0;
  for (int64_t i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
  for (int64_t i = 0; i < n; i++) {
    int64_t step = (int64_t)rlt_multiply(x[i] - most, k->to_steps) + 32767;
    y[i] = rlt_look_up_sample(k->exponentials, step < INT16_MIN ? INT16_MIN : (int32_t)step);
    total += y[i];
  }
  uint32_t sum = (uint32_t)total; /* 15 fraction bits; wraps beyond 65536 values of 1 */
  if (sum == 0) return;
  int32_t zeros = __builtin_clz(sum), shift = 31 - zeros;
  int64_t raised = zeros > 0 ? (int64_t)sum << (zeros - 1) : (int64_t)(sum >> 1);
  int32_t over_one = (int32_t)((raised + (1 << 13)) >> 14) - (1 << 15) - (1 << 16);
  int64_t inverse = rlt_look_up_sample(k->reciprocals, clamp_i16(over_one));
  for (int64_t i = 0; i < n; i++) {
    int64_t p = shift > 0 ? (y[i] * inverse + ((int64_t)1 << (shift - 1))) >> shift : y[i] * inverse;
    y[i] = (int16_t)(p < 0 ? 0 : (p > INT16_MAX ? INT16_MAX : p));
  }
}
