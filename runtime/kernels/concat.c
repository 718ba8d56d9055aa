/* SPDX-License-Identifier: Apache-2.0
 * CONCATENATION and PACK: each input is cut into `outer` chunks, which alternate in the output. */
#include "move.h"

static void set_tiles(rlt_node *n, int64_t outer) {
  *(int64_t *)n->data = outer;
  n->tiles = rlt_unit_tiles(outer, outer > 0 ? (int64_t)n->out[0]->count / outer : 0);
}

/* ---- CONCATENATION ---- */

static rlt_status check_part(rlt_prep *p, const rlt_node *n, const rlt_tensor *x, int32_t axis) {
  const rlt_tensor *like = n->in[0];
  RLT_REQUIRE(p->err, x->rank == like->rank, RLT_BAD_MODEL, "%T and %T differ in rank", like, x);
  for (int32_t d = 0; d < x->rank; d++) {
    RLT_REQUIRE(p->err, d == axis || x->dims[d] == like->dims[d], RLT_BAD_MODEL,
                "%T and %T differ in a dimension other than %d", like, x, axis);
  }
  RLT_TRY(rlt_check_same_type(p, x, n->out[0]));
  if (x->type == RLT_TYPE_INT8 || x->type == RLT_TYPE_UINT8) { /* run requantizes */
    if (x->def->quant.n == 0 && n->out[0]->def->quant.n == 0) return RLT_OK;
    RLT_TRY(rlt_require_quantized(p, x));
    return rlt_require_quantized(p, n->out[0]);
  }
  return rlt_check_moved(p, x, n->out[0]);
}

static rlt_status prepare_concatenation(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, n->def->n_inputs < 1 ? 1 : n->def->n_inputs, INT32_MAX, 1));
  const rlt_table *o = &n->def->options;
  rlt_tensor *like = n->in[0];
  int32_t axis = rlt_fb_i32(o, RLT_SLOT_ConcatenationOptions_axis, 0), dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_axis(p, &axis, like->rank));
  int32_t activation = rlt_fb_i8(o, RLT_SLOT_ConcatenationOptions_fused_activation_function, RLT_ACT_NONE);
  RLT_REQUIRE(p->err, activation == RLT_ACT_NONE, RLT_UNSUPPORTED,
              "fused activation %s (%d), which LiteRT ignores: make it a node of its own behind this one",
              rlt_activation_name(activation), activation);
  RLT_REQUIRE(p->err, rlt_type_bytes(like->type) > 0, RLT_UNSUPPORTED, "%T: elements of whole bytes only", like);
  int64_t size = 0;
  for (int32_t i = 0; i < n->def->n_inputs; i++) {
    RLT_TRY(check_part(p, n, n->in[i], axis));
    size += n->in[i]->dims[axis];
  }
  RLT_REQUIRE(p->err, size <= INT32_MAX, RLT_BAD_MODEL, "dimension %d of the result is too large", axis);
  for (int32_t d = 0; d < like->rank; d++) dims[d] = d == axis ? (int32_t)size : like->dims[d];
  RLT_TRY(rlt_set_shape(p, n->out[0], like->rank, dims));
  set_tiles(n, rlt_span(like, 0, axis));
  return RLT_OK;
}

/* round(q * ratio - zero * ratio) + output's zero, ties away from zero. */
static void requantize_chunk(const rlt_tensor *x, const rlt_tensor *y, const uint8_t *from, uint8_t *to, int64_t n) {
  float ratio = rlt_scale(x, 0) * (1.0f / rlt_scale(y, 0));
  float bias = -(float)rlt_zero_point(x, 0) * ratio;
  int32_t zero = rlt_zero_point(y, 0), lo = rlt_type_min(y->type), hi = rlt_type_max(y->type);
  for (int64_t i = 0; i < n; i++) {
    float q = x->type == RLT_TYPE_INT8 ? (float)(int8_t)from[i] : (float)from[i];
    float v = q * ratio + bias;
    v = v < 1e6f ? (v > -1e6f ? v : -1e6f) : 1e6f;
    to[i] = (uint8_t)rlt_clamp_i32((int32_t)rlt_f64_round_away((double)v) + zero, lo, hi);
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  int64_t outer = *(const int64_t *)n->data, begin, end;
  const rlt_tensor *y = n->out[0];
  if (y->count == 0) return RLT_OK;
  uint64_t bytes = rlt_type_bytes(y->type);
  rlt_part(n, outer, first, last, &begin, &end);
  uint8_t *to = (uint8_t *)y->data + (uint64_t)begin * (y->bytes / (uint64_t)outer);
  for (int64_t row = begin; row < end; row++) {
    for (int32_t i = 0; i < n->def->n_inputs; i++) {
      const rlt_tensor *x = n->in[i];
      uint64_t chunk = x->bytes / (uint64_t)outer;
      const uint8_t *from = (const uint8_t *)x->data + (uint64_t)row * chunk;
      if (bytes == 1 && x->def->quant.n == 1 && y->def->quant.n == 1 && !rlt_same_quantization(x, y)) {
        requantize_chunk(x, y, from, to, (int64_t)chunk);
      } else {
        rlt_copy(to, from, chunk);
      }
      to += chunk;
    }
  }
  return RLT_OK;
}

/* ---- PACK ---- */

static rlt_status prepare_pack(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, n->def->n_inputs < 1 ? 1 : n->def->n_inputs, INT32_MAX, 1));
  const rlt_table *o = &n->def->options;
  const rlt_tensor *like = n->in[0];
  int32_t axis = rlt_fb_i32(o, RLT_SLOT_PackOptions_axis, 0), dims[RLT_MAX_RANK];
  int32_t count = rlt_fb_i32(o, RLT_SLOT_PackOptions_values_count, 0);
  RLT_REQUIRE(p->err, count == n->def->n_inputs, RLT_BAD_MODEL, "values_count is %d, it has %d inputs", count,
              n->def->n_inputs);
  RLT_REQUIRE(p->err, like->rank < RLT_MAX_RANK, RLT_UNSUPPORTED, "%T: one more dimension than this build allows",
              like);
  RLT_TRY(rlt_check_axis(p, &axis, like->rank + 1));
  for (int32_t i = 0; i < n->def->n_inputs; i++) {
    const rlt_tensor *x = n->in[i];
    bool same = x->rank == like->rank;
    for (int32_t d = 0; same && d < x->rank; d++) same = x->dims[d] == like->dims[d];
    RLT_REQUIRE(p->err, same, RLT_BAD_MODEL, "%T and %T differ in shape", like, x);
    RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  }
  for (int32_t d = 0; d <= like->rank; d++) dims[d] = d == axis ? count : like->dims[d < axis ? d : d - 1];
  RLT_TRY(rlt_set_shape(p, n->out[0], like->rank + 1, dims));
  set_tiles(n, rlt_span(like, 0, axis));
  return RLT_OK;
}

const rlt_kernel rlt_kernel_concatenation = {
    "CONCATENATION", sizeof(int64_t), 7, false, prepare_concatenation, NULL, run};
const rlt_kernel rlt_kernel_pack = {"PACK", sizeof(int64_t), 5, false, prepare_pack, NULL, run};
