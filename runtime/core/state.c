/* SPDX-License-Identifier: Apache-2.0
 * What lasts from invoke to invoke and belongs to the whole model: resource variables, and which subgraphs CALL_ONCE
 * has run. VAR_HANDLE, READ_VARIABLE and ASSIGN_VARIABLE.
 *
 * A variable is named by container and shared_name, in whichever subgraph its handle is. Its room in the state block is
 * the largest value that the file says is assigned to it; a larger one goes to the region. */
#include "internal.h"
#include "strings.h"

enum { MAX_HANDLES = 4096 };

typedef struct resource {
  const char *container, *name;
  uint64_t capacity; /* bytes in the state block */
  void *room;
  rlt_piece piece;
  /* the value; type -1: none yet */
  int32_t type, rank, dims[RLT_MAX_RANK];
  uint64_t bytes;
  void *data;
} resource;

struct rlt_state {
  rlt_interpreter *owner;
  int32_t n_resources;
  resource *resources;
  bool *once; /* one per subgraph */
  rlt_tables *tables;
};

/* ---- finding the variables of a model ---- */

static bool read_handle(const rlt_node_def *n, const char **container, const char **name) {
  return n->op == RLT_OP_VAR_HANDLE && rlt_fb_string(&n->options, RLT_SLOT_VarHandleOptions_container, container) &&
         rlt_fb_string(&n->options, RLT_SLOT_VarHandleOptions_shared_name, name);
}

/* Calls visit(ctx, container, name) for every handle of the model, until it says false. */
typedef bool (*visitor)(void *ctx, const char *container, const char *name);
static void visit_handles(const rlt_model *m, visitor visit, void *ctx) {
  const char *container, *name;
  for (int32_t g = 0; g < m->n_subgraphs; g++)
    for (int32_t i = 0; i < m->subgraphs[g].n_nodes; i++)
      if (read_handle(&m->subgraphs[g].nodes[i], &container, &name) && !visit(ctx, container, name)) return;
}

/* Bytes of the value that a node, as the file says, assigns to the variable; 0 where it does not. */
static uint64_t assigned_bytes(const rlt_subgraph_def *g, const rlt_node_def *n, const char *container,
                               const char *name) {
  const char *its_container, *its_name;
  if (n->op != RLT_OP_ASSIGN_VARIABLE || n->n_inputs != 2 || n->inputs[0] < 0 || n->inputs[1] < 0) return 0;
  int32_t producer = g->tensors[n->inputs[0]].producer;
  if (producer < 0 || !read_handle(&g->nodes[producer], &its_container, &its_name)) return 0;
  bool same = rlt_same_text(its_container, container) && rlt_same_text(its_name, name);
  return same ? g->tensors[n->inputs[1]].bytes : 0;
}

static uint64_t room_for(const rlt_model *m, const char *container, const char *name) {
  uint64_t most = 0;
  for (int32_t g = 0; g < m->n_subgraphs; g++) {
    for (int32_t i = 0; i < m->subgraphs[g].n_nodes; i++) {
      uint64_t bytes = assigned_bytes(&m->subgraphs[g], &m->subgraphs[g].nodes[i], container, name);
      if (bytes > most) most = bytes;
    }
  }
  return most;
}

/* ---- laying out the state block: first counted, then filled ---- */

typedef struct layout {
  const rlt_model *m;
  rlt_bump *b;
  rlt_state *s; /* NULL while counting */
  int32_t handles;
  uint64_t room; /* of all variables so far */
} layout;

static int32_t find_resource(const rlt_state *s, const char *container, const char *name) {
  for (int32_t i = 0; i < s->n_resources; i++)
    if (rlt_same_text(s->resources[i].container, container) && rlt_same_text(s->resources[i].name, name)) return i;
  return -1;
}

static bool count_handle(void *ctx, const char *container, const char *name) {
  layout *l = ctx;
  (void)container, (void)name;
  l->handles++;
  return true;
}

/* Every handle takes room while counting, which is too much where several name one variable; none where that would be
 * more than a run may have. */
static bool lay_out_handle(void *ctx, const char *container, const char *name) {
  layout *l = ctx;
  if (l->s && find_resource(l->s, container, name) >= 0) return true;
  uint64_t bytes = rlt_align(room_for(l->m, container, name), RLT_BLOCK_ALIGN);
  if (bytes > l->m->limits.max_arena_bytes || l->room > l->m->limits.max_arena_bytes - bytes) bytes = 0;
  l->room += bytes;
  void *room = rlt_take(l->b, bytes);
  if (l->s)
    l->s->resources[l->s->n_resources++] =
        (resource){.container = container, .name = name, .capacity = bytes, .room = room, .type = -1};
  return true;
}

rlt_state *rlt_state_lay_out(rlt_bump *b, const rlt_model *m) {
  layout l = {.m = m, .b = b};
  visit_handles(m, count_handle, &l);
  rlt_state *s = rlt_take(b, sizeof *s);
  resource *resources = rlt_take(b, (uint64_t)l.handles * sizeof *resources);
  bool *once = rlt_take(b, (uint64_t)m->n_subgraphs * sizeof *once);
  rlt_tables *tables = rlt_tables_lay_out(b, m);
  if (b->base) *s = (rlt_state){.resources = resources, .once = once, .tables = tables};
  if (b->base) l.s = s;
  if (l.handles <= MAX_HANDLES) visit_handles(m, lay_out_handle, &l);
  return s;
}

void rlt_state_own(rlt_state *s, rlt_interpreter *owner) { s->owner = owner; }
rlt_interpreter *rlt_state_owner(const rlt_state *s) { return s->owner; }
rlt_tables *rlt_state_tables(rlt_state *s) { return s->tables; }
bool *rlt_state_once(rlt_state *s, int32_t subgraph) { return &s->once[subgraph]; }

