/* SPDX-License-Identifier: Apache-2.0
 * SLICE and STRIDED_SLICE: the output is the input seen along other steps. */
#include "move.h"

/* What the bounds say. */
typedef struct slice_spec {
  int32_t rank, dims[RLT_MAX_RANK]; /* of the output */
  rlt_strided strided;
} slice_spec;

static rlt_status read_bounds(rlt_prep *p, const rlt_node *n, int32_t values[3][RLT_MAX_RANK]) {
  int32_t count;
  for (int32_t i = 1; i < n->def->n_inputs; i++)
    RLT_TRY(rlt_const_ints(p, n->in[i], RLT_MAX_RANK, values[i - 1], &count));
  return RLT_OK;
}

/* ---- SLICE: begin and size, -1 for all that follows ---- */

static rlt_status resolve_slice(rlt_prep *p, const rlt_node *n, slice_spec *s) {
  const rlt_tensor *x = n->in[0];
  int32_t values[3][RLT_MAX_RANK];
  int64_t step[RLT_MAX_RANK];
  RLT_TRY(read_bounds(p, n, values));
  rlt_steps(x, step);
  s->rank = x->rank;
  s->strided.base = 0;
  for (int32_t d = 0; d < x->rank; d++) {
    int32_t begin = values[0][d], size = values[1][d];
    RLT_REQUIRE(p->err, begin >= 0 && begin <= x->dims[d] && size >= -1, RLT_BAD_VALUE,
                "dimension %d of %T is sliced from %d, %d elements", d, x, begin, size);
    if (size == -1) size = x->dims[d] - begin;
    RLT_REQUIRE(p->err, size <= x->dims[d] - begin, RLT_BAD_VALUE, "dimension %d of %T is sliced from %d, %d elements",
                d, x, begin, size);
    s->dims[d] = size;
    s->strided.walk.dims[d] = size;
    s->strided.walk.step[0][d] = step[d];
    s->strided.base += begin * step[d];
  }
  return RLT_OK;
}

/* ---- STRIDED_SLICE ---- */

typedef struct masks {
  int32_t begin, end, ellipsis, new_axis, shrink;
  bool offset; /* end counts from begin */
} masks;

static masks read_masks(const rlt_node *n) {
  const rlt_table *o = &n->def->options;
  return (masks){rlt_fb_i32(o, RLT_SLOT_StridedSliceOptions_begin_mask, 0),
                 rlt_fb_i32(o, RLT_SLOT_StridedSliceOptions_end_mask, 0),
                 rlt_fb_i32(o, RLT_SLOT_StridedSliceOptions_ellipsis_mask, 0),
                 rlt_fb_i32(o, RLT_SLOT_StridedSliceOptions_new_axis_mask, 0),
                 rlt_fb_i32(o, RLT_SLOT_StridedSliceOptions_shrink_axis_mask, 0),
                 rlt_fb_bool(o, RLT_SLOT_StridedSliceOptions_offset, false)};
}

/* Python's rules for one bound: negative counts from the end, out of range is cut. */
static int64_t cut_bound(int64_t bound, int32_t size, int32_t stride) {
  if (bound < 0) bound += size;
  int64_t least = stride > 0 ? 0 : -1, most = stride > 0 ? size : size - 1;
  return bound < least ? least : (bound > most ? most : bound);
}

/* One input dimension taken by entry i of the bounds. */
static rlt_status take_dimension(rlt_prep *p, const rlt_tensor *x, int32_t d, const masks *m, int32_t i,
                                 int32_t values[3][RLT_MAX_RANK], const int64_t *step, slice_spec *s) {
  int32_t size = x->dims[d], stride = values[2][i];
  int64_t begin = values[0][i], end = m->offset ? begin + values[1][i] : values[1][i];
  RLT_REQUIRE(p->err, stride != 0, RLT_BAD_VALUE, "stride %d of the slice is 0", i);
  if (m->shrink >> i & 1) {
    int64_t at = begin < 0 ? begin + size : begin;
    RLT_REQUIRE(p->err, at >= 0 && at < size, RLT_BAD_VALUE, "index %d is outside dimension %d of %T", values[0][i], d,
                x);
    s->strided.base += at * step[d];
    return RLT_OK;
  }
  begin = m->begin >> i & 1 ? (stride > 0 ? 0 : size - 1) : cut_bound(begin, size, stride);
  end = m->end >> i & 1 ? (stride > 0 ? size : -1) : cut_bound(end, size, stride);
  int64_t span = stride > 0 ? end - begin : begin - end;
  int64_t pace = stride > 0 ? stride : -(int64_t)stride;
  int64_t count = span > 0 ? (span + pace - 1) / pace : 0;
  s->dims[s->rank] = (int32_t)count;
  s->strided.walk.dims[s->rank] = count;
  s->strided.walk.step[0][s->rank++] = count > 1 ? step[d] * stride : 0; /* else it could overflow */
  if (count > 0) s->strided.base += begin * step[d];
  return RLT_OK;
}

