/* SPDX-License-Identifier: Apache-2.0
 * rlt_prepare: shapes, what can be computed ahead, sizes and plan. */
#include "internal.h"

/* ---- services for kernels ---- */

rlt_status rlt_set_shape(rlt_prep *p, rlt_tensor *t, int32_t rank, const int32_t *dims) {
  RLT_REQUIRE(p->err, rank >= 0 && rank <= RLT_MAX_RANK, RLT_UNSUPPORTED,
              "%n would have %d dimensions; this build allows %d", t->def->name, rank, (int32_t)RLT_MAX_RANK);
  rlt_size size;
  RLT_REQUIRE(p->err, rlt_tensor_size(t->type, rank, dims, &size), RLT_BAD_MODEL,
              "%n would have a negative dimension, or too many elements", t->def->name);
  RLT_REQUIRE(p->err, size.extent <= p->limits->max_tensor_bytes, RLT_LIMIT,
              "%n would have %u bytes, the limit is %u (rlt_limits.max_tensor_bytes)", t->def->name, size.extent,
              p->limits->max_tensor_bytes);
  for (int32_t i = 0; i < rank; i++) t->dims[i] = dims[i];
  t->rank = rank;
  t->count = size.count;
  t->bytes = size.bytes;
  return RLT_OK;
}

rlt_status rlt_bound_shape(rlt_prep *p, rlt_tensor *t, int32_t rank, const int32_t *dims) {
  t->by_run = true;
  if (t->extent == RLT_STATIC) t->extent = RLT_BOUNDED;
  return rlt_set_shape(p, t, rank, dims);
}

void rlt_open_shape(rlt_tensor *t) {
  t->by_run = true;
  t->extent = RLT_UNBOUNDED;
}

const void *rlt_const_data(const rlt_tensor *t) {
  return t->def->data ? t->def->data : (t->is_known || t->is_here ? t->data : NULL);
}

rlt_status rlt_check_arity(rlt_prep *p, const rlt_node *n, int32_t min_in, int32_t max_in, int32_t n_out) {
  int32_t in = n->def->n_inputs, out = n->def->n_outputs;
  RLT_REQUIRE(p->err, in >= min_in && in <= max_in, RLT_BAD_MODEL, "it has %d inputs, wanted %d to %d", in, min_in,
              max_in);
  for (int32_t i = 0; i < min_in; i++)
    RLT_REQUIRE(p->err, n->in[i], RLT_BAD_MODEL, "its input %d is left out, which is not optional", i);
  RLT_REQUIRE(p->err, out == n_out, RLT_BAD_MODEL, "it has %d outputs, wanted %d", out, n_out);
  return RLT_OK;
}

/* ---- one node ---- */

/* The core can hold no values of these types. */
rlt_status rlt_check_output_types(rlt_prep *p, const rlt_node *n) {
  for (int32_t i = 0; i < n->def->n_outputs; i++)
    RLT_REQUIRE(p->err, rlt_type_bytes(n->out[i]->type) || n->out[i]->bytes, RLT_UNSUPPORTED,
                "its output %T is of a type this runtime cannot compute", n->out[i]);
  return RLT_OK;
}

/* A tensor as the file has it; what lasts from prepare to prepare is kept. */
static void reset_tensor(const rlt_frame *f, rlt_tensor *t) {
  const rlt_tensor_def *def = t->def;
  rlt_tensor fresh = {.def = def,
                      .type = def->type,
                      .rank = def->rank,
                      .bytes = def->bytes,
                      .is_const = def->data != NULL,
                      .alias_of = -1,
                      .slot = t->slot,
                      .kept = t->kept,
                      .is_passing = t->is_passing,
                      .piece = t->piece,
                      .offset = rlt_is_persistent(f, t) ? t->offset : RLT_NO_OFFSET};
  rlt_size size;
  rlt_tensor_size(def->type, def->rank, def->dims, &size);
  fresh.count = size.count;
  /* Constants are never written: the cast only lets kernels use one field for both. */
  fresh.data = (void *)(uintptr_t)def->data;
  __builtin_memcpy(fresh.dims, def->dims, sizeof fresh.dims);
  *t = fresh;
}

