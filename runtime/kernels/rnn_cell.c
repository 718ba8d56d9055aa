/* SPDX-License-Identifier: Apache-2.0 */
#include "rnn_cell.h"

static int32_t panel_width(const rlt_ukernels *u, const rlt_gates *g) {
  return g->family == RLT_FAMILY_FLOAT ? u->f32_gemm->nr : u->s8_gemm->nr;
}
static int32_t panels(const rlt_ukernels *u, const rlt_gates *g) {
  int32_t nr = panel_width(u, g);
  return g->n / nr + (g->n % nr > 0);
}

/* ---- packing ---- */

static uint64_t panel_stride(const rlt_ukernels *u, const rlt_gates *g) {
  return rlt_align64(rlt_panel_bytes(u, g->family, g->k));
}

static uint64_t sums_at(const rlt_ukernels *u, const rlt_gates *g) {
  return g->at + (uint64_t)g->count * (uint64_t)panels(u, g) * panel_stride(u, g);
}

uint64_t rlt_gates_plan(const rlt_ukernels *u, rlt_gates *g, uint64_t at) {
  g->at = at;
  uint64_t sums = (uint64_t)g->count * (uint64_t)g->n * sizeof(int32_t);
  return sums_at(u, g) + (g->family == RLT_FAMILY_HYBRID ? rlt_align64(sums) : 0);
}

void rlt_gates_pack(const rlt_ukernels *u, const rlt_node *n, const rlt_gates *g, char *packed) {
  int32_t nr = panel_width(u, g), *sums = (int32_t *)(void *)(packed + sums_at(u, g));
  char *to = packed + g->at;
  for (int32_t gate = 0; gate < g->count; gate++) {
    const void *w = n->in[g->weights[gate]]->data;
    const rlt_tensor *bias = rlt_input_or_null(n, g->bias[gate]);
    for (int32_t j = 0; j < g->n; j += nr, to += panel_stride(u, g)) {
      int32_t columns = g->n - j < nr ? g->n - j : nr;
      size_t from = (size_t)(g->first + j) * (size_t)g->k;
      if (g->family == RLT_FAMILY_FLOAT) {
        rlt_pack_f32_panel((const float *)w + from, NULL, g->k, columns, nr, (float *)(void *)to);
      } else {
        const int32_t *b = g->family == RLT_FAMILY_INT8 && bias ? (const int32_t *)bias->data + j : NULL;
        int32_t zero = g->family == RLT_FAMILY_INT8 ? g->zero : 0;
        rlt_pack_s8_panel(u->s8_gemm, (const int8_t *)w + from, b, NULL, u->s8_gemm->a_offset + zero, g->k, columns,
                          to);
      }
    }
    for (int32_t j = 0; g->family == RLT_FAMILY_HYBRID && j < g->n; j++)
      *sums++ = rlt_sum_s8((const int8_t *)w + (size_t)(g->first + j) * (size_t)g->k, g->k);
  }
}

/* ---- running ---- */

/* A micro-tile of a product: rows [i, i + m) and columns [j, j + n) of a gate. */
typedef struct tile {
  int32_t m, i, n, j, gate;
} tile;

static void finish_hybrid(const rlt_gates *g, const tile *t, const int32_t *sums, int32_t nr, const int32_t *weights,
                          const rlt_row_quant *quant, float *c, size_t c_stride) {
  for (int32_t i = 0; i < t->m; i++, c += c_stride, sums += nr) {
    rlt_row_quant q = quant[t->i + i];
    float scale = q.scale * g->scale[t->gate];
    for (int32_t j = 0; j < t->n; j++)
      c[j] += (float)(int32_t)((uint32_t)sums[j] - (uint32_t)q.zero * (uint32_t)weights[j]) * scale;
  }
}

