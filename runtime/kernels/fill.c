/* SPDX-License-Identifier: Apache-2.0
 * What makes a tensor from a shape: SHAPE, RANK, FILL, ZEROS_LIKE, TILE and BROADCAST_TO. */
#include "move.h"

/* ---- SHAPE, RANK ---- */

static rlt_status prepare_shape(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  bool shape = n->def->op == RLT_OP_SHAPE;
  RLT_TRY(rlt_check_type(p, n->out[0], RLT_BIT(RLT_TYPE_INT32) | (shape ? RLT_BIT(RLT_TYPE_INT64) : 0),
                         shape ? "INT32 or INT64" : "INT32"));
  return rlt_set_shape(p, n->out[0], shape ? 1 : 0, &n->in[0]->rank);
}

static rlt_status run_shape(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r, (void)first, (void)last;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  if (n->def->op == RLT_OP_RANK) {
    *(int32_t *)y->data = x->rank;
    return RLT_OK;
  }
  for (int32_t d = 0; d < x->rank; d++) {
    if (y->type == RLT_TYPE_INT32) {
      ((int32_t *)y->data)[d] = x->dims[d];
    } else {
      ((int64_t *)y->data)[d] = x->dims[d];
    }
  }
  return RLT_OK;
}

/* ---- FILL, ZEROS_LIKE ---- */

static rlt_status prepare_fill(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  int32_t rank, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_moved(p, n->in[1], n->out[0]));
  RLT_REQUIRE(p->err, n->in[1]->count == 1, RLT_BAD_MODEL, "%T must be one value", n->in[1]);
  RLT_TRY(rlt_const_ints(p, n->in[0], RLT_MAX_RANK, dims, &rank));
  RLT_TRY(rlt_set_shape(p, n->out[0], rank, dims));
  n->tiles = rlt_flat_tiles(n->out[0]->count);
  return RLT_OK;
}

static rlt_status run_fill(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  uint32_t bytes = rlt_type_bytes(n->out[0]->type);
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  rlt_repeat((uint8_t *)n->out[0]->data + begin * bytes, n->in[1]->data, bytes, end - begin);
  return RLT_OK;
}

static rlt_status prepare_zeros_like(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64),
                         "FLOAT32, INT32 or INT64"));
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

static rlt_status run_zeros_like(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r, (void)first, (void)last;
  if (n->out[0]->bytes) __builtin_memset(n->out[0]->data, 0, (size_t)n->out[0]->bytes);
  return RLT_OK;
}

/* ---- TILE, BROADCAST_TO ---- */

/* The d-th dimension counted from the end, 1 beyond the first. */
static int32_t size_from_end(const rlt_tensor *x, int32_t d) { return d < x->rank ? x->dims[x->rank - 1 - d] : 1; }

static rlt_status prepare_broadcast_to(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  rlt_strided *k = n->data;
  rlt_tensor *x = n->in[0];
  int32_t rank, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_const_ints(p, n->in[1], RLT_MAX_RANK, dims, &rank));
  RLT_REQUIRE(p->err, rank >= x->rank, RLT_BAD_MODEL, "%T has more dimensions than the shape it is broadcast to", x);
  for (int32_t d = 0; d < rank; d++) {
    int32_t size = size_from_end(x, d);
    RLT_REQUIRE(p->err, size == 1 || size == dims[rank - 1 - d], RLT_BAD_MODEL,
                "%T does not broadcast to %d in dimension %d", x, dims[rank - 1 - d], rank - 1 - d);
  }
  RLT_TRY(rlt_set_shape(p, n->out[0], rank, dims));
  rlt_walk_broadcast(&k->walk, n->in, 1, rank, dims);
  n->tiles = rlt_flat_tiles(n->out[0]->count);
  return RLT_OK;
}

static rlt_status prepare_tile(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  rlt_strided *k = n->data;
  const rlt_tensor *x = n->in[0];
  int32_t times[RLT_MAX_RANK], count, dims[RLT_MAX_RANK];
  int64_t step[RLT_MAX_RANK];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_const_ints(p, n->in[1], RLT_MAX_RANK, times, &count));
  RLT_REQUIRE(p->err, count == x->rank, RLT_BAD_MODEL, "%T does not give one value per dimension of %T", n->in[1], x);
  rlt_steps(x, step);
  k->walk.rank = 2 * x->rank;
  k->walk.inputs = 1;
  for (int32_t d = 0; d < x->rank; d++) {
    RLT_REQUIRE(p->err, times[d] >= 0 && (int64_t)times[d] * x->dims[d] <= INT32_MAX, RLT_BAD_MODEL,
                "dimension %d is repeated %d times", d, times[d]);
    dims[d] = times[d] * x->dims[d];
    k->walk.dims[2 * d] = times[d];
    k->walk.step[0][2 * d] = 0;
    k->walk.dims[2 * d + 1] = x->dims[d];
    k->walk.step[0][2 * d + 1] = step[d];
  }
  rlt_walk_merge(&k->walk);
  RLT_TRY(rlt_set_shape(p, n->out[0], x->rank, dims));
  n->tiles = rlt_flat_tiles(n->out[0]->count);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_shape = {"SHAPE", 0, 1, false, prepare_shape, NULL, run_shape};
const rlt_kernel rlt_kernel_rank = {"RANK", 0, 1, false, prepare_shape, NULL, run_shape};
const rlt_kernel rlt_kernel_fill = {"FILL", 0, 5, false, prepare_fill, NULL, run_fill};
const rlt_kernel rlt_kernel_zeros_like = {"ZEROS_LIKE", 0, 1, false, prepare_zeros_like, NULL, run_zeros_like};
const rlt_kernel rlt_kernel_broadcast_to = {"BROADCAST_TO", sizeof(rlt_strided), 4, false, prepare_broadcast_to,
                                            NULL,           rlt_run_strided};
const rlt_kernel rlt_kernel_tile = {"TILE", sizeof(rlt_strided), 3, false, prepare_tile, NULL, rlt_run_strided};
