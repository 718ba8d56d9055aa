/* SPDX-License-Identifier: Apache-2.0
 * SVDF: a fully connected layer over time, as `rank` filters per unit. Every step projects the input on all filters,
 * keeps the last `memory` values of each as state, and weighs them by time. */
#include "rnn_cell.h"

enum { X, FEATURE, TIME, BIAS, STATE };

typedef struct svdf_data {
  rlt_gates feature;
  bool asymmetric;
  int32_t activation, batch, rank, units, memory;
  int32_t out_zero; /* INT8 */
  rlt_multiplier out_factor;
  uint64_t rows_bytes, scratch_bytes; /* scratch: rows, values of the filters, then packed weights unless constant */
} svdf_data;

static rlt_status check_shapes(rlt_prep *p, const rlt_node *n, svdf_data *d, int32_t *filters) {
  const rlt_tensor *x = n->in[X], *feature = n->in[FEATURE], *time = n->in[TIME];
  d->rank = rlt_fb_i32(&n->def->options, RLT_SLOT_SVDFOptions_rank, 0);
  RLT_REQUIRE(p->err, x->rank == 2 && feature->rank == 2 && time->rank == 2, RLT_BAD_MODEL,
              "%T, %T and %T must have 2 dimensions", x, feature, time);
  *filters = feature->dims[0];
  d->batch = x->dims[0];
  d->memory = time->dims[1];
  RLT_REQUIRE(p->err, d->rank >= 1 && *filters % d->rank == 0, RLT_BAD_MODEL,
              "rank %d does not divide the %d filters of %T", d->rank, *filters, feature);
  RLT_REQUIRE(p->err, time->dims[0] == *filters && d->memory > 0, RLT_BAD_MODEL,
              "time weights %T do not go with feature weights %T", time, feature);
  d->units = *filters / d->rank;
  return RLT_OK;
}

static rlt_status check_int8(rlt_prep *p, const rlt_node *n, svdf_data *d) {
  const int32_t quantized[] = {X, TIME, STATE};
  RLT_REQUIRE(p->err, d->activation == RLT_ACT_RELU, RLT_UNSUPPORTED,
              "fused activation %d; an int8 SVDF has RELU, which is %d", d->activation, (int32_t)RLT_ACT_RELU);
  for (int i = 0; i < 3; i++) RLT_TRY(rlt_require_quantized(p, n->in[quantized[i]]));
  RLT_TRY(rlt_require_quantized(p, n->out[0]));
  RLT_REQUIRE(p->err, rlt_zero_point(n->in[TIME], 0) == 0 && rlt_zero_point(n->in[STATE], 0) == 0, RLT_UNSUPPORTED,
              "%T and %T must have zero point 0", n->in[TIME], n->in[STATE]);
  float x = rlt_scale(n->in[X], 0), state = rlt_scale(n->in[STATE], 0);
  d->feature.zero = rlt_zero_point(n->in[X], 0);
  d->feature.factor[0] = rlt_make_multiplier((double)(x * rlt_scale(n->in[FEATURE], 0) / state));
  d->out_factor = rlt_make_multiplier((double)(state * rlt_scale(n->in[TIME], 0) / rlt_scale(n->out[0], 0)));
  d->out_zero = rlt_zero_point(n->out[0], 0);
  return RLT_OK;
}