static void take_whole(const rlt_tensor *x, int32_t d, const int64_t *step, slice_spec *s) {
  s->dims[s->rank] = x->dims[d];
  s->strided.walk.dims[s->rank] = x->dims[d];
  s->strided.walk.step[0][s->rank++] = step[d];
}

static rlt_status resolve_strided_slice(rlt_prep *p, const rlt_node *n, slice_spec *s) {
  const rlt_tensor *x = n->in[0];
  int32_t values[3][RLT_MAX_RANK], entries = (int32_t)n->in[1]->count, taken = 0, d = 0;
  int64_t step[RLT_MAX_RANK];
  masks m = read_masks(n);
  RLT_TRY(read_bounds(p, n, values));
  rlt_steps(x, step);
  for (int32_t i = 0; i < entries; i++) taken += (m.new_axis >> i & 1) || (m.ellipsis >> i & 1) ? 0 : 1;
  RLT_REQUIRE(p->err, taken <= x->rank, RLT_BAD_MODEL, "the slice names %d dimensions of %T", taken, x);
  int32_t added = entries - taken;
  RLT_REQUIRE(p->err, x->rank + added <= RLT_MAX_RANK, RLT_UNSUPPORTED, "the slice of %T has more than %d dimensions",
              x, (int32_t)RLT_MAX_RANK);
  s->rank = 0;
  s->strided.base = 0;
  for (int32_t i = 0; i < entries; i++) {
    if (m.ellipsis >> i & 1) {
      for (int32_t rest = x->rank - taken; rest > 0; rest--) take_whole(x, d++, step, s);
      m.ellipsis = 0; /* a second one takes nothing */
      taken = x->rank;
    } else if (m.new_axis >> i & 1) {
      s->dims[s->rank] = 1;
      s->strided.walk.dims[s->rank] = 1;
      s->strided.walk.step[0][s->rank++] = 0;
    } else {
      RLT_TRY(take_dimension(p, x, d++, &m, i, values, step, s));
    }
  }
  while (d < x->rank) take_whole(x, d++, step, s);
  return RLT_OK;
}

static rlt_status resolve(rlt_prep *p, const rlt_node *n, slice_spec *s) {
  RLT_TRY((n->def->op == RLT_OP_SLICE ? resolve_slice : resolve_strided_slice)(p, n, s));
  s->strided.walk.rank = s->rank;
  s->strided.walk.inputs = 1;
  rlt_walk_merge(&s->strided.walk);
  return RLT_OK;
}

/* ---- both ---- */

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  bool strided = n->def->op == RLT_OP_STRIDED_SLICE;
  RLT_TRY(rlt_check_arity(p, n, strided ? 4 : 3, strided ? 4 : 3, 1));
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  for (int32_t i = 1; i < n->def->n_inputs; i++) {
    RLT_TRY(rlt_check_type(p, n->in[i], RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
    bool counts = strided ? n->in[i]->count == n->in[1]->count && n->in[i]->count <= RLT_MAX_RANK
                          : n->in[i]->count == (uint64_t)x->rank;
    RLT_REQUIRE(p->err, counts, RLT_BAD_MODEL, "%T does not give one value per dimension of %T", n->in[i], x);
  }
  slice_spec s;
  RLT_TRY(resolve(p, n, &s));
  RLT_TRY(rlt_set_shape(p, n->out[0], s.rank, s.dims));
  *(rlt_strided *)n->data = s.strided;
  n->tiles = rlt_flat_tiles(n->out[0]->count);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_slice = {"SLICE", sizeof(rlt_strided), 8, false, prepare, NULL, rlt_run_strided};
const rlt_kernel rlt_kernel_strided_slice = {"STRIDED_SLICE", sizeof(rlt_strided), 8, false, prepare, NULL,
                                             rlt_run_strided};
