/* SPDX-License-Identifier: Apache-2.0
 * MEAN, SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_ANY and REDUCE_ALL over any set of axes.
 *
 * The input's dimensions are merged where neighbours are both kept or both reduced. A unit of work is one combination
 * of the outer kept positions and a block of up to BLOCK values of the innermost dimension when that one is kept, one
 * value when it is reduced; either way what is summed lies in runs of neighbouring elements. */
#include "reduce.h"

static void split_axes(reduce_data *k, const rlt_tensor *x, const bool *reduced) {
  int64_t step[RLT_MAX_RANK], size = 1;
  for (int32_t d = x->rank - 1; d >= 0; d--) {
    step[d] = size;
    size *= x->dims[d];
  }
  k->kept_rank = k->reduced_rank = 0;
  k->reduced_count = 1;
  k->block = 1;
  k->run = 1;
  int32_t inner = x->rank - 1;
  while (inner >= 0 && x->dims[inner] == 1) inner--;
  bool inner_kept = inner >= 0 && !reduced[inner];
  int32_t outer = inner; /* dimensions [outer, inner] form the innermost merged one */
  while (outer > 0 && (x->dims[outer - 1] == 1 || reduced[outer - 1] == reduced[inner])) outer--;
  if (inner >= 0) {
    k->inner_size = rlt_span(x, outer, inner + 1);
    if (!inner_kept) k->run = k->inner_size;
    if (!inner_kept) k->reduced_count = k->inner_size;
  } else {
    k->inner_size = 1;
    outer = 0;
  }
  k->inner_kept = inner_kept;
  if (inner_kept) k->block = k->inner_size < REDUCE_BLOCK ? k->inner_size : REDUCE_BLOCK;
  for (int32_t d = 0; d < outer; d++) {
    if (x->dims[d] == 1) continue;
    int32_t before = k->reduced_rank - 1;
    if (reduced[d] && before >= 0 && k->reduced_step[before] == step[d] * x->dims[d]) {
      k->reduced_dims[before] *= x->dims[d];
      k->reduced_step[before] = step[d];
      k->reduced_count *= x->dims[d];
    } else if (reduced[d]) {
      k->reduced_dims[k->reduced_rank] = x->dims[d];
      k->reduced_step[k->reduced_rank++] = step[d];
      k->reduced_count *= x->dims[d];
    } else {
      k->kept_dims[k->kept_rank] = x->dims[d];
      k->kept_step[k->kept_rank++] = step[d];
    }
  }
}

static rlt_status read_axes(rlt_prep *p, rlt_node *n, bool *reduced) {
  const rlt_tensor *x = n->in[0];
  int32_t axes[RLT_MAX_RANK], count;
  RLT_TRY(rlt_const_ints(p, n->in[1], RLT_MAX_RANK, axes, &count));
  for (int32_t i = 0; i < count; i++) {
    RLT_TRY(rlt_check_axis(p, &axes[i], x->rank));
    reduced[axes[i]] = true;
  }
  return RLT_OK;
}

static rlt_status set_output(rlt_prep *p, rlt_node *n, const bool *reduced) {
  const rlt_tensor *x = n->in[0];
  bool keep = rlt_fb_bool(&n->def->options, RLT_SLOT_ReducerOptions_keep_dims, false);
  int32_t rank = 0, dims[RLT_MAX_RANK];
  for (int32_t d = 0; d < x->rank; d++) {
    if (!reduced[d]) dims[rank++] = x->dims[d];
    if (reduced[d] && keep) dims[rank++] = 1;
  }
  return rlt_set_shape(p, n->out[0], rank, dims);
}

/* round(sum * scale + offset): the zero points of all summed values are in the offset. */
static void quantized_constants(reduce_data *k, const rlt_node *n) {
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  float scale = rlt_scale(x, 0) / rlt_scale(y, 0);
  if (n->def->op == RLT_OP_MEAN) scale = scale * (1.0f / (float)k->reduced_count);
  float zeros = (float)k->reduced_count * (float)rlt_zero_point(x, 0);
  k->scale = scale;
  k->offset = (float)rlt_zero_point(y, 0) - zeros * scale;
  k->lo = (float)rlt_type_min(y->type);
  k->hi = (float)rlt_type_max(y->type);
}

