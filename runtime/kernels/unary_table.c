/* SPDX-License-Identifier: Apache-2.0
 * Tables of elementwise operators over 8-bit quantized tensors. Every entry is computed by the formula of LiteRT's
 * default x86-64 path (docs/numerics.md): that path differs from op to op. */
#include "unary.h"

typedef struct table_spec {
  float in_scale, out_scale, alpha;
  int32_t in_zero, out_zero;
  int32_t lo, hi; /* of the type */
  bool by_tanh;   /* GELU */
} table_spec;

/* ---- functions of a real number, by float64 and rounded once ---- */

static float real_logistic(float x) { return (float)rlt_logistic64((double)x); }
static float real_tanh(float x) { return (float)rlt_tanh64((double)x); }
static float real_exp(float x) { return (float)rlt_exp64((double)x); }
/* What has no logarithm becomes the least value. */
static float real_log(float x) { return x > 0.0f ? (float)rlt_log64((double)x) : -1e30f; }
static float real_elu(float x) {
  if (x >= 0.0f) return x;
  double v = (double)x;
  return (float)(v > -1e-3 ? v + v * v * (0.5 + v * (1.0 / 6 + v * (1.0 / 24))) : rlt_exp64(v) - 1.0);
}

/* The next two round as LiteRT's float32 arithmetic does. */
static float real_gelu(float x) {
  float z = x * -0.70710678f;
  return 0.5f * x * (float)(2.0 * rlt_normal_below64(-(double)z * 1.4142135623730951));
}
static float real_gelu_by_tanh(float x) {
  float u = 0.797884560802865f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + (float)rlt_tanh64((double)u));
}

/* ---- forms ---- */

/* (q - zero) * scale, the function, then round(y * (1 / scale) + zero). */
static int32_t through_real(const table_spec *s, int32_t q, float (*function)(float)) {
  float x = ((float)q - (float)s->in_zero) * s->in_scale;
  return rlt_quantize_f32(function(x), 1.0f / s->out_scale, s->out_zero, s->lo, s->hi);
}

/* The same with the zero point added after rounding, ties away from zero. */
static int32_t through_lut(const table_spec *s, int32_t q, float (*function)(float)) {
  float x = s->in_scale * (float)(q - s->in_zero);
  float y = function(x) * (1.0f / s->out_scale);
  if (y != y) y = 0.0f;
  y = rlt_clamp_f32(y, -1e6f, 1e6f);
  int32_t rounded = (int32_t)rlt_f64_round_away((double)y);
  return rlt_clamp_i32(rounded + s->out_zero, s->lo, s->hi);
}

/* A bound of an activation in the output's integers, ties away from zero. */
static int32_t bound(const table_spec *s, float real) {
  double steps = (double)(real / s->out_scale);
  int64_t q = s->out_zero + (steps > 1e6 ? 1000000 : (steps < -1e6 ? -1000000 : rlt_f64_round_away(steps)));
  return q < s->lo ? s->lo : (q > s->hi ? s->hi : (int32_t)q);
}

/* Fixed-point rescaling, then a clamp to the quantized bounds of the activation. */
static int32_t rescaled_relu(const table_spec *s, int32_t q, float lo, float hi) {
  rlt_multiplier m = rlt_make_multiplier((double)(s->in_scale / s->out_scale));
  int64_t y = (int64_t)s->out_zero + rlt_multiply(q - s->in_zero, m);
  int32_t least = bound(s, lo), most = bound(s, hi);
  y = y < least ? least : y;
  return (int32_t)(y > most ? most : y);
}

/* Two slopes as 8-bit fractions where they fit, else by fixed-point multiplication. */
static int32_t leaky_relu(const table_spec *s, int32_t q) {
  float positive = s->in_scale / s->out_scale;
  float negative = positive * s->alpha;
  int32_t x = q - s->in_zero;
  bool fits = positive >= 1.0f / 256 && positive <= 128.0f && negative >= -127.99609375f && negative <= 128.0f &&
              rlt_abs(negative) >= 1.0f / 256 && rlt_abs(s->alpha) >= 1.17549435e-38f;
  if (fits) {
    int32_t slope = rlt_f32_to_i32(256.0f * (x >= 0 ? positive : negative));
    return rlt_clamp_i32((s->out_zero * 256 + 128 + x * slope) >> 8, s->lo, s->hi);
  }
  double slope = x >= 0 ? (double)positive : (double)(s->in_scale * s->alpha / s->out_scale);
  int32_t y = rlt_multiply(x, rlt_make_multiplier(slope < 0 ? -slope : slope));
  int64_t out = (int64_t)s->out_zero + (slope < 0 ? -(int64_t)y : y);
  return out < s->lo ? s->lo : (out > s->hi ? s->hi : (int32_t)out);
}

