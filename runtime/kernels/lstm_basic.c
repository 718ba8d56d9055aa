/* SPDX-License-Identifier: Apache-2.0
 * One step: concatenate input and former output, multiply by one matrix, and its four parts are the input gate, what
 * it lets in, the forget gate and the output gate. FLOAT32, or UINT8 with int16 inside (4 integer bits of state). */
#include "lstm_basic.h"
#include "../simd/fixed16.h"

enum { X, OUTPUT_BEFORE, WEIGHTS, BIAS, STATE_BEFORE };   /* inputs */
enum { OUTPUT, STATE, JOINED, GATES };                    /* outputs */
enum { INPUT_GATE, NEW_VALUE, FORGET_GATE, OUTPUT_GATE }; /* parts of GATES */

static rlt_status check_types(rlt_prep *p, const rlt_node *n, rlt_lstm_basic *b) {
  static const int32_t bytes[5] = {RLT_TYPE_UINT8, RLT_TYPE_UINT8, RLT_TYPE_UINT8, RLT_TYPE_INT32, RLT_TYPE_INT16};
  static const int32_t results[4] = {RLT_TYPE_UINT8, RLT_TYPE_INT16, RLT_TYPE_UINT8, RLT_TYPE_INT16};
  b->is_float = n->in[X]->type == RLT_TYPE_FLOAT32;
  for (int32_t i = 0; i < 5; i++) {
    int32_t type = b->is_float ? RLT_TYPE_FLOAT32 : bytes[i];
    RLT_REQUIRE(p->err, n->in[i]->type == type, RLT_UNSUPPORTED, "%T must be %t here", n->in[i], type);
  }
  for (int32_t i = 0; i < 4; i++) {
    int32_t type = b->is_float ? RLT_TYPE_FLOAT32 : results[i];
    RLT_REQUIRE(p->err, n->out[i]->type == type, RLT_UNSUPPORTED, "%T must be %t here", n->out[i], type);
  }
  return RLT_OK;
}

static rlt_status check_shapes(rlt_prep *p, const rlt_node *n, rlt_lstm_basic *b) {
  const rlt_tensor *x = n->in[X], *before = n->in[OUTPUT_BEFORE], *w = n->in[WEIGHTS], *state = n->in[STATE_BEFORE];
  RLT_REQUIRE(p->err, x->rank == 2 && before->rank == 2 && state->rank == 2 && w->rank == 2, RLT_BAD_MODEL,
              "%T, %T, %T and %T must have 2 dimensions", x, before, state, w);
  b->batch = x->dims[0];
  b->depth = x->dims[1];
  b->cells = before->dims[1];
  bool fits = before->dims[0] == b->batch && state->dims[0] == b->batch && state->dims[1] == b->cells;
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T, %T and %T do not go together", x, before, state);
  RLT_REQUIRE(p->err, b->cells > 0 && b->cells <= INT32_MAX / 8 && b->depth <= INT32_MAX / 2, RLT_BAD_MODEL,
              "%d input values and %d cells are too few or too many", b->depth, b->cells);
  RLT_REQUIRE(p->err, w->dims[0] == 4 * b->cells && w->dims[1] == b->depth + b->cells, RLT_BAD_MODEL,
              "weights %T must be [%d,%d]", w, 4 * b->cells, b->depth + b->cells);
  return rlt_check_vector(p, n->in[BIAS], "biases", n->in[BIAS]->type, 4 * b->cells);
}

static rlt_status check_quantization(rlt_prep *p, const rlt_node *n, rlt_lstm_basic *b) {
  const rlt_tensor *state = n->out[STATE];
  for (int32_t i = 0; i < 2; i++) RLT_TRY(rlt_require_quantized(p, n->in[WEIGHTS + i]));
  RLT_TRY(rlt_require_quantized(p, state));
  float apart = rlt_scale(state, 0) * 2048.0f - 1.0f;
  RLT_REQUIRE(p->err, apart < 1e-3f && apart > -1e-3f, RLT_UNSUPPORTED, "state %T must have scale 2^-11", state);
  b->weights_zero = rlt_zero_point(n->in[WEIGHTS], 0);
  b->factor = rlt_make_multiplier((double)(4096.0f * rlt_scale(n->in[BIAS], 0)));
  return RLT_OK;
}