/* The ratio of the scales over the count: the quotient is of integers, truncated. */
static void short_constants(reduce_data *k, const rlt_node *n) {
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  rlt_multiplier m = rlt_make_multiplier((double)rlt_scale(x, 0) / (double)rlt_scale(y, 0));
  int32_t shift = k->reduced_count > 1 ? 31 - __builtin_clz((uint32_t)k->reduced_count) : 0;
  if (shift > 31 + m.shift) shift = 31 + m.shift;
  if (k->reduced_count > 0) m.value = (int32_t)(((int64_t)m.value << shift) / k->reduced_count);
  k->factor = (rlt_multiplier){m.value, m.shift - shift};
  k->scale = rlt_scale(x, 0) / rlt_scale(y, 0);
  k->x_zero = rlt_zero_point(x, 0);
  k->y_zero = rlt_zero_point(y, 0);
}

/* Every factor brings s_x and takes its share of s_y, so that products stay small. */
static rlt_status scaled_product(rlt_prep *p, reduce_data *k, const rlt_node *n) {
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  double root = (double)rlt_scale(y, 0);
  k->scale = 1.0f / rlt_scale(y, 0);
  if (k->reduced_count > 1) root = rlt_exp64(rlt_log64(root) / (double)k->reduced_count);
  k->factor = rlt_make_multiplier((double)rlt_scale(x, 0) / root);
  k->is_scaled = true;
  k->x_zero = rlt_zero_point(x, 0);
  k->y_zero = rlt_zero_point(y, 0);
  k->lo = (float)rlt_type_min(y->type);
  k->hi = (float)rlt_type_max(y->type);
  RLT_REQUIRE(p->err, x->type != RLT_TYPE_UINT8, RLT_UNSUPPORTED,
              "%T: products of quantized values are of INT8 or INT16", x);
  RLT_REQUIRE(p->err, x->type != RLT_TYPE_INT16 || (k->x_zero == 0 && k->y_zero == 0), RLT_UNSUPPORTED,
              "%T and %T must have zero point 0", x, y);
  RLT_REQUIRE(p->err, k->factor.shift < 8, RLT_UNSUPPORTED, "scales of %T and %T give a factor of 128 or more", x, y);
  return RLT_OK;
}

static rlt_status check_quantization(rlt_prep *p, rlt_node *n) {
  reduce_data *k = n->data;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  bool short_ints = x->type == RLT_TYPE_INT16, product = n->def->op == RLT_OP_REDUCE_PROD;
  if (product && x->def->quant.n == 0 && y->def->quant.n == 0) return RLT_OK;
  if (x->type != RLT_TYPE_INT8 && x->type != RLT_TYPE_UINT8 && !short_ints) return RLT_OK;
  if (n->def->op != RLT_OP_MEAN && n->def->op != RLT_OP_SUM && !product) return rlt_require_same_quantization(p, x, y);
  RLT_TRY(rlt_require_quantized(p, x));
  RLT_TRY(rlt_require_quantized(p, y));
  if (product) return scaled_product(p, k, n);
  RLT_REQUIRE(p->err, k->reduced_count <= INT32_MAX / (short_ints ? 65536 : 256), RLT_UNSUPPORTED,
              "%T: a sum of so many values overflows 32 bits", x);
  if (short_ints) short_constants(k, n);
  else quantized_constants(k, n);
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  reduce_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  bool reduced[RLT_MAX_RANK] = {false};
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  k->form = rlt_reduce_form(n->def->op, x->type);
  RLT_REQUIRE(p->err, k->form, RLT_UNSUPPORTED, "%T: this op has no kernel for %t", x, x->type);
  RLT_TRY(read_axes(p, n, reduced));
  RLT_TRY(set_output(p, n, reduced));
  split_axes(k, x, reduced);
  RLT_TRY(check_quantization(p, n));
  k->is_mean = n->def->op == RLT_OP_MEAN;
  k->blocks = k->inner_kept && k->block > 0 ? (k->inner_size + k->block - 1) / k->block : 1;
  k->units = k->blocks;
  for (int32_t d = 0; d < k->kept_rank; d++) k->units *= k->kept_dims[d];
  n->scratch_bytes = (uint64_t)k->block * sizeof(int64_t);
  n->tiles = rlt_unit_tiles(k->units, k->block * k->reduced_count);
  return RLT_OK;
}

