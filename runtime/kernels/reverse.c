/* SPDX-License-Identifier: Apache-2.0
 * REVERSE_V2: a walk that goes backwards along the dimensions named. */
#include "move.h"

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  rlt_strided *k = n->data;
  const rlt_tensor *x = n->in[0];
  int32_t axes[RLT_MAX_RANK], count;
  int64_t step[RLT_MAX_RANK];
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_const_ints(p, n->in[1], RLT_MAX_RANK, axes, &count));
  rlt_steps(x, step);
  *k = (rlt_strided){.walk = {.rank = x->rank, .inputs = 1}};
  for (int32_t d = 0; d < x->rank; d++) {
    k->walk.dims[d] = x->dims[d];
    k->walk.step[0][d] = step[d];
  }
  for (int32_t i = 0; i < count; i++) {
    RLT_TRY(rlt_check_axis(p, &axes[i], x->rank));
    int64_t *along = &k->walk.step[0][axes[i]];
    RLT_REQUIRE(p->err, *along == step[axes[i]], RLT_BAD_MODEL, "dimension %d is named twice", axes[i]);
    *along = -*along;
    k->base += (x->dims[axes[i]] - 1) * step[axes[i]];
  }
  rlt_walk_merge(&k->walk);
  n->tiles = rlt_flat_tiles(x->count);
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

const rlt_kernel rlt_kernel_reverse_v2 = {"REVERSE_V2", sizeof(rlt_strided), 4, false, prepare, NULL, rlt_run_strided};
