/* SPDX-License-Identifier: Apache-2.0
 * Running: a node's tiles, and the loop over nodes. */
#include "internal.h"

/* Work below this many multiply-accumulates and bytes is done sooner by one thread than handed to another. */
#define SMALL_WORK 65536
/* Between parts of so many a long node may be cancelled. */
#define PART_WORK ((uint64_t)1 << 24)

void rlt_set_pointers(rlt_frame *f, uint8_t *arena) {
  f->arena = arena;
  for (int32_t i = 0; i < f->graph->n_tensors; i++) {
    rlt_tensor *t = &f->tensors[i];
    uint8_t *base = rlt_is_persistent(f, t) ? f->it->arena : arena;
    if (t->def->data || (t->def->is_input && t->is_const)) continue; /* the file's, or a caller's */
    t->data = t->offset == RLT_NO_OFFSET ? NULL : base + t->offset;
    if (t->is_const) t->data = t->kept;
    if (t->is_known) t->data = t->slot;
  }
  for (int32_t i = 0; i < f->graph->n_nodes; i++) f->nodes[i].scratch = arena + f->nodes[i].scratch_offset;
}

/* ---- one node ---- */

typedef struct parallel_run {
  rlt_frame *frame;
  const rlt_node *node;
  rlt_error *err;
  int32_t part; /* tiles */
  _Atomic int32_t status;
} parallel_run;

static int32_t tiles_per_part(const rlt_node *n) {
  uint64_t work = rlt_node_work(n), parts = work / PART_WORK + 1;
  return parts >= (uint64_t)n->tiles ? 1 : n->tiles / (int32_t)parts;
}

static void run_tiles(void *ctx, int32_t first, int32_t last, int32_t thread) {
  parallel_run *p = ctx;
  rlt_error unheard;
  uint64_t scratch = rlt_align(p->node->scratch_bytes, RLT_BLOCK_ALIGN) * (uint32_t)thread;
  rlt_run r = {p->frame->it->u, p->node->scratch + scratch, thread == 0 ? p->err : &unheard, p->frame};
  for (int32_t at = first, end; at < last && atomic_load(&p->status) == RLT_OK; at = end) {
    end = last - at > p->part ? at + p->part : last;
    uint32_t mode = rlt_float_mode_enter();
    rlt_status status = p->node->def->kernel->run(&r, p->node, at, end);
    rlt_float_mode_leave(mode);
    if (status == RLT_OK && thread == 0 && p->part < p->node->tiles && rlt_is_cancelled(p->frame->it))
      status = rlt_fail(p->err, RLT_CANCELLED, "cancelled in its midst");
    int32_t ok = RLT_OK;
    if (status != RLT_OK) atomic_compare_exchange_strong(&p->status, &ok, (int32_t)status);
  }
}

static bool is_small(const rlt_node *n) {
  uint64_t work = n->macs;
  for (int32_t i = 0; i < n->def->n_outputs; i++) work += n->out[i]->bytes;
  return work < SMALL_WORK;
}

rlt_status rlt_run_node(rlt_frame *f, int32_t node, rlt_error *err) {
  const rlt_node *n = &f->nodes[node];
  const rlt_options *o = &f->it->options;
  parallel_run p = {.frame = f, .node = n, .err = err, .part = tiles_per_part(n), .status = RLT_OK};
  if (n->tiles == 1 || o->threads == 1 || !o->parallel_for || is_small(n)) {
    run_tiles(&p, 0, n->tiles, 0);
  } else {
    o->parallel_for(o->pool, n->tiles, run_tiles, &p);
  }
  rlt_status status = (rlt_status)atomic_load(&p.status);
  if (status == RLT_OK) return RLT_OK;
  if (err->status != status) rlt_fail(err, status, "it failed with %s", rlt_status_name(status));
  return rlt_at_node(err, f->graph, f->index, node);
}

/* ---- all nodes ---- */

/* Gives back what the region holds for tensors that nobody reads after this node. */
static void release_dead(rlt_node *n, int32_t node) {
  rlt_release_piece(&n->piece);
  for (int32_t i = 0; i < n->def->n_inputs; i++)
    if (n->in[i] && n->in[i]->last_use <= node) rlt_release_piece(&n->in[i]->piece);
  for (int32_t i = 0; i < n->def->n_outputs; i++)
    if (n->out[i]->last_use <= node) rlt_release_piece(&n->out[i]->piece);
}

rlt_status rlt_run_frame(rlt_frame *f, rlt_error *err) {
  const rlt_options *o = &f->it->options;
  bool timed = o->profile && o->clock_ns;
  for (int32_t i = 0; i < f->graph->n_nodes; i++) {
    rlt_node *n = &f->nodes[i];
    if (n->when == RLT_AT_BIND || n->when == RLT_AT_PREPARE) continue;
    if (rlt_is_cancelled(f->it)) return rlt_fail(err, RLT_CANCELLED, "cancelled before node %d", i);
    uint64_t start = timed ? o->clock_ns() : 0;
    if (n->when == RLT_LATE) RLT_TRY(rlt_prepare_late(f, i, err));
    RLT_TRY(rlt_run_node(f, i, err));
    if (f->has_late) release_dead(n, i);
    if (timed) o->profile(o->profile_ctx, f->index, i, o->clock_ns() - start);
  }
  return RLT_OK;
}

static rlt_status invoke(rlt_interpreter *it, rlt_error *err) {
  RLT_REQUIRE(err, it->stage == RLT_BOUND, RLT_BAD_STATE, "invoke before bind: prepare and bind the interpreter first");
  it->iterations = 0;
  it->macs = it->main->macs;
  rlt_start_cancelling(it);
  if (it->main->has_late) rlt_release_frame(it->main);
  return rlt_run_frame(it->main, err);
}

rlt_status rlt_invoke(rlt_interpreter *it, rlt_error *err) {
  rlt_error unheard;
  if (!err) err = &unheard;
  if (!rlt_enter(it, err)) return RLT_BUSY;
  err->status = RLT_OK;
  rlt_status status = invoke(it, err);
  rlt_leave(it);
  return status;
}
