/* SPDX-License-Identifier: Apache-2.0 */
#include "batch_matmul.h"

/* 64-bit sum times the multiplier's first 16 bits, ties up. */
static int64_t scale_sum(int64_t sum, rlt_multiplier m) {
  int64_t reduced = m.value < 0x7fff0000 ? (m.value + (1 << 15)) >> 16 : 0x7fff;
  int32_t shift = 15 - m.shift;
  uint64_t rounded = (uint64_t)sum * (uint64_t)reduced + ((uint64_t)1 << (shift - 1));
  return (int64_t)rounded >> shift;
}

void rlt_batch_matmul_i16(const rlt_node *n, const rlt_batch_matmul *d, int32_t first, int32_t last) {
  bool narrow = n->in[1]->type == RLT_TYPE_INT8;
  int64_t begin, end, xi, yi, size_x = (int64_t)d->rows * d->depth, size_y = (int64_t)d->columns * d->depth;
  int64_t x_row = d->transposed_x ? 1 : d->depth, x_k = d->transposed_x ? d->rows : 1;
  int64_t y_column = d->transposed_y ? d->depth : 1, y_k = d->transposed_y ? 1 : d->columns;
  rlt_part(n, d->batches * d->rows, first, last, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    rlt_batch_operands(d, row / d->rows, &xi, &yi);
    const int16_t *x = (const int16_t *)n->in[0]->data + xi * size_x + row % d->rows * x_row;
    const int16_t *wide = (const int16_t *)n->in[1]->data + (narrow ? 0 : yi * size_y);
    const int8_t *bytes = (const int8_t *)n->in[1]->data + yi * size_y;
    int16_t *out = (int16_t *)n->out[0]->data + row * d->columns;
    for (int64_t j = 0; j < d->columns; j++) {
      int64_t sum = 0, at = j * y_column;
      for (int64_t k = 0; k < d->depth; k++, at += y_k) sum += x[k * x_k] * (narrow ? bytes[at] : wide[at]);
      int64_t value = scale_sum(sum, d->multiplier);
      out[j] = (int16_t)(value > INT16_MAX ? INT16_MAX : (value < INT16_MIN ? INT16_MIN : value));
    }
  }
}
