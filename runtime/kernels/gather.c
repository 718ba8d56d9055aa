/* SPDX-License-Identifier: Apache-2.0
 * GATHER and GATHER_ND. Indices are known to run only: one out of range is a BAD_VALUE. */
#include "move.h"

typedef struct gather_data {
  int64_t batches, outer, indices, inner; /* output: [batches, outer, indices, inner] */
  int64_t size;                           /* of the gathered dimension */
  int32_t depth;                          /* GATHER_ND: dimensions one index names */
} gather_data;

static rlt_status check_common(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  RLT_TRY(rlt_check_moved(p, n->in[0], n->out[0]));
  return rlt_check_type(p, n->in[1], RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64) | RLT_BIT(RLT_TYPE_INT16),
                        "INT16, INT32 or INT64");
}

/* ---- GATHER ---- */

static rlt_status prepare_gather(rlt_prep *p, rlt_node *n) {
  RLT_TRY(check_common(p, n));
  gather_data *k = n->data;
  const rlt_tensor *x = n->in[0], *indices = n->in[1];
  int32_t axis = rlt_fb_i32(&n->def->options, RLT_SLOT_GatherOptions_axis, 0);
  int32_t batch = rlt_fb_i32(&n->def->options, RLT_SLOT_GatherOptions_batch_dims, 0);
  RLT_TRY(rlt_check_axis(p, &axis, x->rank));
  if (batch < 0) batch += indices->rank;
  RLT_REQUIRE(p->err, batch >= 0 && batch <= axis && batch <= indices->rank, RLT_BAD_MODEL,
              "batch_dims %d does not fit axis %d and %T", batch, axis, indices);
  RLT_REQUIRE(p->err, x->rank - 1 + indices->rank - batch <= RLT_MAX_RANK, RLT_UNSUPPORTED,
              "the result would have more than %d dimensions", (int32_t)RLT_MAX_RANK);
  int32_t rank = 0, dims[RLT_MAX_RANK];
  for (int32_t d = 0; d < batch; d++) {
    RLT_REQUIRE(p->err, x->dims[d] == indices->dims[d], RLT_BAD_MODEL, "%T and %T differ in batch dimension %d", x,
                indices, d);
  }
  for (int32_t d = 0; d < axis; d++) dims[rank++] = x->dims[d];
  for (int32_t d = batch; d < indices->rank; d++) dims[rank++] = indices->dims[d];
  for (int32_t d = axis + 1; d < x->rank; d++) dims[rank++] = x->dims[d];
  RLT_TRY(rlt_set_shape(p, n->out[0], rank, dims));
  k->batches = rlt_span(x, 0, batch);
  k->outer = rlt_span(x, batch, axis);
  k->indices = rlt_span(indices, batch, indices->rank);
  k->inner = rlt_span(x, axis + 1, x->rank);
  k->size = x->dims[axis];
  n->tiles = rlt_unit_tiles(k->batches * k->outer * k->indices, k->inner);
  return RLT_OK;
}

static rlt_status run_gather(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const gather_data *k = n->data;
  uint64_t row = (uint64_t)k->inner * rlt_type_bytes(n->out[0]->type);
  const uint8_t *x = n->in[0]->data;
  uint8_t *y = n->out[0]->data;
  int64_t begin, end;
  if (n->out[0]->count == 0) return RLT_OK; /* rows of nothing may be many */
  rlt_part(n, k->batches * k->outer * k->indices, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t block = i / k->indices; /* (batch, outer) */
    int64_t at = rlt_index_at(n->in[1], block / k->outer * k->indices + i % k->indices);
    RLT_REQUIRE(r->err, at >= 0 && at < k->size, RLT_BAD_VALUE, "an index is outside [0, %u)", (uint64_t)k->size);
    rlt_copy(y + (uint64_t)i * row, x + (uint64_t)(block * k->size + at) * row, row);
  }
  return RLT_OK;
}

/* ---- GATHER_ND ---- */

static rlt_status prepare_gather_nd(rlt_prep *p, rlt_node *n) {
  RLT_TRY(check_common(p, n));
  gather_data *k = n->data;
  const rlt_tensor *x = n->in[0], *indices = n->in[1];
  RLT_REQUIRE(p->err, x->rank >= 1 && indices->rank >= 1, RLT_BAD_MODEL, "%T and %T need one dimension at least", x,
              indices);
  k->depth = indices->dims[indices->rank - 1];
  RLT_REQUIRE(p->err, k->depth <= x->rank, RLT_BAD_MODEL, "%T names more dimensions than %T has", indices, x);
  RLT_REQUIRE(p->err, indices->rank - 1 + x->rank - k->depth <= RLT_MAX_RANK, RLT_UNSUPPORTED,
              "the result would have more than %d dimensions", (int32_t)RLT_MAX_RANK);
  int32_t rank = 0, dims[RLT_MAX_RANK];
  for (int32_t d = 0; d < indices->rank - 1; d++) dims[rank++] = indices->dims[d];
  for (int32_t d = k->depth; d < x->rank; d++) dims[rank++] = x->dims[d];
  RLT_TRY(rlt_set_shape(p, n->out[0], rank, dims));
  k->indices = rlt_span(indices, 0, indices->rank - 1);
  k->inner = rlt_span(x, k->depth, x->rank);
  n->tiles = rlt_unit_tiles(k->indices, k->inner);
  return RLT_OK;
}

static rlt_status run_gather_nd(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const gather_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  uint64_t row = (uint64_t)k->inner * rlt_type_bytes(n->out[0]->type);
  uint8_t *y = n->out[0]->data;
  int64_t begin, end;
  if (n->out[0]->count == 0) return RLT_OK;
  rlt_part(n, k->indices, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t from = 0;
    for (int32_t d = 0; d < k->depth; d++) {
      int64_t at = rlt_index_at(n->in[1], i * k->depth + d);
      RLT_REQUIRE(r->err, at >= 0 && at < x->dims[d], RLT_BAD_VALUE, "an index is outside dimension %d of %T", d, x);
      from = from * x->dims[d] + at;
    }
    rlt_copy(y + (uint64_t)i * row, (const uint8_t *)x->data + (uint64_t)from * row, row);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_gather = {"GATHER", sizeof(gather_data), 8, false, prepare_gather, NULL, run_gather};
const rlt_kernel rlt_kernel_gather_nd = {"GATHER_ND", sizeof(gather_data), 6, false, prepare_gather_nd,
                                         NULL,        run_gather_nd};
