/* SPDX-License-Identifier: Apache-2.0
 * EMBEDDING_LOOKUP (rows of a table, dequantized where the output is float), EMBEDDING_LOOKUP_SPARSE (weighted sums
 * of rows) and HASHTABLE_LOOKUP (rows by their keys). */
#include "move.h"

/* ---- EMBEDDING_LOOKUP ---- */

static rlt_status check_hybrid(rlt_prep *p, const rlt_tensor *table, const rlt_tensor *y) {
  RLT_TRY(rlt_check_type(p, y, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32 (or the table's type)"));
  RLT_TRY(
      rlt_check_type(p, table, RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_INT4), "INT8 or INT4 for a FLOAT32 output"));
  const rlt_quant *q = &table->def->quant;
  RLT_REQUIRE(p->err, q->n >= 1, RLT_BAD_MODEL, "%T has no scale, and a FLOAT32 output needs it", table);
  RLT_REQUIRE(p->err, q->n == 1 || (q->axis == 0 && q->n == table->dims[0]), RLT_UNSUPPORTED,
              "%T must have one scale, or one per row", table);
  for (int32_t i = 0; i < q->n; i++) {
    RLT_REQUIRE(p->err, rlt_zero_point(table, i) == 0, RLT_UNSUPPORTED, "%T: the zero point of row %d is not 0", table,
                i);
  }
  return RLT_OK;
}

static rlt_status prepare_lookup(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  const rlt_tensor *ids = n->in[0], *table = n->in[1];
  int32_t dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_type(p, ids, RLT_BIT(RLT_TYPE_INT32), "INT32"));
  RLT_REQUIRE(p->err, ids->rank == 1 && table->rank >= 2, RLT_BAD_MODEL, "%T is no list of rows of %T", ids, table);
  if (table->type == n->out[0]->type) {
    RLT_TRY(rlt_check_moved(p, table, n->out[0]));
  } else {
    RLT_TRY(check_hybrid(p, table, n->out[0]));
  }
  dims[0] = ids->dims[0];
  for (int32_t d = 1; d < table->rank; d++) dims[d] = table->dims[d];
  n->tiles = rlt_unit_tiles(ids->dims[0], rlt_span(table, 1, table->rank));
  return rlt_set_shape(p, n->out[0], table->rank, dims);
}

/* Two values share a byte, the first in the low half. */
static int32_t nibble(const uint8_t *x, int64_t i) {
  int32_t half = i % 2 ? x[i / 2] >> 4 : x[i / 2] & 15;
  return half < 8 ? half : half - 16;
}

static rlt_status run_lookup(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const rlt_tensor *table = n->in[1], *y = n->out[0];
  const int32_t *ids = n->in[0]->data;
  int64_t inner = rlt_span(table, 1, table->rank), begin, end;
  uint64_t bytes = (uint64_t)inner * rlt_type_bytes(table->type);
  if (y->count == 0) return RLT_OK;
  rlt_part(n, n->in[0]->dims[0], first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t id = ids[i];
    RLT_REQUIRE(r->err, id >= 0 && id < table->dims[0], RLT_BAD_VALUE, "row %d is outside %T", (int32_t)id, table);
    if (table->type == y->type) {
      rlt_copy((uint8_t *)y->data + (uint64_t)i * bytes, (const uint8_t *)table->data + (uint64_t)id * bytes, bytes);
      continue;
    }
    float scale = rlt_scale(table, table->def->quant.n > 1 ? (int32_t)id : 0);
    float *to = (float *)y->data + i * inner;
    if (table->type == RLT_TYPE_INT8) {
      r->u->loops->dequantize_i8((const int8_t *)table->data + id * inner, to, inner, 0, scale);
    } else {
      for (int64_t e = 0; e < inner; e++) to[e] = (float)nibble(table->data, id * inner + e) * scale;
    }
  }
  return RLT_OK;
}

/* ---- EMBEDDING_LOOKUP_SPARSE: inputs ids, indices, dense shape, weights, table ---- */

enum { SUM, MEAN, SQRTN };

static rlt_status prepare_sparse(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 5, 5, 1));
  int32_t *combiner = n->data, rank = 0, dims[2 * RLT_MAX_RANK], shape_rank, shape[RLT_MAX_RANK];
  const rlt_tensor *ids = n->in[0], *indices = n->in[1], *weights = n->in[3], *table = n->in[4];
  for (int32_t i = 0; i < 3; i++) RLT_TRY(rlt_check_type(p, n->in[i], RLT_BIT(RLT_TYPE_INT32), "INT32"));
  for (int32_t i = 3; i < 5; i++) RLT_TRY(rlt_check_type(p, n->in[i], RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_TRY(rlt_check_type(p, n->out[0], RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  bool fits = ids->rank == 1 && indices->rank == 2 && weights->rank == 1 && table->rank >= 2 &&
              indices->dims[0] == ids->dims[0] && weights->dims[0] == ids->dims[0] && indices->dims[1] >= 1;
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T, %T and %T are no weighted list of rows of %T", ids, indices, weights,
              table);
  *combiner = rlt_fb_i8(&n->def->options, RLT_SLOT_EmbeddingLookupSparseOptions_combiner, SUM);
  RLT_REQUIRE(p->err, *combiner >= SUM && *combiner <= SQRTN, RLT_UNSUPPORTED,
              "combiner %d is none of SUM (0), MEAN (1) and SQRTN (2)", *combiner);
  RLT_TRY(rlt_const_ints(p, n->in[2], RLT_MAX_RANK, shape, &shape_rank));
  RLT_REQUIRE(p->err, shape_rank == indices->dims[1], RLT_BAD_MODEL, "%T is no shape for indices %T", n->in[2],
              indices);
  for (int32_t d = 0; d < shape_rank - 1; d++) dims[rank++] = shape[d];
  for (int32_t d = 1; d < table->rank; d++) dims[rank++] = table->dims[d];
  RLT_REQUIRE(p->err, rank <= RLT_MAX_RANK, RLT_UNSUPPORTED, "the result would have more than %d dimensions",
              (int32_t)RLT_MAX_RANK);
  return rlt_set_shape(p, n->out[0], rank, dims);
}

static void finish_row(int32_t combiner, float total, float squares, float *row, int64_t inner) {
  float divisor = combiner == MEAN ? total : rlt_sqrt(squares);
  if (combiner == SUM) return;
  for (int64_t e = 0; e < inner; e++) row[e] /= divisor;
}

static rlt_status run_sparse(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const rlt_tensor *indices = n->in[1], *table = n->in[4], *y = n->out[0];
  const int32_t *ids = n->in[0]->data, *at = indices->data;
  const float *weights = n->in[3]->data;
  int32_t depth = indices->dims[1], combiner = *(const int32_t *)n->data;
  int64_t inner = rlt_span(table, 1, table->rank), current = -1;
  float total = 0.0f, squares = 0.0f;
  if (y->bytes) __builtin_memset(y->data, 0, (size_t)y->bytes);
  for (int64_t i = 0; i < n->in[0]->dims[0]; i++) {
    int64_t bucket = 0;
    RLT_REQUIRE(r->err, ids[i] >= 0 && ids[i] < table->dims[0], RLT_BAD_VALUE, "row %d is outside %T", ids[i], table);
    for (int32_t d = 0; d < depth - 1; d++) {
      int32_t position = at[i * depth + d];
      RLT_REQUIRE(r->err, position >= 0 && position < y->dims[d], RLT_BAD_VALUE,
                  "an index is outside dimension %d of %T", d, y);
      bucket = bucket * y->dims[d] + position;
    }
    if (bucket != current) {
      if (current >= 0) finish_row(combiner, total, squares, (float *)y->data + current * inner, inner);
      current = bucket;
      total = squares = 0.0f;
    }
    total += weights[i];
    squares += weights[i] * weights[i];
    float *row = (float *)y->data + bucket * inner;
    const float *from = (const float *)table->data + ids[i] * inner;
    for (int64_t e = 0; e < inner; e++) row[e] += from[e] * weights[i];
  }
  if (current >= 0) finish_row(combiner, total, squares, (float *)y->data + current * inner, inner);
  return RLT_OK;
}

/* ---- HASHTABLE_LOOKUP: rows by sorted keys; zeros, and no hit, where a key is not there ---- */

static rlt_status prepare_hashtable(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 2));
  const rlt_tensor *wanted = n->in[0], *keys = n->in[1], *table = n->in[2];
  int32_t dims[RLT_MAX_RANK];
  for (int32_t i = 0; i < 2; i++) RLT_TRY(rlt_check_type(p, n->in[i], RLT_BIT(RLT_TYPE_INT32), "INT32"));
  RLT_TRY(rlt_check_moved(p, table, n->out[0]));
  RLT_TRY(rlt_check_type(p, n->out[1], RLT_BIT(RLT_TYPE_UINT8), "UINT8"));
  bool fits = wanted->rank == 1 && keys->rank == 1 && table->rank >= 1 && keys->dims[0] == table->dims[0];
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T and %T are no keys of rows of %T", wanted, keys, table);
  dims[0] = wanted->dims[0];
  for (int32_t d = 1; d < table->rank; d++) dims[d] = table->dims[d];
  RLT_TRY(rlt_set_shape(p, n->out[1], 1, dims));
  return rlt_set_shape(p, n->out[0], table->rank, dims);
}