static void finish_int8(const rlt_gates *g, const tile *t, const int32_t *sums, int32_t nr, char *c, size_t c_stride) {
  rlt_multiplier factor = g->factor[t->gate];
  for (int32_t i = 0; i < t->m; i++, sums += nr) {
    for (int32_t j = 0; j < t->n; j++) {
      size_t at = (size_t)i * c_stride + (size_t)j;
      int64_t y = rlt_multiply(sums[j], factor);
      if (g->narrow) {
        y += g->out_zero;
        ((int8_t *)c)[at] = (int8_t)(y < INT8_MIN ? INT8_MIN : (y > INT8_MAX ? INT8_MAX : y));
      } else {
        int16_t *to = (int16_t *)(void *)c + at;
        y += *to;
        *to = (int16_t)(y < INT16_MIN ? INT16_MIN : (y > INT16_MAX ? INT16_MAX : y));
      }
    }
  }
}

static void add_tile(const rlt_ukernels *u, const rlt_gates *g, const tile *t, const char *panel,
                     const int32_t *weight_sums, const void *const *rows, const rlt_row_quant *quant, char *c,
                     size_t c_stride) {
  _Alignas(64) union {
    float f[RLT_MAX_MR * RLT_MAX_NR];
    int32_t s[RLT_MAX_MR * RLT_MAX_NR];
  } sums;
  int32_t nr = panel_width(u, g);
  size_t at = (size_t)t->i * c_stride + (size_t)t->gate * (size_t)g->n + (size_t)t->j;
  if (g->family != RLT_FAMILY_FLOAT) {
    u->s8_gemm->run_s32(t->m, t->n, g->k, (const int8_t *const *)(rows + t->i), panel, sums.s, (size_t)nr);
    if (g->family == RLT_FAMILY_INT8) {
      finish_int8(g, t, sums.s, nr, c + at * (g->narrow ? sizeof(int8_t) : sizeof(int16_t)), c_stride);
    } else {
      finish_hybrid(g, t, sums.s, nr, weight_sums + t->gate * g->n + t->j, quant, (float *)(void *)c + at, c_stride);
    }
    return;
  }
  const float infinity = rlt_bits_f32(0x7f800000u);
  u->f32_gemm->run(t->m, t->n, g->k, (const float *const *)(rows + t->i), (const float *)(const void *)panel, sums.f,
                   (size_t)nr, -infinity, infinity);
  for (int32_t i = 0; i < t->m; i++)
    u->loops->add_f32(sums.f + i * nr, (float *)(void *)c + at + (size_t)i * c_stride, t->n);
}

void rlt_gates_add(const rlt_ukernels *u, const rlt_gates *g, const char *packed, int32_t m, const void *const *rows,
                   const rlt_row_quant *quant, void *c, size_t c_stride) {
  int32_t nr = panel_width(u, g), mr = g->family == RLT_FAMILY_FLOAT ? u->f32_gemm->mr : u->s8_gemm->mr;
  const int32_t *weight_sums = (const int32_t *)(const void *)(packed + sums_at(u, g));
  const char *panel = packed + g->at;
  tile t;
  for (t.gate = 0; t.gate < g->count; t.gate++) {
    for (t.j = 0; t.j < g->n; t.j += nr, panel += panel_stride(u, g)) {
      t.n = g->n - t.j < nr ? g->n - t.j : nr;
      for (t.i = 0; t.i < m; t.i += mr) {
        t.m = m - t.i < mr ? m - t.i : mr;
        add_tile(u, g, &t, panel, weight_sums, rows, quant, c, c_stride);
      }
    }
  }
}

/* ---- rows ---- */

static size_t row_bytes(int32_t k) { return ((size_t)k + 15) / 16 * 16; }

uint64_t rlt_step_rows_bytes(rlt_family family, int32_t rows, int32_t k) {
  uint64_t each = sizeof(void *) + (family == RLT_FAMILY_HYBRID ? sizeof(rlt_row_quant) + row_bytes(k) : 0);
  return rlt_align64((uint64_t)rows * each);
}