void rlt_reset_node(rlt_node *n) {
  __builtin_memset(n->data, 0, n->def->kernel->data_size);
  *n = (rlt_node){.def = n->def,
                  .in = n->in,
                  .out = n->out,
                  .data = n->data,
                  .packed = n->packed,
                  .bound_packed = n->bound_packed,
                  .piece = n->piece,
                  .tiles = 1,
                  .in_place = -1};
}

/* Operators that only look at the shape of their input. */
static bool reads_shape_only(const rlt_node *n) { return n->def->op == RLT_OP_SHAPE || n->def->op == RLT_OP_RANK; }

/* Whether a few numbers can be computed now: shapes are made of such. */
static bool can_run_now(const rlt_node *n) {
  bool can = !n->def->kernel->stateful && n->packed_bytes == 0 && n->scratch_bytes <= RLT_BLOCK_ALIGN * 16;
  for (int32_t i = 0; i < n->def->n_inputs; i++)
    can = can && (!n->in[i] || reads_shape_only(n) || n->in[i]->count == 0 || rlt_const_data(n->in[i]));
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    const rlt_tensor *t = n->out[i];
    can = can && t->slot && t->bytes <= RLT_KNOWN_BYTES && t->extent == RLT_STATIC;
  }
  return can && n->def->n_outputs > 0;
}

static rlt_status run_now(rlt_prep *p, rlt_node *n) {
  _Alignas(RLT_BLOCK_ALIGN) uint8_t scratch[RLT_BLOCK_ALIGN * 16];
  rlt_run r = {p->u, scratch, p->err, p->frame};
  for (int32_t i = 0; i < n->def->n_outputs; i++) n->out[i]->data = n->out[i]->slot;
  uint32_t mode = rlt_float_mode_enter();
  rlt_status status = n->def->kernel->run(&r, n, 0, n->tiles);
  rlt_float_mode_leave(mode);
  if (status != RLT_OK) return status;
  for (int32_t i = 0; i < n->def->n_outputs; i++) n->out[i]->is_known = true;
  n->when = RLT_AT_PREPARE;
  return RLT_OK;
}

/* The file says the tensor's whole shape, and it is the one now. */
static bool is_declared(const rlt_tensor *t) {
  bool same = t->rank > 0 && t->rank == t->def->rank;
  for (int32_t d = 0; same && d < t->rank; d++) same = t->dims[d] == t->def->signature[d];
  return same;
}

/* Outputs' sizes are bounded where those of the inputs are and larger inputs never make smaller outputs, or where the
 * file says a size; one that turns out larger after all is then taken from the region. */
static void mark_late(rlt_node *n, bool tried) {
  bool bounded = tried && (rlt_op_grows_with_inputs(n->def->op) || (n->def->composite && !n->is_decomposed));
  for (int32_t i = 0; i < n->def->n_inputs; i++) bounded = bounded && (!n->in[i] || n->in[i]->extent != RLT_UNBOUNDED);
  n->when = RLT_LATE;
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    rlt_tensor *t = n->out[i];
    t->is_const = false;
    if (!bounded && !is_declared(t)) t->extent = RLT_UNBOUNDED;
    if (t->extent == RLT_STATIC) t->extent = RLT_BOUNDED;
  }
}

static bool writes_variable(const rlt_node *n) {
  bool writes = false;
  for (int32_t i = 0; i < n->def->n_outputs; i++) writes = writes || n->out[i]->def->is_variable;
  return writes;
}

/* A variable lies where it lies for good, and others rely on its shape before it is written. */
static rlt_status check_variables(rlt_prep *p, const rlt_node *n, bool late) {
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    const rlt_tensor *t = n->out[i];
    if (!t->def->is_variable) continue;
    bool same = !late && !t->by_run && t->rank == t->def->rank;
    for (int32_t d = 0; same && d < t->rank; d++) same = t->dims[d] == t->def->dims[d];
    RLT_REQUIRE(p->err, same, RLT_UNSUPPORTED,
                "it writes the variable %n in another shape than the file declares, or one that only a run tells; give "
                "the model the sizes it was converted for",
                t->def->name);
  }
  return RLT_OK;
}

