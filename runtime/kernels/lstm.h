/* SPDX-License-Identifier: Apache-2.0
 * One LSTM over a sequence, of which UNIDIRECTIONAL_SEQUENCE_LSTM and LSTM have one and BIDIRECTIONAL_SEQUENCE_LSTM
 * two. lstm.c checks and plans, lstm_float.c runs FLOAT and HYBRID ones, lstm_integer.c INT8 ones. */
#ifndef RLT_LSTM_H
#define RLT_LSTM_H

#include "rnn_cell.h"

enum { RLT_LSTM_INPUT, RLT_LSTM_FORGET, RLT_LSTM_CELL, RLT_LSTM_OUTPUT }; /* gates; INPUT may be missing (CIFG) */

/* Where the op has them among its inputs; -1: nowhere. */
typedef struct rlt_lstm_inputs {
  int32_t x, aux;
  int32_t weights[4], aux_weights[4], recurrent[4];
  int32_t peephole[4], bias[4], norm[4];
  int32_t projection, projection_bias;
  int32_t output_state, cell_state;
} rlt_lstm_inputs;

/* INT8's fixed-point numbers. */
typedef struct rlt_lstm_integer {
  rlt_multiplier peephole[4], norm[4];
  int32_t guard[4]; /* least variance that layer normalization divides by */
  rlt_multiplier hidden;
  int32_t hidden_zero;
  int32_t cell_exponent; /* the cell state's scale is 2 to this */
  int32_t cell_clip, proj_clip;
} rlt_lstm_integer;

typedef struct rlt_lstm {
  rlt_lstm_inputs in;
  rlt_family family;
  bool time_major, backward, asymmetric, diagonal;
  bool peephole, norm;
  int32_t activation;
  float cell_clip, proj_clip; /* 0: none */
  int32_t batch, time, n_input, n_aux, n_cell, n_output;
  int32_t out; /* the node's output, whose rows are out_stride long; this LSTM's part begins at out_offset */
  int32_t out_stride, out_offset;
  int32_t gates;   /* 4, or 3 */
  int32_t slot[4]; /* place of a gate in a row of gates; -1: missing */
  rlt_gates x, aux, h, projection;
  rlt_lstm_integer q;
  uint64_t at_gates, at_hidden, at_rows; /* parts of scratch */
  int32_t row_k;
} rlt_lstm;

/* Checks an LSTM whose first fields, up to proj_clip, the op has set, and plans its products from packed offset *packed
 * and its scratch from *scratch on, both multiples of 64, which are moved on. The op sets the output's fields. */
rlt_status rlt_lstm_prepare(rlt_prep *p, const rlt_node *n, rlt_lstm *l, uint64_t *packed, uint64_t *scratch);
/* INT8's part of it. */
rlt_status rlt_lstm_prepare_integer(rlt_prep *p, const rlt_node *n, rlt_lstm *l);
/* Sets packed_bytes, scratch_bytes and the rest of the node from all its LSTMs. */
void rlt_lstm_plan(const rlt_prep *p, rlt_node *n, const rlt_lstm *l, int32_t count, uint64_t packed, uint64_t scratch);
void rlt_lstm_pack(const rlt_ukernels *u, const rlt_node *n, const rlt_lstm *l, char *packed);
void rlt_lstm_run(const rlt_run *r, const rlt_node *n, const rlt_lstm *l, const char *packed, char *scratch);

/* A time step of every sequence of the batch, whose rows of input lie x_stride bytes apart. */
typedef struct rlt_lstm_step {
  const rlt_ukernels *u;
  const rlt_node *n;
  const char *packed;
  char *scratch;
  const void *x, *aux;
  size_t x_stride, aux_stride;
} rlt_lstm_step;
void rlt_lstm_step_float(const rlt_lstm *l, const rlt_lstm_step *s);
void rlt_lstm_step_integer(const rlt_lstm *l, const rlt_lstm_step *s);
/* What follows the products of one sequence: its gates, side by side in `row`, its new cell state, and what leaves the
 * cell into `hidden`. Of s only u and n are read. */
void rlt_lstm_cell_float(const rlt_lstm *l, const rlt_lstm_step *s, float *row, float *cell, float *hidden);

/* Values of an optional input, NULL where there is none. */
static inline const void *rlt_lstm_values(const rlt_node *n, int32_t i) {
  const rlt_tensor *t = rlt_input_or_null(n, i);
  return t ? t->data : NULL;
}

#endif
