/* SPDX-License-Identifier: Apache-2.0
 * REDUCE_WINDOW and STABLEHLO_REDUCE_WINDOW: every position of a window of any rank reduced to one value, starting from
 * a given one. The second has gaps between the input's elements and paddings, which hold that value too. */
#include "move.h"
#include "reduce_run.h"

typedef struct reduce_window_data {
  int32_t function;
  int32_t size[RLT_MAX_RANK], stride[RLT_MAX_RANK], dilation[RLT_MAX_RANK];
  int64_t step[RLT_MAX_RANK]; /* of the input */
  /* STABLEHLO_REDUCE_WINDOW: input element i comes to low + i * spread */
  bool is_padded;
  int64_t low[RLT_MAX_RANK], spread[RLT_MAX_RANK];
} reduce_window_data;

/* ---- the kernel ---- */

/* One value of each list per dimension, all 1 or more. */
static rlt_status read_list(rlt_prep *p, const rlt_tensor *list, int32_t rank, int32_t *values) {
  int32_t count;
  RLT_TRY(rlt_const_ints(p, list, RLT_MAX_RANK, values, &count));
  RLT_REQUIRE(p->err, count == rank, RLT_BAD_MODEL, "%T must hold %d values, one per dimension", list, rank);
  for (int32_t d = 0; d < rank; d++)
    RLT_REQUIRE(p->err, values[d] >= 1, RLT_BAD_MODEL, "%T holds %d for dimension %d", list, values[d], d);
  return RLT_OK;
}

static rlt_status check_types(rlt_prep *p, const rlt_node *n) {
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  const uint64_t types = RLT_BIT(RLT_TYPE_BOOL) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8) |
                         RLT_BIT(RLT_TYPE_INT16) | RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64) |
                         RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_FLOAT64);
  RLT_TRY(rlt_check_type(p, x, types, "BOOL, INT8, UINT8, INT16, INT32, INT64, FLOAT32 or FLOAT64"));
  RLT_TRY(rlt_check_same_type(p, x, y));
  RLT_TRY(rlt_check_same_type(p, x, n->in[1]));
  RLT_REQUIRE(p->err, n->in[1]->count == 1, RLT_BAD_MODEL, "%T must be one value", n->in[1]);
  RLT_REQUIRE(p->err, x->rank >= 1, RLT_BAD_MODEL, "%T has no dimension", x);
  return RLT_OK;
}

/* Output shape and work; `sizes` are the input's, paddings and gaps counted. */
static rlt_status plan(rlt_prep *p, rlt_node *n, const int64_t *sizes) {
  reduce_window_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  rlt_tensor *y = n->out[0];
  int32_t dims[RLT_MAX_RANK];
  uint64_t taps = 1;
  for (int32_t d = 0; d < x->rank; d++) {
    int64_t extent = (int64_t)(k->size[d] - 1) * k->dilation[d] + 1;
    int64_t places = extent <= sizes[d] ? (sizes[d] - extent) / k->stride[d] + 1 : 0;
    RLT_REQUIRE(p->err, places <= INT32_MAX, RLT_LIMIT, "dimension %d of the output would be too large", d);
    dims[d] = (int32_t)places;
    taps = taps > UINT64_MAX / (uint64_t)k->size[d] ? UINT64_MAX : taps * (uint64_t)k->size[d];
  }
  RLT_TRY(rlt_set_shape(p, y, x->rank, dims));
  rlt_steps(x, k->step);
  n->macs = y->count > 0 && taps > UINT64_MAX / y->count ? UINT64_MAX : y->count * taps;
  n->tiles = rlt_unit_tiles((int64_t)y->count, taps < RLT_TILE ? (int64_t)taps : RLT_TILE);
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  reduce_window_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_arity(p, n, 5, 5, 1));
  RLT_TRY(check_types(p, n));
  k->function = rlt_fb_i32(&n->def->options, RLT_SLOT_ReduceWindowOptions_reduce_function, 0);
  RLT_REQUIRE(p->err, k->function >= RLT_REDUCE_WINDOW_FUNCTION_ADD && k->function <= RLT_REDUCE_WINDOW_FUNCTION_ANY,
              RLT_UNSUPPORTED, "reduce function %d", k->function);
  k->function = rlt_function_on(x->type, k->function);
  RLT_TRY(read_list(p, n->in[2], x->rank, k->size));
  RLT_TRY(read_list(p, n->in[3], x->rank, k->stride));
  RLT_TRY(read_list(p, n->in[4], x->rank, k->dilation));
  int64_t sizes[RLT_MAX_RANK] = {0};
  for (int32_t d = 0; d < x->rank; d++) sizes[d] = x->dims[d];
  return plan(p, n, sizes);
}

