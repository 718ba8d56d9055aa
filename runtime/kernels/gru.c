/* SPDX-License-Identifier: Apache-2.0
 * The composite rillet.gru: x [time, batch, features], weights [3 size, features], recurrent weights [3 size, size],
 * bias and recurrent bias [3 size], state [batch, size] -> every state [time, batch, size], the last one.
 *
 *   z, r = sigmoid(W x + b + R h + c)                 gates in the order update z, reset r, hidden n
 *   n = tanh(W x + b + r * (R h + c)), or with reset_after = false tanh(W x + b + R (r * h) + c)
 *   h' = n + z * (h - n)
 * The products with x are computed for some steps at once. */
#include "composite.h"
#include "rnn_cell.h"

enum { MOST_ROWS = 16, MOST_STEPS = 32 }; /* of the batch in one tile; of them times steps in one product with x */
enum { X, WEIGHTS, RECURRENT, BIAS, RECURRENT_BIAS, STATE };

typedef struct gru_data {
  int32_t time, batch, features, size;
  int32_t rows, steps; /* of one tile; at once */
  bool reset_after;
  rlt_gates x, gates, rest;                           /* gates: update and reset; rest: the third */
  uint64_t at_gates, at_rest, at_bias, at_rows, used; /* of scratch */
} gru_data;
_Static_assert(sizeof(gru_data) <= RLT_COMPOSITE_DATA, "data of a composite's kernel");

static rlt_status check(rlt_prep *p, const rlt_node *n, gru_data *d) {
  const rlt_tensor *x = n->in[X], *state = n->in[STATE];
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
  RLT_REQUIRE(p->err, x->rank == 3 && state->rank == 2, RLT_UNSUPPORTED, "%T must have 3 dimensions and %T 2", x,
              state);
  d->time = x->dims[0], d->batch = x->dims[1], d->features = x->dims[2], d->size = state->dims[1];
  RLT_REQUIRE(p->err, state->dims[0] == d->batch && d->size <= INT32_MAX / 3, RLT_UNSUPPORTED, "%T does not go with %T",
              state, x);
  int32_t gates = 3 * d->size;
  RLT_TRY(rlt_check_gate_weights(p, n->in[WEIGHTS], "weights", RLT_FAMILY_FLOAT, gates, d->features));
  RLT_TRY(rlt_check_gate_weights(p, n->in[RECURRENT], "recurrent weights", RLT_FAMILY_FLOAT, gates, d->size));
  RLT_TRY(rlt_check_vector(p, n->in[BIAS], "biases", RLT_TYPE_FLOAT32, gates));
  return rlt_check_vector(p, n->in[RECURRENT_BIAS], "recurrent biases", RLT_TYPE_FLOAT32, gates);
}

static uint64_t floats(uint64_t count) { return rlt_align64(count * sizeof(float)); }

static void plan(const rlt_prep *p, rlt_node *n, gru_data *d) {
  uint64_t size = (uint64_t)d->size, rows;
  bool constant = n->in[WEIGHTS]->is_const && n->in[RECURRENT]->is_const;
  d->x = (rlt_gates){.count = 1, .weights = {WEIGHTS}, .bias = {-1}, .n = 3 * d->size, .k = d->features};
  d->gates = (rlt_gates){.count = 1, .weights = {RECURRENT}, .bias = {-1}, .n = 2 * d->size, .k = d->size};
  d->rest =
      (rlt_gates){.count = 1, .weights = {RECURRENT}, .bias = {-1}, .n = d->size, .k = d->size, .first = 2 * d->size};
  uint64_t packed = rlt_gates_plan(p->u, &d->rest, rlt_gates_plan(p->u, &d->gates, rlt_gates_plan(p->u, &d->x, 0)));
  d->rows = d->batch < MOST_ROWS ? (d->batch < 1 ? 1 : d->batch) : MOST_ROWS;
  d->steps = MOST_STEPS / d->rows;
  rows = (uint64_t)d->rows * (uint64_t)d->steps;
  d->at_gates = 0;
  d->at_rest = d->at_gates + floats(rows * 3 * size);
  d->at_bias = d->at_rest + floats((uint64_t)d->rows * size);
  d->at_rows = d->at_bias + floats(3 * size);
  d->used = d->at_rows + rlt_align64(rows * sizeof(void *));
  n->tiles = constant ? (d->batch + d->rows - 1) / d->rows : 1;
  n->tiles = n->tiles < 1 ? 1 : n->tiles;
  n->packed_bytes = constant ? packed : 0;
  n->packed_inputs = constant ? RLT_INPUT_BIT(WEIGHTS) | RLT_INPUT_BIT(RECURRENT) : 0;
  n->scratch_bytes = d->used + (constant ? 0 : packed);
  uint64_t steps = (uint64_t)d->batch * (uint64_t)d->time;
  n->macs = rlt_saturating_product(rlt_saturating_product(steps, 3 * size), (uint64_t)d->features + size);
  n->loop = p->u->f32_gemm->name;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  gru_data *d = n->data;
  RLT_TRY(check(p, n, d));
  plan(p, n, d);
  int32_t dims[3] = {d->time, d->batch, d->size};
  RLT_TRY(rlt_set_shape(p, n->out[0], 3, dims));
  return rlt_set_shape(p, n->out[1], 2, dims + 1);
}

