/* SPDX-License-Identifier: Apache-2.0
 * The run half of matrix.h. */
#include "common.h"
#include "matrix.h"
#include "quantize_math.h"

/* A tile's part of the product: rows of one group against panels [panel, panel_end). */
typedef struct block {
  const rlt_ukernels *u;
  const rlt_matrix *m;
  const char *packed;
  const rlt_rows *rows;
  const rlt_node *node;
  int32_t *sums; /* HYBRID, FIXED: one micro-tile of int32, INT16: two */
  int32_t group, row, count;
  int32_t panel, panel_end;
  void *out;
} block;

/* The float epilogue: sums of int8 products back to real numbers. */
static void finish_hybrid(const block *b, int32_t i0, int32_t m, int32_t c0, int32_t n) {
  const void *columns = b->packed + b->m->at_columns;
  int32_t channels = b->m->n * b->m->groups;
  const int32_t *weight_sums = (const int32_t *)columns + c0;
  const float *scales = (const float *)columns + channels + c0, *biases = scales + channels;
  for (int32_t i = 0; i < m; i++) {
    rlt_row_quant q = b->rows->quant[i0 + i];
    float *out = (float *)b->out + (size_t)(b->row + i0 + i) * (size_t)channels + (size_t)c0;
    b->u->rows->from_sums(b->sums + i * b->m->nr, n, q.zero, q.scale, weight_sums, scales, biases, b->m->w.lo,
                          b->m->w.hi, out);
  }
}

/* The integer epilogue. */
static void finish_fixed(const block *b, int32_t i0, int32_t m, int32_t c0, int32_t n) {
  const rlt_matrix *k = b->m;
  const rlt_column *columns = (const rlt_column *)(const void *)(b->packed + k->at_columns) + c0;
  int32_t channels = k->n * k->groups, type = b->node->out[0]->type;
  bool is_wide = rlt_fixed_is_wide(&k->w.fixed), is_uint8 = type == RLT_TYPE_UINT8;
  const int32_t *low = b->sums + (size_t)k->mr * (size_t)k->nr;
  for (int32_t i = 0; i < m; i++) {
    size_t at = (size_t)(b->row + i0 + i) * (size_t)channels + (size_t)c0;
    int64_t row_sum = is_uint8 ? b->rows->sums[i0 + i] : 0;
    for (int32_t j = 0; j < n; j++) {
      int64_t sum = b->sums[i * k->nr + j];
      if (k->planes == 2) sum = sum * 256 + low[i * k->nr + j];
      sum += columns[j].base - row_sum * columns[j].weight_zero;
      if (!is_wide) sum = (int32_t)(uint32_t)sum;
      rlt_store_fixed(type, b->out, at + (size_t)j, rlt_fixed_value(&k->w.fixed, &columns[j], sum));
    }
  }
}

static void run_micro(const block *b, const char *panel, int32_t p, int32_t i, int32_t step) {
  const rlt_matrix *m = b->m;
  bool is_float = m->w.family == RLT_FAMILY_FLOAT;
  int32_t nr = m->nr, channels = m->n * m->groups, column = p * nr, c = b->group * m->n + column;
  int32_t columns = m->n - column < nr ? m->n - column : nr;
  const void *const *rows = (const void *const *)b->rows->at + i;
  size_t at = (size_t)(b->row + i) * (size_t)channels + (size_t)c;
  if (is_float) {
    b->u->f32_gemm->run(step, columns, m->k, (const float *const *)rows, (const float *)(const void *)panel,
                        (float *)b->out + at, (size_t)channels, m->w.lo, m->w.hi);
  } else if (m->w.family == RLT_FAMILY_INT8 || m->is_unsigned) {
    rlt_requant q = m->w.q;
    q.rows = m->is_unsigned ? b->rows->sums + i : NULL;
    b->u->s8_gemm->run(step, columns, m->k, (const int8_t *const *)rows, panel, (int8_t *)b->out + at, (size_t)channels,
                       &q);
  } else {
    b->u->s8_gemm->run_s32(step, columns, m->k, (const int8_t *const *)rows, panel, b->sums, (size_t)nr);
    if (m->planes == 2)
      b->u->s8_gemm->run_s32(step, columns, m->k, (const int8_t *const *)rows + m->row_block, panel,
                             b->sums + (size_t)m->mr * (size_t)nr, (size_t)nr);
    if (m->w.family == RLT_FAMILY_HYBRID) finish_hybrid(b, i, step, c, columns);
    else finish_fixed(b, i, step, c, columns);
  }
}

