/* SPDX-License-Identifier: Apache-2.0
 * RNN, UNIDIRECTIONAL_SEQUENCE_RNN and BIDIRECTIONAL_SEQUENCE_RNN: state = f(bias + W x + A aux + R state). */
#include "rnn_cell.h"

/* One direction of one of them. */
typedef struct rnn_cell {
  int32_t in, aux, weights, aux_weights, recurrent, bias, state; /* inputs; -1: none */
  rlt_family family;
  bool time_major, backward, asymmetric;
  int32_t activation;
  int32_t batch, time, units, n_input, n_aux;
  int32_t out, out_stride, out_offset;
  rlt_gates x, a, h;
  int32_t row_k;
} rnn_cell;

typedef struct rnn_data {
  int32_t cells;
  uint64_t rows_bytes;
  rnn_cell cell[2]; /* forward, backward */
} rnn_data;

/* ---- prepare ---- */

static rlt_gates product(const rlt_node *n, const rnn_cell *c, int32_t weights, int32_t k) {
  float scale = c->family == RLT_FAMILY_HYBRID ? rlt_scale(n->in[weights], 0) : 1.0f;
  return (rlt_gates){
      .family = c->family, .count = 1, .weights = {weights}, .bias = {-1}, .n = c->units, .k = k, .scale = {scale}};
}

static rlt_status check_cell(rlt_prep *p, const rlt_node *n, rnn_cell *c) {
  const rlt_tensor *x = n->in[c->in], *weights = rlt_input_or_null(n, c->weights);
  RLT_REQUIRE(p->err, weights && weights->rank == 2, RLT_BAD_MODEL, "its input weights must have 2 dimensions");
  RLT_TRY(rlt_check_family(p, x, weights, &c->family));
  RLT_REQUIRE(p->err, c->family != RLT_FAMILY_INT8, RLT_UNSUPPORTED,
              "%T: int8 activations are not supported here; dequantize before this layer", x);
  bool sequence = x->rank == 3;
  c->batch = x->dims[sequence && c->time_major ? 1 : 0];
  c->time = sequence ? x->dims[c->time_major ? 0 : 1] : 1;
  c->units = weights->dims[0];
  c->n_input = x->dims[x->rank - 1];
  const rlt_tensor *aux = rlt_input_or_null(n, c->aux);
  c->n_aux = aux ? aux->dims[aux->rank - 1] : 0;
  RLT_TRY(rlt_check_gate_weights(p, weights, "input weights", c->family, c->units, c->n_input));
  RLT_TRY(rlt_check_gate_weights(p, rlt_input_or_null(n, c->recurrent), "recurrent weights", c->family, c->units,
                                 c->units));
  if (aux)
    RLT_TRY(rlt_check_gate_weights(p, rlt_input_or_null(n, c->aux_weights), "auxiliary weights", c->family, c->units,
                                   c->n_aux));
  RLT_TRY(rlt_check_vector(p, rlt_input_or_null(n, c->bias), "biases", RLT_TYPE_FLOAT32, c->units));
  return rlt_check_state(p, rlt_input_or_null(n, c->state), "hidden state", RLT_TYPE_FLOAT32,
                         (uint64_t)c->batch * (uint64_t)c->units);
}

static void plan_cell(const rlt_prep *p, rlt_node *n, rnn_cell *c, uint64_t *packed, bool *constant) {
  c->x = product(n, c, c->weights, c->n_input);
  c->h = product(n, c, c->recurrent, c->units);
  c->a = c->n_aux > 0 ? product(n, c, c->aux_weights, c->n_aux) : (rlt_gates){0};
  rlt_gates *products[] = {&c->x, &c->a, &c->h};
  c->row_k = 0;
  for (int i = 0; i < 3; i++) {
    rlt_gates *g = products[i];
    if (g->count == 0) continue;
    *packed = rlt_gates_plan(p->u, g, *packed);
    *constant = *constant && n->in[g->weights[0]]->is_const;
    n->packed_inputs |= RLT_INPUT_BIT(g->weights[0]);
    n->macs += rlt_saturating_product((uint64_t)c->batch * (uint64_t)c->time, (uint64_t)g->n * (uint64_t)g->k);
    if (g->k > c->row_k) c->row_k = g->k;
  }
}

static rlt_status prepare_cells(rlt_prep *p, rlt_node *n, rnn_data *d) {
  uint64_t packed = 0;
  bool constant = true;
  d->rows_bytes = 0;
  n->packed_inputs = 0;
  for (int32_t i = 0; i < d->cells; i++) {
    rnn_cell *c = &d->cell[i];
    RLT_TRY(rlt_check_any_activation(p, c->activation));
    RLT_TRY(check_cell(p, n, c));
    plan_cell(p, n, c, &packed, &constant);
    uint64_t rows = rlt_step_rows_bytes(c->family, c->batch, c->row_k);
    if (rows > d->rows_bytes) d->rows_bytes = rows;
  }
  if (!constant) n->packed_inputs = 0;
  n->packed_bytes = constant ? packed : 0;
  n->scratch_bytes = d->rows_bytes + (constant ? 0 : packed);
  n->loop = d->cell[0].family == RLT_FAMILY_FLOAT ? p->u->f32_gemm->name : p->u->s8_gemm->name;
  return RLT_OK;
}

