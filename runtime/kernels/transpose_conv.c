/* SPDX-License-Identifier: Apache-2.0
 * TRANSPOSE_CONV, and Convolution2DTransposeBias, its custom form with a bias and without an output shape.
 * Seen backwards it is a convolution of the output, whose window tells where each input pixel adds to. An output row
 * takes from every row of the window at most one input row: that row's pixels times the weights of the window's row
 * give, for each pixel, a run of neighbouring output pixels, which are added up. So nothing is multiplied in vain. */
#include "common.h"
#include "matrix.h"
#include "mediapipe.h"
#include "quantize_math.h"
#include "window.h"

#define TILE_MACS 262144

typedef struct tconv_data {
  rlt_weighted w;
  rlt_window window;                /* of the output, as if a convolution took it to the input */
  rlt_node_def def;                 /* with `in`: the node as operators with weights usually are */
  rlt_tensor *in[3];                /* input, weights, bias */
  int32_t outputs, columns, panels; /* columns: of one row of the window, [kernel_w][outputs] */
  uint64_t panel_bytes;
  uint64_t at_sums, at_ends, at_spare, pack_bytes; /* packed: panels, column sums, bias and scale, one row */
  uint64_t at_product, at_row, at_image;           /* in scratch */
  uint64_t at_columns;                             /* FIXED, packed: how each output channel's sums are rounded */
  uint64_t at_low, at_pixels;                      /* FIXED, scratch: low halves of the products; sums of pixels */
  uint64_t image_values;
  bool pack_at_run;
} tconv_data;

static const rlt_roundings ROUNDINGS = {RLT_ROUND_EVEN, RLT_ROUND_SHORT, false};

static uint64_t align64(uint64_t x) { return (x + 63) & ~(uint64_t)63; }

static bool is_fixed(const tconv_data *d) { return d->w.family == RLT_FAMILY_FIXED; }
/* Whether the products are of int8 values that the image becomes first. */
static bool converts_image(const tconv_data *d) { return is_fixed(d) || d->w.family == RLT_FAMILY_HYBRID; }
static int32_t planes_of(const tconv_data *d) { return d->in[0]->type == RLT_TYPE_INT16 ? 2 : 1; }

/* The node with input, weights and bias as its inputs. */
static rlt_node weighted(const rlt_node *n) {
  tconv_data *d = n->data;
  rlt_node view = *n;
  view.def = &d->def;
  view.in = d->in;
  return view;
}

/* ---- prepare ---- */

static void plan(const rlt_prep *p, rlt_node *n, tconv_data *d) {
  const rlt_ukernels *u = p->u;
  const rlt_tensor *x = d->in[0];
  bool is_float = d->w.family == RLT_FAMILY_FLOAT;
  uint64_t element = is_float ? sizeof(float) : 1, columns = (uint64_t)d->columns, outputs = (uint64_t)d->outputs;
  int32_t nr = is_float ? u->f32_gemm->nr : u->s8_gemm->nr, mr = is_float ? u->f32_gemm->mr : u->s8_gemm->mr;
  d->panels = (d->columns - 1) / nr + 1;
  d->panel_bytes = rlt_panel_bytes(u, d->w.family, x->dims[3]);
  uint64_t window_rows = (uint64_t)d->window.kernel_h;
  d->at_sums = align64(rlt_saturating_product(window_rows * (uint64_t)d->panels, d->panel_bytes));
  d->at_ends = align64(d->at_sums + window_rows * columns * sizeof(int32_t));
  d->at_spare = align64(d->at_ends + 2 * outputs * sizeof(float));
  d->at_columns = align64(d->at_spare + (uint64_t)nr * (uint64_t)x->dims[3] * element);
  d->pack_bytes = d->at_columns + (is_fixed(d) ? align64(outputs * sizeof(rlt_column)) : 0);
  d->pack_at_run = !d->in[1]->is_const || (d->in[2] && !d->in[2]->is_const);
  d->image_values = x->dims[0] > 0 ? x->count / (uint64_t)x->dims[0] : 0;
  n->packed_bytes = d->pack_at_run ? 0 : d->pack_bytes;
  d->at_product = d->pack_at_run ? d->pack_bytes : 0;
  uint64_t planes = (uint64_t)planes_of(d), row_values = (uint64_t)d->window.in_w * outputs;
  d->at_low = d->at_product + align64((uint64_t)mr * columns * sizeof(float));
  d->at_row = d->at_low + (planes == 2 ? align64((uint64_t)mr * columns * sizeof(int32_t)) : 0);
  d->at_image = d->at_row + (is_float ? 0 : align64(row_values * (is_fixed(d) ? sizeof(int64_t) : sizeof(int32_t))));
  d->at_pixels = d->at_image + (converts_image(d) ? align64(d->image_values * planes) : 0);
  uint64_t pixels = d->image_values / (uint64_t)x->dims[3];
  n->scratch_bytes = d->at_pixels + (is_fixed(d) ? align64(pixels * sizeof(int32_t)) : 0);
  uint64_t pixel_macs = rlt_saturating_product(columns * window_rows, (uint64_t)x->dims[3]);
  n->macs = rlt_saturating_product(x->count / (uint64_t)x->dims[3], pixel_macs);
  int64_t rows = (int64_t)x->dims[0] * d->window.in_h;
  uint64_t row_macs = rows > 0 ? n->macs / (uint64_t)rows : 0,
           each = row_macs < TILE_MACS ? TILE_MACS / (row_macs + 1) : 1;
  int64_t tiles = rows > 0 ? (rows - 1) / (int64_t)each + 1 : 1;
  if (converts_image(d) && tiles > 16) tiles = 16; /* each tile converts its images anew */
  n->tiles = d->pack_at_run ? 1 : (tiles > INT32_MAX ? INT32_MAX : (int32_t)tiles);
  n->loop = is_float ? u->f32_gemm->name : u->s8_gemm->name;
}

