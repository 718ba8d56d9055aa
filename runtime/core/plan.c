/* SPDX-License-Identifier: Apache-2.0
 * The memory plan: who lives when, who may take over whose memory, and where in the arena each lies.
 *
 * Greedy by size: the largest first, each into the smallest gap that is free during its whole life (Pisarchyk and Lee,
 * "Efficient Memory Management for Deep Neural Net Inference", 2020). */
#include "internal.h"

/* Lives in the frame's arena: somebody writes it in each run, and how much is known. */
static bool in_arena(const rlt_frame *f, const rlt_tensor *t) {
  bool written = t->def->is_input || t->def->producer >= 0 || t->def->is_variable;
  if (rlt_is_borrowed(f, t->def)) return false;
  return written && !rlt_is_persistent(f, t) && !t->is_const && !t->is_known && t->extent != RLT_UNBOUNDED;
}

static void find_lifetimes(rlt_frame *f) {
  int32_t end = f->graph->n_nodes;
  for (int32_t i = 0; i < f->graph->n_tensors; i++) {
    rlt_tensor *t = &f->tensors[i];
    bool always = t->def->is_input || t->def->is_variable || f->it->options.preserve_all_tensors;
    t->first_use = always ? -1 : t->def->producer;
    t->last_use = always || t->def->is_output ? end : t->def->producer;
    t->last_read = t->alias_of = -1;
    t->is_of_state = t->is_apart = false;
    t->planned = 0;
    if (!rlt_is_persistent(f, t)) t->offset = RLT_NO_OFFSET;
  }
  for (int32_t i = 0; i < f->graph->n_nodes; i++) {
    rlt_node *n = &f->nodes[i];
    for (int32_t k = 0; k < n->def->n_inputs; k++) {
      if (!n->in[k]) continue;
      n->in[k]->last_read = i;
      if (n->in[k]->last_use < i) n->in[k]->last_use = i;
    }
  }
}

static int32_t root_of(const rlt_frame *f, int32_t tensor) {
  while (f->tensors[tensor].alias_of >= 0) tensor = f->tensors[tensor].alias_of;
  return tensor;
}

/* The input whose memory output k may share; -1: none. */
static int32_t offered(const rlt_node *n, int32_t k) {
  int32_t i = n->in_place == RLT_EACH_IN_PLACE ? k : (k == 0 ? n->in_place : -1);
  return n->when == RLT_AT_INVOKE && i < n->def->n_inputs && i >= 0 && n->in[i] ? i : -1;
}

/* Output k takes over the memory of an input that the kernel offers, if nobody needs that input afterwards. */
static void share_in_place(rlt_frame *f, int32_t node, int32_t k) {
  const rlt_node *n = &f->nodes[node];
  int32_t from = offered(n, k), uses = 0;
  /* A plan for other runtimes lets nothing but RESHAPE work in place, which they expect. */
  bool apart = f->it->options.preserve_all_tensors || (f->it->options.plan_only && n->def->op != RLT_OP_RESHAPE);
  if (apart || from < 0) return;
  const rlt_tensor *in = n->in[from];
  rlt_tensor *out = n->out[k];
  for (int32_t i = 0; i < n->def->n_inputs; i++) uses += n->in[i] == in;
  if (uses > 1 || in->last_use != node || in->bytes != out->bytes) return;
  if (out->by_run || out->def->is_variable || !in_arena(f, out)) return;
  int32_t root = root_of(f, n->def->inputs[from]);
  bool is_state = rlt_is_borrowed(f, f->tensors[root].def);
  if (is_state ? !f->tensors[root].is_of_state || !out->is_of_state : out->is_apart) return;
  if (!is_state && (!in_arena(f, in) || in->first_use < 0)) return;
  if (rlt_offline_offset(f, root) != rlt_offline_offset(f, n->def->outputs[k])) return;
  out->alias_of = root;
  if (f->tensors[root].last_use < out->last_use) f->tensors[root].last_use = out->last_use;
}

/* ---- the body of a loop: its outputs become its next inputs ---- */

/* Follows output i back through nodes that may work in place, as far as input i; then they may write over the state. */
static void trace_state(rlt_frame *f, int32_t i) {
  const rlt_subgraph_def *g = f->graph;
  int32_t input = g->inputs[i], from;
  for (int pass = 0; pass < 2; pass++) {
    int32_t t = g->outputs[i];
    for (; t != input; t = from) {
      const rlt_tensor_def *def = &g->tensors[t];
      if (def->producer < 0 || (def->is_output && def->output_at != i)) return;
      const rlt_node *n = &f->nodes[def->producer];
      int32_t k = 0;
      while (n->def->outputs[k] != t) k++;
      int32_t at = offered(n, k);
      if (at < 0) return;
      from = n->def->inputs[at];
      if (pass) f->tensors[t].is_of_state = true;
    }
  }
  f->tensors[input].is_of_state = true;
}