/* ---- the operators ---- */

static rlt_status prepare_handle(rlt_prep *p, rlt_node *n) {
  const char *container, *name;
  RLT_TRY(rlt_check_arity(p, n, 0, 0, 1));
  RLT_REQUIRE(p->err, n->out[0]->type == RLT_TYPE_RESOURCE, RLT_BAD_MODEL, "%T must be a RESOURCE", n->out[0]);
  RLT_REQUIRE(p->err, read_handle(n->def, &container, &name), RLT_BAD_MODEL, "its names lie outside the file");
  *(int32_t *)n->data = find_resource(p->frame->it->state, container, name);
  RLT_REQUIRE(p->err, *(int32_t *)n->data >= 0, RLT_LIMIT, "the model has more than %d handles of variables",
              (int32_t)MAX_HANDLES);
  return rlt_set_shape(p, n->out[0], 0, NULL);
}

static rlt_status run_handle(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r, (void)first, (void)last;
  *(int32_t *)n->out[0]->data = *(const int32_t *)n->data;
  return RLT_OK;
}

static rlt_status check_handle(rlt_prep *p, const rlt_tensor *handle) {
  RLT_REQUIRE(p->err, handle->type == RLT_TYPE_RESOURCE && handle->count == 1, RLT_BAD_MODEL,
              "%T is no handle of a variable", handle);
  return RLT_OK;
}

/* The variable that a handle names; NULL, and words, if it is none. */
static resource *resource_of(rlt_error *err, const rlt_frame *f, const rlt_tensor *handle) {
  rlt_state *s = f->it->state;
  int32_t index = *(const int32_t *)handle->data;
  if (index >= 0 && index < s->n_resources) return &s->resources[index];
  rlt_fail(err, RLT_BAD_VALUE, "%T holds %d, the model has %d variables", handle, index, s->n_resources);
  return NULL;
}

/* Of any type but strings, whose bytes lie where nobody promises that they last. */
static rlt_status check_variable_type(rlt_prep *p, const rlt_tensor *t) {
  bool is_packed = t->type == RLT_TYPE_INT4 || t->type == RLT_TYPE_UINT4 || t->type == RLT_TYPE_INT2;
  bool is_whole = rlt_type_bytes(t->type) && t->type != RLT_TYPE_STRING;
  RLT_REQUIRE(p->err, is_packed || is_whole, RLT_UNSUPPORTED, "%T: variables of this type are not supported", t);
  return RLT_OK;
}

static rlt_status prepare_assign(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 0));
  RLT_TRY(check_variable_type(p, n->in[1]));
  return check_handle(p, n->in[0]);
}

static rlt_status run_assign(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const rlt_tensor *value = n->in[1];
  resource *x = resource_of(r->err, r->frame, n->in[0]);
  if (!x) return RLT_BAD_VALUE;
  if (value->bytes <= x->capacity) {
    rlt_release_piece(&x->piece);
    x->data = x->room;
  } else if (!x->piece.block || x->piece.bytes < value->bytes) {
    x->type = -1;
    RLT_TRY(rlt_take_piece(r->frame->it->state->owner, &x->piece, value->bytes, &x->data, r->err));
  }
  x->type = value->type;
  x->rank = value->rank;
  x->bytes = value->bytes;
  __builtin_memcpy(x->dims, value->dims, sizeof x->dims);
  if (x->bytes) __builtin_memcpy(x->data, value->data, (size_t)x->bytes);
  return RLT_OK;
}

static rlt_status check_value(rlt_error *err, const resource *x, const rlt_tensor *y) {
  RLT_REQUIRE(err, x->type >= 0, RLT_BAD_VALUE, "variable '%s' is read before anything is assigned to it", x->name);
  RLT_REQUIRE(err, x->type == y->type, RLT_BAD_VALUE, "variable '%s' holds %t, %T is read from it", x->name, x->type,
              y);
  return RLT_OK;
}

/* The shape is the declared one where the file says it, else that of the value. */
static rlt_status prepare_read(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  RLT_TRY(check_handle(p, n->in[0]));
  rlt_tensor *y = n->out[0];
  RLT_TRY(check_variable_type(p, y));
  bool open = false;
  for (int32_t d = 0; d < y->def->rank; d++) open = open || y->def->signature[d] < 0;
  if (!open) return rlt_set_shape(p, y, y->def->rank, y->def->dims);
  rlt_open_shape(y);
  return RLT_OK;
}

static rlt_status run_read(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  rlt_tensor *y = n->out[0];
  const resource *x = resource_of(r->err, r->frame, n->in[0]);
  if (!x) return RLT_BAD_VALUE;
  RLT_TRY(check_value(r->err, x, y));
  if (y->by_run) RLT_TRY(rlt_set_output(r, y, x->rank, x->dims));
  bool same = x->rank == y->rank;
  for (int32_t d = 0; same && d < y->rank; d++) same = x->dims[d] == y->dims[d];
  RLT_REQUIRE(r->err, same, RLT_BAD_VALUE, "variable '%s' holds a value of another shape than %T", x->name, y);
  if (x->bytes) __builtin_memcpy(y->data, x->data, (size_t)x->bytes);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_var_handle = {"VAR_HANDLE", sizeof(int32_t), 1, true, prepare_handle, NULL, run_handle};
const rlt_kernel rlt_kernel_read_variable = {"READ_VARIABLE", 0, 1, true, prepare_read, NULL, run_read};
const rlt_kernel rlt_kernel_assign_variable = {"ASSIGN_VARIABLE", 0, 1, true, prepare_assign, NULL, run_assign};