/* Former output and state are overwritten by the new ones, so they must be something that keeps values. */
static rlt_status check_state(rlt_prep *p, const rlt_tensor *t) {
  RLT_REQUIRE(p->err, t->def->is_variable || t->def->is_input, RLT_UNSUPPORTED,
              "%T, which takes the new state, must be a variable tensor or an input of the model", t);
  return RLT_OK;
}

rlt_status rlt_lstm_basic_prepare(rlt_prep *p, rlt_node *n, rlt_lstm_basic *b) {
  RLT_TRY(rlt_check_arity(p, n, 5, 5, 4));
  RLT_TRY(check_types(p, n, b));
  RLT_TRY(check_shapes(p, n, b));
  RLT_TRY(check_state(p, n->in[OUTPUT_BEFORE]));
  RLT_TRY(check_state(p, n->in[STATE_BEFORE]));
  if (!b->is_float) RLT_TRY(check_quantization(p, n, b));
  int32_t widths[4] = {b->cells, b->cells, b->depth + b->cells, 4 * b->cells};
  for (int32_t i = 0; i < 4; i++) RLT_TRY(rlt_set_shape(p, n->out[i], 2, (int32_t[]){b->batch, widths[i]}));
  n->macs = rlt_saturating_product((uint64_t)b->batch, n->in[WEIGHTS]->count);
  if (!b->is_float) return RLT_OK;
  b->product = (rlt_gates){.family = RLT_FAMILY_FLOAT,
                           .count = 1,
                           .weights = {WEIGHTS},
                           .bias = {-1},
                           .n = 4 * b->cells,
                           .k = b->depth + b->cells};
  uint64_t packed = rlt_gates_plan(p->u, &b->product, 0);
  bool constant = n->in[WEIGHTS]->is_const;
  n->packed_bytes = constant ? packed : 0;
  n->packed_inputs = constant ? RLT_INPUT_BIT(WEIGHTS) : 0;
  n->scratch_bytes = rlt_step_rows_bytes(RLT_FAMILY_FLOAT, b->batch, b->product.k) + (constant ? 0 : packed);
  n->loop = p->u->f32_gemm->name;
  return RLT_OK;
}

void rlt_lstm_basic_pack(const rlt_ukernels *u, const rlt_node *n, const rlt_lstm_basic *b, void *packed) {
  rlt_gates_pack(u, n, &b->product, packed);
}

static void join(const rlt_node *n, const rlt_lstm_basic *b) {
  size_t value = b->is_float ? sizeof(float) : 1;
  size_t depth = (size_t)b->depth * value, cells = (size_t)b->cells * value;
  char *to = n->out[JOINED]->data;
  const char *x = n->in[X]->data, *before = n->in[OUTPUT_BEFORE]->data;
  for (int32_t i = 0; i < b->batch; i++, to += depth + cells, x += depth, before += cells) {
    rlt_copy(to, x, depth);
    rlt_copy(to + depth, before, cells);
  }
}