/* Which outputs may lie where the state lies, and which must have a place that only they use. */
static void find_states(rlt_frame *f) {
  const rlt_subgraph_def *g = f->graph;
  if (f == f->it->main || !g->is_loop_body) return;
  for (int32_t i = 0; i < g->n_inputs && i < g->n_outputs; i++) {
    rlt_tensor *in = &f->tensors[g->inputs[i]], *out = &f->tensors[g->outputs[i]];
    bool once = in->def->input_at == i && out->def->output_at == i && !out->def->is_input && !out->def->is_variable;
    if (!once || out->def->producer < 0 || out->extent != RLT_STATIC || out->by_run || in->bytes != out->bytes)
      continue;
    if (f->nodes[out->def->producer].when != RLT_AT_INVOKE || !in_arena(f, out)) continue;
    out->is_apart = true;
    if (!rlt_is_borrowed(f, in->def)) continue;
    in->last_use = in->last_read;
    trace_state(f, i);
  }
}

static void keep_apart(rlt_frame *f) {
  for (int32_t i = 0; i < f->graph->n_outputs; i++) {
    rlt_tensor *t = &f->tensors[f->graph->outputs[i]];
    if (t->alias_of >= 0) t->is_apart = false;
    if (t->is_apart) t->first_use = -1;
  }
}

static rlt_status add_span(rlt_frame *f, int32_t *count, rlt_span span, uint64_t limit, rlt_error *err) {
  RLT_REQUIRE(err, span.bytes <= limit, RLT_LIMIT, "%s takes %u bytes, the limit is %u (rlt_limits.max_arena_bytes)",
              span.owner < 0 ? "a node's scratch memory" : f->tensors[span.owner].def->name, span.bytes, limit);
  int32_t fixed = span.owner < 0 ? -1 : rlt_offline_offset(f, span.owner);
  span.is_fixed = fixed >= 0;
  if (span.is_fixed) {
    span.offset = (uint32_t)fixed;
  } else {
    span.bytes = rlt_align(span.bytes, RLT_BLOCK_ALIGN);
  }
  f->it->order[*count] = *count;
  f->it->spans[(*count)++] = span;
  return RLT_OK;
}

uint64_t rlt_node_memory(const rlt_node *n, int32_t threads) {
  if (n->scratch_bytes > RLT_HARD_LIMIT) return UINT64_MAX;
  return rlt_align(n->scratch_bytes, RLT_BLOCK_ALIGN) * (uint64_t)threads + rlt_align(n->nested_bytes, RLT_BLOCK_ALIGN);
}

/* Largest sum of what is alive at one node, with the arenas of the subgraphs it runs. */
static uint64_t find_peak(const rlt_frame *f) {
  uint64_t alive = 0, peak = 0;
  for (int32_t i = 0; i <= f->graph->n_nodes; i++) {
    alive += f->it->live[i];
    uint64_t here = alive + (i < f->graph->n_nodes ? f->nodes[i].nested_bytes : 0);
    if (here > peak) peak = here;
  }
  return peak;
}

/* One span per tensor that owns memory and per node that needs scratch; fills sizes.peak_live of the main frame. */
static rlt_status list_spans(rlt_frame *f, int32_t *count, uint64_t limit, rlt_error *err) {
  int32_t n_nodes = f->graph->n_nodes;
  for (int32_t i = 0; i < n_nodes + 2; i++) f->it->live[i] = 0;
  for (int32_t i = 0; i < f->graph->n_tensors; i++) {
    const rlt_tensor *t = &f->tensors[i];
    if (!in_arena(f, t) || t->alias_of >= 0) continue;
    RLT_TRY(add_span(f, count, (rlt_span){t->bytes, 0, t->first_use, t->last_use, i, -1, false}, limit, err));
    f->it->live[t->first_use < 0 ? 0 : t->first_use] += t->bytes;
    f->it->live[(t->last_use < n_nodes ? t->last_use : n_nodes) + 1] -= t->bytes;
  }
  for (int32_t i = 0; i < n_nodes; i++) {
    rlt_node *n = &f->nodes[i];
    uint64_t bytes = rlt_node_memory(n, f->it->options.threads);
    n->scratch_offset = n->planned_scratch = 0;
    bool bounded = n->def->n_outputs > 0 && n->out[0]->extent == RLT_BOUNDED;
    bool planned = n->when == RLT_AT_INVOKE || (n->when == RLT_LATE && bounded);
    if (!planned || bytes == 0 || f->it->options.plan_only) continue;
    n->planned_scratch = bytes;
    RLT_TRY(add_span(f, count, (rlt_span){bytes, 0, i, i, -1 - i, -1, false}, limit, err));
  }
  if (f == f->it->main) f->it->sizes.peak_live = find_peak(f);
  return RLT_OK;
}

