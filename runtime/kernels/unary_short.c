/* SPDX-License-Identifier: Apache-2.0
 * Elementwise operators of one INT16 quantized tensor, by the formulas of LiteRT's kernels (docs/numerics.md). */
#include "../simd/fixed16.h"
#include "unary.h"

/* 2^16 logistic(i / 24) as LiteRT has it, which is not always the nearest. */
static const uint16_t LOGISTIC_TABLE[256] = {
    32768, 33451, 34133, 34813, 35493, 36169, 36843, 37513, 38180, 38841, 39498, 40149, 40794, 41432, 42064, 42688,
    43304, 43912, 44511, 45102, 45683, 46255, 46817, 47369, 47911, 48443, 48964, 49475, 49975, 50464, 50942, 51409,
    51865, 52311, 52745, 53169, 53581, 53983, 54374, 54755, 55125, 55485, 55834, 56174, 56503, 56823, 57133, 57433,
    57724, 58007, 58280, 58544, 58800, 59048, 59288, 59519, 59743, 59959, 60168, 60370, 60565, 60753, 60935, 61110,
    61279, 61441, 61599, 61750, 61896, 62036, 62172, 62302, 62428, 62549, 62666, 62778, 62886, 62990, 63090, 63186,
    63279, 63368, 63454, 63536, 63615, 63691, 63765, 63835, 63903, 63968, 64030, 64090, 64148, 64204, 64257, 64308,
    64357, 64405, 64450, 64494, 64536, 64576, 64614, 64652, 64687, 64721, 64754, 64786, 64816, 64845, 64873, 64900,
    64926, 64950, 64974, 64997, 65019, 65039, 65060, 65079, 65097, 65115, 65132, 65149, 65164, 65179, 65194, 65208,
    65221, 65234, 65246, 65258, 65269, 65280, 65291, 65301, 65310, 65319, 65328, 65337, 65345, 65352, 65360, 65367,
    65374, 65381, 65387, 65393, 65399, 65404, 65410, 65415, 65420, 65425, 65429, 65433, 65438, 65442, 65445, 65449,
    65453, 65456, 65459, 65462, 65465, 65468, 65471, 65474, 65476, 65479, 65481, 65483, 65485, 65488, 65489, 65491,
    65493, 65495, 65497, 65498, 65500, 65501, 65503, 65504, 65505, 65507, 65508, 65509, 65510, 65511, 65512, 65513,
    65514, 65515, 65516, 65517, 65517, 65518, 65519, 65520, 65520, 65521, 65522, 65522, 65523, 65523, 65524, 65524,
    65525, 65525, 65526, 65526, 65526, 65527, 65527, 65528, 65528, 65528, 65529, 65529, 65529, 65529, 65530, 65530,
    65530, 65530, 65531, 65531, 65531, 65531, 65531, 65532, 65532, 65532, 65532, 65532, 65532, 65533, 65533, 65533,
    65533, 65533, 65533, 65533, 65533, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65535};

static int16_t fit(int64_t y, int32_t zero) {
  y += zero;
  return (int16_t)(y < INT16_MIN ? INT16_MIN : (y > INT16_MAX ? INT16_MAX : y));
}

/* ---- LOGISTIC and TANH: a table of 24 steps to 1, with lines between them ---- */

/* x in steps of 1/(24 * 512), and the value there with 25 bits. */
static int32_t table_logistic(const rlt_unary_short *k, int32_t x) {
  int32_t round = k->shift > 0 ? 1 << (k->shift - 1) : 0;
  int32_t at = (int32_t)(((int64_t)x * k->factor + round) >> k->shift);
  uint32_t size = (uint32_t)(at < 0 ? -(int64_t)at : at), step = size >> 9, y = 0x7fffu << 10;
  if (step < 255) {
    uint32_t low = LOGISTIC_TABLE[step], high = LOGISTIC_TABLE[step + 1];
    y = (low << 9) + (size & 511) * (high - low);
  }
  y = at >= 0 ? y + 512 : (1u << 25) - y + 511;
  return (int32_t)(y >> 10);
}

