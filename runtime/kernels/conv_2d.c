/* SPDX-License-Identifier: Apache-2.0
 * CONV_2D: a product of patches of the input with weights [out channels, height, width, in channels / groups]. A 1 x 1
 * window needs no patches: its rows are the input's own pixels. */
#include "common.h"
#include "matrix.h"
#include "window.h"

typedef struct conv_data {
  rlt_matrix matrix;
  rlt_window window;
  int32_t channels;             /* of the input */
  int32_t group_channels;       /* of one group */
  int32_t inner_from, inner_to; /* output columns whose windows lie wholly within the width */
  bool pixel_scales; /* HYBRID: every pixel is quantized by itself, not every image: XNNPACK does so for 1 x 1 */
} conv_data;

/* HYBRID: the image that a thread has quantized last; its int8 values follow. */
typedef struct conv_image {
  int32_t index;
  rlt_row_quant quant;
} conv_image;

static const rlt_roundings ROUNDINGS = {RLT_ROUND_TIES_UP, RLT_ROUND_SHORT, false};

static rlt_status read_window(rlt_prep *p, const rlt_node *n, rlt_window *w) {
  const rlt_table *o = &n->def->options;
  const rlt_tensor *x = n->in[0], *weights = n->in[1];
  *w = (rlt_window){.in_h = x->dims[1],
                    .in_w = x->dims[2],
                    .kernel_h = weights->dims[1],
                    .kernel_w = weights->dims[2],
                    .stride_h = rlt_fb_i32(o, RLT_SLOT_Conv2DOptions_stride_h, RLT_DEFAULT_Conv2DOptions_stride_h),
                    .stride_w = rlt_fb_i32(o, RLT_SLOT_Conv2DOptions_stride_w, RLT_DEFAULT_Conv2DOptions_stride_w),
                    .dilation_h = rlt_fb_i32(o, RLT_SLOT_Conv2DOptions_dilation_h_factor, 1),
                    .dilation_w = rlt_fb_i32(o, RLT_SLOT_Conv2DOptions_dilation_w_factor, 1)};
  return rlt_window_resolve(p, rlt_fb_i8(o, RLT_SLOT_Conv2DOptions_padding, RLT_PADDING_SAME), w);
}

static bool has_one_scale(const rlt_tensor *t) {
  for (int32_t i = 1; i < t->def->quant.n; i++)
    if (rlt_scale(t, i) != rlt_scale(t, 0)) return false;
  return true;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  conv_data *d = n->data;
  RLT_TRY(rlt_check_arity(p, n, 2, 3, 1));
  const rlt_tensor *x = n->in[0], *weights = n->in[1];
  RLT_REQUIRE(p->err, x->rank == 4 && weights->rank == 4, RLT_BAD_MODEL, "%T and weights %T must have 4 dimensions", x,
              weights);
  /* then no product of the weights' dimensions below can overflow */
  RLT_REQUIRE(p->err, weights->count > 0, RLT_BAD_MODEL, "weights %T are empty", weights);
  int32_t outputs = weights->dims[0];
  d->channels = x->dims[3];
  d->group_channels = weights->dims[3];
  bool divides = d->group_channels > 0 && d->channels % d->group_channels == 0 && d->channels > 0 &&
                 outputs % (d->channels / d->group_channels) == 0;
  RLT_REQUIRE(p->err, divides, RLT_BAD_MODEL,
              "%T and weights %T: input channels must be a multiple of the weights' last dimension, output channels a "
              "multiple of the quotient",
              x, weights);
  RLT_TRY(read_window(p, n, &d->window));
  const rlt_window *w = &d->window;
  rlt_window_inner(w, &d->inner_from, &d->inner_to);
  RLT_TRY(rlt_set_shape(p, n->out[0], 4, (int32_t[]){x->dims[0], w->out_h, w->out_w, outputs}));
  rlt_matrix *m = &d->matrix;
  int64_t rows = (int64_t)x->dims[0] * w->out_h * w->out_w;
  int64_t k = (int64_t)w->kernel_h * w->kernel_w * d->group_channels;
  RLT_REQUIRE(p->err, rows <= INT32_MAX && k <= INT32_MAX, RLT_LIMIT, "%T with weights %T is too large a convolution",
              x, weights);
  m->rows = (int32_t)rows;
  m->k = (int32_t)k;
  m->groups = d->channels / d->group_channels;
  m->n = outputs / m->groups;
  int8_t activation = rlt_fb_i8(&n->def->options, RLT_SLOT_Conv2DOptions_fused_activation_function, RLT_ACT_NONE);
  RLT_TRY(rlt_check_product(p, n, 0, outputs, activation, &ROUNDINGS, &m->w));
  RLT_TRY(rlt_check_depth(p, n, m->k));
  bool hybrid = m->w.family == RLT_FAMILY_HYBRID;
  m->builds_rows = rlt_converts_rows(n, &m->w) || w->kernel_h * w->kernel_w > 1;
  bool pointwise = w->kernel_h == 1 && w->kernel_w == 1 && w->stride_h == 1 && w->stride_w == 1;
  bool is_int4 = weights->type == RLT_TYPE_INT4; /* LiteRT's own kernel, not XNNPACK */
  d->pixel_scales = hybrid && m->groups == 1 && pointwise && !is_int4;
  m->w.is_symmetric = hybrid && m->groups == 1 && is_int4 && has_one_scale(weights);
  m->extra_bytes =
      hybrid && !d->pixel_scales && x->dims[0] > 0 ? sizeof(conv_image) + x->count / (uint64_t)x->dims[0] : 0;
  if (x->type == RLT_TYPE_INT16) m->extra_bytes = (uint64_t)k * sizeof(int16_t);
  rlt_matrix_plan(p, n, m);
  return RLT_OK;
}

