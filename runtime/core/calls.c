/* SPDX-License-Identifier: Apache-2.0
 * Subgraphs that nodes call: which, that no call leads back, and how a call is prepared and made.
 *
 * A subgraph reads its inputs where the caller has them, and never writes there, but for the body of a loop: that may
 * write over a state of which nobody needs the former value. Its outputs are copied out. A constant that the only
 * caller gives is a constant of the subgraph. The subgraph's arena is nested: it is part of what the caller's plan
 * holds for the node. */
#include "internal.h"

/* ---- at open ---- */

static rlt_status check_called(rlt_reading *r, int32_t subgraph) {
  RLT_REQUIRE(r->err, subgraph >= 0 && subgraph < r->n_subgraphs, RLT_BAD_MODEL,
              "it runs subgraph %d, the model has %d", subgraph, r->n_subgraphs);
  return RLT_OK;
}

static rlt_status read_branches(rlt_reading *r, rlt_node_def *n) {
  bool read = rlt_fb_vector(&n->options, RLT_SLOT_StablehloCaseOptions_branch_subgraph_indices, 4, &n->branches);
  RLT_REQUIRE(r->err, read && n->branches.count > 0 && n->branches.count <= RLT_MAX_SUBGRAPHS, RLT_BAD_MODEL,
              "it names no branches, or more than a model can have subgraphs");
  for (uint32_t i = 0; i < n->branches.count; i++) RLT_TRY(check_called(r, rlt_vec_i32(&n->branches, i)));
  return RLT_OK;
}

/* The subgraph that defines it, and the kernel of its name and version, if this build has one. */
static rlt_status read_composite(rlt_reading *r, rlt_node_def *n) {
  const rlt_table *o = &n->options;
  const char *name;
  rlt_vector attributes;
  bool read = rlt_fb_string(o, RLT_SLOT_StableHLOCompositeOptions_name, &name) &&
              rlt_fb_vector(o, RLT_SLOT_StableHLOCompositeOptions_composite_attributes, 1, &attributes);
  RLT_REQUIRE(r->err, read, RLT_BAD_MODEL, "its name or its attributes lie outside the file");
  n->calls[0] = rlt_fb_i32(o, RLT_SLOT_StableHLOCompositeOptions_decomposition_subgraph_index, 0);
  int32_t format = rlt_fb_i8(o, RLT_SLOT_StableHLOCompositeOptions_composite_attributes_format, 0);
  int32_t version = rlt_fb_i32(o, RLT_SLOT_StableHLOCompositeOptions_version, 0);
  n->custom_options = (rlt_bytes){attributes.data, attributes.count};
  n->composite = format == 0 ? rlt_find_composite_kernel(name, version) : NULL; /* 0: FlexBuffers */
  if (n->composite) n->op_name = n->composite->name;
  return RLT_OK;
}

rlt_status rlt_read_calls(rlt_reading *r, rlt_node_def *n) {
  const rlt_table *o = &n->options;
  n->body = RLT_BODY_NONE;
  n->calls[0] = n->calls[1] = -1;
  switch (n->op) {
    case RLT_OP_IF:
      n->calls[0] = rlt_fb_i32(o, RLT_SLOT_IfOptions_then_subgraph_index, 0);
      n->calls[1] = rlt_fb_i32(o, RLT_SLOT_IfOptions_else_subgraph_index, 0);
      break;
    case RLT_OP_WHILE:
      n->calls[0] = rlt_fb_i32(o, RLT_SLOT_WhileOptions_cond_subgraph_index, 0);
      n->calls[1] = rlt_fb_i32(o, RLT_SLOT_WhileOptions_body_subgraph_index, 0);
      break;
    case RLT_OP_CALL_ONCE:
      n->calls[0] = rlt_fb_i32(o, RLT_SLOT_CallOnceOptions_init_subgraph_index, 0);
      break;
    case RLT_OP_STABLEHLO_COMPOSITE:
      RLT_TRY(read_composite(r, n));
      break;
    case RLT_OP_STABLEHLO_CASE:
      return read_branches(r, n);
    default:
      return RLT_OK;
  }
  bool two = n->op == RLT_OP_IF || n->op == RLT_OP_WHILE;
  for (int i = 0; i < (two ? 2 : 1); i++) RLT_TRY(check_called(r, n->calls[i]));
  return RLT_OK;
}