/* 2 logistic(2 x) - 1 */
static int32_t table_tanh(const rlt_unary_short *k, int32_t x) {
  int32_t round = k->shift > 0 ? 1 << (k->shift - 1) : 0;
  int32_t at = (int32_t)(((int64_t)x * k->factor + round) >> k->shift);
  uint32_t size = (uint32_t)(at < 0 ? -(int64_t)at : at), step = size >> 8;
  int32_t y = 0xffff << 8;
  if (step < 255) {
    int32_t low = LOGISTIC_TABLE[step], high = LOGISTIC_TABLE[step + 1];
    y = (low << 8) + (int32_t)(size & 255) * (high - low);
  }
  y = at >= 0 ? y - (1 << 23) + 128 : -y + (1 << 23) + 127;
  return y >> 8;
}

static rlt_status prepare_sigmoid(rlt_prep *p, const rlt_node *n, rlt_unary_short *k) {
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  bool is_tanh = n->def->op == RLT_OP_TANH;
  RLT_REQUIRE(p->err, rlt_zero_point(x, 0) == 0 && rlt_zero_point(y, 0) == 0 && rlt_scale(y, 0) == 1.0f / 32768,
              RLT_UNSUPPORTED, "%T and %T must have zero point 0, and the output scale 2^-15", x, y);
  float scale = rlt_scale(x, 0);
  k->factor = k->shift = 0;
  if (scale == 1.0f / 4096 || (is_tanh && scale == 1.0f / 2048)) { /* fixed point of 3 integer bits, or 4 */
    k->form = is_tanh ? RLT_SHORT_FIXED_TANH : RLT_SHORT_FIXED_LOGISTIC;
    k->shift = scale > 1.0f / 4096 ? 1 : 0;
    return RLT_OK;
  }
  double factor = (double)scale * 4096.0 * 3.0;
  RLT_REQUIRE(p->err, factor < 2147483647.0, RLT_UNSUPPORTED, "%T: its scale is too large", x);
  for (; factor <= 32767.0 / 2.0 && k->shift <= 30; k->shift++) factor *= 2.0;
  k->factor = (int32_t)factor;
  k->form = is_tanh ? RLT_SHORT_TABLE_TANH : RLT_SHORT_TABLE_LOGISTIC;
  return RLT_OK;
}

/* ---- functions by samples ---- */

static double real_exp(double x) { return rlt_exp64(x); }
static double real_log(double x) { return x > 0.0 ? rlt_log64(x) : -RLT_NO_VALUE; }
static double real_inverse_root(double x) { return x > 0.0 ? 1.0 / (double)rlt_sqrt((float)x) : RLT_NO_VALUE; }

/* In float32, as LiteRT takes these samples; erfc and tanh rounded once. */
static double real_gelu(double x) {
  float u = (float)x, from = u * -0.707106769f;
  float twice = (float)(2.0 * rlt_normal_below64((double)-from * 1.4142135623730951));
  return (double)(0.5f * u * twice);
}
static double real_gelu_by_tanh(double x) {
  float u = (float)x, inner = 1.12837923f * 0.707106769f * (u + 0.044715f * u * u * u);
  return (double)(0.5f * u * (1.0f + (float)rlt_tanh64((double)inner)));
}

static void fill_samples(const rlt_node *n, double (*function)(double), int16_t *samples) {
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  float x_scale = rlt_scale(x, 0), y_scale = rlt_scale(y, 0);
  int32_t x_zero = rlt_zero_point(x, 0), y_zero = rlt_zero_point(y, 0);
  rlt_sampled f = {.function = function, .single = true};
  f.least = x_scale * (float)(INT16_MIN - x_zero);
  f.most = x_scale * (float)(INT16_MAX - x_zero);
  f.y_least = y_scale * (float)(INT16_MIN - y_zero);
  f.y_most = y_scale * (float)(INT16_MAX - y_zero);
  rlt_fill_samples(&f, samples);
}

/* ---- one slope above zero, another below ---- */

/* 6.0 in the output's integers. */
static int32_t six_of(float scale, int32_t zero) {
  float steps = rlt_clamp_f32(6.0f / scale, 0.0f, 1e6f);
  return rlt_clamp_i32((int32_t)rlt_f64_round_away((double)steps) + zero, 0, INT16_MAX);
}