static void pack(const rlt_ukernels *u, const rlt_node *n) {
  const conv_data *d = n->data;
  if (!d->matrix.pack_at_run) rlt_matrix_pack(u, n, &d->matrix, n->packed);
}

/* ---- patches ---- */

static inline char *fill_bytes(char *to, int8_t value, size_t bytes) {
  if (bytes > 0) __builtin_memset(to, value, bytes); /* most patches have no padding: spare them the call */
  return to + bytes;
}

/* One image as patches see it, in bytes. */
typedef struct source {
  const rlt_ukernels *u;
  const char *image; /* at the group's first channel */
  size_t pixel, run; /* from pixel to pixel; of one group's channels */
  int8_t pad;
  rlt_row_quant quant; /* HYBRID */
} source;

static void copy_patch(const rlt_window *w, const source *s, int32_t out_y, int32_t out_x, char *to) {
  int32_t x0 = out_x * w->stride_w - w->pad_left, y0 = out_y * w->stride_h - w->pad_top;
  int32_t first, last;
  rlt_window_taps(x0, w->dilation_w, w->kernel_w, w->in_w, &first, &last);
  for (int32_t ky = 0; ky < w->kernel_h; ky++) {
    int32_t y = y0 + ky * w->dilation_h;
    if (y < 0 || y >= w->in_h) {
      to = fill_bytes(to, s->pad, (size_t)w->kernel_w * s->run);
      continue;
    }
    to = fill_bytes(to, s->pad, (size_t)first * s->run);
    const char *from = s->image + ((ptrdiff_t)y * w->in_w + x0 + first * w->dilation_w) * (ptrdiff_t)s->pixel;
    if (w->dilation_w == 1 && s->run == s->pixel) { /* neighbours in the window are neighbours in memory */
      s->u->rows->copy_runs(to, 0, from, 0, 1, (size_t)(last - first) * s->run);
    } else {
      s->u->rows->copy_runs(to, s->run, from, (size_t)w->dilation_w * s->pixel, last - first, s->run);
    }
    to += (size_t)(last - first) * s->run;
    to = fill_bytes(to, s->pad, (size_t)(w->kernel_w - last) * s->run);
  }
}

/* Patches of `count` neighbouring pixels of one row whose windows lie wholly within the width. */
static void copy_patches(const rlt_window *w, const source *s, int32_t out_y, int32_t out_x, int32_t count, char *to,
                         size_t to_step) {
  size_t run = (size_t)w->kernel_w * s->pixel;
  int32_t y = out_y * w->stride_h - w->pad_top, x = out_x * w->stride_w - w->pad_left;
  for (int32_t ky = 0; ky < w->kernel_h; ky++, y += w->dilation_h, to += run) {
    if (y >= 0 && y < w->in_h) {
      const char *from = s->image + ((size_t)y * (size_t)w->in_w + (size_t)x) * s->pixel;
      s->u->rows->copy_runs(to, to_step, from, (size_t)w->stride_w * s->pixel, count, run);
    } else {
      for (int32_t i = 0; i < count; i++) fill_bytes(to + (size_t)i * to_step, s->pad, run);
    }
  }
}

