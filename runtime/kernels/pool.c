/* SPDX-License-Identifier: Apache-2.0
 * MAX_POOL_2D, AVERAGE_POOL_2D and L2_POOL_2D over NHWC tensors. Padding takes no part: it is neither a maximum nor
 * counted in an average. */
#include "common.h"
#include "quantize_math.h"
#include "window.h"

typedef struct pool_data {
  rlt_window window;
  float lo, hi;
  int32_t q_lo, q_hi;
} pool_data;

/* ---- one output position: `taps` of `channels` values each ---- */

typedef struct pool_taps {
  int32_t first_h, last_h, first_w, last_w; /* in input rows and columns */
  int64_t row, column;                      /* elements between rows, and between columns */
  int64_t channels;
} pool_taps;

static int32_t tap_count(const pool_taps *t) { return (t->last_h - t->first_h) * (t->last_w - t->first_w); }

/* Takes every tap of elements of `bytes` bytes into `to`; from == 1: all but the first. */
static void take_taps(rlt_into_loop take, const uint8_t *x, uint64_t bytes, void *to, const pool_taps *t,
                      int32_t from) {
  for (int32_t h = t->first_h; h < t->last_h; h++) {
    for (int32_t w = t->first_w + from; w < t->last_w; w++)
      take(x + (uint64_t)(h * t->row + w * t->column) * bytes, to, t->channels);
    from = 0;
  }
}

static void max_i16(const void *from, void *to, int64_t n) {
  const int16_t *x = from;
  int16_t *y = to;
  for (int64_t i = 0; i < n; i++) y[i] = y[i] < x[i] ? x[i] : y[i];
}

static void add_i16_i32(const void *from, void *to, int64_t n) {
  const int16_t *x = from;
  int32_t *y = to;
  for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

#define MAX_POSITION(suffix, type, take, limited, clamped)                                                             \
  static void max_pool_##suffix(const rlt_run *r, const pool_data *k, const uint8_t *x, type *y, const pool_taps *t) { \
    (void)r;                                                                                                           \
    uint64_t first = (uint64_t)(t->first_h * t->row + t->first_w * t->column) * sizeof(type);                          \
    rlt_copy(y, x + first, (uint64_t)t->channels * sizeof(type));                                                      \
    take_taps(take, x, sizeof(type), y, t, 1);                                                                         \
    for (int64_t c = 0; (limited) && c < t->channels; c++) y[c] = (type)(clamped);                                     \
  }
#define LIMITED_REAL (k->lo > -__builtin_inff() || k->hi < __builtin_inff())
#define MAX_INTEGER(suffix, type, take, least, most) \
  MAX_POSITION(suffix, type, take, (k->q_lo > (least) || k->q_hi < (most)), rlt_clamp_i32(y[c], k->q_lo, k->q_hi))
MAX_POSITION(f32, float, r->u->loops->max_f32, LIMITED_REAL, rlt_clamp_f32(y[c], k->lo, k->hi))
MAX_INTEGER(i8, int8_t, r->u->loops->max_i8, INT8_MIN, INT8_MAX)
MAX_INTEGER(u8, uint8_t, r->u->loops->max_u8, 0, UINT8_MAX)
MAX_INTEGER(i16, int16_t, max_i16, INT16_MIN, INT16_MAX)

static void average_f32(const rlt_run *r, const pool_data *k, const uint8_t *x, float *y, const pool_taps *t) {
  float inverse = 1.0f / (float)tap_count(t);
  for (int64_t c = 0; c < t->channels; c++) y[c] = 0.0f;
  take_taps(r->u->loops->add_f32, x, sizeof(float), y, t, 0);
  r->u->loops->binary[RLT_LOOP_MUL](y, 1, &inverse, 0, y, t->channels, k->lo, k->hi);
}

static void add_square(const void *from, void *to, int64_t n) {
  const float *x = from;
  float *y = to;
  for (int64_t i = 0; i < n; i++) y[i] += x[i] * x[i];
}

/* The root of the mean of squares. */
static void l2_f32(const rlt_run *r, const pool_data *k, const uint8_t *x, float *y, const pool_taps *t) {
  (void)r;
  float count = (float)tap_count(t);
  for (int64_t c = 0; c < t->channels; c++) y[c] = 0.0f;
  take_taps(add_square, x, sizeof(float), y, t, 0);
  for (int64_t c = 0; c < t->channels; c++) y[c] = rlt_clamp_f32(rlt_sqrt(y[c] / count), k->lo, k->hi);
}

