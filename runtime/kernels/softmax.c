/* SPDX-License-Identifier: Apache-2.0
 * SOFTMAX and LOG_SOFTMAX over the last dimension. */
#include "common.h"
#include "quantize_math.h"
#include "softmax_short.h"

typedef struct softmax_data {
  float beta;
  float in_scale, out_scale;
  int32_t out_zero;
  float table[256];             /* e^(-beta * scale * (255 - i)) */
  rlt_softmax_short short_ints; /* INT16 */
} softmax_data;

/* Rows together: the steps of one wait for each other. Exponentials of short ones are computed as one row. */
enum { ROWS = 16, ROWS_VALUES = 2048, SHORT_ROW = 64 };

static void softmax_f32(const rlt_loops *loops, const float *x, float *y, int64_t rows, int64_t n, float beta) {
  float most[ROWS], inverse[ROWS];
  const float infinity = __builtin_inff();
  int64_t group = ROWS_VALUES / n < 1 ? 1 : (ROWS_VALUES / n < ROWS ? ROWS_VALUES / n : ROWS);
  for (int64_t count; rows > 0; rows -= count, x += count * n, y += count * n) {
    count = rows < group ? rows : group;
    for (int64_t i = 0; i < count; i++) most[i] = loops->largest(x + i * n, n);
    for (int64_t i = 0; i < count; i++) {
      if (n < SHORT_ROW) loops->binary[RLT_LOOP_SUB](x + i * n, 1, &most[i], 0, y + i * n, n, -infinity, infinity);
      else loops->exp_of_difference(x + i * n, y + i * n, n, most[i], beta);
    }
    if (n < SHORT_ROW) loops->exp_of_difference(y, y, count * n, 0.0f, beta);
    for (int64_t i = 0; i < count; i++) inverse[i] = (float)(1.0 / loops->sum(y + i * n, n));
    for (int64_t i = 0; i < count; i++)
      loops->binary[RLT_LOOP_MUL](y + i * n, 1, &inverse[i], 0, y + i * n, n, 0.0f, 1.0f);
  }
}

static void log_softmax_f32(const rlt_loops *loops, const float *x, float *y, int64_t n) {
  float most = loops->largest(x, n);
  loops->exp_of_difference(x, y, n, most, 1.0f);
  float log_sum = (float)rlt_log64(loops->sum(y, n));
  for (int64_t i = 0; i < n; i++) y[i] = (x[i] - most) - log_sum;
}

/* Probabilities from a table of exponentials; the sum runs in order, in float32, as the peer's does. */
#define SOFTMAX_8(suffix, type, least, rounded)                                            \
  static void softmax_##suffix(const softmax_data *k, const type *x, type *y, int64_t n) { \
    int32_t most = x[0];                                                                   \
    for (int64_t i = 1; i < n; i++) most = x[i] > most ? x[i] : most;                      \
    float sum = 0.0f;                                                                      \
    for (int64_t i = 0; i < n; i++) sum += k->table[255 - most + x[i]];                    \
    float inverse = 1.0f / (sum * k->out_scale);                                           \
    for (int64_t i = 0; i < n; i++) {                                                      \
      float p = k->table[255 - most + x[i]] * inverse;                                     \
      p = p < 1e6f ? p : 1e6f;                                                             \
      y[i] = (type)rlt_clamp_i32((rounded), (least), (least) + 255);                       \
    }                                                                                      \
  }
SOFTMAX_8(i8, int8_t, INT8_MIN, (int32_t)rlt_f64_round_away((double)p) + k->out_zero)
SOFTMAX_8(u8, uint8_t, 0, (int32_t)(p + 0.5f) + k->out_zero)

/* (s x - (s max + log of the sum)) / s_y in float32, as the peer orders it; ties to even. */
#define LOG_SOFTMAX_8(suffix, type, least)                                                     \
  static void log_softmax_##suffix(const softmax_data *k, const type *x, type *y, int64_t n) { \
    int32_t most = x[0];                                                                       \
    for (int64_t i = 1; i < n; i++) most = x[i] > most ? x[i] : most;                          \
    float sum = 0.0f;                                                                          \
    for (int64_t i = 0; i < n; i++) sum += k->table[255 - most + x[i]];                        \
    float log_sum = (float)rlt_log64((double)sum), ratio = k->in_scale / k->out_scale;         \
    float offset = (k->in_scale * (float)most + log_sum) / k->out_scale;                       \
    for (int64_t i = 0; i < n; i++) {                                                          \
      float steps = rlt_clamp_f32(ratio * (float)x[i] - offset, -1e6f, 1e6f);                  \
      y[i] = (type)rlt_clamp_i32(rlt_f32_to_i32(steps) + k->out_zero, (least), (least) + 255); \
    }                                                                                          \
  }
