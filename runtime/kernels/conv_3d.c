/* SPDX-License-Identifier: Apache-2.0
 * CONV_3D and CONV_3D_TRANSPOSE, float32, over NDHWC tensors.
 * CONV_3D: patches [rows, window * channels] times weights [window, channels, outputs]. CONV_3D_TRANSPOSE: an output
 * row takes from every plane and row of the window at most one input row, whose pixels times those weights [columns,
 * outputs, channels] are added to it (compare transpose_conv.c). */
#include "common.h"
#include "matrix.h"
#include "window.h"

#define TILE_MACS 262144

typedef struct conv_3d_data {
  rlt_window plane,
      along; /* height and width; depth, as the height of a window of width 1. Transposed: of the output */
  int32_t channels, outputs;
  int32_t k, columns, panels; /* of the product: transposed: columns of one row of the window, [width, outputs] */
  uint64_t panel_bytes, at_bias, pack_bytes;
  uint64_t at_product; /* in scratch: patches or products of mr rows */
  float lo, hi;
  bool pack_at_run;
} conv_3d_data;

static uint64_t align64(uint64_t x) { return (x + 63) & ~(uint64_t)63; }

/* ---- prepare ---- */

static rlt_status read_windows(rlt_prep *p, const rlt_node *n, const int32_t *dims, const int32_t *kernel,
                               conv_3d_data *d) {
  const rlt_table *o = &n->def->options;
  int32_t padding = rlt_fb_i8(o, RLT_SLOT_Conv3DOptions_padding, RLT_PADDING_SAME);
  d->plane = (rlt_window){.in_h = dims[2],
                          .in_w = dims[3],
                          .kernel_h = kernel[1],
                          .kernel_w = kernel[2],
                          .stride_h = rlt_fb_i32(o, RLT_SLOT_Conv3DOptions_stride_h, 0),
                          .stride_w = rlt_fb_i32(o, RLT_SLOT_Conv3DOptions_stride_w, 0),
                          .dilation_h = rlt_fb_i32(o, RLT_SLOT_Conv3DOptions_dilation_h_factor, 1),
                          .dilation_w = rlt_fb_i32(o, RLT_SLOT_Conv3DOptions_dilation_w_factor, 1)};
  d->along = (rlt_window){.in_h = dims[1],
                          .in_w = 1,
                          .kernel_h = kernel[0],
                          .kernel_w = 1,
                          .stride_h = rlt_fb_i32(o, RLT_SLOT_Conv3DOptions_stride_d, 0),
                          .stride_w = 1,
                          .dilation_h = rlt_fb_i32(o, RLT_SLOT_Conv3DOptions_dilation_d_factor, 1),
                          .dilation_w = 1};
  RLT_TRY(rlt_window_resolve(p, padding, &d->plane));
  return rlt_window_resolve(p, padding, &d->along);
}

/* x, weights and bias, which may be NULL; `channel_dim` is the dimension of the weights that takes the channels: 3
 * or 4. */
