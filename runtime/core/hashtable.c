/* SPDX-License-Identifier: Apache-2.0
 * HASHTABLE, HASHTABLE_IMPORT, HASHTABLE_FIND and HASHTABLE_SIZE: tables from INT64 to STRING or from STRING to INT64.
 *
 * A table is named by its id, in whichever subgraph its handle is, and filled by the first import; later ones change
 * nothing, nor does a reset of variables. Entries are kept as they came beside an order by key, which is searched by
 * halves: no choice of keys makes that slow. Constants are used where they lie in the file. The rest of a table lies in
 * the state block where only constants are imported, whose sizes the file tells, else in the region. */
#include "strings.h"

enum { MAX_TABLES = 4096 };

typedef struct table {
  int32_t id, key_type, value_type;
  bool is_filled;
  int32_t count; /* of different keys */
  int32_t *order;
  const void *keys, *values; /* int64_t or rlt_string */
  uint64_t capacity;         /* bytes in the state block */
  void *room;
  rlt_piece piece;
} table;

struct rlt_tables {
  int32_t count;
  table *of;
};

/* ---- laying out the state block ---- */

static int32_t table_id(const rlt_node_def *n) {
  return rlt_fb_i32(&n->options, RLT_SLOT_HashtableOptions_table_id, 0);
}

/* Bytes of the order of the largest import of constants, as the file says, into a table. */
static uint64_t room_for(const rlt_model *m, int32_t id) {
  uint64_t most = 0;
  for (int32_t g = 0; g < m->n_subgraphs; g++) {
    const rlt_subgraph_def *sub = &m->subgraphs[g];
    for (int32_t i = 0; i < sub->n_nodes; i++) {
      const rlt_node_def *n = &sub->nodes[i];
      if (n->op != RLT_OP_HASHTABLE_IMPORT || n->n_inputs != 3 || n->inputs[0] < 0 || n->inputs[1] < 0) continue;
      int32_t producer = sub->tensors[n->inputs[0]].producer;
      bool ours = producer >= 0 && sub->nodes[producer].op == RLT_OP_HASHTABLE && table_id(&sub->nodes[producer]) == id;
      const rlt_tensor_def *keys = &sub->tensors[n->inputs[1]];
      uint32_t element = rlt_type_bytes(keys->type);
      uint64_t bytes = ours && keys->data && element ? keys->bytes / element * sizeof(int32_t) : 0;
      if (bytes > most) most = bytes;
    }
  }
  return most;
}

static int32_t find_table(const rlt_tables *s, int32_t id) {
  for (int32_t i = 0; i < s->count; i++)
    if (s->of[i].id == id) return i;
  return -1;
}

/* Calls visit(ctx, handle) for every handle of the model, until it says false. */
typedef bool (*visitor)(void *ctx, const rlt_node_def *handle);
static void visit_handles(const rlt_model *m, visitor visit, void *ctx) {
  for (int32_t g = 0; g < m->n_subgraphs; g++)
    for (int32_t i = 0; i < m->subgraphs[g].n_nodes; i++)
      if (m->subgraphs[g].nodes[i].op == RLT_OP_HASHTABLE && !visit(ctx, &m->subgraphs[g].nodes[i])) return;
}

static bool count_handle(void *ctx, const rlt_node_def *handle) {
  (void)handle;
  return ++*(int32_t *)ctx <= MAX_TABLES;
}

/* Becomes the first handle of the same table. */
static bool find_first(void *ctx, const rlt_node_def *handle) {
  const rlt_node_def **sought = ctx;
  if (table_id(handle) != table_id(*sought)) return true;
  *sought = handle;
  return false;
}

typedef struct layout {
  const rlt_model *m;
  rlt_bump *b;
  rlt_tables *s;
  uint64_t room; /* of all tables so far */
} layout;

