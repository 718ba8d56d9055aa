/* SPDX-License-Identifier: Apache-2.0
 * L2_NORMALIZATION and LOCAL_RESPONSE_NORMALIZATION: rows of the last dimension. */
#include "common.h"
#include "quantize_math.h"

static int64_t rows_of(const rlt_tensor *x) { return rlt_span(x, 0, x->rank - 1); }

/* ---- L2_NORMALIZATION ---- */

static rlt_status prepare_l2(rlt_prep *p, rlt_node *n) {
  const rlt_tensor *x = n->in[0];
  rlt_tensor *y = n->out[0];
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8),
                         "FLOAT32, INT8 or UINT8"));
  RLT_TRY(rlt_check_same_type(p, x, y));
  RLT_REQUIRE(p->err, x->rank >= 1, RLT_BAD_MODEL, "%T has no dimension to normalize", x);
  int32_t activation = rlt_fb_i8(&n->def->options, RLT_SLOT_L2NormOptions_fused_activation_function, RLT_ACT_NONE);
  RLT_REQUIRE(p->err, activation == RLT_ACT_NONE, RLT_UNSUPPORTED, "fused activation %d: make it a node of its own",
              activation);
  if (x->type != RLT_TYPE_FLOAT32) {
    RLT_TRY(rlt_require_quantized(p, x));
    RLT_TRY(rlt_require_quantized(p, y));
    int32_t zero = x->type == RLT_TYPE_UINT8 ? 128 : 0;
    bool fits = rlt_scale(y, 0) >= 0.0078125f && rlt_scale(y, 0) <= 0.0078125f && rlt_zero_point(y, 0) == zero;
    RLT_REQUIRE(p->err, fits, RLT_UNSUPPORTED, "%T must have scale 1/128 and zero point %d here", y, zero);
  }
  n->in_place = 0;
  n->loop = p->u->loops->name;
  n->tiles = rlt_unit_tiles(rows_of(x), x->dims[x->rank - 1]);
  return rlt_set_shape(p, y, x->rank, x->dims);
}

static void l2_row_f32(const rlt_loops *loops, const float *x, float *y, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
  float norm = rlt_sqrt((float)sum);
  norm = norm < 1e-6f ? 1e-6f : norm;
  const float infinity = __builtin_inff();
  loops->binary[RLT_LOOP_DIV](x, 1, &norm, 0, y, n, -infinity, infinity);
}

/* x * 2^bits, saturating. */
static int32_t shift_left(int32_t x, int32_t bits) {
  int64_t wide = (int64_t)x * ((int64_t)1 << bits);
  return wide > INT32_MAX ? INT32_MAX : (wide < INT32_MIN ? INT32_MIN : (int32_t)wide);
}

/* 1 / sqrt(sum) as LiteRT has it: five Newton steps from 1, on numbers of 3 integer bits. */
static rlt_multiplier inverse_root(int64_t sum) {
  if (sum <= 1) return (rlt_multiplier){INT32_MAX, 0};
  int32_t shift = 11;
  for (; sum >= 1 << 29; sum /= 4) shift++;
  int32_t pairs = (__builtin_clz((uint32_t)sum) - 1) / 2 - 1;
  shift -= pairs;
  int32_t input = (int32_t)(sum << (2 * pairs)) >> 1, half = rlt_rounding_shift(input, 1), x = 1 << 28;
  for (int32_t i = 0; i < 5; i++) {
    int32_t cube = shift_left(rlt_doubling_high_mul(rlt_doubling_high_mul(x, x), x), 6);
    int32_t step = rlt_doubling_high_mul((1 << 28) + (1 << 27), x) - rlt_doubling_high_mul(half, cube);
    x = shift_left(step, 3);
  }
  x = rlt_doubling_high_mul(x, 1518500250); /* sqrt(1/2) */
  return shift < 0 ? (rlt_multiplier){(int32_t)((uint32_t)x << -shift), 0} : (rlt_multiplier){x, -shift};
}

#define L2_ROW(suffix, type, factor, left, zero, least, most)                            \
  static void l2_row_##suffix(const type *x, type *y, int64_t n, int32_t in_zero) {      \
    int64_t sum = 0;                                                                     \
    for (int64_t i = 0; i < n; i++) sum += (int64_t)(x[i] - in_zero) * (x[i] - in_zero); \
    rlt_multiplier m = inverse_root(sum);                                                \
    m.shift += left;                                                                     \
    for (int64_t i = 0; i < n; i++) {                                                    \
      int32_t value = rlt_multiply((x[i] - in_zero) * (factor), m) + (zero);             \
      y[i] = (type)rlt_clamp_i32(value, least, most);                                    \
    }                                                                                    \
  }
L2_ROW(i8, int8_t, 1, 7, 0, INT8_MIN, INT8_MAX)
L2_ROW(u8, uint8_t, 128, 0, 128, 0, UINT8_MAX)