/* Element offset of the i-th combination of positions along the given dimensions. */
static int64_t offset_of(int64_t i, int32_t rank, const int64_t *dims, const int64_t *step) {
  int64_t offset = 0;
  for (int32_t d = rank - 1; d >= 0; d--) {
    offset += i % dims[d] * step[d];
    i /= dims[d];
  }
  return offset;
}

/* ---- sums of FLOAT32 and bytes, the usual ones, take many rows or runs at once ---- */

static bool is_plain_sum(const rlt_node *n) {
  const reduce_data *k = n->data;
  bool is_byte = n->in[0]->type == RLT_TYPE_INT8 || n->in[0]->type == RLT_TYPE_UINT8;
  bool is_sum = n->def->op == RLT_OP_MEAN || n->def->op == RLT_OP_SUM;
  return is_sum && ((n->in[0]->type == RLT_TYPE_FLOAT32 && k->inner_kept) || is_byte);
}

/* Blocks [begin, end) of values that lie side by side. */
static void sum_rows(const rlt_run *r, const rlt_node *n, int64_t begin, int64_t end) {
  const reduce_data *k = n->data;
  const rlt_loops *loops = r->u->loops;
  int32_t type = n->in[0]->type, outer_rank = k->reduced_rank > 0 ? k->reduced_rank - 1 : 0;
  uint64_t bytes = rlt_type_bytes(type);
  int64_t rows = k->reduced_rank > 0 ? k->reduced_dims[outer_rank] : k->reduced_count;
  int64_t step = k->reduced_rank > 0 ? k->reduced_step[outer_rank] : 0;
  void (*add)(const void *, int64_t, int64_t, void *, int64_t) =
      type == RLT_TYPE_FLOAT32 ? loops->add_rows_f32
                               : (type == RLT_TYPE_INT8 ? loops->add_rows_i8 : loops->add_rows_u8);
  for (int64_t unit = begin; unit < end; unit++) {
    int64_t outer = unit / k->blocks, at = unit % k->blocks * k->block;
    int64_t width = k->inner_size - at < k->block ? k->inner_size - at : k->block;
    int64_t base = offset_of(outer, k->kept_rank, k->kept_dims, k->kept_step) + at;
    k->form->start(r->scratch, width);
    for (int64_t i = 0; rows > 0 && i < k->reduced_count / rows; i++) {
      int64_t from = base + offset_of(i, outer_rank, k->reduced_dims, k->reduced_step);
      add((const char *)n->in[0]->data + (uint64_t)from * bytes, step, rows, r->scratch, width);
    }
    k->form->finish(k, r->scratch, (char *)n->out[0]->data + (uint64_t)(outer * k->inner_size + at) * bytes, width);
  }
}

/* Outputs [begin, end), each the sum of runs of bytes. */
static void sum_runs(const rlt_run *r, const rlt_node *n, int64_t begin, int64_t end) {
  const reduce_data *k = n->data;
  int32_t sums[REDUCE_BLOCK];
  int32_t (*total)(const void *, int64_t) =
      n->in[0]->type == RLT_TYPE_INT8 ? r->u->loops->total_i8 : r->u->loops->total_u8;
  int64_t runs = k->run > 0 ? k->reduced_count / k->run : 0;
  for (int64_t unit = begin, count; unit < end; unit += count) {
    count = end - unit < REDUCE_BLOCK ? end - unit : REDUCE_BLOCK;
    for (int64_t j = 0; j < count; j++) {
      int64_t base =
          k->reduced_rank == 0 ? (unit + j) * k->run : offset_of(unit + j, k->kept_rank, k->kept_dims, k->kept_step);
      const char *from = (const char *)n->in[0]->data + base;
      sums[j] = 0;
      for (int64_t i = 0; i < runs; i++)
        sums[j] += total(from + offset_of(i, k->reduced_rank, k->reduced_dims, k->reduced_step), k->run);
    }
    k->form->finish(k, sums, (char *)n->out[0]->data + unit, count);
  }
}

