/* SPDX-License-Identifier: Apache-2.0
 * rlt_bind: pointers into the caller's blocks; packing, and computing ahead what is constant. */
#include "internal.h"
#include "strings.h"

static rlt_status check_block(rlt_error *err, const char *name, const void *block, uint64_t size, uint64_t need) {
  RLT_REQUIRE(err, size >= need, RLT_NO_MEMORY, "the %s block has %u bytes, the model needs %u", name, size, need);
  RLT_REQUIRE(err, need == 0 || (block && (uintptr_t)block % RLT_BLOCK_ALIGN == 0), RLT_BAD_ARGUMENT,
              "the %s block is not aligned to %d bytes", name, (int32_t)RLT_BLOCK_ALIGN);
  return RLT_OK;
}

/* Hands out the prepared block in node order, in which prepare counted it. */
static void place_node(rlt_node *n, uint8_t *prepared, uint64_t *used) {
  n->packed = n->packed_bytes ? prepared + *used : NULL;
  n->bound_packed = n->packed_bytes;
  *used += rlt_align(n->packed_bytes, RLT_BLOCK_ALIGN);
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    rlt_tensor *t = n->out[i];
    t->kept = NULL;
    if (n->when != RLT_AT_BIND || t->is_passing) continue;
    t->data = t->kept = prepared + *used;
    *used += rlt_align(t->bytes, RLT_BLOCK_ALIGN);
  }
}

/* What was not prepared has nothing in the block: it is prepared, and packed, when it is called. */
static void forget_node(rlt_node *n) {
  n->packed = NULL;
  n->bound_packed = 0;
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    n->out[i]->kept = NULL;
    n->out[i]->is_passing = false;
  }
}

/* Packs a node's weights; those that are computed pass through the arena, which holds nothing yet. */
static rlt_status pack_node(rlt_frame *f, const rlt_node *n, rlt_error *err) {
  uint64_t used = 0;
  for (int32_t k = 0; k < n->def->n_inputs; k++) {
    rlt_tensor *t = n->in[k];
    if (!t || !t->is_passing) continue;
    t->data = f->it->arena + used;
    used += rlt_align(t->bytes, RLT_BLOCK_ALIGN);
    RLT_TRY(rlt_run_node(f, t->def->producer, err));
  }
  n->def->kernel->pack(f->it->u, n);
  for (int32_t k = 0; k < n->def->n_inputs; k++)
    if (n->in[k] && n->in[k]->is_passing) n->in[k]->data = NULL;
  return RLT_OK;
}

static rlt_status bind_frame(rlt_frame *f, uint8_t *prepared, uint64_t *used, bool is_packed, rlt_error *err) {
  for (int32_t i = 0; i < f->graph->n_nodes; i++) {
    rlt_node *n = &f->nodes[i];
    place_node(n, prepared, used);
    if (is_packed) continue;
    if (n->packed_bytes) RLT_TRY(pack_node(f, n, err));
    if (n->when != RLT_AT_BIND || n->out[0]->is_passing) continue;
    n->scratch = f->it->arena;
    RLT_TRY(rlt_run_node(f, i, err));
  }
  return RLT_OK;
}

static rlt_status bind(rlt_interpreter *it, uint8_t *prepared, bool is_packed, uint8_t *arena, rlt_error *err) {
  static _Alignas(RLT_BLOCK_ALIGN) uint8_t nowhere[RLT_BLOCK_ALIGN]; /* where tensors of no bytes lie */
  uint64_t used = 0;
  it->arena = arena ? arena : nowhere;
  for (int32_t g = 0; g < it->model->n_subgraphs; g++) {
    rlt_frame *f = it->frames[g];
    if (!f) continue;
    rlt_set_pointers(f, it->arena);
    for (int32_t i = 0; i < f->graph->n_nodes && !f->is_prepared; i++) forget_node(&f->nodes[i]);
    if (f->is_prepared) RLT_TRY(bind_frame(f, prepared ? prepared : nowhere, &used, is_packed, err));
    if (f != it->main) f->arena = NULL; /* it comes with the call */
  }
  rlt_clear_variables(it);
  rlt_clear_string_inputs(it->main);
  it->stage = RLT_BOUND;
  return RLT_OK;
}

static rlt_status check_and_bind(rlt_interpreter *it, void *prepared, size_t prepared_size, bool is_packed, void *arena,
                                 size_t arena_size, rlt_error *err) {
  RLT_REQUIRE(err, it->stage != RLT_CREATED, RLT_BAD_STATE, "bind before prepare: the sizes are not known yet");
  RLT_REQUIRE(err, !it->options.plan_only, RLT_BAD_STATE, "bind after a plan for export; create it without plan_only");
  RLT_TRY(check_block(err, "prepared", prepared, prepared_size, it->sizes.prepared));
  RLT_TRY(check_block(err, "arena", arena, arena_size, it->sizes.arena));
  it->stage = RLT_PREPARED;
  return bind(it, prepared, is_packed, arena, err);
}

rlt_status rlt_bind(rlt_interpreter *it, void *prepared, size_t prepared_size, bool prepared_is_packed, void *arena,
                    size_t arena_size, rlt_error *err) {
  rlt_error unheard;
  if (!err) err = &unheard;
  if (!rlt_enter(it, err)) return RLT_BUSY;
  err->status = RLT_OK;
  rlt_status status = check_and_bind(it, prepared, prepared_size, prepared_is_packed, arena, arena_size, err);
  rlt_leave(it);
  return status;
}
