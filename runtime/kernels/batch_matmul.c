/* SPDX-License-Identifier: Apache-2.0
 * Work is cut into panels of columns over all batches, so that a computed y is packed once, panel by panel. */
#include "batch_matmul.h"

#define TILE_MACS 262144

static uint64_t align64(uint64_t x) { return (x + 63) & ~(uint64_t)63; }
static bool is_float(const rlt_batch_matmul *d) { return d->kind == RLT_PRODUCT_FLOAT; }
static rlt_family family_of(const rlt_batch_matmul *d) { return is_float(d) ? RLT_FAMILY_FLOAT : RLT_FAMILY_INT8; }

/* ---- prepare ---- */

/* Leading dimensions of both, broadcast. */
static rlt_status set_batches(rlt_prep *p, const rlt_node *n, rlt_batch_matmul *d, int32_t *dims) {
  const rlt_tensor *x = n->in[0], *y = n->in[1];
  d->batch_rank = (x->rank > y->rank ? x->rank : y->rank) - 2;
  int64_t x_step = 1, y_step = 1;
  uint64_t batches = 1;
  for (int32_t i = d->batch_rank - 1; i >= 0; i--) {
    int32_t xd = i - (d->batch_rank - (x->rank - 2)), yd = i - (d->batch_rank - (y->rank - 2));
    int32_t a = xd < 0 ? 1 : x->dims[xd], b = yd < 0 ? 1 : y->dims[yd];
    RLT_REQUIRE(p->err, a == b || a == 1 || b == 1, RLT_BAD_MODEL, "leading dimensions of %T and %T do not broadcast",
                x, y);
    dims[i] = a == 1 ? b : a;
    d->batch_dims[i] = dims[i];
    d->x_step[i] = a == 1 ? 0 : x_step;
    d->y_step[i] = b == 1 ? 0 : y_step;
    x_step *= a;
    y_step *= b;
    batches = rlt_saturating_product(batches, (uint64_t)dims[i]);
  }
  RLT_REQUIRE(p->err, batches <= INT32_MAX, RLT_LIMIT, "%T and %T make too many products", x, y);
  d->batches = (int64_t)batches;
  return RLT_OK;
}

static rlt_status quantized_kind(rlt_prep *p, const rlt_node *n, rlt_batch_matmul *d) {
  const rlt_tensor *x = n->in[0], *y = n->in[1], *out = n->out[0];
  RLT_TRY(rlt_require_quantized(p, x));
  RLT_TRY(rlt_require_quantized(p, y));
  RLT_TRY(rlt_require_quantized(p, out));
  float product = rlt_scale(x, 0) * rlt_scale(y, 0);
  d->multiplier = rlt_make_multiplier((double)product / (double)rlt_scale(out, 0));
  d->q.zero = rlt_zero_point(out, 0);
  d->q.lo = rlt_type_min(out->type);
  d->q.hi = rlt_type_max(out->type);
  if (d->kind != RLT_PRODUCT_INT16) {
    d->kind = rlt_zero_point(y, 0) == 0 ? RLT_PRODUCT_INT8 : RLT_PRODUCT_INT8_AWAY;
    float factor = product / rlt_scale(out, 0);
    RLT_REQUIRE(p->err, factor > 0.0f && factor < 3.0e38f, RLT_BAD_MODEL,
                "scales of %T, %T and %T give no finite factor", x, y, out);
    return RLT_OK;
  }
  bool centred = rlt_zero_point(x, 0) == 0 && rlt_zero_point(y, 0) == 0 && d->q.zero == 0;
  RLT_REQUIRE(p->err, centred, RLT_UNSUPPORTED, "zero points of %T, %T and %T must be 0", x, y, out);
  RLT_REQUIRE(p->err, d->multiplier.shift < 15, RLT_UNSUPPORTED, "scales of %T, %T and %T: a factor above 2^14", x, y,
              out);
  return RLT_OK;
}

