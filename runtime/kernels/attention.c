/* SPDX-License-Identifier: Apache-2.0
 * The composite rillet.attention: softmax(scale * q k^T + mask) v, for q [..., rows, depth], k [..., keys, depth] or,
 * unless keys_are_rows, [..., depth, keys], v [..., keys, width] and a mask that broadcasts to [..., rows, keys].
 *
 * Scores never leave a thread's scratch: a block of rows is multiplied with all keys, becomes probabilities there and
 * is multiplied with the values. Keys and values are packed once for all rows of a matrix that a thread comes to. */
#include "composite.h"
#include "matrix.h"
#include "softmax_row.h"

enum { Q, K, V, MASK, OPERANDS };
enum { BLOCK = 32, BLOCKS = 2 }; /* rows at once, about; blocks of a matrix in one unit of work */
#define TILE_MACS 262144

typedef struct attention_data {
  float scale;
  bool keys_are_rows, is_masked;
  int32_t rows, keys, depth, width;
  int32_t batch_rank;
  int64_t matrices, chunks;                                       /* of one matrix */
  int64_t batch_dims[RLT_MAX_RANK], step[OPERANDS][RLT_MAX_RANK]; /* in matrices, of the mask in values */
  int64_t mask_row, mask_column;                                  /* steps, in values */
  int32_t block, chunk;                                  /* rows at once, whole micro-tiles; rows of a unit of work */
  uint64_t key_panel, value_panel, at_values, at_scores; /* of scratch */
} attention_data;
_Static_assert(sizeof(attention_data) <= RLT_COMPOSITE_DATA, "data of a composite's kernel");

/* ---- prepare ---- */

static int32_t operands(const attention_data *d) { return d->is_masked ? OPERANDS : MASK; }

/* Size of dimension i of the broadcast leading ones, in t. */
static int32_t leading(const attention_data *d, const rlt_tensor *t, int32_t i) {
  int32_t own = i - (d->batch_rank - (t->rank - 2));
  return own < 0 || own >= t->rank - 2 ? 1 : t->dims[own];
}

static rlt_status set_batches(rlt_prep *p, const rlt_node *n, attention_data *d, int32_t *dims) {
  int64_t at[OPERANDS] = {1, 1, 1, 1};
  uint64_t matrices = 1;
  if (d->is_masked)
    at[MASK] = n->in[MASK]->rank > 1 ? rlt_span(n->in[MASK], n->in[MASK]->rank - 2, n->in[MASK]->rank) : 1;
  for (int32_t i = d->batch_rank - 1; i >= 0; i--) {
    int32_t size = 1;
    for (int32_t t = 0; t < operands(d); t++) {
      int32_t own = leading(d, n->in[t], i);
      RLT_REQUIRE(p->err, own > 0 && (own == 1 || size == 1 || own == size), RLT_UNSUPPORTED,
                  "leading dimensions of %T do not broadcast, or there are none", n->in[t]);
      size = own > size ? own : size;
      d->step[t][i] = own == 1 ? 0 : at[t];
      at[t] *= own;
    }
    dims[i] = size;
    d->batch_dims[i] = size;
    matrices = rlt_saturating_product(matrices, (uint64_t)size);
  }
  RLT_REQUIRE(p->err, matrices <= INT32_MAX, RLT_UNSUPPORTED, "it has too many matrices");
  d->matrices = (int64_t)matrices;
  return RLT_OK;
}

static rlt_status check_mask(rlt_prep *p, const rlt_tensor *mask, attention_data *d) {
  int32_t columns = mask->rank > 0 ? mask->dims[mask->rank - 1] : 1,
          rows = mask->rank > 1 ? mask->dims[mask->rank - 2] : 1;
  RLT_REQUIRE(p->err, (rows == 1 || rows == d->rows) && (columns == 1 || columns == d->keys), RLT_UNSUPPORTED,
              "mask %T does not broadcast to [%d,%d]", mask, d->rows, d->keys);
  d->mask_column = columns > 1 ? 1 : 0;
  d->mask_row = rows > 1 ? columns : 0;
  return RLT_OK;
}

static rlt_status check_shapes(rlt_prep *p, const rlt_node *n, attention_data *d) {
  const rlt_tensor *q = n->in[Q], *k = n->in[K], *v = n->in[V];
  RLT_REQUIRE(p->err, q->rank >= 2 && k->rank >= 2 && v->rank >= 2, RLT_UNSUPPORTED, "%T, %T and %T must be matrices",
              q, k, v);
  d->rows = q->dims[q->rank - 2], d->depth = q->dims[q->rank - 1];
  d->keys = k->dims[k->rank - (d->keys_are_rows ? 2 : 1)], d->width = v->dims[v->rank - 1];
  bool fits = k->dims[k->rank - (d->keys_are_rows ? 1 : 2)] == d->depth && v->dims[v->rank - 2] == d->keys;
  RLT_REQUIRE(p->err, fits && d->rows > 0 && d->depth > 0 && d->keys > 0 && d->width > 0, RLT_UNSUPPORTED,
              "%T, %T and %T do not go together, or are empty", q, k, v);
  for (int32_t t = 0; t < operands(d); t++)
    if (n->in[t]->rank - 2 > d->batch_rank) d->batch_rank = n->in[t]->rank - 2;
  return d->is_masked ? check_mask(p, n->in[MASK], d) : RLT_OK;
}