/* An option of `count` numbers within [least, most], or `absent` for all where it is left out. */
static rlt_status read_option(rlt_prep *p, const rlt_node *n, int slot, const char *name, int32_t count, int64_t least,
                              int64_t absent, int64_t *values) {
  rlt_vector v = {0};
  bool read = rlt_fb_vector(&n->def->options, slot, 8, &v) && (v.count == 0 || v.count == (uint32_t)count);
  RLT_REQUIRE(p->err, read && (v.count > 0 || absent >= least), RLT_BAD_MODEL, "%s must hold %d numbers", name, count);
  for (int32_t i = 0; i < count; i++) {
    values[i] = v.count > 0 ? rlt_vec_i64(&v, (uint32_t)i) : absent;
    RLT_REQUIRE(p->err, values[i] >= least && values[i] <= INT32_MAX, RLT_BAD_MODEL, "%s: number %d is out of range",
                name, i);
  }
  return RLT_OK;
}

#define SLOT(field) RLT_SLOT_StablehloReduceWindowOptions_##field, #field
static rlt_status prepare_stablehlo(rlt_prep *p, rlt_node *n) {
  reduce_window_data *k = n->data;
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  RLT_TRY(check_types(p, n));
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_body_function(p, n->def->body, x, &k->function));
  int64_t size[RLT_MAX_RANK], stride[RLT_MAX_RANK], dilation[RLT_MAX_RANK], padding[2 * RLT_MAX_RANK];
  int64_t whole[RLT_MAX_RANK] = {0};
  RLT_TRY(read_option(p, n, SLOT(window_dimensions), x->rank, 1, 0, size));
  RLT_TRY(read_option(p, n, SLOT(window_strides), x->rank, 1, 1, stride));
  RLT_TRY(read_option(p, n, SLOT(window_dilations), x->rank, 1, 1, dilation));
  RLT_TRY(read_option(p, n, SLOT(base_dilations), x->rank, 1, 1, k->spread));
  RLT_TRY(read_option(p, n, SLOT(padding), 2 * x->rank, -INT32_MAX, 0, padding));
  k->is_padded = true;
  for (int32_t d = 0; d < x->rank; d++) {
    k->size[d] = (int32_t)size[d], k->stride[d] = (int32_t)stride[d], k->dilation[d] = (int32_t)dilation[d];
    k->low[d] = padding[2 * d];
    int64_t spread = x->dims[d] > 0 ? (x->dims[d] - 1) * k->spread[d] + 1 : 0;
    whole[d] = spread + padding[2 * d] + padding[2 * d + 1];
  }
  return plan(p, n, whole);
}

/* Takes the window at the output's position `at`, element by element, into *to, which holds the start. */
static void reduce_padded(const rlt_node *n, rlt_reduce_run take, const int32_t *at, uint32_t bytes, void *to) {
  const reduce_window_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  int32_t index[RLT_MAX_RANK] = {0};
  for (;;) {
    const uint8_t *from = x->data;
    bool inside = true;
    for (int32_t d = 0; d < x->rank && inside; d++) {
      int64_t place = (int64_t)at[d] * k->stride[d] + (int64_t)index[d] * k->dilation[d] - k->low[d];
      inside = place >= 0 && place % k->spread[d] == 0 && place / k->spread[d] < x->dims[d];
      if (inside) from += (uint64_t)(place / k->spread[d] * k->step[d]) * bytes;
    }
    take(k->function, inside ? from : n->in[1]->data, 1, 1, to);
    int32_t d = x->rank - 1;
    for (; d >= 0 && ++index[d] == k->size[d]; d--) index[d] = 0;
    if (d < 0) return;
  }
}

/* Takes the window whose first element is `from` into *to. */
static void reduce_position(const rlt_node *n, rlt_reduce_run take, const uint8_t *from, uint32_t bytes, void *to) {
  const reduce_window_data *k = n->data;
  int32_t last = n->in[0]->rank - 1, index[RLT_MAX_RANK] = {0};
  for (;;) {
    int64_t at = 0;
    for (int32_t d = 0; d < last; d++) at += (int64_t)index[d] * k->dilation[d] * k->step[d];
    take(k->function, from + (uint64_t)at * bytes, k->dilation[last], k->size[last], to);
    int32_t d = last - 1;
    for (; d >= 0 && ++index[d] == k->size[d]; d--) index[d] = 0;
    if (d < 0) return;
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const reduce_window_data *k = n->data;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  uint32_t bytes = rlt_type_bytes(x->type);
  rlt_reduce_run take = rlt_reduce_run_of(x->type);
  int64_t begin, end;
  rlt_part(n, (int64_t)y->count, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t rest = i, from = 0;
    int32_t place[RLT_MAX_RANK];
    for (int32_t d = y->rank - 1; d >= 0; d--) {
      place[d] = (int32_t)(rest % y->dims[d]);
      from += rest % y->dims[d] * k->stride[d] * k->step[d];
      rest /= y->dims[d];
    }
    uint8_t *to = (uint8_t *)y->data + (uint64_t)i * bytes;
    rlt_copy(to, n->in[1]->data, bytes);
    if (k->is_padded) reduce_padded(n, take, place, bytes, to);
    else reduce_position(n, take, (const uint8_t *)x->data + (uint64_t)from * bytes, bytes, to);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_reduce_window = {"REDUCE_WINDOW", sizeof(reduce_window_data), 1, false, prepare, NULL, run};
const rlt_kernel rlt_kernel_stablehlo_reduce_window = {
    "STABLEHLO_REDUCE_WINDOW", sizeof(reduce_window_data), 1, false, prepare_stablehlo, NULL, run};
