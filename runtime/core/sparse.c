/* SPDX-License-Identifier: Apache-2.0
 * Sparse constants become dense ones while the file is read.
 *
 * Levels are the tensor's dimensions in the file's traversal order, then those of blocks. A dense level has every
 * position; a compressed one lists, for each position of the level above, a segment of indices. Values come in the
 * order in which a walk down the levels reaches their ends. */
#include "internal.h"

#define MAX_LEVELS (2 * RLT_MAX_RANK)

typedef struct level {
  bool is_dense;
  int32_t size;
  int32_t dim, scale; /* the tensor's dimension it steps along, and how far */
  rlt_vector segments, indices;
  uint32_t segments_bytes, indices_bytes; /* of an element */
  /* the walk's */
  uint64_t at, end; /* position, or place among the indices */
} level;

typedef struct sparse {
  level levels[MAX_LEVELS];
  int32_t count;
} sparse;

static rlt_status bad(rlt_reading *r, const char *what) {
  return rlt_fail(r->err, RLT_BAD_MODEL, "its sparsity has %s; the file is corrupt", what);
}

static bool read_index_vector(const rlt_table *t, int type_slot, int slot, rlt_vector *out, uint32_t *bytes) {
  rlt_table holder;
  uint8_t type = rlt_fb_u8(t, type_slot, 0);
  *bytes = type == RLT_SPARSE_INDEX_VECTOR_Int32Vector ? 4 : (type == RLT_SPARSE_INDEX_VECTOR_Uint16Vector ? 2 : 1);
  if (type == 0 || type > RLT_SPARSE_INDEX_VECTOR_Uint8Vector) return false;
  return rlt_fb_table(t, slot, &holder) && rlt_fb_vector(&holder, RLT_SLOT_Int32Vector_values, *bytes, out);
}

static int64_t index_at(const rlt_vector *v, uint32_t bytes, uint64_t i) {
  if (bytes == 4) return rlt_vec_i32(v, (uint32_t)i);
  if (bytes == 2) return v->data[2 * i] | v->data[2 * i + 1] << 8;
  return v->data[i];
}

static rlt_status read_level(rlt_reading *r, const rlt_vector *metadata, int32_t i, level *l) {
  rlt_table t;
  if (!rlt_fb_table_at(r->file, metadata, (uint32_t)i, &t)) return bad(r, "a level outside the file");
  l->is_dense = rlt_fb_i8(&t, RLT_SLOT_DimensionMetadata_format, 0) == RLT_DIMENSION_TYPE_DENSE;
  if (l->is_dense) {
    int32_t size = rlt_fb_i32(&t, RLT_SLOT_DimensionMetadata_dense_size, 0);
    return size == l->size ? RLT_OK : bad(r, "a level of another size than the tensor's dimension");
  }
  bool good = read_index_vector(&t, RLT_SLOT_DimensionMetadata_array_segments_type,
                                RLT_SLOT_DimensionMetadata_array_segments, &l->segments, &l->segments_bytes) &&
              read_index_vector(&t, RLT_SLOT_DimensionMetadata_array_indices_type,
                                RLT_SLOT_DimensionMetadata_array_indices, &l->indices, &l->indices_bytes);
  return good ? RLT_OK : bad(r, "a compressed level without its indices");
}

/* Sizes of the levels: blocks first, because they divide the dimensions they belong to. */
static rlt_status size_levels(rlt_reading *r, const rlt_tensor_def *t, const rlt_vector *order,
                              const rlt_vector *block_map, const rlt_vector *metadata, sparse *s) {
  int32_t block[RLT_MAX_RANK];
  bool seen[MAX_LEVELS] = {false};
  for (int32_t d = 0; d < t->rank; d++) block[d] = 1;
  for (int32_t i = s->count - 1; i >= 0; i--) {
    int32_t which = rlt_vec_i32(order, (uint32_t)i);
    bool is_block = i >= t->rank;
    if (which < (is_block ? t->rank : 0) || which >= (is_block ? s->count : t->rank) || seen[which])
      return bad(r, "a traversal order that is no permutation");
    seen[which] = true;
    level *l = &s->levels[i];
    l->dim = is_block ? rlt_vec_i32(block_map, (uint32_t)(which - t->rank)) : which;
    if (l->dim < 0 || l->dim >= t->rank) return bad(r, "a block along a dimension that is not there");
    l->scale = is_block ? 1 : block[l->dim];
    if (!is_block) {
      if (t->dims[l->dim] % l->scale != 0) return bad(r, "blocks that do not divide a dimension");
      l->size = t->dims[l->dim] / l->scale;
      continue;
    }
    rlt_table m;
    if (!rlt_fb_table_at(r->file, metadata, (uint32_t)i, &m)) return bad(r, "a level outside the file");
    l->size = rlt_fb_i32(&m, RLT_SLOT_DimensionMetadata_dense_size, 0);
    if (block[l->dim] != 1 || l->size < 1) return bad(r, "blocks of no size, or two along one dimension");
    block[l->dim] = l->size;
  }
  return RLT_OK;
}

