/* SPDX-License-Identifier: Apache-2.0
 * BITCAST: the same bytes as another type. A wider input's elements become a last dimension, and back. */
#include "common.h"

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  const rlt_tensor *x = n->in[0];
  rlt_tensor *y = n->out[0];
  int32_t from = (int32_t)rlt_type_bytes(x->type), to = (int32_t)rlt_type_bytes(y->type);
  int32_t rank = x->rank, dims[RLT_MAX_RANK];
  bool plain = from > 0 && to > 0 && x->type != RLT_TYPE_STRING && y->type != RLT_TYPE_STRING;
  RLT_REQUIRE(p->err, plain, RLT_UNSUPPORTED, "%T to %t: this op takes elements of whole bytes", x, y->type);
  for (int32_t d = 0; d < rank; d++) dims[d] = x->dims[d];
  if (from > to) {
    RLT_REQUIRE(p->err, rank < RLT_MAX_RANK, RLT_UNSUPPORTED, "the result would have more than %d dimensions",
                (int32_t)RLT_MAX_RANK);
    dims[rank++] = from / to;
  }
  if (from < to) {
    RLT_REQUIRE(p->err, rank > 0 && dims[rank - 1] == to / from, RLT_BAD_MODEL,
                "%T: the last dimension must be %d to become %t", x, to / from, y->type);
    rank--;
  }
  n->in_place = 0;
  n->tiles = rlt_flat_tiles(x->bytes);
  return rlt_set_shape(p, y, rank, dims);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->bytes, first, last, &begin, &end);
  rlt_copy((uint8_t *)n->out[0]->data + begin, (const uint8_t *)n->in[0]->data + begin, (uint64_t)(end - begin));
  return RLT_OK;
}

const rlt_kernel rlt_kernel_bitcast = {.name = "BITCAST", .max_version = 1, .prepare = prepare, .run = run};
