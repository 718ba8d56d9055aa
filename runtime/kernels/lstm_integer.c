/* SPDX-License-Identifier: Apache-2.0
 * INT8 LSTMs: int8 activations and weights, int16 gates and cell state, as TFLite's integer kernel has it. */
#include "lstm.h"

/* ---- prepare ---- */

static float scale_of(const rlt_node *n, int32_t input) { return rlt_scale(n->in[input], 0); }

static rlt_status check_scale(rlt_prep *p, const rlt_node *n, int32_t input) {
  return rlt_require_quantized(p, n->in[input]);
}

/* Quantization of an intermediate: one scale and zero point. */
static rlt_status read_intermediate(rlt_prep *p, const rlt_node *n, int32_t i, float *scale, int32_t *zero) {
  const rlt_tensor_def *t = rlt_intermediate(n, i);
  RLT_REQUIRE(p->err, t && t->quant.n == 1, RLT_BAD_MODEL,
              "its intermediate %d must carry one scale: an int8 LSTM needs it for what it computes inside", i);
  *scale = rlt_vec_f32(&t->quant.scales, 0);
  *zero = t->quant.zeros.count ? (int32_t)rlt_vec_i64(&t->quant.zeros, 0) : 0;
  return RLT_OK;
}

static rlt_status check_states(rlt_prep *p, const rlt_node *n, rlt_lstm *l) {
  const rlt_tensor *cell = n->in[l->in.cell_state];
  RLT_TRY(check_scale(p, n, l->in.x));
  RLT_TRY(check_scale(p, n, l->in.output_state));
  RLT_TRY(check_scale(p, n, l->in.cell_state));
  RLT_TRY(rlt_require_quantized(p, n->out[l->out]));
  RLT_TRY(rlt_require_same_quantization(p, n->in[l->in.output_state], n->out[l->out]));
  double exponent = rlt_log64((double)rlt_scale(cell, 0)) * 1.4426950408889634;
  int32_t whole = (int32_t)(exponent < 0.0 ? exponent - 0.5 : exponent + 0.5);
  double apart = exponent - (double)whole;
  RLT_REQUIRE(p->err, apart < 1e-3 && apart > -1e-3 && whole >= -15 && whole <= -9, RLT_UNSUPPORTED,
              "cell state %T must have a scale that is a power of 2 from 2^-15 to 2^-9", cell);
  RLT_REQUIRE(p->err, rlt_zero_point(cell, 0) == 0, RLT_UNSUPPORTED, "cell state %T must have zero point 0", cell);
  l->q.cell_exponent = whole;
  return RLT_OK;
}

static int32_t quantized_clip(float clip, float scale, int32_t most) {
  float q = clip / scale;
  return clip > 0.0f ? (q < (float)most ? (int32_t)q : most) : 0;
}

/* 2^e for small e. */
static double power_of_two(int32_t e) { return rlt_bits_f64((uint64_t)(int64_t)(e + 1023) << 52); }

/* Factors from products to the gate's scale, in float32 in this order, as TFLite forms them. */
static rlt_status gate_factors(rlt_prep *p, const rlt_node *n, rlt_lstm *l, int32_t g) {
  const rlt_lstm_inputs *in = &l->in;
  float scale = 1.0f / 4096.0f; /* what the functions of gates take: 3 integer bits */
  int32_t zero, slot = l->slot[g];
  if (l->norm) RLT_TRY(read_intermediate(p, n, g, &scale, &zero));
  l->x.factor[slot] = rlt_make_multiplier((double)(scale_of(n, in->weights[g]) * scale_of(n, in->x) / scale));
  l->h.factor[slot] =
      rlt_make_multiplier((double)(scale_of(n, in->recurrent[g]) * scale_of(n, in->output_state) / scale));
  if (!l->norm) l->x.bias[slot] = in->bias[g];
  if (l->peephole && g != RLT_LSTM_CELL) {
    RLT_TRY(check_scale(p, n, in->peephole[g]));
    double factor = power_of_two(l->q.cell_exponent) * (double)scale_of(n, in->peephole[g]) / (double)scale;
    l->q.peephole[g] = rlt_make_multiplier((double)(float)factor);
  }
  if (!l->norm) return RLT_OK;
  RLT_TRY(check_scale(p, n, in->norm[g]));
  float norm = scale_of(n, in->norm[g]);
  RLT_REQUIRE(p->err, norm < 1.0f, RLT_UNSUPPORTED, "coefficients %T must have a scale below 1", n->in[in->norm[g]]);
  l->q.norm[g] = rlt_make_multiplier((double)norm);
  l->q.norm[g].shift += 12; /* the functions' 12 fraction bits */
  l->q.guard[g] = (int32_t)(10000.0f * norm) > 1 ? (int32_t)(10000.0f * norm) : 1;
  return RLT_OK;
}