static rlt_status read_levels(rlt_reading *r, const rlt_table *sparsity, const rlt_tensor_def *t, sparse *s) {
  rlt_vector order, block_map, metadata;
  if (!rlt_fb_vector(sparsity, RLT_SLOT_SparsityParameters_traversal_order, 4, &order) ||
      !rlt_fb_vector(sparsity, RLT_SLOT_SparsityParameters_block_map, 4, &block_map) ||
      !rlt_fb_vector(sparsity, RLT_SLOT_SparsityParameters_dim_metadata, 4, &metadata))
    return bad(r, "a part outside the file");
  if (block_map.count > (uint32_t)t->rank || order.count != (uint32_t)t->rank + block_map.count ||
      metadata.count != order.count)
    return bad(r, "another number of levels than the tensor has dimensions and blocks");
  s->count = (int32_t)order.count;
  RLT_TRY(size_levels(r, t, &order, &block_map, &metadata, s));
  for (int32_t i = 0; i < s->count; i++) RLT_TRY(read_level(r, &metadata, i, &s->levels[i]));
  return RLT_OK;
}

/* Sets a level to the part of it that belongs to position `above` of the level over it. */
static bool enter(level *l, uint64_t above) {
  l->at = 0;
  l->end = (uint64_t)l->size;
  if (l->is_dense) return true;
  if (above + 1 >= l->segments.count) return false;
  int64_t first = index_at(&l->segments, l->segments_bytes, above);
  int64_t last = index_at(&l->segments, l->segments_bytes, above + 1);
  if (first < 0 || last < first || last > (int64_t)l->indices.count) return false;
  l->at = (uint64_t)first;
  l->end = (uint64_t)last;
  return true;
}

/* Element of the dense tensor that the levels' positions name; -1: outside. */
static int64_t element_of(const sparse *s, const rlt_tensor_def *t) {
  int64_t position[RLT_MAX_RANK] = {0}, element = 0;
  for (int32_t i = 0; i < s->count; i++) {
    const level *l = &s->levels[i];
    int64_t at = l->is_dense ? (int64_t)l->at : index_at(&l->indices, l->indices_bytes, l->at);
    if (at < 0 || at >= l->size) return -1;
    position[l->dim] += at * l->scale;
  }
  for (int32_t d = 0; d < t->rank; d++) element = element * t->dims[d] + position[d];
  return element;
}

/* `above` of the level below level i: dense levels are counted through, compressed ones by place. */
static uint64_t place_at(const sparse *s, int32_t i, const uint64_t *above) {
  const level *l = &s->levels[i];
  return l->is_dense ? above[i] * (uint64_t)l->size + l->at : l->at;
}

rlt_status rlt_densify(rlt_reading *r, const rlt_table *sparsity, const uint8_t *values, uint64_t bytes,
                       const rlt_tensor_def *t, uint8_t *to) {
  sparse s = {.count = 0};
  uint64_t above[MAX_LEVELS + 1] = {0}, element = rlt_type_bytes(t->type), used = 0;
  RLT_TRY(read_levels(r, sparsity, t, &s));
  uint64_t steps = (uint64_t)(s.count + 1) * (t->bytes / element + 1); /* more only where segments overlap */
  int32_t i = 0;
  bool good = t->bytes == 0 || enter(&s.levels[0], 0);
  if (t->bytes == 0) i = -1;
  while (good && i >= 0) {
    level *l = &s.levels[i];
    if (l->at >= l->end) {
      if (--i >= 0) s.levels[i].at++;
      continue;
    }
    good = steps-- > 0;
    if (!good) break;
    if (i + 1 < s.count) {
      above[i + 1] = place_at(&s, i, above);
      i++;
      good = enter(&s.levels[i], above[i]);
      continue;
    }
    int64_t at = element_of(&s, t);
    good = at >= 0 && (used + 1) * element <= bytes;
    if (good) __builtin_memcpy(to + (uint64_t)at * element, values + used++ * element, (size_t)element);
    l->at++;
  }
  return good && used * element == bytes ? RLT_OK : bad(r, "indices that do not fit its values or its shape");
}