static rlt_status run_l2(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  int64_t width = x->dims[x->rank - 1], begin, end;
  if (x->count == 0) return RLT_OK;
  int32_t zero = x->type == RLT_TYPE_FLOAT32 ? 0 : rlt_zero_point(x, 0);
  rlt_part(n, rows_of(x), first, last, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    int64_t at = row * width;
    if (x->type == RLT_TYPE_FLOAT32) l2_row_f32(r->u->loops, (const float *)x->data + at, (float *)y->data + at, width);
    else if (x->type == RLT_TYPE_INT8) l2_row_i8((const int8_t *)x->data + at, (int8_t *)y->data + at, width, zero);
    else l2_row_u8((const uint8_t *)x->data + at, (uint8_t *)y->data + at, width, zero);
  }
  return RLT_OK;
}

/* ---- LOCAL_RESPONSE_NORMALIZATION ---- */

typedef struct lrn_data {
  int64_t radius;
  float bias, alpha, beta;
} lrn_data;

static rlt_status prepare_lrn(rlt_prep *p, rlt_node *n) {
  lrn_data *k = n->data;
  const rlt_table *o = &n->def->options;
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  RLT_REQUIRE(p->err, x->rank >= 1, RLT_BAD_MODEL, "%T has no dimension to normalize", x);
  int32_t radius = rlt_fb_i32(o, RLT_SLOT_LocalResponseNormalizationOptions_radius, 0);
  RLT_REQUIRE(p->err, radius >= 0, RLT_BAD_MODEL, "radius %d", radius);
  int64_t width = x->dims[x->rank - 1];
  k->radius = radius < width ? radius : width;
  k->bias = rlt_fb_f32(o, RLT_SLOT_LocalResponseNormalizationOptions_bias, 0.0f);
  k->alpha = rlt_fb_f32(o, RLT_SLOT_LocalResponseNormalizationOptions_alpha, 0.0f);
  k->beta = rlt_fb_f32(o, RLT_SLOT_LocalResponseNormalizationOptions_beta, 0.0f);
  uint64_t taps = (uint64_t)(2 * k->radius + 1 < width ? 2 * k->radius + 1 : width);
  n->macs = taps > 0 && x->count > UINT64_MAX / taps ? UINT64_MAX : x->count * taps;
  n->scratch_bytes = (uint64_t)width * sizeof(float);
  n->loop = p->u->loops->name;
  n->tiles = rlt_unit_tiles(rows_of(x), width * (int64_t)(taps < 16 ? taps : 16));
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

/* x * (bias + alpha * sum of squares)^-beta; the power by logarithm and exponential where it is an ordinary one. */
static void lrn_row(const rlt_loops *loops, const lrn_data *k, const float *x, float *squares, float *y, int64_t n) {
  const float infinity = __builtin_inff(), power = -k->beta;
  loops->unary[RLT_LOOP_SQUARE](x, squares, n, 0.0f);
  __builtin_memset(y, 0, (size_t)n * sizeof(float));
  for (int64_t d = -k->radius; d <= k->radius; d++) {
    int64_t first = d < 0 ? -d : 0, end = d > 0 ? n - d : n;
    if (first < end) loops->add_f32(squares + first + d, y + first, end - first);
  }
  loops->binary[RLT_LOOP_MUL](y, 1, &k->alpha, 0, y, n, -infinity, infinity);
  loops->binary[RLT_LOOP_ADD](y, 1, &k->bias, 0, y, n, -infinity, infinity);
  if (k->beta > 0.0f && loops->smallest(y, n) > 0.0f) {
    loops->unary[RLT_LOOP_LOG](y, y, n, 0.0f);
    loops->binary[RLT_LOOP_MUL](y, 1, &power, 0, y, n, -infinity, infinity);
    loops->unary[RLT_LOOP_EXP](y, y, n, 0.0f);
  } else {
    for (int64_t i = 0; i < n; i++) y[i] = rlt_pow(y[i], power);
  }
  loops->binary[RLT_LOOP_MUL](y, 1, x, 1, y, n, -infinity, infinity);
}

static rlt_status run_lrn(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const rlt_tensor *x = n->in[0];
  int64_t width = x->dims[x->rank - 1], begin, end;
  if (x->count == 0) return RLT_OK;
  rlt_part(n, rows_of(x), first, last, &begin, &end);
  for (int64_t row = begin; row < end; row++)
    lrn_row(r->u->loops, n->data, (const float *)x->data + row * width, r->scratch,
            (float *)n->out[0]->data + row * width, width);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_l2_normalization = {"L2_NORMALIZATION", 0, 2, false, prepare_l2, NULL, run_l2};
const rlt_kernel rlt_kernel_local_response_normalization = {
    "LOCAL_RESPONSE_NORMALIZATION", sizeof(lrn_data), 1, false, prepare_lrn, NULL, run_lrn};
