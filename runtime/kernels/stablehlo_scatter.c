/* SPDX-License-Identifier: Apache-2.0
 * STABLEHLO_SCATTER: windows of updates taken into a copy of the input, each where an index says, in their order. What
 * lies outside the input is left out. */
#include "move.h"
#include "reduce_run.h"

typedef struct hlo_scatter_data {
  rlt_reduce_run take; /* NULL: the update itself */
  int32_t function;
  int32_t named;                    /* numbers of an index */
  int32_t dim_of[RLT_MAX_RANK];     /* input dimension each of them positions */
  int32_t window_to[RLT_MAX_RANK];  /* update dimension -> input dimension it walks through; -1: of the indices */
  int64_t index_step[RLT_MAX_RANK]; /* of the indices, by update dimension; 0 for those of the window */
  int64_t vector_step;              /* between the numbers of an index */
} hlo_scatter_data;

/* Which of the update's dimensions walk where. */
static rlt_status read_layout(rlt_prep *p, rlt_node *n, int32_t vector_dim) {
  hlo_scatter_data *k = n->data;
  const rlt_tensor *x = n->in[0], *indices = n->in[1], *updates = n->in[2];
  int32_t window[RLT_MAX_RANK], windows, inserted[RLT_MAX_RANK], inserts;
  int64_t step[RLT_MAX_RANK];
  RLT_TRY(rlt_option_dims(p, n, RLT_SLOT_StablehloScatterOptions_update_window_dims, updates->rank, true, window,
                          &windows));
  RLT_TRY(
      rlt_option_dims(p, n, RLT_SLOT_StablehloScatterOptions_inserted_window_dims, x->rank, true, inserted, &inserts));
  int32_t batches = indices->rank - (vector_dim < indices->rank);
  RLT_REQUIRE(p->err, windows + inserts == x->rank && updates->rank == windows + batches, RLT_BAD_MODEL,
              "%d update_window_dims and %d inserted_window_dims do not fit %T, %T and %T", windows, inserts, x,
              indices, updates);
  rlt_steps(indices, step);
  int32_t to = 0, batch = 0;
  for (int32_t d = 0; d < updates->rank; d++) {
    k->window_to[d] = -1;
    k->index_step[d] = 0;
    if (rlt_contains(window, windows, d)) {
      while (rlt_contains(inserted, inserts, to)) to++;
      k->window_to[d] = to++;
      continue;
    }
    if (batch == vector_dim) batch++;
    RLT_REQUIRE(p->err, updates->dims[d] == indices->dims[batch], RLT_BAD_MODEL,
                "dimension %d of %T is not as long as dimension %d of %T", d, updates, batch, indices);
    k->index_step[d] = step[batch++];
  }
  k->vector_step = vector_dim < indices->rank ? step[vector_dim] : 0;
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 1));
  hlo_scatter_data *k = n->data;
  const rlt_tensor *x = n->in[0], *indices = n->in[1];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_check_moved(p, n->in[2], n->out[0]));
  RLT_TRY(rlt_check_type(p, indices, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  if (n->def->body != RLT_BODY_SECOND) {
    k->take = rlt_reduce_run_of(x->type);
    RLT_REQUIRE(p->err, k->take, RLT_UNSUPPORTED, "%T: this op has no kernel for %t", x, x->type);
    RLT_TRY(rlt_body_function(p, n->def->body, x, &k->function));
    bool orders =
        k->function == RLT_REDUCE_WINDOW_FUNCTION_MAXIMUM || k->function == RLT_REDUCE_WINDOW_FUNCTION_MINIMUM;
    RLT_REQUIRE(
        p->err, x->def->quant.n == 0 || orders, RLT_UNSUPPORTED,
        "%T has a scale, and its body is no maximum or minimum: the sum or product of stored integers is not that "
        "of the values; dequantize first",
        x);
  }
  int64_t vector_dim = rlt_fb_i64(&n->def->options, RLT_SLOT_StablehloScatterOptions_index_vector_dim, 0);
  RLT_REQUIRE(p->err, vector_dim >= 0 && vector_dim <= indices->rank, RLT_BAD_MODEL,
              "index_vector_dim is no dimension of %T", indices);
  RLT_TRY(rlt_option_dims(p, n, RLT_SLOT_StablehloScatterOptions_scatter_dims_to_operand_dims, x->rank, false,
                          k->dim_of, &k->named));
  int32_t numbers = vector_dim < indices->rank ? indices->dims[vector_dim] : 1;
  RLT_REQUIRE(p->err, k->named == numbers, RLT_BAD_MODEL,
              "scatter_dims_to_operand_dims names %d dimensions, %T holds %d", k->named, indices, numbers);
  RLT_TRY(read_layout(p, n, (int32_t)vector_dim));
  n->in_place = 0;
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r, (void)first, (void)last;
  const hlo_scatter_data *k = n->data;
  const rlt_tensor *updates = n->in[2], *y = n->out[0];
  uint32_t bytes = rlt_type_bytes(y->type);
  int64_t step[RLT_MAX_RANK];
  rlt_steps(y, step);
  rlt_copy(y->data, n->in[0]->data, y->bytes);
  for (int64_t i = 0; i < (int64_t)updates->count; i++) {
    int64_t rest = i, index = 0, place[RLT_MAX_RANK] = {0}, to = 0;
    for (int32_t d = updates->rank - 1; d >= 0; d--) {
      int64_t at = rest % updates->dims[d];
      rest /= updates->dims[d];
      index += at * k->index_step[d];
      if (k->window_to[d] >= 0) place[k->window_to[d]] = at;
    }
    bool inside = true;
    for (int32_t j = 0; j < k->named && inside; j++) {
      int64_t start = rlt_index_at(n->in[1], index + j * k->vector_step);
      inside = start > -INT32_MAX && start < INT32_MAX;
      if (inside) place[k->dim_of[j]] += start;
    }
    for (int32_t d = 0; d < y->rank && inside; d++) {
      inside = place[d] >= 0 && place[d] < y->dims[d];
      to += place[d] * step[d];
    }
    if (!inside) continue;
    const uint8_t *from = (const uint8_t *)updates->data + (uint64_t)i * bytes;
    uint8_t *target = (uint8_t *)y->data + (uint64_t)to * bytes;
    if (k->take) k->take(k->function, from, 1, 1, target);
    else rlt_copy(target, from, bytes);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_stablehlo_scatter = {.name = "STABLEHLO_SCATTER",
                                                 .data_size = sizeof(hlo_scatter_data),
                                                 .max_version = 1,
                                                 .prepare = prepare,
                                                 .run = run};