/* A node that depends on what only invoke knows is tried with the shapes the file declares: what it packs does not
 * depend on shapes, so its part of the prepared block is known. */
rlt_status rlt_prepare_node(rlt_prep *p, rlt_frame *f, int32_t node) {
  rlt_node *n = &f->nodes[node];
  bool writes = writes_variable(n), late = false;
  bool is_const = !n->def->kernel->stateful && !writes && n->def->n_inputs > 0 && n->def->n_outputs > 0;
  for (int32_t i = 0; i < n->def->n_inputs; i++) {
    is_const = is_const && (!n->in[i] || n->in[i]->is_const);
    late = late || (n->in[i] && n->in[i]->extent != RLT_STATIC);
  }
  rlt_reset_node(n);
  for (int32_t i = 0; i < n->def->n_outputs; i++) n->out[i]->is_const = is_const;
  rlt_status status = n->def->kernel->prepare(p, n);
  if (status == RLT_OK) status = rlt_check_output_types(p, n);
  if (writes && (status == RLT_OK || status == RLT_LATER)) RLT_TRY(check_variables(p, n, late || status == RLT_LATER));
  if (status == RLT_LATER || (late && !writes && status != RLT_OK)) {
    rlt_reset_node(n);
    for (int32_t i = 0; i < n->def->n_outputs; i++) {
      reset_tensor(f, n->out[i]);
      if (status != RLT_LATER) n->out[i]->extent = RLT_UNBOUNDED;
    }
    mark_late(n, false);
    return RLT_OK;
  }
  RLT_TRY(status);
  for (int32_t i = 0; i < n->def->n_outputs; i++) is_const = is_const && !n->out[i]->by_run;
  for (int32_t i = 0; i < n->def->n_outputs; i++) n->out[i]->is_const = is_const;
  n->when = is_const ? RLT_AT_BIND : RLT_AT_INVOKE;
  if (late) mark_late(n, true);
  return !late && can_run_now(n) ? run_now(p, n) : RLT_OK;
}

/* ---- one subgraph ---- */

static rlt_status reset_tensors(rlt_prep *p, rlt_frame *f) {
  rlt_release_frame(f);
  for (int32_t i = 0; i < f->graph->n_tensors; i++) reset_tensor(f, &f->tensors[i]);
  for (int32_t i = 0; i < f->graph->n_inputs; i++) {
    const rlt_shape_wish *wish = &f->wishes[i];
    rlt_tensor *t = &f->tensors[f->graph->inputs[i]];
    if (wish->rank < 0) continue;
    RLT_TRY(rlt_set_shape(p, t, wish->rank, wish->dims));
    if (wish->values) t->data = (void *)(uintptr_t)wish->values; /* never written, as constants are not */
    t->is_const = t->is_known = wish->values != NULL;
  }
  return RLT_OK;
}

/* Work of one run, with that of the subgraphs it calls, as far as shapes tell. */
static rlt_status add_macs(rlt_prep *p, rlt_frame *f, const rlt_node *n) {
  uint64_t sum = f->macs + rlt_node_work(n);
  RLT_REQUIRE(p->err, sum >= f->macs && sum <= p->limits->max_macs, RLT_LIMIT,
              "up to here one invoke takes %u multiply-accumulates, or elements moved, the limit is %u "
              "(rlt_limits.max_macs)",
              sum < f->macs ? UINT64_MAX : sum, p->limits->max_macs);
  if (n->when != RLT_LATE) f->macs = sum;
  return RLT_OK;
}

/* What rlt_bind did not see, because the frame could not be prepared then, is computed and packed in every run. */
static void adapt_to_bound(rlt_frame *f) {
  for (int32_t i = 0; i < f->graph->n_nodes; i++) {
    rlt_node *n = &f->nodes[i];
    bool unbound = n->when == RLT_AT_BIND && !n->out[0]->kept && !n->out[0]->is_passing;
    if (!unbound && n->packed_bytes == n->bound_packed) continue;
    n->when = RLT_LATE;
    f->has_late = true;
    for (int32_t k = 0; k < n->def->n_outputs; k++)
      if (unbound) n->out[k]->extent = RLT_UNBOUNDED;
  }
}

