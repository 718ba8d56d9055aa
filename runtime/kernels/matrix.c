/* SPDX-License-Identifier: Apache-2.0 */
#include "matrix.h"
#include "common.h"
#include "quantize_math.h"

/* A tile is worth handing to a thread from about this many multiply-accumulates on. */
#define TILE_MACS 262144
/* Tiles to aim for, so that any usual number of threads shares them well. */
#define TILES_WANTED 16
/* The rows of a tile stay in this much of the second-level cache while the weights stream by. */
#define TILE_ROW_BYTES 131072

static uint64_t align64(uint64_t x) { return (x + 63) & ~(uint64_t)63; }
static int32_t ceil_div(int64_t a, int64_t b) { return (int32_t)((a + b - 1) / b); }

/* ---- checks ---- */

static rlt_status check_weight_scales(rlt_prep *p, const rlt_tensor *weights, int32_t axis, int32_t channels) {
  const rlt_quant *q = &weights->def->quant;
  RLT_REQUIRE(p->err, q->n == 1 || (q->n == channels && q->axis == axis), RLT_BAD_MODEL,
              "%T has %d scales along axis %d; wanted 1, or %d along axis %d", weights, q->n, q->axis, channels, axis);
  for (int32_t i = 0; i < q->n && q->zeros.count; i++) {
    int32_t zero = rlt_zero_point(weights, q->zeros.count == 1 ? 0 : i);
    RLT_REQUIRE(p->err, zero == 0, RLT_UNSUPPORTED,
                "int8 weights %T have zero point %d; only symmetric weights (0) are supported", weights, zero);
  }
  return RLT_OK;
}

static rlt_status check_requant_scales(rlt_prep *p, const rlt_node *n) {
  for (int32_t i = 0; i < n->in[1]->def->quant.n; i++) {
    float scale = rlt_requant_scale(n, i);
    RLT_REQUIRE(p->err, scale > 0.0f && scale < 3.0e38f, RLT_BAD_MODEL,
                "scales of %T, %T and %T give no finite factor for output channel %d", n->in[0], n->in[1], n->out[0],
                i);
  }
  return RLT_OK;
}

static rlt_status check_bias(rlt_prep *p, const rlt_node *n, int32_t type, int32_t channels) {
  const rlt_tensor *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  if (!bias) return RLT_OK;
  RLT_REQUIRE(p->err, bias->type == type, RLT_UNSUPPORTED, "bias %T must be %t here", bias, type);
  RLT_REQUIRE(p->err, bias->count == (uint64_t)channels, RLT_BAD_MODEL, "bias %T must have %d values", bias, channels);
  return RLT_OK;
}

uint64_t rlt_saturating_product(uint64_t a, uint64_t b) { return b > 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b; }

rlt_status rlt_check_weighted(rlt_prep *p, const rlt_node *n, int32_t axis, int32_t channels, int32_t activation,
                              rlt_weighted *w) {
  const rlt_tensor *x = n->in[0], *weights = n->in[1], *out = n->out[0];
  RLT_REQUIRE(p->err, x->type == out->type, RLT_UNSUPPORTED, "%T and %T must have the same type", x, out);
  if (x->type == RLT_TYPE_FLOAT32 && weights->type == RLT_TYPE_FLOAT32) {
    w->family = RLT_FAMILY_FLOAT;
  } else if (x->type == RLT_TYPE_FLOAT32 && weights->type == RLT_TYPE_INT8) {
    w->family = RLT_FAMILY_HYBRID;
    RLT_TRY(check_weight_scales(p, weights, axis, channels));
  } else if (x->type == RLT_TYPE_INT8 && weights->type == RLT_TYPE_INT8) {
    w->family = RLT_FAMILY_INT8;
    RLT_TRY(check_weight_scales(p, weights, axis, channels));
    RLT_TRY(rlt_require_quantized(p, x));
    RLT_TRY(rlt_require_quantized(p, out));
    RLT_TRY(check_requant_scales(p, n));
    w->q.zero = rlt_zero_point(out, 0);
    RLT_TRY(rlt_activation_quantized(p, activation, out, &w->q.lo, &w->q.hi));
    return check_bias(p, n, RLT_TYPE_INT32, channels);
  } else {
    return rlt_fail(p->err, RLT_UNSUPPORTED,
                    "%T with weights %T: supported are FLOAT32 with FLOAT32 or INT8 weights, and INT8 with INT8", x,
                    weights);
  }
  RLT_TRY(rlt_activation_f32(p, activation, &w->lo, &w->hi));
  return check_bias(p, n, RLT_TYPE_FLOAT32, channels);
}