static rlt_status check(rlt_prep *p, const rlt_node *n, attention_data *d) {
  rlt_flex map;
  uint64_t known = 0;
  RLT_TRY(rlt_check_arity(p, n, 3, 4, 1));
  RLT_TRY(rlt_check_all_float(p, n));
  rlt_flex_root(n->def->custom_options, &map);
  double rows = rlt_attribute(&map, "keys_are_rows", (double)__builtin_nanf(""), &known);
  double scale = rlt_attribute(&map, "scale", 1.0, &known);
  RLT_TRY(rlt_finite_attribute(p, "scale", scale, &d->scale));
  RLT_TRY(rlt_check_attributes(p, &map, known));
  RLT_REQUIRE(p->err, rows >= 0.0 && rows <= 1.0, RLT_UNSUPPORTED, "keys_are_rows is neither true nor false");
  d->keys_are_rows = rows > 0.0;
  d->is_masked = n->def->n_inputs > MASK && n->in[MASK];
  return check_shapes(p, n, d);
}

static uint64_t panel_bytes(uint64_t nr, int32_t depth) { return ((uint64_t)depth + 1) * nr * sizeof(float); }
static uint64_t align64(uint64_t x) { return (x + 63) & ~(uint64_t)63; }

static rlt_status plan(rlt_prep *p, rlt_node *n, attention_data *d) {
  const rlt_f32_gemm *g = p->u->f32_gemm;
  uint64_t nr = (uint64_t)g->nr, keys = (uint64_t)d->keys, width = (uint64_t)d->width;
  d->block = BLOCK / g->mr * g->mr;
  d->chunk = BLOCKS * d->block;
  d->key_panel = align64(panel_bytes(nr, d->depth));
  d->value_panel = align64(panel_bytes(nr, d->keys));
  d->at_values = rlt_saturating_product((keys + nr - 1) / nr, d->key_panel);
  uint64_t values = rlt_saturating_product((width + nr - 1) / nr, d->value_panel);
  RLT_REQUIRE(p->err, d->at_values < INT64_MAX / 4 && values < INT64_MAX / 4, RLT_LIMIT, "%T and %T are too large",
              n->in[K], n->in[V]);
  d->at_scores = d->at_values + values;
  n->scratch_bytes = d->at_scores + (uint64_t)d->block * keys * sizeof(float);
  d->chunks = (d->rows - 1) / d->chunk + 1;
  uint64_t row_macs = rlt_saturating_product(keys, (uint64_t)d->depth + width);
  uint64_t chunk_macs = rlt_saturating_product(row_macs, (uint64_t)(d->rows < d->chunk ? d->rows : d->chunk));
  uint64_t each = chunk_macs < TILE_MACS ? TILE_MACS / chunk_macs : 1;
  uint64_t tiles = (rlt_saturating_product((uint64_t)d->matrices, (uint64_t)d->chunks) - 1) / each + 1;
  n->tiles = tiles > INT32_MAX ? INT32_MAX : (int32_t)tiles;
  n->macs = rlt_saturating_product(rlt_saturating_product((uint64_t)d->matrices, (uint64_t)d->rows), row_macs);
  n->loop = g->name;
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  attention_data *d = n->data;
  int32_t dims[RLT_MAX_RANK];
  *d = (attention_data){0};
  RLT_TRY(check(p, n, d));
  RLT_TRY(set_batches(p, n, d, dims));
  RLT_TRY(plan(p, n, d));
  dims[d->batch_rank] = d->rows;
  dims[d->batch_rank + 1] = d->width;
  return rlt_set_shape(p, n->out[0], d->batch_rank + 2, dims);
}

/* ---- run ---- */

/* What one thread works with: the matrices at hand, and their keys and values as they were packed. */
typedef struct work {
  const rlt_ukernels *u;
  const rlt_node *n;
  const attention_data *d;
  char *scratch;
  float *scores;
  const float *q, *mask;
  int64_t at[OPERANDS];
} work;

static void pack_panels(const work *w, const float *y, bool transposed, int32_t columns, int32_t depth, char *to,
                        uint64_t panel) {
  int32_t nr = w->u->f32_gemm->nr;
  for (int32_t j = 0; j < columns; j += nr, to += panel)
    rlt_pack_f32_columns(w->u, y, transposed, columns, depth, j, (float *)(void *)to);
}