static void multiply(const block *b) {
  const rlt_matrix *m = b->m;
  /* rows are shared out evenly: 12 + 12 + 11 + 11 rather than 14 + 14 + 14 + 4, which would starve the last */
  int32_t chunks = (b->count + m->mr - 1) / m->mr;
  for (int32_t p = b->panel; p < b->panel_end; p++) {
    const char *panel = b->packed + ((uint64_t)b->group * (uint64_t)m->panels + (uint64_t)p) * m->panel_bytes;
    for (int32_t chunk = 0, i = 0; chunk < chunks; chunk++) {
      int32_t step = b->count / chunks + (chunk < b->count % chunks);
      run_micro(b, panel, p, i, step);
      i += step;
    }
  }
}

void rlt_matrix_run(const rlt_run *r, const rlt_node *n, const rlt_matrix *m, rlt_fill_rows fill, int32_t first,
                    int32_t last) {
  char *scratch = r->scratch;
  const char *packed = n->packed;
  if (m->pack_at_run) {
    rlt_matrix_pack(r->u, n, m, scratch);
    packed = scratch;
    first = 0, last = (m->rows + m->row_block - 1) / m->row_block * m->col_tiles;
  }
  rlt_rows rows = {(const void **)(void *)(scratch + m->at_pointers),
                   scratch + m->at_space,
                   (rlt_row_quant *)(void *)(scratch + m->at_quant),
                   (int32_t *)(void *)(scratch + m->at_row_sums),
                   scratch + m->at_extra,
                   r->u};
  block b = {.u = r->u, .m = m, .packed = packed, .rows = &rows, .node = n, .out = n->out[0]->data};
  b.sums = (int32_t *)(void *)(scratch + m->at_sums);
  int32_t filled = -1;
  for (int32_t tile = first; tile < last && m->rows > 0; tile++) {
    int32_t row_tile = tile / m->col_tiles, col_tile = tile % m->col_tiles;
    b.row = row_tile * m->row_block;
    b.count = m->rows - b.row < m->row_block ? m->rows - b.row : m->row_block;
    b.panel = col_tile * m->col_block;
    b.panel_end = b.panel + m->col_block < m->panels ? b.panel + m->col_block : m->panels;
    for (b.group = 0; b.group < m->groups; b.group++) {
      if (m->groups > 1 || filled != row_tile) fill(n, b.group, b.row, b.count, filled < 0, &rows);
      filled = row_tile;
      multiply(&b);
    }
  }
}

/* ---- computed weights are packed in every run ---- */

int32_t rlt_sum_s8(const int8_t *w, int32_t k) {
  uint32_t total = 0;
  for (int32_t x = 0; x < k; x++) {
    int32_t value = w[x];
    total += (uint32_t)value;
  }
  return (int32_t)total;
}

/* KR is the loop's kr. */
static inline __attribute__((always_inline)) int32_t pack_groups_of(const int32_t KR, const rlt_s8_gemm *g,
                                                                    const int8_t *w, int32_t k, int32_t columns,
                                                                    int8_t *out) {
  int32_t whole = k / KR * KR;
  for (int32_t x = 0; x < whole; x += KR, out += (size_t)KR * (size_t)g->nr) {
    const int8_t *from = w + x;
    for (int32_t j = 0; j < columns; j++, from += k) __builtin_memcpy(out + (size_t)j * (size_t)KR, from, (size_t)KR);
    __builtin_memset(out + (size_t)columns * (size_t)KR, 0, (size_t)(g->nr - columns) * (size_t)KR);
  }
  return whole;
}

