/* SPDX-License-Identifier: Apache-2.0
 * DILATE: elements set apart, with a value between them. */
#include "move.h"

typedef struct dilate_data {
  int32_t factor[RLT_MAX_RANK];
} dilate_data;

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  dilate_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  rlt_tensor *y = n->out[0];
  int32_t count, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 1));
  RLT_TRY(rlt_check_moved(p, x, y));
  RLT_TRY(rlt_check_moved(p, n->in[2], y));
  RLT_REQUIRE(p->err, n->in[2]->count == 1, RLT_BAD_MODEL, "%T must be one value", n->in[2]);
  RLT_TRY(rlt_const_ints(p, n->in[1], RLT_MAX_RANK, k->factor, &count));
  RLT_REQUIRE(p->err, count == x->rank && x->rank >= 1, RLT_BAD_MODEL,
              "%T does not give one factor per dimension of %T", n->in[1], x);
  for (int32_t d = 0; d < x->rank; d++) {
    RLT_REQUIRE(p->err, k->factor[d] >= 1, RLT_BAD_MODEL, "dimension %d is dilated by %d", d, k->factor[d]);
    int64_t size = x->dims[d] > 0 ? (int64_t)(x->dims[d] - 1) * k->factor[d] + 1 : 0;
    RLT_REQUIRE(p->err, size <= INT32_MAX, RLT_BAD_MODEL, "dimension %d is dilated by too much", d);
    dims[d] = (int32_t)size;
  }
  RLT_TRY(rlt_set_shape(p, y, x->rank, dims));
  n->tiles = rlt_unit_tiles(rlt_span(y, 0, y->rank - 1), dims[y->rank - 1]);
  return RLT_OK;
}

/* Copies `count` elements of `bytes` bytes to every `factor`-th place. */
static void spread(uint8_t *to, const uint8_t *from, uint32_t bytes, int64_t count, int64_t factor) {
  for (int64_t i = 0; i < count; i++, from += bytes, to += factor * bytes) __builtin_memcpy(to, from, bytes);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const dilate_data *k = n->data;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  uint32_t bytes = rlt_type_bytes(y->type);
  int32_t inner = y->rank - 1;
  int64_t begin, end, width = y->dims[inner];
  if (y->count == 0) return RLT_OK;
  rlt_part(n, rlt_span(y, 0, inner), first, last, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    int64_t rest = row, from = 0, step = 1;
    bool filled = true;
    for (int32_t d = inner - 1; d >= 0; d--) {
      int64_t at = rest % y->dims[d];
      filled = filled && at % k->factor[d] == 0;
      from += at / k->factor[d] * step;
      step *= x->dims[d];
      rest /= y->dims[d];
    }
    uint8_t *to = (uint8_t *)y->data + (uint64_t)(row * width) * bytes;
    if (!filled || k->factor[inner] > 1) rlt_repeat(to, n->in[2]->data, bytes, width);
    if (filled)
      spread(to, (const uint8_t *)x->data + (uint64_t)(from * x->dims[inner]) * bytes, bytes, x->dims[inner],
             k->factor[inner]);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_dilate = {"DILATE", sizeof(dilate_data), 1, false, prepare, NULL, run};