/* ---- FLOAT32, the innermost dimensions: outputs [begin, end), each from one run ---- */

static bool is_row_of_reals(const rlt_node *n) {
  const reduce_data *k = n->data;
  bool is_known = n->def->op == RLT_OP_MEAN || n->def->op == RLT_OP_SUM || n->def->op == RLT_OP_REDUCE_MAX ||
                  n->def->op == RLT_OP_REDUCE_MIN;
  return is_known && n->in[0]->type == RLT_TYPE_FLOAT32 && !k->inner_kept && k->reduced_rank == 0 && k->run > 0;
}

static void reduce_rows_of_reals(const rlt_run *r, const rlt_node *n, int64_t begin, int64_t end) {
  const reduce_data *k = n->data;
  const rlt_loops *loops = r->u->loops;
  const float *x = (const float *)n->in[0]->data + begin * k->run;
  float *y = n->out[0]->data;
  if (n->def->op == RLT_OP_REDUCE_MAX || n->def->op == RLT_OP_REDUCE_MIN) {
    float (*extreme)(const float *, int64_t) = n->def->op == RLT_OP_REDUCE_MAX ? loops->largest : loops->smallest;
    for (int64_t unit = begin; unit < end; unit++, x += k->run) y[unit] = extreme(x, k->run);
    return;
  }
  double count = k->is_mean ? (double)k->run : 1.0;
  for (int64_t unit = begin; unit < end; unit++, x += k->run) y[unit] = (float)(loops->sum(x, k->run) / count);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const reduce_data *k = n->data;
  const uint8_t *x = n->in[0]->data;
  uint8_t *y = n->out[0]->data;
  uint64_t bytes = rlt_type_bytes(n->in[0]->type);
  int64_t begin, end;
  if (n->out[0]->count == 0) return RLT_OK;
  rlt_part(n, k->units, first, last, &begin, &end);
  if (is_row_of_reals(n)) {
    reduce_rows_of_reals(r, n, begin, end);
    return RLT_OK;
  }
  if (is_plain_sum(n)) {
    (k->inner_kept ? sum_rows : sum_runs)(r, n, begin, end);
    return RLT_OK;
  }
  int64_t rows = k->run > 0 ? k->reduced_count / k->run : 0; /* runs or blocks to take in, per unit */
  for (int64_t unit = begin; unit < end; unit++) {
    int64_t outer = unit / k->blocks, at = unit % k->blocks * k->block;
    int64_t width = k->inner_kept ? (k->inner_size - at < k->block ? k->inner_size - at : k->block) : 1;
    int64_t base = offset_of(outer, k->kept_rank, k->kept_dims, k->kept_step) + at;
    k->form->start(r->scratch, width);
    for (int64_t i = 0; i < rows; i++) {
      const uint8_t *from =
          x + (uint64_t)(base + offset_of(i, k->reduced_rank, k->reduced_dims, k->reduced_step)) * bytes;
      if (k->inner_kept) {
        k->form->add_block(k, r->u->loops, r->scratch, from, width);
      } else {
        k->form->add_run(k, r->u->loops, r->scratch, from, k->run);
      }
    }
    int64_t to = outer * (k->inner_kept ? k->inner_size : 1) + at;
    k->form->finish(k, r->scratch, y + (uint64_t)to * bytes, width);
  }
  return RLT_OK;
}

#define KERNEL(symbol, op, version) \
  const rlt_kernel rlt_kernel_##symbol = {#op, sizeof(reduce_data), version, false, prepare, NULL, run};

KERNEL(mean, MEAN, 3)
KERNEL(sum, SUM, 2)
KERNEL(reduce_prod, REDUCE_PROD, 2)
KERNEL(reduce_max, REDUCE_MAX, 3)
KERNEL(reduce_min, REDUCE_MIN, 3)
KERNEL(reduce_any, REDUCE_ANY, 1)
KERNEL(reduce_all, REDUCE_ALL, 1)