static rlt_status choose_kind(rlt_prep *p, const rlt_node *n, rlt_batch_matmul *d) {
  const rlt_tensor *x = n->in[0], *y = n->in[1], *out = n->out[0];
  bool bytes = y->type == RLT_TYPE_INT8;
  if (x->type == RLT_TYPE_FLOAT32 && y->type == RLT_TYPE_FLOAT32 && out->type == x->type) {
    d->kind = RLT_PRODUCT_FLOAT;
  } else if (x->type == RLT_TYPE_FLOAT32 && bytes && out->type == x->type) {
    d->kind = RLT_PRODUCT_HYBRID;
    const rlt_quant *q = &y->def->quant;
    int32_t axis = d->transposed_y ? y->rank - 2 : y->rank - 1;
    RLT_REQUIRE(p->err, q->n == 1 || (q->n == d->columns && q->axis == axis), RLT_BAD_MODEL,
                "%T has %d scales along axis %d; wanted 1, or %d along axis %d", y, q->n, q->axis, d->columns, axis);
    for (int32_t i = 0; i < q->n; i++)
      RLT_REQUIRE(p->err, rlt_zero_point(y, q->zeros.count == 1 ? 0 : i) == 0, RLT_UNSUPPORTED,
                  "%T has a zero point that is not 0", y);
  } else if (x->type == RLT_TYPE_INT8 && bytes && out->type == RLT_TYPE_INT32) {
    d->kind = RLT_PRODUCT_INT32;
  } else if (x->type == RLT_TYPE_INT8 && bytes && out->type == RLT_TYPE_INT8) {
    d->kind = RLT_PRODUCT_INT8;
    return quantized_kind(p, n, d);
  } else if (x->type == RLT_TYPE_INT16 && (bytes || y->type == RLT_TYPE_INT16) && out->type == RLT_TYPE_INT16) {
    d->kind = RLT_PRODUCT_INT16;
    return quantized_kind(p, n, d);
  } else {
    return rlt_fail(p->err, RLT_UNSUPPORTED,
                    "%T times %T to %T: supported are FLOAT32 times FLOAT32 or INT8, INT8 times INT8 to INT8 or INT32, "
                    "and INT16 times INT16 or INT8",
                    x, y, out);
  }
  return RLT_OK;
}

static void plan(const rlt_prep *p, rlt_node *n, rlt_batch_matmul *d) {
  const rlt_ukernels *u = p->u;
  const rlt_tensor *y = n->in[1];
  int32_t nr = is_float(d) ? u->f32_gemm->nr : u->s8_gemm->nr;
  uint64_t rows = (uint64_t)d->rows, depth = (uint64_t)d->depth, columns = (uint64_t)d->columns;
  bool hybrid = d->kind == RLT_PRODUCT_HYBRID;
  d->panels = (int32_t)((columns + (uint64_t)nr - 1) / (uint64_t)nr);
  d->panel_bytes = align64(rlt_panel_bytes(u, family_of(d), d->depth));
  d->pack_at_run = !y->is_const || y->count == 0; /* nothing to multiply still leaves zeros */
  uint64_t matrices = d->pack_at_run || columns * depth == 0 ? 0 : y->count / (columns * depth);
  uint64_t kept = d->pack_at_run ? 1 : matrices * (uint64_t)d->panels;
  d->at_sums = rlt_saturating_product(kept, d->panel_bytes);
  d->at_spare = align64(d->at_sums + (hybrid ? kept * 2 * sizeof(float) * (uint64_t)nr : 0));
  bool gathers = !is_float(d) && !d->transposed_y;
  d->pack_bytes = align64(d->at_spare + (gathers ? (uint64_t)nr * depth : 0));
  n->packed_bytes = d->pack_at_run ? 0 : d->pack_bytes;
  n->packed_inputs = d->pack_at_run ? 0 : RLT_INPUT_BIT(1);
  bool builds = d->transposed_x || hybrid;
  d->row_stride = is_float(d) ? depth * sizeof(float) : (depth + 15) / 16 * 16;
  d->at_rows = d->pack_at_run ? d->pack_bytes : 0;
  d->at_quant = d->at_rows + (builds ? align64(rows * d->row_stride) : 0);
  d->at_row_sums = d->at_quant + (hybrid ? align64(rows * sizeof(rlt_row_quant)) : 0);
  d->at_line = d->at_row_sums + (d->kind == RLT_PRODUCT_INT8_AWAY ? align64(rows * sizeof(int32_t)) : 0);
  d->at_product = d->at_line + (hybrid && d->transposed_x ? align64(depth * sizeof(float)) : 0);
  n->scratch_bytes = d->at_product + RLT_MAX_MR * (uint64_t)nr * sizeof(int32_t);
  n->loop = is_float(d) ? u->f32_gemm->name : u->s8_gemm->name;
  uint64_t units = rlt_saturating_product((uint64_t)d->batches, (uint64_t)d->panels);
  uint64_t unit_macs = rlt_saturating_product(rows * depth, (uint64_t)nr);
  uint64_t each = unit_macs < TILE_MACS ? TILE_MACS / (unit_macs + 1) : 1,
           tiles = units > 0 ? (units - 1) / each + 1 : 1;
  n->tiles = tiles > INT32_MAX ? INT32_MAX : (int32_t)tiles;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  rlt_batch_matmul *d = n->data;
  const rlt_table *o = &n->def->options;
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  const rlt_tensor *x = n->in[0], *y = n->in[1];
  RLT_REQUIRE(p->err, x->rank >= 2 && y->rank >= 2, RLT_BAD_MODEL, "%T and %T must have 2 dimensions or more", x, y);
  *d = (rlt_batch_matmul){.transposed_x = rlt_fb_bool(o, RLT_SLOT_BatchMatMulOptions_adj_x, false),
                          .transposed_y = rlt_fb_bool(o, RLT_SLOT_BatchMatMulOptions_adj_y, false)};
  const int32_t *a = x->dims + x->rank - 2, *b = y->dims + y->rank - 2;
  d->rows = d->transposed_x ? a[1] : a[0];
  d->depth = d->transposed_x ? a[0] : a[1];
  d->columns = d->transposed_y ? b[0] : b[1];
  RLT_REQUIRE(p->err, (d->transposed_y ? b[1] : b[0]) == d->depth, RLT_BAD_MODEL,
              "rows of %T and columns of %T differ in length", x, y);
  int32_t dims[RLT_MAX_RANK];
  RLT_TRY(set_batches(p, n, d, dims));
  dims[d->batch_rank] = d->rows;
  dims[d->batch_rank + 1] = d->columns;
  RLT_TRY(rlt_set_shape(p, n->out[0], d->batch_rank + 2, dims));
  RLT_TRY(choose_kind(p, n, d));
  n->macs = rlt_saturating_product(n->out[0]->count, (uint64_t)d->depth);
  uint64_t largest = rlt_saturating_product((uint64_t)d->rows, (uint64_t)d->depth);
  RLT_REQUIRE(p->err, largest <= INT64_MAX / 64, RLT_LIMIT, "%T is too large", x);
  uint64_t shared = (uint64_t)d->rows * (uint64_t)d->batches; /* one y: the rows of all batches go together */
  if (!d->transposed_x && y->count == (uint64_t)d->columns * (uint64_t)d->depth && d->columns > 0 && d->depth > 0 &&
      n->out[0]->count > 0 && shared <= INT32_MAX) {
    d->rows = (int32_t)shared;
    d->batches = 1;
    d->batch_rank = 0;
  }
  if (d->kind == RLT_PRODUCT_INT16) n->tiles = rlt_unit_tiles(d->batches * d->rows, (int64_t)d->columns * d->depth);
  else plan(p, n, d);
  return RLT_OK;
}

