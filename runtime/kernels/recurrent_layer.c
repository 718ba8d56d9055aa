/* SPDX-License-Identifier: Apache-2.0 */
#include "recurrent_layer.h"

enum { MOST_ROWS = 16, MOST_STEPS = 32 }; /* of the batch in one tile; of them times steps in one product with x */

rlt_status rlt_layer_check(rlt_prep *p, const rlt_node *n, int32_t gates, int32_t state, rlt_layer *l) {
  const rlt_tensor *x = n->in[RLT_LAYER_X], *h = n->in[state];
  RLT_REQUIRE(p->err, x->rank == 3 && h->rank == 2, RLT_UNSUPPORTED, "%T must have 3 dimensions and %T 2", x, h);
  l->time = x->dims[0], l->batch = x->dims[1], l->features = x->dims[2], l->size = h->dims[1];
  l->gates = gates, l->state = state;
  RLT_REQUIRE(p->err, h->dims[0] == l->batch && l->size <= INT32_MAX / gates, RLT_UNSUPPORTED, "%T does not go with %T",
              h, x);
  int32_t width = gates * l->size;
  RLT_TRY(rlt_check_gate_weights(p, n->in[RLT_LAYER_WEIGHTS], "weights", RLT_FAMILY_FLOAT, width, l->features));
  RLT_TRY(rlt_check_gate_weights(p, n->in[RLT_LAYER_RECURRENT], "recurrent weights", RLT_FAMILY_FLOAT, width, l->size));
  return rlt_check_vector(p, n->in[RLT_LAYER_BIAS], "biases", RLT_TYPE_FLOAT32, width);
}

static uint64_t floats(uint64_t count) { return rlt_align64(count * sizeof(float)); }

rlt_status rlt_layer_plan(rlt_prep *p, rlt_node *n, rlt_layer *l, rlt_gates *const *products, int32_t count,
                          uint64_t own, uint64_t once) {
  uint64_t size = (uint64_t)l->size, gates = (uint64_t)l->gates, rows;
  bool constant = n->in[RLT_LAYER_WEIGHTS]->is_const && n->in[RLT_LAYER_RECURRENT]->is_const;
  l->x =
      (rlt_gates){.count = 1, .weights = {RLT_LAYER_WEIGHTS}, .bias = {-1}, .n = l->gates * l->size, .k = l->features};
  uint64_t packed = rlt_gates_plan(p->u, &l->x, 0);
  for (int32_t i = 0; i < count; i++) packed = rlt_gates_plan(p->u, products[i], packed);
  l->rows = l->batch < MOST_ROWS ? (l->batch < 1 ? 1 : l->batch) : MOST_ROWS;
  l->steps = MOST_STEPS / l->rows;
  rows = (uint64_t)l->rows * (uint64_t)l->steps;
  l->at_gates = 0;
  l->at_rows = l->at_gates + floats(rows * gates * size);
  l->at_own = l->at_rows + rlt_align64(rows * sizeof(void *));
  l->used = l->at_own + floats((uint64_t)l->rows * own + once);
  n->tiles = constant ? (l->batch + l->rows - 1) / l->rows : 1;
  n->tiles = n->tiles < 1 ? 1 : n->tiles;
  n->packed_bytes = constant ? packed : 0;
  n->packed_inputs = constant ? RLT_INPUT_BIT(RLT_LAYER_WEIGHTS) | RLT_INPUT_BIT(RLT_LAYER_RECURRENT) : 0;
  n->scratch_bytes = l->used + (constant ? 0 : packed);
  uint64_t steps = (uint64_t)l->batch * (uint64_t)l->time;
  n->macs = rlt_saturating_product(rlt_saturating_product(steps, gates * size), (uint64_t)l->features + size);
  n->loop = p->u->f32_gemm->name;
  int32_t dims[3] = {l->time, l->batch, l->size};
  RLT_TRY(rlt_set_shape(p, n->out[0], 3, dims));
  return rlt_set_shape(p, n->out[1], 2, dims + 1);
}

/* ---- run ---- */

/* W x + b of `steps` steps from t on. */
static void multiply_inputs(const rlt_layer_tile *s, size_t t, size_t steps) {
  const rlt_layer *l = s->layer;
  size_t width = (size_t)l->gates * (size_t)l->size, features = (size_t)l->features, batch = (size_t)l->batch;
  const float *x = s->n->in[RLT_LAYER_X]->data;
  for (size_t i = 0; i < steps * s->rows; i++) {
    s->at[i] = x + ((t + i / s->rows) * batch + s->begin + i % s->rows) * features;
    rlt_copy(s->gates + i * width, s->bias, width * sizeof(float));
  }
  rlt_gates_add(s->u, &l->x, s->packed, (int32_t)(steps * s->rows), s->at, NULL, s->gates, width);
}

static void run_tile(rlt_layer_tile *s, const rlt_layer_cell *cell) {
  const rlt_layer *l = s->layer;
  size_t size = (size_t)l->size, batch = (size_t)l->batch, time = (size_t)l->time;
  const float *state = (const float *)s->n->in[l->state]->data + s->begin * size;
  float *every = s->n->out[0]->data;
  s->bias = s->n->in[RLT_LAYER_BIAS]->data;
  cell->begin(s);
  for (size_t t = 0, steps; t < time; t += steps) {
    steps = time - t < (size_t)l->steps ? time - t : (size_t)l->steps;
    multiply_inputs(s, t, steps);
    for (size_t k = 0; k < steps; k++) {
      float *out = every + ((t + k) * batch + s->begin) * size;
      cell->step(s, state, s->gates + k * s->rows * (size_t)l->gates * size, out);
      state = out;
    }
  }
  rlt_copy((float *)s->n->out[1]->data + s->begin * size, state, s->rows * size * sizeof(float));
}

void rlt_layer_run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last, const rlt_layer *l,
                   const rlt_layer_cell *cell) {
  char *scratch = r->scratch, *packed = n->packed;
  if (!packed) {
    packed = scratch + l->used;
    cell->pack(r->u, n, packed);
  }
  rlt_layer_tile s = {.u = r->u, .n = n, .layer = l, .packed = packed};
  s.gates = (float *)(void *)(scratch + l->at_gates);
  s.at = (const void **)(void *)(scratch + l->at_rows);
  s.own = (float *)(void *)(scratch + l->at_own);
  int64_t begin, end;
  rlt_part(n, l->batch, first, last, &begin, &end);
  for (; begin < end; begin += (int64_t)s.rows) {
    s.begin = (size_t)begin;
    s.rows = (size_t)(end - begin < l->rows ? end - begin : l->rows);
    run_tile(&s, cell);
  }
}
