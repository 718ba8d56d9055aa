/* SPDX-License-Identifier: Apache-2.0
 * The composite rillet.gru: x [time, batch, features], weights [3 size, features], recurrent weights [3 size, size],
 * bias and recurrent bias [3 size], state [batch, size] -> every state [time, batch, size], the last one.
 *
 *   z, r = sigmoid(W x + b + R h + c)                 gates in the order update z, reset r, hidden n
 *   n = tanh(W x + b + r * (R h + c)), or with reset_after = false tanh(W x + b + R (r * h) + c)
 *   h' = n + z * (h - n) */
#include "recurrent_layer.h"

enum { RECURRENT_BIAS = RLT_LAYER_BIAS + 1, STATE };

typedef struct gru_data {
  rlt_layer layer;
  bool reset_after;
  rlt_gates gates, rest; /* of the state: update and reset; the third */
} gru_data;
_Static_assert(sizeof(gru_data) <= RLT_COMPOSITE_DATA, "data of a composite's kernel");

static rlt_status check(rlt_prep *p, const rlt_node *n, gru_data *d) {
  rlt_flex map;
  uint64_t known = 0;
  RLT_TRY(rlt_check_arity(p, n, 6, 6, 2));
  RLT_TRY(rlt_check_all_float(p, n));
  rlt_flex_root(n->def->custom_options, &map);
  double reset_after = rlt_attribute(&map, "reset_after", (double)__builtin_nanf(""), &known);
  RLT_TRY(rlt_check_attributes(p, &map, known));
  d->reset_after = reset_after > 0.0;
  RLT_REQUIRE(p->err, reset_after >= 0.0 && reset_after <= 1.0, RLT_UNSUPPORTED,
              "reset_after is neither true nor false");
  RLT_TRY(rlt_layer_check(p, n, 3, STATE, &d->layer));
  return rlt_check_vector(p, n->in[RECURRENT_BIAS], "recurrent biases", RLT_TYPE_FLOAT32, 3 * d->layer.size);
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  gru_data *d = n->data;
  RLT_TRY(check(p, n, d));
  int32_t size = d->layer.size;
  d->gates = (rlt_gates){.count = 1, .weights = {RLT_LAYER_RECURRENT}, .bias = {-1}, .n = 2 * size, .k = size};
  d->rest =
      (rlt_gates){.count = 1, .weights = {RLT_LAYER_RECURRENT}, .bias = {-1}, .n = size, .k = size, .first = 2 * size};
  rlt_gates *products[] = {&d->gates, &d->rest};
  return rlt_layer_plan(p, n, &d->layer, products, 2, (uint64_t)size, 3 * (uint64_t)size);
}

static void pack_into(const rlt_ukernels *u, const rlt_node *n, char *packed) {
  const gru_data *d = n->data;
  rlt_gates_pack(u, n, &d->layer.x, packed);
  rlt_gates_pack(u, n, &d->gates, packed);
  rlt_gates_pack(u, n, &d->rest, packed);
}

static void pack(const rlt_ukernels *u, const rlt_node *n) { pack_into(u, n, n->packed); }

/* ---- run: the cell's own scratch is the third gate of every row, then the joined biases ---- */

/* The recurrent bias joins the other but where the reset gate comes between them. */
static void join_biases(rlt_layer_tile *s) {
  const gru_data *d = s->n->data;
  const float *bias = s->bias, *recurrent = s->n->in[RECURRENT_BIAS]->data;
  size_t size = (size_t)d->layer.size, joined = d->reset_after ? 2 * size : 3 * size;
  float *to = s->own + (size_t)d->layer.rows * size;
  for (size_t i = 0; i < 3 * size; i++) to[i] = i < joined ? bias[i] + recurrent[i] : bias[i];
  s->bias = to;
}

/* R h + c, or R (r * h), of the third gate; what it adds to is in `gates`. */
static void add_rest(const gru_data *d, const rlt_layer_tile *s, const float *state, float *gates) {
  size_t size = (size_t)d->layer.size, width = 3 * size;
  int32_t rows = (int32_t)s->rows;
  const float *recurrent_bias = s->n->in[RECURRENT_BIAS]->data;
  if (d->reset_after) {
    for (size_t b = 0; b < s->rows; b++) rlt_copy(s->own + b * size, recurrent_bias + 2 * size, size * sizeof(float));
    rlt_gates_add(s->u, &d->rest, s->packed, rows, s->at, NULL, s->own, size);
  }
  for (size_t b = 0; b < s->rows; b++) {
    const float *reset = gates + b * width + size, *h = state + b * size;
    float *rest = s->own + b * size, *gate = gates + b * width + 2 * size;
    if (d->reset_after) {
      for (size_t i = 0; i < size; i++) gate[i] += reset[i] * rest[i];
    } else {
      for (size_t i = 0; i < size; i++) rest[i] = reset[i] * h[i];
      s->at[b] = rest;
    }
  }
  if (!d->reset_after) rlt_gates_add(s->u, &d->rest, s->packed, rows, s->at, NULL, gates + 2 * size, width);
}

static void step(const rlt_layer_tile *s, const float *state, float *gates, float *out) {
  const gru_data *d = s->n->data;
  size_t size = (size_t)d->layer.size, width = 3 * size;
  for (size_t b = 0; b < s->rows; b++) s->at[b] = state + b * size;
  rlt_gates_add(s->u, &d->gates, s->packed, (int32_t)s->rows, s->at, NULL, gates, width);
  for (size_t b = 0; b < s->rows; b++)
    s->u->loops->unary[RLT_LOOP_LOGISTIC](gates + b * width, gates + b * width, (int64_t)(2 * size), 0.0f);
  add_rest(d, s, state, gates);
  for (size_t b = 0; b < s->rows; b++) {
    const float *update = gates + b * width, *h = state + b * size;
    float *fresh = gates + b * width + 2 * size, *to = out + b * size;
    s->u->loops->unary[RLT_LOOP_TANH](fresh, fresh, (int64_t)size, 0.0f);
    for (size_t i = 0; i < size; i++) to[i] = fresh[i] + update[i] * (h[i] - fresh[i]);
  }
}

static const rlt_layer_cell cell = {pack_into, join_biases, step};

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const gru_data *d = n->data;
  rlt_layer_run(r, n, first, last, &d->layer, &cell);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_gru = {"rillet.gru", sizeof(gru_data), 1, false, prepare, pack, run};
