/* SPDX-License-Identifier: Apache-2.0 */
#include "fixed_output.h"
#include "matrix.h"
#include "weights.h"

void rlt_fixed_column(const rlt_node *n, const rlt_fixed *f, int32_t channel, rlt_column *column) {
  const rlt_tensor *weights = n->in[1];
  float x_scale = rlt_scale(n->in[0], 0), y_scale = rlt_scale(n->out[0], 0);
  float scale = rlt_scale(weights, weights->def->quant.n > 1 ? channel : 0);
  double product = f->float_product ? (double)(x_scale * scale) : (double)x_scale * (double)scale;
  column->scale = rlt_requant_scale(n, channel);
  column->m = rlt_make_multiplier(product / (double)y_scale);
  column->weight_zero = rlt_weight_zero(weights, channel);
}

/* floor(x * m / 2^shift + 1/2) for m >= 0 and shift in [1, 62]; what saturates 16 bits anyway may come out smaller. */
static int32_t wide_product(int64_t x, int32_t m, int32_t shift) {
  int64_t half = (int64_t)1 << (shift - 1);
  if (shift < 32) return rlt_saturate_i32((rlt_clamp_i64(x, INT32_MAX) * m + half) >> shift);
  x = rlt_clamp_i64(x, (int64_t)1 << 61);
  int64_t high = (x >> 32) * m; /* x * m = high * 2^32 + low */
  uint64_t low = ((uint64_t)x & 0xffffffffu) * (uint64_t)m + (uint64_t)half;
  return rlt_saturate_i32((high + (int64_t)(low >> 32)) >> (shift - 32));
}

static int32_t requantized(const rlt_fixed *f, const rlt_column *c, int64_t sum) {
  switch (f->rounding) {
    case RLT_ROUND_EVEN:
      return rlt_round_clamped((float)(int32_t)sum * c->scale, -65536.0f, 65536.0f);
    case RLT_ROUND_AWAY:
      return rlt_multiply((int32_t)sum, c->m);
    case RLT_ROUND_TIES_UP:
      return rlt_multiply_ties_up((int32_t)sum, c->m);
    case RLT_ROUND_WIDE:
      return wide_product(sum, c->m.value, 31 - c->m.shift);
    default:
      return rlt_multiply_short(sum, c->m);
  }
}

int32_t rlt_fixed_value(const rlt_fixed *f, const rlt_column *c, int64_t sum) {
  int64_t y = (int64_t)requantized(f, c, sum) + f->zero;
  return y < f->lo ? f->lo : (y > f->hi ? f->hi : (int32_t)y);
}