rlt_status rlt_lstm_prepare_integer(rlt_prep *p, const rlt_node *n, rlt_lstm *l) {
  RLT_REQUIRE(p->err, l->activation == RLT_ACT_TANH, RLT_UNSUPPORTED,
              "fused activation %d; an int8 LSTM has TANH, which is %d", l->activation, (int32_t)RLT_ACT_TANH);
  RLT_REQUIRE(
      p->err, n->def->intermediates.count == 5, RLT_UNSUPPORTED,
      "it has %d intermediate tensors; an int8 LSTM with int16 cell state has 5: convert it anew so, LiteRT's form "
      "of 12 gives no defined result",
      (int32_t)n->def->intermediates.count);
  RLT_TRY(check_states(p, n, l));
  l->x.zero = rlt_zero_point(n->in[l->in.x], 0);
  l->h.zero = rlt_zero_point(n->in[l->in.output_state], 0);
  for (int32_t g = 0; g < 4; g++)
    if (l->slot[g] >= 0) RLT_TRY(gate_factors(p, n, l, g));
  float hidden, state = scale_of(n, l->in.output_state);
  RLT_TRY(read_intermediate(p, n, 4, &hidden, &l->q.hidden_zero));
  RLT_REQUIRE(p->err, l->q.hidden_zero >= -128 && l->q.hidden_zero <= 127, RLT_BAD_MODEL,
              "its intermediate 4 has zero point %d, which is not of int8", l->q.hidden_zero);
  double small = power_of_two(-15);
  l->q.hidden = rlt_make_multiplier((double)(float)(small / (double)hidden * small));
  l->q.cell_clip = quantized_clip(l->cell_clip, scale_of(n, l->in.cell_state), INT16_MAX);
  l->q.proj_clip = quantized_clip(l->proj_clip, rlt_scale(n->out[l->out], 0), INT8_MAX);
  if (l->projection.count == 0) return RLT_OK;
  l->projection.narrow = true;
  l->projection.bias[0] = rlt_input_or_null(n, l->in.projection_bias) ? l->in.projection_bias : -1;
  l->projection.zero = -l->q.hidden_zero; /* the cell's output is stored with its zero point negated */
  l->projection.out_zero = rlt_zero_point(n->in[l->in.output_state], 0);
  l->projection.factor[0] = rlt_make_multiplier((double)(scale_of(n, l->in.projection) * hidden / state));
  return RLT_OK;
}

/* ---- run ---- */

static int32_t clamp16(int64_t x) { return x > INT16_MAX ? INT16_MAX : (x < INT16_MIN ? INT16_MIN : (int32_t)x); }

static void add_peephole(const int16_t *w, const int16_t *cell, rlt_multiplier factor, int16_t *gate, int32_t n) {
  for (int32_t i = 0; i < n; i++) gate[i] = (int16_t)clamp16((int64_t)rlt_multiply(w[i] * cell[i], factor) + gate[i]);
}

static int32_t shift_left_32(int32_t x, int32_t bits) {
  int64_t wide = (int64_t)x * ((int64_t)1 << bits);
  return wide > INT32_MAX ? INT32_MAX : (wide < INT32_MIN ? INT32_MIN : (int32_t)wide);
}

/* 1 / sqrt(x); of what is below 2, nearly 1. As gemmlowp's fixed point has it. */
static rlt_multiplier inverse_sqrt(int32_t x) {
  if (x <= 1) return (rlt_multiplier){INT32_MAX, 0};
  int32_t shift = 11;
  for (; x >= 1 << 29; shift++) x /= 4;
  for (; x < 1 << 27; shift--) x *= 4;
  /* Newton's method on numbers of 3 integer bits, from 1 */
  int32_t half = rlt_rounding_shift(x >> 1, 1), y = 1 << 28;
  for (int i = 0; i < 5; i++) {
    int32_t cube = shift_left_32(rlt_doubling_high_mul(rlt_doubling_high_mul(y, y), y), 6);
    int32_t more = rlt_doubling_high_mul((1 << 28) + (1 << 27), y), less = rlt_doubling_high_mul(half, cube);
    y = shift_left_32((int32_t)((uint32_t)more - (uint32_t)less), 3);
  }
  y = rlt_doubling_high_mul(y, 1518500250); /* sqrt(1/2) */
  if (shift < 0) {
    y = shift_left_32(y, -shift);
    shift = 0;
  }
  return (rlt_multiplier){y, -shift};
}

/* Ten fraction bits of the normalized value, times the coefficient, plus the bias. */
static void normalize(const rlt_lstm *l, const rlt_node *n, int32_t g, int16_t *gate) {
  const int16_t *w = n->in[l->in.norm[g]]->data;
  const int32_t *bias = n->in[l->in.bias[g]]->data;
  int64_t sum = 0, squares = 0;
  for (int32_t i = 0; i < l->n_cell; i++) {
    sum += gate[i];
    squares += gate[i] * gate[i];
  }
  int32_t mean = (int32_t)(sum * 1024 / l->n_cell);
  int64_t variance = squares * ((1 << 20) / l->n_cell) - (int64_t)mean * mean;
  int32_t whole = (int32_t)(variance / (1 << 20));
  rlt_multiplier inverse = inverse_sqrt(whole < 1 ? l->q.guard[g] : whole);
  for (int32_t i = 0; i < l->n_cell; i++) {
    int32_t y = rlt_multiply(1024 * gate[i] - mean, inverse);
    int64_t scaled = (int32_t)((uint32_t)y * (uint32_t)(int32_t)w[i] + (uint32_t)bias[i]);
    int32_t rounded = (int32_t)((scaled > 0 ? scaled + 512 : scaled - 512) / 1024);
    gate[i] = (int16_t)clamp16(rlt_multiply(rounded, l->q.norm[g]));
  }
}