rlt_status rlt_prepare_frame(rlt_prep *outer, rlt_frame *f) {
  rlt_prep p = *outer;
  p.frame = f;
  f->is_prepared = f->has_late = false;
  f->arena = NULL;
  f->macs = 0;
  RLT_TRY(reset_tensors(&p, f));
  for (int32_t i = 0; i < f->graph->n_nodes; i++) {
    rlt_status status = rlt_prepare_node(&p, f, i);
    if (status == RLT_OK) status = add_macs(&p, f, &f->nodes[i]);
    if (status != RLT_OK) return rlt_at_node(p.err, f->graph, f->index, i);
    f->has_late = f->has_late || f->nodes[i].when == RLT_LATE;
    for (int32_t k = 0; k < f->nodes[i].def->n_outputs; k++) f->has_late = f->has_late || f->nodes[i].out[k]->by_run;
  }
  RLT_TRY(rlt_plan(f, p.err));
  if (f->it->stage == RLT_BOUND) adapt_to_bound(f);
  f->is_prepared = true;
  return RLT_OK;
}

/* ---- sizes of the blocks ---- */

/* A value computed ahead that its users only pack, such as weights stored as float16, is computed again for each of
 * them at bind and then forgotten. Its own inputs must lie in the file, and its kernel needs no scratch. */
static void find_passing(rlt_frame *f) {
  for (int32_t i = 0; i < f->graph->n_nodes; i++) {
    const rlt_node *n = &f->nodes[i];
    bool passing = n->when == RLT_AT_BIND && n->def->n_outputs == 1 && n->scratch_bytes == 0 && n->packed_bytes == 0 &&
                   !n->out[0]->def->is_output && !f->it->options.preserve_all_tensors;
    for (int32_t k = 0; k < n->def->n_inputs; k++) passing = passing && (!n->in[k] || n->in[k]->def->data);
    if (n->def->n_outputs > 0) n->out[0]->is_passing = passing;
  }
  for (int32_t i = 0; i < f->graph->n_nodes; i++) {
    const rlt_node *n = &f->nodes[i];
    for (int32_t k = 0; k < n->def->n_inputs; k++) {
      bool packed = n->when != RLT_AT_BIND && n->packed_bytes > 0 && k < 32 && ((n->packed_inputs >> k) & 1u);
      if (n->in[k] && !packed) n->in[k]->is_passing = false;
    }
  }
}

/* Adds a part's bytes to a sum that stays below `limit`, itself far from overflow; false: it would not. */
static bool add_bytes(uint64_t *sum, uint64_t bytes, uint64_t limit) {
  if (bytes > limit) return false;
  *sum += rlt_align(bytes, RLT_BLOCK_ALIGN);
  return *sum <= limit;
}

/* Adds what one node has in the prepared block, and finds the arena's room for what it needs at bind. */
static bool add_node(rlt_interpreter *it, const rlt_node *n, uint64_t limit) {
  uint64_t passing = 0;
  bool fits = add_bytes(&it->sizes.prepared, n->packed_bytes, limit);
  for (int32_t k = 0; n->when == RLT_AT_BIND && k < n->def->n_outputs; k++)
    if (!n->out[k]->is_passing) fits = fits && add_bytes(&it->sizes.prepared, n->out[k]->bytes, limit);
  for (int32_t k = 0; k < n->def->n_inputs; k++)
    if (n->in[k] && n->in[k]->is_passing) fits = fits && add_bytes(&passing, n->in[k]->bytes, limit);
  if (n->when == RLT_AT_BIND) passing = rlt_node_memory(n, it->options.threads);
  fits = fits && passing <= limit;
  if (passing > it->sizes.arena) it->sizes.arena = passing;
  return fits;
}

