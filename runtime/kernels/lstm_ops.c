/* SPDX-License-Identifier: Apache-2.0
 * UNIDIRECTIONAL_SEQUENCE_LSTM, LSTM (its BASIC kernel is in lstm_basic.c) and BIDIRECTIONAL_SEQUENCE_LSTM. */
#include "lstm.h"
#include "lstm_basic.h"

/* Of the first two operators. */
static const rlt_lstm_inputs full_inputs = {.x = 0,
                                            .aux = -1,
                                            .weights = {1, 2, 3, 4},
                                            .aux_weights = {-1, -1, -1, -1},
                                            .recurrent = {5, 6, 7, 8},
                                            .peephole = {9, 10, -1, 11},
                                            .bias = {12, 13, 14, 15},
                                            .norm = {20, 21, 22, 23},
                                            .projection = 16,
                                            .projection_bias = 17,
                                            .output_state = 18,
                                            .cell_state = 19};

static rlt_status check_inputs(rlt_prep *p, const rlt_node *n, int32_t rank, const rlt_tensor **x) {
  RLT_REQUIRE(p->err, n->def->n_inputs == 20 || n->def->n_inputs == 24, RLT_BAD_MODEL,
              "it has %d inputs, wanted 20, or 24 with layer normalization", n->def->n_inputs);
  RLT_TRY(rlt_check_arity(p, n, 1, 24, 1));
  *x = n->in[0];
  RLT_REQUIRE(p->err, (*x)->rank == rank, RLT_BAD_MODEL, "input %T must have %d dimensions", *x, rank);
  return rlt_check_same_type(p, *x, n->out[0]);
}

/* Output of the input's shape, but for the last dimension. */
static rlt_status set_output(rlt_prep *p, const rlt_tensor *x, rlt_tensor *out, int32_t last) {
  int32_t dims[RLT_MAX_RANK];
  for (int32_t i = 0; i < x->rank; i++) dims[i] = x->dims[i];
  dims[x->rank - 1] = last;
  return rlt_set_shape(p, out, x->rank, dims);
}

static rlt_status prepare_one(rlt_prep *p, rlt_node *n, rlt_lstm *l, const rlt_tensor *x) {
  uint64_t packed = 0, scratch = 0;
  RLT_TRY(rlt_lstm_prepare(p, n, l, &packed, &scratch));
  l->out_stride = l->n_output;
  rlt_lstm_plan(p, n, l, 1, packed, scratch);
  return set_output(p, x, n->out[0], l->n_output);
}

/* ---- UNIDIRECTIONAL_SEQUENCE_LSTM ---- */

static rlt_status prepare_sequence(rlt_prep *p, rlt_node *n) {
  const rlt_table *o = &n->def->options;
  const rlt_tensor *x = NULL;
  RLT_TRY(check_inputs(p, n, 3, &x));
  rlt_lstm *l = n->data;
  l->in = full_inputs;
  l->time_major = rlt_fb_bool(o, RLT_SLOT_UnidirectionalSequenceLSTMOptions_time_major, false);
  l->asymmetric = rlt_fb_bool(o, RLT_SLOT_UnidirectionalSequenceLSTMOptions_asymmetric_quantize_inputs, false);
  l->activation = rlt_fb_i8(o, RLT_SLOT_UnidirectionalSequenceLSTMOptions_fused_activation_function, RLT_ACT_NONE);
  l->cell_clip = rlt_fb_f32(o, RLT_SLOT_UnidirectionalSequenceLSTMOptions_cell_clip, 0.0f);
  l->proj_clip = rlt_fb_f32(o, RLT_SLOT_UnidirectionalSequenceLSTMOptions_proj_clip, 0.0f);
  return prepare_one(p, n, l, x);
}

/* Weights that are computed when the model runs are packed into scratch, behind what the LSTMs have there. */
static char *packed_of(const rlt_ukernels *u, const rlt_node *n, const rlt_lstm *l, int32_t count, char *scratch,
                       uint64_t scratch_used) {
  if (n->packed) return n->packed;
  for (int32_t i = 0; i < count; i++) rlt_lstm_pack(u, n, &l[i], scratch + scratch_used);
  return scratch + scratch_used;
}

