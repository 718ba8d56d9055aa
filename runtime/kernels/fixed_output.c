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

static int64_t clamp_i64(int64_t x, int64_t bound) { return x < -bound ? -bound : (x > bound ? bound : x); }

static int32_t to_i32(int64_t x) { return x < INT32_MIN ? INT32_MIN : (x > INT32_MAX ? INT32_MAX : (int32_t)x); }

/* floor(x * m / 2^shift + 1/2) for m >= 0 and shift in [1, 62]; what saturates 16 bits anyway may come out smaller. */
static int32_t wide_product(int64_t x, int32_t m, int32_t shift) {
  int64_t half = (int64_t)1 << (shift - 1);
  if (shift < 32) return to_i32((clamp_i64(x, INT32_MAX) * m + half) >> shift);
  x = clamp_i64(x, (int64_t)1 << 61);
  int64_t high = (x >> 32) * m; /* x * m = high * 2^32 + low */
  uint64_t low = ((uint64_t)x & 0xffffffffu) * (uint64_t)m + (uint64_t)half;
  return to_i32((high + (int64_t)(low >> 32)) >> (shift - 32));
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
    default: {
      int32_t reduced = c->m.value < 0x7fff0000 ? (c->m.value + (1 << 15)) >> 16 : 0x7fff;
      int32_t shift = 15 - c->m.shift;
      return shift < 1 ? to_i32(clamp_i64(sum, INT32_MAX) * reduced)
                       : to_i32((clamp_i64(sum, (int64_t)1 << 47) * reduced + ((int64_t)1 << (shift - 1))) >> shift);
    }
  }
}

int32_t rlt_fixed_value(const rlt_fixed *f, const rlt_column *c, int64_t sum) {
  int64_t y = (int64_t)requantized(f, c, sum) + f->zero;
  return y < f->lo ? f->lo : (y > f->hi ? f->hi : (int32_t)y);
}