/* `inputs` names input, weights and bias; `window` is of the output. */
static rlt_status prepare_any(rlt_prep *p, rlt_node *n, const int32_t *inputs, int32_t padding, int32_t activation,
                              rlt_window window) {
  tconv_data *d = n->data;
  d->def = *n->def;
  d->def.n_inputs = 3;
  for (int32_t i = 0; i < 3; i++) d->in[i] = inputs[i] < n->def->n_inputs ? n->in[inputs[i]] : NULL;
  const rlt_tensor *x = d->in[0], *weights = d->in[1];
  d->window = window;
  RLT_TRY(rlt_window_resolve(p, padding, &d->window));
  d->outputs = weights->dims[0];
  int64_t columns = (int64_t)weights->dims[2] * d->outputs;
  RLT_REQUIRE(p->err, columns <= INT32_MAX / 64 && (int64_t)x->dims[0] * d->window.in_h <= INT32_MAX, RLT_LIMIT,
              "%T with weights %T is too large a convolution", x, weights);
  d->columns = (int32_t)columns;
  RLT_TRY(rlt_set_shape(p, n->out[0], 4, (int32_t[]){x->dims[0], d->window.in_h, d->window.in_w, d->outputs}));
  rlt_node view = weighted(n);
  RLT_TRY(rlt_check_product(p, &view, 0, d->outputs, activation, &ROUNDINGS, &d->w));
  int64_t depth = (int64_t)(weights->count / (uint64_t)d->outputs);
  RLT_TRY(rlt_check_depth(p, &view, depth < INT32_MAX ? (int32_t)depth : INT32_MAX));
  plan(p, n, d);
  for (int32_t i = 1; i < 3 && !d->pack_at_run; i++) n->packed_inputs |= d->in[i] ? RLT_INPUT_BIT(inputs[i]) : 0;
  return RLT_OK;
}