static rlt_status run_hashtable(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r, (void)first, (void)last;
  const rlt_tensor *table = n->in[2];
  const int32_t *wanted = n->in[0]->data, *keys = n->in[1]->data;
  uint64_t bytes = (uint64_t)rlt_span(table, 1, table->rank) * rlt_type_bytes(table->type);
  for (int64_t i = 0; i < n->in[0]->dims[0]; i++) {
    int64_t from = 0, to = n->in[1]->dims[0];
    while (from < to) {
      int64_t middle = from + (to - from) / 2;
      if (keys[middle] < wanted[i]) {
        from = middle + 1;
      } else {
        to = middle;
      }
    }
    bool hit = from < n->in[1]->dims[0] && keys[from] == wanted[i];
    uint8_t *row = (uint8_t *)n->out[0]->data + (uint64_t)i * bytes;
    ((uint8_t *)n->out[1]->data)[i] = hit;
    if (hit) rlt_copy(row, (const uint8_t *)table->data + (uint64_t)from * bytes, bytes);
    if (!hit && bytes) __builtin_memset(row, 0, (size_t)bytes);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_embedding_lookup = {
    .name = "EMBEDDING_LOOKUP", .max_version = 5, .prepare = prepare_lookup, .run = run_lookup};
const rlt_kernel rlt_kernel_embedding_lookup_sparse = {.name = "EMBEDDING_LOOKUP_SPARSE",
                                                       .data_size = sizeof(int32_t),
                                                       .max_version = 1,
                                                       .prepare = prepare_sparse,
                                                       .run = run_sparse};
const rlt_kernel rlt_kernel_hashtable_lookup = {
    .name = "HASHTABLE_LOOKUP", .max_version = 1, .prepare = prepare_hashtable, .run = run_hashtable};