static rlt_status check(rlt_prep *p, const rlt_node *n, const rlt_tensor *x, const rlt_tensor *weights,
                        const rlt_tensor *bias, int32_t channel_dim, conv_3d_data *d) {
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_TRY(rlt_check_type(p, weights, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  RLT_REQUIRE(p->err, x->rank == 5 && weights->rank == 5, RLT_BAD_MODEL, "%T and weights %T must have 5 dimensions", x,
              weights);
  RLT_REQUIRE(p->err, weights->count > 0, RLT_BAD_MODEL, "weights %T are empty", weights);
  d->channels = weights->dims[channel_dim];
  d->outputs = weights->dims[7 - channel_dim];
  RLT_REQUIRE(p->err, d->channels == x->dims[4], RLT_UNSUPPORTED,
              "weights %T take %d channels, %T has %d (groups are not supported)", weights, d->channels, x, x->dims[4]);
  if (bias) {
    RLT_TRY(rlt_check_type(p, bias, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
    RLT_REQUIRE(p->err, bias->count == (uint64_t)d->outputs, RLT_BAD_MODEL, "bias %T must have %d values", bias,
                d->outputs);
  }
  int32_t activation = rlt_fb_i8(&n->def->options, RLT_SLOT_Conv3DOptions_fused_activation_function, RLT_ACT_NONE);
  return rlt_activation_f32(p, activation, &d->lo, &d->hi);
}

/* `units` of `unit_macs` are cut into tiles; `sets` of panels and `more` floats per row of a block are needed. */
static void plan(const rlt_prep *p, rlt_node *n, conv_3d_data *d, int32_t weights, const rlt_tensor *bias,
                 uint64_t sets, uint64_t units, uint64_t unit_macs, uint64_t row_floats) {
  const rlt_f32_gemm *g = p->u->f32_gemm;
  d->panels = (d->columns - 1) / g->nr + 1;
  d->panel_bytes = rlt_panel_bytes(p->u, RLT_FAMILY_FLOAT, d->k);
  d->at_bias = align64(rlt_saturating_product(sets * (uint64_t)d->panels, d->panel_bytes));
  d->pack_bytes = d->at_bias + align64((uint64_t)d->outputs * sizeof(float));
  d->pack_at_run = !n->in[weights]->is_const || (bias && !bias->is_const);
  n->packed_bytes = d->pack_at_run ? 0 : d->pack_bytes;
  if (!d->pack_at_run) n->packed_inputs = RLT_INPUT_BIT(weights) | (bias ? RLT_INPUT_BIT(n->def->n_inputs - 1) : 0);
  d->at_product = d->pack_at_run ? d->pack_bytes : 0;
  n->scratch_bytes = d->at_product + align64((uint64_t)g->mr * row_floats * sizeof(float));
  uint64_t each = unit_macs < TILE_MACS ? TILE_MACS / (unit_macs + 1) : 1,
           tiles = units > 0 ? (units - 1) / each + 1 : 1;
  n->tiles = d->pack_at_run ? 1 : (tiles > INT32_MAX ? INT32_MAX : (int32_t)tiles);
  n->macs = rlt_saturating_product(units, unit_macs);
  n->loop = g->name;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  conv_3d_data *d = n->data;
  RLT_TRY(rlt_check_arity(p, n, 2, 3, 1));
  const rlt_tensor *x = n->in[0], *weights = n->in[1], *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  RLT_TRY(check(p, n, x, weights, bias, 3, d));
  RLT_TRY(read_windows(p, n, x->dims, weights->dims, d));
  RLT_TRY(rlt_set_shape(p, n->out[0], 5,
                        (int32_t[]){x->dims[0], d->along.out_h, d->plane.out_h, d->plane.out_w, d->outputs}));
  uint64_t k = weights->count / (uint64_t)d->outputs;
  RLT_REQUIRE(p->err, k <= INT32_MAX / 64, RLT_LIMIT, "%T with weights %T is too large a convolution", x, weights);
  d->k = (int32_t)k;
  d->columns = d->outputs;
  plan(p, n, d, 1, bias, 1, n->out[0]->count / (uint64_t)d->outputs, weights->count, k);
  return RLT_OK;
}

static rlt_status prepare_transpose(rlt_prep *p, rlt_node *n) {
  conv_3d_data *d = n->data;
  int32_t shape[RLT_MAX_RANK], rank;
  RLT_TRY(rlt_check_arity(p, n, 3, 4, 1));
  const rlt_tensor *weights = n->in[1], *x = n->in[2], *bias = n->def->n_inputs > 3 ? n->in[3] : NULL;
  RLT_TRY(check(p, n, x, weights, bias, 4, d));
  RLT_TRY(rlt_check_type(p, n->in[0], RLT_BIT(RLT_TYPE_INT32), "INT32"));
  RLT_TRY(rlt_const_ints(p, n->in[0], RLT_MAX_RANK, shape, &rank));
  bool fits =
      rank == 5 && shape[0] == x->dims[0] && shape[1] > 0 && shape[2] > 0 && shape[3] > 0 && shape[4] == d->outputs;
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T holds no output shape for %T with weights %T", n->in[0], x, weights);
  RLT_TRY(read_windows(p, n, shape, weights->dims, d));
  RLT_TRY(rlt_set_shape(p, n->out[0], 5, shape));
  int64_t columns = (int64_t)weights->dims[2] * d->outputs;
  RLT_REQUIRE(p->err, columns <= INT32_MAX / 64, RLT_LIMIT, "%T with weights %T is too large a convolution", x,
              weights);
  d->k = d->channels;
  d->columns = (int32_t)columns;
  uint64_t sets = (uint64_t)weights->dims[0] * (uint64_t)weights->dims[1], rows = x->count / (uint64_t)d->channels;
  uint64_t lines = (uint64_t)rlt_span(n->out[0], 0, 3), macs = rlt_saturating_product(rows, weights->count);
  plan(p, n, d, 1, bias, sets, lines, lines > 0 ? macs / lines : 0, (uint64_t)columns);
  return RLT_OK;
}

/* ---- packing ---- */

static void pack_bias(const conv_3d_data *d, const rlt_tensor *bias, char *dst) {
  __builtin_memset(dst + d->at_bias, 0, (size_t)d->outputs * sizeof(float));
  if (bias) rlt_copy(dst + d->at_bias, bias->data, bias->bytes);
}

/* Weights [k][outputs]: rows of a panel lie together already. */
static void pack_into(const rlt_ukernels *u, const rlt_node *n, char *dst) {
  const conv_3d_data *d = n->data;
  int32_t nr = u->f32_gemm->nr;
  pack_bias(d, n->def->n_inputs > 2 ? n->in[2] : NULL, dst);
  const float *bias = (const float *)(const void *)(dst + d->at_bias);
  for (int32_t j = 0; j < d->outputs; j += nr) {
    int32_t count = d->outputs - j < nr ? d->outputs - j : nr;
    const float *from = (const float *)n->in[1]->data + j;
    float *to = (float *)(void *)(dst + (uint64_t)(j / nr) * d->panel_bytes);
    for (int32_t i = 0; i < nr; i++) to[i] = i < count ? bias[j + i] : 0.0f;
    for (int32_t k = 0; k < d->k; k++, from += d->outputs) {
      to += nr;
      for (int32_t i = 0; i < nr; i++) to[i] = i < count ? from[i] : 0.0f;
    }
  }
}

static void pack(const rlt_ukernels *u, const rlt_node *n) {
  const conv_3d_data *d = n->data;
  if (!d->pack_at_run) pack_into(u, n, n->packed);
}

/* Weights [sets][columns][channels]. */
static void pack_transpose_into(const rlt_ukernels *u, const rlt_node *n, char *dst) {
  const conv_3d_data *d = n->data;
  int32_t nr = u->f32_gemm->nr;
  const float *from = n->in[1]->data;
  char *panel = dst;
  pack_bias(d, n->def->n_inputs > 3 ? n->in[3] : NULL, dst);
  for (int32_t set = 0; set < n->in[1]->dims[0] * n->in[1]->dims[1]; set++) {
    for (int32_t j = 0; j < d->columns; j += nr, panel += d->panel_bytes) {
      int32_t count = d->columns - j < nr ? d->columns - j : nr;
      rlt_pack_f32_panel(from, NULL, d->k, count, nr, (float *)(void *)panel);
      from += (size_t)count * (size_t)d->k;
    }
  }
}

static void pack_transpose(const rlt_ukernels *u, const rlt_node *n) {
  const conv_3d_data *d = n->data;
  if (!d->pack_at_run) pack_transpose_into(u, n, n->packed);
}

static void multiply(const rlt_ukernels *u, const conv_3d_data *d, const char *panel, const float *const *rows,
                     int32_t count, float *out, float lo, float hi) {
  int32_t nr = u->f32_gemm->nr;
  for (int32_t j = 0; j < d->columns; j += nr, panel += d->panel_bytes) {
    int32_t n = d->columns - j < nr ? d->columns - j : nr;
    u->f32_gemm->run(count, n, d->k, rows, (const float *)(const void *)panel, out + j, (size_t)d->columns, lo, hi);
  }
}

/* ---- CONV_3D ---- */

/* The patch under output position `at` of all images. */
static void copy_patch(const rlt_node *n, int64_t at, float *to) {
  const conv_3d_data *d = n->data;
  const rlt_tensor *x = n->in[0];
  const rlt_window *w = &d->plane, *a = &d->along;
  int32_t out_x = (int32_t)(at % w->out_w), out_y = (int32_t)(at / w->out_w % w->out_h);
  int64_t plane = at / w->out_w / w->out_h;
  int32_t z0 = (int32_t)(plane % a->out_h) * a->stride_h - a->pad_top, y0 = out_y * w->stride_h - w->pad_top;
  int32_t x0 = out_x * w->stride_w - w->pad_left;
  size_t channels = (size_t)d->channels, pixel = channels * sizeof(float);
  const float *image = (const float *)x->data + (size_t)(plane / a->out_h) * (x->count / (uint64_t)x->dims[0]);
  for (int32_t kz = 0; kz < a->kernel_h; kz++) {
    int32_t z = z0 + kz * a->dilation_h;
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
      int32_t y = y0 + ky * w->dilation_h;
      bool line = z >= 0 && z < a->in_h && y >= 0 && y < w->in_h;
      size_t row = line ? ((size_t)z * (size_t)w->in_h + (size_t)y) * (size_t)w->in_w : 0;
      for (int32_t kx = 0; kx < w->kernel_w; kx++, to += channels) {
        int32_t column = x0 + kx * w->dilation_w;
        bool inside = line && column >= 0 && column < w->in_w;
        if (inside) rlt_copy(to, image + (row + (size_t)column) * channels, pixel);
        else __builtin_memset(to, 0, pixel);
      }
    }
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const conv_3d_data *d = n->data;
  float *patches = (float *)(void *)((char *)r->scratch + d->at_product), *out = n->out[0]->data;
  const char *packed = n->packed;
  if (n->out[0]->count == 0) return RLT_OK;
  if (d->pack_at_run) {
    pack_into(r->u, n, r->scratch);
    packed = r->scratch;
  }
  int64_t begin, end;
  int32_t mr = r->u->f32_gemm->mr;
  rlt_part(n, (int64_t)(n->out[0]->count / (uint64_t)d->outputs), first, last, &begin, &end);
  for (int64_t at = begin; at < end; at += mr) {
    int32_t count = end - at < mr ? (int32_t)(end - at) : mr;
    const float *rows[RLT_MAX_MR];
    for (int32_t i = 0; i < count; i++) {
      float *patch = patches + (size_t)i * (size_t)d->k;
      copy_patch(n, at + i, patch);
      rows[i] = patch;
    }
    multiply(r->u, d, packed, rows, count, out + (size_t)at * (size_t)d->outputs, d->lo, d->hi);
  }
  return RLT_OK;
}

/* ---- CONV_3D_TRANSPOSE ---- */

/* Input position that tap k of the window adds to output position `at`, or -1. */
static int32_t source(int32_t at, int32_t pad, int32_t k, int32_t dilation, int32_t stride, int32_t size) {
  int32_t from = at + pad - k * dilation;
  return from >= 0 && from % stride == 0 && from / stride < size ? from / stride : -1;
}

/* Adds the products of `count` input pixels from x on to the output row. */
static void add_products(const rlt_loops *loops, const conv_3d_data *d, const float *product, int32_t x, int32_t count,
                         float *row) {
  const rlt_window *w = &d->plane;
  for (int32_t i = 0; i < count; i++) {
    for (int32_t kx = 0; kx < w->kernel_w; kx++, product += d->outputs) {
      int64_t to = (int64_t)(x + i) * w->stride_w - w->pad_left + kx * w->dilation_w;
      if (to >= 0 && to < w->in_w) loops->add_f32(product, row + to * d->outputs, d->outputs);
    }
  }
}

static void transpose_row(const rlt_ukernels *u, const rlt_node *n, const char *packed, float *product, int64_t line) {
  const conv_3d_data *d = n->data;
  const rlt_tensor *x = n->in[2];
  const rlt_window *w = &d->plane, *a = &d->along;
  int32_t out_y = (int32_t)(line % w->in_h), out_z = (int32_t)(line / w->in_h % a->in_h), width = x->dims[3];
  int64_t image = line / w->in_h / a->in_h;
  const float infinity = __builtin_inff();
  float *row = (float *)n->out[0]->data + (size_t)line * (size_t)w->in_w * (size_t)d->outputs;
  for (int32_t i = 0; i < w->in_w; i++)
    rlt_copy(row + (size_t)i * (size_t)d->outputs, packed + d->at_bias, (uint64_t)d->outputs * sizeof(float));
  for (int32_t kz = 0; kz < a->kernel_h; kz++) {
    int32_t z = source(out_z, a->pad_top, kz, a->dilation_h, a->stride_h, x->dims[1]);
    for (int32_t ky = 0; ky < w->kernel_h && z >= 0; ky++) {
      int32_t y = source(out_y, w->pad_top, ky, w->dilation_h, w->stride_h, x->dims[2]);
      if (y < 0) continue;
      int64_t first = ((image * x->dims[1] + z) * x->dims[2] + y) * width;
      const float *pixels = (const float *)x->data + (size_t)first * (size_t)d->channels;
      const char *set = packed + (uint64_t)(kz * w->kernel_h + ky) * (uint64_t)d->panels * d->panel_bytes;
      for (int32_t i = 0; i < width; i += u->f32_gemm->mr) {
        int32_t count = width - i < u->f32_gemm->mr ? width - i : u->f32_gemm->mr;
        const float *rows[RLT_MAX_MR];
        for (int32_t j = 0; j < count; j++) rows[j] = pixels + (size_t)(i + j) * (size_t)d->channels;
        multiply(u, d, set, rows, count, product, -infinity, infinity);
        add_products(u->loops, d, product, i, count, row);
      }
    }
  }
  for (int64_t i = 0; i < (int64_t)w->in_w * d->outputs; i++) row[i] = rlt_clamp_f32(row[i], d->lo, d->hi);
}

static rlt_status run_transpose(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const conv_3d_data *d = n->data;
  const char *packed = n->packed;
  if (n->out[0]->count == 0) return RLT_OK;
  if (d->pack_at_run) {
    pack_transpose_into(r->u, n, r->scratch);
    packed = r->scratch;
  }
  int64_t begin, end;
  float *product = (float *)(void *)((char *)r->scratch + d->at_product);
  rlt_part(n, rlt_span(n->out[0], 0, 3), first, last, &begin, &end);
  for (int64_t line = begin; line < end; line++) transpose_row(r->u, n, packed, product, line);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_conv_3d = {"CONV_3D", sizeof(conv_3d_data), 1, false, prepare, pack, run};
const rlt_kernel rlt_kernel_conv_3d_transpose = {"CONV_3D_TRANSPOSE", sizeof(conv_3d_data), 1, false, prepare_transpose,
                                                 pack_transpose,      run_transpose};
