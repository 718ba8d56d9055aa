/* SPDX-License-Identifier: Apache-2.0
 * What a model may take (rlt_limits) and how an invoke is stopped. */
#include "internal.h"

rlt_limits rlt_default_limits(void) {
  return (rlt_limits){.max_tensor_bytes = INT32_MAX,
                      .max_arena_bytes = (uint64_t)1 << 32,
                      .max_macs = (uint64_t)1 << 40,
                      .max_iterations = (uint64_t)1 << 20,
                      .max_region_bytes = (uint64_t)1 << 32,
                      .max_bytes = (uint64_t)1 << 33,
                      .max_depth = RLT_MAX_CALL_DEPTH};
}

rlt_limits rlt_complete_limits(const rlt_limits *asked) {
  rlt_limits all = rlt_default_limits();
  if (!asked) return all;
  if (asked->max_tensor_bytes) all.max_tensor_bytes = asked->max_tensor_bytes;
  if (asked->max_arena_bytes) all.max_arena_bytes = asked->max_arena_bytes;
  if (asked->max_macs) all.max_macs = asked->max_macs;
  if (asked->max_iterations) all.max_iterations = asked->max_iterations;
  if (asked->max_region_bytes) all.max_region_bytes = asked->max_region_bytes;
  if (asked->max_bytes) all.max_bytes = asked->max_bytes;
  if (asked->max_depth && asked->max_depth < RLT_MAX_CALL_DEPTH) all.max_depth = asked->max_depth;
  return all;
}

/* ---- work ---- */

static uint64_t sum_up(uint64_t a, uint64_t b) { return b > UINT64_MAX - a ? UINT64_MAX : a + b; }

uint64_t rlt_node_work(const rlt_node *n) {
  uint64_t moved = 1;
  for (int32_t i = 0; i < n->def->n_inputs; i++)
    if (n->in[i] && !n->in[i]->is_const) moved = sum_up(moved, n->in[i]->count);
  for (int32_t i = 0; i < n->def->n_outputs; i++) moved = sum_up(moved, n->out[i]->count);
  return n->macs > moved ? n->macs : moved;
}

rlt_status rlt_spend(rlt_interpreter *it, uint64_t work, rlt_error *err) {
  uint64_t limit = it->model->limits.max_macs;
  it->macs = sum_up(it->macs, work);
  RLT_REQUIRE(err, it->macs <= limit, RLT_LIMIT,
              "so far this takes %u multiply-accumulates, or elements moved, the limit is %u (rlt_limits.max_macs)",
              it->macs, limit);
  return RLT_OK;
}

rlt_status rlt_count_iteration(rlt_interpreter *it, rlt_error *err) {
  uint64_t limit = it->model->limits.max_iterations;
  RLT_REQUIRE(err, it->iterations < limit, RLT_LIMIT,
              "loops and calls of subgraphs took %u turns, which is the limit (rlt_limits.max_iterations)", limit);
  it->iterations++;
  RLT_REQUIRE(err, !rlt_is_cancelled(it), RLT_CANCELLED, "cancelled between two turns");
  return RLT_OK;
}

/* ---- memory ---- */

/* Where to look first: the node whose output is largest. */
static rlt_status at_largest(const rlt_interpreter *it, rlt_error *err) {
  const rlt_frame *f = it->main;
  int32_t largest = -1;
  uint64_t most = 0;
  for (int32_t i = 0; i < f->graph->n_tensors; i++) {
    if (f->tensors[i].def->producer < 0 || f->tensors[i].bytes < most) continue;
    most = f->tensors[i].bytes;
    largest = f->tensors[i].def->producer;
  }
  return largest < 0 ? err->status : rlt_at_node(err, f->graph, f->index, largest);
}

rlt_status rlt_check_total(const rlt_interpreter *it, rlt_error *err) {
  uint64_t limit = it->model->limits.max_bytes, prepared = it->sizes.prepared, arena = it->sizes.arena;
  if (prepared <= limit && arena <= limit - prepared) return RLT_OK;
  rlt_fail(
      err, RLT_LIMIT,
      "of all nodes it makes the largest tensor; the model needs %u bytes of packed weights and %u of activations, "
      "the limit is %u (rlt_limits.max_bytes)",
      prepared, arena, limit);
  return at_largest(it, err);
}

uint64_t rlt_region_limit(const rlt_interpreter *it) {
  const rlt_limits *l = &it->model->limits;
  uint64_t taken = it->sizes.prepared + it->sizes.arena, left = l->max_bytes > taken ? l->max_bytes - taken : 0;
  uint64_t limit = l->max_region_bytes < left ? l->max_region_bytes : left;
  return limit < RLT_HARD_LIMIT ? limit : RLT_HARD_LIMIT;
}

/* ---- cancelling ---- */

void rlt_start_cancelling(rlt_interpreter *it) {
  const rlt_options *o = &it->options;
  atomic_store_explicit(&it->is_cancelled, false, memory_order_relaxed);
  if (o->cancel && o->clock_ns && o->cancel_period_ns) it->next_question = o->clock_ns() + o->cancel_period_ns;
}

bool rlt_is_cancelled(rlt_interpreter *it) {
  const rlt_options *o = &it->options;
  if (it->stage != RLT_BOUND) return false; /* what bind computes is computed once, and whole */
  if (atomic_load_explicit(&it->is_cancelled, memory_order_relaxed)) return true;
  if (!o->cancel) return false;
  if (o->clock_ns && o->cancel_period_ns) {
    uint64_t now = o->clock_ns();
    if (now < it->next_question) return false;
    it->next_question = now + o->cancel_period_ns;
  }
  return o->cancel(o->cancel_ctx);
}

void rlt_cancel(rlt_interpreter *it) { atomic_store_explicit(&it->is_cancelled, true, memory_order_relaxed); }
