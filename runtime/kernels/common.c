/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"
#include "quantize_math.h"

rlt_status rlt_check_type(rlt_prep *p, const rlt_tensor *t, uint64_t mask, const char *names) {
  bool known = t->type >= 0 && t->type < 64 && (mask & RLT_BIT(t->type));
  RLT_REQUIRE(p->err, known, RLT_UNSUPPORTED, "%T: this op takes %s here", t, names);
  return RLT_OK;
}

rlt_status rlt_check_same_type(rlt_prep *p, const rlt_tensor *a, const rlt_tensor *b) {
  RLT_REQUIRE(p->err, a->type == b->type, RLT_BAD_MODEL, "%T and %T must have the same type", a, b);
  return RLT_OK;
}

rlt_status rlt_check_axis(rlt_prep *p, int32_t *axis, int32_t rank) {
  RLT_REQUIRE(p->err, *axis >= -rank && *axis < rank, RLT_BAD_MODEL, "axis %d is out of range for rank %d", *axis,
              rank);
  if (*axis < 0) *axis += rank;
  return RLT_OK;
}

static int32_t int_at(int32_t type, const void *data, int32_t i) {
  if (type == RLT_TYPE_INT32) return ((const int32_t *)data)[i];
  if (type == RLT_TYPE_INT16) return ((const int16_t *)data)[i];
  if (type == RLT_TYPE_INT8) return ((const int8_t *)data)[i];
  int64_t v = ((const int64_t *)data)[i];
  return v > INT32_MAX ? INT32_MAX : (v < INT32_MIN ? INT32_MIN : (int32_t)v);
}

rlt_status rlt_const_ints(rlt_prep *p, const rlt_tensor *t, int32_t cap, int32_t *values, int32_t *count) {
  RLT_TRY(rlt_check_type(p, t, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  return rlt_const_any_ints(p, t, cap, values, count);
}

rlt_status rlt_const_any_ints(rlt_prep *p, const rlt_tensor *t, int32_t cap, int32_t *values, int32_t *count) {
  uint64_t types = RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_INT16) | RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64);
  RLT_TRY(rlt_check_type(p, t, types, "INT8, INT16, INT32 or INT64"));
  RLT_REQUIRE(p->err, t->count <= (uint64_t)cap, RLT_BAD_MODEL, "%T has more values than the %d that fit", t, cap);
  const void *data = rlt_const_data(t);
  if (!data && t->count > 0) return RLT_LATER;
  *count = (int32_t)t->count;
  for (int32_t i = 0; i < *count; i++) values[i] = int_at(t->type, data, i);
  return RLT_OK;
}

void rlt_read_ints(const rlt_tensor *t, int32_t cap, int32_t *values) {
  for (int32_t i = 0; i < cap && (uint64_t)i < t->count; i++) values[i] = int_at(t->type, t->data, i);
}

/* ---- activations ---- */

const char *rlt_activation_name(int32_t activation) {
  static const char *const names[RLT_ACT_COUNT] = {"NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT"};
  return activation >= 0 && activation < RLT_ACT_COUNT ? names[activation] : "unknown";
}

rlt_status rlt_activation_f32(rlt_prep *p, int32_t activation, float *lo, float *hi) {
  const float infinity = rlt_bits_f32(0x7f800000u);
  *lo = -infinity;
  *hi = infinity;
  switch (activation) {
    case RLT_ACT_NONE:
      return RLT_OK;
    case RLT_ACT_RELU:
      *lo = 0.0f;
      return RLT_OK;
    case RLT_ACT_RELU_N1_TO_1:
      *lo = -1.0f;
      *hi = 1.0f;
      return RLT_OK;
    case RLT_ACT_RELU6:
      *lo = 0.0f;
      *hi = 6.0f;
      return RLT_OK;
    default:
      return rlt_fail(p->err, RLT_UNSUPPORTED,
                      "fused activation %s (%d), which LiteRT ignores; NONE, RELU, RELU_N1_TO_1 and RELU6 are "
                      "supported: make it a node of its own behind this one",
                      rlt_activation_name(activation), activation);
  }
}

/* round(bound / scale) + zero within the type. The division stays: an inverse would move bounds that lie half-way. */
static int32_t away_bound(float bound, const rlt_tensor *t, int32_t least, int32_t most) {
  float steps = rlt_clamp_f32(bound / rlt_scale(t, 0), -1e6f, 1e6f);
  return rlt_clamp_i32((int32_t)rlt_f64_round_away((double)steps) + rlt_zero_point(t, 0), least, most);
}

static rlt_status quantized_bounds(rlt_prep *p, int32_t activation, const rlt_tensor *t, bool away, int32_t *lo,
                                   int32_t *hi) {
  float real_lo, real_hi;
  RLT_TRY(rlt_activation_f32(p, activation, &real_lo, &real_hi));
  int32_t least = rlt_type_min(t->type), most = rlt_type_max(t->type);
  *lo = least;
  *hi = most;
  if (activation == RLT_ACT_NONE) return RLT_OK;
  RLT_TRY(rlt_require_quantized(p, t));
  float scale = rlt_scale(t, 0), zero = (float)rlt_zero_point(t, 0);
  if (away) {
    *lo = away_bound(real_lo, t, least, most);
    *hi = away_bound(real_hi, t, least, most);
  } else {
    *lo = rlt_round_clamped(real_lo / scale + zero, (float)least, (float)most);
    *hi = rlt_round_clamped(real_hi / scale + zero, (float)least, (float)most);
  }
  return RLT_OK;
}

