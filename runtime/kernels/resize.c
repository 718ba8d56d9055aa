/* SPDX-License-Identifier: Apache-2.0
 * RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR over NHWC tensors.
 * Bilinear goes row by row: first between the two input rows, into sums, then between columns of the sums. Integers are
 * exact until the one rounding at the end, so the order makes no difference to them. */
#include "move.h"

typedef struct resize_data {
  bool align_corners, half_pixel_centers;
  int32_t in_h, in_w, out_h, out_w;
  bool few_columns; /* of the input are wanted: rows are not summed as a whole */
  uint64_t at_sums; /* in scratch, after the columns */
} resize_data;

#define MAX_SIZE (1 << 24) /* positions are float32 */

/* What LiteRT's own kernels compute, because XNNPACK does not take it. */
static bool is_plain(const rlt_tensor *x) {
  return x->type == RLT_TYPE_INT16 || (x->type != RLT_TYPE_FLOAT32 && x->def->quant.n == 0);
}

/* ---- prepare ---- */

static rlt_status read_size(rlt_prep *p, rlt_node *n) {
  const rlt_tensor *x = n->in[0], *size = n->in[1];
  rlt_tensor *y = n->out[0];
  int32_t values[2], count;
  RLT_TRY(rlt_check_type(p, size, RLT_BIT(RLT_TYPE_INT32), "INT32"));
  RLT_REQUIRE(p->err, size->count == 2, RLT_BAD_MODEL, "%T must hold height and width", size);
  RLT_TRY(rlt_const_ints(p, size, 2, values, &count));
  RLT_REQUIRE(p->err, values[0] > 0 && values[1] > 0, RLT_BAD_MODEL, "it resizes to %d x %d", values[0], values[1]);
  return rlt_set_shape(p, y, 4, (int32_t[]){x->dims[0], values[0], values[1], x->dims[3]});
}

static rlt_status prepare_any(rlt_prep *p, rlt_node *n, bool align_corners, bool half_pixel_centers) {
  resize_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_REQUIRE(p->err, x->rank == 4, RLT_BAD_MODEL, "%T: resizing takes a tensor of 4 dimensions (NHWC)", x);
  RLT_TRY(read_size(p, n));
  const rlt_tensor *y = n->out[0];
  RLT_REQUIRE(p->err, y->count == 0 || x->count > 0, RLT_BAD_MODEL, "%T has no pixels to make %T from", x, y);
  bool small = x->dims[1] < MAX_SIZE && x->dims[2] < MAX_SIZE && y->dims[1] < MAX_SIZE && y->dims[2] < MAX_SIZE;
  RLT_REQUIRE(p->err, small, RLT_UNSUPPORTED, "%T to %T: heights and widths must be below 2^24", x, y);
  *k = (resize_data){.align_corners = align_corners,
                     .half_pixel_centers = half_pixel_centers,
                     .in_h = x->dims[1],
                     .in_w = x->dims[2],
                     .out_h = y->dims[1],
                     .out_w = y->dims[2]};
  n->tiles = rlt_unit_tiles((int64_t)y->dims[0] * y->dims[1], (int64_t)y->dims[2] * y->dims[3]);
  return RLT_OK;
}

static rlt_status prepare_bilinear(rlt_prep *p, rlt_node *n) {
  resize_data *k = n->data;
  const rlt_table *o = &n->def->options;
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_type(
      p, x, RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8) | RLT_BIT(RLT_TYPE_INT16),
      "FLOAT32, INT8, UINT8 or INT16"));
  bool align = rlt_fb_bool(o, RLT_SLOT_ResizeBilinearOptions_align_corners, false);
  bool half = rlt_fb_bool(o, RLT_SLOT_ResizeBilinearOptions_half_pixel_centers, false);
  RLT_REQUIRE(p->err, !align || !half, RLT_BAD_MODEL, "align_corners and half_pixel_centers exclude each other");
  RLT_TRY(prepare_any(p, n, align, half));
  if (is_plain(x)) return RLT_OK;
  k->few_columns = k->in_w - k->in_w / 3 > k->out_w;
  k->at_sums = ((uint64_t)k->out_w * sizeof(rlt_place) + 63) & ~(uint64_t)63;
  n->scratch_bytes = k->at_sums + (k->few_columns ? 0 : (uint64_t)(k->in_w * (int64_t)x->dims[3]) * sizeof(float));
  n->loop = p->u->loops->name;
  return RLT_OK;
}

static rlt_status prepare_nearest(rlt_prep *p, rlt_node *n) {
  const rlt_table *o = &n->def->options;
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  bool align = rlt_fb_bool(o, RLT_SLOT_ResizeNearestNeighborOptions_align_corners, false);
  bool half = rlt_fb_bool(o, RLT_SLOT_ResizeNearestNeighborOptions_half_pixel_centers, false);
  return prepare_any(p, n, align, half);
}

