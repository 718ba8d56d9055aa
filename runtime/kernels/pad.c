/* SPDX-License-Identifier: Apache-2.0
 * PAD, PADV2 and MIRROR_PAD. */
#include "move.h"

typedef struct pad_data {
  int32_t before[RLT_MAX_RANK];
  int32_t inner;    /* dimensions [inner, rank) are not padded: they move as one run of elements */
  int32_t offset;   /* MIRROR_PAD: 0 repeats the edge (SYMMETRIC), 1 does not (REFLECT) */
  uint8_t zero[16]; /* PAD's value, in the tensor's type */
} pad_data;

static rlt_status read_paddings(rlt_prep *p, rlt_node *n, int32_t *dims) {
  pad_data *k = n->data;
  const rlt_tensor *x = n->in[0], *paddings = n->in[1];
  int32_t values[2 * RLT_MAX_RANK], count;
  bool mirrors = n->def->op == RLT_OP_MIRROR_PAD;
  RLT_TRY((mirrors ? rlt_const_ints : rlt_const_any_ints)(p, paddings, 2 * RLT_MAX_RANK, values, &count));
  RLT_REQUIRE(p->err, count == 2 * x->rank, RLT_BAD_MODEL, "%T does not give two values per dimension of %T", paddings,
              x);
  k->inner = 0;
  for (int32_t d = 0; d < x->rank; d++) {
    int64_t before = values[2 * d], after = values[2 * d + 1];
    RLT_REQUIRE(p->err, before >= 0 && after >= 0, RLT_BAD_MODEL, "dimension %d is padded by %d and %d", d,
                values[2 * d], values[2 * d + 1]);
    RLT_REQUIRE(p->err, x->dims[d] + before + after <= INT32_MAX, RLT_BAD_MODEL, "dimension %d is padded by too much",
                d);
    k->before[d] = values[2 * d];
    dims[d] = (int32_t)(x->dims[d] + before + after);
    if (before || after) k->inner = d + 1;
    int64_t most = x->dims[d] - k->offset;
    RLT_REQUIRE(p->err, n->def->op != RLT_OP_MIRROR_PAD || (before <= most && after <= most), RLT_BAD_MODEL,
                "dimension %d has %d elements to mirror, wanted %d and %d", d, (int32_t)most, values[2 * d],
                values[2 * d + 1]);
  }
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  pad_data *k = n->data;
  rlt_tensor *y = n->out[0];
  int32_t inputs = n->def->op == RLT_OP_PADV2 ? 3 : 2, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_arity(p, n, inputs, inputs, 1));
  RLT_TRY(rlt_check_moved(p, n->in[0], y));
  RLT_REQUIRE(p->err, rlt_type_bytes(y->type) <= 8, RLT_UNSUPPORTED, "%T: elements of more than 8 bytes", y);
  if (n->def->op == RLT_OP_MIRROR_PAD) {
    int32_t mode = rlt_fb_i8(&n->def->options, RLT_SLOT_MirrorPadOptions_mode, 0);
    RLT_REQUIRE(p->err, mode == 0 || mode == 1, RLT_UNSUPPORTED, "mode %d is neither REFLECT (0) nor SYMMETRIC (1)",
                mode);
    k->offset = mode == 0 ? 1 : 0;
  }
  if (inputs == 3) {
    RLT_TRY(rlt_check_moved(p, n->in[2], y));
    RLT_REQUIRE(p->err, n->in[2]->count == 1, RLT_BAD_MODEL, "%T must be one value", n->in[2]);
  }
  RLT_TRY(read_paddings(p, n, dims));
  RLT_TRY(rlt_zero_element(p, y, k->zero));
  RLT_TRY(rlt_set_shape(p, y, n->in[0]->rank, dims));
  int32_t row_dim = k->inner > 0 ? k->inner - 1 : 0;
  n->tiles = rlt_unit_tiles(rlt_span(y, 0, row_dim), rlt_span(y, row_dim, y->rank));
  return RLT_OK;
}

/* Input position under output position i of one dimension; -1: padding. */
static int64_t source(const rlt_node *n, int32_t d, int64_t i) {
  const pad_data *k = n->data;
  int64_t size = n->in[0]->dims[d], at = i - k->before[d];
  if (n->def->op != RLT_OP_MIRROR_PAD) return at < size ? at : -1;
  if (at < 0) return -at - 1 + k->offset;
  return at < size ? at : 2 * size - at - 1 - k->offset;
}

/* One row of the last padded dimension d: `inner` elements per position; from NULL: all of it is padding. */
static void pad_row(const rlt_node *n, int32_t d, int64_t inner, const uint8_t *from, const void *value, uint8_t *to) {
  const pad_data *k = n->data;
  uint32_t bytes = rlt_type_bytes(n->out[0]->type);
  int64_t size = n->in[0]->dims[d], whole = n->out[0]->dims[d], before = k->before[d], after = whole - before - size;
  uint64_t step = (uint64_t)inner * bytes;
  if (!from) {
    rlt_repeat(to, value, bytes, whole * inner);
    return;
  }
  rlt_copy(to + (uint64_t)before * step, from, (uint64_t)size * step);
  if (n->def->op != RLT_OP_MIRROR_PAD) {
    rlt_repeat(to, value, bytes, before * inner);
    rlt_repeat(to + (uint64_t)(before + size) * step, value, bytes, after * inner);
    return;
  }
  for (int64_t i = 0; i < before; i++) rlt_copy(to + (uint64_t)i * step, from + (uint64_t)source(n, d, i) * step, step);
  for (int64_t i = whole - after; i < whole; i++)
    rlt_copy(to + (uint64_t)i * step, from + (uint64_t)source(n, d, i) * step, step);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const pad_data *k = n->data;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  const void *value = n->def->op == RLT_OP_PADV2 ? n->in[2]->data : (const void *)k->zero;
  uint32_t bytes = rlt_type_bytes(y->type);
  int32_t row_dim = k->inner - 1;
  int64_t inner = rlt_span(y, k->inner, y->rank), begin, end;
  if (y->count == 0) return RLT_OK;
  if (row_dim < 0) {
    if (first == 0) rlt_copy(y->data, x->data, y->bytes);
    return RLT_OK;
  }
  rlt_part(n, rlt_span(y, 0, row_dim), first, last, &begin, &end);
  for (int64_t row = begin; row < end; row++) {
    int64_t rest = row, from = 0, step = inner * x->dims[row_dim];
    for (int32_t d = row_dim - 1; d >= 0 && from >= 0; d--) {
      int64_t at = source(n, d, rest % y->dims[d]);
      from = at < 0 ? -1 : from + at * step;
      rest /= y->dims[d];
      step *= x->dims[d];
    }
    uint8_t *to = (uint8_t *)y->data + (uint64_t)(row * y->dims[row_dim] * inner) * bytes;
    pad_row(n, row_dim, inner, from < 0 ? NULL : (const uint8_t *)x->data + (uint64_t)from * bytes, value, to);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_pad = {"PAD", sizeof(pad_data), 6, false, prepare, NULL, run};
const rlt_kernel rlt_kernel_padv2 = {"PADV2", sizeof(pad_data), 6, false, prepare, NULL, run};
const rlt_kernel rlt_kernel_mirror_pad = {"MIRROR_PAD", sizeof(pad_data), 3, false, prepare, NULL, run};
