/* SPDX-License-Identifier: Apache-2.0
 * SELECT and SELECT_V2: elements of the second input where the condition holds, of the third elsewhere. */
#include "move.h"

typedef struct select_run {
  const uint8_t *condition, *a, *b;
  uint8_t *y;
  int64_t step[3];
} select_run;

#define SELECT_ROW(bytes, type)                                                                               \
  static void row_##bytes(const void *ctx, int64_t out, const int64_t *in, int64_t n) {                       \
    const select_run *c = (const select_run *)ctx;                                                            \
    const uint8_t *condition = c->condition + in[0];                                                          \
    const type *a = (const type *)(const void *)c->a + in[1], *b = (const type *)(const void *)c->b + in[2];  \
    type *y = (type *)(void *)c->y + out;                                                                     \
    for (int64_t i = 0; i < n; i++) y[i] = condition[i * c->step[0]] ? a[i * c->step[1]] : b[i * c->step[2]]; \
  }
SELECT_ROW(1, uint8_t)
SELECT_ROW(2, uint16_t)
SELECT_ROW(4, uint32_t)
SELECT_ROW(8, uint64_t)

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 1));
  rlt_walk *w = n->data;
  rlt_tensor *condition = n->in[0], *a = n->in[1];
  int32_t rank, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_type(p, condition, RLT_BIT(RLT_TYPE_BOOL), "BOOL"));
  RLT_TRY(rlt_check_moved(p, a, n->out[0]));
  RLT_TRY(rlt_check_moved(p, n->in[2], n->out[0]));
  RLT_REQUIRE(p->err, rlt_type_bytes(a->type) <= 8, RLT_UNSUPPORTED, "%T: elements of more than 8 bytes", a);
  rlt_tensor rows = *condition;
  rlt_tensor *in[3] = {condition, a, n->in[2]};
  if (n->def->op == RLT_OP_SELECT && condition->rank == 1 && a->rank > 1) { /* it picks whole rows */
    RLT_REQUIRE(p->err, condition->dims[0] == a->dims[0], RLT_BAD_MODEL, "%T does not pick the rows of %T", condition,
                a);
    rows.rank = a->rank;
    for (int32_t d = 1; d < a->rank; d++) rows.dims[d] = 1;
    in[0] = &rows;
  }
  RLT_TRY(rlt_broadcast(p, in, 3, &rank, dims));
  RLT_TRY(rlt_set_shape(p, n->out[0], rank, dims));
  rlt_walk_broadcast(w, in, 3, rank, dims);
  n->tiles = rlt_flat_tiles(n->out[0]->count);
  return RLT_OK;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const rlt_walk *w = n->data;
  select_run c = {.condition = n->in[0]->data, .a = n->in[1]->data, .b = n->in[2]->data, .y = n->out[0]->data};
  for (int32_t i = 0; i < 3; i++) c.step[i] = w->step[i][w->rank - 1];
  uint32_t bytes = rlt_type_bytes(n->out[0]->type);
  rlt_row row = bytes == 1 ? row_1 : (bytes == 2 ? row_2 : (bytes == 4 ? row_4 : row_8));
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  rlt_walk_run(w, NULL, begin, end, row, &c);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_select = {"SELECT", sizeof(rlt_walk), 4, false, prepare, NULL, run};
const rlt_kernel rlt_kernel_select_v2 = {"SELECT_V2", sizeof(rlt_walk), 2, false, prepare, NULL, run};
