/* SPDX-License-Identifier: Apache-2.0
 * Which types, scales and bias a product of matrix.h takes, and how its output is rounded. */
#include "common.h"
#include "matrix.h"
#include "quantize_math.h"

static rlt_status check_weight_scales(rlt_prep *p, const rlt_tensor *weights, int32_t axis, int32_t channels) {
  const rlt_quant *q = &weights->def->quant;
  RLT_REQUIRE(p->err, q->n == 1 || (q->n == channels && q->axis == axis), RLT_BAD_MODEL,
              "%T has %d scales along axis %d; wanted 1, or %d along axis %d", weights, q->n, q->axis, channels, axis);
  for (int32_t i = 0; i < q->n && q->zeros.count; i++) {
    int32_t zero = rlt_zero_point(weights, q->zeros.count == 1 ? 0 : i);
    RLT_REQUIRE(p->err, zero == 0 || weights->type == RLT_TYPE_UINT8, RLT_UNSUPPORTED,
                "weights %T have zero point %d; only symmetric weights (0) are supported", weights, zero);
  }
  return RLT_OK;
}

static rlt_status check_requant_scales(rlt_prep *p, const rlt_node *n) {
  for (int32_t i = 0; i < n->in[1]->def->quant.n; i++) {
    float scale = rlt_requant_scale(n, i);
    RLT_REQUIRE(p->err, scale > 0.0f && scale < 3.0e38f, RLT_BAD_MODEL,
                "scales of %T, %T and %T give no finite factor for output channel %d", n->in[0], n->in[1], n->out[0],
                i);
  }
  return RLT_OK;
}

/* `any`: INT64 does for INT32, which its low bits are then taken as. */
static rlt_status check_bias(rlt_prep *p, const rlt_node *n, int32_t type, bool any, int32_t channels) {
  const rlt_tensor *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  if (!bias) return RLT_OK;
  RLT_REQUIRE(p->err, bias->type == type || (any && bias->type == RLT_TYPE_INT64), RLT_UNSUPPORTED,
              "bias %T must be %t here", bias, type);
  RLT_REQUIRE(p->err, bias->count == (uint64_t)channels, RLT_BAD_MODEL, "bias %T must have %d values", bias, channels);
  return RLT_OK;
}

float rlt_requant_scale(const rlt_node *n, int32_t channel) {
  const rlt_tensor *weights = n->in[1];
  float scale = rlt_scale(weights, weights->def->quant.n > 1 ? channel : 0);
  return rlt_scale(n->in[0], 0) * scale / rlt_scale(n->out[0], 0);
}

static rlt_status check_integers(rlt_prep *p, const rlt_node *n, int32_t axis, int32_t channels) {
  RLT_TRY(check_weight_scales(p, n->in[1], axis, channels));
  RLT_TRY(rlt_require_quantized(p, n->in[0]));
  RLT_TRY(rlt_require_quantized(p, n->out[0]));
  return check_requant_scales(p, n);
}

static rlt_status check_int8(rlt_prep *p, const rlt_node *n, int32_t channels, int32_t activation, bool any_bias,
                             rlt_weighted *w) {
  w->family = RLT_FAMILY_INT8;
  w->q.zero = rlt_zero_point(n->out[0], 0);
  RLT_TRY(rlt_activation_quantized(p, activation, n->out[0], &w->q.lo, &w->q.hi));
  return check_bias(p, n, RLT_TYPE_INT32, any_bias, channels);
}

static rlt_status check_fixed(rlt_prep *p, const rlt_node *n, int32_t channels, int32_t activation, bool any_bias,
                              rlt_weighted *w) {
  const rlt_tensor *bias = n->def->n_inputs > 2 ? n->in[2] : NULL, *out = n->out[0];
  bool even = w->fixed.rounding == RLT_ROUND_EVEN, is_wide = rlt_fixed_is_wide(&w->fixed);
  w->family = RLT_FAMILY_FIXED;
  w->fixed.zero = rlt_zero_point(out, 0);
  if (n->in[0]->type == RLT_TYPE_INT16) {
    RLT_REQUIRE(p->err, rlt_zero_point(n->in[0], 0) == 0 && w->fixed.zero == 0, RLT_UNSUPPORTED,
                "%T and %T must have zero point 0", n->in[0], out);
  }
  for (int32_t i = 0; i < n->in[1]->def->quant.n; i++) {
    RLT_REQUIRE(p->err, even || rlt_requant_scale(n, i) < 128.0f, RLT_UNSUPPORTED,
                "scales of %T, %T and %T give a factor of 128 or more", n->in[0], n->in[1], out);
  }
  if (even) RLT_TRY(rlt_activation_quantized(p, activation, out, &w->fixed.lo, &w->fixed.hi));
  else RLT_TRY(rlt_activation_away(p, activation, out, &w->fixed.lo, &w->fixed.hi));
  return check_bias(p, n, bias && is_wide ? RLT_TYPE_INT64 : RLT_TYPE_INT32, any_bias, channels);
}