/* Input and weights [outputs, height, width, channels] that go together. */
static rlt_status check_shapes(rlt_prep *p, const rlt_tensor *x, const rlt_tensor *weights) {
  RLT_REQUIRE(p->err, x->rank == 4 && weights->rank == 4, RLT_BAD_MODEL, "%T and weights %T must have 4 dimensions", x,
              weights);
  RLT_REQUIRE(p->err, weights->count > 0, RLT_BAD_MODEL, "weights %T are empty", weights);
  uint64_t types = RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8);
  RLT_TRY(rlt_check_type(p, weights, types, "FLOAT32, INT8 or UINT8 weights"));
  RLT_REQUIRE(p->err, weights->dims[3] == x->dims[3], RLT_BAD_MODEL, "weights %T take %d channels, %T has %d", weights,
              weights->dims[3], x, x->dims[3]);
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  const rlt_table *o = &n->def->options;
  int32_t shape[RLT_MAX_RANK], rank;
  RLT_TRY(rlt_check_arity(p, n, 3, 4, 1));
  const rlt_tensor *weights = n->in[1], *x = n->in[2];
  RLT_TRY(check_shapes(p, x, weights));
  RLT_TRY(rlt_check_type(p, n->in[0], RLT_BIT(RLT_TYPE_INT32), "INT32"));
  RLT_TRY(rlt_const_ints(p, n->in[0], RLT_MAX_RANK, shape, &rank));
  bool fits = rank == 4 && shape[0] == x->dims[0] && shape[1] > 0 && shape[2] > 0 && shape[3] == weights->dims[0];
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T holds no output shape for %T with weights %T", n->in[0], x, weights);
  rlt_window window = {.in_h = shape[1],
                       .in_w = shape[2],
                       .kernel_h = weights->dims[1],
                       .kernel_w = weights->dims[2],
                       .stride_h = rlt_fb_i32(o, RLT_SLOT_TransposeConvOptions_stride_h, 0),
                       .stride_w = rlt_fb_i32(o, RLT_SLOT_TransposeConvOptions_stride_w, 0),
                       .dilation_h = 1,
                       .dilation_w = 1};
  int32_t padding = rlt_fb_i8(o, RLT_SLOT_TransposeConvOptions_padding, RLT_PADDING_SAME);
  int32_t activation = rlt_fb_i8(o, RLT_SLOT_TransposeConvOptions_fused_activation_function, RLT_ACT_NONE);
  return prepare_any(p, n, (const int32_t[]){2, 1, 3}, padding, activation, window);
}

/* What stride and a window make of an axis of `in`, by MediaPipe's rule: of the sizes that SAME takes to `in`, the one
 * that leaves as much for its last step as the input leaves for its own; -1: too much. */
static int32_t grown(int32_t in, int32_t kernel, int32_t stride, int32_t padding) {
  if (in <= 0 || stride <= 0) return -1;
  int32_t rest = (in - 1) % stride + 1, last = padding == RLT_PADDING_SAME && rest < kernel ? rest : kernel;
  int64_t out = (int64_t)(in - 1) * stride + last;
  return out <= INT32_MAX / 4 ? (int32_t)out : -1;
}

/* Options: padding, stride_width, stride_height. */
static rlt_status prepare_with_bias(rlt_prep *p, rlt_node *n) {
  int32_t padding = 0, stride_w = rlt_options_field(n, 1), stride_h = rlt_options_field(n, 2);
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 1));
  const rlt_tensor *x = n->in[0], *weights = n->in[1];
  RLT_TRY(check_shapes(p, x, weights));
  RLT_TRY(rlt_options_padding(p, rlt_options_field(n, 0), &padding));
  rlt_window window = {.in_h = grown(x->dims[1], weights->dims[1], stride_h, padding),
                       .in_w = grown(x->dims[2], weights->dims[2], stride_w, padding),
                       .kernel_h = weights->dims[1],
                       .kernel_w = weights->dims[2],
                       .stride_h = stride_h,
                       .stride_w = stride_w,
                       .dilation_h = 1,
                       .dilation_w = 1};
  RLT_REQUIRE(p->err, window.in_h > 0 && window.in_w > 0, RLT_BAD_MODEL,
              "%T with weights %T and strides %d and %d gives no output", x, weights, stride_h, stride_w);
  return prepare_any(p, n, (const int32_t[]){0, 1, 2}, padding, RLT_ACT_NONE, window);
}

/* ---- packing ---- */

/* Copies the weights of up to nr columns of one row of the window, which lie apart, one after the other. */
static void gather_columns(const tconv_data *d, int32_t ky, int32_t first, int32_t count, uint64_t bytes, char *to) {
  const rlt_window *w = &d->window;
  const char *weights = d->in[1]->data;
  for (int32_t j = first; j < first + count; j++, to += bytes) {
    uint64_t o = (uint64_t)(j % d->outputs), kx = (uint64_t)(j / d->outputs);
    uint64_t at = (o * (uint64_t)w->kernel_h + (uint64_t)ky) * (uint64_t)w->kernel_w + kx;
    rlt_copy(to, weights + at * bytes, bytes);
  }
}