/* Entries take more bytes in a file than in an order; where many tables share constants, the region has to do. */
static bool lay_out_table(void *ctx, const rlt_node_def *handle) {
  layout *l = ctx;
  const rlt_node_def *first = handle;
  visit_handles(l->m, find_first, &first);
  if (first != handle) return true;
  uint64_t bytes = room_for(l->m, table_id(handle));
  if (bytes > l->m->file.size - l->room) bytes = 0;
  l->room += bytes;
  void *room = rlt_take(l->b, bytes);
  if (!l->b->base) return true;
  l->s->of[l->s->count++] = (table){.id = table_id(handle),
                                    .key_type = rlt_fb_i8(&handle->options, RLT_SLOT_HashtableOptions_key_dtype, 0),
                                    .value_type = rlt_fb_i8(&handle->options, RLT_SLOT_HashtableOptions_value_dtype, 0),
                                    .capacity = bytes,
                                    .room = room};
  return true;
}

rlt_tables *rlt_tables_lay_out(rlt_bump *b, const rlt_model *m) {
  int32_t handles = 0;
  visit_handles(m, count_handle, &handles);
  if (handles > MAX_TABLES) handles = 0;
  rlt_tables *s = rlt_take(b, sizeof *s);
  table *of = rlt_take(b, (uint64_t)handles * sizeof *of);
  if (b->base) *s = (rlt_tables){.of = of};
  layout l = {.m = m, .b = b, .s = s};
  if (handles) visit_handles(m, lay_out_table, &l);
  return s;
}

/* ---- handles: numbers below 0, which no variable has ---- */

static rlt_status check_types(rlt_prep *p, int32_t key, int32_t value) {
  bool known =
      (key == RLT_TYPE_INT64 && value == RLT_TYPE_STRING) || (key == RLT_TYPE_STRING && value == RLT_TYPE_INT64);
  RLT_REQUIRE(p->err, known, RLT_UNSUPPORTED,
              "a table from %t to %t; tables are from INT64 to STRING or from STRING to INT64", key, value);
  return RLT_OK;
}

static rlt_status prepare_table(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 0, 0, 1));
  RLT_REQUIRE(p->err, n->out[0]->type == RLT_TYPE_RESOURCE, RLT_BAD_MODEL, "%T must be a RESOURCE", n->out[0]);
  int32_t key = rlt_fb_i8(&n->def->options, RLT_SLOT_HashtableOptions_key_dtype, 0);
  int32_t value = rlt_fb_i8(&n->def->options, RLT_SLOT_HashtableOptions_value_dtype, 0);
  RLT_TRY(check_types(p, key, value));
  const rlt_tables *s = rlt_state_tables(p->frame->it->state);
  int32_t index = find_table(s, table_id(n->def));
  RLT_REQUIRE(p->err, index >= 0, RLT_LIMIT, "the model has more than %d handles of tables", (int32_t)MAX_TABLES);
  RLT_REQUIRE(p->err, s->of[index].key_type == key && s->of[index].value_type == value, RLT_BAD_MODEL,
              "table %d is from %t to %t here, another handle says from %t to %t", s->of[index].id, key, value,
              s->of[index].key_type, s->of[index].value_type);
  *(int32_t *)n->data = -1 - index;
  return rlt_set_shape(p, n->out[0], 1, (int32_t[]){1});
}

static rlt_status run_table(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r, (void)first, (void)last;
  *(int32_t *)n->out[0]->data = *(const int32_t *)n->data;
  return RLT_OK;
}

static rlt_status check_handle(rlt_prep *p, const rlt_tensor *handle) {
  RLT_REQUIRE(p->err, handle->type == RLT_TYPE_RESOURCE && handle->count == 1, RLT_BAD_MODEL,
              "%T is no handle of a table", handle);
  return RLT_OK;
}

static rlt_status table_of(const rlt_run *r, const rlt_tensor *handle, table **out) {
  const rlt_tables *s = rlt_state_tables(r->frame->it->state);
  int32_t number = *(const int32_t *)handle->data;
  bool known = number < 0 && -1 - number < s->count;
  RLT_REQUIRE(r->err, known, RLT_BAD_VALUE, "%T holds %d, which is none of the model's %d tables", handle, number,
              s->count);
  *out = &s->of[-1 - number];
  return RLT_OK;
}