/* ---- bilinear ---- */

/* Where output position i of `out` lies among `in` input ones: the two neighbours and the part between them. */
static void locate(const resize_data *k, int32_t i, int32_t in, int32_t out, int32_t *before, int32_t *after,
                   rlt_place *at) {
  int32_t less = k->align_corners && out > 1 ? 1 : 0;
  float scale = (float)(in - less) / (float)(out - less), position = (float)i * scale;
  if (k->half_pixel_centers) position = position + (0.5f * scale - 0.5f);
  position = rlt_clamp_f32(position, 0.0f, (float)(in - 1));
  *before = (int32_t)position;
  *after = *before + 1 < in ? *before + 1 : in - 1;
  at->part = position - (float)*before;
  at->part_q11 = rlt_f32_to_i32(at->part * 2048.0f);
}

static void place_columns(const rlt_node *n, rlt_place *columns) {
  const resize_data *k = n->data;
  for (int32_t i = 0; i < k->out_w; i++) {
    int32_t left, right;
    locate(k, i, k->in_w, k->out_w, &left, &right, &columns[i]);
    columns[i].first = (int64_t)left * n->in[0]->dims[3];
    columns[i].second = (int64_t)right * n->in[0]->dims[3];
  }
}

typedef struct loops {
  rlt_between_loop between;
  rlt_across_loop across;
  rlt_resize_loop resize;
} loops;

static loops loops_of(const rlt_loops *l, int32_t type) {
  if (type == RLT_TYPE_INT8) return (loops){l->between_i8, l->across_i8, l->resize_i8};
  if (type == RLT_TYPE_UINT8) return (loops){l->between_u8, l->across_u8, l->resize_u8};
  return (loops){l->between_f32, l->across_f32, l->resize_f32};
}

static void bilinear_rows(const rlt_run *r, const rlt_node *n, int64_t begin, int64_t end) {
  const resize_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  const loops l = loops_of(r->u->loops, x->type);
  rlt_place *columns = r->scratch;
  void *sums = (uint8_t *)r->scratch + k->at_sums;
  int64_t channels = x->dims[3], in_row = k->in_w * channels, out_row = k->out_w * channels;
  uint64_t bytes = rlt_type_bytes(x->type);
  place_columns(n, columns);
  for (int64_t row = begin; row < end; row++) {
    int32_t upper, lower;
    rlt_place place;
    locate(k, (int32_t)(row % k->out_h), k->in_h, k->out_h, &upper, &lower, &place);
    int64_t image = row / k->out_h * k->in_h;
    const uint8_t *a = (const uint8_t *)x->data + (uint64_t)((image + upper) * in_row) * bytes;
    const uint8_t *b = (const uint8_t *)x->data + (uint64_t)((image + lower) * in_row) * bytes;
    uint8_t *y = (uint8_t *)n->out[0]->data + (uint64_t)(row * out_row) * bytes;
    if (k->few_columns) {
      l.resize(a, b, in_row, &place, columns, k->out_w, channels, y);
    } else {
      l.between(a, b, sums, in_row, &place);
      l.across(sums, in_row, columns, k->out_w, channels, y);
    }
  }
}

/* ---- bilinear by LiteRT's own kernels: INT16, and bytes without a scale ---- */

/* Positions in multiples of 2^-10. */
static void locate_q10(const resize_data *k, int32_t i, int32_t in, int32_t out, int32_t *before, int32_t *after,
                       int64_t *part) {
  int64_t less = k->align_corners && out > 1 ? 1 : 0, wide = out - less;
  int64_t scale = (1024 * (in - less) + wide / 2) / wide, position = i * scale;
  if (k->half_pixel_centers) position += scale / 2 - 512;
  int64_t first = position > 0 ? position / 1024 : 0, second = (position + 1023) / 1024;
  *before = (int32_t)(first < in ? first : in - 1);
  *after = (int32_t)(second < in ? second : in - 1);
  *part = position - 1024 * (int64_t)*before;
}

/* UINT8: positions in float32. */
static void locate_f32(const resize_data *k, int32_t i, int32_t in, int32_t out, int32_t *before, int32_t *after,
                       float *part) {
  int32_t less = k->align_corners && out > 1 ? 1 : 0;
  float scale = (float)(in - less) / (float)(out - less);
  float position = k->half_pixel_centers ? ((float)i + 0.5f) * scale - 0.5f : (float)i * scale;
  int32_t first = (int32_t)rlt_floor(position), second = (int32_t)rlt_ceil(position);
  *before = rlt_clamp_i32(first, 0, in - 1);
  *after = rlt_clamp_i32(second, 0, in - 1);
  *part = position - (float)*before;
}

