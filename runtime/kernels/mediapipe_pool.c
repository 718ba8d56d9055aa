/* SPDX-License-Identifier: Apache-2.0
 * MaxPoolingWithArgmax2D and MaxUnpooling2D: a maximum with its place in the window (row * width + column, as a float32
 * with 0.1 added), and values put back in such places. */
#include "mediapipe.h"
#include "window.h"

typedef struct argmax_data {
  rlt_window window; /* unpooling: of the output */
  float lo, hi;
} argmax_data;

/* Options: padding, stride_width, stride_height, filter_width, filter_height, activation. */
static rlt_status read_window(rlt_prep *p, const rlt_node *n, int32_t *padding, rlt_window *w) {
  RLT_TRY(rlt_options_padding(p, rlt_options_field(n, 0), padding));
  *w = (rlt_window){.stride_w = rlt_options_field(n, 1),
                    .stride_h = rlt_options_field(n, 2),
                    .kernel_w = rlt_options_field(n, 3),
                    .kernel_h = rlt_options_field(n, 4),
                    .dilation_h = 1,
                    .dilation_w = 1};
  RLT_REQUIRE(p->err, w->stride_w >= 1 && w->stride_h >= 1 && w->kernel_w >= 1 && w->kernel_h >= 1, RLT_BAD_MODEL,
              "its options: strides %d and %d, window %d x %d", w->stride_h, w->stride_w, w->kernel_h, w->kernel_w);
  RLT_REQUIRE(p->err, (int64_t)w->kernel_w * w->kernel_h < 1 << 20, RLT_UNSUPPORTED,
              "a window of %d x %d has places that float32 does not tell apart", w->kernel_h, w->kernel_w);
  return RLT_OK;
}

static rlt_status check_image(rlt_prep *p, const rlt_tensor *t) {
  RLT_TRY(rlt_check_type(p, t, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_REQUIRE(p->err, t->rank == 4, RLT_BAD_MODEL, "%T must have 4 dimensions (NHWC)", t);
  return RLT_OK;
}

/* ---- MaxPoolingWithArgmax2D ---- */

static rlt_status prepare_pool(rlt_prep *p, rlt_node *n) {
  argmax_data *k = n->data;
  rlt_window *w = &k->window;
  int32_t padding;
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 2));
  const rlt_tensor *x = n->in[0];
  RLT_TRY(check_image(p, x));
  for (int32_t i = 0; i < 2; i++) RLT_TRY(rlt_check_same_type(p, x, n->out[i]));
  RLT_TRY(read_window(p, n, &padding, w));
  w->in_h = x->dims[1];
  w->in_w = x->dims[2];
  RLT_TRY(rlt_window_resolve(p, padding, w));
  RLT_TRY(rlt_activation_f32(p, rlt_options_field(n, 5), &k->lo, &k->hi));
  const int32_t dims[4] = {x->dims[0], w->out_h, w->out_w, x->dims[3]};
  for (int32_t i = 0; i < 2; i++) RLT_TRY(rlt_set_shape(p, n->out[i], 4, dims));
  uint64_t taps = (uint64_t)(w->kernel_h < w->in_h ? w->kernel_h : w->in_h) *
                  (uint64_t)(w->kernel_w < w->in_w ? w->kernel_w : w->in_w);
  n->macs = taps > 0 && n->out[0]->count > UINT64_MAX / taps ? UINT64_MAX : n->out[0]->count * taps;
  n->tiles = rlt_unit_tiles((int64_t)x->dims[0] * w->out_h, (int64_t)w->out_w * x->dims[3]);
  return RLT_OK;
}

/* Takes one tap of all channels; the first of equal values stays, and NaN does. */
static void take_tap(const float *x, float *y, float *place, int64_t channels, float at, bool first) {
  for (int64_t c = 0; c < channels; c++) {
    bool better = first || x[c] > y[c] || (x[c] != x[c] && y[c] >= y[c]);
    y[c] = better ? x[c] : y[c];
    place[c] = better ? at : place[c];
  }
}

