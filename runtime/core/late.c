/* SPDX-License-Identifier: Apache-2.0
 * Nodes that are prepared in the middle of invoke, when the shapes and values they depend on are there. */
#include "internal.h"

/* Where the plan put the tensor if it fits there, else in the region. */
static rlt_status place(rlt_frame *f, rlt_tensor *t, rlt_error *err) {
  rlt_release_piece(&t->piece);
  if (t->offset == RLT_NO_OFFSET || t->planned < t->bytes)
    return rlt_take_piece(f->it, &t->piece, t->bytes, &t->data, err);
  t->data = f->arena + t->offset;
  return RLT_OK;
}

rlt_status rlt_set_output(const rlt_run *r, rlt_tensor *t, int32_t rank, const int32_t *dims) {
  rlt_interpreter *it = r->frame->it;
  rlt_prep p = {it->u, &it->model->limits, r->err, it->options.threads, r->frame};
  t->data = NULL;
  RLT_TRY(rlt_set_shape(&p, t, rank, dims));
  RLT_TRY(rlt_spend(it, t->count, r->err));
  return place(r->frame, t, r->err);
}

/* The kernel's own prepare, with values at hand. */
static rlt_status prepare_again(rlt_prep *p, rlt_node *n) {
  rlt_node before = *n;
  for (int32_t i = 0; i < n->def->n_inputs; i++)
    if (n->in[i]) n->in[i]->is_here = n->in[i]->data != NULL;
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    if (n->out[i]->def->is_variable) continue; /* it lies where it lies, and its shape was checked before */
    n->out[i]->by_run = false;
    n->out[i]->data = NULL; /* it may be smaller than what the shape will say, should this fail half-way */
  }
  uint8_t former[RLT_FORMER_BYTES] = {0};
  uint64_t size = n->def->kernel->data_size;
  __builtin_memcpy(former, n->data, (size_t)(size < sizeof former ? size : sizeof former));
  rlt_reset_node(n);
  n->former = former;
  rlt_status status = n->def->kernel->prepare(p, n);
  n->former = NULL;
  n->when = RLT_LATE;
  n->in_place = -1;
  n->scratch_offset = before.scratch_offset;
  n->planned_scratch = before.planned_scratch;
  RLT_REQUIRE(p->err, status != RLT_LATER, RLT_UNSUPPORTED, "it needs values of its inputs that are never there");
  RLT_TRY(status);
  return rlt_check_output_types(p, n);
}

/* Scratch, and room for what it packs if rlt_bind did not know that it would. */
static rlt_status find_memory(rlt_frame *f, rlt_node *n, rlt_error *err) {
  uint64_t bytes = rlt_node_memory(n, f->it->options.threads);
  bool packs = n->packed_bytes != n->bound_packed && n->packed_bytes > 0;
  RLT_REQUIRE(err, bytes <= RLT_HARD_LIMIT && n->packed_bytes <= RLT_HARD_LIMIT, RLT_LIMIT,
              "its scratch memory is more than any run may take");
  if (packs || bytes > n->planned_scratch) {
    void *taken;
    RLT_TRY(rlt_take_piece(f->it, &n->piece, bytes + (packs ? n->packed_bytes : 0), &taken, err));
    n->scratch = taken;
  } else {
    n->scratch = f->arena + n->scratch_offset;
  }
  if (!packs) return RLT_OK;
  for (int32_t i = 0; i < n->def->n_inputs; i++)
    RLT_REQUIRE(err, !n->in[i] || !n->in[i]->is_passing, RLT_UNSUPPORTED,
                "%T was packed for other shapes than the model now has", n->in[i]);
  n->packed = n->scratch + bytes;
  n->def->kernel->pack(f->it->u, n);
  return RLT_OK;
}

static rlt_status prepare_late(rlt_frame *f, rlt_node *n, rlt_error *err) {
  rlt_interpreter *it = f->it;
  rlt_prep p = {it->u, &it->model->limits, err, it->options.threads, f};
  RLT_TRY(prepare_again(&p, n));
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    rlt_tensor *t = n->out[i];
    bool placed = t->def->is_variable || (t->by_run && t->extent == RLT_UNBOUNDED);
    if (!placed) RLT_TRY(place(f, t, err));
  }
  RLT_TRY(rlt_spend(it, rlt_node_work(n), err));
  return find_memory(f, n, err);
}

rlt_status rlt_prepare_late(rlt_frame *f, int32_t node, rlt_error *err) {
  if (prepare_late(f, &f->nodes[node], err) == RLT_OK) return RLT_OK;
  return rlt_at_node(err, f->graph, f->index, node);
}