static rlt_status set_output(rlt_prep *p, const rlt_node *n, rnn_cell *c, int32_t last) {
  const rlt_tensor *x = n->in[0];
  int32_t dims[RLT_MAX_RANK];
  for (int32_t i = 0; i < x->rank; i++) dims[i] = x->dims[i];
  dims[x->rank - 1] = last;
  c->out_stride = last;
  RLT_TRY(rlt_check_same_type(p, x, n->out[c->out]));
  return rlt_set_shape(p, n->out[c->out], x->rank, dims);
}

static rlt_status prepare_single(rlt_prep *p, rlt_node *n, int32_t rank) {
  rnn_data *d = n->data;
  RLT_TRY(rlt_check_arity(p, n, 5, 5, 1));
  RLT_REQUIRE(p->err, n->in[0]->rank == rank, RLT_BAD_MODEL, "input %T must have %d dimensions", n->in[0], rank);
  rnn_cell *c = &d->cell[0];
  c->in = 0, c->weights = 1, c->recurrent = 2, c->bias = 3, c->state = 4;
  c->aux = c->aux_weights = -1;
  d->cells = 1;
  RLT_TRY(prepare_cells(p, n, d));
  return set_output(p, n, c, c->units);
}

static rlt_status prepare_rnn(rlt_prep *p, rlt_node *n) {
  rnn_cell *c = &((rnn_data *)n->data)->cell[0];
  const rlt_table *o = &n->def->options;
  c->activation = rlt_fb_i8(o, RLT_SLOT_RNNOptions_fused_activation_function, RLT_ACT_NONE);
  c->asymmetric = rlt_fb_bool(o, RLT_SLOT_RNNOptions_asymmetric_quantize_inputs, false);
  return prepare_single(p, n, 2);
}

static rlt_status prepare_sequence(rlt_prep *p, rlt_node *n) {
  rnn_cell *c = &((rnn_data *)n->data)->cell[0];
  const rlt_table *o = &n->def->options;
  c->activation = rlt_fb_i8(o, RLT_SLOT_SequenceRNNOptions_fused_activation_function, RLT_ACT_NONE);
  c->asymmetric = rlt_fb_bool(o, RLT_SLOT_SequenceRNNOptions_asymmetric_quantize_inputs, false);
  c->time_major = rlt_fb_bool(o, RLT_SLOT_SequenceRNNOptions_time_major, false);
  return prepare_single(p, n, 3);
}

static rlt_status check_aux(rlt_prep *p, const rlt_node *n) {
  const rlt_tensor *x = n->in[0], *aux = n->in[9];
  bool forward = n->in[10] != NULL, backward = n->in[11] != NULL;
  RLT_REQUIRE(p->err, forward == backward, RLT_BAD_MODEL, "auxiliary weights are given for one direction only");
  RLT_REQUIRE(p->err, aux || !forward, RLT_BAD_MODEL, "it has auxiliary weights but no auxiliary input");
  if (!aux) return RLT_OK;
  RLT_TRY(rlt_check_same_type(p, x, aux));
  RLT_REQUIRE(p->err, aux->rank == 3 && aux->dims[0] == x->dims[0] && aux->dims[1] == x->dims[1], RLT_BAD_MODEL,
              "auxiliary input %T does not go with input %T", aux, x);
  return RLT_OK;
}

