/* SPDX-License-Identifier: Apache-2.0
 * FAKE_QUANT: reals through the steps of a quantized range. */
#include "common.h"
#include "quantize_math.h"

typedef struct fake_quant_data {
  float least, most, scale;
} fake_quant_data;

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  fake_quant_data *k = n->data;
  const rlt_table *o = &n->def->options;
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  float lo = rlt_fb_f32(o, RLT_SLOT_FakeQuantOptions_min, 0.0f),
        hi = rlt_fb_f32(o, RLT_SLOT_FakeQuantOptions_max, 0.0f);
  int32_t bits = rlt_fb_i32(o, RLT_SLOT_FakeQuantOptions_num_bits, 0);
  bool narrow = rlt_fb_bool(o, RLT_SLOT_FakeQuantOptions_narrow_range, false);
  RLT_REQUIRE(p->err, bits >= 2 && bits <= 16, RLT_BAD_MODEL, "num_bits is %d, wanted 2 to 16", bits);
  RLT_REQUIRE(p->err, lo <= 0.0f && hi >= 0.0f && lo < hi && hi - lo < 1e38f, RLT_BAD_MODEL,
              "the range must be finite, hold 0 and more");
  float from = narrow ? 1.0f : 0.0f, to = (float)((1 << bits) - 1);
  k->scale = (hi - lo) / (to - from);
  RLT_REQUIRE(p->err, k->scale > 1e-37f, RLT_BAD_MODEL, "the range is too narrow for its steps");
  float zero = from - lo / k->scale;
  zero = zero < from ? from : (zero > to ? to : (float)rlt_f64_round_away((double)zero));
  k->least = (from - zero) * k->scale;
  k->most = (to - zero) * k->scale;
  n->in_place = 0;
  n->tiles = rlt_flat_tiles(x->count);
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

/* NaN becomes the least value. */
static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const fake_quant_data *k = n->data;
  const float *x = n->in[0]->data;
  float *y = n->out[0]->data, inverse = 1.0f / k->scale;
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    float v = k->least < x[i] ? x[i] : k->least;
    v = v < k->most ? v : k->most;
    float step = (float)rlt_f64_round_away((double)((v - k->least) * inverse));
    y[i] = step * k->scale + k->least;
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_fake_quant = {
    .name = "FAKE_QUANT", .data_size = sizeof(fake_quant_data), .max_version = 2, .prepare = prepare, .run = run};