/* ---- packing ---- */

static void pack_panel(const rlt_ukernels *u, const rlt_node *n, int64_t matrix, int32_t j, char *panel, char *sums,
                       int8_t *spare) {
  const rlt_batch_matmul *d = n->data;
  int32_t nr = is_float(d) ? u->f32_gemm->nr : u->s8_gemm->nr, count = d->columns - j < nr ? d->columns - j : nr;
  size_t at = (size_t)matrix * (size_t)d->columns * (size_t)d->depth, depth = (size_t)d->depth;
  if (is_float(d)) {
    rlt_pack_f32_columns(u, (const float *)n->in[1]->data + at, d->transposed_y, d->columns, d->depth, j,
                         (float *)(void *)panel);
    return;
  }
  const int8_t *y = (const int8_t *)n->in[1]->data + at, *from = spare;
  if (d->transposed_y) {
    from = y + (size_t)j * depth;
  } else {
    for (size_t k = 0; k < depth; k++)
      for (int32_t i = 0; i < count; i++) spare[(size_t)i * depth + k] = y[k * (size_t)d->columns + (size_t)(j + i)];
  }
  bool centred = d->kind == RLT_PRODUCT_INT8 || d->kind == RLT_PRODUCT_INT8_AWAY;
  float scales[RLT_MAX_NR];
  float factor =
      d->kind == RLT_PRODUCT_INT8 ? rlt_scale(n->in[0], 0) * rlt_scale(n->in[1], 0) / rlt_scale(n->out[0], 0) : 0.0f;
  for (int32_t i = 0; i < count; i++) scales[i] = factor;
  int32_t offset = u->s8_gemm->a_offset + (centred ? rlt_zero_point(n->in[0], 0) : 0);
  rlt_pack_s8_panel(u->s8_gemm, from, NULL, scales, offset, d->depth, count, panel);
  if (d->kind != RLT_PRODUCT_HYBRID) return;
  int32_t *column_sums = (int32_t *)(void *)sums;
  float *column_scales = (float *)(void *)sums + nr;
  for (int32_t i = 0; i < nr; i++) {
    column_sums[i] = i < count ? rlt_sum_s8(from + (size_t)i * depth, d->depth) : 0;
    column_scales[i] = i < count ? rlt_scale(n->in[1], n->in[1]->def->quant.n > 1 ? j + i : 0) : 0.0f;
  }
}