/* Bias, then the factor of each output channel's sums. */
static void pack_ends(const rlt_node *view, const tconv_data *d, void *to) {
  const rlt_tensor *bias = d->in[2];
  float *scales = (float *)to + d->outputs;
  __builtin_memset(to, 0, (size_t)d->outputs * sizeof(float));
  if (bias && !is_fixed(d)) rlt_copy(to, bias->data, bias->bytes);
  for (int32_t o = 0; o < d->outputs && d->w.family != RLT_FAMILY_FLOAT && !is_fixed(d); o++) {
    float weight_scale = rlt_scale(d->in[1], d->in[1]->def->quant.n > 1 ? o : 0);
    scales[o] = d->w.family == RLT_FAMILY_INT8 ? rlt_requant_scale(view, o) : weight_scale;
  }
}

/* FIXED: base is the bias; what zero points add depends on the window. */
static void pack_columns(const rlt_node *view, const tconv_data *d, rlt_column *to) {
  for (int32_t o = 0; o < d->outputs; o++) {
    rlt_fixed_column(view, &d->w.fixed, o, &to[o]);
    to[o].base = rlt_bias_at(d->in[2], o);
  }
}

/* What int8 activations a are to be raised by: x - zero point = a + offset, or for INT16 256 high + low + offset. */
static int32_t offset_of(const tconv_data *d) {
  int32_t raised = d->in[0]->type == RLT_TYPE_INT8 ? 0 : 128;
  return raised - rlt_zero_point(d->in[0], 0);
}

/* The sum of k weights, and of FIXED that sum less zero points times the offset of the activations. */
static int32_t column_sum(const tconv_data *d, rlt_weights w, int32_t o, int32_t k) {
  uint32_t sum = 0;
  for (int32_t i = 0; i < k; i++) {
    int32_t weight = rlt_weight_s8(w, (uint64_t)i);
    sum += (uint32_t)weight;
  }
  if (!is_fixed(d)) return (int32_t)sum;
  return (int32_t)((uint32_t)offset_of(d) * (sum - (uint32_t)k * (uint32_t)rlt_weight_zero(d->in[1], o)));
}

static void pack_into(const rlt_ukernels *u, const rlt_node *n, char *dst) {
  const tconv_data *d = n->data;
  const rlt_node view = weighted(n);
  int32_t type = d->in[1]->type, k = d->in[0]->dims[3],
          nr = d->w.family == RLT_FAMILY_FLOAT ? u->f32_gemm->nr : u->s8_gemm->nr;
  int32_t offset = u->s8_gemm->a_offset + (d->w.family == RLT_FAMILY_INT8 ? rlt_zero_point(d->in[0], 0) : 0);
  int32_t *sums = (int32_t *)(void *)(dst + d->at_sums);
  char *panel = dst, *spare = dst + d->at_spare;
  for (int32_t ky = 0; ky < d->window.kernel_h; ky++) {
    for (int32_t j = 0; j < d->columns; j += nr, panel += d->panel_bytes) {
      int32_t count = d->columns - j < nr ? d->columns - j : nr;
      if (d->w.family == RLT_FAMILY_FLOAT) {
        gather_columns(d, ky, j, count, (uint64_t)k * sizeof(float), spare);
        rlt_pack_f32_panel((const float *)(void *)spare, NULL, k, count, nr, (float *)(void *)panel);
      } else {
        gather_columns(d, ky, j, count, (uint64_t)k, spare);
        rlt_pack_s8_weights(u->s8_gemm, (rlt_weights){spare, type}, 0, NULL, NULL, offset, k, count, panel);
        for (int32_t i = 0; i < count; i++)
          *sums++ = column_sum(d, (rlt_weights){spare + (size_t)i * (size_t)k, type}, (j + i) % d->outputs, k);
      }
    }
  }
  pack_ends(&view, d, dst + d->at_ends);
  if (is_fixed(d)) pack_columns(&view, d, (rlt_column *)(void *)(dst + d->at_columns));
}