rlt_step_rows rlt_step_rows_in(void *scratch, int32_t rows, int32_t k) {
  rlt_step_rows r = {.at = scratch, .space_stride = row_bytes(k)};
  r.quant = (rlt_row_quant *)(void *)(r.at + rows);
  r.space = (int8_t *)(r.quant + rows);
  return r;
}

static int32_t round_away(double x) { return (int32_t)(x < 0.0 ? x - 0.5 : x + 0.5); }

/* Over the range of the values and 0, in float64 as LiteRT finds it. */
static rlt_row_quant quantize_asymmetric(const rlt_ukernels *u, const float *x, int32_t k, int8_t *out) {
  float most = u->loops->largest(x, k), least = u->loops->smallest(x, k);
  most = most < 0.0f ? 0.0f : most;
  least = least > 0.0f ? 0.0f : least;
  double scale = ((double)most - (double)least) / 255.0;
  if (!(scale > 0.0 && scale < 3.0e38)) { /* nothing but zeros, or values that are no numbers */
    __builtin_memset(out, 0, (size_t)k);
    return (rlt_row_quant){most == least ? 1.0f : (float)scale, 0};
  }
  double from_low = (double)least / scale, from_high = (double)most / scale;
  double zero = 128.0 - from_low < 127.0 + from_high ? -128.0 - from_low : 127.0 - from_high;
  rlt_row_quant quant = {(float)scale, zero <= -128.0 ? -128 : (zero >= 127.0 ? 127 : round_away(zero))};
  float inverse = 1.0f / quant.scale;
  for (int32_t i = 0; i < k; i++)
    out[i] = rlt_round_s8(rlt_clamp_f32((float)quant.zero + x[i] * inverse, -128.0f, 127.0f));
  return quant;
}

void rlt_gates_step(const rlt_ukernels *u, const rlt_gates *g, const char *packed, bool asymmetric, int32_t m,
                    const void *x, size_t stride, const rlt_step_rows *rows, void *c, size_t c_stride) {
  for (int32_t i = 0; i < m; i++) {
    const char *row = (const char *)x + (size_t)i * stride;
    rows->at[i] = row;
    if (g->family != RLT_FAMILY_HYBRID) continue;
    int8_t *to = rows->space + (size_t)i * rows->space_stride;
    const float *from = (const float *)(const void *)row;
    rows->quant[i] =
        asymmetric ? quantize_asymmetric(u, from, g->k, to) : rlt_quantize_symmetric(u, from, (uint64_t)g->k, to);
    rows->at[i] = to;
  }
  rlt_gates_add(u, g, packed, m, rows->at, rows->quant, c, c_stride);
}

/* ---- activations ---- */

rlt_status rlt_check_any_activation(rlt_prep *p, int32_t activation) {
  RLT_REQUIRE(p->err, activation >= RLT_ACT_NONE && activation <= RLT_ACT_SIGN_BIT, RLT_UNSUPPORTED,
              "fused activation %d is newer than this runtime", activation);
  return RLT_OK;
}

void rlt_activate(const rlt_ukernels *u, int32_t activation, const float *x, float *y, int64_t n) {
  switch (activation) {
    case RLT_ACT_RELU:
      u->loops->unary[RLT_LOOP_RELU](x, y, n, 0.0f);
      return;
    case RLT_ACT_RELU_N1_TO_1:
      u->loops->unary[RLT_LOOP_RELU_N1_TO_1](x, y, n, 0.0f);
      return;
    case RLT_ACT_RELU6:
      u->loops->unary[RLT_LOOP_RELU6](x, y, n, 0.0f);
      return;
    case RLT_ACT_TANH:
      u->loops->unary[RLT_LOOP_TANH](x, y, n, 0.0f);
      return;
    case RLT_ACT_SIGN_BIT:
      for (int64_t i = 0; i < n; i++) y[i] = (float)(rlt_f32_bits(x[i]) >> 31);
      return;
    default:
      rlt_copy(y, x, (uint64_t)n * sizeof(float));
  }
}

