/* SPDX-License-Identifier: Apache-2.0
 * What every LSTM checks before it runs, its products, and its walk over time. */
#include "lstm.h"

static const char *const weights_of[4] = {"input gate's weights", "forget gate's weights", "cell gate's weights",
                                          "output gate's weights"};
static const char *const bias_of[4] = {"input gate's biases", "forget gate's biases", "cell gate's biases",
                                       "output gate's biases"};

static bool has(const rlt_node *n, int32_t input) { return rlt_input_or_null(n, input) != NULL; }

static int32_t type_for(const rlt_lstm *l, int32_t real, int32_t integer) {
  return l->family == RLT_FAMILY_INT8 ? integer : real;
}

/* ---- what is there: all or nothing ---- */

static rlt_status find_parts(rlt_prep *p, const rlt_node *n, rlt_lstm *l) {
  const rlt_lstm_inputs *in = &l->in;
  bool cifg = !has(n, in->weights[RLT_LSTM_INPUT]);
  RLT_REQUIRE(p->err, cifg == !has(n, in->recurrent[RLT_LSTM_INPUT]), RLT_BAD_MODEL,
              "its input gate has weights for the input or for the state, but not for both");
  RLT_REQUIRE(p->err, !cifg || !has(n, in->bias[RLT_LSTM_INPUT]), RLT_BAD_MODEL,
              "its input gate has biases but no weights");
  l->peephole = has(n, in->peephole[RLT_LSTM_OUTPUT]);
  l->norm = has(n, in->norm[RLT_LSTM_FORGET]);
  l->gates = 0;
  for (int32_t g = 0; g < 4; g++) {
    bool there = g != RLT_LSTM_INPUT || !cifg;
    l->slot[g] = there ? l->gates++ : -1;
    if (!there) continue;
    bool peephole = g != RLT_LSTM_CELL && l->peephole, aux = l->n_aux > 0;
    RLT_REQUIRE(p->err, g == RLT_LSTM_CELL || peephole == has(n, in->peephole[g]), RLT_BAD_MODEL,
                "peephole weights are given for some of its gates only");
    RLT_REQUIRE(p->err, l->norm == has(n, in->norm[g]), RLT_BAD_MODEL,
                "layer normalization is given for some of its gates only");
    RLT_REQUIRE(p->err, aux == has(n, in->aux_weights[g]), RLT_BAD_MODEL,
                "the auxiliary input has weights for some of its gates only");
  }
  return RLT_OK;
}

/* ---- shapes and types ---- */

static rlt_status check_gate(rlt_prep *p, const rlt_node *n, const rlt_lstm *l, int32_t g) {
  const rlt_lstm_inputs *in = &l->in;
  const rlt_tensor *recurrent = rlt_input_or_null(n, in->recurrent[g]);
  RLT_TRY(
      rlt_check_gate_weights(p, rlt_input_or_null(n, in->weights[g]), weights_of[g], l->family, l->n_cell, l->n_input));
  if (l->diagonal) {
    RLT_TRY(rlt_check_vector(p, recurrent, "diagonal recurrent weights", RLT_TYPE_FLOAT32, l->n_cell));
  } else {
    RLT_TRY(rlt_check_gate_weights(p, recurrent, "recurrent weights", l->family, l->n_cell, l->n_output));
  }
  if (l->n_aux > 0)
    RLT_TRY(rlt_check_gate_weights(p, n->in[in->aux_weights[g]], "auxiliary weights", l->family, l->n_cell, l->n_aux));
  RLT_TRY(rlt_check_vector(p, rlt_input_or_null(n, in->bias[g]), bias_of[g],
                           type_for(l, RLT_TYPE_FLOAT32, RLT_TYPE_INT32), l->n_cell));
  if (l->norm)
    RLT_TRY(rlt_check_vector(p, n->in[in->norm[g]], "layer normalization's coefficients",
                             type_for(l, RLT_TYPE_FLOAT32, RLT_TYPE_INT16), l->n_cell));
  if (!l->peephole || g == RLT_LSTM_CELL) return RLT_OK;
  const rlt_tensor *peephole = n->in[in->peephole[g]];
  int32_t type = l->family == RLT_FAMILY_HYBRID ? peephole->type : type_for(l, RLT_TYPE_FLOAT32, RLT_TYPE_INT16);
  RLT_TRY(rlt_check_vector(p, peephole, "peephole weights", type, l->n_cell));
  return l->family == RLT_FAMILY_HYBRID ? rlt_check_symmetric(p, peephole) : RLT_OK;
}

