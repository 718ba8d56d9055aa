/* SPDX-License-Identifier: Apache-2.0
 * What most kernels share: checks with words, activation ranges, tiles of a flat tensor, broadcasting. */
#ifndef RLT_COMMON_H
#define RLT_COMMON_H

#include "../core/graph.h"
#include "../core/math.h"
#include "../simd/loops.h"
#include "../simd/ukernels.h"

#define RLT_TILE 16384 /* elements of a flat tensor one tile covers */
#define RLT_BIT(type) ((uint64_t)1 << (type))

static inline void rlt_copy(void *to, const void *from, uint64_t bytes) {
  if (bytes > 0 && to != from) __builtin_memmove(to, from, (size_t)bytes);
}

/* ---- checks ------------------------------------------------------------------------------------------------- */

/* t's type is among `mask` (RLT_BIT of each); `names` lists them for the message. UNSUPPORTED otherwise. */
rlt_status rlt_check_type(rlt_prep *p, const rlt_tensor *t, uint64_t mask, const char *names);
/* BAD_MODEL unless both have the same type. */
rlt_status rlt_check_same_type(rlt_prep *p, const rlt_tensor *a, const rlt_tensor *b);
/* axis in [-rank, rank) is made non-negative. BAD_MODEL otherwise. */
rlt_status rlt_check_axis(rlt_prep *p, int32_t *axis, int32_t rank);
/* Copies an INT32 or INT64 tensor of at most `cap` values that prepare needs. LATER where they are not there yet. */
rlt_status rlt_const_ints(rlt_prep *p, const rlt_tensor *t, int32_t cap, int32_t *values, int32_t *count);
/* The same of signed integers of any width. */
rlt_status rlt_const_any_ints(rlt_prep *p, const rlt_tensor *t, int32_t cap, int32_t *values, int32_t *count);
/* Copies INT32 or INT64 values at run time: at most `cap`, clamped to int32. */
void rlt_read_ints(const rlt_tensor *t, int32_t cap, int32_t *values);

/* ---- activations -------------------------------------------------------------------------------------------- */

const char *rlt_activation_name(int32_t activation);
/* Range that a fused activation leaves: NONE, RELU, RELU_N1_TO_1, RELU6. UNSUPPORTED for others. */
rlt_status rlt_activation_f32(rlt_prep *p, int32_t activation, float *lo, float *hi);
/* The same in the integers of quantized tensor t (INT8, UINT8, INT16). */
rlt_status rlt_activation_quantized(rlt_prep *p, int32_t activation, const rlt_tensor *t, int32_t *lo, int32_t *hi);
/* The same with ties away from zero, as LiteRT's own kernels have it. */
rlt_status rlt_activation_away(rlt_prep *p, int32_t activation, const rlt_tensor *t, int32_t *lo, int32_t *hi);
/* The same for plain integers. */
rlt_status rlt_activation_i32(rlt_prep *p, int32_t activation, int32_t *lo, int32_t *hi);

/* ---- flat tensors ------------------------------------------------------------------------------------------- */

/* Tiles for `count` elements, at least 1. */
static inline int32_t rlt_flat_tiles(uint64_t count) {
  uint64_t tiles = (count + RLT_TILE - 1) / RLT_TILE;
  return tiles < 1 ? 1 : (tiles > INT32_MAX ? INT32_MAX : (int32_t)tiles);
}

/* Part [begin, end) of `count` units that tiles [first, last) of n->tiles cover, spread evenly. */
static inline void rlt_part(const rlt_node *n, int64_t count, int32_t first, int32_t last, int64_t *begin,
                            int64_t *end) {
  int64_t quotient = count / n->tiles, remainder = count % n->tiles;
  *begin = first * quotient + (first < remainder ? first : remainder);
  *end = last * quotient + (last < remainder ? last : remainder);
}

/* Tiles so that each holds about RLT_TILE elements' worth of `units`, of `unit` elements each. */
static inline int32_t rlt_unit_tiles(int64_t units, int64_t unit) {
  int64_t per_tile = unit >= RLT_TILE ? 1 : RLT_TILE / (unit < 1 ? 1 : unit);
  int64_t tiles = (units + per_tile - 1) / per_tile;
  return tiles < 1 ? 1 : (tiles > INT32_MAX ? INT32_MAX : (int32_t)tiles);
}

/* Product of dims [from, to). */
static inline int64_t rlt_span(const rlt_tensor *t, int32_t from, int32_t to) {
  int64_t product = 1;
  for (int32_t i = from; i < to; i++) product *= t->dims[i];
  return product;
}

/* ---- strided walks ------------------------------------------------------------------------------------------ */

#define RLT_WALK_INPUTS 3
#define RLT_WALK_RANK (2 * RLT_MAX_RANK) /* a tiled dimension is walked as two */

/* An output walked in order, and for each input its step, in elements, along every dimension (0: broadcast).
 * Neighbouring dimensions that all tensors step through alike are merged, those of size 1 dropped. */
typedef struct rlt_walk {
  int32_t rank; /* >= 1 */
  int32_t inputs;
  int64_t dims[RLT_WALK_RANK];
  int64_t step[RLT_WALK_INPUTS][RLT_WALK_RANK];
} rlt_walk;

/* Computes n elements of the innermost dimension: the output from element `out` on, input i from in[i] on, stepping by
 * the walk's last step. */
typedef void (*rlt_row)(const void *ctx, int64_t out, const int64_t *in, int64_t n);

/* NumPy's broadcasting of `inputs` tensors: output shape into rank and dims. BAD_MODEL if they do not fit. */
rlt_status rlt_broadcast(rlt_prep *p, rlt_tensor *const *in, int32_t inputs, int32_t *rank, int32_t *dims);
/* A walk over dims in which input i steps like a tensor broadcast to them. */
void rlt_walk_broadcast(rlt_walk *w, rlt_tensor *const *in, int32_t inputs, int32_t rank, const int32_t *dims);
/* Merges the dimensions of a walk whose dims and steps the caller filled. */
void rlt_walk_merge(rlt_walk *w);
/* Calls row for output elements [begin, end), with `base` (may be NULL) added to the inputs' positions. */
void rlt_walk_run(const rlt_walk *w, const int64_t *base, int64_t begin, int64_t end, rlt_row row, const void *ctx);

#endif
