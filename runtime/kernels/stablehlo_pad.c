/* SPDX-License-Identifier: Apache-2.0
 * STABLEHLO_PAD: paddings at both ends, which crop where they are negative, and between neighbours. */
#include "move.h"

typedef struct hlo_pad_data {
  int64_t low[RLT_MAX_RANK], step[RLT_MAX_RANK]; /* input element i comes to low + i * step */
} hlo_pad_data;

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  hlo_pad_data *k = n->data;
  const rlt_tensor *x = n->in[0], *value = n->in[1];
  const rlt_table *o = &n->def->options;
  rlt_vector low = {0}, high = {0}, interior = {0};
  int32_t dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_check_moved(p, value, n->out[0]));
  RLT_REQUIRE(p->err, value->count == 1, RLT_BAD_MODEL, "%T must be one value", value);
  bool read = rlt_fb_vector(o, RLT_SLOT_StablehloPadOptions_edge_padding_low, 8, &low) &&
              rlt_fb_vector(o, RLT_SLOT_StablehloPadOptions_edge_padding_high, 8, &high) &&
              rlt_fb_vector(o, RLT_SLOT_StablehloPadOptions_interior_padding, 8, &interior);
  uint32_t rank = (uint32_t)x->rank;
  RLT_REQUIRE(p->err, read && low.count == rank && high.count == rank && interior.count == rank, RLT_BAD_MODEL,
              "the paddings do not give one value per dimension of %T", x);
  for (uint32_t d = 0; d < rank; d++) {
    int64_t before = rlt_vec_i64(&low, d), after = rlt_vec_i64(&high, d), between = rlt_vec_i64(&interior, d);
    bool small = before >= -INT32_MAX && before <= INT32_MAX && after >= -INT32_MAX && after <= INT32_MAX &&
                 between >= 0 && between < INT32_MAX;
    RLT_REQUIRE(p->err, small, RLT_BAD_MODEL, "dimension %d is padded by too much, or by less than 0 inside",
                (int32_t)d);
    int64_t size = x->dims[d] + before + after + (x->dims[d] > 0 ? (x->dims[d] - 1) * between : 0);
    RLT_REQUIRE(p->err, size <= INT32_MAX, RLT_BAD_MODEL, "dimension %d is padded by too much", (int32_t)d);
    k->low[d] = before;
    k->step[d] = between + 1;
    dims[d] = size < 0 ? 0 : (int32_t)size;
  }
  return rlt_set_shape(p, n->out[0], x->rank, dims);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r, (void)first, (void)last;
  const hlo_pad_data *k = n->data;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  uint32_t bytes = rlt_type_bytes(y->type);
  int32_t inner = x->rank - 1;
  int64_t step[RLT_MAX_RANK], row = x->rank ? x->dims[inner] : 1;
  if (y->count == 0) return RLT_OK;
  rlt_repeat(y->data, n->in[1]->data, bytes, (int64_t)y->count);
  rlt_steps(y, step);
  for (int64_t i = 0; row > 0 && i < (int64_t)x->count / row; i++) {
    int64_t rest = i, to = 0;
    bool inside = true;
    for (int32_t d = inner - 1; d >= 0; d--) {
      int64_t at = k->low[d] + rest % x->dims[d] * k->step[d];
      inside = inside && at >= 0 && at < y->dims[d];
      if (inside) to += at * step[d];
      rest /= x->dims[d];
    }
    for (int64_t e = 0; e < row && inside; e++) {
      int64_t at = x->rank ? k->low[inner] + e * k->step[inner] : 0;
      if (x->rank && (at < 0 || at >= y->dims[inner])) continue;
      rlt_copy((uint8_t *)y->data + (uint64_t)(to + at) * bytes,
               (const uint8_t *)x->data + (uint64_t)(i * row + e) * bytes, bytes);
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_stablehlo_pad = {
    .name = "STABLEHLO_PAD", .data_size = sizeof(hlo_pad_data), .max_version = 1, .prepare = prepare, .run = run};
