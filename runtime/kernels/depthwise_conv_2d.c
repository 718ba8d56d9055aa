/* SPDX-License-Identifier: Apache-2.0
 * DEPTHWISE_CONV_2D: every input channel has `multiplier` windows [1, height, width, channels * multiplier] of its own.
 * The loop is given a pointer per tap; taps in the padding point to a row of zeros kept with the packed weights. Pixels
 * whose windows lie wholly within the input share the pointers of the first one and move along; others have lists.
 * With INT8 weights and float activations (HYBRID) the weights become floats as they are packed, and every image passes
 * through int8 and back before the float loop sees it: LiteRT's result to rounding.
 * UINT8 runs INT8's loop, which widens bytes of either kind to 16 bits. */
#include "common.h"
#include "depthwise_fixed.h"
#include "matrix.h"
#include "quantize_math.h"
#include "weights.h"
#include "window.h"

/* A tile has about this many multiply-accumulates. */
#define TILE_MACS 65536
/* Pixels of one list. They pass through a group of channels together, so the weights are read from memory once. */
#define LIST_PIXELS 64
/* Rows of no more pixels than this go by lists altogether: most of their windows touch the padding. */
#define LIST_WIDTH 16
/* A tile of such lists has so many pixels at least. */
#define TILE_PIXELS 4

typedef struct depthwise_data {
  rlt_weighted w;
  rlt_depthwise_fixed fixed; /* FIXED */
  rlt_window window;
  int32_t channels, multiplier; /* of the input; output channels for each of them */
  int32_t taps;
  int32_t rows;                      /* output rows over all images */
  int64_t units, units_per_tile;     /* rows, where all goes by lists pixels */
  int32_t inner_from, inner_to;      /* output columns whose windows lie wholly within the width */
  uint64_t group_bytes, at_zeros;    /* packed: groups of channels, then a row of zeros */
  uint64_t pack_bytes;               /* at the start of scratch where pack_at_run */
  uint64_t at_pointers, at_expanded; /* in scratch */
  uint64_t at_image;                 /* HYBRID: in scratch, one image as the loop sees it */
  bool pack_at_run;
} depthwise_data;

static uint64_t align64(uint64_t x) { return (x + 63) & ~(uint64_t)63; }
static bool is_int8(const depthwise_data *d) { return d->w.family == RLT_FAMILY_INT8 || d->w.q.is_unsigned; }
static bool is_fixed(const depthwise_data *d) { return d->w.family == RLT_FAMILY_FIXED && !d->w.q.is_unsigned; }
static size_t element(const depthwise_data *d) {
  return is_fixed(d) ? rlt_type_bytes(d->fixed.type) : (is_int8(d) ? 1 : sizeof(float));
}

static const rlt_roundings ROUNDINGS = {RLT_ROUND_TIES_UP, RLT_ROUND_SHORT, false};

static rlt_status read_window(rlt_prep *p, const rlt_node *n, rlt_window *w) {
  const rlt_table *o = &n->def->options;
  const rlt_tensor *x = n->in[0], *weights = n->in[1];
  *w = (rlt_window){.in_h = x->dims[1],
                    .in_w = x->dims[2],
                    .kernel_h = weights->dims[1],
                    .kernel_w = weights->dims[2],
                    .stride_h = rlt_fb_i32(o, RLT_SLOT_DepthwiseConv2DOptions_stride_h, 0),
                    .stride_w = rlt_fb_i32(o, RLT_SLOT_DepthwiseConv2DOptions_stride_w, 0),
                    .dilation_h = rlt_fb_i32(o, RLT_SLOT_DepthwiseConv2DOptions_dilation_h_factor, 1),
                    .dilation_w = rlt_fb_i32(o, RLT_SLOT_DepthwiseConv2DOptions_dilation_w_factor, 1)};
  return rlt_window_resolve(p, rlt_fb_i8(o, RLT_SLOT_DepthwiseConv2DOptions_padding, RLT_PADDING_SAME), w);
}

static bool is_listed(const depthwise_data *d) { return d->window.out_w <= LIST_WIDTH; }