static rlt_status check_types(rlt_prep *p, const rlt_node *n, svdf_data *d, rlt_family family) {
  const rlt_tensor *time = n->in[TIME];
  int32_t type = family == RLT_FAMILY_INT8 ? RLT_TYPE_INT16 : RLT_TYPE_FLOAT32;
  if (family == RLT_FAMILY_INT8 && n->in[STATE] && n->in[STATE]->type == RLT_TYPE_INT8) type = RLT_TYPE_INT8;
  RLT_TRY(rlt_check_same_type(p, n->in[X], n->out[0]));
  if (family == RLT_FAMILY_HYBRID) {
    RLT_TRY(rlt_check_symmetric(p, time));
  } else {
    RLT_REQUIRE(p->err, time->type == type, RLT_UNSUPPORTED, "time weights %T must be %t here", time, type);
  }
  int32_t bias = family == RLT_FAMILY_INT8 ? RLT_TYPE_INT32 : RLT_TYPE_FLOAT32;
  if (n->in[BIAS]) RLT_TRY(rlt_check_vector(p, n->in[BIAS], "biases", bias, d->units));
  return rlt_check_state(p, n->in[STATE], "state", type, (uint64_t)d->batch * time->count);
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  svdf_data *d = n->data;
  const rlt_table *o = &n->def->options;
  int32_t filters = 0;
  rlt_family family;
  RLT_TRY(rlt_check_arity(p, n, 3, 5, 1));
  RLT_REQUIRE(p->err, n->def->n_inputs == 5, RLT_BAD_MODEL, "it has %d inputs, wanted 5", n->def->n_inputs);
  d->activation = rlt_fb_i8(o, RLT_SLOT_SVDFOptions_fused_activation_function, RLT_ACT_NONE);
  d->asymmetric = rlt_fb_bool(o, RLT_SLOT_SVDFOptions_asymmetric_quantize_inputs, false);
  RLT_TRY(rlt_check_any_activation(p, d->activation));
  RLT_TRY(check_shapes(p, n, d, &filters));
  RLT_TRY(rlt_check_family(p, n->in[X], n->in[FEATURE], &family));
  RLT_TRY(rlt_check_gate_weights(p, n->in[FEATURE], "feature weights", family, filters, n->in[X]->dims[1]));
  RLT_TRY(check_types(p, n, d, family));
  float scale = family == RLT_FAMILY_HYBRID ? rlt_scale(n->in[FEATURE], 0) : 1.0f;
  d->feature = (rlt_gates){.family = family,
                           .count = 1,
                           .weights = {FEATURE},
                           .bias = {-1},
                           .n = filters,
                           .k = n->in[X]->dims[1],
                           .scale = {scale}};
  if (family == RLT_FAMILY_INT8) RLT_TRY(check_int8(p, n, d));
  uint64_t packed = rlt_gates_plan(p->u, &d->feature, 0), values = (uint64_t)d->batch * (uint64_t)filters;
  bool constant = n->in[FEATURE]->is_const;
  d->rows_bytes = rlt_step_rows_bytes(family, d->batch, d->feature.k);
  d->scratch_bytes = d->rows_bytes + rlt_align64(values * sizeof(float));
  n->packed_bytes = constant ? packed : 0;
  n->packed_inputs = constant ? RLT_INPUT_BIT(FEATURE) : 0;
  n->scratch_bytes = d->scratch_bytes + (constant ? 0 : packed);
  n->macs = rlt_saturating_product(values, (uint64_t)d->feature.k + (uint64_t)d->memory);
  n->loop = family == RLT_FAMILY_FLOAT ? p->u->f32_gemm->name : p->u->s8_gemm->name;
  return rlt_set_shape(p, n->out[0], 2, (int32_t[]){d->batch, d->units});
}

static void pack(const rlt_ukernels *u, const rlt_node *n) {
  rlt_gates_pack(u, n, &((const svdf_data *)n->data)->feature, n->packed);
}

/* Every filter's state forgets its oldest value and takes in the newest, of INT8 saturated. */
static void push_state(const svdf_data *d, const rlt_tensor *state, const void *newest) {
  size_t value = rlt_type_bytes(state->type);
  size_t rows = (size_t)d->batch * (size_t)d->feature.n, rest = (size_t)(d->memory - 1) * value;
  char *to = state->data;
  for (size_t i = 0; i < rows; i++, to += rest + value) {
    rlt_copy(to, to + value, rest);
    if (value == 1) *(int8_t *)(to + rest) = (int8_t)rlt_clamp_i32(((const int16_t *)newest)[i], INT8_MIN, INT8_MAX);
    else rlt_copy(to + rest, (const char *)newest + i * value, value);
  }
}

