/* SPDX-License-Identifier: Apache-2.0
 * SPLIT, SPLIT_V and UNPACK: the input is a row of chunks, one per output, repeated `outer` times. */
#include "move.h"

static rlt_status check_counts(rlt_prep *p, const rlt_node *n, int32_t inputs, int32_t declared, const char *what) {
  int32_t outputs = n->def->n_outputs;
  RLT_TRY(rlt_check_arity(p, n, inputs, inputs, outputs < 1 ? 1 : outputs));
  RLT_REQUIRE(p->err, declared == outputs, RLT_BAD_MODEL, "%s is %d, it has %d outputs", what, declared, outputs);
  return RLT_OK;
}

static rlt_status set_part(rlt_prep *p, rlt_node *n, const rlt_tensor *x, int32_t i, int32_t axis, int32_t size) {
  int32_t dims[RLT_MAX_RANK];
  for (int32_t d = 0; d < x->rank; d++) dims[d] = d == axis ? size : x->dims[d];
  RLT_TRY(rlt_check_moved(p, x, n->out[i]));
  return rlt_set_shape(p, n->out[i], x->rank, dims);
}

static void set_tiles(rlt_node *n, const rlt_tensor *x, int32_t axis) {
  int64_t outer = rlt_span(x, 0, axis);
  *(int64_t *)n->data = outer;
  n->tiles = rlt_unit_tiles(outer, outer > 0 ? (int64_t)x->count / outer : 0);
}

static rlt_status read_axis(rlt_prep *p, const rlt_tensor *t, int32_t rank, int32_t *axis) {
  int32_t count;
  RLT_TRY(rlt_const_ints(p, t, 1, axis, &count));
  RLT_REQUIRE(p->err, count == 1, RLT_BAD_MODEL, "%T must hold one axis", t);
  return rlt_check_axis(p, axis, rank);
}

/* The tensor that is split: SPLIT has its axis first. */
static const rlt_tensor *split_input(const rlt_node *n) { return n->in[n->def->op == RLT_OP_SPLIT ? 1 : 0]; }

static rlt_status prepare_split(rlt_prep *p, rlt_node *n) {
  RLT_TRY(check_counts(p, n, 2, rlt_fb_i32(&n->def->options, RLT_SLOT_SplitOptions_num_splits, 0), "num_splits"));
  const rlt_tensor *x = n->in[1];
  int32_t axis, parts = n->def->n_outputs;
  RLT_TRY(read_axis(p, n->in[0], x->rank, &axis));
  RLT_REQUIRE(p->err, x->dims[axis] % parts == 0, RLT_BAD_MODEL, "dimension %d of %T is not a multiple of %d", axis, x,
              parts);
  for (int32_t i = 0; i < parts; i++) RLT_TRY(set_part(p, n, x, i, axis, x->dims[axis] / parts));
  set_tiles(n, x, axis);
  return RLT_OK;
}

static rlt_status prepare_split_v(rlt_prep *p, rlt_node *n) {
  RLT_TRY(check_counts(p, n, 3, rlt_fb_i32(&n->def->options, RLT_SLOT_SplitVOptions_num_splits, 0), "num_splits"));
  const rlt_tensor *x = n->in[0], *sizes = n->in[1];
  int32_t axis, parts = n->def->n_outputs, one, unknown = -1;
  RLT_TRY(read_axis(p, n->in[2], x->rank, &axis));
  RLT_TRY(rlt_check_type(p, sizes, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  RLT_REQUIRE(p->err, sizes->count == (uint64_t)parts, RLT_BAD_MODEL, "%T does not give one size per output", sizes);
  rlt_tensor view = *sizes; /* one value at a time: there may be many outputs */
  const uint8_t *data = rlt_const_data(sizes);
  RLT_REQUIRE(p->err, data, RLT_UNSUPPORTED, "%T must be constant", sizes);
  view.count = 1;
  int64_t rest = x->dims[axis];
  for (int32_t pass = 0; pass < 2; pass++) {
    for (int32_t i = 0; i < parts; i++) {
      view.data = (void *)(uintptr_t)(data + (uint64_t)i * rlt_type_bytes(sizes->type));
      rlt_read_ints(&view, 1, &one);
      RLT_REQUIRE(p->err, one >= -1 && (one != -1 || unknown < 0 || unknown == i), RLT_BAD_MODEL,
                  "output %d would get %d elements", i, one);
      if (one == -1) unknown = i;
      if (pass == 0) rest -= one == -1 ? 0 : one;
      if (pass == 1) RLT_TRY(set_part(p, n, x, i, axis, one == -1 ? (int32_t)rest : one));
    }
    RLT_REQUIRE(p->err, unknown < 0 ? rest == 0 : rest >= 0, RLT_BAD_MODEL, "%T does not add up to dimension %d of %T",
                sizes, axis, x);
  }
  set_tiles(n, x, axis);
  return RLT_OK;
}

static rlt_status prepare_unpack(rlt_prep *p, rlt_node *n) {
  RLT_TRY(check_counts(p, n, 1, rlt_fb_i32(&n->def->options, RLT_SLOT_UnpackOptions_num, 0), "num"));
  const rlt_tensor *x = n->in[0];
  int32_t axis = rlt_fb_i32(&n->def->options, RLT_SLOT_UnpackOptions_axis, 0), dims[RLT_MAX_RANK], rank = 0;
  RLT_REQUIRE(p->err, x->rank > 0, RLT_BAD_MODEL, "%T has no dimension to unpack", x);
  RLT_TRY(rlt_check_axis(p, &axis, x->rank));
  RLT_REQUIRE(p->err, x->dims[axis] == n->def->n_outputs, RLT_BAD_MODEL, "dimension %d of %T is unpacked to %d outputs",
              axis, x, n->def->n_outputs);
  for (int32_t d = 0; d < x->rank; d++) {
    if (d != axis) dims[rank++] = x->dims[d];
  }
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    RLT_TRY(rlt_check_moved(p, x, n->out[i]));
    RLT_TRY(rlt_set_shape(p, n->out[i], rank, dims));
  }
  set_tiles(n, x, axis);
  return RLT_OK;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const rlt_tensor *x = split_input(n);
  int64_t outer = *(const int64_t *)n->data, begin, end;
  if (x->count == 0) return RLT_OK;
  rlt_part(n, outer, first, last, &begin, &end);
  const uint8_t *from = (const uint8_t *)x->data + (uint64_t)begin * (x->bytes / (uint64_t)outer);
  for (int64_t row = begin; row < end; row++) {
    for (int32_t i = 0; i < n->def->n_outputs; i++) {
      uint64_t chunk = n->out[i]->bytes / (uint64_t)outer;
      rlt_copy((uint8_t *)n->out[i]->data + (uint64_t)row * chunk, from, chunk);
      from += chunk;
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_split = {"SPLIT", sizeof(int64_t), 5, false, prepare_split, NULL, run};
const rlt_kernel rlt_kernel_split_v = {"SPLIT_V", sizeof(int64_t), 3, false, prepare_split_v, NULL, run};
const rlt_kernel rlt_kernel_unpack = {"UNPACK", sizeof(int64_t), 6, false, prepare_unpack, NULL, run};