static rlt_status check_table_types(const rlt_run *r, const table *t, const rlt_tensor *key, const rlt_tensor *value) {
  RLT_REQUIRE(r->err, t->key_type == key->type && t->value_type == value->type, RLT_BAD_VALUE,
              "table %d is from %t to %t, it is used from %T to %T", t->id, t->key_type, t->value_type, key, value);
  return RLT_OK;
}

/* ---- the order by key ---- */

static int compare_keys(int32_t type, const void *a, uint64_t i, const void *b, uint64_t k) {
  if (type == RLT_TYPE_STRING) return rlt_compare_strings((const rlt_string *)a + i, (const rlt_string *)b + k);
  int64_t x = ((const int64_t *)a)[i], y = ((const int64_t *)b)[k];
  return x < y ? -1 : x > y;
}

/* Of two entries with one key the earlier comes first. */
static bool comes_before(const table *t, int32_t a, int32_t b) {
  int by_key = compare_keys(t->key_type, t->keys, (uint64_t)a, t->keys, (uint64_t)b);
  return by_key != 0 ? by_key < 0 : a < b;
}

static void sift_down(const table *t, int64_t at, int64_t count) {
  for (int64_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && comes_before(t, t->order[child], t->order[child + 1])) child++;
    if (!comes_before(t, t->order[at], t->order[child])) return;
    int32_t swap = t->order[at];
    t->order[at] = t->order[child];
    t->order[child] = swap;
  }
}

/* Heap sort, then the first of each key stays. */
static void put_in_order(table *t, int32_t count) {
  for (int32_t i = 0; i < count; i++) t->order[i] = i;
  for (int64_t i = count / 2 - 1; i >= 0; i--) sift_down(t, i, count);
  for (int64_t last = (int64_t)count - 1; last > 0; last--) {
    int32_t swap = t->order[0];
    t->order[0] = t->order[last];
    t->order[last] = swap;
    sift_down(t, 0, last);
  }
  t->count = 0;
  for (int32_t i = 0; i < count; i++) {
    uint64_t entry = (uint64_t)t->order[i];
    bool known =
        t->count > 0 && compare_keys(t->key_type, t->keys, (uint64_t)t->order[t->count - 1], t->keys, entry) == 0;
    if (!known) t->order[t->count++] = t->order[i];
  }
}

/* Entry with the key; -1: none. */
static int32_t find_entry(const table *t, const void *keys, uint64_t key) {
  int32_t low = 0, high = t->count;
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    int by_key = compare_keys(t->key_type, t->keys, (uint64_t)t->order[middle], keys, key);
    if (by_key == 0) return t->order[middle];
    if (by_key < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return -1;
}

/* ---- HASHTABLE_IMPORT ---- */

static rlt_status prepare_import(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 0));
  RLT_TRY(check_handle(p, n->in[0]));
  const rlt_tensor *keys = n->in[1], *values = n->in[2];
  RLT_TRY(check_types(p, keys->type, values->type));
  bool same = keys->rank == values->rank;
  for (int32_t d = 0; same && d < keys->rank; d++) same = keys->dims[d] == values->dims[d];
  RLT_REQUIRE(p->err, same, RLT_BAD_MODEL, "%T and %T must have the same shape", keys, values);
  RLT_REQUIRE(p->err, keys->count < INT32_MAX, RLT_UNSUPPORTED, "%T: a table has fewer than 2^31 entries", keys);
  return RLT_OK;
}

/* Bytes of what must be copied because it may change after the import. */
static uint64_t copied_bytes(const rlt_tensor *x) {
  uint64_t sum = x->bytes;
  if (x->def->data) return 0;
  for (uint64_t i = 0; x->type == RLT_TYPE_STRING && i < x->count; i++) {
    uint64_t size = ((const rlt_string *)x->data)[i].size;
    if (size > RLT_HARD_LIMIT || sum > RLT_HARD_LIMIT) return RLT_HARD_LIMIT;
    sum += size;
  }
  return rlt_align(sum, 16);
}