static int32_t absolute(const table_spec *s, int32_t q) {
  int32_t x = q < s->in_zero ? s->in_zero - q : q - s->in_zero;
  int64_t y = s->in_scale < s->out_scale || s->in_scale > s->out_scale
                  ? rlt_multiply(x, rlt_make_multiplier((double)(s->in_scale / s->out_scale)))
                  : x;
  y += s->out_zero;
  return y < s->lo ? s->lo : (y > s->hi ? s->hi : (int32_t)y);
}

/* ---- roots: what has none gives the extreme that LiteRT refuses to compute ---- */

/* a * b of two numbers with 28 fraction bits, the product having `shift` bits too few. */
static int32_t fixed_product(int32_t a, int32_t b, int32_t shift) {
  int64_t wide = (int64_t)rlt_doubling_high_mul(a, b) * ((int64_t)1 << shift);
  return wide > INT32_MAX ? INT32_MAX : (wide < INT32_MIN ? INT32_MIN : (int32_t)wide);
}

/* 1 / sqrt(x) of an integer x >= 1: five Newton steps from 1 on x in [1/4, 1) of 28 fraction bits. */
static rlt_multiplier inverse_root_of(int32_t x) {
  if (x <= 1) return (rlt_multiplier){INT32_MAX, 0};
  int32_t pairs = (__builtin_clz((uint32_t)x) - 1) / 2 - 1;
  int32_t input = (x << (2 * pairs)) >> 1, y = 1 << 28;
  int32_t half_input = rlt_rounding_shift(input, 1);
  for (int32_t i = 0; i < 5; i++) {
    int32_t cube = fixed_product(rlt_doubling_high_mul(y, y), y, 6);
    int64_t next = (int64_t)rlt_doubling_high_mul((1 << 28) + (1 << 27), y) - rlt_doubling_high_mul(half_input, cube);
    y = (int32_t)(next * 8);
  }
  return (rlt_multiplier){rlt_doubling_high_mul(y, 1518500250), pairs - 11}; /* sqrt(1/2) */
}

static int32_t inverse_root(const table_spec *s, int32_t q) {
  int32_t x = q - s->in_zero;
  if (x <= 0) return s->hi;
  rlt_multiplier root = inverse_root_of(x);
  rlt_multiplier out = rlt_make_multiplier(1.0 / (double)(rlt_sqrt(s->in_scale) * s->out_scale));
  root.shift += 20;
  out.shift -= 20;
  int64_t y = out.shift < -31 ? 0 : rlt_multiply(rlt_multiply(1, root), out);
  y += s->out_zero;
  return y < s->lo ? s->lo : (y > s->hi ? s->hi : (int32_t)y);
}

static int32_t root(const table_spec *s, int32_t q) {
  float x = s->in_scale * (float)(q - s->in_zero);
  if (x < 0.0f) return s->lo;
  float y = rlt_clamp_f32(rlt_sqrt(x) / s->out_scale, 0.0f, 1e6f);
  return rlt_clamp_i32((int32_t)y + s->out_zero, s->lo, s->hi);
}

/* ---- hard swish: 16-bit fixed point ---- */

static int32_t saturate_i16(int64_t x) { return x < INT16_MIN ? INT16_MIN : (x > INT16_MAX ? INT16_MAX : (int32_t)x); }

/* round(a * b / 2^15), ties up, as SQRDMULH does. */
static int32_t rounding_high_mul_i16(int32_t a, int32_t b) {
  int32_t product = a * b;
  int32_t nudge = product >= 0 ? (1 << 14) : 1 - (1 << 14);
  return saturate_i16((product + nudge) / (1 << 15));
}

static int32_t halve_multiplier(int32_t value) {
  return value >= INT32_MAX - (1 << 15) ? INT16_MAX : (value + (1 << 15)) >> 16;
}