/* With weights of its own the auxiliary input goes into both directions; without, it is the backward one's input. */
static rlt_status prepare_both(rlt_prep *p, rlt_node *n) {
  rnn_data *d = n->data;
  const rlt_table *o = &n->def->options;
  bool merge = rlt_fb_bool(o, RLT_SLOT_BidirectionalSequenceRNNOptions_merge_outputs, false);
  RLT_TRY(rlt_check_arity(p, n, 9, 12, merge ? 1 : 2));
  RLT_REQUIRE(p->err, n->def->n_inputs == 12, RLT_BAD_MODEL, "it has %d inputs, wanted 12", n->def->n_inputs);
  RLT_REQUIRE(p->err, n->in[0]->rank == 3, RLT_BAD_MODEL, "input %T must have 3 dimensions", n->in[0]);
  RLT_TRY(check_aux(p, n));
  bool has_aux = n->in[9], has_weights = n->in[10];
  d->cells = 2;
  for (int32_t i = 0; i < 2; i++) {
    rnn_cell *c = &d->cell[i];
    int32_t base = i == 0 ? 1 : 5;
    c->in = has_aux && !has_weights && i == 1 ? 9 : 0;
    c->weights = base, c->recurrent = base + 1, c->bias = base + 2, c->state = base + 3;
    c->aux = has_weights ? 9 : -1;
    c->aux_weights = has_weights ? 10 + i : -1;
    c->backward = i == 1;
    c->activation = rlt_fb_i8(o, RLT_SLOT_BidirectionalSequenceRNNOptions_fused_activation_function, RLT_ACT_NONE);
    c->asymmetric = rlt_fb_bool(o, RLT_SLOT_BidirectionalSequenceRNNOptions_asymmetric_quantize_inputs, false);
    c->time_major = rlt_fb_bool(o, RLT_SLOT_BidirectionalSequenceRNNOptions_time_major, false);
  }
  RLT_TRY(prepare_cells(p, n, d));
  RLT_REQUIRE(p->err, d->cell[0].units <= INT32_MAX / 2 && d->cell[1].units <= INT32_MAX / 2, RLT_LIMIT,
              "%d and %d units are too many", d->cell[0].units, d->cell[1].units);
  for (int32_t i = 0; i < 2; i++) {
    rnn_cell *c = &d->cell[i];
    c->out = merge ? 0 : i;
    c->out_offset = merge && i == 1 ? d->cell[0].units : 0;
    RLT_TRY(set_output(p, n, c, merge ? d->cell[0].units + d->cell[1].units : c->units));
  }
  return RLT_OK;
}

/* ---- pack and run ---- */

static void pack_cells(const rlt_ukernels *u, const rlt_node *n, char *packed) {
  const rnn_data *d = n->data;
  for (int32_t i = 0; i < d->cells; i++) {
    const rnn_cell *c = &d->cell[i];
    rlt_gates_pack(u, n, &c->x, packed);
    if (c->a.count > 0) rlt_gates_pack(u, n, &c->a, packed);
    rlt_gates_pack(u, n, &c->h, packed);
  }
}

static void pack(const rlt_ukernels *u, const rlt_node *n) { pack_cells(u, n, n->packed); }

static void run_step(const rlt_run *r, const rlt_node *n, const rnn_cell *c, const char *packed,
                     const rlt_step_rows *rows, int32_t t) {
  size_t units = (size_t)c->units, time = (size_t)c->time, batch = (size_t)c->batch;
  size_t apart = c->time_major ? 1 : time, row = c->time_major ? (size_t)t * batch : (size_t)t;
  size_t x_bytes = (size_t)c->n_input * sizeof(float), a_bytes = (size_t)c->n_aux * sizeof(float);
  size_t stride = apart * (size_t)c->out_stride;
  float *out = (float *)n->out[c->out]->data + row * (size_t)c->out_stride + c->out_offset;
  float *state = n->in[c->state]->data;
  for (size_t b = 0; b < batch; b++) rlt_copy(out + b * stride, n->in[c->bias]->data, units * sizeof(float));
  rlt_gates_step(r->u, &c->x, packed, c->asymmetric, c->batch, (const char *)n->in[c->in]->data + row * x_bytes,
                 apart * x_bytes, rows, out, stride);
  if (c->n_aux > 0)
    rlt_gates_step(r->u, &c->a, packed, c->asymmetric, c->batch, (const char *)n->in[c->aux]->data + row * a_bytes,
                   apart * a_bytes, rows, out, stride);
  rlt_gates_step(r->u, &c->h, packed, c->asymmetric, c->batch, state, units * sizeof(float), rows, out, stride);
  for (size_t b = 0; b < batch; b++) {
    rlt_activate(r->u, c->activation, out + b * stride, out + b * stride, c->units);
    rlt_copy(state + b * units, out + b * stride, units * sizeof(float));
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const rnn_data *d = n->data;
  char *packed = n->packed;
  if (!packed) {
    packed = (char *)r->scratch + d->rows_bytes;
    pack_cells(r->u, n, packed);
  }
  for (int32_t i = 0; i < d->cells; i++) {
    const rnn_cell *c = &d->cell[i];
    rlt_step_rows rows = rlt_step_rows_in(r->scratch, c->batch, c->row_k);
    for (int32_t s = 0; s < c->time && c->batch > 0; s++)
      run_step(r, n, c, packed, &rows, c->backward ? c->time - 1 - s : s);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_rnn = {"RNN", sizeof(rnn_data), 3, true, prepare_rnn, pack, run};
const rlt_kernel rlt_kernel_unidirectional_sequence_rnn = {
    "UNIDIRECTIONAL_SEQUENCE_RNN", sizeof(rnn_data), 3, true, prepare_sequence, pack, run};
const rlt_kernel rlt_kernel_bidirectional_sequence_rnn = {
    "BIDIRECTIONAL_SEQUENCE_RNN", sizeof(rnn_data), 3, true, prepare_both, pack, run};
