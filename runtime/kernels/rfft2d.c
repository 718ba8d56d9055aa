/* SPDX-License-Identifier: Apache-2.0
 * RFFT2D: the discrete Fourier transform over the last two dimensions, cropped or padded with zeros to fft_length.
 * Rows, then columns, each by Cooley and Tukey's algorithm in float64; lengths are powers of two. */
#include "common.h"

typedef struct rfft_data {
  int32_t height, width;
} rfft_data;

typedef struct complex_f64 {
  double re, im;
} complex_f64;

static int32_t longest(const rfft_data *k) { return k->height > k->width ? k->height : k->width; }

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  rfft_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  int32_t lengths[2], count, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_TRY(rlt_check_type(p, n->out[0], RLT_BIT(RLT_TYPE_COMPLEX64), "COMPLEX64"));
  RLT_TRY(rlt_const_ints(p, n->in[1], 2, lengths, &count));
  RLT_REQUIRE(p->err, count == 2 && x->rank >= 2, RLT_BAD_MODEL, "%T must be two lengths for %T", n->in[1], x);
  for (int32_t i = 0; i < 2; i++) {
    bool power = lengths[i] > 0 && (lengths[i] & (lengths[i] - 1)) == 0;
    RLT_REQUIRE(p->err, power, RLT_UNSUPPORTED, "a transform of length %d; powers of two are supported", lengths[i]);
  }
  k->height = lengths[0];
  k->width = lengths[1];
  for (int32_t d = 0; d < x->rank - 2; d++) dims[d] = x->dims[d];
  dims[x->rank - 2] = k->height;
  dims[x->rank - 1] = k->width / 2 + 1;
  RLT_TRY(rlt_set_shape(p, n->out[0], x->rank, dims));
  n->packed_bytes = (uint64_t)longest(k) * sizeof(complex_f64); /* roots of unity, half of them used */
  n->scratch_bytes = ((uint64_t)k->height * (uint64_t)(k->width / 2 + 1) + (uint64_t)longest(k)) * sizeof(complex_f64);
  n->tiles = rlt_unit_tiles(rlt_span(x, 0, x->rank - 2), (int64_t)k->height * k->width);
  return RLT_OK;
}

/* e^(-2 pi i j / size) for j < size / 2, from angles within an eighth of a turn. */
static void pack(const rlt_ukernels *u, const rlt_node *n) {
  (void)u;
  const rfft_data *k = n->data;
  complex_f64 *root = n->packed;
  int64_t size = longest(k);
  for (int64_t j = 0; j < size; j++) {
    int64_t quarter = (4 * j + size / 2) / size; /* the nearest */
    double r = 6.283185307179586 * (double)(4 * j - quarter * size) / (4.0 * (double)size);
    double c = rlt_cos_reduced64(r), s = rlt_sin_reduced64(r);
    root[j].re = quarter % 4 == 0 ? c : (quarter % 4 == 1 ? -s : (quarter % 4 == 2 ? -c : s));
    root[j].im = -(quarter % 4 == 0 ? s : (quarter % 4 == 1 ? c : (quarter % 4 == 2 ? -s : -c)));
  }
}

/* In place; `stride` roots apart for this length. */
static void transform(complex_f64 *x, int64_t size, const complex_f64 *root, int64_t stride) {
  for (int64_t i = 1, j = 0; i < size; i++) { /* bit reversal */
    int64_t bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
    if (i >= j) continue;
    complex_f64 other = x[i];
    x[i] = x[j];
    x[j] = other;
  }
  for (int64_t half = 1; half < size; half *= 2) {
    int64_t step = size / (2 * half) * stride;
    for (int64_t start = 0; start < size; start += 2 * half) {
      for (int64_t i = 0; i < half; i++) {
        complex_f64 w = root[i * step], *a = &x[start + i], *b = a + half;
        complex_f64 v = {b->re * w.re - b->im * w.im, b->re * w.im + b->im * w.re};
        *b = (complex_f64){a->re - v.re, a->im - v.im};
        *a = (complex_f64){a->re + v.re, a->im + v.im};
      }
    }
  }
}

/* One matrix of x into the half spectrum at y. */
static void transform_2d(const rfft_data *k, const rlt_tensor *x, const float *from, const complex_f64 *root,
                         complex_f64 *scratch, float *to) {
  int64_t rows = x->dims[x->rank - 2], columns = x->dims[x->rank - 1], width = k->width / 2 + 1;
  complex_f64 *line = scratch + (int64_t)k->height * width;
  for (int64_t i = 0; i < k->height; i++) {
    for (int64_t j = 0; j < k->width; j++) {
      line[j] = (complex_f64){i < rows && j < columns ? (double)from[i * columns + j] : 0.0, 0.0};
    }
    if (i < rows) transform(line, k->width, root, longest(k) / k->width);
    for (int64_t j = 0; j < width; j++) scratch[i * width + j] = line[j];
  }
  for (int64_t j = 0; j < width; j++) {
    for (int64_t i = 0; i < k->height; i++) line[i] = scratch[i * width + j];
    transform(line, k->height, root, longest(k) / k->height);
    for (int64_t i = 0; i < k->height; i++) {
      to[2 * (i * width + j)] = (float)line[i].re;
      to[2 * (i * width + j) + 1] = (float)line[i].im;
    }
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const rfft_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  int64_t from = rlt_span(x, x->rank - 2, x->rank), to = (int64_t)k->height * (k->width / 2 + 1) * 2, begin, end;
  rlt_part(n, rlt_span(x, 0, x->rank - 2), first, last, &begin, &end);
  if (n->out[0]->count == 0) return RLT_OK;
  for (int64_t i = begin; i < end; i++) {
    transform_2d(k, x, (const float *)x->data + i * from, n->packed, r->scratch, (float *)n->out[0]->data + i * to);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_rfft2d = {
    .name = "RFFT2D", .data_size = sizeof(rfft_data), .max_version = 1, .prepare = prepare, .pack = pack, .run = run};
