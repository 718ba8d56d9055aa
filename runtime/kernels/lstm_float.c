/* SPDX-License-Identifier: Apache-2.0
 * A step of a float32 LSTM, whose weights may be int8 (HYBRID). */
#include "lstm.h"

/* (x - mean) / sqrt(variance + 1e-8) */
static void normalize(float *x, int32_t n) {
  float sum = 0.0f, squares = 0.0f;
  for (int32_t i = 0; i < n; i++) sum += x[i];
  float mean = sum / (float)n;
  for (int32_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
  float inverse = 1.0f / rlt_sqrt(squares / (float)n + 1e-8f);
  for (int32_t i = 0; i < n; i++) x[i] = (x[i] - mean) * inverse;
}

static void add_peephole(const rlt_tensor *weights, const float *cell, float *gate, int32_t n) {
  if (weights->type == RLT_TYPE_FLOAT32) {
    const float *w = weights->data;
    for (int32_t i = 0; i < n; i++) gate[i] += w[i] * cell[i];
    return;
  }
  const int8_t *w = weights->data;
  float scale = rlt_scale(weights, 0);
  for (int32_t i = 0; i < n; i++) gate[i] += scale * (float)w[i] * cell[i];
}

/* What follows the products of one gate of one sequence. */
static void finish_gate(const rlt_lstm *l, const rlt_lstm_step *s, int32_t g, const float *cell, float *gate) {
  const rlt_node *n = s->n;
  if (l->peephole && g != RLT_LSTM_CELL) add_peephole(n->in[l->in.peephole[g]], cell, gate, l->n_cell);
  if (l->norm) {
    const float *scale = n->in[l->in.norm[g]]->data, *bias = n->in[l->in.bias[g]]->data;
    normalize(gate, l->n_cell);
    for (int32_t i = 0; i < l->n_cell; i++) gate[i] = gate[i] * scale[i] + bias[i];
  }
  if (g == RLT_LSTM_CELL) {
    rlt_activate(s->u, l->activation, gate, gate, l->n_cell);
  } else {
    s->u->loops->unary[RLT_LOOP_LOGISTIC](gate, gate, l->n_cell, 0.0f);
  }
}

/* Biases, unless they come after a normalization, and diagonal recurrent weights. */
static void start_gates(const rlt_lstm *l, const rlt_lstm_step *s, const float *state, float *row) {
  size_t n = (size_t)l->n_cell;
  for (int32_t g = 0; g < 4; g++) {
    if (l->slot[g] < 0) continue;
    float *gate = row + (size_t)l->slot[g] * n;
    if (l->norm) {
      __builtin_memset(gate, 0, n * sizeof(float));
    } else {
      rlt_copy(gate, s->n->in[l->in.bias[g]]->data, n * sizeof(float));
    }
    const float *w = l->diagonal ? s->n->in[l->in.recurrent[g]]->data : NULL;
    for (size_t i = 0; w && i < n; i++) gate[i] += w[i] * state[i];
  }
}

static void update_cell(const rlt_lstm *l, const float *input, const float *forget, const float *gate, float *cell) {
  for (int32_t i = 0; i < l->n_cell; i++) {
    float into = input ? input[i] : 1.0f - forget[i];
    float c = forget[i] * cell[i] + into * gate[i];
    cell[i] = l->cell_clip > 0.0f ? rlt_clamp_f32(c, -l->cell_clip, l->cell_clip) : c;
  }
}

void rlt_lstm_cell_float(const rlt_lstm *l, const rlt_lstm_step *s, float *row, float *cell, float *hidden) {
  float *gate[4];
  for (int32_t g = 0; g < 4; g++) gate[g] = l->slot[g] < 0 ? NULL : row + (size_t)l->slot[g] * (size_t)l->n_cell;
  for (int32_t g = 0; g < RLT_LSTM_OUTPUT; g++)
    if (gate[g]) finish_gate(l, s, g, cell, gate[g]);
  update_cell(l, gate[RLT_LSTM_INPUT], gate[RLT_LSTM_FORGET], gate[RLT_LSTM_CELL], cell);
  finish_gate(l, s, RLT_LSTM_OUTPUT, cell, gate[RLT_LSTM_OUTPUT]);
  rlt_activate(s->u, l->activation, cell, hidden, l->n_cell);
  for (int32_t i = 0; i < l->n_cell; i++) hidden[i] *= gate[RLT_LSTM_OUTPUT][i];
}

static void project(const rlt_lstm *l, const rlt_lstm_step *s, const float *hidden, const rlt_step_rows *rows,
                    float *state) {
  const float *bias = rlt_lstm_values(s->n, l->in.projection_bias);
  size_t outputs = (size_t)l->n_output, count = (size_t)l->batch * outputs;
  for (size_t i = 0; i < count; i++) state[i] = bias ? bias[i % outputs] : 0.0f;
  rlt_gates_step(s->u, &l->projection, s->packed, l->asymmetric, l->batch, hidden, (size_t)l->n_cell * sizeof(float),
                 rows, state, outputs);
  for (size_t i = 0; l->proj_clip > 0.0f && i < count; i++)
    state[i] = rlt_clamp_f32(state[i], -l->proj_clip, l->proj_clip);
}

void rlt_lstm_step_float(const rlt_lstm *l, const rlt_lstm_step *s) {
  const rlt_node *n = s->n;
  float *state = n->in[l->in.output_state]->data, *cell = n->in[l->in.cell_state]->data;
  float *gates = (float *)(void *)(s->scratch + l->at_gates), *hidden = (float *)(void *)(s->scratch + l->at_hidden);
  rlt_step_rows rows = rlt_step_rows_in(s->scratch + l->at_rows, l->batch, l->row_k);
  size_t width = (size_t)l->gates * (size_t)l->n_cell, cells = (size_t)l->n_cell, outputs = (size_t)l->n_output;
  for (int32_t b = 0; b < l->batch; b++) start_gates(l, s, state + (size_t)b * outputs, gates + (size_t)b * width);
  rlt_gates_step(s->u, &l->x, s->packed, l->asymmetric, l->batch, s->x, s->x_stride, &rows, gates, width);
  if (l->n_aux > 0)
    rlt_gates_step(s->u, &l->aux, s->packed, l->asymmetric, l->batch, s->aux, s->aux_stride, &rows, gates, width);
  if (!l->diagonal)
    rlt_gates_step(s->u, &l->h, s->packed, l->asymmetric, l->batch, state, outputs * sizeof(float), &rows, gates,
                   width);
  for (int32_t b = 0; b < l->batch; b++)
    rlt_lstm_cell_float(l, s, gates + (size_t)b * width, cell + (size_t)b * cells, hidden + (size_t)b * cells);
  if (l->projection.count > 0) {
    project(l, s, hidden, &rows, state);
  } else {
    rlt_copy(state, hidden, (uint64_t)l->batch * cells * sizeof(float));
  }
}