static void pack(const rlt_ukernels *u, const rlt_node *n) {
  const tconv_data *d = n->data;
  if (!d->pack_at_run) pack_into(u, n, n->packed);
}

/* ---- run ---- */

/* What one thread works with. */
typedef struct work {
  const rlt_ukernels *u;
  const tconv_data *d;
  const char *packed;
  char *product, *low; /* of some pixels with one row of the window; INT16: of their low halves */
  int32_t *pixels;     /* FIXED: sums of the image's pixels */
  const char *image;   /* of the input, as the product takes it */
  rlt_row_quant quant; /* HYBRID: of the image */
  void *row;           /* the output row's sums: FLOAT the row itself */
} work;

/* Multiplies `count` neighbouring input pixels with row ky of the window. */
static void multiply(const work *k, const char *pixels, int32_t count, int32_t ky, void *product) {
  const tconv_data *d = k->d;
  bool is_float = d->w.family == RLT_FAMILY_FLOAT;
  int32_t channels = d->in[0]->dims[3], nr = is_float ? k->u->f32_gemm->nr : k->u->s8_gemm->nr;
  const void *at[RLT_MAX_MR];
  for (int32_t i = 0; i < count; i++) at[i] = pixels + (size_t)i * (size_t)channels * (is_float ? sizeof(float) : 1);
  const char *panel = k->packed + (uint64_t)ky * (uint64_t)d->panels * d->panel_bytes;
  const float infinity = __builtin_inff();
  for (int32_t j = 0; j < d->columns; j += nr, panel += d->panel_bytes) {
    int32_t n = d->columns - j < nr ? d->columns - j : nr;
    if (is_float)
      k->u->f32_gemm->run(count, n, channels, (const float *const *)(const void *)at,
                          (const float *)(const void *)panel, (float *)product + j, (size_t)d->columns, -infinity,
                          infinity);
    else
      k->u->s8_gemm->run_s32(count, n, channels, (const int8_t *const *)(const void *)at, panel, (int32_t *)product + j,
                             (size_t)d->columns);
  }
}

/* The same for FIXED: `count` products from `first` on of a pixel whose values have the sum pixel_sum. */
static void add_fixed(const work *k, size_t product, int64_t first, int64_t count, int32_t ky, int32_t pixel_sum,
                      int64_t *row) {
  const tconv_data *d = k->d;
  const int32_t *high = (const int32_t *)(const void *)k->product + product, *low = NULL;
  if (planes_of(d) == 2) low = (const int32_t *)(const void *)k->low + product;
  const int32_t *sums = (const int32_t *)(const void *)(k->packed + d->at_sums) + (int64_t)ky * d->columns;
  const rlt_column *columns = (const rlt_column *)(const void *)(k->packed + d->at_columns);
  for (int64_t i = first; i < first + count; i++) {
    int64_t value = low ? (int64_t)high[i] * 256 + low[i] : high[i];
    *row++ += value + sums[i] - (int64_t)pixel_sum * columns[i % d->outputs].weight_zero;
  }
}

/* Adds the products of input pixel x, the i-th of those multiplied, to the output row: `kernel_w` pixels from
 * x * stride - padding on. pixel_sum is of FIXED. */
static void add_run(const work *k, int32_t i_product, int32_t x, int32_t ky, int32_t pixel_sum) {
  const tconv_data *d = k->d;
  size_t at_product = (size_t)i_product * (size_t)d->columns;
  const char *product = k->product + at_product * sizeof(float);
  const rlt_window *w = &d->window;
  int64_t to = (int64_t)x * w->stride_w - w->pad_left, from = to < 0 ? -to : 0, outputs = d->outputs;
  int64_t end = w->in_w - to < w->kernel_w ? w->in_w - to : w->kernel_w;
  if (from >= end) return;
  int64_t count = (end - from) * outputs;
  if (is_fixed(d)) {
    add_fixed(k, at_product, from * outputs, count, ky, pixel_sum, (int64_t *)k->row + (to + from) * outputs);
    return;
  }
  if (d->w.family == RLT_FAMILY_FLOAT) {
    k->u->loops->add_f32((const float *)(const void *)product + from * outputs, (float *)k->row + (to + from) * outputs,
                         count);
    return;
  }
  const int32_t *values = (const int32_t *)(const void *)product + from * outputs;
  if (k->quant.zero == 0) { /* of INT8 it is in the panels */
    k->u->loops->add_i32(values, (int32_t *)k->row + (to + from) * outputs, count);
    return;
  }
  const int32_t *sums =
      (const int32_t *)(const void *)(k->packed + d->at_sums) + (int64_t)ky * d->columns + from * outputs;
  int32_t *row = (int32_t *)k->row + (to + from) * outputs, zero = k->quant.zero;
  for (int64_t i = 0; i < count; i++)
    row[i] = (int32_t)((uint32_t)row[i] + (uint32_t)values[i] - (uint32_t)zero * (uint32_t)sums[i]);
}