static void pack(const rlt_ukernels *u, const rlt_node *n) {
  const rlt_batch_matmul *d = n->data;
  if (d->kind == RLT_PRODUCT_INT16 || d->pack_at_run || n->in[1]->count == 0) return;
  int32_t nr = is_float(d) ? u->f32_gemm->nr : u->s8_gemm->nr;
  char *packed = n->packed, *panel = packed, *sums = packed + d->at_sums;
  int64_t matrices = (int64_t)(n->in[1]->count / ((uint64_t)d->columns * (uint64_t)d->depth));
  for (int64_t matrix = 0; matrix < matrices; matrix++) {
    for (int32_t j = 0; j < d->columns; j += nr, panel += d->panel_bytes, sums += 2 * sizeof(float) * (size_t)nr)
      pack_panel(u, n, matrix, j, panel, sums, (int8_t *)packed + d->at_spare);
  }
}

/* ---- run ---- */

/* What one thread works with. */
typedef struct work {
  const rlt_ukernels *u;
  const rlt_node *n;
  const rlt_batch_matmul *d;
  char *scratch;
  const char *rows; /* of the x at hand, row_stride or depth apart */
  size_t stride;
} work;

static void transpose_row(const work *k, const char *x, int32_t row, char *to) {
  const rlt_batch_matmul *d = k->d;
  size_t rows = (size_t)d->rows;
  if (k->n->in[0]->type == RLT_TYPE_FLOAT32) {
    const float *from = (const float *)(const void *)x + row;
    for (int32_t i = 0; i < d->depth; i++) ((float *)(void *)to)[i] = from[(size_t)i * rows];
  } else {
    for (int32_t i = 0; i < d->depth; i++) to[i] = x[(size_t)i * rows + (size_t)row];
  }
}

/* Makes the rows of one matrix of x ready: transposed, quantized, summed, as the kind of product needs it. */
static void build_rows(work *k, int64_t matrix) {
  const rlt_batch_matmul *d = k->d;
  bool hybrid = d->kind == RLT_PRODUCT_HYBRID;
  size_t element = k->n->in[0]->type == RLT_TYPE_FLOAT32 ? sizeof(float) : 1, row = (size_t)d->depth * element;
  const char *x = (const char *)k->n->in[0]->data + (size_t)matrix * (size_t)d->rows * row;
  k->rows = x;
  k->stride = row;
  char *built = k->scratch + d->at_rows, *line = k->scratch + d->at_line;
  rlt_row_quant *quant = (rlt_row_quant *)(void *)(k->scratch + d->at_quant);
  for (int32_t i = 0; (hybrid || d->transposed_x) && i < d->rows; i++) {
    char *to = built + (size_t)i * d->row_stride;
    const char *from = x + (size_t)i * row;
    if (d->transposed_x) transpose_row(k, x, i, hybrid ? line : to);
    if (hybrid)
      quant[i] = rlt_quantize_dynamic(k->u, (const float *)(const void *)(d->transposed_x ? line : from),
                                      (uint64_t)d->depth, (int8_t *)to);
  }
  if (hybrid || d->transposed_x) k->rows = built, k->stride = (size_t)d->row_stride;
  if (d->kind != RLT_PRODUCT_INT8_AWAY) return;
  int32_t *sums = (int32_t *)(void *)(k->scratch + d->at_row_sums);
  for (int32_t i = 0; i < d->rows; i++) sums[i] = rlt_sum_s8((const int8_t *)k->rows + (size_t)i * k->stride, d->depth);
}

