/* SPDX-License-Identifier: Apache-2.0
 * ADD_N: the sum of any number of tensors of one shape, in their order. */
#include "common.h"

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, INT32_MAX, 1));
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT32), "FLOAT32 or INT32"));
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  for (int32_t i = 1; i < n->def->n_inputs; i++) {
    const rlt_tensor *other = n->in[i];
    RLT_REQUIRE(p->err, other, RLT_BAD_MODEL, "input %d is left out", i);
    RLT_TRY(rlt_check_same_type(p, x, other));
    bool same = other->rank == x->rank;
    for (int32_t d = 0; d < x->rank && same; d++) same = other->dims[d] == x->dims[d];
    RLT_REQUIRE(p->err, same, RLT_BAD_MODEL, "%T and %T must have the same shape", x, other);
  }
  n->tiles = rlt_flat_tiles(x->count);
  n->in_place = 0;
  n->loop = x->type == RLT_TYPE_FLOAT32 ? p->u->loops->name : NULL;
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  uint32_t *y = (uint32_t *)n->out[0]->data + begin;
  rlt_copy(y, (const uint32_t *)n->in[0]->data + begin, (uint64_t)(end - begin) * sizeof *y);
  for (int32_t i = 1; i < n->def->n_inputs; i++) {
    const uint32_t *x = (const uint32_t *)n->in[i]->data + begin;
    if (n->out[0]->type == RLT_TYPE_FLOAT32) {
      r->u->loops->add_f32(x, y, end - begin);
    } else {
      for (int64_t at = 0; at < end - begin; at++) y[at] += x[at];
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_add_n = {.name = "ADD_N", .max_version = 1, .prepare = prepare, .run = run};
