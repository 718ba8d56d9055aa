/* SPDX-License-Identifier: Apache-2.0 */
#include "quantize_math.h"

rlt_multiplier rlt_make_multiplier(double real) {
  rlt_multiplier m = {0, 0};
  uint64_t bits = rlt_f64_bits(real);
  int32_t exponent = (int32_t)(bits >> 52) - 1022; /* real = fraction * 2^exponent, fraction in [1/2, 1) */
  if (!(real > 0.0) || exponent < -31) return m;
  double fraction = rlt_bits_f64((bits & 0x000fffffffffffffu) | 0x3fe0000000000000u);
  int64_t q = rlt_f64_round_away(fraction * 2147483648.0);
  if (q == (int64_t)1 << 31) {
    q /= 2;
    exponent++;
  }
  if (exponent > 30) {
    q = INT32_MAX;
    exponent = 30;
  }
  m.value = (int32_t)q;
  m.shift = exponent;
  return m;
}

rlt_status rlt_require_quantized(rlt_prep *p, const rlt_tensor *t) {
  RLT_REQUIRE(p->err, t->def->quant.n > 0, RLT_BAD_MODEL, "%T has no quantization parameters, and this op needs them",
              t);
  RLT_REQUIRE(p->err, t->def->quant.n == 1, RLT_UNSUPPORTED,
              "%T has %d scales; this op takes one scale for the whole tensor", t, t->def->quant.n);
  return RLT_OK;
}

bool rlt_same_quantization(const rlt_tensor *a, const rlt_tensor *b) {
  const rlt_quant *qa = &a->def->quant, *qb = &b->def->quant;
  if (qa->n != qb->n) return false;
  for (int32_t i = 0; i < qa->n; i++) {
    if (rlt_f32_bits(rlt_scale(a, i)) != rlt_f32_bits(rlt_scale(b, i))) return false;
    if (rlt_zero_point(a, i) != rlt_zero_point(b, i)) return false;
  }
  return true;
}

/* Scales of one value that went through different arithmetic differ in their last bits. */
static bool nearly_same(const rlt_tensor *a, const rlt_tensor *b) {
  if (a->def->quant.n != 1 || b->def->quant.n != 1) return rlt_same_quantization(a, b);
  float difference = rlt_abs(rlt_scale(a, 0) - rlt_scale(b, 0));
  return difference <= 1e-6f * rlt_scale(a, 0) && rlt_zero_point(a, 0) == rlt_zero_point(b, 0);
}

rlt_status rlt_require_same_quantization(rlt_prep *p, const rlt_tensor *a, const rlt_tensor *b) {
  if (a->def->quant.n == 0 || b->def->quant.n == 0) return RLT_OK; /* plain integers */
  RLT_REQUIRE(p->err, nearly_same(a, b), RLT_BAD_MODEL,
              "%T and %T must have the same scale and zero point; requantize one of them first", a, b);
  return RLT_OK;
}