static rlt_status check_projection(rlt_prep *p, const rlt_node *n, const rlt_lstm *l) {
  const rlt_tensor *weights = rlt_input_or_null(n, l->in.projection);
  const rlt_tensor *bias = rlt_input_or_null(n, l->in.projection_bias);
  if (!weights) {
    RLT_REQUIRE(p->err, !bias, RLT_BAD_MODEL, "its projection has biases but no weights");
    RLT_REQUIRE(p->err, l->n_output == l->n_cell, RLT_BAD_MODEL,
                "without a projection its %d cells cannot make %d outputs", l->n_cell, l->n_output);
    return RLT_OK;
  }
  RLT_TRY(rlt_check_gate_weights(p, weights, "projection weights", l->family, l->n_output, l->n_cell));
  if (!bias) return RLT_OK;
  return rlt_check_vector(p, bias, "projection biases", type_for(l, RLT_TYPE_FLOAT32, RLT_TYPE_INT32), l->n_output);
}

static rlt_status find_sizes(rlt_prep *p, const rlt_node *n, rlt_lstm *l) {
  const rlt_tensor *x = n->in[l->in.x];
  const rlt_tensor *weights = rlt_input_or_null(n, l->in.weights[RLT_LSTM_OUTPUT]);
  const rlt_tensor *recurrent = rlt_input_or_null(n, l->in.recurrent[RLT_LSTM_OUTPUT]);
  const rlt_tensor *aux = rlt_input_or_null(n, l->in.aux);
  RLT_REQUIRE(p->err, weights && recurrent, RLT_BAD_MODEL, "its output gate's weights are missing");
  RLT_REQUIRE(p->err, weights->rank == 2 && (recurrent->rank == 2 || recurrent->rank == 1), RLT_BAD_MODEL,
              "weights %T and recurrent weights %T must have 2 dimensions", weights, recurrent);
  RLT_TRY(rlt_check_family(p, x, weights, &l->family));
  bool sequence = x->rank == 3;
  l->batch = x->dims[sequence && l->time_major ? 1 : 0];
  l->time = sequence ? x->dims[l->time_major ? 0 : 1] : 1;
  l->n_input = x->dims[x->rank - 1];
  l->n_aux = aux ? aux->dims[aux->rank - 1] : 0;
  l->n_cell = weights->dims[0];
  l->diagonal = recurrent->rank == 1;
  l->n_output = recurrent->dims[l->diagonal ? 0 : 1];
  RLT_REQUIRE(p->err, l->n_cell <= INT32_MAX / 8 && l->n_output <= INT32_MAX / 8, RLT_LIMIT,
              "%d cells and %d outputs are too many", l->n_cell, l->n_output);
  RLT_REQUIRE(p->err, !l->diagonal || l->family != RLT_FAMILY_INT8, RLT_UNSUPPORTED,
              "diagonal recurrent weights with int8 activations are not supported; use full matrices");
  if (!aux) return RLT_OK;
  RLT_REQUIRE(p->err, aux->type == x->type && aux->rank == x->rank && l->n_aux > 0, RLT_BAD_MODEL,
              "auxiliary input %T does not go with input %T", aux, x);
  for (int32_t i = 0; i + 1 < x->rank; i++)
    RLT_REQUIRE(p->err, aux->dims[i] == x->dims[i], RLT_BAD_MODEL, "auxiliary input %T does not go with input %T", aux,
                x);
  return RLT_OK;
}

