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
    rlt_size size;
    __builtin_memcpy(t->dims, def->dims, sizeof t->dims);
    rlt_tensor_size(t->type, t->rank, t->dims, &size);
    t->count = size.count;
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

static rlt_status prepare_node(rlt_prep *p, rlt_node *n) {
  const rlt_kernel *k = n->def->kernel;
  bool ahead = !k->stateful && n->def->n_inputs > 0 && n->def->n_outputs > 0;
  for (int32_t i = 0; i < n->def->n_inputs; i++) ahead = ahead && (!n->in[i] || n->in[i]->is_const);
  __builtin_memset(n->data, 0, k->data_size);
  *n = (rlt_node){
      .def = n->def, .in = n->in, .out = n->out, .data = n->data, .tiles = 1, .in_place = -1, .ahead = ahead};
  for (int32_t i = 0; i < n->def->n_outputs; i++) n->out[i]->is_const = ahead;
  RLT_TRY(k->prepare(p, n));
  return check_outputs(p, n);
}

/* A value computed ahead that its users only pack, such as weights stored as float16, is computed again for each of
 * them at bind and then forgotten. Its own inputs must lie in the file, and its kernel needs no scratch. */
static void find_passing(rlt_interpreter *it) {
  for (int32_t i = 0; i < it->graph->n_nodes; i++) {
    const rlt_node *n = &it->nodes[i];
    bool passing = n->ahead && n->def->n_outputs == 1 && n->scratch_bytes == 0 && n->packed_bytes == 0 &&
                   !n->out[0]->def->is_output && !it->options.preserve_all_tensors;
    for (int32_t k = 0; k < n->def->n_inputs; k++) passing = passing && (!n->in[k] || n->in[k]->def->data);
    if (n->def->n_outputs > 0) n->out[0]->is_passing = passing;
  }
  for (int32_t i = 0; i < it->graph->n_nodes; i++) {
    const rlt_node *n = &it->nodes[i];
    for (int32_t k = 0; k < n->def->n_inputs; k++) {
      bool packed = !n->ahead && n->packed_bytes > 0 && k < 32 && ((n->packed_inputs >> k) & 1u);
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

/* Adds what one node has in the prepared block, and finds the arena's room for what passes through it at bind. */
static bool add_node(rlt_interpreter *it, const rlt_node *n, uint64_t limit) {
  uint64_t passing = 0;
  bool fits = add_bytes(&it->sizes.prepared, n->packed_bytes, limit);
  for (int32_t k = 0; n->ahead && k < n->def->n_outputs; k++)
    if (!n->out[k]->is_passing) fits = fits && add_bytes(&it->sizes.prepared, n->out[k]->bytes, limit);
  for (int32_t k = 0; k < n->def->n_inputs; k++)
    if (n->in[k] && n->in[k]->is_passing) fits = fits && add_bytes(&passing, n->in[k]->bytes, limit);
  if (passing > it->sizes.arena) it->sizes.arena = passing;
  return fits;
}

/* Sizes of the prepared block and, where packing needs more than the plan, of the arena. */
static rlt_status size_prepared(rlt_interpreter *it, rlt_error *err) {
  uint64_t limit = it->model->limits.max_arena_bytes;
  limit = (limit < RLT_HARD_LIMIT ? limit : RLT_HARD_LIMIT) + 16 * (uint64_t)it->model->file.size;
  find_passing(it);
  it->sizes.prepared = 0;
  for (int32_t i = 0; i < it->graph->n_nodes; i++) {
    if (add_node(it, &it->nodes[i], limit)) continue;
    rlt_fail(err, RLT_LIMIT,
             "with it, packed weights and computed constants take more than %u bytes "
             "(rlt_limits.max_arena_bytes and 16 times the file)",
             limit);
    return rlt_at_node(err, it->graph, it->options.subgraph, i);
  }
  return RLT_OK;
}

static rlt_status prepare(rlt_interpreter *it, rlt_error *err) {
  rlt_prep p = {it->u, &it->model->limits, err, it->options.threads};
  uint64_t macs = 0;
  it->stage = RLT_CREATED;
  RLT_TRY(reset_tensors(it, &p));
  for (int32_t i = 0; i < it->graph->n_nodes; i++) {
    if (prepare_node(&p, &it->nodes[i]) != RLT_OK) return rlt_at_node(err, it->graph, it->options.subgraph, i);
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
  RLT_TRY(size_prepared(it, err));
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