/* Into tiles of rows, or of pixels. */
static void cut(rlt_node *n, depthwise_data *d, uint64_t unit_macs) {
  bool listed = is_listed(d);
  d->units = (int64_t)d->rows * (listed ? d->window.out_w : 1);
  int64_t each = unit_macs > 0 && unit_macs < TILE_MACS ? (int64_t)(TILE_MACS / unit_macs) : 1, most = INT32_MAX;
  if (listed && each < TILE_PIXELS) each = TILE_PIXELS;
  d->units_per_tile = each > d->units / most ? each : d->units / most + 1;
  n->tiles = d->pack_at_run || d->units == 0 ? 1 : (int32_t)((d->units - 1) / d->units_per_tile + 1);
}

static void plan(const rlt_prep *p, rlt_node *n, depthwise_data *d) {
  const rlt_window *w = &d->window;
  uint64_t outputs = (uint64_t)d->channels * (uint64_t)d->multiplier, taps = (uint64_t)d->taps;
  uint64_t cr = (uint64_t)(is_int8(d) ? p->u->s8_depthwise->cr : p->u->f32_depthwise->cr);
  d->group_bytes = is_int8(d) ? cr * (2 * sizeof(int32_t) + 2 * sizeof(int16_t) * ((taps + 1) / 2))
                              : cr * sizeof(float) * (taps + 1);
  d->at_zeros = align64((outputs + cr - 1) / cr * d->group_bytes);
  if (is_fixed(d)) d->at_zeros = align64(rlt_depthwise_fixed_bytes(d->channels * d->multiplier, d->taps));
  d->pack_bytes = align64(d->at_zeros + outputs * element(d));
  const rlt_tensor *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  d->pack_at_run = !n->in[1]->is_const || (bias && !bias->is_const);
  n->packed_bytes = d->pack_at_run ? 0 : d->pack_bytes;
  n->packed_inputs = d->pack_at_run ? 0 : RLT_INPUT_BIT(1) | RLT_INPUT_BIT(2);

  rlt_window_inner(w, &d->inner_from, &d->inner_to);
  uint64_t row_macs = rlt_saturating_product((uint64_t)w->out_w, outputs * taps);
  cut(n, d, is_listed(d) ? outputs * taps : row_macs);
  n->macs = rlt_saturating_product((uint64_t)d->rows, row_macs);
  n->loop = is_fixed(d) ? NULL : (is_int8(d) ? p->u->s8_depthwise->name : p->u->f32_depthwise->name);

  d->at_pointers = d->pack_at_run ? d->pack_bytes : 0;
  d->at_expanded = d->at_pointers + align64(LIST_PIXELS * taps * sizeof(void *));
  d->at_image = d->at_expanded + (d->multiplier > 1 ? align64(taps * outputs * element(d)) : 0);
  bool own_image = d->w.family == RLT_FAMILY_HYBRID;
  n->scratch_bytes =
      d->at_image + (own_image ? align64(n->in[0]->bytes / (uint64_t)(d->rows > 0 ? n->in[0]->dims[0] : 1)) : 0);
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  depthwise_data *d = n->data;
  RLT_TRY(rlt_check_arity(p, n, 2, 3, 1));
  const rlt_tensor *x = n->in[0], *weights = n->in[1];
  RLT_REQUIRE(p->err, x->rank == 4 && weights->rank == 4 && weights->dims[0] == 1, RLT_BAD_MODEL,
              "%T must have 4 dimensions, and weights %T too with 1 as the first", x, weights);
  /* then no product of the weights' dimensions below can overflow */
  RLT_REQUIRE(p->err, weights->count > 0, RLT_BAD_MODEL, "weights %T are empty", weights);
  int32_t outputs = weights->dims[3];
  d->channels = x->dims[3];
  RLT_REQUIRE(p->err, d->channels > 0 && outputs % d->channels == 0, RLT_BAD_MODEL,
              "%T and weights %T: output channels must be a multiple of input channels", x, weights);
  d->multiplier = outputs / d->channels;
  RLT_TRY(read_window(p, n, &d->window));
  const rlt_window *w = &d->window;
  RLT_TRY(rlt_set_shape(p, n->out[0], 4, (int32_t[]){x->dims[0], w->out_h, w->out_w, outputs}));
  int64_t rows = (int64_t)x->dims[0] * w->out_h, taps = (int64_t)w->kernel_h * w->kernel_w;
  RLT_REQUIRE(p->err, rows <= INT32_MAX && taps <= INT32_MAX / 2, RLT_LIMIT,
              "%T with weights %T is too large a convolution", x, weights);
  d->rows = (int32_t)rows;
  d->taps = (int32_t)taps;
  const rlt_table *options = &n->def->options;
  int8_t activation = rlt_fb_i8(options, RLT_SLOT_DepthwiseConv2DOptions_fused_activation_function, RLT_ACT_NONE);
  RLT_TRY(rlt_check_product(p, n, 3, outputs, activation, &ROUNDINGS, &d->w));
  const rlt_fixed *fixed = &d->w.fixed;
  bool unsigned_bytes = d->w.family == RLT_FAMILY_FIXED && x->type == RLT_TYPE_UINT8;
  if (unsigned_bytes && fixed->rounding == RLT_ROUND_EVEN)
    d->w.q = (rlt_requant){.zero = fixed->zero, .lo = fixed->lo, .hi = fixed->hi, .is_unsigned = true};
  if (is_fixed(d)) d->fixed = (rlt_depthwise_fixed){&d->w.fixed, x->type, rlt_zero_point(x, 0), outputs, d->taps};
  plan(p, n, d);
  return RLT_OK;
}