static void start_row(const work *k) {
  const tconv_data *d = k->d;
  uint64_t bytes = (uint64_t)d->outputs * sizeof(int32_t);
  const char *bias = k->packed + d->at_ends;
  const rlt_column *columns = (const rlt_column *)(const void *)(k->packed + d->at_columns);
  for (int64_t i = 0; is_fixed(d) && i < (int64_t)d->window.in_w * d->outputs; i++)
    ((int64_t *)k->row)[i] = columns[i % d->outputs].base;
  for (int32_t x = 0; !is_fixed(d) && x < d->window.in_w; x++) {
    char *to = (char *)k->row + (uint64_t)x * bytes;
    if (d->w.family == RLT_FAMILY_HYBRID) __builtin_memset(to, 0, (size_t)bytes);
    else rlt_copy(to, bias, bytes);
  }
}

static void finish_fixed(const work *k, void *out) {
  const tconv_data *d = k->d;
  const rlt_column *columns = (const rlt_column *)(const void *)(k->packed + d->at_columns);
  const int64_t *sums = k->row;
  bool is_wide = rlt_fixed_is_wide(&d->w.fixed);
  rlt_fixed tail = d->w.fixed; /* of the last channels, which LiteRT's vectors leave */
  if (tail.rounding == RLT_ROUND_TIES_UP) tail.rounding = RLT_ROUND_AWAY;
  for (int64_t i = 0; i < (int64_t)d->window.in_w * d->outputs; i++) {
    int32_t o = (int32_t)(i % d->outputs);
    int64_t sum = is_wide ? sums[i] : (int32_t)(uint32_t)sums[i];
    int32_t value = rlt_fixed_value(o < d->outputs / 8 * 8 ? &d->w.fixed : &tail, &columns[o], sum);
    rlt_store_fixed(d->in[0]->type, out, (size_t)i, value);
  }
}

static void finish_row(const work *k, void *out) {
  const tconv_data *d = k->d;
  const float *bias = (const float *)(const void *)(k->packed + d->at_ends), *scales = bias + d->outputs;
  const int32_t *sums = k->row;
  float *y = out;
  int64_t count = (int64_t)d->window.in_w * d->outputs;
  const float lo = (float)(d->w.q.lo - d->w.q.zero), hi = (float)(d->w.q.hi - d->w.q.zero);
  if (d->w.family == RLT_FAMILY_FLOAT) {
    bool limited = d->w.lo > -__builtin_inff() || d->w.hi < __builtin_inff();
    for (int64_t i = 0; limited && i < count; i++) y[i] = rlt_clamp_f32(y[i], d->w.lo, d->w.hi);
    return;
  }
  for (int64_t i = 0; i < count; i += d->outputs) {
    if (d->w.family == RLT_FAMILY_INT8)
      k->u->loops->requantize_i8(sums + i, scales, (int8_t *)out + i, d->outputs, d->w.q.zero, lo, hi);
    else k->u->rows->from_sums(sums + i, d->outputs, 0, k->quant.scale, sums, scales, bias, d->w.lo, d->w.hi, y + i);
  }
}

