/* SPDX-License-Identifier: Apache-2.0
 * TRANSPOSE. Where neighbours of the output lie apart in the input, the dimension along which they do and the one whose
 * elements are neighbours in the input make matrices, which are transposed in parts of a cache line's width. */
#include "move.h"

#define LINE_BYTES 64

typedef struct transpose_data {
  rlt_strided strided;
  bool by_matrix;
  int32_t column_dim;            /* of the walk, its step is 1; rows go along the last one */
  int64_t columns, x_step;       /* of a matrix; from row to row in the input */
  int64_t y_step;                /* from column to column in the output */
  int64_t part, parts, matrices; /* columns taken together */
} transpose_data;

static void plan_matrices(rlt_node *n, transpose_data *k) {
  const rlt_walk *w = &k->strided.walk;
  uint32_t bytes = rlt_type_bytes(n->in[0]->type);
  int32_t last = w->rank - 1;
  k->by_matrix = false;
  k->y_step = 1;
  if (w->step[0][last] == 1 || bytes > 8 || n->in[0]->count == 0) return;
  for (int32_t d = last; d >= 0 && !k->by_matrix; d--) {
    k->by_matrix = w->step[0][d] == 1;
    k->column_dim = d;
    if (!k->by_matrix) k->y_step *= w->dims[d];
  }
  if (!k->by_matrix) return;
  k->columns = w->dims[k->column_dim];
  k->x_step = w->step[0][last];
  k->part = LINE_BYTES / (int64_t)bytes;
  k->parts = (k->columns + k->part - 1) / k->part;
  k->matrices = 1;
  for (int32_t d = 0; d < last; d++) k->matrices *= d == k->column_dim ? 1 : w->dims[d];
  n->tiles = rlt_unit_tiles(k->matrices * k->parts, k->part * w->dims[last]);
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  transpose_data *k = n->data;
  rlt_walk *w = &k->strided.walk;
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  int32_t perm[RLT_MAX_RANK], count, dims[RLT_MAX_RANK];
  int64_t step[RLT_MAX_RANK];
  bool seen[RLT_MAX_RANK] = {false};
  RLT_TRY(rlt_const_ints(p, n->in[1], RLT_MAX_RANK, perm, &count));
  RLT_REQUIRE(p->err, count == x->rank, RLT_BAD_MODEL, "%T is no permutation for %T", n->in[1], x);
  rlt_steps(x, step);
  w->rank = x->rank;
  w->inputs = 1;
  for (int32_t d = 0; d < x->rank; d++) {
    RLT_TRY(rlt_check_axis(p, &perm[d], x->rank));
    RLT_REQUIRE(p->err, !seen[perm[d]], RLT_BAD_MODEL, "the permutation names dimension %d twice", perm[d]);
    seen[perm[d]] = true;
    dims[d] = x->dims[perm[d]];
    w->dims[d] = dims[d];
    w->step[0][d] = step[perm[d]];
  }
  rlt_walk_merge(w);
  n->tiles = rlt_flat_tiles(x->count);
  plan_matrices(n, k);
  if (k->by_matrix) n->loop = p->u->rows->name;
  return rlt_set_shape(p, n->out[0], x->rank, dims);
}

/* Where matrix `index` begins in the input and in the output. */
static void find_matrix(const transpose_data *k, int64_t index, int64_t *from, int64_t *to) {
  const rlt_walk *w = &k->strided.walk;
  int64_t size = w->dims[w->rank - 1];
  *from = *to = 0;
  for (int32_t d = w->rank - 2; d >= 0; d--) {
    if (d != k->column_dim) {
      int64_t at = index % w->dims[d];
      index /= w->dims[d];
      *from += at * w->step[0][d];
      *to += at * size;
    }
    size *= w->dims[d];
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const transpose_data *k = n->data;
  const rlt_walk *w = &k->strided.walk;
  if (!k->by_matrix) return rlt_run_strided(r, n, first, last);
  uint32_t bytes = rlt_type_bytes(n->out[0]->type);
  int64_t begin, end, from, to;
  rlt_part(n, k->matrices * k->parts, first, last, &begin, &end);
  for (int64_t unit = begin; unit < end; unit++) {
    int64_t column = unit % k->parts * k->part;
    int64_t columns = k->columns - column < k->part ? k->columns - column : k->part;
    find_matrix(k, unit / k->parts, &from, &to);
    const char *x = (const char *)n->in[0]->data + (size_t)(from + column) * bytes;
    char *y = (char *)n->out[0]->data + (size_t)(to + column * k->y_step) * bytes;
    r->u->rows->transpose(x, (size_t)k->x_step, y, (size_t)k->y_step, (size_t)w->dims[w->rank - 1], (size_t)columns,
                          bytes);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_transpose = {"TRANSPOSE", sizeof(transpose_data), 9, false, prepare, NULL, run};
