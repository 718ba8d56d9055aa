/* SPDX-License-Identifier: Apache-2.0
 * The composites rillet.layer_norm and rillet.rms_norm, over the last dimension:
 * (x - mean) / sqrt(variance + epsilon) * gamma + beta, and x / sqrt(mean of squares + epsilon) * gamma. */
#include "composite.h"

typedef struct norm_data {
  float epsilon;
  bool centres;
} norm_data;

/* Values along the last dimension, which do not make the output's rank larger. */
static rlt_status check_row(rlt_prep *p, const rlt_tensor *row, const rlt_tensor *x) {
  int32_t width = x->dims[x->rank - 1];
  bool fits = row->rank >= 1 && row->rank <= x->rank && row->dims[row->rank - 1] == width;
  RLT_REQUIRE(p->err, fits && row->count == (uint64_t)width, RLT_UNSUPPORTED, "%T are not %d values for %T", row, width,
              x);
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n, bool centres) {
  norm_data *k = n->data;
  rlt_flex map;
  uint64_t known = 0;
  k->centres = centres;
  RLT_TRY(rlt_check_arity(p, n, 1, centres ? 3 : 2, 1));
  RLT_TRY(rlt_check_all_float(p, n));
  rlt_flex_root(n->def->custom_options, &map);
  double epsilon = rlt_attribute(&map, "epsilon", (double)__builtin_nanf(""), &known);
  RLT_TRY(rlt_finite_attribute(p, "epsilon", epsilon, &k->epsilon));
  RLT_TRY(rlt_check_attributes(p, &map, known));
  const rlt_tensor *x = n->in[0];
  RLT_REQUIRE(p->err, x->rank >= 1 && x->dims[x->rank - 1] > 0, RLT_UNSUPPORTED, "%T has no values to normalize", x);
  for (int32_t i = 1; i < n->def->n_inputs; i++) {
    RLT_REQUIRE(p->err, n->in[i], RLT_UNSUPPORTED, "its input %d is left out", i);
    RLT_TRY(check_row(p, n->in[i], x));
  }
  n->in_place = 0;
  n->loop = p->u->loops->name;
  n->tiles = rlt_unit_tiles(rlt_span(x, 0, x->rank - 1), x->dims[x->rank - 1]);
  n->macs = 2 * x->count; /* the squares, and the factor */
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

static rlt_status prepare_layer_norm(rlt_prep *p, rlt_node *n) { return prepare(p, n, true); }
static rlt_status prepare_rms_norm(rlt_prep *p, rlt_node *n) { return prepare(p, n, false); }

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const norm_data *k = n->data;
  const rlt_loops *loops = r->u->loops;
  const rlt_tensor *x = n->in[0];
  const float *gamma = n->def->n_inputs > 1 ? n->in[1]->data : NULL,
              *beta = n->def->n_inputs > 2 ? n->in[2]->data : NULL;
  int64_t width = x->dims[x->rank - 1], begin, end;
  rlt_part(n, rlt_span(x, 0, x->rank - 1), first, last, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    const float *from = (const float *)x->data + row * width;
    float mean = k->centres ? (float)(loops->sum(from, width) / (double)width) : 0.0f;
    float variance = (float)(loops->sum_of_squares(from, width, mean) / (double)width);
    float factor = 1.0f / rlt_sqrt(variance + k->epsilon);
    loops->normalize(from, (float *)n->out[0]->data + row * width, width, mean, factor, gamma, beta);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_layer_norm = {
    "rillet.layer_norm", sizeof(norm_data), 1, false, prepare_layer_norm, NULL, run};
const rlt_kernel rlt_kernel_rms_norm = {"rillet.rms_norm", sizeof(norm_data), 1, false, prepare_rms_norm, NULL, run};
