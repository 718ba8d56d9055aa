/* SPDX-License-Identifier: Apache-2.0
 * SEGMENT_SUM and UNSORTED_SEGMENT_SUM, PROD, MAX, MIN: slices of one number taken together. */
#include "move.h"

typedef struct segment_data {
  int64_t slices, inner; /* how many there are, and elements of one */
} segment_data;

/* ---- how slices are taken together; integers wrap around ---- */

typedef void (*into_fn)(const void *from, void *to, int64_t n);

#define INTO(name, type, expression)                        \
  static void name(const void *from, void *to, int64_t n) { \
    const type *x = from;                                   \
    type *y = to;                                           \
    for (int64_t i = 0; i < n; i++) {                       \
      type u = y[i], v = x[i];                              \
      y[i] = (expression);                                  \
    }                                                       \
  }
INTO(sum_f32, float, u + v)
INTO(sum_i32, uint32_t, u + v)
INTO(prod_f32, float, u *v)
INTO(prod_i32, uint32_t, u *v)
INTO(max_f32, float, v > u || v != v ? v : u)
INTO(max_i32, int32_t, v > u ? v : u)
INTO(min_f32, float, v < u || v != v ? v : u)
INTO(min_i32, int32_t, v < u ? v : u)

typedef struct segment_row {
  int32_t op;
  into_fn f32, i32;
  float start_f32; /* what a segment of nothing holds */
  int32_t start_i32;
} segment_row;

static const segment_row ROWS[] = {
    {RLT_OP_SEGMENT_SUM, sum_f32, sum_i32, 0.0f, 0},
    {RLT_OP_UNSORTED_SEGMENT_SUM, sum_f32, sum_i32, 0.0f, 0},
    {RLT_OP_UNSORTED_SEGMENT_PROD, prod_f32, prod_i32, 1.0f, 1},
    {RLT_OP_UNSORTED_SEGMENT_MAX, max_f32, max_i32, -3.40282347e38f, INT32_MIN},
    {RLT_OP_UNSORTED_SEGMENT_MIN, min_f32, min_i32, 3.40282347e38f, INT32_MAX},
};

static const segment_row *row_of(int32_t op) {
  const segment_row *row = &ROWS[0];
  for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) row = ROWS[i].op == op ? &ROWS[i] : row;
  return row;
}

/* ---- prepare ---- */

static rlt_status check_common(rlt_prep *p, rlt_node *n, int32_t inputs) {
  RLT_TRY(rlt_check_arity(p, n, inputs, inputs, 1));
  const rlt_tensor *x = n->in[0], *ids = n->in[1];
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT32), "FLOAT32 or INT32"));
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  RLT_TRY(rlt_check_type(p, ids, RLT_BIT(RLT_TYPE_INT32), "INT32"));
  bool fits = ids->rank <= x->rank;
  for (int32_t d = 0; d < ids->rank && fits; d++) fits = ids->dims[d] == x->dims[d];
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T does not number the first dimensions of %T", ids, x);
  return RLT_OK;
}

/* Output [segments, what the numbers leave]. */
static rlt_status set_output(rlt_prep *p, rlt_node *n, int64_t segments) {
  segment_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  int32_t named = n->in[1]->rank, rank = x->rank - named + 1, dims[RLT_MAX_RANK];
  RLT_REQUIRE(p->err, rank <= RLT_MAX_RANK && segments <= INT32_MAX, RLT_BAD_MODEL, "too many segments or dimensions");
  dims[0] = (int32_t)segments;
  for (int32_t d = named; d < x->rank; d++) dims[d - named + 1] = x->dims[d];
  k->slices = (int64_t)n->in[1]->count;
  k->inner = rlt_span(x, named, x->rank);
  return rlt_set_shape(p, n->out[0], rank, dims);
}

static rlt_status prepare_sorted(rlt_prep *p, rlt_node *n) {
  RLT_TRY(check_common(p, n, 2));
  const rlt_tensor *ids = n->in[1];
  RLT_REQUIRE(p->err, ids->rank == 1, RLT_BAD_MODEL, "%T must have one dimension", ids);
  const int32_t *values = rlt_const_data(ids);
  if (ids->count > 0 && !values) return RLT_LATER;
  int64_t segments = ids->count > 0 ? (int64_t)values[ids->count - 1] + 1 : 0;
  RLT_REQUIRE(p->err, segments >= 0, RLT_BAD_MODEL, "%T ends with a negative segment", ids);
  return set_output(p, n, segments);
}

static rlt_status prepare_unsorted(rlt_prep *p, rlt_node *n) {
  RLT_TRY(check_common(p, n, 3));
  const rlt_tensor *wanted = n->in[2];
  RLT_TRY(rlt_check_type(p, wanted, RLT_BIT(RLT_TYPE_INT32), "INT32"));
  RLT_REQUIRE(p->err, wanted->count == 1, RLT_BAD_MODEL, "%T must be one value", wanted);
  const int32_t *value = rlt_const_data(wanted);
  if (!value) return RLT_LATER;
  RLT_REQUIRE(p->err, *value >= 0, RLT_BAD_MODEL, "%T asks for %d segments", wanted, *value);
  return set_output(p, n, *value);
}

/* ---- run ---- */

/* Sorted numbers start at 0 and grow by at most 1. Negative ones of the unsorted forms leave
 * their slice out. */
static rlt_status check_ids(rlt_error *err, const rlt_node *n) {
  const int32_t *ids = n->in[1]->data;
  if (n->def->op != RLT_OP_SEGMENT_SUM) return RLT_OK;
  for (uint64_t i = 0; i < n->in[1]->count; i++) {
    int64_t before = i == 0 ? -1 : ids[i - 1];
    bool sorted = ids[i] == before + 1 || (i > 0 && ids[i] == before);
    RLT_REQUIRE(err, sorted, RLT_BAD_VALUE, "the numbers of the segments do not count up from 0");
  }
  return RLT_OK;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const segment_data *k = n->data;
  const segment_row *row = row_of(n->def->op);
  const rlt_tensor *y = n->out[0];
  bool real = y->type == RLT_TYPE_FLOAT32;
  const int32_t *ids = n->in[1]->data;
  RLT_TRY(check_ids(r->err, n));
  rlt_repeat(y->data, real ? (const void *)&row->start_f32 : (const void *)&row->start_i32, 4, (int64_t)y->count);
  for (int64_t i = 0; i < k->slices; i++) {
    RLT_REQUIRE(r->err, ids[i] < y->dims[0], RLT_BAD_VALUE, "segment %d is outside %T", ids[i], y);
    if (ids[i] < 0 || k->inner == 0) continue;
    (real ? row->f32 : row->i32)((const uint32_t *)n->in[0]->data + i * k->inner,
                                 (uint32_t *)y->data + ids[i] * k->inner, k->inner);
  }
  return RLT_OK;
}

#define KERNEL(symbol, op, prepare_fn)     \
  const rlt_kernel rlt_kernel_##symbol = { \
      .name = #op, .data_size = sizeof(segment_data), .max_version = 1, .prepare = prepare_fn, .run = run};

KERNEL(segment_sum, SEGMENT_SUM, prepare_sorted)
KERNEL(unsorted_segment_sum, UNSORTED_SEGMENT_SUM, prepare_unsorted)
KERNEL(unsorted_segment_prod, UNSORTED_SEGMENT_PROD, prepare_unsorted)
KERNEL(unsorted_segment_max, UNSORTED_SEGMENT_MAX, prepare_unsorted)
KERNEL(unsorted_segment_min, UNSORTED_SEGMENT_MIN, prepare_unsorted)
