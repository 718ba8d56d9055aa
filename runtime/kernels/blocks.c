/* SPDX-License-Identifier: Apache-2.0
 * Pixels that change places in blocks: SPACE_TO_DEPTH and DEPTH_TO_SPACE between positions and channels,
 * SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND between positions and images. */
#include "move.h"

/* ---- SPACE_TO_DEPTH, DEPTH_TO_SPACE ---- */

/* One more dimension of a walk of one input, inside the others. */
static void add_dim(rlt_walk *w, int64_t size, int64_t step) {
  w->dims[w->rank] = size;
  w->step[0][w->rank++] = step;
}

static rlt_status prepare_depth(rlt_prep *p, rlt_node *n, bool to_depth, int32_t block) {
  rlt_strided *k = n->data;
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_REQUIRE(p->err, x->rank == 4, RLT_BAD_MODEL, "%T must have 4 dimensions (NHWC)", x);
  RLT_REQUIRE(p->err, block >= 1 && block <= 1 << 15, RLT_BAD_MODEL, "block size %d", block);
  int32_t area = block * block, height = x->dims[1], width = x->dims[2], channels = x->dims[3];
  if (to_depth) {
    RLT_REQUIRE(p->err, height % block == 0 && width % block == 0 && channels <= INT32_MAX / area, RLT_BAD_MODEL,
                "%T does not divide into blocks of %d x %d", x, block, block);
    RLT_TRY(rlt_set_shape(p, n->out[0], 4, (int32_t[]){x->dims[0], height / block, width / block, channels * area}));
  } else {
    bool fits = channels % area == 0 && height <= INT32_MAX / block && width <= INT32_MAX / block;
    RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "the channels of %T do not make blocks of %d x %d", x, block, block);
    RLT_TRY(rlt_set_shape(p, n->out[0], 4, (int32_t[]){x->dims[0], height * block, width * block, channels / area}));
  }
  int64_t step[4], part = n->out[0]->dims[3];
  rlt_steps(x, step);
  *k = (rlt_strided){.walk = {.inputs = 1}};
  add_dim(&k->walk, x->dims[0], step[0]);
  if (to_depth) {
    add_dim(&k->walk, height / block, step[1] * block);
    add_dim(&k->walk, width / block, step[2] * block);
    add_dim(&k->walk, block, step[1]);
    add_dim(&k->walk, block, step[2]);
    part = channels;
  } else {
    add_dim(&k->walk, height, step[1]);
    add_dim(&k->walk, block, part * block);
    add_dim(&k->walk, width, step[2]);
    add_dim(&k->walk, block, part);
  }
  add_dim(&k->walk, part, 1);
  rlt_walk_merge(&k->walk);
  n->tiles = rlt_flat_tiles(x->count);
  return RLT_OK;
}

static rlt_status prepare_space_to_depth(rlt_prep *p, rlt_node *n) {
  return prepare_depth(p, n, true, rlt_fb_i32(&n->def->options, RLT_SLOT_SpaceToDepthOptions_block_size, 0));
}

static rlt_status prepare_depth_to_space(rlt_prep *p, rlt_node *n) {
  return prepare_depth(p, n, false, rlt_fb_i32(&n->def->options, RLT_SLOT_DepthToSpaceOptions_block_size, 0));
}

/* ---- SPACE_TO_BATCH_ND, BATCH_TO_SPACE_ND: dimensions 1 to `space` are cut by blocks ---- */

typedef struct batch_data {
  int32_t space;
  int32_t block[RLT_MAX_RANK], before[RLT_MAX_RANK]; /* padded, or cropped, of each dimension cut */
  uint8_t zero[16];
} batch_data;

/* One dimension of the output; `before` and `after` are padding or crops. */
static rlt_status cut(rlt_prep *p, bool to_batch, int32_t d, int64_t in, int64_t block, int64_t before, int64_t after,
                      int32_t *out) {
  RLT_REQUIRE(p->err, block >= 1 && before >= 0 && after >= 0, RLT_BAD_MODEL,
              "dimension %d: block %d, with %d before and %d after", d, (int32_t)block, (int32_t)before,
              (int32_t)after);
  int64_t whole = to_batch ? in + before + after : in * block - before - after;
  RLT_REQUIRE(p->err, whole >= 0 && whole <= INT32_MAX / 2 && (!to_batch || whole % block == 0), RLT_BAD_MODEL,
              "dimension %d of %d, with %d before and %d after, does not go with blocks of %d", d, (int32_t)in,
              (int32_t)before, (int32_t)after, (int32_t)block);
  *out = (int32_t)(to_batch ? whole / block : whole);
  return RLT_OK;
}

