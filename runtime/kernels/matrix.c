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
/* Weights of no more bytes than this stay in there too. */
#define WEIGHTS_KEPT 524288
/* Where rows stream by every panel of weights instead, so many bytes of them do at a time. */
#define STREAM_ROW_BYTES 2097152

static uint64_t align64(uint64_t x) { return (x + 63) & ~(uint64_t)63; }
static int32_t ceil_div(int64_t a, int64_t b) { return (int32_t)((a + b - 1) / b); }

uint64_t rlt_saturating_product(uint64_t a, uint64_t b) { return b > 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b; }

/* ---- plan ---- */

uint64_t rlt_panel_bytes(const rlt_ukernels *u, rlt_family family, int32_t k) {
  if (family == RLT_FAMILY_FLOAT) return (uint64_t)u->f32_gemm->nr * ((uint64_t)k + 1) * sizeof(float);
  uint64_t kr = (uint64_t)u->s8_gemm->kr, depth = ((uint64_t)k + kr - 1) / kr * kr;
  return (uint64_t)u->s8_gemm->nr * (depth + 2 * sizeof(int32_t));
}

/* How many mr rows a tile has, so that they take about `bytes` and there are `wanted` tiles. */
static int64_t blocks_of(const rlt_matrix *m, int64_t bytes, int32_t wanted) {
  int64_t row_macs = (int64_t)m->k * m->n * m->groups, row_bytes = m->space_stride ? (int64_t)m->space_stride : 1;
  int64_t in_cache = bytes / row_bytes / m->mr;
  int64_t worth = TILE_MACS / (row_macs > 0 ? row_macs : 1) / m->mr + 1;
  int64_t share = ceil_div(ceil_div(m->rows, wanted), m->mr);
  int64_t blocks = share > worth ? share : worth;
  if (blocks > in_cache) blocks = in_cache;
  return blocks < 1 ? 1 : blocks;
}

/* Whether less is read where weights stay and all rows stream by each panel, than where the rows of a tile stay and
 * all weights stream by: long rows fill the cache, and then few of them share what weights are read. Weights of one
 * byte gain nothing by it: they are a quarter as much, and come best in one long stream. */
static bool streams_rows(const rlt_matrix *m, int64_t blocks) {
  uint64_t panels = (uint64_t)m->panels, weights = panels * m->panel_bytes;
  if (m->w.family != RLT_FAMILY_FLOAT || m->builds_rows || m->groups > 1 || weights <= WEIGHTS_KEPT) return false;
  uint64_t passes = (uint64_t)ceil_div(m->rows, blocks * m->mr), rows = (uint64_t)m->rows;
  return rlt_saturating_product(rlt_saturating_product(rows, m->space_stride), panels) <
         rlt_saturating_product(weights, passes > 0 ? passes - 1 : 0);
}