rlt_status rlt_activation_quantized(rlt_prep *p, int32_t activation, const rlt_tensor *t, int32_t *lo, int32_t *hi) {
  return quantized_bounds(p, activation, t, false, lo, hi);
}

rlt_status rlt_activation_away(rlt_prep *p, int32_t activation, const rlt_tensor *t, int32_t *lo, int32_t *hi) {
  return quantized_bounds(p, activation, t, true, lo, hi);
}

rlt_status rlt_activation_i32(rlt_prep *p, int32_t activation, int32_t *lo, int32_t *hi) {
  float real_lo, real_hi;
  RLT_TRY(rlt_activation_f32(p, activation, &real_lo, &real_hi));
  *lo = activation == RLT_ACT_NONE ? INT32_MIN : (int32_t)real_lo;
  *hi = activation == RLT_ACT_NONE || activation == RLT_ACT_RELU ? INT32_MAX : (int32_t)real_hi;
  return RLT_OK;
}

/* ---- strided walks ---- */

rlt_status rlt_broadcast(rlt_prep *p, rlt_tensor *const *in, int32_t inputs, int32_t *rank, int32_t *dims) {
  *rank = 0;
  for (int32_t i = 0; i < inputs; i++) *rank = in[i]->rank > *rank ? in[i]->rank : *rank;
  for (int32_t d = 0; d < *rank; d++) {
    dims[d] = 1;
    for (int32_t i = 0; i < inputs; i++) {
      int32_t at = d - (*rank - in[i]->rank);
      int32_t size = at < 0 ? 1 : in[i]->dims[at];
      bool fits = size == 1 || dims[d] == 1 || size == dims[d];
      RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T and %T do not broadcast to one shape", in[0], in[i]);
      if (size != 1) dims[d] = size;
    }
  }
  return RLT_OK;
}

void rlt_walk_broadcast(rlt_walk *w, rlt_tensor *const *in, int32_t inputs, int32_t rank, const int32_t *dims) {
  w->rank = rank;
  w->inputs = inputs;
  for (int32_t d = 0; d < rank; d++) w->dims[d] = dims[d];
  for (int32_t i = 0; i < inputs; i++) {
    int64_t step = 1;
    for (int32_t d = rank - 1; d >= 0; d--) {
      int32_t at = d - (rank - in[i]->rank);
      int32_t size = at < 0 ? 1 : in[i]->dims[at];
      w->step[i][d] = size == 1 ? 0 : step;
      step *= size;
    }
  }
  rlt_walk_merge(w);
}

static bool mergeable(const rlt_walk *w, int32_t outer, int32_t inner) {
  for (int32_t i = 0; i < w->inputs; i++) {
    if (w->step[i][outer] != w->step[i][inner] * w->dims[inner]) return false;
  }
  return true;
}

void rlt_walk_merge(rlt_walk *w) {
  int32_t kept = 0;
  for (int32_t d = 0; d < w->rank; d++) {
    if (w->dims[d] == 1) continue;
    bool merge = kept > 0 && mergeable(w, kept - 1, d);
    if (kept == 0 || !merge) {
      w->dims[kept] = w->dims[d];
      kept++;
    } else {
      w->dims[kept - 1] *= w->dims[d];
    }
    for (int32_t i = 0; i < w->inputs; i++) w->step[i][kept - 1] = w->step[i][d];
  }
  if (kept == 0) {
    w->dims[0] = 1;
    for (int32_t i = 0; i < w->inputs; i++) w->step[i][0] = 1;
    kept = 1;
  }
  w->rank = kept;
}

void rlt_walk_run(const rlt_walk *w, const int64_t *base, int64_t begin, int64_t end, rlt_row row, const void *ctx) {
  int64_t index[RLT_WALK_RANK] = {0}, in[RLT_WALK_INPUTS] = {0};
  int32_t last = w->rank - 1;
  int64_t rest = begin;
  if (begin >= end) return;
  for (int32_t d = last; d >= 0; d--) {
    index[d] = rest % w->dims[d];
    rest /= w->dims[d];
  }
  for (int32_t i = 0; i < w->inputs; i++) {
    in[i] = base ? base[i] : 0;
    for (int32_t d = 0; d <= last; d++) in[i] += index[d] * w->step[i][d];
  }
  for (int64_t out = begin; out < end;) {
    int64_t n = w->dims[last] - index[last];
    if (n > end - out) n = end - out;
    row(ctx, out, in, n);
    out += n;
    index[last] += n;
    for (int32_t i = 0; i < w->inputs; i++) in[i] += n * w->step[i][last];
    for (int32_t d = last; d > 0 && index[d] == w->dims[d]; d--) { /* carry */
      index[d] = 0;
      index[d - 1]++;
      for (int32_t i = 0; i < w->inputs; i++) in[i] += w->step[i][d - 1] - w->dims[d] * w->step[i][d];
    }
  }
}