#define PLAIN_ROWS(suffix, type, part_type, locate_part, expression)                        \
  static void plain_rows_##suffix(const rlt_node *n, int64_t begin, int64_t end) {          \
    const resize_data *k = n->data;                                                         \
    int64_t channels = n->in[0]->dims[3], in_row = k->in_w * channels;                      \
    for (int64_t row = begin; row < end; row++) {                                           \
      const type *image = (const type *)n->in[0]->data + row / k->out_h * k->in_h * in_row; \
      type *y = (type *)n->out[0]->data + row * k->out_w * channels;                        \
      int32_t top, bottom, left, right;                                                     \
      part_type v, h;                                                                       \
      locate_part(k, (int32_t)(row % k->out_h), k->in_h, k->out_h, &top, &bottom, &v);      \
      const type *upper = image + top * in_row, *lower = image + bottom * in_row;           \
      for (int32_t i = 0; i < k->out_w; i++) {                                              \
        locate_part(k, i, k->in_w, k->out_w, &left, &right, &h);                            \
        for (int64_t c = 0; c < channels; c++) {                                            \
          const int64_t a = left * channels + c, b = right * channels + c;                  \
          *y++ = (type)(expression);                                                        \
        }                                                                                   \
      }                                                                                     \
    }                                                                                       \
  }
static inline int64_t rounded_q20(int64_t sum) { return (sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20); }
#define Q20 \
  rounded_q20((1024 - h) * (upper[a] * (1024 - v) + lower[a] * v) + h * (upper[b] * (1024 - v) + lower[b] * v))
PLAIN_ROWS(i16, int16_t, int64_t, locate_q10, Q20)
PLAIN_ROWS(i8, int8_t, int64_t, locate_q10, Q20)
PLAIN_ROWS(u8, uint8_t, float, locate_f32,
           (float)upper[a] * ((1.0f - v) * (1.0f - h)) + (float)upper[b] * ((1.0f - v) * h) +
               (float)lower[a] * (v * (1.0f - h)) + (float)lower[b] * (v * h) + 0.5f)

/* ---- nearest ---- */

static int32_t nearest(const rlt_node *n, int32_t i, int32_t in, int32_t out) {
  const resize_data *k = n->data;
  int64_t at;
  if (rlt_type_bytes(n->in[0]->type) == 1 && !k->align_corners && !k->half_pixel_centers) {
    at = i * (((int64_t)in << 16) / out + 1) >> 16;
  } else {
    int32_t less = k->align_corners && out > 1 ? 1 : 0;
    float scale = (float)(in - less) / (float)(out - less);
    float position = ((float)i + (k->half_pixel_centers ? 0.5f : 0.0f)) * scale;
    at = k->align_corners ? rlt_f64_round_away((double)position) : (int64_t)position;
  }
  return at < in ? (int32_t)at : in - 1;
}

static void nearest_rows(const rlt_node *n, int64_t begin, int64_t end) {
  const resize_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  uint64_t pixel = (uint64_t)x->dims[3] * rlt_type_bytes(x->type), out_row = (uint64_t)k->out_w * pixel;
  int64_t last = -1;
  for (int64_t row = begin; row < end; row++) {
    uint8_t *y = (uint8_t *)n->out[0]->data + (uint64_t)row * out_row;
    int64_t from = row / k->out_h * k->in_h + nearest(n, (int32_t)(row % k->out_h), k->in_h, k->out_h);
    if (from == last) { /* the row above, again */
      rlt_copy(y, y - out_row, out_row);
      continue;
    }
    last = from;
    const uint8_t *line = (const uint8_t *)x->data + (uint64_t)(from * k->in_w) * pixel;
    for (int32_t i = 0; i < k->out_w; i++, y += pixel)
      rlt_copy(y, line + (uint64_t)nearest(n, i, k->in_w, k->out_w) * pixel, pixel);
  }
}

/* ---- run ---- */

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const resize_data *k = n->data;
  int64_t begin, end;
  if (n->out[0]->count == 0) return RLT_OK;
  rlt_part(n, (int64_t)n->out[0]->dims[0] * k->out_h, first, last, &begin, &end);
  if (n->def->op == RLT_OP_RESIZE_NEAREST_NEIGHBOR) nearest_rows(n, begin, end);
  else if (!is_plain(n->in[0])) bilinear_rows(r, n, begin, end);
  else if (n->in[0]->type == RLT_TYPE_INT16) plain_rows_i16(n, begin, end);
  else if (n->in[0]->type == RLT_TYPE_INT8) plain_rows_i8(n, begin, end);
  else plain_rows_u8(n, begin, end);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_resize_bilinear = {
    "RESIZE_BILINEAR", sizeof(resize_data), 4, false, prepare_bilinear, NULL, run};
const rlt_kernel rlt_kernel_resize_nearest_neighbor = {
    "RESIZE_NEAREST_NEIGHBOR", sizeof(resize_data), 4, false, prepare_nearest, NULL, run};
