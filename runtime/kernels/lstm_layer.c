/* SPDX-License-Identifier: Apache-2.0
 * The composite rillet.lstm: x [time, batch, features], weights [4 size, features], recurrent weights [4 size, size],
 * bias [4 size], hidden and cell state [batch, size] -> every hidden state [time, batch, size], the last one, the last
 * cell state. Gates in the order input i, forget f, cell g, output o:
 *
 *   i, f, o = sigmoid(W x + b + R h)      g = tanh(W x + b + R h)
 *   c' = f * c + i * g                    h' = o * tanh(c') */
#include "lstm.h"
#include "recurrent_layer.h"

enum { HIDDEN = RLT_LAYER_BIAS + 1, CELL };
enum { LAST_CELL = 2 }; /* among the outputs */

typedef struct lstm_data {
  rlt_layer layer;
  rlt_gates h;
} lstm_data;
_Static_assert(sizeof(lstm_data) <= RLT_COMPOSITE_DATA, "data of a composite's kernel");

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  lstm_data *d = n->data;
  rlt_layer *l = &d->layer;
  rlt_flex map;
  RLT_TRY(rlt_check_arity(p, n, 6, 6, 3));
  RLT_TRY(rlt_check_all_float(p, n));
  rlt_flex_root(n->def->custom_options, &map);
  RLT_TRY(rlt_check_attributes(p, &map, 0));
  RLT_TRY(rlt_layer_check(p, n, 4, HIDDEN, l));
  const rlt_tensor *cell = n->in[CELL];
  RLT_REQUIRE(p->err, cell->rank == 2 && cell->dims[0] == l->batch && cell->dims[1] == l->size, RLT_UNSUPPORTED,
              "%T and %T must have the same shape", cell, n->in[HIDDEN]);
  d->h = (rlt_gates){.count = 1, .weights = {RLT_LAYER_RECURRENT}, .bias = {-1}, .n = l->gates * l->size, .k = l->size};
  rlt_gates *products[] = {&d->h};
  RLT_TRY(rlt_layer_plan(p, n, l, products, 1, 0, 0));
  return rlt_set_shape(p, n->out[LAST_CELL], 2, cell->dims);
}

static void pack_into(const rlt_ukernels *u, const rlt_node *n, char *packed) {
  const lstm_data *d = n->data;
  rlt_gates_pack(u, n, &d->layer.x, packed);
  rlt_gates_pack(u, n, &d->h, packed);
}

static void pack(const rlt_ukernels *u, const rlt_node *n) { pack_into(u, n, n->packed); }

/* The cell state is kept where the last one goes. */
static void begin(rlt_layer_tile *s) {
  size_t size = (size_t)s->layer->size, first = s->begin * size;
  rlt_copy((float *)s->n->out[LAST_CELL]->data + first, (const float *)s->n->in[CELL]->data + first,
           s->rows * size * sizeof(float));
}

static void step(const rlt_layer_tile *s, const float *state, float *gates, float *out) {
  const lstm_data *d = s->n->data;
  size_t size = (size_t)d->layer.size, width = 4 * size;
  float *cell = (float *)s->n->out[LAST_CELL]->data + s->begin * size;
  for (size_t b = 0; b < s->rows; b++) s->at[b] = state + b * size;
  rlt_gates_add(s->u, &d->h, s->packed, (int32_t)s->rows, s->at, NULL, gates, width);
  const rlt_lstm lstm = {.activation = RLT_ACT_TANH, .n_cell = d->layer.size, .gates = 4, .slot = {0, 1, 2, 3}};
  const rlt_lstm_step now = {.u = s->u, .n = s->n};
  for (size_t b = 0; b < s->rows; b++)
    rlt_lstm_cell_float(&lstm, &now, gates + b * width, cell + b * size, out + b * size);
}

static const rlt_layer_cell layer_cell = {pack_into, begin, step};

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const lstm_data *d = n->data;
  rlt_layer_run(r, n, first, last, &d->layer, &layer_cell);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_lstm_layer = {"rillet.lstm", sizeof(lstm_data), 1, false, prepare, pack, run};