static void run_float(const rlt_run *r, const rlt_node *n, const rlt_lstm_basic *b) {
  size_t width = (size_t)b->product.n, cells = (size_t)b->cells;
  float *gates = n->out[GATES]->data, *out = n->out[OUTPUT]->data, *state = n->out[STATE]->data;
  const float *before = n->in[STATE_BEFORE]->data;
  char *packed = n->packed;
  if (!packed) {
    packed = (char *)r->scratch + rlt_step_rows_bytes(RLT_FAMILY_FLOAT, b->batch, b->product.k);
    rlt_gates_pack(r->u, n, &b->product, packed);
  }
  rlt_step_rows rows = rlt_step_rows_in(r->scratch, b->batch, b->product.k);
  for (int32_t i = 0; i < b->batch; i++) rlt_copy(gates + (size_t)i * width, n->in[BIAS]->data, width * sizeof(float));
  rlt_gates_step(r->u, &b->product, packed, false, b->batch, n->out[JOINED]->data, (size_t)b->product.k * sizeof(float),
                 &rows, gates, width);
  for (int32_t i = 0; i < b->batch; i++) {
    const float *gate = gates + (size_t)i * width;
    for (size_t c = 0, at = (size_t)i * cells; c < cells; c++, at++) {
      float in = rlt_logistic(gate[INPUT_GATE * cells + c]) * rlt_tanh(gate[NEW_VALUE * cells + c]);
      state[at] = in + rlt_logistic(gate[FORGET_GATE * cells + c]) * before[at];
      out[at] = rlt_logistic(gate[OUTPUT_GATE * cells + c]) * rlt_tanh(state[at]);
    }
  }
}

/* One row of gates: 3 integer bits. Activations have zero point 128. */
static void multiply_bytes(const rlt_node *n, const rlt_lstm_basic *b, const uint8_t *x, int16_t *gates) {
  const uint8_t *w = n->in[WEIGHTS]->data;
  const int32_t *bias = n->in[BIAS]->data;
  int32_t k = b->depth + b->cells;
  for (int32_t j = 0; j < 4 * b->cells; j++, w += k) {
    uint32_t sum = (uint32_t)bias[j];
    for (int32_t i = 0; i < k; i++) sum += (uint32_t)((x[i] - 128) * (w[i] - b->weights_zero));
    gates[j] = (int16_t)rlt_clamp_i32(rlt_multiply_ties_up((int32_t)sum, b->factor), INT16_MIN, INT16_MAX);
  }
}

static void run_bytes(const rlt_node *n, const rlt_lstm_basic *b) {
  const uint8_t *x = n->out[JOINED]->data;
  const int16_t *before = n->in[STATE_BEFORE]->data;
  int16_t *gates = n->out[GATES]->data, *state = n->out[STATE]->data;
  uint8_t *out = n->out[OUTPUT]->data;
  int32_t cells = b->cells;
  for (int32_t i = 0; i < b->batch; i++, x += b->depth + cells, gates += 4 * cells) {
    multiply_bytes(n, b, x, gates);
    for (int32_t c = 0; c < cells; c++, before++, state++, out++) {
      int32_t in = rlt_fixed_mul(rlt_fixed_logistic(gates[INPUT_GATE * cells + c]),
                                 rlt_fixed_tanh(gates[NEW_VALUE * cells + c], 3));
      int32_t kept = rlt_fixed_mul(rlt_fixed_logistic(gates[FORGET_GATE * cells + c]), *before);
      *state = (int16_t)rlt_fixed_saturate(rlt_fixed_shift(in, 4) + kept);
      int32_t squashed = rlt_fixed_tanh(rlt_fixed_saturate(2 * *state), 3); /* 3 integer bits */
      int32_t y = rlt_fixed_shift(rlt_fixed_mul(rlt_fixed_logistic(gates[OUTPUT_GATE * cells + c]), squashed), 8);
      *out = (uint8_t)(128 + rlt_clamp_i32(y, -128, 127));
    }
  }
}

void rlt_lstm_basic_run(const rlt_run *r, const rlt_node *n, const rlt_lstm_basic *b) {
  join(n, b);
  if (b->is_float) {
    run_float(r, n, b);
  } else {
    run_bytes(n, b);
  }
  rlt_copy(n->in[OUTPUT_BEFORE]->data, n->out[OUTPUT]->data, n->out[OUTPUT]->bytes);
  rlt_copy(n->in[STATE_BEFORE]->data, n->out[STATE]->data, n->out[STATE]->bytes);
}