/* XNNPACK wants weights and bias in the file: where they are computed LiteRT's own kernel takes them. */
static bool is_computed(const rlt_tensor *weights, const rlt_tensor *bias) {
  return !weights->def->data || (bias && !bias->def->data);
}

bool rlt_is_xnnpack_dense(const rlt_tensor *weights) {
  int32_t row = weights->dims[weights->rank - 1];
  if (weights->type == RLT_TYPE_INT2) return row % 4 == 0 && weights->def->quant.n > 1;
  return weights->type != RLT_TYPE_INT4 || row % 2 == 0;
}

rlt_status rlt_check_product(rlt_prep *p, const rlt_node *n, int32_t axis, int32_t channels, int32_t activation,
                             const rlt_roundings *roundings, rlt_weighted *w) {
  const rlt_tensor *x = n->in[0], *weights = n->in[1], *out = n->out[0];
  const rlt_tensor *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  int32_t a = x->type, b = weights->type;
  bool is_signed = b == RLT_TYPE_INT8 || b == RLT_TYPE_INT4 || b == RLT_TYPE_INT2;
  RLT_REQUIRE(p->err, a == out->type, RLT_UNSUPPORTED, "%T and %T must have the same type", x, out);
  w->fixed = (rlt_fixed){RLT_ROUND_EVEN, 0, 0, 0, false};
  if (a == RLT_TYPE_FLOAT32 && (b == RLT_TYPE_FLOAT32 || b == RLT_TYPE_FLOAT16)) {
    w->family = RLT_FAMILY_FLOAT;
  } else if (a == RLT_TYPE_FLOAT32 && is_signed) {
    w->family = RLT_FAMILY_HYBRID;
    RLT_TRY(check_weight_scales(p, weights, axis, channels));
  } else if ((a == RLT_TYPE_INT8 && is_signed) || (a == RLT_TYPE_UINT8 && b == a) ||
             (a == RLT_TYPE_INT16 && is_signed)) {
    RLT_TRY(check_integers(p, n, axis, channels));
    bool is_packed = b == RLT_TYPE_INT4 || b == RLT_TYPE_INT2;
    if (a == RLT_TYPE_INT8 && is_packed)
      w->fixed.rounding = rlt_is_xnnpack_dense(weights) ? roundings->int4 : RLT_ROUND_TIES_UP;
    if (a != RLT_TYPE_INT16 && is_computed(weights, bias)) w->fixed.rounding = RLT_ROUND_TIES_UP;
    if (a == RLT_TYPE_INT8 && w->fixed.rounding == RLT_ROUND_EVEN)
      return check_int8(p, n, channels, activation, roundings->is_dense, w);
    bool is_narrow = bias ? bias->type == RLT_TYPE_INT32 : roundings->is_dense;
    if (a == RLT_TYPE_INT16) w->fixed.rounding = is_narrow ? RLT_ROUND_TIES_UP : roundings->wide;
    if (a == RLT_TYPE_INT16 && is_narrow && weights->def->quant.n == 1) w->fixed.float_product = roundings->is_dense;
    return check_fixed(p, n, channels, activation, roundings->is_dense && a != RLT_TYPE_INT16, w);
  } else {
    return rlt_fail(p->err, RLT_UNSUPPORTED,
                    "%T with weights %T: supported are FLOAT32 with FLOAT32, FLOAT16, INT8, INT4 or INT2 weights, INT8 "
                    "and INT16 with INT8, INT4 or INT2, and UINT8 with UINT8",
                    x, weights);
  }
  RLT_TRY(rlt_activation_f32(p, activation, &w->lo, &w->hi));
  return check_bias(p, n, RLT_TYPE_FLOAT32, false, channels);
}

rlt_status rlt_check_depth(rlt_prep *p, const rlt_node *n, int32_t k) {
  RLT_REQUIRE(p->err, n->in[0]->type != RLT_TYPE_INT16 || k <= 1 << 16, RLT_UNSUPPORTED,
              "%T: an output is the sum of %d products; up to 65536 of INT16 are supported", n->in[0], k);
  return RLT_OK;
}