static rlt_status run_pool(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const argmax_data *k = n->data;
  const rlt_window *w = &k->window;
  int64_t channels = n->in[0]->dims[3], begin, end;
  if (n->out[0]->count == 0) return RLT_OK;
  rlt_part(n, (int64_t)n->in[0]->dims[0] * w->out_h, first, last, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    const float *image = (const float *)n->in[0]->data + row / w->out_h * w->in_h * w->in_w * channels;
    int32_t y0 = (int32_t)(row % w->out_h) * w->stride_h - w->pad_top, first_h, last_h, first_w, last_w;
    rlt_window_taps(y0, 1, w->kernel_h, w->in_h, &first_h, &last_h);
    for (int32_t column = 0; column < w->out_w; column++) {
      int32_t x0 = column * w->stride_w - w->pad_left;
      int64_t at = (row * w->out_w + column) * channels;
      float *y = (float *)n->out[0]->data + at, *place = (float *)n->out[1]->data + at;
      rlt_window_taps(x0, 1, w->kernel_w, w->in_w, &first_w, &last_w);
      for (int32_t h = first_h; h < last_h; h++)
        for (int32_t v = first_w; v < last_w; v++)
          take_tap(image + ((int64_t)(y0 + h) * w->in_w + x0 + v) * channels, y, place, channels,
                   (float)(h * w->kernel_w + v) + 0.1f, h == first_h && v == first_w);
      for (int64_t c = 0; c < channels; c++) y[c] = rlt_clamp_f32(y[c], k->lo, k->hi);
    }
  }
  return RLT_OK;
}

/* ---- MaxUnpooling2D ---- */

static rlt_status prepare_unpool(rlt_prep *p, rlt_node *n) {
  argmax_data *k = n->data;
  rlt_window *w = &k->window;
  int32_t padding;
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  const rlt_tensor *x = n->in[0], *places = n->in[1];
  RLT_TRY(check_image(p, x));
  RLT_TRY(check_image(p, places));
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  for (int32_t d = 0; d < 4; d++)
    RLT_REQUIRE(p->err, x->dims[d] == places->dims[d], RLT_BAD_MODEL, "%T and %T must have the same shape", x, places);
  RLT_TRY(read_window(p, n, &padding, w));
  int64_t height = (int64_t)x->dims[1] * w->kernel_h, width = (int64_t)x->dims[2] * w->kernel_w;
  RLT_REQUIRE(p->err,
              height <= INT32_MAX / 4 && width <= INT32_MAX / 4 && w->stride_h <= INT32_MAX / 4 / (x->dims[1] + 1) &&
                  w->stride_w <= INT32_MAX / 4 / (x->dims[2] + 1),
              RLT_BAD_MODEL, "%T is unpooled by too much", x);
  w->in_h = (int32_t)height;
  w->in_w = (int32_t)width;
  int32_t over_h = (x->dims[1] - 1) * w->stride_h + w->kernel_h - w->in_h;
  int32_t over_w = (x->dims[2] - 1) * w->stride_w + w->kernel_w - w->in_w;
  w->pad_top = over_h > 0 ? over_h / 2 : 0;
  w->pad_left = over_w > 0 ? over_w / 2 : 0;
  n->tiles = x->dims[0] > 0 ? x->dims[0] : 1; /* windows may overlap: within an image the last one wins */
  return rlt_set_shape(p, n->out[0], 4, (int32_t[]){x->dims[0], w->in_h, w->in_w, x->dims[3]});
}

static void unpool_image(const rlt_node *n, const rlt_window *w, int64_t image) {
  const rlt_tensor *in = n->in[0];
  int64_t height = in->dims[1], width = in->dims[2], channels = in->dims[3], size = height * width * channels;
  const float *x = (const float *)in->data + image * size, *places = (const float *)n->in[1]->data + image * size;
  uint64_t out_size = n->out[0]->count / (uint64_t)in->dims[0];
  float *y = (float *)n->out[0]->data + (uint64_t)image * out_size;
  const float end = (float)(w->kernel_h * w->kernel_w);
  __builtin_memset(y, 0, (size_t)out_size * sizeof(float));
  for (int64_t i = 0; i < size; i++) {
    if (!(places[i] >= 0.0f && places[i] < end)) continue;
    int32_t place = (int32_t)places[i];
    int64_t row = i / channels / width * w->stride_h - w->pad_top + place / w->kernel_w;
    int64_t column = i / channels % width * w->stride_w - w->pad_left + place % w->kernel_w;
    if (row >= 0 && row < w->in_h && column >= 0 && column < w->in_w)
      y[(row * w->in_w + column) * channels + i % channels] = x[i];
  }
}

static rlt_status run_unpool(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const argmax_data *k = n->data;
  if (n->out[0]->count == 0) return RLT_OK;
  for (int32_t image = first; image < last; image++) unpool_image(n, &k->window, image);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_max_pooling_with_argmax_2d = {
    "MaxPoolingWithArgmax2D", sizeof(argmax_data), 1, false, prepare_pool, NULL, run_pool};
const rlt_kernel rlt_kernel_max_unpooling_2d = {"MaxUnpooling2D", sizeof(argmax_data), 1, false, prepare_unpool, NULL,
                                                run_unpool};