static source source_of(const rlt_node *n, int32_t image, int32_t group, rlt_rows *rows) {
  const conv_data *d = n->data;
  const rlt_tensor *x = n->in[0];
  uint64_t values = x->count / (uint64_t)x->dims[0];
  bool quantized = d->matrix.w.family == RLT_FAMILY_HYBRID && !d->pixel_scales;
  size_t element = quantized ? 1 : rlt_type_bytes(x->type);
  source s = {.u = rows->u, .pixel = (size_t)d->channels * element, .run = (size_t)d->group_channels * element};
  if (quantized) {
    conv_image *kept = rows->extra;
    if (kept->index != image) {
      const float *from = (const float *)x->data + (uint64_t)image * values;
      kept->quant = rlt_quantize_rows(rows->u, &d->matrix.w, from, values, (int8_t *)(kept + 1));
      kept->index = image;
    }
    s.quant = kept->quant;
    s.pad = (int8_t)s.quant.zero;
    s.image = (const char *)(kept + 1);
  } else {
    if (element == 1) s.pad = (int8_t)rlt_zero_point(x, 0);
    s.image = (const char *)x->data + (uint64_t)image * values * element;
  }
  s.image += (size_t)group * s.run;
  return s;
}

/* Presents up to `count` pixels of one row of the output; returns how many. */
static int32_t fill_pixels(const rlt_node *n, const source *s, int32_t y, int32_t x, int32_t count, int32_t i,
                           rlt_rows *rows) {
  const conv_data *d = n->data;
  const rlt_matrix *m = &d->matrix;
  const rlt_window *w = &d->window;
  char *to = (char *)rows->space + (size_t)i * m->space_stride;
  if (!m->builds_rows || d->pixel_scales) { /* 1 x 1: the rows are there already */
    const char *pixel = s->image + ((size_t)(y * w->stride_h) * (size_t)w->in_w + (size_t)(x * w->stride_w)) * s->pixel;
    rows->at[i] = d->pixel_scales ? to : pixel;
    if (d->pixel_scales)
      rows->quant[i] = rlt_quantize_dynamic(rows->u, (const float *)(const void *)pixel, (uint64_t)m->k, (int8_t *)to);
    return 1;
  }
  bool converts = m->w.family == RLT_FAMILY_FIXED && rlt_converts_rows(n, &m->w), is_int16 = m->planes == 2;
  if (converts && !is_int16 && w->kernel_h * w->kernel_w == 1) {
    int32_t done = w->out_w - x < count ? w->out_w - x : count;
    const char *pixel = s->image + ((size_t)(y * w->stride_h) * (size_t)w->in_w + (size_t)(x * w->stride_w)) * s->pixel;
    rlt_convert_rows(n, m, rows, i, done, pixel, (size_t)w->stride_w * s->pixel);
    return done;
  }
  bool inner = w->dilation_w == 1 && m->groups == 1 && !is_int16 && x >= d->inner_from && x < d->inner_to;
  int32_t end = inner ? d->inner_to : x + 1, done = end - x < count ? end - x : count;
  if (inner) copy_patches(w, s, y, x, done, to, (size_t)m->space_stride);
  else copy_patch(w, s, y, x, is_int16 ? rows->extra : to);
  if (converts) {
    rlt_convert_rows(n, m, rows, i, done, is_int16 ? rows->extra : to, (size_t)m->space_stride);
    return done;
  }
  for (int32_t j = 0; j < done; j++) rows->at[i + j] = to + (size_t)j * m->space_stride;
  for (int32_t j = 0; j < done && m->w.family == RLT_FAMILY_HYBRID; j++) rows->quant[i + j] = s->quant;
  return done;
}

static void fill_rows(const rlt_node *n, int32_t group, int32_t first, int32_t count, bool fresh, rlt_rows *rows) {
  const conv_data *d = n->data;
  const rlt_window *w = &d->window;
  if (fresh && d->matrix.w.family == RLT_FAMILY_HYBRID && d->matrix.extra_bytes > 0)
    ((conv_image *)rows->extra)->index = -1;
  int32_t pixels = w->out_h * w->out_w;
  int32_t image = first / pixels, y = first % pixels / w->out_w, x = first % w->out_w;
  source s = source_of(n, image, group, rows);
  for (int32_t i = 0; i < count;) {
    int32_t done = fill_pixels(n, &s, y, x, count - i, i, rows);
    i += done;
    x += done;
    if (x < w->out_w) continue;
    x = 0;
    if (++y < w->out_h) continue;
    y = 0;
    if (i < count) s = source_of(n, ++image, group, rows);
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  rlt_matrix_run(r, n, &((const conv_data *)n->data)->matrix, fill_rows, first, last);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_conv_2d = {"CONV_2D", sizeof(conv_data), 8, false, prepare, pack, run};