static void plan_tiles(rlt_node *n, rlt_matrix *m) {
  int32_t mr = m->mr;
  int64_t blocks = blocks_of(m, TILE_ROW_BYTES, TILES_WANTED);
  if (streams_rows(m, blocks)) blocks = blocks_of(m, STREAM_ROW_BYTES, ceil_div(TILES_WANTED, m->panels));
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

/* Whether the products of UINT8 can be finished as those of INT8: what the weights' zero point takes away is then the
 * same in all columns of a row. */
static bool finishes_bytes(const rlt_node *n, const rlt_weighted *w) {
  if (n->in[0]->type != RLT_TYPE_UINT8 || w->family != RLT_FAMILY_FIXED || w->fixed.rounding != RLT_ROUND_EVEN)
    return false;
  const rlt_tensor *weights = n->in[1];
  for (uint32_t c = 1; c < weights->def->quant.zeros.count; c++)
    if (rlt_zero_point(weights, (int32_t)c) != rlt_zero_point(weights, 0)) return false;
  return true;
}

void rlt_matrix_plan(const rlt_prep *p, rlt_node *n, rlt_matrix *m) {
  const rlt_ukernels *u = p->u;
  bool is_float = m->w.family == RLT_FAMILY_FLOAT;
  m->is_unsigned = finishes_bytes(n, &m->w);
  bool hybrid = m->w.family == RLT_FAMILY_HYBRID, fixed = m->w.family == RLT_FAMILY_FIXED && !m->is_unsigned;
  uint64_t channels = (uint64_t)m->n * (uint64_t)m->groups;
  uint64_t column = hybrid ? 3 * sizeof(float) : (fixed ? sizeof(rlt_column) : 0);
  m->planes = n->in[0]->type == RLT_TYPE_INT16 ? 2 : 1;
  if (m->is_unsigned) {
    const rlt_fixed *f = &m->w.fixed;
    m->w.q = (rlt_requant){.zero = f->zero, .lo = f->lo, .hi = f->hi, .is_unsigned = true};
    m->weight_zero = rlt_weight_zero(n->in[1], 0);
    m->zero_sum = (int32_t)((uint32_t)m->k * (uint32_t)(rlt_zero_point(n->in[0], 0) - 128));
  }
  m->mr = is_float ? u->f32_gemm->mr : u->s8_gemm->mr;
  m->nr = is_float ? u->f32_gemm->nr : u->s8_gemm->nr;
  m->panels = ceil_div(m->n, m->nr);
  m->panel_bytes = rlt_panel_bytes(u, m->w.family, m->k);
  m->at_columns = align64((uint64_t)m->panels * (uint64_t)m->groups * m->panel_bytes);
  m->pack_bytes = m->at_columns + align64(column * channels);
  m->space_stride = is_float ? (uint64_t)m->k * sizeof(float) : ((uint64_t)m->k + 15) / 16 * 16 * (uint64_t)m->planes;
  const rlt_tensor *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  m->pack_at_run = !n->in[1]->is_const || (bias && !bias->is_const);
  plan_tiles(n, m);

  uint64_t block = (uint64_t)m->row_block, at = m->pack_at_run ? m->pack_bytes : 0;
  uint64_t planes = (uint64_t)m->planes, tile = (uint64_t)m->mr * (uint64_t)m->nr * sizeof(int32_t);
  m->at_pointers = at, at += align64(block * planes * sizeof(void *));
  m->at_quant = at, at += hybrid ? align64(block * sizeof(rlt_row_quant)) : 0;
  m->at_row_sums = at, at += n->in[0]->type == RLT_TYPE_UINT8 ? align64(block * sizeof(int32_t)) : 0;
  m->at_space = at, at += m->builds_rows ? align64(block * m->space_stride) : 0;
  m->at_sums = at, at += hybrid || fixed ? align64(planes * tile) : 0;
  m->at_extra = at, at += align64(m->extra_bytes);
  n->scratch_bytes = at;
  n->packed_bytes = m->pack_at_run ? 0 : m->pack_bytes;
  n->packed_inputs = m->pack_at_run ? 0 : RLT_INPUT_BIT(1) | RLT_INPUT_BIT(2);
  n->macs = rlt_saturating_product((uint64_t)m->rows, channels * (uint64_t)m->k);
  n->loop = is_float ? u->f32_gemm->name : u->s8_gemm->name;
}

/* ---- packing ---- */

void rlt_pack_f32_weights(rlt_weights w, uint64_t first, const float *bias, int32_t k, int32_t columns, int32_t nr,
                          float *dst) {
  for (int32_t j = 0; j < nr; j++) dst[j] = bias && j < columns ? bias[j] : 0.0f;
  dst += nr;
  for (int32_t x = 0; x < k; x++, dst += nr)
    for (int32_t j = 0; j < nr; j++)
      dst[j] = j < columns ? rlt_weight_f32(w, first + (uint64_t)j * (uint64_t)k + (uint64_t)x) : 0.0f;
}

void rlt_pack_f32_panel(const float *w, const float *bias, int32_t k, int32_t columns, int32_t nr, float *dst) {
  rlt_pack_f32_weights((rlt_weights){w, RLT_TYPE_FLOAT32}, 0, bias, k, columns, nr, dst);
}

void rlt_pack_f32_columns(const rlt_ukernels *u, const float *y, bool transposed, int32_t columns, int32_t depth,
                          int32_t j, float *to) {
  size_t nr = (size_t)u->f32_gemm->nr, width = (size_t)columns, count = width - (size_t)j < nr ? width - (size_t)j : nr;
  for (size_t i = 0; i < nr; i++) to[i] = 0.0f;
  to += nr;
  if (transposed) {
    u->rows->transpose(y + (size_t)j * (size_t)depth, (size_t)depth, to, nr, count, (size_t)depth, sizeof(float));
  }
  for (int32_t k = 0; k < depth; k++, to += nr) {
    if (!transposed) __builtin_memcpy(to, y + (size_t)k * width + (size_t)j, count * sizeof(float));
    for (size_t i = count; i < nr; i++) to[i] = 0.0f;
  }
}

static int32_t sum_weights(rlt_weights w, uint64_t first, int32_t k) {
  if (w.type == RLT_TYPE_INT8) return rlt_sum_s8((const int8_t *)w.data + first, k);
  int64_t sum = 0;
  for (int32_t x = 0; x < k; x++) sum += rlt_weight_s8(w, first + (uint64_t)x);
  return (int32_t)sum;
}

void rlt_pack_s8_weights(const rlt_s8_gemm *g, rlt_weights w, uint64_t first, const int32_t *bias, const float *scale,
                         int32_t offset, int32_t k, int32_t columns, void *dst) {
  int32_t *sums = dst;
  float *scales = (float *)dst + g->nr;
  int8_t *out = (int8_t *)(scales + g->nr);
  for (int32_t j = 0; j < g->nr; j++) {
    bool inside = j < columns;
    uint32_t sum = inside ? (uint32_t)sum_weights(w, first + (uint64_t)j * (uint64_t)k, k) : 0;
    sums[j] = (int32_t)((inside && bias ? (uint32_t)bias[j] : 0) - (uint32_t)offset * sum);
    scales[j] = inside && scale ? scale[j] : 0.0f;
  }
  int32_t whole = w.type == RLT_TYPE_INT8 ? rlt_pack_s8_groups(g, (const int8_t *)w.data + first, k, columns, out) : 0;
  out += (size_t)whole * (size_t)g->nr;
  for (int32_t x = whole; x < k; x += g->kr)
    for (int32_t j = 0; j < g->nr; j++)
      for (int32_t i = x; i < x + g->kr; i++)
        *out++ = j < columns && i < k ? rlt_weight_s8(w, first + (uint64_t)j * (uint64_t)k + (uint64_t)i) : (int8_t)0;
}

void rlt_pack_s8_panel(const rlt_s8_gemm *g, const int8_t *w, const int32_t *bias, const float *scale, int32_t offset,
                       int32_t k, int32_t columns, void *dst) {
  rlt_pack_s8_weights(g, (rlt_weights){w, RLT_TYPE_INT8}, 0, bias, scale, offset, k, columns, dst);
}

/* What the float epilogue needs per column: sum of weights, scale, bias. */
static void pack_columns(const rlt_node *n, const rlt_matrix *m, void *dst) {
  int32_t channels = m->n * m->groups;
  rlt_weights w = rlt_weights_of(n->in[1]);
  const float *bias = n->def->n_inputs > 2 && n->in[2] ? n->in[2]->data : NULL;
  int32_t *sums = dst;
  float *scales = (float *)dst + channels, *biases = scales + channels;
  for (int32_t c = 0; c < channels; c++) {
    sums[c] = sum_weights(w, (uint64_t)c * (uint64_t)m->k, m->k);
    scales[c] = rlt_scale(n->in[1], n->in[1]->def->quant.n > 1 ? c : 0);
    biases[c] = bias ? bias[c] : 0.0f;
  }
}

/* What the integer epilogue needs per column; base is all that does not depend on the row. */
static void pack_fixed_columns(const rlt_node *n, const rlt_matrix *m, rlt_column *dst) {
  rlt_weights w = rlt_weights_of(n->in[1]);
  const rlt_tensor *x = n->in[0], *bias = n->def->n_inputs > 2 ? n->in[2] : NULL;
  int64_t zero = rlt_zero_point(x, 0);
  if (x->type == RLT_TYPE_UINT8) zero -= 128;
  if (x->type == RLT_TYPE_INT16) zero -= 128; /* of the low half */
  for (int32_t c = 0; c < m->n * m->groups; c++) {
    rlt_fixed_column(n, &m->w.fixed, c, &dst[c]);
    int64_t sum = sum_weights(w, (uint64_t)c * (uint64_t)m->k, m->k);
    dst[c].base = rlt_bias_at(bias, c) - zero * (sum - (int64_t)m->k * dst[c].weight_zero);
  }
}

void rlt_matrix_pack(const rlt_ukernels *u, const rlt_node *n, const rlt_matrix *m, void *dst) {
  bool is_float = m->w.family == RLT_FAMILY_FLOAT, to_bytes = m->w.family == RLT_FAMILY_INT8 || m->is_unsigned;
  int32_t zero = to_bytes ? rlt_zero_point(n->in[0], 0) - (m->is_unsigned ? 128 : 0) : 0;
  int32_t nr = m->nr;
  rlt_weights w = rlt_weights_of(n->in[1]);
  const char *bias = n->def->n_inputs > 2 && n->in[2] ? n->in[2]->data : NULL;
  char *to = dst;
  for (int32_t g = 0; g < m->groups; g++)
    for (int32_t j = 0; j < m->n; j += nr, to += m->panel_bytes) {
      int32_t columns = m->n - j < nr ? m->n - j : nr, c = g * m->n + j;
      uint64_t from = (uint64_t)c * (uint64_t)m->k;
      const void *b = bias && (is_float || to_bytes) ? bias + (uint64_t)c * 4 : NULL;
      int32_t low[RLT_MAX_NR];
      if (b && n->in[2]->type == RLT_TYPE_INT64) {
        for (int32_t i = 0; i < columns; i++) low[i] = (int32_t)rlt_bias_at(n->in[2], c + i);
        b = low;
      }
      float scale[RLT_MAX_NR];
      for (int32_t i = 0; i < columns; i++) scale[i] = to_bytes ? rlt_requant_scale(n, c + i) : 1.0f;
      if (is_float) {
        rlt_pack_f32_weights(w, from, b, m->k, columns, nr, (float *)(void *)to);
      } else {
        rlt_pack_s8_weights(u->s8_gemm, w, from, b, scale, u->s8_gemm->a_offset + zero, m->k, columns, to);
      }
    }
  void *columns = (char *)dst + m->at_columns;
  if (m->w.family == RLT_FAMILY_HYBRID) pack_columns(n, m, columns);
  if (m->w.family == RLT_FAMILY_FIXED && !m->is_unsigned) pack_fixed_columns(n, m, columns);
}