static void pack_into(const rlt_ukernels *u, const rlt_node *n, char *packed) {
  const gru_data *d = n->data;
  rlt_gates_pack(u, n, &d->x, packed);
  rlt_gates_pack(u, n, &d->gates, packed);
  rlt_gates_pack(u, n, &d->rest, packed);
}

static void pack(const rlt_ukernels *u, const rlt_node *n) { pack_into(u, n, n->packed); }

/* ---- run ---- */

/* One tile: sequences [begin, begin + rows) of the batch, and where its parts of scratch lie. */
typedef struct tile {
  const rlt_ukernels *u;
  const rlt_node *n;
  const char *packed;
  float *gates, *rest, *bias;
  const void **at;
  size_t begin, rows;
} tile;

/* The recurrent bias joins the other but where the reset gate comes between them. */
static void join_biases(const gru_data *d, const tile *s) {
  const float *bias = s->n->in[BIAS]->data, *recurrent = s->n->in[RECURRENT_BIAS]->data;
  size_t size = (size_t)d->size, joined = d->reset_after ? 2 * size : 3 * size;
  for (size_t i = 0; i < 3 * size; i++) s->bias[i] = i < joined ? bias[i] + recurrent[i] : bias[i];
}

/* W x + b of `steps` steps from t on. */
static void multiply_inputs(const gru_data *d, const tile *s, size_t t, size_t steps) {
  size_t width = 3 * (size_t)d->size, features = (size_t)d->features, batch = (size_t)d->batch;
  const float *x = s->n->in[X]->data;
  for (size_t i = 0; i < steps * s->rows; i++) {
    s->at[i] = x + ((t + i / s->rows) * batch + s->begin + i % s->rows) * features;
    rlt_copy(s->gates + i * width, s->bias, width * sizeof(float));
  }
  rlt_gates_add(s->u, &d->x, s->packed, (int32_t)(steps * s->rows), s->at, NULL, s->gates, width);
}

/* R h + c, or R (r * h), of the third gate; what it adds to is in `gates`. */
static void add_rest(const gru_data *d, const tile *s, const float *state, float *gates) {
  size_t size = (size_t)d->size, width = 3 * size;
  int32_t rows = (int32_t)s->rows;
  const float *recurrent_bias = s->n->in[RECURRENT_BIAS]->data;
  if (d->reset_after) {
    for (size_t b = 0; b < s->rows; b++) rlt_copy(s->rest + b * size, recurrent_bias + 2 * size, size * sizeof(float));
    rlt_gates_add(s->u, &d->rest, s->packed, rows, s->at, NULL, s->rest, size);
  }
  for (size_t b = 0; b < s->rows; b++) {
    const float *reset = gates + b * width + size, *h = state + b * size;
    float *rest = s->rest + b * size, *gate = gates + b * width + 2 * size;
    if (d->reset_after) {
      for (size_t i = 0; i < size; i++) gate[i] += reset[i] * rest[i];
    } else {
      for (size_t i = 0; i < size; i++) rest[i] = reset[i] * h[i];
      s->at[b] = rest;
    }
  }
  if (!d->reset_after) rlt_gates_add(s->u, &d->rest, s->packed, rows, s->at, NULL, gates + 2 * size, width);
}

static void run_step(const gru_data *d, const tile *s, const float *state, float *gates, float *out) {
  size_t size = (size_t)d->size, width = 3 * size;
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

static void run_tile(const gru_data *d, const tile *s) {
  size_t size = (size_t)d->size, batch = (size_t)d->batch, time = (size_t)d->time;
  const float *state = (const float *)s->n->in[STATE]->data + s->begin * size;
  float *every = s->n->out[0]->data;
  join_biases(d, s);
  for (size_t t = 0, steps; t < time; t += steps) {
    steps = time - t < (size_t)d->steps ? time - t : (size_t)d->steps;
    multiply_inputs(d, s, t, steps);
    for (size_t k = 0; k < steps; k++) {
      float *out = every + ((t + k) * batch + s->begin) * size;
      run_step(d, s, state, s->gates + k * s->rows * 3 * size, out);
      state = out;
    }
  }
  rlt_copy((float *)s->n->out[1]->data + s->begin * size, state, s->rows * size * sizeof(float));
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const gru_data *d = n->data;
  char *scratch = r->scratch, *packed = n->packed;
  if (!packed) {
    packed = scratch + d->used;
    pack_into(r->u, n, packed);
  }
  tile s = {.u = r->u, .n = n, .packed = packed};
  s.gates = (float *)(void *)(scratch + d->at_gates);
  s.rest = (float *)(void *)(scratch + d->at_rest);
  s.bias = (float *)(void *)(scratch + d->at_bias);
  s.at = (const void **)(void *)(scratch + d->at_rows);
  int64_t begin, end;
  rlt_part(n, d->batch, first, last, &begin, &end);
  for (; begin < end; begin += (int64_t)s.rows) {
    s.begin = (size_t)begin;
    s.rows = (size_t)(end - begin < d->rows ? end - begin : d->rows);
    run_tile(d, &s);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_gru = {"rillet.gru", sizeof(gru_data), 1, false, prepare, pack, run};