/* ---- packing ---- */

static void pack_f32_group(const rlt_node *n, const depthwise_data *d, int32_t c0, int32_t cr, float *dst) {
  int32_t outputs = d->channels * d->multiplier;
  const float *bias = n->def->n_inputs > 2 && n->in[2] ? n->in[2]->data : NULL;
  bool hybrid = d->w.family == RLT_FAMILY_HYBRID, many = n->in[1]->def->quant.n > 1;
  rlt_weights weights = rlt_weights_of(n->in[1]);
  for (int32_t j = 0; j < cr; j++) {
    int32_t c = c0 + j;
    bool inside = c < outputs;
    dst[j] = inside && bias ? bias[c] : 0.0f;
    for (int32_t t = 0; t < d->taps; t++) {
      size_t at = (size_t)t * (size_t)outputs + (size_t)c;
      float w = 0.0f;
      if (inside && hybrid) w = (float)rlt_weight_s8(weights, at) * rlt_scale(n->in[1], many ? c : 0);
      if (inside && !hybrid) w = rlt_weight_f32(weights, at);
      dst[(size_t)(t + 1) * (size_t)cr + (size_t)j] = w;
    }
  }
}

static void pack_s8_group(const rlt_node *n, const depthwise_data *d, int32_t c0, int32_t cr, void *dst) {
  int32_t outputs = d->channels * d->multiplier, zero = rlt_zero_point(n->in[0], 0);
  const int32_t *bias = n->def->n_inputs > 2 && n->in[2] ? n->in[2]->data : NULL;
  rlt_weights weights = rlt_weights_of(n->in[1]);
  int32_t *sums = dst;
  float *scales = (float *)dst + cr;
  int16_t *pairs = (int16_t *)(void *)(scales + cr);
  for (int32_t j = 0; j < cr; j++) {
    int32_t c = c0 + j, slot = rlt_s8_depthwise_slot(cr, j), sum = 0;
    bool inside = c < outputs;
    int32_t weight_zero = inside ? rlt_weight_zero(n->in[1], c) : 0;
    for (int32_t t = 0; t < (d->taps + 1) / 2 * 2; t++) {
      size_t at = (size_t)t * (size_t)outputs + (size_t)c;
      int16_t w = inside && t < d->taps ? (int16_t)(rlt_weight_s8(weights, at) - weight_zero) : (int16_t)0;
      sum += w;
      pairs[((size_t)(t / 2) * (size_t)cr + (size_t)slot) * 2 + (size_t)(t % 2)] = w;
    }
    sums[slot] = (int32_t)((inside && bias ? (uint32_t)bias[c] : 0) - (uint32_t)zero * (uint32_t)sum);
    scales[slot] = inside ? rlt_requant_scale(n, c) : 0.0f;
  }
}