float rlt_requant_scale(const rlt_node *n, int32_t channel) {
  const rlt_tensor *weights = n->in[1];
  float scale = rlt_scale(weights, weights->def->quant.n > 1 ? channel : 0);
  return rlt_scale(n->in[0], 0) * scale / rlt_scale(n->out[0], 0);
}

/* ---- plan ---- */

uint64_t rlt_panel_bytes(const rlt_ukernels *u, rlt_family family, int32_t k) {
  if (family == RLT_FAMILY_FLOAT) return (uint64_t)u->f32_gemm->nr * ((uint64_t)k + 1) * sizeof(float);
  uint64_t kr = (uint64_t)u->s8_gemm->kr, depth = ((uint64_t)k + kr - 1) / kr * kr;
  return (uint64_t)u->s8_gemm->nr * (depth + 2 * sizeof(int32_t));
}

static void plan_tiles(rlt_node *n, rlt_matrix *m) {
  int32_t mr = m->mr;
  int64_t row_macs = (int64_t)m->k * m->n * m->groups;
  int64_t in_cache = TILE_ROW_BYTES / (int64_t)(m->space_stride ? m->space_stride : 1) / mr;
  int64_t worth = TILE_MACS / (row_macs > 0 ? row_macs : 1) / mr + 1;
  int64_t share = ceil_div(ceil_div(m->rows, TILES_WANTED), mr);
  int64_t blocks = share > worth ? share : worth;
  if (blocks > in_cache) blocks = in_cache;
  if (blocks < 1) blocks = 1;
  m->row_block = (int32_t)(blocks * mr < m->rows ? blocks * mr : (m->rows > 0 ? m->rows : 1));
  int32_t row_tiles = ceil_div(m->rows, m->row_block), panels = m->panels;
  m->col_block = panels > 0 ? panels : 1;
  m->col_tiles = 1;
  if (m->groups == 1 && row_tiles < TILES_WANTED && panels > 1) {
    int64_t panel_macs = (int64_t)m->row_block * m->k * m->nr;
    int64_t least = TILE_MACS / (panel_macs > 0 ? panel_macs : 1) + 1;
    int64_t wanted = ceil_div((int64_t)panels * (row_tiles > 0 ? row_tiles : 1), TILES_WANTED);
    int64_t each = least > wanted ? least : wanted;
    m->col_block = (int32_t)(each < panels ? each : panels);
    m->col_tiles = ceil_div(panels, m->col_block);
  }
  n->tiles = m->pack_at_run || row_tiles == 0 ? 1 : row_tiles * m->col_tiles;
}

void rlt_matrix_plan(const rlt_prep *p, rlt_node *n, rlt_matrix *m) {
  const rlt_ukernels *u = p->u;
  bool is_float = m->w.family == RLT_FAMILY_FLOAT;
  bool hybrid = m->w.family == RLT_FAMILY_HYBRID;
  uint64_t channels = (uint64_t)m->n * (uint64_t)m->groups;
  m->mr = is_float ? u->f32_gemm->mr : u->s8_gemm->mr;
  m->nr = is_float ? u->f32_gemm->nr : u->s8_gemm->nr;
  m->panels = ceil_div(m->n, m->nr);
  m->panel_bytes = rlt_panel_bytes(u, m->w.family, m->k);
  m->at_columns = align64((uint64_t)m->panels * (uint64_t)m->groups * m->panel_bytes);
  m->pack_bytes = m->at_columns + (hybrid ? align64(3 * sizeof(float) * channels) : 0);
  m->space_stride = is_float ? (uint64_t)m->k * sizeof(float) : ((uint64_t)m->k + 15) / 16 * 16;
  const rlt_tensor *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  m->pack_at_run = !n->in[1]->is_const || (bias && !bias->is_const);
  plan_tiles(n, m);

  uint64_t block = (uint64_t)m->row_block, at = m->pack_at_run ? m->pack_bytes : 0;
  m->at_pointers = at, at += align64(block * sizeof(void *));
  m->at_quant = at, at += hybrid ? align64(block * sizeof(rlt_row_quant)) : 0;
  m->at_space = at, at += m->builds_rows ? align64(block * m->space_stride) : 0;
  m->at_sums = at, at += hybrid ? align64((uint64_t)m->mr * (uint64_t)m->nr * sizeof(int32_t)) : 0;
  m->at_extra = at, at += align64(m->extra_bytes);
  n->scratch_bytes = at;
  n->packed_bytes = m->pack_at_run ? 0 : m->pack_bytes;
  n->packed_inputs = m->pack_at_run ? 0 : RLT_INPUT_BIT(1) | RLT_INPUT_BIT(2);
  n->macs = rlt_saturating_product((uint64_t)m->rows, channels * (uint64_t)m->k);
  n->loop = is_float ? u->f32_gemm->name : u->s8_gemm->name;
}