/* ---- checks ---- */

static rlt_status check_present(rlt_prep *p, const rlt_tensor *t, const char *what) {
  RLT_REQUIRE(p->err, t, RLT_BAD_MODEL, "its %s are missing", what);
  return RLT_OK;
}

rlt_status rlt_check_vector(rlt_prep *p, const rlt_tensor *t, const char *what, int32_t type, int32_t n) {
  RLT_TRY(check_present(p, t, what));
  RLT_REQUIRE(p->err, t->type == type, RLT_UNSUPPORTED, "%s %T must be %t here", what, t, type);
  RLT_REQUIRE(p->err, t->rank == 1 && t->dims[0] == n, RLT_BAD_MODEL, "%s %T must have %d values", what, t, n);
  return RLT_OK;
}

rlt_status rlt_check_symmetric(rlt_prep *p, const rlt_tensor *t) {
  RLT_REQUIRE(p->err, t->type == RLT_TYPE_INT8 || t->type == RLT_TYPE_UINT8, RLT_UNSUPPORTED, "%T must be INT8 here",
              t);
  RLT_TRY(rlt_require_quantized(p, t));
  RLT_REQUIRE(p->err, rlt_zero_point(t, 0) == 0, RLT_UNSUPPORTED,
              "%T has zero point %d; only symmetric weights (0) are supported", t, rlt_zero_point(t, 0));
  return RLT_OK;
}

rlt_status rlt_check_gate_weights(rlt_prep *p, const rlt_tensor *t, const char *what, rlt_family family, int32_t n,
                                  int32_t k) {
  RLT_TRY(check_present(p, t, what));
  RLT_REQUIRE(p->err, t->rank == 2 && t->dims[0] == n && t->dims[1] == k, RLT_BAD_MODEL, "%s %T must be [%d,%d]", what,
              t, n, k);
  RLT_REQUIRE(p->err, n > 0 && k > 0, RLT_BAD_MODEL, "%s %T are empty", what, t);
  if (family != RLT_FAMILY_FLOAT) return rlt_check_symmetric(p, t);
  return rlt_check_type(p, t, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32, as its other weights are,");
}

rlt_status rlt_check_state(rlt_prep *p, const rlt_tensor *t, const char *what, int32_t type, uint64_t count) {
  RLT_TRY(check_present(p, t, what));
  RLT_REQUIRE(p->err, t->type == type, RLT_UNSUPPORTED, "%s %T must be %t here", what, t, type);
  RLT_REQUIRE(p->err, t->def->is_variable, RLT_BAD_MODEL, "%s %T must be a variable tensor", what, t);
  RLT_REQUIRE(p->err, t->count == count, RLT_BAD_MODEL,
              "%s %T must have %u values, as many as the batch has; the batch of a recurrent layer is fixed when the "
              "model is converted",
              what, t, count);
  return RLT_OK;
}

rlt_status rlt_check_family(rlt_prep *p, const rlt_tensor *x, const rlt_tensor *weights, rlt_family *family) {
  bool bytes = weights->type == RLT_TYPE_INT8 || weights->type == RLT_TYPE_UINT8;
  if (x->type == RLT_TYPE_FLOAT32 && weights->type == RLT_TYPE_FLOAT32) {
    *family = RLT_FAMILY_FLOAT;
  } else if (x->type == RLT_TYPE_FLOAT32 && bytes) {
    *family = RLT_FAMILY_HYBRID;
  } else if (x->type == RLT_TYPE_INT8 && weights->type == RLT_TYPE_INT8) {
    *family = RLT_FAMILY_INT8;
  } else {
    return rlt_fail(p->err, RLT_UNSUPPORTED,
                    "%T with weights %T: supported are FLOAT32 with FLOAT32 or INT8 weights, and INT8 with INT8", x,
                    weights);
  }
  return RLT_OK;
}