/* The elements in memory that lasts; what is taken from the block moves *to. */
static const void *keep(const rlt_tensor *x, uint8_t **to) {
  if (x->def->data) return x->data;
  uint8_t *elements = *to, *text = *to + x->bytes;
  if (x->bytes) __builtin_memcpy(elements, x->data, (size_t)x->bytes);
  for (uint64_t i = 0; x->type == RLT_TYPE_STRING && i < x->count; i++) {
    rlt_string *s = (rlt_string *)(void *)elements + i;
    if (s->size) __builtin_memcpy(text, s->data, (size_t)s->size);
    s->data = text;
    text += s->size;
  }
  *to += copied_bytes(x);
  return elements;
}

static rlt_status run_import(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const rlt_tensor *keys = n->in[1], *values = n->in[2];
  rlt_interpreter *owner = rlt_state_owner(r->frame->it->state);
  table *t;
  RLT_TRY(table_of(r, n->in[0], &t));
  RLT_TRY(check_table_types(r, t, keys, values));
  if (t->is_filled) return RLT_OK;
  uint64_t order = rlt_align(keys->count * sizeof(int32_t), 16);
  uint64_t bytes = order + copied_bytes(keys) + copied_bytes(values);
  void *memory = t->room;
  bool is_constant = keys->def->data && values->def->data && keys->count * sizeof(int32_t) <= t->capacity;
  if (!is_constant) RLT_TRY(rlt_take_piece(owner, &t->piece, bytes, &memory, r->err));
  uint8_t *to = (uint8_t *)memory + order;
  t->order = memory;
  t->keys = keep(keys, &to);
  t->values = keep(values, &to);
  put_in_order(t, (int32_t)keys->count);
  t->is_filled = true;
  return RLT_OK;
}

/* ---- HASHTABLE_FIND, HASHTABLE_SIZE ---- */

static rlt_status prepare_find(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 3, 3, 1));
  RLT_TRY(check_handle(p, n->in[0]));
  const rlt_tensor *keys = n->in[1], *missing = n->in[2];
  RLT_TRY(check_types(p, keys->type, n->out[0]->type));
  RLT_REQUIRE(p->err, missing->type == n->out[0]->type && missing->count >= 1, RLT_BAD_MODEL,
              "%T is no value of %T for missing keys", missing, n->out[0]);
  return rlt_set_shape(p, n->out[0], keys->rank, keys->dims);
}

static rlt_status run_find(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const rlt_tensor *keys = n->in[1], *missing = n->in[2], *y = n->out[0];
  table *t;
  RLT_TRY(table_of(r, n->in[0], &t));
  RLT_TRY(check_table_types(r, t, keys, y));
  RLT_REQUIRE(r->err, t->is_filled, RLT_BAD_VALUE, "table %d is searched before anything is imported into it", t->id);
  for (uint64_t i = 0; i < keys->count; i++) {
    int32_t entry = find_entry(t, keys->data, i);
    const void *from = entry < 0 ? missing->data : t->values;
    uint64_t at = entry < 0 ? 0 : (uint64_t)entry;
    if (y->type == RLT_TYPE_STRING) {
      ((rlt_string *)y->data)[i] = ((const rlt_string *)from)[at];
    } else {
      ((int64_t *)y->data)[i] = ((const int64_t *)from)[at];
    }
  }
  return RLT_OK;
}

static rlt_status prepare_size(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  RLT_TRY(check_handle(p, n->in[0]));
  RLT_REQUIRE(p->err, n->out[0]->type == RLT_TYPE_INT64, RLT_BAD_MODEL, "%T must be an INT64", n->out[0]);
  return rlt_set_shape(p, n->out[0], 1, (int32_t[]){1});
}

static rlt_status run_size(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  table *t;
  RLT_TRY(table_of(r, n->in[0], &t));
  *(int64_t *)n->out[0]->data = t->count;
  return RLT_OK;
}

#define KERNEL(symbol, op, bytes, prepare, run) \
  const rlt_kernel rlt_kernel_##symbol = {#op, bytes, 1, true, prepare, NULL, run};

KERNEL(hashtable, HASHTABLE, sizeof(int32_t), prepare_table, run_table)
KERNEL(hashtable_import, HASHTABLE_IMPORT, 0, prepare_import, run_import)
KERNEL(hashtable_find, HASHTABLE_FIND, 0, prepare_find, run_find)
KERNEL(hashtable_size, HASHTABLE_SIZE, 0, prepare_size, run_size)