/* ---- placing ---- */

static bool comes_first(const rlt_span *a, const rlt_span *b) {
  if (a->is_fixed != b->is_fixed) return a->is_fixed;
  if (a->bytes != b->bytes) return a->bytes > b->bytes;
  if (a->first != b->first) return a->first < b->first;
  return a->owner < b->owner;
}

static void sift_down(const rlt_span *spans, int32_t *order, int32_t at, int32_t count) {
  for (;;) {
    int32_t child = 2 * at + 1;
    if (child >= count) return;
    if (child + 1 < count && comes_first(&spans[order[child]], &spans[order[child + 1]])) child++;
    if (!comes_first(&spans[order[at]], &spans[order[child]])) return;
    int32_t swap = order[at];
    order[at] = order[child];
    order[child] = swap;
    at = child;
  }
}

/* Heap sort: no recursion, no memory, no bad case. */
static void sort_by_size(const rlt_span *spans, int32_t *order, int32_t count) {
  for (int32_t i = count / 2 - 1; i >= 0; i--) sift_down(spans, order, i, count);
  for (int32_t last = count - 1; last > 0; last--) {
    int32_t swap = order[0];
    order[0] = order[last];
    order[last] = swap;
    sift_down(spans, order, 0, last);
  }
}

/* Smallest gap among the placed spans, a list from `head` by offset, in which `span` fits. */
static uint64_t find_gap(const rlt_span *spans, int32_t head, const rlt_span *span) {
  uint64_t end = 0, best_gap = UINT64_MAX, best = RLT_NO_OFFSET;
  for (int32_t i = head; i >= 0; i = spans[i].next) {
    const rlt_span *other = &spans[i];
    if (other->last < span->first || span->last < other->first) continue;
    uint64_t gap = other->offset > end ? other->offset - end : 0;
    if (gap >= span->bytes && gap < best_gap) {
      best_gap = gap;
      best = end;
    }
    uint64_t past = rlt_align(other->offset + other->bytes, RLT_BLOCK_ALIGN);
    if (past > end) end = past;
  }
  return best == RLT_NO_OFFSET ? end : best;
}

static void link_span(rlt_span *spans, int32_t *head, int32_t index) {
  int32_t *link = head;
  while (*link >= 0 && spans[*link].offset <= spans[index].offset) link = &spans[*link].next;
  spans[index].next = *link;
  *link = index;
}

/* Fills arena_bytes and the spans' offsets, but for those the file fixes, which come first and are checked. */
static rlt_status place_all(rlt_frame *f, int32_t count, rlt_error *err) {
  int32_t head = -1;
  uint64_t size = 0;
  for (int32_t i = 0; i < count; i++) {
    rlt_span *span = &f->it->spans[f->it->order[i]];
    if (span->bytes == 0) {
      span->offset = 0;
      continue;
    }
    if (span->is_fixed) {
      RLT_TRY(rlt_check_offline_span(f, span, head, err));
    } else {
      span->offset = find_gap(f->it->spans, head, span);
    }
    link_span(f->it->spans, &head, f->it->order[i]);
    if (span->offset + span->bytes > size) size = span->offset + span->bytes;
  }
  f->arena_bytes = rlt_align(size, RLT_BLOCK_ALIGN);
  return RLT_OK;
}

rlt_status rlt_plan(rlt_frame *f, rlt_error *err) {
  uint64_t limit = f->it->model->limits.max_arena_bytes;
  if (limit > RLT_HARD_LIMIT) limit = RLT_HARD_LIMIT;
  int32_t count = 0;
  f->follows_offline_plan = rlt_follows_offline_plan(f);
  find_lifetimes(f);
  find_states(f);
  for (int32_t i = 0; i < f->graph->n_nodes; i++)
    for (int32_t k = 0; k < f->nodes[i].def->n_outputs; k++) share_in_place(f, i, k);
  keep_apart(f);
  RLT_TRY(list_spans(f, &count, limit, err));
  sort_by_size(f->it->spans, f->it->order, count);
  RLT_TRY(place_all(f, count, err));
  RLT_REQUIRE(err, f->arena_bytes <= limit, RLT_LIMIT,
              "the arena needs %u bytes, the limit is %u (rlt_limits.max_arena_bytes)", f->arena_bytes, limit);
  for (int32_t i = 0; i < count; i++) {
    const rlt_span *span = &f->it->spans[i];
    if (span->owner >= 0) {
      f->tensors[span->owner].offset = span->offset;
      f->tensors[span->owner].planned = span->bytes;
    }
    if (span->owner < 0) f->nodes[-1 - span->owner].scratch_offset = span->offset;
  }
  for (int32_t i = 0; i < f->graph->n_tensors; i++)
    if (f->tensors[i].alias_of >= 0) f->tensors[i].offset = f->tensors[root_of(f, i)].offset;
  return RLT_OK;
}