/* Sums of int8 products to what the output holds: `count` rows from row i on, n columns, to output `at`. */
static void finish(const work *k, const char *sums, int32_t i, int32_t count, int32_t n, size_t at) {
  const rlt_batch_matmul *d = k->d;
  int32_t nr = k->u->s8_gemm->nr;
  const int32_t *product = (const int32_t *)(const void *)(k->scratch + d->at_product);
  const float infinity = __builtin_inff();
  const float zeros[RLT_MAX_NR] = {0};
  for (int32_t r = 0; r < count; r++, product += nr, at += (size_t)d->columns) {
    if (d->kind == RLT_PRODUCT_HYBRID) {
      const rlt_row_quant *q = (const rlt_row_quant *)(const void *)(k->scratch + d->at_quant) + i + r;
      k->u->rows->from_sums(product, n, q->zero, q->scale, (const int32_t *)(const void *)sums,
                            (const float *)(const void *)sums + nr, zeros, -infinity, infinity,
                            (float *)k->n->out[0]->data + at);
      continue;
    }
    int32_t zero = rlt_zero_point(k->n->in[1], 0), x_zero = rlt_zero_point(k->n->in[0], 0);
    int32_t row_sum = ((const int32_t *)(const void *)(k->scratch + d->at_row_sums))[i + r];
    uint32_t less = (uint32_t)zero * ((uint32_t)row_sum - (uint32_t)d->depth * (uint32_t)x_zero);
    int8_t *out = (int8_t *)k->n->out[0]->data + at;
    for (int32_t c = 0; c < n; c++) {
      int64_t value = (int64_t)rlt_multiply((int32_t)((uint32_t)product[c] - less), d->multiplier) + d->q.zero;
      out[c] = (int8_t)(value < d->q.lo ? d->q.lo : (value > d->q.hi ? d->q.hi : value));
    }
  }
}

/* All rows at hand times one panel, into output matrix `batch`. */
static void multiply(const work *k, int64_t batch, const char *panel, const char *sums, int32_t j) {
  const rlt_batch_matmul *d = k->d;
  int32_t nr = is_float(d) ? k->u->f32_gemm->nr : k->u->s8_gemm->nr,
          mr = is_float(d) ? k->u->f32_gemm->mr : k->u->s8_gemm->mr;
  int32_t n = d->columns - j < nr ? d->columns - j : nr;
  size_t columns = (size_t)d->columns, at = (size_t)batch * (size_t)d->rows * columns + (size_t)j;
  const float infinity = __builtin_inff();
  void *out = k->n->out[0]->data;
  for (int32_t i = 0; i < d->rows; i += mr, at += (size_t)mr * columns) {
    int32_t count = d->rows - i < mr ? d->rows - i : mr;
    const void *rows[RLT_MAX_MR];
    for (int32_t r = 0; r < count; r++) rows[r] = k->rows + (size_t)(i + r) * k->stride;
    const int8_t *const *bytes = (const int8_t *const *)(const void *)rows;
    if (is_float(d)) {
      k->u->f32_gemm->run(count, n, d->depth, (const float *const *)(const void *)rows,
                          (const float *)(const void *)panel, (float *)out + at, columns, -infinity, infinity);
    } else if (d->kind == RLT_PRODUCT_INT8) {
      k->u->s8_gemm->run(count, n, d->depth, bytes, panel, (int8_t *)out + at, columns, &d->q);
    } else if (d->kind == RLT_PRODUCT_INT32) {
      k->u->s8_gemm->run_s32(count, n, d->depth, bytes, panel, (int32_t *)out + at, columns);
    } else {
      k->u->s8_gemm->run_s32(count, n, d->depth, bytes, panel, (int32_t *)(void *)(k->scratch + d->at_product),
                             (size_t)nr);
      finish(k, sums, i, count, n, at);
    }
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const rlt_batch_matmul *d = n->data;
  if (n->out[0]->count == 0) return RLT_OK;
  if (d->kind == RLT_PRODUCT_INT16) {
    rlt_batch_matmul_i16(n, d, first, last);
    return RLT_OK;
  }
  work k = {r->u, n, d, r->scratch, NULL, 0};
  int32_t nr = is_float(d) ? r->u->f32_gemm->nr : r->u->s8_gemm->nr;
  int64_t begin, end, built = -1, x, y;
  rlt_part(n, d->batches * d->panels, first, last, &begin, &end);
  for (int64_t unit = begin; unit < end; unit++) {
    int64_t batch = unit / d->panels, p = unit % d->panels;
    rlt_batch_operands(d, batch, &x, &y);
    if (built != x) build_rows(&k, x);
    built = x;
    char *packed = d->pack_at_run ? k.scratch : n->packed;
    size_t at = d->pack_at_run ? 0 : (size_t)(y * d->panels + p);
    char *panel = packed + at * d->panel_bytes, *sums = packed + d->at_sums + at * 2 * sizeof(float) * (size_t)nr;
    if (d->pack_at_run) pack_panel(r->u, n, y, (int32_t)p * nr, panel, sums, (int8_t *)packed + d->at_spare);
    multiply(&k, batch, panel, sums, (int32_t)p * nr);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_batch_matmul = {"BATCH_MATMUL", sizeof(rlt_batch_matmul), 4, false, prepare, pack, run};
