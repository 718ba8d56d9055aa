/* SPDX-License-Identifier: Apache-2.0
 * rlt_prepare and rlt_bind: shapes, sizes and plan; then pointers, packing, and what can be computed ahead. */
#include "internal.h"

/* ---- services for kernels ---- */

rlt_status rlt_set_shape(rlt_prep *p, rlt_tensor *t, int32_t rank, const int32_t *dims) {
  RLT_REQUIRE(p->err, rank >= 0 && rank <= RLT_MAX_RANK, RLT_UNSUPPORTED,
              "%n would have %d dimensions; this build allows %d", t->def->name, rank, (int32_t)RLT_MAX_RANK);
  uint64_t count, bytes;
  RLT_REQUIRE(p->err, rlt_tensor_size(t->type, rank, dims, &count, &bytes), RLT_BAD_MODEL,
              "%n would have a negative dimension, or too many elements", t->def->name);
  RLT_REQUIRE(p->err, bytes <= p->limits->max_tensor_bytes, RLT_LIMIT,
              "%n would have %u bytes, the limit is %u (rlt_limits.max_tensor_bytes)", t->def->name, bytes,
              p->limits->max_tensor_bytes);
  for (int32_t i = 0; i < rank; i++) t->dims[i] = dims[i];
  t->rank = rank;
  t->count = count;
  t->bytes = bytes;
  return RLT_OK;
}

const void *rlt_const_data(const rlt_tensor *t) { return t->def->data; }

rlt_status rlt_check_arity(rlt_prep *p, const rlt_node *n, int32_t min_in, int32_t max_in, int32_t n_out) {
  int32_t in = n->def->n_inputs, out = n->def->n_outputs;
  RLT_REQUIRE(p->err, in >= min_in && in <= max_in, RLT_BAD_MODEL, "it has %d inputs, wanted %d to %d", in, min_in,
              max_in);
  for (int32_t i = 0; i < min_in; i++)
    RLT_REQUIRE(p->err, n->in[i], RLT_BAD_MODEL, "its input %d is left out, which is not optional", i);
  RLT_REQUIRE(p->err, out == n_out, RLT_BAD_MODEL, "it has %d outputs, wanted %d", out, n_out);
  return RLT_OK;
}

/* ---- prepare ---- */

/* Tensors as the file has them, inputs as the caller wishes them. */
static rlt_status reset_tensors(rlt_interpreter *it, rlt_prep *p) {
  for (int32_t i = 0; i < it->graph->n_tensors; i++) {
    rlt_tensor *t = &it->tensors[i];
    const rlt_tensor_def *def = t->def;
    *t = (rlt_tensor){.def = def, .type = def->type, .rank = def->rank, .is_const = def->data != NULL, .alias_of = -1};
    uint64_t bytes;
    __builtin_memcpy(t->dims, def->dims, sizeof t->dims);
    rlt_tensor_size(t->type, t->rank, t->dims, &t->count, &bytes);
    t->bytes = def->bytes;
  }
  for (int32_t i = 0; i < it->graph->n_inputs; i++) {
    if (it->wishes[i].rank < 0) continue;
    RLT_TRY(rlt_set_shape(p, &it->tensors[it->graph->inputs[i]], it->wishes[i].rank, it->wishes[i].dims));
  }
  return RLT_OK;
}

/* The core can hold no values of these types. */
static rlt_status check_outputs(rlt_prep *p, const rlt_node *n) {
  for (int32_t i = 0; i < n->def->n_outputs; i++)
    RLT_REQUIRE(p->err, rlt_type_bytes(n->out[i]->type) || n->out[i]->bytes, RLT_UNSUPPORTED,
                "its output %T is of a type this runtime cannot compute", n->out[i]);
  return RLT_OK;
}

static rlt_status prepare_node(rlt_interpreter *it, rlt_prep *p, rlt_node *n) {
  const rlt_kernel *k = n->def->kernel;
  bool ahead = !k->stateful && n->def->n_inputs > 0;
  for (int32_t i = 0; i < n->def->n_inputs; i++) ahead = ahead && (!n->in[i] || n->in[i]->is_const);
  __builtin_memset(n->data, 0, k->data_size);
  *n = (rlt_node){
      .def = n->def, .in = n->in, .out = n->out, .data = n->data, .tiles = 1, .in_place = -1, .ahead = ahead};
  for (int32_t i = 0; i < n->def->n_outputs; i++) n->out[i]->is_const = ahead;
  RLT_TRY(k->prepare(p, n));
  RLT_TRY(check_outputs(p, n));
  it->sizes.prepared += rlt_align(n->packed_bytes, RLT_BLOCK_ALIGN);
  if (!ahead) return RLT_OK;
  for (int32_t i = 0; i < n->def->n_outputs; i++) it->sizes.prepared += rlt_align(n->out[i]->bytes, RLT_BLOCK_ALIGN);
  return RLT_OK;
}

