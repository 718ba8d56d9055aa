/* SPDX-License-Identifier: Apache-2.0 */
#include "depthwise_fixed.h"
#include "weights.h"

#define BLOCK 64 /* channels summed together */

uint64_t rlt_depthwise_fixed_bytes(int32_t channels, int32_t taps) {
  return (uint64_t)channels * (sizeof(rlt_column) + (uint64_t)taps * sizeof(int16_t));
}

void rlt_depthwise_fixed_pack(const rlt_node *n, const rlt_depthwise_fixed *d, void *packed) {
  rlt_column *columns = packed;
  int16_t *rows = (int16_t *)(void *)(columns + d->channels);
  rlt_weights w = rlt_weights_of(n->in[1]);
  const rlt_tensor *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  for (int32_t c = 0; c < d->channels; c++) {
    rlt_fixed_column(n, d->fixed, c, &columns[c]);
    columns[c].base = rlt_bias_at(bias, c);
  }
  for (int32_t t = 0; t < d->taps; t++)
    for (int32_t c = 0; c < d->channels; c++) {
      size_t at = (size_t)t * (size_t)d->channels + (size_t)c;
      rows[at] = (int16_t)(rlt_weight_s8(w, at) - columns[c].weight_zero);
    }
}

#define ADD_TAP(name, type)                                                                                \
  static void name(const type *x, const int16_t *w, int32_t zero, int32_t count, int64_t *restrict sums) { \
    for (int32_t c = 0; c < count; c++) sums[c] += (x[c] - zero) * w[c];                                   \
  }
ADD_TAP(add_i8, int8_t)
ADD_TAP(add_u8, uint8_t)
ADD_TAP(add_i16, int16_t)

static void add_tap(const rlt_depthwise_fixed *d, const void *tap, size_t at, const int16_t *w, int32_t count,
                    int64_t *sums) {
  if (d->type == RLT_TYPE_INT16) add_i16((const int16_t *)tap + at, w, d->zero, count, sums);
  else if (d->type == RLT_TYPE_UINT8) add_u8((const uint8_t *)tap + at, w, d->zero, count, sums);
  else add_i8((const int8_t *)tap + at, w, d->zero, count, sums);
}

void rlt_depthwise_fixed_run(const rlt_depthwise_fixed *d, const void *packed, int32_t pixels, const void *const *tap,
                             size_t tap_step, size_t step, void *out) {
  const rlt_column *columns = packed;
  const int16_t *rows = (const int16_t *)(const void *)(columns + d->channels);
  size_t channels = (size_t)d->channels;
  bool is_wide = rlt_fixed_is_wide(d->fixed);
  size_t whole = d->type == RLT_TYPE_INT8 ? channels / 8 * 8 : channels; /* LiteRT's vectors and what is left */
  rlt_fixed tail = *d->fixed;
  tail.rounding = RLT_ROUND_AWAY;
  for (size_t c0 = 0; c0 < channels; c0 += BLOCK) {
    int32_t count = channels - c0 < BLOCK ? (int32_t)(channels - c0) : BLOCK;
    for (size_t p = 0; p < (size_t)pixels; p++) {
      int64_t sums[BLOCK] = {0};
      for (size_t t = 0; t < (size_t)d->taps; t++)
        add_tap(d, tap[p * tap_step + t], p * step + c0, rows + t * channels + c0, count, sums);
      for (int32_t c = 0; c < count; c++) {
        const rlt_column *column = &columns[c0 + (size_t)c];
        int64_t sum = sums[c] + column->base;
        if (!is_wide) sum = (int32_t)(uint32_t)sum;
        const rlt_fixed *fixed = c0 + (size_t)c < whole ? d->fixed : &tail;
        rlt_store_fixed(d->type, out, p * channels + c0 + (size_t)c, rlt_fixed_value(fixed, column, sum));
      }
    }
  }
}
