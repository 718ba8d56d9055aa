/* SPDX-License-Identifier: Apache-2.0
 * MATRIX_DIAG (a matrix of zeros around each row of the input) and MATRIX_SET_DIAG (each matrix with its diagonal
 * replaced). */
#include "move.h"

static rlt_status check_common(rlt_prep *p, rlt_node *n, int32_t inputs) {
  RLT_TRY(rlt_check_arity(p, n, inputs, inputs, 1));
  for (int32_t i = 0; i < inputs; i++) RLT_TRY(rlt_check_moved(p, n->in[i], n->out[0]));
  return RLT_OK;
}

static rlt_status prepare_diag(rlt_prep *p, rlt_node *n) {
  RLT_TRY(check_common(p, n, 1));
  const rlt_tensor *x = n->in[0];
  int32_t dims[RLT_MAX_RANK];
  RLT_REQUIRE(p->err, x->rank >= 1 && x->rank < RLT_MAX_RANK, RLT_BAD_MODEL, "%T must have from 1 to %d dimensions", x,
              (int32_t)RLT_MAX_RANK - 1);
  for (int32_t d = 0; d < x->rank; d++) dims[d] = x->dims[d];
  dims[x->rank] = x->dims[x->rank - 1];
  RLT_TRY(rlt_set_shape(p, n->out[0], x->rank + 1, dims));
  n->tiles = rlt_unit_tiles((int64_t)x->count, x->dims[x->rank - 1]);
  return RLT_OK;
}

static rlt_status prepare_set_diag(rlt_prep *p, rlt_node *n) {
  RLT_TRY(check_common(p, n, 2));
  const rlt_tensor *x = n->in[0], *diagonal = n->in[1];
  RLT_REQUIRE(p->err, x->rank >= 2, RLT_BAD_MODEL, "%T must have two dimensions at least", x);
  int32_t rows = x->dims[x->rank - 2], columns = x->dims[x->rank - 1];
  bool fits = diagonal->rank == x->rank - 1 && diagonal->dims[x->rank - 2] == (rows < columns ? rows : columns);
  for (int32_t d = 0; d < x->rank - 2 && fits; d++) fits = diagonal->dims[d] == x->dims[d];
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T is no diagonal for %T", diagonal, x);
  n->in_place = 0;
  n->tiles = rlt_unit_tiles(rlt_span(x, 0, x->rank - 1), columns);
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

/* Rows of the output: copied or filled with zeros, then the diagonal's element. */
static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const rlt_tensor *y = n->out[0], *diagonal = n->in[n->def->n_inputs - 1];
  uint32_t bytes = rlt_type_bytes(y->type);
  int64_t rows = y->dims[y->rank - 2], columns = y->dims[y->rank - 1], begin, end;
  int64_t least = rows < columns ? rows : columns;
  if (y->count == 0) return RLT_OK;
  rlt_part(n, (int64_t)y->count / columns, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    uint8_t *to = (uint8_t *)y->data + (uint64_t)(i * columns) * bytes;
    if (n->def->op == RLT_OP_MATRIX_DIAG) {
      __builtin_memset(to, 0, (size_t)columns * bytes);
    } else {
      rlt_copy(to, (const uint8_t *)n->in[0]->data + (uint64_t)(i * columns) * bytes, (uint64_t)columns * bytes);
    }
    int64_t row = i % rows;
    if (row >= least) continue;
    rlt_copy(to + (uint64_t)row * bytes, (const uint8_t *)diagonal->data + (uint64_t)(i / rows * least + row) * bytes,
             bytes);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_matrix_diag = {
    .name = "MATRIX_DIAG", .max_version = 1, .prepare = prepare_diag, .run = run};
const rlt_kernel rlt_kernel_matrix_set_diag = {
    .name = "MATRIX_SET_DIAG", .max_version = 1, .prepare = prepare_set_diag, .run = run};