static rlt_status prepare(rlt_interpreter *it, rlt_error *err) {
  rlt_prep p = {it->u, &it->model->limits, err, it->options.threads};
  uint64_t macs = 0;
  it->stage = RLT_CREATED;
  it->sizes.prepared = 0;
  RLT_TRY(reset_tensors(it, &p));
  for (int32_t i = 0; i < it->graph->n_nodes; i++) {
    if (prepare_node(it, &p, &it->nodes[i]) != RLT_OK) return rlt_at_node(err, it->graph, it->options.subgraph, i);
    uint64_t sum = macs + it->nodes[i].macs;
    if (sum < macs || sum > p.limits->max_macs) {
      rlt_fail(err, RLT_LIMIT,
               "up to here one invoke takes %u multiply-accumulates, the limit is %u "
               "(rlt_limits.max_macs)",
               sum < macs ? UINT64_MAX : sum, p.limits->max_macs);
      return rlt_at_node(err, it->graph, it->options.subgraph, i);
    }
    macs = sum;
  }
  RLT_TRY(rlt_plan(it, err));
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

/* ---- bind ---- */

static rlt_status check_block(rlt_error *err, const char *name, const void *block, uint64_t size, uint64_t need) {
  RLT_REQUIRE(err, size >= need, RLT_NO_MEMORY, "the %s block has %u bytes, the model needs %u", name, size, need);
  RLT_REQUIRE(err, need == 0 || (block && (uintptr_t)block % RLT_BLOCK_ALIGN == 0), RLT_BAD_ARGUMENT,
              "the %s block is not aligned to %d bytes", name, (int32_t)RLT_BLOCK_ALIGN);
  return RLT_OK;
}

/* Hands out the prepared block in node order, the order in which prepare counted it. */
static void place_node(rlt_node *n, uint8_t *prepared, uint64_t *used) {
  n->packed = n->packed_bytes ? prepared + *used : NULL;
  *used += rlt_align(n->packed_bytes, RLT_BLOCK_ALIGN);
  if (!n->ahead) return;
  for (int32_t i = 0; i < n->def->n_outputs; i++) {
    n->out[i]->data = prepared + *used;
    *used += rlt_align(n->out[i]->bytes, RLT_BLOCK_ALIGN);
  }
}

static rlt_status bind(rlt_interpreter *it, uint8_t *prepared, bool is_packed, uint8_t *arena, rlt_error *err) {
  static _Alignas(RLT_BLOCK_ALIGN) uint8_t nowhere[RLT_BLOCK_ALIGN]; /* where tensors of no bytes lie */
  uint64_t used = 0;
  it->arena = arena ? arena : nowhere;
  for (int32_t i = 0; i < it->graph->n_tensors; i++) {
    rlt_tensor *t = &it->tensors[i];
    /* Constants are never written: the cast only lets kernels use one field for both. */
    t->data =
        t->def->data ? (void *)(uintptr_t)t->def->data : (t->offset == RLT_NO_OFFSET ? NULL : it->arena + t->offset);
  }
  for (int32_t i = 0; i < it->graph->n_nodes; i++) {
    rlt_node *n = &it->nodes[i];
    place_node(n, prepared ? prepared : nowhere, &used);
    if (is_packed) continue;
    if (n->packed_bytes) n->def->kernel->pack(it->u, n);
    if (n->ahead) RLT_TRY(rlt_run_node(it, i, err));
  }
  rlt_clear_variables(it);
  it->stage = RLT_BOUND;
  return RLT_OK;
}

static rlt_status check_and_bind(rlt_interpreter *it, void *prepared, size_t prepared_size, bool is_packed, void *arena,
                                 size_t arena_size, rlt_error *err) {
  RLT_REQUIRE(err, it->stage != RLT_CREATED, RLT_BAD_STATE, "bind before prepare: the sizes are not known yet");
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
