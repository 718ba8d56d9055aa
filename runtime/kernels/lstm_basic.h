/* SPDX-License-Identifier: Apache-2.0
 * The BASIC kernel of LSTM: one matrix for all gates, states that are inputs and outputs. */
#ifndef RLT_LSTM_BASIC_H
#define RLT_LSTM_BASIC_H

#include "lstm.h"

typedef struct rlt_lstm_basic {
  bool is_float;
  int32_t batch, depth, cells; /* input values, output values */
  rlt_gates product;           /* is_float */
  int32_t weights_zero;        /* else */
  rlt_multiplier factor;
} rlt_lstm_basic;

typedef struct rlt_lstm_data {
  bool is_basic;
  rlt_lstm full;
  rlt_lstm_basic basic;
} rlt_lstm_data;

rlt_status rlt_lstm_basic_prepare(rlt_prep *p, rlt_node *n, rlt_lstm_basic *b);
void rlt_lstm_basic_pack(const rlt_ukernels *u, const rlt_node *n, const rlt_lstm_basic *b, void *packed);
void rlt_lstm_basic_run(const rlt_run *r, const rlt_node *n, const rlt_lstm_basic *b);

#endif
