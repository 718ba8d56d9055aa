/* SPDX-License-Identifier: Apache-2.0 */
#include "move.h"

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  rlt_strided *k = n->data;
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  int32_t perm[RLT_MAX_RANK], count, dims[RLT_MAX_RANK];
  int64_t step[RLT_MAX_RANK];
  bool seen[RLT_MAX_RANK] = {false};
  RLT_TRY(rlt_const_ints(p, n->in[1], RLT_MAX_RANK, perm, &count));
  RLT_REQUIRE(p->err, count == x->rank, RLT_BAD_MODEL, "%T is no permutation for %T", n->in[1], x);
  rlt_steps(x, step);
  k->walk.rank = x->rank;
  k->walk.inputs = 1;
  for (int32_t d = 0; d < x->rank; d++) {
    RLT_TRY(rlt_check_axis(p, &perm[d], x->rank));
    RLT_REQUIRE(p->err, !seen[perm[d]], RLT_BAD_MODEL, "the permutation names dimension %d twice", perm[d]);
    seen[perm[d]] = true;
    dims[d] = x->dims[perm[d]];
    k->walk.dims[d] = dims[d];
    k->walk.step[0][d] = step[perm[d]];
  }
  rlt_walk_merge(&k->walk);
  n->tiles = rlt_flat_tiles(x->count);
  return rlt_set_shape(p, n->out[0], x->rank, dims);
}

const rlt_kernel rlt_kernel_transpose = {"TRANSPOSE", sizeof(rlt_strided), 9, false, prepare, NULL, rlt_run_strided};
