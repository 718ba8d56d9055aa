/* SPDX-License-Identifier: Apache-2.0
 * ONE_HOT: a new dimension, `on` where its position is the index, `off` elsewhere. */
#include "move.h"

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 4, 4, 1));
  int32_t *axis = n->data, dims[RLT_MAX_RANK], depth, count;
  const rlt_tensor *indices = n->in[0];
  rlt_tensor *y = n->out[0];
  RLT_TRY(rlt_check_type(p, indices, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  for (int32_t i = 2; i < 4; i++) {
    RLT_TRY(rlt_check_moved(p, n->in[i], y));
    RLT_REQUIRE(p->err, n->in[i]->count == 1, RLT_BAD_MODEL, "%T must be one value", n->in[i]);
  }
  RLT_REQUIRE(p->err, indices->rank < RLT_MAX_RANK, RLT_UNSUPPORTED, "the result would have more than %d dimensions",
              (int32_t)RLT_MAX_RANK);
  *axis = rlt_fb_i32(&n->def->options, RLT_SLOT_OneHotOptions_axis, 0);
  RLT_TRY(rlt_check_axis(p, axis, indices->rank + 1));
  RLT_REQUIRE(p->err, n->in[1]->count == 1, RLT_BAD_MODEL, "%T must be one value", n->in[1]);
  RLT_TRY(rlt_const_ints(p, n->in[1], 1, &depth, &count));
  RLT_REQUIRE(p->err, depth >= 0, RLT_BAD_MODEL, "a depth of %d", depth);
  for (int32_t d = 0; d <= indices->rank; d++) {
    dims[d] = d < *axis ? indices->dims[d] : (d == *axis ? depth : indices->dims[d - 1]);
  }
  RLT_TRY(rlt_set_shape(p, y, indices->rank + 1, dims));
  n->tiles = rlt_flat_tiles(y->count);
  return RLT_OK;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const rlt_tensor *indices = n->in[0], *y = n->out[0];
  int32_t axis = *(const int32_t *)n->data;
  int64_t depth = y->dims[axis], inner = rlt_span(y, axis + 1, y->rank), begin, end;
  uint32_t bytes = rlt_type_bytes(y->type);
  if (y->count == 0) return RLT_OK;
  rlt_part(n, (int64_t)y->count, first, last, &begin, &end);
  uint8_t *to = y->data;
  rlt_repeat(to + (uint64_t)begin * bytes, n->in[3]->data, bytes, end - begin);
  /* Every index whose place may lie in [begin, end). */
  for (int64_t i = begin / (depth * inner) * inner; i < ((int64_t)indices->count); i++) {
    int64_t outer = i / inner, at = rlt_index_at(indices, i);
    if (outer * depth * inner >= end) break;
    if (at < 0 || at >= depth) continue;
    int64_t place = (outer * depth + at) * inner + i % inner;
    if (place >= begin && place < end) rlt_copy(to + (uint64_t)place * bytes, n->in[2]->data, bytes);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_one_hot = {
    .name = "ONE_HOT", .data_size = sizeof(int32_t), .max_version = 1, .prepare = prepare, .run = run};