static rlt_status prepare_batch(rlt_prep *p, rlt_node *n) {
  batch_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  bool to_batch = n->def->op == RLT_OP_SPACE_TO_BATCH_ND;
  *k = (batch_data){0};
  int32_t edges[2 * RLT_MAX_RANK], count, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 1));
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_const_ints(p, n->in[1], RLT_MAX_RANK, k->block, &k->space));
  RLT_TRY(rlt_const_ints(p, n->in[2], 2 * RLT_MAX_RANK, edges, &count));
  RLT_REQUIRE(p->err, k->space < x->rank && count == 2 * k->space, RLT_BAD_MODEL,
              "%T and %T do not give a block and two edges for dimensions of %T", n->in[1], n->in[2], x);
  int64_t blocks = 1;
  for (int32_t d = 0; d < x->rank; d++) dims[d] = x->dims[d];
  for (int32_t i = 0; i < k->space; i++) {
    RLT_TRY(cut(p, to_batch, i + 1, x->dims[i + 1], k->block[i], edges[2 * i], edges[2 * i + 1], &dims[i + 1]));
    k->before[i] = edges[2 * i];
    blocks *= k->block[i];
    RLT_REQUIRE(p->err, blocks <= INT32_MAX, RLT_BAD_MODEL, "%T: the product of its blocks is too large", n->in[1]);
  }
  int64_t images = to_batch ? dims[0] * blocks : dims[0] / blocks;
  RLT_REQUIRE(p->err, images <= INT32_MAX && (to_batch || dims[0] % blocks == 0), RLT_BAD_MODEL,
              "the %d images of %T do not go with blocks of %d", dims[0], x, (int32_t)blocks);
  dims[0] = (int32_t)images;
  RLT_TRY(rlt_zero_element(p, n->out[0], k->zero));
  RLT_TRY(rlt_set_shape(p, n->out[0], x->rank, dims));
  n->tiles = rlt_unit_tiles(rlt_span(n->out[0], 0, k->space), rlt_span(n->out[0], k->space, x->rank));
  return RLT_OK;
}

/* Input position under output position `at` of cut dimension i, where the output's image is block number `offset` of
 * that dimension (SPACE_TO_BATCH_ND); the block number of the input's image (BATCH_TO_SPACE_ND). -1: padding. */
static int64_t space_source(const rlt_node *n, int32_t i, int64_t at, int64_t *offset) {
  const batch_data *k = n->data;
  if (n->def->op == RLT_OP_SPACE_TO_BATCH_ND) {
    int64_t from = at * k->block[i] + *offset - k->before[i];
    return from < n->in[0]->dims[i + 1] ? from : -1;
  }
  *offset = (at + k->before[i]) % k->block[i];
  return (at + k->before[i]) / k->block[i];
}

/* One output row along the last cut dimension; `row` counts those before it. */
static void move_row(const rlt_node *n, int64_t row, int64_t inner) {
  const batch_data *k = n->data;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  bool to_batch = n->def->op == RLT_OP_SPACE_TO_BATCH_ND;
  int32_t last = k->space - 1;
  uint32_t bytes = rlt_type_bytes(y->type);
  int64_t at[RLT_MAX_RANK] = {0}, offset[RLT_MAX_RANK] = {0}, rest = row;
  for (int32_t i = last - 1; i >= 0; i--) {
    at[i] = rest % y->dims[i + 1];
    rest /= y->dims[i + 1];
  }
  int64_t image = to_batch ? rest % x->dims[0] : rest, number = rest / (to_batch ? x->dims[0] : 1);
  for (int32_t i = last; to_batch && i >= 0; i--) {
    offset[i] = number % k->block[i];
    number /= k->block[i];
  }
  int64_t position = 0; /* of the input row within its image, in rows */
  bool inside = true;
  for (int32_t i = 0; i < last; i++) {
    int64_t from = space_source(n, i, at[i], &offset[i]);
    inside = inside && from >= 0;
    position = position * x->dims[i + 1] + from;
  }
  uint8_t *to = (uint8_t *)y->data + (uint64_t)(row * y->dims[last + 1] * inner) * bytes;
  int64_t rows = rlt_span(x, 1, last + 1), width = x->dims[last + 1];
  for (int64_t i = 0; i < y->dims[last + 1]; i++, to += (uint64_t)inner * bytes) {
    int64_t from = space_source(n, last, i, &offset[last]), source = image;
    if (!to_batch) {
      int64_t block = 0;
      for (int32_t d = 0; d <= last; d++) block = block * k->block[d] + offset[d];
      source = block * y->dims[0] + image;
    }
    if (inside && from >= 0) {
      uint64_t element = (uint64_t)(((source * rows + position) * width + from) * inner);
      rlt_copy(to, (const uint8_t *)x->data + element * bytes, (uint64_t)inner * bytes);
    } else {
      rlt_repeat(to, k->zero, bytes, inner);
    }
  }
}

static rlt_status run_batch(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const batch_data *k = n->data;
  const rlt_tensor *y = n->out[0];
  int64_t begin, end;
  if (y->count == 0) return RLT_OK;
  if (k->space == 0) {
    if (first == 0) rlt_copy(y->data, n->in[0]->data, y->bytes);
    return RLT_OK;
  }
  rlt_part(n, rlt_span(y, 0, k->space), first, last, &begin, &end);
  for (int64_t row = begin; row < end; row++) move_row(n, row, rlt_span(y, k->space + 1, y->rank));
  return RLT_OK;
}

const rlt_kernel rlt_kernel_space_to_depth = {
    "SPACE_TO_DEPTH", sizeof(rlt_strided), 2, false, prepare_space_to_depth, NULL, rlt_run_strided};
const rlt_kernel rlt_kernel_depth_to_space = {
    "DEPTH_TO_SPACE", sizeof(rlt_strided), 2, false, prepare_depth_to_space, NULL, rlt_run_strided};
const rlt_kernel rlt_kernel_space_to_batch_nd = {
    "SPACE_TO_BATCH_ND", sizeof(batch_data), 4, false, prepare_batch, NULL, run_batch};
const rlt_kernel rlt_kernel_batch_to_space_nd = {
    "BATCH_TO_SPACE_ND", sizeof(batch_data), 4, false, prepare_batch, NULL, run_batch};
