/* SPDX-License-Identifier: Apache-2.0
 * RESHAPE, SQUEEZE, EXPAND_DIMS and DENSIFY (sparse constants are dense once the file is read): the same elements
 * under another shape, in place where the plan allows. */
#include "move.h"

/* Elements keep their places, so those of less than a byte stay packed. */
static bool is_packed(int32_t type) { return type == RLT_TYPE_INT4 || type == RLT_TYPE_UINT4 || type == RLT_TYPE_INT2; }

static rlt_status finish(rlt_prep *p, rlt_node *n, int32_t rank, const int32_t *dims) {
  const rlt_tensor *x = n->in[0];
  if (is_packed(x->type) && x->type == n->out[0]->type) RLT_TRY(rlt_require_same_quantization(p, x, n->out[0]));
  else RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_set_shape(p, n->out[0], rank, dims));
  RLT_REQUIRE(p->err, n->out[0]->count == x->count, RLT_BAD_MODEL, "%T cannot become %T: the counts differ", x,
              n->out[0]);
  n->in_place = 0;
  n->tiles = rlt_flat_tiles(x->count);
  return RLT_OK;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->bytes, first, last, &begin, &end);
  rlt_copy((uint8_t *)n->out[0]->data + begin, (const uint8_t *)n->in[0]->data + begin, (uint64_t)(end - begin));
  return RLT_OK;
}

/* ---- RESHAPE ---- */

/* Replaces the one -1 by what the count leaves. */
static rlt_status solve_unknown(rlt_prep *p, const rlt_tensor *x, int32_t rank, int32_t *dims) {
  int32_t unknown = -1;
  uint64_t known = 1;
  for (int32_t d = 0; d < rank; d++) {
    RLT_REQUIRE(p->err, dims[d] >= -1, RLT_BAD_MODEL, "dimension %d of the new shape is %d", d, dims[d]);
    RLT_REQUIRE(p->err, dims[d] != -1 || unknown < 0, RLT_BAD_MODEL, "the new shape has more than one -1");
    if (dims[d] == -1) {
      unknown = d;
    } else {
      known = known > UINT32_MAX && dims[d] > 0 ? UINT64_MAX : known * (uint64_t)dims[d];
    }
    RLT_REQUIRE(p->err, known <= INT64_MAX, RLT_BAD_MODEL, "the new shape has too many elements");
  }
  if (unknown < 0) return RLT_OK;
  if (known == 0) {
    dims[unknown] = 0;
    return RLT_OK;
  }
  RLT_REQUIRE(p->err, x->count % known == 0 && x->count / known <= INT32_MAX, RLT_BAD_MODEL,
              "%T has no whole number for the -1 of the new shape", x);
  dims[unknown] = (int32_t)(x->count / known);
  return RLT_OK;
}

static rlt_status options_shape(rlt_prep *p, const rlt_node *n, int32_t *rank, int32_t *dims) {
  rlt_vector shape;
  RLT_REQUIRE(p->err, rlt_fb_vector(&n->def->options, RLT_SLOT_ReshapeOptions_new_shape, 4, &shape), RLT_BAD_MODEL,
              "its new_shape is broken");
  RLT_REQUIRE(p->err, shape.data, RLT_BAD_MODEL, "it says no new shape: neither a second input nor new_shape");
  RLT_REQUIRE(p->err, shape.count <= RLT_MAX_RANK, RLT_UNSUPPORTED, "its new_shape has %d dimensions",
              (int32_t)shape.count);
  *rank = (int32_t)shape.count;
  for (int32_t d = 0; d < *rank; d++) dims[d] = rlt_vec_i32(&shape, (uint32_t)d);
  return RLT_OK;
}

static rlt_status prepare_reshape(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 2, 1));
  const rlt_tensor *x = n->in[0], *shape = n->def->n_inputs > 1 ? n->in[1] : NULL;
  int32_t rank, dims[RLT_MAX_RANK];
  if (shape) {
    RLT_TRY(rlt_const_ints(p, shape, RLT_MAX_RANK, dims, &rank));
  } else {
    RLT_TRY(options_shape(p, n, &rank, dims));
  }
  if (rank == 1 && dims[0] == 0 && x->count == 1) rank = 0; /* how old converters wrote a scalar */
  RLT_TRY(solve_unknown(p, x, rank, dims));
  return finish(p, n, rank, dims);
}

/* ---- SQUEEZE, EXPAND_DIMS ---- */

static rlt_status prepare_squeeze(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  const rlt_tensor *x = n->in[0];
  rlt_vector axes;
  RLT_REQUIRE(p->err, rlt_fb_vector(&n->def->options, RLT_SLOT_SqueezeOptions_squeeze_dims, 4, &axes), RLT_BAD_MODEL,
              "its squeeze_dims is broken");
  bool drop[RLT_MAX_RANK] = {false};
  for (uint32_t i = 0; i < axes.count; i++) {
    int32_t axis = rlt_vec_i32(&axes, i);
    RLT_TRY(rlt_check_axis(p, &axis, x->rank));
    RLT_REQUIRE(p->err, x->dims[axis] == 1, RLT_BAD_MODEL, "%T: dimension %d is not 1, so it cannot be squeezed", x,
                axis);
    drop[axis] = true;
  }
  int32_t rank = 0, dims[RLT_MAX_RANK];
  for (int32_t d = 0; d < x->rank; d++) {
    bool dropped = axes.count ? drop[d] : x->dims[d] == 1;
    if (!dropped) dims[rank++] = x->dims[d];
  }
  return finish(p, n, rank, dims);
}

static rlt_status prepare_expand_dims(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  const rlt_tensor *x = n->in[0];
  int32_t axis, count, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_const_ints(p, n->in[1], 1, &axis, &count));
  RLT_REQUIRE(p->err, count == 1, RLT_BAD_MODEL, "%T must hold one axis", n->in[1]);
  RLT_REQUIRE(p->err, x->rank < RLT_MAX_RANK, RLT_UNSUPPORTED, "%T: one more dimension than this build allows", x);
  RLT_TRY(rlt_check_axis(p, &axis, x->rank + 1));
  for (int32_t d = 0; d <= x->rank; d++) dims[d] = d == axis ? 1 : x->dims[d < axis ? d : d - 1];
  return finish(p, n, x->rank + 1, dims);
}

static rlt_status prepare_densify(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  return finish(p, n, n->in[0]->rank, n->in[0]->dims);
}

const rlt_kernel rlt_kernel_reshape = {"RESHAPE", 0, 1, false, prepare_reshape, NULL, run};
const rlt_kernel rlt_kernel_squeeze = {"SQUEEZE", 0, 2, false, prepare_squeeze, NULL, run};
const rlt_kernel rlt_kernel_expand_dims = {"EXPAND_DIMS", 0, 1, false, prepare_expand_dims, NULL, run};
const rlt_kernel rlt_kernel_densify = {"DENSIFY", 0, 1, false, prepare_densify, NULL, run};