/* Points to the operands of a matrix, and packs the keys and values that are others than those before. */
static void take_matrix(work *w, int64_t matrix) {
  const attention_data *d = w->d;
  int64_t at[OPERANDS] = {0};
  for (int32_t i = d->batch_rank - 1; i >= 0; i--) {
    int64_t place = matrix % d->batch_dims[i];
    for (int32_t t = 0; t < operands(d); t++) at[t] += place * d->step[t][i];
    matrix /= d->batch_dims[i];
  }
  w->q = (const float *)w->n->in[Q]->data + at[Q] * d->rows * d->depth;
  w->mask = d->is_masked ? (const float *)w->n->in[MASK]->data + at[MASK] : NULL;
  const float *k = (const float *)w->n->in[K]->data + at[K] * d->keys * d->depth;
  const float *v = (const float *)w->n->in[V]->data + at[V] * d->keys * d->width;
  if (at[K] != w->at[K]) pack_panels(w, k, d->keys_are_rows, d->keys, d->depth, w->scratch, d->key_panel);
  if (at[V] != w->at[V]) pack_panels(w, v, false, d->width, d->keys, w->scratch + d->at_values, d->value_panel);
  __builtin_memcpy(w->at, at, sizeof at);
}

/* `rows` rows of `depth` values times panels: `columns` values each, to rows of c. */
static void multiply(const work *w, int32_t rows, const float *x, int32_t depth, const char *panel, uint64_t panel_step,
                     int32_t columns, float *c) {
  const rlt_f32_gemm *g = w->u->f32_gemm;
  const float infinity = __builtin_inff();
  for (int32_t j = 0; j < columns; j += g->nr, panel += panel_step) {
    int32_t n = columns - j < g->nr ? columns - j : g->nr;
    for (int32_t i = 0; i < rows; i += g->mr) {
      int32_t m = rows - i < g->mr ? rows - i : g->mr;
      const float *at[RLT_MAX_MR];
      for (int32_t k = 0; k < m; k++) at[k] = x + (size_t)(i + k) * (size_t)depth;
      g->run(m, n, depth, at, (const float *)(const void *)panel, c + (size_t)i * (size_t)columns + j, (size_t)columns,
             -infinity, infinity);
    }
  }
}

/* Scores become e^(...); returns 1 / their sum. */
static float exponentiate(const work *w, float *scores, int32_t row) {
  const attention_data *d = w->d;
  const rlt_loops *loops = w->u->loops;
  const float infinity = __builtin_inff();
  if (!w->mask && d->scale >= 0.0f) return rlt_softmax_terms(loops, scores, scores, d->keys, d->scale);
  loops->binary[RLT_LOOP_MUL](scores, 1, &d->scale, 0, scores, d->keys, -infinity, infinity);
  if (w->mask)
    loops->binary[RLT_LOOP_ADD](scores, 1, w->mask + row * d->mask_row, d->mask_column, scores, d->keys, -infinity,
                                infinity);
  return rlt_softmax_terms(loops, scores, scores, d->keys, 1.0f);
}

static void run_block(const work *w, int32_t row, int32_t rows, float *out) {
  const attention_data *d = w->d;
  const float infinity = __builtin_inff();
  float inverse[BLOCK];
  multiply(w, rows, w->q + (int64_t)row * d->depth, d->depth, w->scratch, d->key_panel, d->keys, w->scores);
  for (int32_t i = 0; i < rows; i++) inverse[i] = exponentiate(w, w->scores + (size_t)i * (size_t)d->keys, row + i);
  multiply(w, rows, w->scores, d->keys, w->scratch + d->at_values, d->value_panel, d->width, out);
  for (int32_t i = 0; i < rows; i++, out += d->width)
    w->u->loops->binary[RLT_LOOP_MUL](out, 1, &inverse[i], 0, out, d->width, -infinity, infinity);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const attention_data *d = n->data;
  work w = {.u = r->u, .n = n, .d = d, .scratch = r->scratch, .at = {-1, -1, -1, -1}};
  int64_t begin, end;
  w.scores = (float *)(void *)(w.scratch + d->at_scores);
  rlt_part(n, d->matrices * d->chunks, first, last, &begin, &end);
  for (int64_t unit = begin; unit < end; unit++) {
    int64_t matrix = unit / d->chunks, chunk = unit % d->chunks;
    int32_t row = (int32_t)chunk * d->chunk, stop = d->rows - row < d->chunk ? d->rows : row + d->chunk;
    if (unit == begin || chunk == 0) take_matrix(&w, matrix);
    for (int32_t rows; row < stop; row += rows) {
      rows = stop - row < d->block ? stop - row : d->block;
      run_block(&w, row, rows, (float *)n->out[0]->data + (matrix * d->rows + row) * d->width);
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_attention = {"rillet.attention", sizeof(attention_data), 1, false, prepare, NULL, run};
