/* SPDX-License-Identifier: Apache-2.0
 * MAX_POOL_2D and AVERAGE_POOL_2D over NHWC tensors. Padding takes no part: it is neither a maximum nor counted in an
 * average. */
#include "common.h"
#include "quantize_math.h"
#include "window.h"

typedef struct pool_data {
  rlt_window window;
  float lo, hi;
  int32_t q_lo, q_hi;
} pool_data;

/* ---- one output position: `count` taps of `channels` values each, at x + tap[i] ---- */

typedef struct pool_taps {
  int32_t first_h, last_h, first_w, last_w; /* in input rows and columns */
  int64_t row, column;                      /* elements between rows, and between columns */
} pool_taps;

#define MAX_POSITION(suffix, type, least, greater, finish)                                                     \
  static void max_##suffix(const pool_data *k, const type *x, type *y, int64_t channels, const pool_taps *t) { \
    for (int64_t c = 0; c < channels; c++) y[c] = (least);                                                     \
    for (int32_t h = t->first_h; h < t->last_h; h++) {                                                         \
      for (int32_t w = t->first_w; w < t->last_w; w++) {                                                       \
        const type *row = x + h * t->row + w * t->column;                                                      \
        for (int64_t c = 0; c < channels; c++) y[c] = (greater) ? row[c] : y[c];                               \
      }                                                                                                        \
    }                                                                                                          \
    for (int64_t c = 0; c < channels; c++) y[c] = (type)(finish);                                              \
  }

#define LESS (y[c] < row[c])
MAX_POSITION(f32, float, -__builtin_inff(), LESS || row[c] != row[c], rlt_clamp_f32(y[c], k->lo, k->hi))
MAX_POSITION(i8, int8_t, INT8_MIN, LESS, rlt_clamp_i32(y[c], k->q_lo, k->q_hi))
MAX_POSITION(u8, uint8_t, 0, LESS, rlt_clamp_i32(y[c], k->q_lo, k->q_hi))
MAX_POSITION(i16, int16_t, INT16_MIN, LESS, rlt_clamp_i32(y[c], k->q_lo, k->q_hi))

static int32_t tap_count(const pool_taps *t) { return (t->last_h - t->first_h) * (t->last_w - t->first_w); }

static void average_f32(const pool_data *k, const float *x, float *y, int64_t channels, const pool_taps *t) {
  float inverse = 1.0f / (float)tap_count(t);
  for (int64_t c = 0; c < channels; c++) y[c] = 0.0f;
  for (int32_t h = t->first_h; h < t->last_h; h++) {
    for (int32_t w = t->first_w; w < t->last_w; w++) {
      const float *row = x + h * t->row + w * t->column;
      for (int64_t c = 0; c < channels; c++) y[c] += row[c];
    }
  }
  for (int64_t c = 0; c < channels; c++) y[c] = rlt_clamp_f32(y[c] * inverse, k->lo, k->hi);
}

/* The quotient rounded to nearest, ties away from zero. */
static inline int32_t rounded_quotient(int32_t sum, int32_t count) {
  return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

#define AVERAGE_POSITION(suffix, type)                                                                     \
  static void average_##suffix(const pool_data *k, const type *x, type *y, int64_t channels, int32_t *sum, \
                               const pool_taps *t) {                                                       \
    int32_t count = tap_count(t);                                                                          \
    for (int64_t c = 0; c < channels; c++) sum[c] = 0;                                                     \
    for (int32_t h = t->first_h; h < t->last_h; h++) {                                                     \
      for (int32_t w = t->first_w; w < t->last_w; w++) {                                                   \
        const type *row = x + h * t->row + w * t->column;                                                  \
        for (int64_t c = 0; c < channels; c++) sum[c] += row[c];                                           \
      }                                                                                                    \
    }                                                                                                      \
    for (int64_t c = 0; c < channels; c++)                                                                 \
      y[c] = (type)rlt_clamp_i32(rounded_quotient(sum[c], count), k->q_lo, k->q_hi);                       \
  }
AVERAGE_POSITION(i8, int8_t)
AVERAGE_POSITION(u8, uint8_t)
AVERAGE_POSITION(i16, int16_t)