/* Weight of a filter's value, which HYBRID has as int8. */
static float weight_at(const rlt_tensor *time, float scale, size_t i) {
  return time->type == RLT_TYPE_FLOAT32 ? ((const float *)time->data)[i]
                                        : (float)((const int8_t *)time->data)[i] * scale;
}

static void run_float(const rlt_run *r, const rlt_node *n, const svdf_data *d) {
  const rlt_tensor *time = n->in[TIME];
  const float *bias = n->in[BIAS] ? n->in[BIAS]->data : NULL, *state = n->in[STATE]->data;
  float *out = n->out[0]->data;
  float scale = time->type == RLT_TYPE_FLOAT32 ? 1.0f : rlt_scale(time, 0);
  size_t memory = (size_t)d->memory;
  for (int32_t b = 0; b < d->batch; b++) {
    for (int32_t u = 0; u < d->units; u++, out++) {
      float sum = 0.0f;
      for (size_t f = 0; f < (size_t)d->rank; f++, state += memory) {
        size_t at = ((size_t)u * (size_t)d->rank + f) * memory;
        float dot = 0.0f;
        for (size_t i = 0; i < memory; i++) dot += weight_at(time, scale, at + i) * state[i];
        sum += dot;
      }
      *out = bias ? sum + bias[u] : sum;
    }
  }
  rlt_activate(r->u, d->activation, n->out[0]->data, n->out[0]->data, (int64_t)n->out[0]->count);
}

/* RELU shows in nothing but the output's quantization, as TFLite has it. */
static void run_int8(const rlt_node *n, const svdf_data *d) {
  const int32_t *bias = n->in[BIAS] ? n->in[BIAS]->data : NULL;
  const rlt_tensor *state = n->in[STATE], *time = n->in[TIME];
  int8_t *out = n->out[0]->data;
  int64_t length = (int64_t)d->rank * d->memory;
  for (int32_t b = 0; b < d->batch; b++) {
    for (int32_t u = 0; u < d->units; u++, out++) {
      uint32_t sum = bias ? (uint32_t)bias[u] : 0;
      int64_t at_state = ((int64_t)b * d->units + u) * length, at_time = u * length;
      if (state->type == RLT_TYPE_INT8) {
        const int8_t *s = (const int8_t *)state->data + at_state, *t = (const int8_t *)time->data + at_time;
        for (int64_t i = 0; i < length; i++) sum += (uint32_t)(t[i] * s[i]);
      } else {
        const int16_t *s = (const int16_t *)state->data + at_state, *t = (const int16_t *)time->data + at_time;
        for (int64_t i = 0; i < length; i++) sum += (uint32_t)(t[i] * s[i]);
      }
      int64_t y = (int64_t)rlt_multiply((int32_t)sum, d->out_factor) + d->out_zero;
      *out = (int8_t)(y < INT8_MIN ? INT8_MIN : (y > INT8_MAX ? INT8_MAX : y));
    }
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const svdf_data *d = n->data;
  bool is_int8 = d->feature.family == RLT_FAMILY_INT8;
  size_t value = is_int8 ? sizeof(int16_t) : sizeof(float), filters = (size_t)d->feature.n;
  char *scratch = r->scratch, *newest = scratch + d->rows_bytes, *packed = n->packed;
  if (!packed) {
    packed = scratch + d->scratch_bytes;
    rlt_gates_pack(r->u, n, &d->feature, packed);
  }
  rlt_step_rows rows = rlt_step_rows_in(scratch, d->batch, d->feature.k);
  size_t x_bytes = (size_t)d->feature.k * (is_int8 ? 1 : sizeof(float));
  __builtin_memset(newest, 0, (size_t)d->batch * filters * value);
  rlt_gates_step(r->u, &d->feature, packed, d->asymmetric, d->batch, n->in[X]->data, x_bytes, &rows, newest, filters);
  push_state(d, n->in[STATE], newest);
  if (is_int8) {
    run_int8(n, d);
  } else {
    run_float(r, n, d);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_svdf = {"SVDF", sizeof(svdf_data), 4, true, prepare, pack, run};