static int32_t hard_swish(const table_spec *s, int32_t q) {
  float fine_scale = (1.0f / 128.0f) * s->in_scale;
  rlt_multiplier out = rlt_make_multiplier((double)(fine_scale / s->out_scale));
  rlt_multiplier relu = rlt_make_multiplier((double)(fine_scale / (3.0f / 32768.0f)));
  int32_t fine = (q - s->in_zero) * 128;
  int32_t value = rounding_high_mul_i16(fine, halve_multiplier(out.value));
  int32_t gate = fine; /* x rescaled so that 3.0 is 32768, saturating only where that is the answer */
  if (relu.shift > 0) gate = saturate_i16((int64_t)gate * ((int64_t)1 << (relu.shift - 1)));
  gate = rounding_high_mul_i16(gate, halve_multiplier(relu.value));
  if (relu.shift > 0) gate = saturate_i16((int64_t)gate * 2);
  if (relu.shift < 0) gate = rlt_rounding_shift(gate, -relu.shift);
  gate = (gate + (1 << 15)) >> 1; /* [-1, 1] to [0, 1] */
  int32_t y = saturate_i16((int64_t)gate * value / (1 << 15));
  y = rlt_rounding_shift(y, -out.shift) + s->out_zero;
  return rlt_clamp_i32(y, s->lo, s->hi);
}

static int32_t negative(const table_spec *s, int32_t q) {
  int32_t x = rlt_multiply(q - s->in_zero, rlt_make_multiplier((double)(s->in_scale / s->out_scale)));
  int64_t y = (int64_t)s->out_zero - x;
  return y < s->lo ? s->lo : (y > s->hi ? s->hi : (int32_t)y);
}

static int32_t entry(int32_t op, const table_spec *s, int32_t q) {
  switch (op) {
    case RLT_OP_RELU:
      return rescaled_relu(s, q, 0.0f, 1e38f);
    case RLT_OP_RELU6:
      return rescaled_relu(s, q, 0.0f, 6.0f);
    case RLT_OP_RELU_N1_TO_1:
      return rescaled_relu(s, q, -1.0f, 1.0f);
    case RLT_OP_RELU_0_TO_1:
      return rescaled_relu(s, q, 0.0f, 1.0f);
    case RLT_OP_LEAKY_RELU:
      return leaky_relu(s, q);
    case RLT_OP_ELU:
      return through_real(s, q, real_elu);
    case RLT_OP_LOGISTIC:
      return through_real(s, q, real_logistic);
    case RLT_OP_TANH:
      return through_real(s, q, real_tanh);
    case RLT_OP_EXP:
      return through_lut(s, q, real_exp);
    case RLT_OP_LOG:
      return through_lut(s, q, real_log);
    case RLT_OP_ABS:
      return absolute(s, q);
    case RLT_OP_NEG:
      return negative(s, q);
    case RLT_OP_GELU:
      return through_lut(s, q, s->by_tanh ? real_gelu_by_tanh : real_gelu);
    case RLT_OP_RSQRT:
      return inverse_root(s, q);
    case RLT_OP_SQRT:
      return root(s, q);
    default:
      return hard_swish(s, q);
  }
}

static bool has_entry(int32_t op) {
  switch (op) {
    case RLT_OP_RELU:
    case RLT_OP_RELU6:
    case RLT_OP_RELU_N1_TO_1:
    case RLT_OP_RELU_0_TO_1:
    case RLT_OP_LEAKY_RELU:
    case RLT_OP_ELU:
    case RLT_OP_LOGISTIC:
    case RLT_OP_TANH:
    case RLT_OP_EXP:
    case RLT_OP_LOG:
    case RLT_OP_ABS:
    case RLT_OP_NEG:
    case RLT_OP_GELU:
    case RLT_OP_RSQRT:
    case RLT_OP_SQRT:
    case RLT_OP_HARD_SWISH:
      return true;
    default:
      return false;
  }
}

rlt_status rlt_unary_fill_table(rlt_prep *p, const rlt_node *n, float alpha, uint8_t *table) {
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  bool eight_bits = x->type == RLT_TYPE_INT8 || x->type == RLT_TYPE_UINT8;
  RLT_REQUIRE(p->err, eight_bits && has_entry(n->def->op), RLT_UNSUPPORTED, "%T: this op has no kernel for %t", x,
              x->type);
  RLT_TRY(rlt_require_quantized(p, x));
  RLT_TRY(rlt_require_quantized(p, y));
  table_spec s = {rlt_scale(x, 0),
                  rlt_scale(y, 0),
                  alpha,
                  rlt_zero_point(x, 0),
                  rlt_zero_point(y, 0),
                  rlt_type_min(x->type),
                  rlt_type_max(x->type),
                  n->def->op == RLT_OP_GELU && rlt_unary_gelu_by_tanh(n)};
  RLT_REQUIRE(p->err, n->def->op != RLT_OP_HARD_SWISH || s.in_scale / s.out_scale < 128.0f, RLT_UNSUPPORTED,
              "%T: the output's scale is more than 128 times finer than the input's", x);
  for (int32_t q = s.lo; q <= s.hi; q++) table[(uint8_t)q] = (uint8_t)entry(n->def->op, &s, q);
  return RLT_OK;
}
