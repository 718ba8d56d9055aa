/* SPDX-License-Identifier: Apache-2.0
 * SCATTER_ND (slices added into a tensor of zeros) and SPARSE_TO_DENSE (values put into a tensor of another value). */
#include "move.h"

typedef struct scatter_data {
  int64_t indices, inner; /* slices, and elements of one */
  int32_t depth;          /* dimensions an index names */
  bool one_value;         /* SPARSE_TO_DENSE: the same for all */
} scatter_data;

#define INDEX_TYPES (RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64))

/* First element of the slice that index i names; -1: it lies outside of y. */
static int64_t place_of(const rlt_tensor *indices, int64_t i, int32_t depth, const rlt_tensor *y) {
  int64_t place = 0;
  for (int32_t d = 0; d < depth; d++) {
    int64_t at = rlt_index_at(indices, i * depth + d);
    if (at < 0 || at >= y->dims[d]) return -1;
    place = place * y->dims[d] + at;
  }
  return place;
}

/* ---- SCATTER_ND ---- */

static rlt_status prepare_scatter(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 1));
  scatter_data *k = n->data;
  const rlt_tensor *indices = n->in[0], *updates = n->in[1];
  rlt_tensor *y = n->out[0];
  int32_t rank, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_type(p, indices, INDEX_TYPES, "INT32 or INT64"));
  RLT_TRY(rlt_check_type(p, updates,
                         RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8) |
                             RLT_BIT(RLT_TYPE_BOOL) | INDEX_TYPES,
                         "FLOAT32, INT8, UINT8, INT32, INT64 or BOOL"));
  RLT_TRY(rlt_check_moved(p, updates, y));
  RLT_TRY(rlt_const_ints(p, n->in[2], RLT_MAX_RANK, dims, &rank));
  RLT_TRY(rlt_set_shape(p, y, rank, dims));
  RLT_REQUIRE(p->err, indices->rank >= 1, RLT_BAD_MODEL, "%T needs one dimension at least", indices);
  int32_t outer = indices->rank - 1;
  k->depth = indices->dims[outer];
  bool fits = k->depth <= rank && updates->rank == outer + rank - k->depth;
  for (int32_t d = 0; d < updates->rank && fits; d++) {
    fits = updates->dims[d] == (d < outer ? indices->dims[d] : dims[k->depth + d - outer]);
  }
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T are no slices of %T at indices %T", updates, y, indices);
  k->indices = rlt_span(indices, 0, outer);
  k->inner = rlt_span(y, k->depth, rank);
  return RLT_OK;
}

#define ADD_INTO(type, expression)                               \
  {                                                              \
    const type *u = (const type *)n->in[1]->data + i * k->inner; \
    type *to = (type *)y->data + place * k->inner;               \
    for (int64_t e = 0; e < k->inner; e++) to[e] = (expression); \
  }

static rlt_status run_scatter(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const scatter_data *k = n->data;
  const rlt_tensor *y = n->out[0];
  if (y->bytes) __builtin_memset(y->data, 0, (size_t)y->bytes);
  if (n->in[1]->count == 0) return RLT_OK;
  for (int64_t i = 0; i < k->indices; i++) {
    int64_t place = place_of(n->in[0], i, k->depth, y);
    RLT_REQUIRE(r->err, place >= 0, RLT_BAD_VALUE, "an index is outside %T", y);
    switch (y->type) {
      case RLT_TYPE_FLOAT32:
        ADD_INTO(float, to[e] + u[e]) break;
      case RLT_TYPE_BOOL:
        ADD_INTO(uint8_t, to[e] || u[e]) break;
      case RLT_TYPE_INT32:
        ADD_INTO(uint32_t, to[e] + u[e]) break;
      case RLT_TYPE_INT64:
        ADD_INTO(uint64_t, to[e] + u[e]) break;
      default:
        ADD_INTO(uint8_t, (uint8_t)(to[e] + u[e])) break;
    }
  }
  return RLT_OK;
}

/* ---- SPARSE_TO_DENSE ---- */

static rlt_status prepare_sparse(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 4, 4, 1));
  scatter_data *k = n->data;
  const rlt_tensor *indices = n->in[0], *values = n->in[2], *other = n->in[3];
  rlt_tensor *y = n->out[0];
  int32_t rank, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_type(p, indices, INDEX_TYPES, "INT32 or INT64"));
  RLT_TRY(rlt_check_moved(p, values, y));
  RLT_TRY(rlt_check_moved(p, other, y));
  RLT_REQUIRE(p->err, other->count == 1, RLT_BAD_MODEL, "%T must be one value", other);
  RLT_TRY(rlt_const_ints(p, n->in[1], RLT_MAX_RANK, dims, &rank));
  RLT_TRY(rlt_set_shape(p, y, rank, dims));
  RLT_REQUIRE(p->err, indices->rank <= 2, RLT_BAD_MODEL, "%T must be a list of indices", indices);
  k->depth = indices->rank == 2 ? indices->dims[1] : 1;
  k->indices = indices->rank == 2 ? indices->dims[0] : (int64_t)indices->count;
  k->inner = 1;
  RLT_REQUIRE(p->err, k->depth == rank, RLT_BAD_MODEL, "%T does not name every dimension of %T", indices, y);
  k->one_value = values->rank == 0;
  RLT_REQUIRE(p->err, k->one_value || (values->rank == 1 && values->dims[0] == k->indices), RLT_BAD_MODEL,
              "%T is neither one value nor one for each of %T", values, indices);
  return RLT_OK;
}

static rlt_status run_sparse(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const scatter_data *k = n->data;
  const rlt_tensor *y = n->out[0];
  uint32_t bytes = rlt_type_bytes(y->type);
  rlt_repeat(y->data, n->in[3]->data, bytes, (int64_t)y->count);
  for (int64_t i = 0; i < k->indices; i++) {
    int64_t place = place_of(n->in[0], i, k->depth, y);
    RLT_REQUIRE(r->err, place >= 0, RLT_BAD_VALUE, "an index is outside %T", y);
    rlt_copy((uint8_t *)y->data + (uint64_t)place * bytes,
             (const uint8_t *)n->in[2]->data + (k->one_value ? 0 : (uint64_t)i * bytes), bytes);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_scatter_nd = {.name = "SCATTER_ND",
                                          .data_size = sizeof(scatter_data),
                                          .max_version = 1,
                                          .prepare = prepare_scatter,
                                          .run = run_scatter};
const rlt_kernel rlt_kernel_sparse_to_dense = {.name = "SPARSE_TO_DENSE",
                                               .data_size = sizeof(scatter_data),
                                               .max_version = 3,
                                               .prepare = prepare_sparse,
                                               .run = run_sparse};