/* ---- prepare ---- */

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  pool_data *k = n->data;
  const rlt_table *o = &n->def->options;
  rlt_tensor *x = n->in[0], *y = n->out[0];
  RLT_TRY(rlt_check_type(
      p, x, RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8) | RLT_BIT(RLT_TYPE_INT16),
      "FLOAT32, INT8, UINT8 or INT16"));
  RLT_TRY(rlt_check_same_type(p, x, y));
  RLT_REQUIRE(p->err, x->rank == 4, RLT_BAD_MODEL, "%T: pooling takes a tensor of 4 dimensions (NHWC)", x);
  k->window = (rlt_window){.in_h = x->dims[1],
                           .in_w = x->dims[2],
                           .kernel_h = rlt_fb_i32(o, RLT_SLOT_Pool2DOptions_filter_height, 0),
                           .kernel_w = rlt_fb_i32(o, RLT_SLOT_Pool2DOptions_filter_width, 0),
                           .stride_h = rlt_fb_i32(o, RLT_SLOT_Pool2DOptions_stride_h, 0),
                           .stride_w = rlt_fb_i32(o, RLT_SLOT_Pool2DOptions_stride_w, 0),
                           .dilation_h = 1,
                           .dilation_w = 1};
  RLT_TRY(rlt_window_resolve(p, rlt_fb_i8(o, RLT_SLOT_Pool2DOptions_padding, RLT_PADDING_SAME), &k->window));
  int32_t activation = rlt_fb_i8(o, RLT_SLOT_Pool2DOptions_fused_activation_function, RLT_ACT_NONE);
  if (x->type == RLT_TYPE_FLOAT32) {
    RLT_TRY(rlt_activation_f32(p, activation, &k->lo, &k->hi));
  } else {
    RLT_TRY(rlt_require_same_quantization(p, x, y));
    RLT_TRY(rlt_activation_quantized(p, activation, y, &k->q_lo, &k->q_hi));
    int64_t most = (int64_t)(k->window.kernel_h < x->dims[1] ? k->window.kernel_h : x->dims[1]) *
                   (k->window.kernel_w < x->dims[2] ? k->window.kernel_w : x->dims[2]);
    int64_t largest = x->type == RLT_TYPE_INT16 ? 65536 : 256;
    RLT_REQUIRE(p->err, most <= INT32_MAX / largest, RLT_UNSUPPORTED, "a window of %u values overflows the sum",
                (uint64_t)most);
  }
  n->scratch_bytes = n->def->op == RLT_OP_AVERAGE_POOL_2D ? (uint64_t)x->dims[3] * sizeof(int32_t) : 0;
  int64_t rows = (int64_t)x->dims[0] * k->window.out_h;
  n->tiles = rlt_unit_tiles(rows, (int64_t)k->window.out_w * x->dims[3] * k->window.kernel_h * k->window.kernel_w);
  return rlt_set_shape(p, y, 4, (int32_t[]){x->dims[0], k->window.out_h, k->window.out_w, x->dims[3]});
}

/* ---- run ---- */

static void position(const rlt_run *r, const rlt_node *n, int64_t image, int64_t at, const pool_taps *t) {
  const pool_data *k = n->data;
  const void *x = n->in[0]->data;
  void *y = n->out[0]->data;
  int64_t c = n->in[0]->dims[3];
  bool max = n->def->op == RLT_OP_MAX_POOL_2D;
  switch (n->in[0]->type) {
    case RLT_TYPE_FLOAT32:
      (max ? max_f32 : average_f32)(k, (const float *)x + image, (float *)y + at, c, t);
      break;
    case RLT_TYPE_INT8:
      if (max) max_i8(k, (const int8_t *)x + image, (int8_t *)y + at, c, t);
      if (!max) average_i8(k, (const int8_t *)x + image, (int8_t *)y + at, c, r->scratch, t);
      break;
    case RLT_TYPE_UINT8:
      if (max) max_u8(k, (const uint8_t *)x + image, (uint8_t *)y + at, c, t);
      if (!max) average_u8(k, (const uint8_t *)x + image, (uint8_t *)y + at, c, r->scratch, t);
      break;
    default:
      if (max) max_i16(k, (const int16_t *)x + image, (int16_t *)y + at, c, t);
      if (!max) average_i16(k, (const int16_t *)x + image, (int16_t *)y + at, c, r->scratch, t);
      break;
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const rlt_window *w = &((const pool_data *)n->data)->window;
  int64_t channels = n->in[0]->dims[3], begin, end;
  pool_taps t = {.row = w->in_w * channels, .column = channels};
  rlt_part(n, (int64_t)n->in[0]->dims[0] * w->out_h, first, last, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    int32_t origin_h = (int32_t)(row % w->out_h) * w->stride_h - w->pad_top;
    rlt_window_taps(origin_h, 1, w->kernel_h, w->in_h, &t.first_h, &t.last_h);
    t.first_h += origin_h;
    t.last_h += origin_h;
    for (int32_t column = 0; column < w->out_w; column++) {
      int32_t origin_w = column * w->stride_w - w->pad_left;
      rlt_window_taps(origin_w, 1, w->kernel_w, w->in_w, &t.first_w, &t.last_w);
      t.first_w += origin_w;
      t.last_w += origin_w;
      position(r, n, row / w->out_h * w->in_h * t.row, (row * w->out_w + column) * channels, &t);
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_max_pool_2d = {"MAX_POOL_2D", sizeof(pool_data), 3, false, prepare, NULL, run};
const rlt_kernel rlt_kernel_average_pool_2d = {"AVERAGE_POOL_2D", sizeof(pool_data), 3, false, prepare, NULL, run};
