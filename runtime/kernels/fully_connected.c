/* SPDX-License-Identifier: Apache-2.0
 * FULLY_CONNECTED: rows of K values times weights [N, K]. */
#include "common.h"
#include "fully_connected_i16.h"
#include "matrix.h"

typedef struct fc_data {
  bool is_i16; /* the forms of fully_connected_i16.h */
  rlt_dense_i16 i16;
  rlt_matrix matrix;
} fc_data;

static const rlt_roundings ROUNDINGS = {RLT_ROUND_EVEN, RLT_ROUND_WIDE, true};

static rlt_status output_shape(rlt_prep *p, const rlt_node *n, bool keep_dims, int32_t rows, int32_t units) {
  const rlt_tensor *x = n->in[0];
  int32_t dims[RLT_MAX_RANK] = {rows, units};
  if (!keep_dims) return rlt_set_shape(p, n->out[0], 2, dims);
  RLT_REQUIRE(p->err, x->rank >= 1 && x->dims[x->rank - 1] == n->in[1]->dims[1], RLT_BAD_MODEL,
              "keep_num_dims needs rows of %d values in %T", n->in[1]->dims[1], x);
  for (int32_t i = 0; i < x->rank; i++) dims[i] = x->dims[i];
  dims[x->rank - 1] = units;
  return rlt_set_shape(p, n->out[0], x->rank, dims);
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  fc_data *d = n->data;
  const rlt_table *options = &n->def->options;
  int8_t format = rlt_fb_i8(options, RLT_SLOT_FullyConnectedOptions_weights_format, RLT_WEIGHTS_FORMAT_DEFAULT);
  bool is_shuffled = format == RLT_WEIGHTS_FORMAT_SHUFFLED4x16INT8;
  RLT_REQUIRE(p->err, is_shuffled || format == RLT_WEIGHTS_FORMAT_DEFAULT, RLT_UNSUPPORTED,
              "weights format %d is neither DEFAULT (0) nor SHUFFLED4x16INT8 (1)", format);
  RLT_TRY(rlt_check_arity(p, n, 2, 3, is_shuffled ? 2 : 1));
  const rlt_tensor *x = n->in[0], *weights = n->in[1];
  RLT_REQUIRE(p->err, weights->rank == 2, RLT_BAD_MODEL, "weights %T must have 2 dimensions [units, values]", weights);
  int32_t units = weights->dims[0], k = weights->dims[1];
  RLT_REQUIRE(p->err, k > 0 && x->count % (uint64_t)k == 0 && x->count / (uint64_t)k <= INT32_MAX, RLT_BAD_MODEL,
              "%T does not divide into rows of the %d values that weights %T take", x, k, weights);
  rlt_matrix *m = &d->matrix;
  m->rows = (int32_t)(x->count / (uint64_t)k);
  m->groups = 1;
  m->n = units;
  m->k = k;
  int8_t activation = rlt_fb_i8(options, RLT_SLOT_FullyConnectedOptions_fused_activation_function, RLT_ACT_NONE);
  bool keep_dims = rlt_fb_bool(options, RLT_SLOT_FullyConnectedOptions_keep_num_dims, false);
  d->is_i16 = is_shuffled || weights->type == RLT_TYPE_INT16;
  if (d->is_i16) {
    d->i16 = (rlt_dense_i16){.is_shuffled = is_shuffled, .rows = m->rows, .units = units, .k = k};
    RLT_TRY(rlt_dense_i16_prepare(p, n, activation, &d->i16));
    return output_shape(p, n, keep_dims, m->rows, units);
  }
  RLT_TRY(rlt_check_product(p, n, 0, units, activation, &ROUNDINGS, &m->w));
  m->w.is_symmetric = !rlt_is_xnnpack_dense(weights) &&
                      !rlt_fb_bool(options, RLT_SLOT_FullyConnectedOptions_asymmetric_quantize_inputs, false);
  RLT_TRY(rlt_check_depth(p, n, m->k));
  RLT_TRY(output_shape(p, n, keep_dims, m->rows, units));
  m->builds_rows = rlt_converts_rows(n, &m->w);
  rlt_matrix_plan(p, n, m);
  return RLT_OK;
}

static void pack(const rlt_ukernels *u, const rlt_node *n) {
  const fc_data *d = n->data;
  if (d->is_i16) rlt_dense_i16_pack(n, &d->i16);
  else if (!d->matrix.pack_at_run) rlt_matrix_pack(u, n, &d->matrix, n->packed);
}

static void fill_rows(const rlt_node *n, int32_t group, int32_t first, int32_t count, bool fresh, rlt_rows *rows) {
  (void)group, (void)fresh;
  const rlt_matrix *m = &((const fc_data *)n->data)->matrix;
  size_t k = (size_t)m->k;
  if (m->w.family == RLT_FAMILY_FIXED && m->builds_rows) {
    size_t row = k * rlt_type_bytes(n->in[0]->type);
    rlt_convert_rows(n, m, rows, 0, count, (const char *)n->in[0]->data + (size_t)first * row, row);
    return;
  }
  for (int32_t i = 0; i < count; i++) {
    size_t at = (size_t)(first + i) * k;
    if (m->w.family == RLT_FAMILY_HYBRID) {
      int8_t *row = (int8_t *)rows->space + (size_t)i * m->space_stride;
      rows->quant[i] = rlt_quantize_rows(rows->u, &m->w, (const float *)n->in[0]->data + at, k, row);
      rows->at[i] = row;
    } else {
      rows->at[i] = (const char *)n->in[0]->data + at * rlt_type_bytes(n->in[0]->type);
    }
  }
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const fc_data *d = n->data;
  if (d->is_i16) rlt_dense_i16_run(n, &d->i16, first, last);
  else rlt_matrix_run(r, n, &d->matrix, fill_rows, first, last);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_fully_connected = {"FULLY_CONNECTED", sizeof(fc_data), 14, false, prepare, pack, run};