static uint64_t scratch_of(const rlt_lstm *l) {
  return l->at_rows + rlt_step_rows_bytes(l->family, l->batch, l->row_k);
}

static void pack_sequence(const rlt_ukernels *u, const rlt_node *n) { rlt_lstm_pack(u, n, n->data, n->packed); }

static rlt_status run_sequence(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const rlt_lstm *l = n->data;
  rlt_lstm_run(r, n, l, packed_of(r->u, n, l, 1, r->scratch, scratch_of(l)), r->scratch);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_unidirectional_sequence_lstm = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM", sizeof(rlt_lstm), 4, true, prepare_sequence, pack_sequence, run_sequence};

/* ---- LSTM: one step ---- */

static rlt_status prepare_lstm(rlt_prep *p, rlt_node *n) {
  const rlt_table *o = &n->def->options;
  int8_t kind = rlt_fb_i8(o, RLT_SLOT_LSTMOptions_kernel_type, RLT_LSTM_KERNEL_TYPE_FULL);
  rlt_lstm_data *d = n->data;
  const rlt_tensor *x = NULL;
  d->is_basic = kind == RLT_LSTM_KERNEL_TYPE_BASIC;
  if (d->is_basic) return rlt_lstm_basic_prepare(p, n, &d->basic);
  RLT_REQUIRE(p->err, kind == RLT_LSTM_KERNEL_TYPE_FULL, RLT_UNSUPPORTED,
              "kernel type %d; FULL (0) and BASIC (1) are known", kind);
  RLT_TRY(check_inputs(p, n, 2, &x));
  d->full.in = full_inputs;
  d->full.asymmetric = rlt_fb_bool(o, RLT_SLOT_LSTMOptions_asymmetric_quantize_inputs, false);
  d->full.activation = rlt_fb_i8(o, RLT_SLOT_LSTMOptions_fused_activation_function, RLT_ACT_NONE);
  d->full.cell_clip = rlt_fb_f32(o, RLT_SLOT_LSTMOptions_cell_clip, 0.0f);
  d->full.proj_clip = rlt_fb_f32(o, RLT_SLOT_LSTMOptions_proj_clip, 0.0f);
  return prepare_one(p, n, &d->full, x);
}

static void pack_lstm(const rlt_ukernels *u, const rlt_node *n) {
  const rlt_lstm_data *d = n->data;
  if (d->is_basic) {
    rlt_lstm_basic_pack(u, n, &d->basic, n->packed);
  } else {
    rlt_lstm_pack(u, n, &d->full, n->packed);
  }
}

static rlt_status run_lstm(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const rlt_lstm_data *d = n->data;
  if (d->is_basic) {
    rlt_lstm_basic_run(r, n, &d->basic);
  } else {
    rlt_lstm_run(r, n, &d->full, packed_of(r->u, n, &d->full, 1, r->scratch, scratch_of(&d->full)), r->scratch);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_lstm = {"LSTM", sizeof(rlt_lstm_data), 4, true, prepare_lstm, pack_lstm, run_lstm};

/* ---- BIDIRECTIONAL_SEQUENCE_LSTM ---- */

typedef struct both_data {
  rlt_lstm lstm[2]; /* forward, backward */
} both_data;

/* Weights, biases and projection of one direction follow each other from `base` on. */
static rlt_lstm_inputs inputs_from(int32_t base, int32_t state, int32_t aux_weights) {
  rlt_lstm_inputs in = {.x = 0, .aux = -1, .projection = base + 15, .projection_bias = base + 16};
  for (int32_t g = 0; g < 4; g++) {
    in.weights[g] = base + g;
    in.recurrent[g] = base + 4 + g;
    in.bias[g] = base + 11 + g;
    in.aux_weights[g] = aux_weights + g;
    in.norm[g] = -1;
  }
  in.peephole[RLT_LSTM_INPUT] = base + 8;
  in.peephole[RLT_LSTM_FORGET] = base + 9;
  in.peephole[RLT_LSTM_CELL] = -1;
  in.peephole[RLT_LSTM_OUTPUT] = base + 10;
  in.output_state = state;
  in.cell_state = state + 1;
  return in;
}

/* With weights of its own the auxiliary input goes into both directions; without, it is the backward one's input. */
static void read_both(const rlt_node *n, both_data *d) {
  const rlt_table *o = &n->def->options;
  const rlt_lstm_inputs inputs[2] = {inputs_from(1, 35, 40), inputs_from(18, 37, 44)};
  bool has_aux = rlt_input_or_null(n, 39), has_weights = rlt_input_or_null(n, 41);
  for (int i = 0; i < 2; i++) {
    rlt_lstm *l = &d->lstm[i];
    l->in = inputs[i];
    l->backward = i == 1;
    if (has_aux && has_weights) l->in.aux = 39;
    if (has_aux && !has_weights && i == 1) l->in.x = 39;
    l->time_major = rlt_fb_bool(o, RLT_SLOT_BidirectionalSequenceLSTMOptions_time_major, true);
    l->asymmetric = rlt_fb_bool(o, RLT_SLOT_BidirectionalSequenceLSTMOptions_asymmetric_quantize_inputs, false);
    l->activation = rlt_fb_i8(o, RLT_SLOT_BidirectionalSequenceLSTMOptions_fused_activation_function, RLT_ACT_NONE);
    l->cell_clip = rlt_fb_f32(o, RLT_SLOT_BidirectionalSequenceLSTMOptions_cell_clip, 0.0f);
    l->proj_clip = rlt_fb_f32(o, RLT_SLOT_BidirectionalSequenceLSTMOptions_proj_clip, 0.0f);
  }
}

static rlt_status prepare_both(rlt_prep *p, rlt_node *n) {
  both_data *d = n->data;
  bool merge = rlt_fb_bool(&n->def->options, RLT_SLOT_BidirectionalSequenceLSTMOptions_merge_outputs, false);
  RLT_TRY(rlt_check_arity(p, n, 1, 48, merge ? 1 : 2));
  RLT_REQUIRE(p->err, n->def->n_inputs == 48, RLT_BAD_MODEL, "it has %d inputs, wanted 48", n->def->n_inputs);
  const rlt_tensor *x = n->in[0], *other = n->in[39];
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_REQUIRE(p->err, x->rank == 3, RLT_BAD_MODEL, "input %T must have 3 dimensions", x);
  if (other) {
    RLT_TRY(rlt_check_same_type(p, x, other));
    RLT_REQUIRE(p->err, other->rank == 3 && other->dims[0] == x->dims[0] && other->dims[1] == x->dims[1], RLT_BAD_MODEL,
                "auxiliary input %T does not go with input %T", other, x);
  }
  read_both(n, d);
  uint64_t packed = 0, scratch[2] = {0, 0};
  for (int i = 0; i < 2; i++) RLT_TRY(rlt_lstm_prepare(p, n, &d->lstm[i], &packed, &scratch[i]));
  rlt_lstm_plan(p, n, d->lstm, 2, packed, scratch[0] > scratch[1] ? scratch[0] : scratch[1]);
  int32_t forward = d->lstm[0].n_output, backward = d->lstm[1].n_output;
  for (int i = 0; i < 2; i++) {
    rlt_lstm *l = &d->lstm[i];
    l->out = merge ? 0 : i;
    l->out_stride = merge ? forward + backward : l->n_output;
    l->out_offset = merge && i == 1 ? forward : 0;
    RLT_TRY(rlt_check_same_type(p, x, n->out[l->out]));
    RLT_TRY(set_output(p, x, n->out[l->out], l->out_stride));
  }
  return RLT_OK;
}

static void pack_both(const rlt_ukernels *u, const rlt_node *n) {
  const both_data *d = n->data;
  for (int i = 0; i < 2; i++) rlt_lstm_pack(u, n, &d->lstm[i], n->packed);
}

static rlt_status run_both(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const both_data *d = n->data;
  uint64_t used[2] = {scratch_of(&d->lstm[0]), scratch_of(&d->lstm[1])};
  const char *packed = packed_of(r->u, n, d->lstm, 2, r->scratch, used[0] > used[1] ? used[0] : used[1]);
  for (int i = 0; i < 2; i++) rlt_lstm_run(r, n, &d->lstm[i], packed, r->scratch);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_bidirectional_sequence_lstm = {
    "BIDIRECTIONAL_SEQUENCE_LSTM", sizeof(both_data), 3, true, prepare_both, pack_both, run_both};
