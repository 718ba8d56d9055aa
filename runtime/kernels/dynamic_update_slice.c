/* SPDX-License-Identifier: Apache-2.0
 * DYNAMIC_UPDATE_SLICE: a tensor with a part of it replaced. The part is moved to lie inside. */
#include "move.h"

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 1));
  const rlt_tensor *x = n->in[0], *update = n->in[1], *start = n->in[2];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_check_moved(p, update, n->out[0]));
  RLT_TRY(rlt_check_type(p, start, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  RLT_REQUIRE(p->err, start->rank == 1 && start->dims[0] == x->rank, RLT_BAD_MODEL, "%T is no position in %T", start,
              x);
  bool fits = update->rank == x->rank;
  for (int32_t d = 0; d < x->rank && fits; d++) fits = update->dims[d] <= x->dims[d];
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T does not fit into %T", update, x);
  n->in_place = 0;
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r, (void)first, (void)last;
  const rlt_tensor *x = n->in[0], *update = n->in[1], *y = n->out[0];
  int64_t step[RLT_MAX_RANK];
  uint32_t bytes = rlt_type_bytes(y->type);
  rlt_copy(y->data, x->data, y->bytes);
  if (update->count == 0) return RLT_OK;
  rlt_steps(y, step);
  int64_t to = 0, run = x->rank ? update->dims[x->rank - 1] : 1;
  for (int32_t d = 0; d < x->rank; d++) {
    int64_t most = x->dims[d] - update->dims[d], at = rlt_index_at(n->in[2], d);
    at = at < 0 ? 0 : (at > most ? most : at);
    to += at * step[d];
  }
  for (int64_t i = 0; i < (int64_t)update->count / run; i++) {
    int64_t rest = i, place = to;
    for (int32_t d = x->rank - 2; d >= 0; d--) {
      place += rest % update->dims[d] * step[d];
      rest /= update->dims[d];
    }
    rlt_copy((uint8_t *)y->data + (uint64_t)place * bytes, (const uint8_t *)update->data + (uint64_t)(i * run) * bytes,
             (uint64_t)run * bytes);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_dynamic_update_slice = {
    .name = "DYNAMIC_UPDATE_SLICE", .max_version = 6, .prepare = prepare, .run = run};
