/* SPDX-License-Identifier: Apache-2.0
 * WHERE: the positions of what is not 0. UNIQUE: values in the order they first come, and which of them each is. Both
 * know the size of their output only when they run. */
#include "move.h"

/* ---- WHERE ---- */

static rlt_status prepare_where(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_type(p, x,
                         RLT_BIT(RLT_TYPE_BOOL) | RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT8) |
                             RLT_BIT(RLT_TYPE_UINT8) | RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_UINT32) |
                             RLT_BIT(RLT_TYPE_INT64),
                         "BOOL, FLOAT32, INT8, UINT8, INT32, UINT32 or INT64"));
  RLT_TRY(rlt_check_type(p, n->out[0], RLT_BIT(RLT_TYPE_INT64), "INT64"));
  RLT_REQUIRE(p->err, x->rank >= 1 && x->count <= INT32_MAX, RLT_BAD_MODEL, "%T must have dimensions", x);
  return rlt_bound_shape(p, n->out[0], 2, (int32_t[]){(int32_t)x->count, x->rank});
}

static bool is_set(const rlt_tensor *x, uint64_t i) {
  switch (x->type) {
    case RLT_TYPE_FLOAT32: /* -0 is 0, NaN is not */
      return ((const uint32_t *)x->data)[i] << 1 != 0;
    case RLT_TYPE_INT32:
    case RLT_TYPE_UINT32:
      return ((const uint32_t *)x->data)[i] != 0;
    case RLT_TYPE_INT64:
      return ((const uint64_t *)x->data)[i] != 0;
    default:
      return ((const uint8_t *)x->data)[i] != 0;
  }
}

static rlt_status run_where(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const rlt_tensor *x = n->in[0];
  int32_t count = 0;
  for (uint64_t i = 0; i < x->count; i++) count += is_set(x, i);
  RLT_TRY(rlt_set_output(r, n->out[0], 2, (int32_t[]){count, x->rank}));
  int64_t *to = n->out[0]->data;
  for (uint64_t i = 0; i < x->count; i++) {
    if (!is_set(x, i)) continue;
    int64_t rest = (int64_t)i;
    for (int32_t d = x->rank - 1; d >= 0; d--) {
      to[d] = rest % x->dims[d];
      rest /= x->dims[d];
    }
    to += x->rank;
  }
  return RLT_OK;
}

/* ---- UNIQUE: by a hash table of the first positions, at most half full ---- */

typedef struct unique_data {
  uint64_t slots; /* a power of two */
} unique_data;

static rlt_status prepare_unique(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 2));
  unique_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_type(p, x,
                         RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8) |
                             RLT_BIT(RLT_TYPE_INT16) | RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64),
                         "FLOAT32, INT8, UINT8, INT16, INT32 or INT64"));
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_check_type(p, n->out[1], RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  RLT_REQUIRE(p->err, x->rank <= 1 && x->count <= INT32_MAX / 4, RLT_BAD_MODEL, "%T must have one dimension", x);
  for (k->slots = 2; k->slots < 2 * x->count;) k->slots *= 2;
  n->scratch_bytes = k->slots * sizeof(int32_t);
  int32_t count = (int32_t)x->count;
  RLT_TRY(rlt_set_shape(p, n->out[1], 1, &count));
  return rlt_bound_shape(p, n->out[0], 1, &count);
}

/* What tells an element from others: its bits, with one zero. */
static uint64_t key_of(const rlt_tensor *x, uint64_t i) {
  uint64_t key = 0;
  uint32_t bytes = rlt_type_bytes(x->type);
  rlt_copy(&key, (const uint8_t *)x->data + i * bytes, bytes);
  return x->type == RLT_TYPE_FLOAT32 && key == 0x80000000u ? 0 : key;
}

static int64_t id_at(const rlt_tensor *ids, uint64_t i) { return rlt_index_at(ids, (int64_t)i); }

static void set_id(const rlt_tensor *ids, uint64_t i, int64_t id) {
  if (ids->type == RLT_TYPE_INT32) {
    ((int32_t *)ids->data)[i] = (int32_t)id;
  } else {
    ((int64_t *)ids->data)[i] = id;
  }
}

static rlt_status run_unique(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const unique_data *k = n->data;
  const rlt_tensor *x = n->in[0], *ids = n->out[1];
  int32_t *slot = r->scratch, count = 0;
  for (uint64_t s = 0; s < k->slots; s++) slot[s] = -1;
  for (uint64_t i = 0; i < x->count; i++) {
    uint64_t key = key_of(x, i), hash = key * 0x9E3779B97F4A7C15u, s = (hash ^ hash >> 32) & (k->slots - 1);
    while (slot[s] >= 0 && key_of(x, (uint64_t)slot[s]) != key) s = (s + 1) & (k->slots - 1);
    if (slot[s] < 0) {
      slot[s] = (int32_t)i;
      set_id(ids, i, count++);
    } else {
      set_id(ids, i, id_at(ids, (uint64_t)slot[s]));
    }
  }
  RLT_TRY(rlt_set_output(r, n->out[0], 1, &count));
  uint32_t bytes = rlt_type_bytes(x->type);
  int64_t next = 0;
  for (uint64_t i = 0; i < x->count; i++) {
    if (id_at(ids, i) != next) continue;
    rlt_copy((uint8_t *)n->out[0]->data + (uint64_t)next * bytes, (const uint8_t *)x->data + i * bytes, bytes);
    next++;
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_where = {.name = "WHERE", .max_version = 2, .prepare = prepare_where, .run = run_where};
const rlt_kernel rlt_kernel_unique = {
    .name = "UNIQUE", .data_size = sizeof(unique_data), .max_version = 1, .prepare = prepare_unique, .run = run_unique};