/* What a subgraph of two inputs and one output makes of them. */
static int32_t body_of(const rlt_subgraph_def *g) {
  if (g->n_inputs != 2 || g->n_outputs != 1 || g->n_nodes > 1) return RLT_BODY_OTHER;
  if (g->n_nodes == 0) return g->outputs[0] == g->inputs[1] ? RLT_BODY_SECOND : RLT_BODY_OTHER;
  const rlt_node_def *n = &g->nodes[0];
  if (n->n_inputs != 2 || n->n_outputs != 1 || n->outputs[0] != g->outputs[0]) return RLT_BODY_OTHER;
  bool straight = n->inputs[0] == g->inputs[0] && n->inputs[1] == g->inputs[1];
  bool crossed = n->inputs[0] == g->inputs[1] && n->inputs[1] == g->inputs[0];
  return straight || crossed ? n->op : RLT_BODY_OTHER;
}

static rlt_status read_bodies(rlt_reading *r, const rlt_model *m) {
  for (int32_t g = 0; g < m->n_subgraphs; g++) {
    for (int32_t i = 0; i < m->subgraphs[g].n_nodes; i++) {
      rlt_node_def *n = &m->subgraphs[g].nodes[i];
      int slot = RLT_SLOT_StablehloScatterOptions_update_computation_subgraph_index;
      if (n->op == RLT_OP_STABLEHLO_REDUCE_WINDOW) slot = RLT_SLOT_StablehloReduceWindowOptions_body_subgraph_index;
      else if (n->op != RLT_OP_STABLEHLO_SCATTER) continue;
      int32_t body = rlt_fb_i32(&n->options, slot, 0);
      if (check_called(r, body) != RLT_OK) return rlt_at_node(r->err, &m->subgraphs[g], g, i);
      n->body = body_of(&m->subgraphs[body]);
    }
  }
  return RLT_OK;
}

/* Kahn's order: a subgraph is done when all that call it are. Those on a cycle never are. */
rlt_status rlt_check_calls(rlt_reading *r, const rlt_model *m) {
  int32_t *waiting = m->call_order;
  int32_t done = 0, found = 0;
  RLT_TRY(read_bodies(r, m));
  for (int32_t g = 0; g < m->n_subgraphs; g++)
    for (int32_t i = 0; i < m->subgraphs[g].n_nodes; i++)
      for (int32_t k = 0; k < rlt_call_count(&m->subgraphs[g].nodes[i]); k++) {
        int32_t called = rlt_called(&m->subgraphs[g].nodes[i], k);
        if (called < 0) continue;
        rlt_subgraph_def *callee = &m->subgraphs[called];
        callee->is_called_once = callee->callers++ == 0;
        callee->is_loop_body = callee->is_called_once && m->subgraphs[g].nodes[i].op == RLT_OP_WHILE && k == 1;
      }
  for (int32_t g = 0; g < m->n_subgraphs; g++)
    if (m->subgraphs[g].callers == 0) waiting[found++] = g;
  for (; done < found; done++) {
    const rlt_subgraph_def *g = &m->subgraphs[waiting[done]];
    RLT_REQUIRE(r->err, (uint64_t)g->depth <= m->limits.max_depth, RLT_LIMIT,
                "calls of subgraphs are nested more than %u deep (rlt_limits.max_depth)", m->limits.max_depth);
    for (int32_t i = 0; i < g->n_nodes; i++) {
      for (int32_t k = 0; k < rlt_call_count(&g->nodes[i]); k++) {
        int32_t called = rlt_called(&g->nodes[i], k);
        if (called < 0) continue;
        rlt_subgraph_def *callee = &m->subgraphs[called];
        if (callee->depth <= g->depth) callee->depth = g->depth + 1;
        if (--callee->callers == 0) waiting[found++] = called;
      }
    }
  }
  for (int32_t g = 0; g < m->n_subgraphs; g++)
    RLT_REQUIRE(r->err, m->subgraphs[g].callers == 0, RLT_BAD_MODEL,
                "subgraph %d calls itself, directly or by others; only acyclic calls end", g);
  return RLT_OK;
}