static rlt_status check_clip(rlt_prep *p, float clip) {
  RLT_REQUIRE(p->err, clip >= 0.0f, RLT_BAD_MODEL, "a clip below zero; 0 stands for none");
  return RLT_OK;
}

static rlt_status check_all(rlt_prep *p, const rlt_node *n, rlt_lstm *l) {
  RLT_TRY(find_sizes(p, n, l));
  RLT_TRY(find_parts(p, n, l));
  for (int32_t g = 0; g < 4; g++)
    if (l->slot[g] >= 0) RLT_TRY(check_gate(p, n, l, g));
  RLT_TRY(check_projection(p, n, l));
  RLT_TRY(check_clip(p, l->cell_clip));
  RLT_TRY(check_clip(p, l->proj_clip));
  RLT_TRY(rlt_check_any_activation(p, l->activation));
  uint64_t batch = (uint64_t)l->batch;
  RLT_TRY(rlt_check_state(p, rlt_input_or_null(n, l->in.output_state), "output state",
                          type_for(l, RLT_TYPE_FLOAT32, RLT_TYPE_INT8), batch * (uint64_t)l->n_output));
  return rlt_check_state(p, rlt_input_or_null(n, l->in.cell_state), "cell state",
                         type_for(l, RLT_TYPE_FLOAT32, RLT_TYPE_INT16), batch * (uint64_t)l->n_cell);
}

/* ---- products ---- */

static rlt_gates product(const rlt_node *n, const rlt_lstm *l, const int32_t *weights, int32_t k) {
  rlt_gates g = {.family = l->family, .n = l->n_cell, .k = k};
  for (int32_t i = 0; i < 4; i++) {
    if (l->slot[i] < 0) continue;
    g.weights[g.count] = weights[i];
    g.bias[g.count] = -1;
    g.scale[g.count] = l->family == RLT_FAMILY_HYBRID ? rlt_scale(n->in[weights[i]], 0) : 1.0f;
    g.count++;
  }
  return g;
}

static void find_products(const rlt_node *n, rlt_lstm *l) {
  l->x = product(n, l, l->in.weights, l->n_input);
  l->aux = l->n_aux > 0 ? product(n, l, l->in.aux_weights, l->n_aux) : (rlt_gates){0};
  if (l->diagonal) {
    l->h = (rlt_gates){0};
  } else {
    l->h = product(n, l, l->in.recurrent, l->n_output);
  }
  l->projection = (rlt_gates){0};
  if (!has(n, l->in.projection)) return;
  float scale = l->family == RLT_FAMILY_HYBRID ? rlt_scale(n->in[l->in.projection], 0) : 1.0f;
  l->projection = (rlt_gates){.family = l->family,
                              .count = 1,
                              .weights = {l->in.projection},
                              .bias = {-1},
                              .n = l->n_output,
                              .k = l->n_cell,
                              .scale = {scale}};
}

rlt_status rlt_lstm_prepare(rlt_prep *p, const rlt_node *n, rlt_lstm *l, uint64_t *packed, uint64_t *scratch) {
  RLT_TRY(check_all(p, n, l));
  find_products(n, l);
  if (l->family == RLT_FAMILY_INT8) RLT_TRY(rlt_lstm_prepare_integer(p, n, l));
  rlt_gates *products[] = {&l->x, &l->aux, &l->h, &l->projection};
  l->row_k = 0;
  for (int i = 0; i < 4; i++) {
    if (products[i]->count == 0) continue;
    *packed = rlt_gates_plan(p->u, products[i], *packed);
    if (products[i]->k > l->row_k) l->row_k = products[i]->k;
  }
  uint64_t batch = (uint64_t)l->batch, cells = batch * (uint64_t)l->n_cell;
  uint64_t value = l->family == RLT_FAMILY_INT8 ? sizeof(int16_t) : sizeof(float);
  l->at_gates = *scratch, *scratch += rlt_align64(cells * (uint64_t)l->gates * value);
  l->at_hidden = *scratch, *scratch += rlt_align64(cells * value);
  l->at_rows = *scratch, *scratch += rlt_step_rows_bytes(l->family, l->batch, l->row_k);
  return RLT_OK;
}