int32_t rlt_pack_s8_groups(const rlt_s8_gemm *g, const int8_t *w, int32_t k, int32_t columns, int8_t *out) {
  if (g->kr == 4) return pack_groups_of(4, g, w, k, columns, out);
  return g->kr == 2 ? pack_groups_of(2, g, w, k, columns, out) : pack_groups_of(1, g, w, k, columns, out);
}

/* ---- rows ---- */

/* INT16: x = 256 high + low + 128. */
static void split_row(const int16_t *from, int32_t k, int8_t *high, int8_t *low) {
  for (int32_t i = 0; i < k; i++) {
    high[i] = (int8_t)(from[i] >> 8);
    low[i] = (int8_t)((from[i] & 255) - 128);
  }
}

void rlt_convert_rows(const rlt_node *n, const rlt_matrix *m, rlt_rows *rows, int32_t i, int32_t count, const void *raw,
                      size_t step) {
  size_t stride = (size_t)m->space_stride;
  int8_t *to = (int8_t *)rows->space + (size_t)i * stride;
  for (int32_t r = 0; r < count; r++) rows->at[i + r] = to + (size_t)r * stride;
  if (n->in[0]->type == RLT_TYPE_UINT8) {
    rows->u->rows->turn(raw, step, to, stride, count, (size_t)m->k, rows->sums + i);
    for (int32_t r = i; m->is_unsigned && r < i + count; r++)
      rows->sums[r] = (int32_t)((uint32_t)m->weight_zero * ((uint32_t)m->zero_sum - (uint32_t)rows->sums[r]));
    return;
  }
  for (int32_t r = 0; r < count; r++, to += stride) {
    rows->at[m->row_block + i + r] = to + stride / 2;
    split_row((const int16_t *)(const void *)((const char *)raw + (size_t)r * step), m->k, to, to + stride / 2);
  }
}

rlt_row_quant rlt_quantize_dynamic(const rlt_ukernels *u, const float *x, uint64_t count, int8_t *out) {
  float least, most;
  u->rows->range(x, count, &least, &most);
  float inverse = least == most ? 1.0f : 255.0f / (most - least);
  float low = least * inverse, high = most * inverse;
  float zero = (-128.0f + low) + (127.0f + high) > 0.0f ? -128.0f - low : 127.0f - high;
  rlt_row_quant quant = {1.0f / inverse, rlt_round_clamped(zero, -128.0f, 127.0f)};
  u->rows->to_s8(x, count, inverse, quant.zero, out);
  return quant;
}

rlt_row_quant rlt_quantize_symmetric(const rlt_ukernels *u, const float *x, uint64_t count, int8_t *out) {
  float most = u->loops->largest(x, (int64_t)count), least = u->loops->smallest(x, (int64_t)count);
  float range = rlt_abs(most) > rlt_abs(least) ? rlt_abs(most) : rlt_abs(least);
  if (range == 0.0f) {
    __builtin_memset(out, 0, (size_t)count);
    return (rlt_row_quant){1.0f, 0};
  }
  float inverse = 127.0f / range;
  for (uint64_t i = 0; i < count; i++) out[i] = rlt_round_s8(rlt_clamp_f32(x[i] * inverse, -127.0f, 127.0f));
  return (rlt_row_quant){range / 127.0f, 0};
}

rlt_row_quant rlt_quantize_rows(const rlt_ukernels *u, const rlt_weighted *w, const float *x, uint64_t count,
                                int8_t *out) {
  return (w->is_symmetric ? rlt_quantize_symmetric : rlt_quantize_dynamic)(u, x, count, out);
}
