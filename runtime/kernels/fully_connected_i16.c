/* SPDX-License-Identifier: Apache-2.0 */
#include "fully_connected_i16.h"
#include "matrix.h"
#include "weights.h"

static rlt_status check_shuffled(rlt_prep *p, rlt_node *n, rlt_dense_i16 *d) {
  const rlt_tensor *x = n->in[0], *weights = n->in[1];
  rlt_tensor *spare = n->out[1];
  RLT_REQUIRE(p->err, rlt_zero_point(x, 0) == 128 && rlt_zero_point(weights, 0) == 128, RLT_UNSUPPORTED,
              "shuffled weights: %T and %T must have zero point 128", x, weights);
  RLT_REQUIRE(p->err, weights->def->quant.n == 1, RLT_UNSUPPORTED, "shuffled weights %T must have one scale", weights);
  RLT_REQUIRE(p->err, d->units % 4 == 0 && d->k % 16 == 0, RLT_BAD_MODEL,
              "shuffled weights %T: %d units must be a multiple of 4, %d values of 16", weights, d->units, d->k);
  RLT_TRY(rlt_check_type(p, spare, RLT_BIT(RLT_TYPE_UINT8), "UINT8"));
  return rlt_set_shape(p, spare, x->rank, x->dims);
}

static rlt_status check_types(rlt_prep *p, const rlt_node *n, const rlt_dense_i16 *d) {
  const rlt_tensor *x = n->in[0], *weights = n->in[1], *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  int32_t type = d->is_shuffled ? RLT_TYPE_UINT8 : RLT_TYPE_INT16;
  bool known = x->type == type && weights->type == type && n->out[0]->type == RLT_TYPE_INT16;
  RLT_REQUIRE(p->err, known, RLT_UNSUPPORTED, "%T with weights %T and output %T: wanted %t, %t and INT16 here", x,
              weights, n->out[0], type, type);
  if (!bias) return RLT_OK;
  uint64_t types = RLT_BIT(RLT_TYPE_INT32) | (d->is_shuffled ? 0 : RLT_BIT(RLT_TYPE_INT64));
  RLT_TRY(rlt_check_type(p, bias, types, d->is_shuffled ? "a bias of INT32" : "a bias of INT32 or INT64"));
  RLT_REQUIRE(p->err, bias->count == (uint64_t)d->units, RLT_BAD_MODEL, "bias %T must have %d values", bias, d->units);
  return RLT_OK;
}

static rlt_status check_scales(rlt_prep *p, const rlt_node *n, const rlt_dense_i16 *d) {
  const rlt_tensor *x = n->in[0], *weights = n->in[1], *y = n->out[0];
  const rlt_quant *q = &weights->def->quant;
  RLT_TRY(rlt_require_quantized(p, x));
  RLT_TRY(rlt_require_quantized(p, y));
  RLT_REQUIRE(p->err, q->n == 1 || (q->n == d->units && q->axis == 0), RLT_BAD_MODEL,
              "%T has %d scales along axis %d; wanted 1, or %d along axis 0", weights, q->n, q->axis, d->units);
  bool centred = rlt_zero_point(y, 0) == 0 && (d->is_shuffled || rlt_zero_point(x, 0) == 0);
  for (uint32_t i = 0; i < q->zeros.count && !d->is_shuffled; i++)
    centred = centred && rlt_zero_point(weights, (int32_t)i) == 0;
  RLT_REQUIRE(p->err, centred, RLT_UNSUPPORTED, "INT16 tensors must have zero point 0: %T, %T, %T", x, weights, y);
  for (int32_t i = 0; i < q->n; i++)
    RLT_REQUIRE(p->err, rlt_requant_scale(n, i) < 128.0f, RLT_UNSUPPORTED,
                "scales of %T, %T and %T give a factor of 128 or more", x, weights, y);
  return RLT_OK;
}

rlt_status rlt_dense_i16_prepare(rlt_prep *p, rlt_node *n, int32_t activation, rlt_dense_i16 *d) {
  RLT_TRY(check_types(p, n, d));
  RLT_TRY(check_scales(p, n, d));
  if (d->is_shuffled) RLT_TRY(check_shuffled(p, n, d));
  bool one_scale = n->in[1]->def->quant.n == 1;
  d->fixed = (rlt_fixed){d->is_shuffled ? RLT_ROUND_AWAY : RLT_ROUND_SHORT, 0, 0, 0, one_scale};
  RLT_TRY(rlt_activation_away(p, activation, n->out[0], &d->fixed.lo, &d->fixed.hi));
  n->packed_bytes = (uint64_t)d->units * sizeof(rlt_column);
  n->macs = rlt_saturating_product((uint64_t)d->rows * (uint64_t)d->units, (uint64_t)d->k);
  n->tiles = rlt_unit_tiles(d->rows, (int64_t)d->units * d->k / 16);
  return RLT_OK;
}

void rlt_dense_i16_pack(const rlt_node *n, const rlt_dense_i16 *d) {
  for (int32_t u = 0; u < d->units; u++) rlt_fixed_column(n, &d->fixed, u, (rlt_column *)n->packed + u);
}

/* Products of 16 values with every unit of a block of 4, which lie one after the other, 16 each. */
static void add_block(const uint8_t *x, const int8_t *w, uint32_t *sums) {
  for (int32_t i = 0; i < 4; i++)
    for (int32_t j = 0; j < 16; j++) sums[i] += (uint32_t)((x[j] - 128) * w[16 * i + j]);
}

static void shuffled_row(const rlt_node *n, const rlt_dense_i16 *d, const uint8_t *x, int16_t *y) {
  const int8_t *w = n->in[1]->data;
  const rlt_tensor *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  for (int32_t u = 0; u < d->units; u += 4) {
    uint32_t sums[4] = {0};
    for (int32_t k = 0; k < d->k; k += 16, w += 64) add_block(x + k, w, sums);
    for (int32_t i = 0; i < 4; i++) {
      int32_t sum = (int32_t)(sums[i] + (uint32_t)rlt_bias_at(bias, u + i));
      y[u + i] = (int16_t)rlt_fixed_value(&d->fixed, (const rlt_column *)n->packed + u + i, sum);
    }
  }
}

static void wide_row(const rlt_node *n, const rlt_dense_i16 *d, const int16_t *x, int16_t *y) {
  const int16_t *w = n->in[1]->data;
  const rlt_tensor *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  for (int32_t u = 0; u < d->units; u++, w += d->k) {
    int64_t sum = 0;
    for (int32_t k = 0; k < d->k; k++) sum += x[k] * w[k];
    sum = (int64_t)((uint64_t)sum + (uint64_t)rlt_bias_at(bias, u));
    y[u] = (int16_t)rlt_fixed_value(&d->fixed, (const rlt_column *)n->packed + u, sum);
  }
}

void rlt_dense_i16_run(const rlt_node *n, const rlt_dense_i16 *d, int32_t first, int32_t last) {
  int64_t begin, end;
  rlt_part(n, d->rows, first, last, &begin, &end);
  int16_t *out = n->out[0]->data;
  for (int64_t row = begin; row < end; row++) {
    if (d->is_shuffled) shuffled_row(n, d, (const uint8_t *)n->in[0]->data + row * d->k, out + row * d->units);
    else wide_row(n, d, (const int16_t *)n->in[0]->data + row * d->k, out + row * d->units);
  }
  if (d->is_shuffled && first == 0 && n->out[1]->bytes > 0)
    __builtin_memset(n->out[1]->data, 0, (size_t)n->out[1]->bytes); /* nobody is meant to read it */
}