static void pack_into(const rlt_ukernels *u, const rlt_node *n, const depthwise_data *d, char *dst) {
  int32_t outputs = d->channels * d->multiplier;
  int32_t cr = is_int8(d) ? u->s8_depthwise->cr : u->f32_depthwise->cr;
  char *group = dst;
  if (is_fixed(d)) rlt_depthwise_fixed_pack(n, &d->fixed, dst);
  for (int32_t c = 0; c < outputs && !is_fixed(d); c += cr, group += d->group_bytes) {
    if (is_int8(d)) pack_s8_group(n, d, c, cr, group);
    else pack_f32_group(n, d, c, cr, (float *)(void *)group);
  }
  int32_t zero = element(d) == 1 ? rlt_zero_point(n->in[0], 0) : 0; /* INT16 has none */
  for (uint64_t i = d->at_zeros; i < d->pack_bytes; i++) dst[i] = (char)zero;
}

static void pack(const rlt_ukernels *u, const rlt_node *n) {
  const depthwise_data *d = n->data;
  if (!d->pack_at_run) pack_into(u, n, d, n->packed);
}

/* ---- run ---- */

/* To int8 and back, by the rule of LiteRT's own kernel: rounding is half away from zero here. */
static void round_trip(const rlt_ukernels *u, const float *x, uint64_t count, float *out) {
  float low, high;
  u->rows->range(x, count, &low, &high);
  double least = (double)low, most = (double)high, scale = least < most ? (most - least) / 255.0 : 1.0;
  bool from_least = 128.0 - least / scale < 127.0 + most / scale;
  double zero = from_least ? -128.0 - least / scale : 127.0 - most / scale;
  zero = zero > -128.0 ? (zero < 127.0 ? (double)rlt_f64_round_away(zero) : 127.0) : -128.0;
  float unit = (float)scale;
  u->rows->through_s8(x, count, 1.0f / unit, (float)zero, unit, out);
}

/* What one thread works with. */
typedef struct work {
  const rlt_ukernels *u;
  const depthwise_data *d;
  const char *packed;
  const void **taps;
  char *expanded;
  const char *image; /* input and output of the image at hand */
  char *out;
} work;

/* Repeats every channel `multiplier` times. */
static void expand(const depthwise_data *d, const char *from, char *to) {
  for (int32_t c = 0; c < d->channels; c++)
    for (int32_t j = 0; j < d->multiplier; j++) {
      size_t at = (size_t)c * (size_t)d->multiplier + (size_t)j;
      if (element(d) == 1) to[at] = from[c];
      else if (element(d) == 2) ((int16_t *)(void *)to)[at] = ((const int16_t *)(const void *)from)[c];
      else ((float *)(void *)to)[at] = ((const float *)(const void *)from)[c];
    }
}

/* Writes the pointers of one output pixel. */
static void point(const work *k, int32_t out_y, int32_t out_x, const void **taps) {
  const depthwise_data *d = k->d;
  const rlt_window *w = &d->window;
  const char *zeros = k->packed + d->at_zeros;
  size_t pixel = (size_t)d->channels * element(d);
  int32_t y = out_y * w->stride_h - w->pad_top, x0 = out_x * w->stride_w - w->pad_left;
  for (int32_t ky = 0; ky < w->kernel_h; ky++, y += w->dilation_h) {
    bool row_inside = y >= 0 && y < w->in_h;
    const char *row = k->image + (row_inside ? (size_t)y * (size_t)w->in_w * pixel : 0);
    int32_t x = x0;
    for (int32_t kx = 0; kx < w->kernel_w; kx++, x += w->dilation_w)
      *taps++ = row_inside && x >= 0 && x < w->in_w ? row + (size_t)x * pixel : zeros;
  }
}

static void call(const work *k, int32_t pixels, size_t tap_step, size_t step, char *out) {
  const depthwise_data *d = k->d;
  int32_t outputs = d->channels * d->multiplier;
  const void *taps = k->taps, *packed = k->packed;
  if (is_fixed(d)) rlt_depthwise_fixed_run(&d->fixed, packed, pixels, k->taps, tap_step, step, out);
  else if (is_int8(d))
    k->u->s8_depthwise->run(pixels, outputs, d->taps, taps, tap_step, step, packed, (int8_t *)out, &d->w.q);
  else
    k->u->f32_depthwise->run(pixels, outputs, d->taps, taps, tap_step, step, packed, (float *)(void *)out, d->w.lo,
                             d->w.hi);
}