static void finish_gate(const rlt_lstm *l, const rlt_lstm_step *s, int32_t g, const int16_t *cell, int16_t *gate) {
  if (l->peephole && g != RLT_LSTM_CELL)
    add_peephole(s->n->in[l->in.peephole[g]]->data, cell, l->q.peephole[g], gate, l->n_cell);
  if (l->norm) normalize(l, s->n, g, gate);
  if (g == RLT_LSTM_CELL) {
    s->u->loops->fixed_tanh(gate, gate, l->n_cell, 3);
  } else {
    s->u->loops->fixed_logistic(gate, gate, l->n_cell);
  }
}

static void update_cell(const rlt_lstm *l, const int16_t *input, const int16_t *forget, const int16_t *gate,
                        int16_t *cell) {
  for (int32_t i = 0; i < l->n_cell; i++) {
    int32_t into = input ? input[i] : INT16_MAX - forget[i];
    int32_t kept = (int16_t)rlt_rounding_shift(forget[i] * cell[i], 15);
    int32_t added = (int16_t)rlt_rounding_shift(into * gate[i], 30 + l->q.cell_exponent);
    int32_t c = clamp16(kept + added);
    cell[i] = (int16_t)(l->q.cell_clip > 0 ? rlt_clamp_i32(c, -l->q.cell_clip, l->q.cell_clip) : c);
  }
}

/* Gates of one sequence, its new cell state, and what leaves the cell. */
static void run_cell(const rlt_lstm *l, const rlt_lstm_step *s, int16_t *row, int16_t *cell, int8_t *hidden) {
  int16_t *gate[4];
  for (int32_t g = 0; g < 4; g++) gate[g] = l->slot[g] < 0 ? NULL : row + (size_t)l->slot[g] * (size_t)l->n_cell;
  for (int32_t g = 0; g < RLT_LSTM_OUTPUT; g++)
    if (gate[g]) finish_gate(l, s, g, cell, gate[g]);
  update_cell(l, gate[RLT_LSTM_INPUT], gate[RLT_LSTM_FORGET], gate[RLT_LSTM_CELL], cell);
  finish_gate(l, s, RLT_LSTM_OUTPUT, cell, gate[RLT_LSTM_OUTPUT]);
  int16_t *squashed = gate[RLT_LSTM_CELL]; /* which has served */
  s->u->loops->fixed_tanh(cell, squashed, l->n_cell, 15 + l->q.cell_exponent);
  int32_t zero = l->projection.count > 0 ? l->projection.zero : l->q.hidden_zero;
  for (int32_t i = 0; i < l->n_cell; i++) {
    int64_t y = (int64_t)rlt_multiply(gate[RLT_LSTM_OUTPUT][i] * squashed[i], l->q.hidden) + zero;
    hidden[i] = (int8_t)(y > INT8_MAX ? INT8_MAX : (y < INT8_MIN ? INT8_MIN : y));
  }
}

void rlt_lstm_step_integer(const rlt_lstm *l, const rlt_lstm_step *s) {
  const rlt_node *n = s->n;
  int8_t *state = n->in[l->in.output_state]->data, *hidden = (int8_t *)(s->scratch + l->at_hidden);
  int16_t *cell = n->in[l->in.cell_state]->data, *gates = (int16_t *)(void *)(s->scratch + l->at_gates);
  rlt_step_rows rows = rlt_step_rows_in(s->scratch + l->at_rows, l->batch, l->row_k);
  size_t cells = (size_t)l->n_cell, width = (size_t)l->gates * cells, outputs = (size_t)l->n_output;
  size_t count = (size_t)l->batch * outputs;
  __builtin_memset(gates, 0, (size_t)l->batch * width * sizeof *gates);
  rlt_gates_step(s->u, &l->x, s->packed, false, l->batch, s->x, s->x_stride, &rows, gates, width);
  rlt_gates_step(s->u, &l->h, s->packed, false, l->batch, state, outputs, &rows, gates, width);
  for (int32_t b = 0; b < l->batch; b++)
    run_cell(l, s, gates + (size_t)b * width, cell + (size_t)b * cells, hidden + (size_t)b * cells);
  if (l->projection.count == 0) {
    rlt_copy(state, hidden, count);
    return;
  }
  rlt_gates_step(s->u, &l->projection, s->packed, false, l->batch, hidden, cells, &rows, state, outputs);
  for (size_t i = 0; l->q.proj_clip > 0 && i < count; i++)
    state[i] = (int8_t)rlt_clamp_i32(state[i], -l->q.proj_clip, l->q.proj_clip);
}