void rlt_find_reached(const rlt_model *m, int32_t from, bool *reached) {
  for (int32_t g = 0; g < m->n_subgraphs; g++) reached[g] = g == from;
  for (int32_t i = 0; i < m->n_subgraphs; i++) { /* callers first */
    const rlt_subgraph_def *g = &m->subgraphs[m->call_order[i]];
    for (int32_t k = 0; reached[m->call_order[i]] && k < g->n_nodes; k++) {
      for (int32_t c = 0; c < rlt_call_count(&g->nodes[k]); c++)
        if (rlt_called(&g->nodes[k], c) >= 0) reached[rlt_called(&g->nodes[k], c)] = true;
    }
  }
}

/* ---- calling ---- */

bool rlt_passes_on(const rlt_frame *f, const rlt_node_def *n, int32_t i) {
  const rlt_subgraph_def *body = n->op == RLT_OP_WHILE ? &f->it->model->subgraphs[n->calls[1]] : NULL;
  if (!body || i >= body->n_inputs || i >= body->n_outputs || body->outputs[i] != body->inputs[i]) return false;
  const rlt_tensor_def *t = &body->tensors[body->inputs[i]];
  return t->input_at == i && t->output_at == i && !t->is_variable;
}

/* The i-th argument; a loop has those that change in its outputs. */
static rlt_tensor *argument(const rlt_frame *f, const rlt_node *n, rlt_tensor *const *args, int32_t i) {
  return args == n->out && rlt_passes_on(f, n->def, i) ? n->in[i] : args[i];
}

static bool same_shape(const rlt_tensor *t, const rlt_shape_wish *wish) {
  if (t->rank != wish->rank) return false;
  for (int32_t d = 0; d < t->rank; d++)
    if (t->dims[d] != wish->dims[d]) return false;
  return true;
}

static rlt_status check_arguments(rlt_prep *p, const rlt_node *n, const rlt_frame *callee, rlt_tensor *const *args,
                                  int32_t count) {
  RLT_REQUIRE(p->err, callee->graph->n_inputs == count, RLT_BAD_MODEL,
              "it gives %d values to subgraph %d, which has %d", count, callee->index, callee->graph->n_inputs);
  for (int32_t i = 0; i < count; i++) {
    const rlt_tensor_def *in = &callee->graph->tensors[callee->graph->inputs[i]];
    const rlt_tensor *arg = argument(callee, n, args, i);
    RLT_REQUIRE(p->err, arg, RLT_BAD_MODEL, "its input for %n of subgraph %d is left out", in->name, callee->index);
    RLT_REQUIRE(p->err, arg->type == in->type, RLT_BAD_MODEL, "%T becomes %n of subgraph %d, which is %t", arg,
                in->name, callee->index, in->type);
  }
  return RLT_OK;
}

/* Values of an argument that never are others. */
static const void *constant_of(const rlt_frame *callee, const rlt_node *n, const rlt_tensor *arg, int32_t i) {
  const rlt_tensor_def *in = &callee->graph->tensors[callee->graph->inputs[i]];
  bool is_written = in->is_variable || in->is_overwritten;
  bool changes = n->def->op == RLT_OP_WHILE && !rlt_passes_on(callee, n->def, i);
  if (!callee->graph->is_called_once || is_written || changes) return NULL;
  return arg->def->is_input && arg->is_const ? arg->data : arg->def->data;
}

/* Prepares the frame for these shapes, unless it is. */
static rlt_status shape_frame(rlt_prep *p, const rlt_node *n, rlt_frame *callee, rlt_tensor *const *args,
                              int32_t count) {
  bool same = callee->is_prepared;
  for (int32_t i = 0; i < count; i++) {
    rlt_shape_wish *wish = &callee->wishes[i];
    const rlt_tensor *arg = argument(callee, n, args, i);
    same = same && same_shape(arg, wish);
    wish->values = constant_of(callee, n, arg, i);
    wish->rank = arg->rank;
    __builtin_memcpy(wish->dims, arg->dims, sizeof wish->dims);
  }
  if (same) return RLT_OK;
  RLT_TRY(rlt_count_iteration(callee->it, p->err)); /* or preparing could take for ever */
  uint64_t parts = (uint64_t)callee->graph->n_tensors + (uint64_t)callee->graph->n_nodes;
  RLT_TRY(rlt_spend(callee->it, parts * parts, p->err)); /* as planning does in the worst case */
  return rlt_prepare_frame(p, callee);
}