/* The quotient rounded to nearest, ties away from zero. */
static inline int32_t rounded_quotient(int32_t sum, int32_t count) {
  return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

#define AVERAGE_POSITION(suffix, type, take)                                                                          \
  static void average_##suffix(const rlt_run *r, const pool_data *k, const uint8_t *x, type *y, const pool_taps *t) { \
    int32_t count = tap_count(t), *sum = r->scratch;                                                                  \
    for (int64_t c = 0; c < t->channels; c++) sum[c] = 0;                                                             \
    take_taps(take, x, sizeof(type), sum, t, 0);                                                                      \
    for (int64_t c = 0; c < t->channels; c++)                                                                         \
      y[c] = (type)rlt_clamp_i32(rounded_quotient(sum[c], count), k->q_lo, k->q_hi);                                  \
  }
AVERAGE_POSITION(i8, int8_t, r->u->loops->add_i8_i32)
AVERAGE_POSITION(u8, uint8_t, r->u->loops->add_u8_i32)
AVERAGE_POSITION(i16, int16_t, add_i16_i32)

/* ---- prepare ---- */

/* Output shape, tiles, and the taps taken as the work that limits count. */
static rlt_status set_work(rlt_prep *p, rlt_node *n) {
  const rlt_window *w = &((const pool_data *)n->data)->window;
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_set_shape(p, n->out[0], 4, (int32_t[]){x->dims[0], w->out_h, w->out_w, x->dims[3]}));
  uint64_t taps = (uint64_t)(w->kernel_h < w->in_h ? w->kernel_h : w->in_h) *
                  (uint64_t)(w->kernel_w < w->in_w ? w->kernel_w : w->in_w);
  uint64_t count = n->out[0]->count;
  n->macs = taps > 0 && count > UINT64_MAX / taps ? UINT64_MAX : count * taps;
  int64_t rows = (int64_t)x->dims[0] * w->out_h;
  uint64_t row_work = rows > 0 ? n->macs / (uint64_t)rows : 0;
  n->tiles = rlt_unit_tiles(rows, row_work > RLT_TILE ? RLT_TILE : (int64_t)row_work);
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  pool_data *k = n->data;
  const rlt_table *o = &n->def->options;
  rlt_tensor *x = n->in[0], *y = n->out[0];
  RLT_TRY(rlt_check_type(
      p, x, RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8) | RLT_BIT(RLT_TYPE_INT16),
      "FLOAT32, INT8, UINT8 or INT16"));
  if (n->def->op == RLT_OP_L2_POOL_2D) RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
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
  bool sums = n->def->op == RLT_OP_AVERAGE_POOL_2D && x->type != RLT_TYPE_FLOAT32 && x->count > 0;
  n->scratch_bytes = sums ? (uint64_t)x->dims[3] * sizeof(int32_t) : 0;
  n->loop = p->u->loops->name;
  return set_work(p, n);
}

/* ---- run ---- */

static void position(const rlt_run *r, const rlt_node *n, int64_t image, int64_t at, const pool_taps *t) {
  const pool_data *k = n->data;
  const uint8_t *x = (const uint8_t *)n->in[0]->data + (uint64_t)image * rlt_type_bytes(n->in[0]->type);
  void *y = n->out[0]->data;
  bool max = n->def->op == RLT_OP_MAX_POOL_2D;
  switch (n->in[0]->type) {
    case RLT_TYPE_FLOAT32:
      (max ? max_pool_f32 : (n->def->op == RLT_OP_L2_POOL_2D ? l2_f32 : average_f32))(r, k, x, (float *)y + at, t);
      break;
    case RLT_TYPE_INT8:
      (max ? max_pool_i8 : average_i8)(r, k, x, (int8_t *)y + at, t);
      break;
    case RLT_TYPE_UINT8:
      (max ? max_pool_u8 : average_u8)(r, k, x, (uint8_t *)y + at, t);
      break;
    default:
      (max ? max_pool_i16 : average_i16)(r, k, x, (int16_t *)y + at, t);
      break;
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const rlt_window *w = &((const pool_data *)n->data)->window;
  int64_t channels = n->in[0]->dims[3], begin, end;
  pool_taps t = {.row = w->in_w * channels, .column = channels, .channels = channels};
  if (n->out[0]->count == 0) return RLT_OK; /* positions of no channels may be many */
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
const rlt_kernel rlt_kernel_l2_pool_2d = {"L2_POOL_2D", sizeof(pool_data), 1, false, prepare, NULL, run};