static void prepare_slopes(const rlt_node *n, float alpha, rlt_unary_short *k) {
  float x_scale = rlt_scale(n->in[0], 0), y_scale = rlt_scale(n->out[0], 0), ratio = x_scale / y_scale;
  float above = n->def->op == RLT_OP_NEG ? -ratio : ratio, below = 0.0f;
  if (n->def->op == RLT_OP_LEAKY_RELU) below = x_scale * alpha / y_scale;
  if (n->def->op == RLT_OP_ABS || n->def->op == RLT_OP_NEG) below = -ratio;
  k->form = RLT_SHORT_SLOPES;
  k->above = rlt_make_multiplier((double)ratio);
  k->below = rlt_make_multiplier((double)rlt_abs(below));
  k->above_negated = above < 0.0f;
  k->below_negated = below < 0.0f;
  k->hi = INT16_MAX;
  if (n->def->op == RLT_OP_RELU6) k->hi = six_of(y_scale, k->y_zero);
}

static int16_t slopes(const rlt_unary_short *k, int32_t x) {
  int64_t y = x >= 0 ? rlt_multiply(x, k->above) : rlt_multiply(x, k->below);
  if (x < 0 ? k->below_negated : k->above_negated) y = -y;
  int16_t fitted = fit(y, k->y_zero);
  return fitted > k->hi ? (int16_t)k->hi : fitted;
}

/* ---- */

rlt_status rlt_unary_prepare_short(rlt_prep *p, const rlt_node *n, float alpha, rlt_unary_short *k) {
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  RLT_TRY(rlt_require_quantized(p, x));
  RLT_TRY(rlt_require_quantized(p, y));
  k->x_zero = rlt_zero_point(x, 0);
  k->y_zero = rlt_zero_point(y, 0);
  k->form = RLT_SHORT_SAMPLES;
  switch (n->def->op) {
    case RLT_OP_LOGISTIC:
    case RLT_OP_TANH:
      return prepare_sigmoid(p, n, k);
    case RLT_OP_EXP:
      fill_samples(n, real_exp, k->samples);
      return RLT_OK;
    case RLT_OP_LOG:
      fill_samples(n, real_log, k->samples);
      return RLT_OK;
    case RLT_OP_RSQRT:
      fill_samples(n, real_inverse_root, k->samples);
      return RLT_OK;
    case RLT_OP_GELU:
      fill_samples(n, rlt_unary_gelu_by_tanh(n) ? real_gelu_by_tanh : real_gelu, k->samples);
      return RLT_OK;
    case RLT_OP_RELU:
    case RLT_OP_RELU6:
    case RLT_OP_LEAKY_RELU:
    case RLT_OP_ABS:
    case RLT_OP_NEG:
      prepare_slopes(n, alpha, k);
      return RLT_OK;
    default:
      return rlt_fail(p->err, RLT_UNSUPPORTED, "%T: this op has no kernel for INT16", x);
  }
}

void rlt_unary_run_short(const rlt_unary_short *k, const int16_t *x, int16_t *y, int64_t n) {
  switch (k->form) {
    case RLT_SHORT_FIXED_LOGISTIC:
      for (int64_t i = 0; i < n; i++) y[i] = (int16_t)rlt_fixed_logistic(x[i]);
      break;
    case RLT_SHORT_FIXED_TANH:
      for (int64_t i = 0; i < n; i++) y[i] = (int16_t)rlt_fixed_tanh(rlt_fixed_saturate(x[i] * (1 << k->shift)), 3);
      break;
    case RLT_SHORT_TABLE_LOGISTIC:
      for (int64_t i = 0; i < n; i++) y[i] = (int16_t)table_logistic(k, x[i]);
      break;
    case RLT_SHORT_TABLE_TANH:
      for (int64_t i = 0; i < n; i++) y[i] = (int16_t)table_tanh(k, x[i]);
      break;
    case RLT_SHORT_SAMPLES:
      for (int64_t i = 0; i < n; i++) y[i] = rlt_look_up_sample(k->samples, x[i]);
      break;
    default:
      for (int64_t i = 0; i < n; i++) y[i] = slopes(k, x[i] - k->x_zero);
      break;
  }
}