/* Where in the nested memory the callee's begins: a loop's condition leaves alone what its body has made. */
static uint64_t before(const rlt_frame *callee, const rlt_node *n) {
  bool is_condition = n->def->op == RLT_OP_WHILE && callee->index == n->def->calls[0];
  return is_condition && n->def->calls[1] != callee->index ? callee->it->frames[n->def->calls[1]]->arena_bytes : 0;
}

rlt_status rlt_prepare_call(rlt_prep *p, rlt_node *n, int32_t subgraph, rlt_tensor *const *args, int32_t count) {
  rlt_frame *callee = p->frame->it->frames[subgraph];
  RLT_TRY(check_arguments(p, n, callee, args, count));
  RLT_TRY(shape_frame(p, n, callee, args, count));
  uint64_t bytes = before(callee, n) + callee->arena_bytes;
  if (bytes > n->nested_bytes) n->nested_bytes = bytes;
  n->macs = callee->macs > UINT64_MAX - n->macs ? UINT64_MAX : n->macs + callee->macs;
  return RLT_OK;
}

static rlt_status enter(const rlt_run *r, const rlt_node *n, rlt_frame *callee) {
  rlt_interpreter *it = callee->it;
  uint64_t at = before(callee, n);
  uint8_t *arena = n->scratch + rlt_align(n->scratch_bytes, RLT_BLOCK_ALIGN) * (uint64_t)it->options.threads + at;
  if (callee->has_late) rlt_release_frame(callee);
  rlt_release_piece(&callee->piece);
  if (at + callee->arena_bytes > n->nested_bytes) {
    void *taken;
    RLT_TRY(rlt_take_piece(it, &callee->piece, callee->arena_bytes, &taken, r->err));
    arena = taken;
  }
  if (callee->arena != arena || callee->has_late) rlt_set_pointers(callee, arena);
  return RLT_OK;
}

/* Hands the arguments over: where they are, or as copies. */
static void give(rlt_frame *callee, const rlt_node *n, rlt_tensor *const *args, int32_t count) {
  bool takes = false;
  for (int32_t i = 0; i < count; i++) {
    rlt_tensor *in = &callee->tensors[callee->graph->inputs[i]];
    const rlt_tensor *arg = argument(callee, n, args, i);
    if (in->is_const) continue;
    takes = takes || in->is_of_state;
    if (rlt_is_borrowed(callee, in->def)) in->data = arg->data;
    else if (in->bytes) __builtin_memmove(in->data, arg->data, (size_t)in->bytes);
  }
  for (int32_t i = 0; i < callee->graph->n_tensors && takes; i++) {
    rlt_tensor *t = &callee->tensors[i];
    if (t->is_of_state && t->alias_of >= 0) t->data = callee->tensors[t->alias_of].data;
  }
}

rlt_status rlt_call(const rlt_run *r, const rlt_node *n, int32_t subgraph, rlt_tensor *const *args, int32_t count) {
  rlt_frame *callee = r->frame->it->frames[subgraph];
  rlt_interpreter *it = callee->it;
  rlt_prep p = {it->u, &it->model->limits, r->err, it->options.threads, callee};
  RLT_TRY(rlt_count_iteration(it, r->err));
  RLT_TRY(check_arguments(&p, n, callee, args, count));
  RLT_TRY(shape_frame(&p, n, callee, args, count));
  RLT_TRY(rlt_spend(it, callee->macs, r->err));
  RLT_TRY(enter(r, n, callee));
  give(callee, n, args, count);
  return rlt_run_frame(callee, r->err);
}

rlt_tensor *rlt_call_output(const rlt_frame *f, int32_t subgraph, int32_t i) {
  const rlt_frame *callee = f->it->frames[subgraph];
  return &callee->tensors[callee->graph->outputs[i]];
}