/* Sizes of the prepared block and, where packing needs more than the plan, of the arena. */
static rlt_status size_prepared(rlt_interpreter *it, rlt_error *err) {
  uint64_t limit = it->model->limits.max_arena_bytes;
  limit = (limit < RLT_HARD_LIMIT ? limit : RLT_HARD_LIMIT) + 16 * (uint64_t)it->model->file.size;
  it->sizes.prepared = 0;
  for (int32_t g = 0; g < it->model->n_subgraphs; g++) {
    rlt_frame *f = it->frames[g];
    if (!f || !f->is_prepared) continue;
    find_passing(f);
    for (int32_t i = 0; i < f->graph->n_nodes; i++) {
      if (add_node(it, &f->nodes[i], limit)) continue;
      rlt_fail(err, RLT_LIMIT,
               "with it, packed weights and computed constants take more than %u bytes "
               "(rlt_limits.max_arena_bytes and 16 times the file)",
               limit);
      return rlt_at_node(err, f->graph, g, i);
    }
  }
  return RLT_OK;
}

/* Variables of subgraphs that are called lie behind the main arena. */
static rlt_status place_persistent(rlt_interpreter *it, rlt_error *err) {
  uint64_t limit = it->model->limits.max_arena_bytes;
  limit = limit < RLT_HARD_LIMIT ? limit : RLT_HARD_LIMIT;
  for (int32_t g = 0; g < it->model->n_subgraphs; g++) {
    for (int32_t i = 0; it->frames[g] && i < it->frames[g]->graph->n_tensors; i++) {
      rlt_tensor *t = &it->frames[g]->tensors[i];
      if (!rlt_is_persistent(it->frames[g], t)) continue;
      t->offset = it->sizes.arena;
      RLT_REQUIRE(err, add_bytes(&it->sizes.arena, t->def->bytes, limit), RLT_LIMIT,
                  "with variable %n the arena needs more than %u bytes (rlt_limits.max_arena_bytes)", t->def->name,
                  limit);
      it->sizes.peak_live += t->def->bytes;
    }
  }
  return RLT_OK;
}

/* Without memory that grows, nothing may be unbounded. */
static rlt_status check_extents(const rlt_interpreter *it, rlt_error *err) {
  for (int32_t g = 0; g < it->model->n_subgraphs && !it->options.grow; g++) {
    const rlt_frame *f = it->frames[g];
    for (int32_t i = 0; f && i < f->graph->n_tensors; i++) {
      if (f->tensors[i].extent != RLT_UNBOUNDED) continue;
      rlt_fail(err, RLT_UNSUPPORTED,
               "only a run tells its size, for which nothing is bound; give rlt_options.grow, or convert the model "
               "with static shapes");
      return rlt_at_tensor(err, f->tensors[i].def->name, g, i);
    }
  }
  return RLT_OK;
}

static rlt_status prepare(rlt_interpreter *it, rlt_error *err) {
  rlt_prep p = {it->u, &it->model->limits, err, it->options.threads, it->main};
  it->stage = RLT_CREATED;
  it->iterations = it->macs = 0;
  for (int32_t g = 0; g < it->model->n_subgraphs; g++)
    if (it->frames[g]) it->frames[g]->is_prepared = false;
  RLT_TRY(rlt_prepare_frame(&p, it->main));
  it->sizes.arena = it->main->arena_bytes;
  RLT_TRY(place_persistent(it, err));
  RLT_TRY(size_prepared(it, err));
  RLT_TRY(rlt_check_total(it, err));
  RLT_TRY(check_extents(it, err));
  it->stage = RLT_PREPARED;
  return RLT_OK;
}

rlt_status rlt_prepare(rlt_interpreter *it, rlt_error *err) {
  rlt_error unheard;
  if (!err) err = &unheard;
  if (!rlt_enter(it, err)) return RLT_BUSY;
  rlt_status status = prepare(it, err);
  rlt_leave(it);
  return status;
}

rlt_status rlt_get_sizes(const rlt_interpreter *it, rlt_sizes *sizes) {
  if (it->stage == RLT_CREATED) return RLT_BAD_STATE;
  *sizes = it->sizes;
  return RLT_OK;
}