/* Output pixels [first, last) of the image, each with its own pointers. */
static void run_list(const work *k, int64_t first, int64_t last) {
  const depthwise_data *d = k->d;
  size_t pixel = (size_t)d->channels * (size_t)d->multiplier * element(d), taps = (size_t)d->taps;
  int64_t most = d->multiplier > 1 ? 1 : LIST_PIXELS;
  while (first < last) {
    int32_t count = (int32_t)(last - first < most ? last - first : most), out_w = d->window.out_w;
    int32_t y = (int32_t)(first / out_w), x = (int32_t)(first % out_w);
    for (int32_t i = 0; i < count; i++) {
      point(k, y, x, k->taps + (size_t)i * taps);
      if (++x == out_w) x = 0, y++;
    }
    for (size_t t = 0; t < taps && d->multiplier > 1; t++) {
      char *to = k->expanded + t * pixel;
      expand(d, k->taps[t], to);
      k->taps[t] = to;
    }
    call(k, count, taps, 0, k->out + (size_t)first * pixel);
    first += count;
  }
}

static void run_rows(const work *k, int32_t first, int32_t last) {
  const depthwise_data *d = k->d;
  const rlt_window *w = &d->window;
  size_t pixel = (size_t)d->channels * element(d);
  int64_t out_w = w->out_w;
  if (d->multiplier > 1) {
    run_list(k, first * out_w, last * out_w);
    return;
  }
  for (int32_t y = first; y < last; y++) {
    int32_t y0 = y * w->stride_h - w->pad_top;
    bool whole = y0 >= 0 && y0 + (w->kernel_h - 1) * w->dilation_h < w->in_h && d->inner_to > d->inner_from;
    int32_t from = whole ? d->inner_from : w->out_w, to = whole ? d->inner_to : w->out_w;
    run_list(k, y * out_w, y * out_w + from);
    if (whole) {
      point(k, y, from, k->taps);
      size_t step = (size_t)w->stride_w * (size_t)d->channels;
      call(k, to - from, 0, step, k->out + (size_t)(y * out_w + from) * pixel);
    }
    run_list(k, y * out_w + to, (y + 1) * out_w);
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const depthwise_data *d = n->data;
  const rlt_window *w = &d->window;
  char *scratch = r->scratch;
  work k = {.u = r->u, .d = d, .packed = n->packed};
  k.taps = (const void **)(void *)(scratch + d->at_pointers);
  k.expanded = scratch + d->at_expanded;
  int64_t at = first * d->units_per_tile, end = last * d->units_per_tile;
  if (d->pack_at_run) {
    pack_into(r->u, n, d, scratch);
    k.packed = scratch;
    end = d->units;
  }
  if (end > d->units) end = d->units;
  size_t values = (size_t)w->in_h * (size_t)w->in_w * (size_t)d->channels;
  size_t out_bytes = (size_t)n->out[0]->bytes / (d->rows > 0 ? (size_t)n->out[0]->dims[0] : 1);
  int64_t units = (int64_t)w->out_h * (is_listed(d) ? w->out_w : 1);
  while (at < end) { /* image by image */
    int64_t image = at / units, stop = (image + 1) * units < end ? (image + 1) * units : end;
    k.image = (const char *)n->in[0]->data + (size_t)image * values * element(d);
    k.out = (char *)n->out[0]->data + (size_t)image * out_bytes;
    if (d->w.family == RLT_FAMILY_HYBRID) {
      float *back = (float *)(void *)(scratch + d->at_image);
      round_trip(r->u, (const float *)(const void *)k.image, values, back);
      k.image = (const char *)back;
    }
    if (is_listed(d)) run_list(&k, at - image * units, stop - image * units);
    else run_rows(&k, (int32_t)(at - image * units), (int32_t)(stop - image * units));
    at = stop;
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_depthwise_conv_2d = {
    "DEPTHWISE_CONV_2D", sizeof(depthwise_data), 7, false, prepare, pack, run};