void rlt_lstm_plan(const rlt_prep *p, rlt_node *n, const rlt_lstm *l, int32_t count, uint64_t packed,
                   uint64_t scratch) {
  bool constant = true;
  uint32_t inputs = 0;
  n->macs = 0;
  for (int32_t i = 0; i < count; i++) {
    const rlt_gates *products[] = {&l[i].x, &l[i].aux, &l[i].h, &l[i].projection};
    uint64_t steps = (uint64_t)l[i].batch * (uint64_t)l[i].time;
    for (int k = 0; k < 4; k++) {
      const rlt_gates *g = products[k];
      n->macs += rlt_saturating_product(steps, (uint64_t)g->count * (uint64_t)g->n * (uint64_t)g->k);
      for (int32_t j = 0; j < g->count; j++) {
        constant = constant && n->in[g->weights[j]]->is_const;
        if (g->bias[j] >= 0) constant = constant && n->in[g->bias[j]]->is_const;
        if (g->weights[j] < 32) inputs |= RLT_INPUT_BIT(g->weights[j]);
      }
    }
  }
  n->packed_bytes = constant ? packed : 0;
  n->packed_inputs = constant ? inputs : 0;
  n->scratch_bytes = scratch + (constant ? 0 : packed); /* then every run packs, behind the rest */
  n->loop = l->family == RLT_FAMILY_FLOAT ? p->u->f32_gemm->name : p->u->s8_gemm->name;
}

void rlt_lstm_pack(const rlt_ukernels *u, const rlt_node *n, const rlt_lstm *l, char *packed) {
  const rlt_gates *products[] = {&l->x, &l->aux, &l->h, &l->projection};
  for (int i = 0; i < 4; i++)
    if (products[i]->count > 0) rlt_gates_pack(u, n, products[i], packed);
}

/* ---- time ---- */

/* Row of sequence b at time t, in a tensor of `batch` sequences. */
static size_t row_at(const rlt_lstm *l, int32_t t, int32_t b) {
  return l->time_major ? (size_t)t * (size_t)l->batch + (size_t)b : (size_t)b * (size_t)l->time + (size_t)t;
}

static void copy_out(const rlt_node *n, const rlt_lstm *l, int32_t t, size_t value) {
  const char *state = n->in[l->in.output_state]->data;
  char *out = n->out[l->out]->data;
  size_t bytes = (size_t)l->n_output * value;
  for (int32_t b = 0; b < l->batch; b++)
    rlt_copy(out + (row_at(l, t, b) * (size_t)l->out_stride + (size_t)l->out_offset) * value, state + (size_t)b * bytes,
             bytes);
}

void rlt_lstm_run(const rlt_run *r, const rlt_node *n, const rlt_lstm *l, const char *packed, char *scratch) {
  size_t value = l->family == RLT_FAMILY_INT8 ? sizeof(int8_t) : sizeof(float);
  size_t x_bytes = (size_t)l->n_input * value, aux_bytes = (size_t)l->n_aux * value;
  size_t apart = row_at(l, 0, 1);
  rlt_lstm_step s = {.u = r->u, .n = n, .packed = packed, .scratch = scratch};
  s.x_stride = apart * x_bytes;
  s.aux_stride = apart * aux_bytes;
  for (int32_t i = 0; i < l->time && l->batch > 0; i++) {
    int32_t t = l->backward ? l->time - 1 - i : i;
    s.x = (const char *)n->in[l->in.x]->data + row_at(l, t, 0) * x_bytes;
    s.aux = l->n_aux > 0 ? (const char *)n->in[l->in.aux]->data + row_at(l, t, 0) * aux_bytes : NULL;
    if (l->family == RLT_FAMILY_INT8) {
      rlt_lstm_step_integer(l, &s);
    } else {
      rlt_lstm_step_float(l, &s);
    }
    copy_out(n, l, t, value);
  }
}