LOG_SOFTMAX_8(i8, int8_t, INT8_MIN)
LOG_SOFTMAX_8(u8, uint8_t, 0)

static void fill_table(softmax_data *k, const rlt_tensor *x, const rlt_tensor *y) {
  float scale = -rlt_scale(x, 0) * k->beta;
  k->in_scale = rlt_scale(x, 0);
  k->out_scale = rlt_scale(y, 0);
  k->out_zero = rlt_zero_point(y, 0);
  for (int32_t v = 0; v < 256; v++) k->table[255 - v] = (float)rlt_exp64((double)(scale * (float)v));
}

static rlt_status prepare_common(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  RLT_REQUIRE(p->err, x->rank >= 1, RLT_BAD_MODEL, "%T has no dimension to normalize over", x);
  n->in_place = n->def->op == RLT_OP_SOFTMAX ? 0 : -1; /* LOG_SOFTMAX reads its input twice */
  n->tiles = rlt_unit_tiles(rlt_span(x, 0, x->rank - 1), x->dims[x->rank - 1]);
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

static rlt_status prepare_short(rlt_prep *p, const rlt_node *n, softmax_data *k) {
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  RLT_REQUIRE(p->err, rlt_zero_point(x, 0) == 0 && rlt_zero_point(y, 0) == 0 && rlt_scale(y, 0) == 1.0f / 32768,
              RLT_UNSUPPORTED, "%T and %T must have zero point 0, and the output scale 2^-15", x, y);
  rlt_softmax_short_fill(&k->short_ints, rlt_scale(x, 0), k->beta);
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(prepare_common(p, n));
  softmax_data *k = n->data;
  rlt_tensor *x = n->in[0], *y = n->out[0];
  bool logarithm = n->def->op == RLT_OP_LOG_SOFTMAX;
  k->beta = logarithm ? 1.0f : rlt_fb_f32(&n->def->options, RLT_SLOT_SoftmaxOptions_beta, 0.0f);
  RLT_REQUIRE(p->err, k->beta >= 0.0f && k->beta < 1e30f, RLT_UNSUPPORTED, "beta must be finite and not negative");
  const uint64_t types = RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8);
  if (logarithm) RLT_TRY(rlt_check_type(p, x, types, "FLOAT32, INT8 or UINT8"));
  else RLT_TRY(rlt_check_type(p, x, types | RLT_BIT(RLT_TYPE_INT16), "FLOAT32, INT8, UINT8 or INT16"));
  if (x->type == RLT_TYPE_FLOAT32) return RLT_OK;
  RLT_TRY(rlt_require_quantized(p, x));
  RLT_TRY(rlt_require_quantized(p, y));
  if (x->type == RLT_TYPE_INT16) return prepare_short(p, n, k);
  fill_table(k, x, y);
  return RLT_OK;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const softmax_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  void *y = n->out[0]->data;
  int64_t size = x->dims[x->rank - 1], begin, end;
  if (x->count == 0) return RLT_OK;
  rlt_part(n, rlt_span(x, 0, x->rank - 1), first, last, &begin, &end);
  bool logarithm = n->def->op == RLT_OP_LOG_SOFTMAX;
  if (!logarithm && x->type == RLT_TYPE_FLOAT32) {
    const float *from = (const float *)x->data + begin * size;
    softmax_f32(r->u->loops, from, (float *)y + begin * size, end - begin, size, k->beta);
    return RLT_OK;
  }
  for (int64_t at = begin * size; at < end * size; at += size) {
    if (logarithm && x->type == RLT_TYPE_INT8) {
      log_softmax_i8(k, (const int8_t *)x->data + at, (int8_t *)y + at, size);
    } else if (logarithm && x->type == RLT_TYPE_UINT8) {
      log_softmax_u8(k, (const uint8_t *)x->data + at, (uint8_t *)y + at, size);
    } else if (logarithm) {
      log_softmax_f32(r->u->loops, (const float *)x->data + at, (float *)y + at, size);
    } else if (x->type == RLT_TYPE_INT8) {
      softmax_i8(k, (const int8_t *)x->data + at, (int8_t *)y + at, size);
    } else if (x->type == RLT_TYPE_INT16) {
      rlt_softmax_short_row(&k->short_ints, (const int16_t *)x->data + at, (int16_t *)y + at, size);
    } else {
      softmax_u8(k, (const uint8_t *)x->data + at, (uint8_t *)y + at, size);
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_softmax = {"SOFTMAX", sizeof(softmax_data), 4, false, prepare, NULL, run};
const rlt_kernel rlt_kernel_log_softmax = {"LOG_SOFTMAX", sizeof(softmax_data), 2, false, prepare, NULL, run};