static void output_row(const work *k, int32_t y) {
  const tconv_data *d = k->d;
  const rlt_window *w = &d->window;
  bool is_float = d->w.family == RLT_FAMILY_FLOAT;
  int32_t mr = is_float ? k->u->f32_gemm->mr : k->u->s8_gemm->mr, width = d->in[0]->dims[2];
  size_t pixel = (size_t)d->in[0]->dims[3] * (is_float ? sizeof(float) : 1);
  start_row(k);
  for (int32_t ky = 0; ky < w->kernel_h; ky++) {
    int32_t from = y + w->pad_top - ky;
    if (from < 0 || from % w->stride_h != 0 || from / w->stride_h >= d->in[0]->dims[1]) continue;
    size_t line = (size_t)(from / w->stride_h) * (size_t)width;
    for (int32_t x = 0; x < width; x += mr) {
      int32_t count = width - x < mr ? width - x : mr;
      const char *pixels = k->image + (line + (size_t)x) * pixel;
      multiply(k, pixels, count, ky, k->product);
      if (planes_of(d) == 2) multiply(k, pixels + d->image_values, count, ky, k->low);
      for (int32_t i = 0; i < count; i++) add_run(k, i, x + i, ky, is_fixed(d) ? k->pixels[line + (size_t)(x + i)] : 0);
    }
  }
}

/* FIXED: the image as int8, INT16 as high halves and then as low ones, and the sums of its pixels. */
static void convert_image(const work *k, const void *image, int8_t *to) {
  const tconv_data *d = k->d;
  uint64_t values = d->image_values, channels = (uint64_t)d->in[0]->dims[3];
  for (uint64_t i = 0; i < values && planes_of(d) == 2; i++) {
    int32_t x = ((const int16_t *)image)[i];
    to[i] = (int8_t)(x >> 8);
    to[values + i] = (int8_t)((x & 255) - 128);
  }
  if (d->in[0]->type == RLT_TYPE_INT8) rlt_copy(to, image, values);
  for (uint64_t i = 0; i < values && d->in[0]->type == RLT_TYPE_UINT8; i++)
    to[i] = (int8_t)(((const uint8_t *)image)[i] - 128);
  for (uint64_t i = 0; i < values / channels; i++) /* INT16 has weights of zero point 0: it needs none */
    k->pixels[i] = planes_of(d) == 1 ? rlt_sum_s8(to + i * channels, (int32_t)channels) : 0;
}

/* Makes image number `index` what the products take. */
static void enter_image(work *k, int64_t index, int8_t *values) {
  const tconv_data *d = k->d;
  k->image = (const char *)d->in[0]->data + (uint64_t)index * d->image_values * rlt_type_bytes(d->in[0]->type);
  if (!converts_image(d)) return;
  if (is_fixed(d)) convert_image(k, k->image, values);
  else k->quant = rlt_quantize_dynamic(k->u, (const float *)(const void *)k->image, d->image_values, values);
  k->image = (const char *)values;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const tconv_data *d = n->data;
  const rlt_tensor *x = d->in[0];
  char *scratch = r->scratch;
  bool is_float = d->w.family == RLT_FAMILY_FLOAT;
  work k = {.u = r->u, .d = d, .packed = n->packed, .product = scratch + d->at_product, .row = scratch + d->at_row};
  k.low = scratch + d->at_low;
  k.pixels = (int32_t *)(void *)(scratch + d->at_pixels);
  if (n->out[0]->count == 0) return RLT_OK;
  if (d->pack_at_run) {
    pack_into(r->u, n, scratch);
    k.packed = scratch;
  }
  int64_t begin, end, height = d->window.in_h, image = -1;
  rlt_part(n, x->dims[0] * height, first, last, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    if (row / height != image) {
      image = row / height;
      enter_image(&k, image, (int8_t *)scratch + d->at_image);
    }
    uint64_t at = (uint64_t)(row * d->window.in_w * d->outputs);
    char *out = (char *)n->out[0]->data + at * rlt_type_bytes(x->type);
    if (is_float) k.row = out;
    output_row(&k, (int32_t)(row % height));
    if (is_fixed(d)) finish_fixed(&k, out);
    else finish_row(&k, out);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_transpose_conv = {"TRANSPOSE_CONV", sizeof(tconv_data), 5, false, prepare, pack, run};
const rlt_kernel rlt_kernel_convolution_2d_transpose_bias = {
    "Convolution2DTransposeBias", sizeof(tconv_data), 1, false, prepare_with_bias, pack, run};