/* ---- packing ---- */

void rlt_pack_f32_panel(const float *w, const float *bias, int32_t k, int32_t columns, int32_t nr, float *dst) {
  for (int32_t j = 0; j < nr; j++) dst[j] = bias && j < columns ? bias[j] : 0.0f;
  dst += nr;
  for (int32_t x = 0; x < k; x++, dst += nr)
    for (int32_t j = 0; j < nr; j++) dst[j] = j < columns ? w[(size_t)j * (size_t)k + (size_t)x] : 0.0f;
}

int32_t rlt_sum_s8(const int8_t *w, int32_t k) {
  int64_t sum = 0;
  for (int32_t x = 0; x < k; x++) sum += w[x];
  return (int32_t)sum;
}

void rlt_pack_s8_panel(const rlt_s8_gemm *g, const int8_t *w, const int32_t *bias, const float *scale, int32_t offset,
                       int32_t k, int32_t columns, void *dst) {
  int32_t *sums = dst;
  float *scales = (float *)dst + g->nr;
  int8_t *out = (int8_t *)(scales + g->nr);
  for (int32_t j = 0; j < g->nr; j++) {
    bool inside = j < columns;
    uint32_t sum = inside ? (uint32_t)rlt_sum_s8(w + (size_t)j * (size_t)k, k) : 0;
    sums[j] = (int32_t)((inside && bias ? (uint32_t)bias[j] : 0) - (uint32_t)offset * sum);
    scales[j] = inside && scale ? scale[j] : 0.0f;
  }
  for (int32_t x = 0; x < k; x += g->kr)
    for (int32_t j = 0; j < g->nr; j++)
      for (int32_t i = x; i < x + g->kr; i++)
        *out++ = j < columns && i < k ? w[(size_t)j * (size_t)k + (size_t)i] : (int8_t)0;
}

/* What the float epilogue needs per column: sum of weights, scale, bias. */
static void pack_columns(const rlt_node *n, const rlt_matrix *m, void *dst) {
  int32_t channels = m->n * m->groups;
  const int8_t *w = n->in[1]->data;
  const float *bias = n->def->n_inputs > 2 && n->in[2] ? n->in[2]->data : NULL;
  int32_t *sums = dst;
  float *scales = (float *)dst + channels, *biases = scales + channels;
  for (int32_t c = 0; c < channels; c++) {
    sums[c] = rlt_sum_s8(w + (size_t)c * (size_t)m->k, m->k);
    scales[c] = rlt_scale(n->in[1], n->in[1]->def->quant.n > 1 ? c : 0);
    biases[c] = bias ? bias[c] : 0.0f;
  }
}

void rlt_matrix_pack(const rlt_ukernels *u, const rlt_node *n, const rlt_matrix *m, void *dst) {
  bool is_float = m->w.family == RLT_FAMILY_FLOAT, is_int8 = m->w.family == RLT_FAMILY_INT8;
  int32_t nr = m->nr;
  const char *w = n->in[1]->data;
  const char *bias = n->def->n_inputs > 2 && n->in[2] ? n->in[2]->data : NULL;
  uint64_t element = is_float ? sizeof(float) : 1;
  char *to = dst;
  for (int32_t g = 0; g < m->groups; g++)
    for (int32_t j = 0; j < m->n; j += nr, to += m->panel_bytes) {
      int32_t columns = m->n - j < nr ? m->n - j : nr, c = g * m->n + j;
      const void *from = w + (uint64_t)c * (uint64_t)m->k * element;
      const void *b = bias && (is_float || is_int8) ? bias + (uint64_t)c * 4 : NULL;
      float scale[RLT_MAX_NR];
      for (int32_t i = 0; i < columns; i++) scale[i] = is_int8 ? rlt_requant_scale(n, c + i) : 1.0f;
      if (is_float) {
        rlt_pack_f32_panel(from, b, m->k, columns, nr, (float *)(void *)to);
      } else {
        int32_t offset = u->s8_gemm->a_offset + (is_int8 ? rlt_zero_point(n->in[0], 0) : 0);
        rlt_pack_s8_panel(u->s8_gemm, from, b, scale, offset, m->k, columns, to);
      }
    }
  if (m->w.family == RLT_FAMILY_HYBRID) pack_columns(n, m, (char *)dst + m->at_columns);
}
