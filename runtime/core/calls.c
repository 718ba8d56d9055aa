/* SPDX-License-Identifier: Apache-2.0
 * Subgraphs that nodes call: which, that no call leads back, and how a call is prepared and made.
 *
 * A caller's values are copied into the subgraph's inputs and its outputs are copied out, so neither side can disturb
 * the other. The subgraph's arena is nested: it is part of what the caller's plan holds for the node. */
#include "internal.h"

/* ---- at open ---- */

rlt_status rlt_read_calls(rlt_reading *r, rlt_node_def *n) {
  const rlt_table *o = &n->options;
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
      n->calls[0] = rlt_fb_i32(o, RLT_SLOT_StableHLOCompositeOptions_decomposition_subgraph_index, 0);
      break;
    default:
      return RLT_OK;
  }
  for (int i = 0; i < 2; i++) {
    bool two = n->op == RLT_OP_IF || n->op == RLT_OP_WHILE;
    RLT_REQUIRE(r->err, (i == 1 && !two) || (n->calls[i] >= 0 && n->calls[i] < r->n_subgraphs), RLT_BAD_MODEL,
                "it runs subgraph %d, the model has %d", n->calls[i], r->n_subgraphs);
  }
  return RLT_OK;
}

/* Kahn's order: a subgraph is done when all that call it are. Those on a cycle never are. */
rlt_status rlt_check_calls(rlt_reading *r, const rlt_model *m) {
  int32_t *waiting = m->call_order;
  int32_t done = 0, found = 0;
  for (int32_t g = 0; g < m->n_subgraphs; g++)
    for (int32_t i = 0; i < m->subgraphs[g].n_nodes; i++)
      for (int k = 0; k < 2; k++)
        if (m->subgraphs[g].nodes[i].calls[k] >= 0) m->subgraphs[m->subgraphs[g].nodes[i].calls[k]].callers++;
  for (int32_t g = 0; g < m->n_subgraphs; g++)
    if (m->subgraphs[g].callers == 0) waiting[found++] = g;
  for (; done < found; done++) {
    const rlt_subgraph_def *g = &m->subgraphs[waiting[done]];
    RLT_REQUIRE(r->err, g->depth < RLT_MAX_CALL_DEPTH, RLT_LIMIT, "calls of subgraphs are nested more than %d deep",
                (int32_t)RLT_MAX_CALL_DEPTH);
    for (int32_t i = 0; i < g->n_nodes; i++) {
      for (int k = 0; k < 2; k++) {
        if (g->nodes[i].calls[k] < 0) continue;
        rlt_subgraph_def *callee = &m->subgraphs[g->nodes[i].calls[k]];
        if (callee->depth <= g->depth) callee->depth = g->depth + 1;
        if (--callee->callers == 0) waiting[found++] = g->nodes[i].calls[k];
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
      if (g->nodes[k].calls[0] >= 0) reached[g->nodes[k].calls[0]] = true;
      if (g->nodes[k].calls[1] >= 0) reached[g->nodes[k].calls[1]] = true;
    }
  }
}

/* ---- calling ---- */

static bool same_shape(const rlt_tensor *t, const rlt_shape_wish *wish) {
  if (t->rank != wish->rank) return false;
  for (int32_t d = 0; d < t->rank; d++)
    if (t->dims[d] != wish->dims[d]) return false;
  return true;
}

static rlt_status check_arguments(rlt_prep *p, const rlt_frame *callee, rlt_tensor *const *args, int32_t count) {
  RLT_REQUIRE(p->err, callee->graph->n_inputs == count, RLT_BAD_MODEL,
              "it gives %d values to subgraph %d, which has %d", count, callee->index, callee->graph->n_inputs);
  for (int32_t i = 0; i < count; i++) {
    const rlt_tensor_def *in = &callee->graph->tensors[callee->graph->inputs[i]];
    RLT_REQUIRE(p->err, args[i], RLT_BAD_MODEL, "its input for %n of subgraph %d is left out", in->name, callee->index);
    RLT_REQUIRE(p->err, args[i]->type == in->type, RLT_BAD_MODEL, "%T becomes %n of subgraph %d, which is %t", args[i],
                in->name, callee->index, in->type);
  }
  return RLT_OK;
}

/* Prepares the frame for these shapes, unless it is. */
static rlt_status shape_frame(rlt_prep *p, rlt_frame *callee, rlt_tensor *const *args, int32_t count) {
  bool same = callee->is_prepared;
  for (int32_t i = 0; i < count; i++) {
    rlt_shape_wish *wish = &callee->wishes[i];
    same = same && same_shape(args[i], wish);
    wish->rank = args[i]->rank;
    __builtin_memcpy(wish->dims, args[i]->dims, sizeof wish->dims);
  }
  if (same) return RLT_OK;
  RLT_TRY(rlt_count_iteration(callee->it, p->err)); /* or preparing could take for ever */
  return rlt_prepare_frame(p, callee);
}

rlt_status rlt_prepare_call(rlt_prep *p, rlt_node *n, int32_t subgraph, rlt_tensor *const *args, int32_t count) {
  rlt_frame *callee = p->frame->it->frames[subgraph];
  RLT_TRY(check_arguments(p, callee, args, count));
  RLT_TRY(shape_frame(p, callee, args, count));
  if (callee->arena_bytes > n->nested_bytes) n->nested_bytes = callee->arena_bytes;
  n->macs = callee->macs > UINT64_MAX - n->macs ? UINT64_MAX : n->macs + callee->macs;
  return RLT_OK;
}

static rlt_status enter(const rlt_run *r, const rlt_node *n, rlt_frame *callee) {
  rlt_interpreter *it = callee->it;
  uint8_t *arena = n->scratch + rlt_align(n->scratch_bytes, RLT_BLOCK_ALIGN) * (uint64_t)it->options.threads;
  if (callee->has_late) rlt_release_frame(callee);
  rlt_release_piece(&callee->piece);
  if (callee->arena_bytes > n->nested_bytes) {
    void *taken;
    RLT_TRY(rlt_take_piece(it, &callee->piece, callee->arena_bytes, &taken, r->err));
    arena = taken;
  }
  rlt_set_pointers(callee, arena);
  return RLT_OK;
}

rlt_status rlt_call(const rlt_run *r, const rlt_node *n, int32_t subgraph, rlt_tensor *const *args, int32_t count) {
  rlt_frame *callee = r->frame->it->frames[subgraph];
  rlt_interpreter *it = callee->it;
  rlt_prep p = {it->u, &it->model->limits, r->err, it->options.threads, callee};
  RLT_TRY(rlt_count_iteration(it, r->err));
  RLT_TRY(check_arguments(&p, callee, args, count));
  RLT_TRY(shape_frame(&p, callee, args, count));
  it->macs = callee->macs > UINT64_MAX - it->macs ? UINT64_MAX : it->macs + callee->macs;
  RLT_REQUIRE(r->err, it->macs <= p.limits->max_macs, RLT_LIMIT,
              "so far this invoke takes %u multiply-accumulates, the limit is %u (rlt_limits.max_macs)", it->macs,
              p.limits->max_macs);
  RLT_TRY(enter(r, n, callee));
  for (int32_t i = 0; i < count; i++) {
    const rlt_tensor *in = &callee->tensors[callee->graph->inputs[i]];
    if (in->bytes) __builtin_memmove(in->data, args[i]->data, (size_t)in->bytes);
  }
  return rlt_run_frame(callee, r->err);
}

rlt_tensor *rlt_call_output(const rlt_frame *f, int32_t subgraph, int32_t i) {
  const rlt_frame *callee = f->it->frames[subgraph];
  return &callee->tensors[callee->graph->outputs[i]];
}
