/* SPDX-License-Identifier: Apache-2.0
 * rlt_create, rlt_invoke and the calls around them. */
#include "../simd/ukernels.h"
#include "internal.h"
#include "widen.h"

static bool has_slot(const rlt_tensor_def *t) {
  bool is_shape = t->type == RLT_TYPE_INT32 || t->type == RLT_TYPE_INT64 || t->type == RLT_TYPE_BOOL;
  return t->producer >= 0 && !t->is_variable && t->bytes <= RLT_KNOWN_BYTES &&
         (is_shape || (t->type == RLT_TYPE_FLOAT32 && t->rank < 2));
}

/* A frame and its parts; with base NULL it only counts. */
static rlt_frame *lay_out_frame(rlt_bump *b, const rlt_subgraph_def *g) {
  rlt_frame *f = rlt_take(b, sizeof *f);
  rlt_tensor *t = rlt_take(b, (uint64_t)g->n_tensors * sizeof *t);
  rlt_node *n = rlt_take(b, (uint64_t)g->n_nodes * sizeof *n);
  rlt_shape_wish *wishes = rlt_take(b, (uint64_t)g->n_inputs * sizeof *wishes);
  for (int32_t i = 0; i < g->n_tensors; i++) {
    void *slot = has_slot(&g->tensors[i]) ? rlt_take(b, RLT_KNOWN_BYTES) : NULL;
    if (b->base) t[i] = (rlt_tensor){.def = &g->tensors[i], .slot = slot};
  }
  for (int32_t i = 0; i < g->n_nodes; i++) {
    const rlt_node_def *def = &g->nodes[i];
    rlt_tensor **links = rlt_take(b, ((uint64_t)def->n_inputs + (uint64_t)def->n_outputs) * sizeof *links);
    void *data = rlt_take(b, rlt_data_bytes(def));
    if (b->base) n[i] = (rlt_node){.def = def, .in = links, .out = links + def->n_inputs, .data = data};
  }
  if (b->base) *f = (rlt_frame){.graph = g, .tensors = t, .nodes = n, .wishes = wishes};
  return f;
}

static void link_frame(rlt_frame *f, rlt_interpreter *it, int32_t index) {
  const rlt_subgraph_def *g = f->graph;
  f->it = it;
  f->index = index;
  for (int32_t i = 0; i < g->n_inputs; i++) f->wishes[i].rank = -1;
  for (int32_t i = 0; i < g->n_nodes; i++) {
    const rlt_node_def *def = &g->nodes[i];
    for (int32_t k = 0; k < def->n_inputs; k++)
      f->nodes[i].in[k] = def->inputs[k] < 0 ? NULL : &f->tensors[def->inputs[k]];
    for (int32_t k = 0; k < def->n_outputs; k++) f->nodes[i].out[k] = &f->tensors[def->outputs[k]];
  }
}

/* Every part of the state block, in order; with base NULL it only counts. */
static rlt_interpreter *lay_out(rlt_bump *b, const rlt_model *m, int32_t subgraph, bool own_state) {
  bool reached[RLT_MAX_SUBGRAPHS];
  uint64_t most_nodes = 0, most_tensors = 0;
  rlt_find_reached(m, subgraph, reached);
  rlt_interpreter *it = rlt_take(b, sizeof *it);
  rlt_frame **frames = rlt_take(b, (uint64_t)m->n_subgraphs * sizeof *frames);
  for (int32_t g = 0; g < m->n_subgraphs; g++) {
    const rlt_subgraph_def *def = &m->subgraphs[g];
    if (!reached[g]) continue;
    if ((uint64_t)def->n_nodes > most_nodes) most_nodes = (uint64_t)def->n_nodes;
    if ((uint64_t)def->n_tensors > most_tensors) most_tensors = (uint64_t)def->n_tensors;
    rlt_frame *f = lay_out_frame(b, def);
    if (b->base) frames[g] = f;
  }
  rlt_span *spans = rlt_take(b, (most_tensors + most_nodes) * sizeof *spans);
  int32_t *order = rlt_take(b, (most_tensors + most_nodes) * sizeof *order);
  uint64_t *live = rlt_take(b, (most_nodes + 2) * sizeof *live);
  rlt_state *state = own_state ? rlt_state_lay_out(b, m) : NULL;
  if (!b->base) return NULL;
  *it = (rlt_interpreter){.model = m,
                          .frames = frames,
                          .main = frames[subgraph],
                          .state = state,
                          .busy = ATOMIC_FLAG_INIT,
                          .spans = spans,
                          .order = order,
                          .live = live};
  for (int32_t g = 0; g < m->n_subgraphs; g++)
    if (frames[g]) link_frame(frames[g], it, g);
  return it;
}

static int32_t subgraph_of(const rlt_model *m, const rlt_options *options) {
  int32_t subgraph = options ? options->subgraph : 0;
  return subgraph >= 0 && subgraph < m->n_subgraphs ? subgraph : -1;
}

size_t rlt_create_size(const rlt_model *m, const rlt_options *options) {
  rlt_bump count = {0};
  int32_t subgraph = subgraph_of(m, options);
  if (subgraph < 0) return 0;
  lay_out(&count, m, subgraph, !options || !options->state_of);
  return (size_t)count.used;
}

rlt_status rlt_create(const rlt_model *m, const rlt_options *options, void *block, size_t block_size,
                      rlt_interpreter **out, rlt_error *err) {
  static const rlt_options plain = {.threads = 1};
  rlt_error unheard;
  if (!err) err = &unheard;
  if (!options) options = &plain;
  int32_t subgraph = subgraph_of(m, options);
  RLT_REQUIRE(err, subgraph >= 0, RLT_BAD_ARGUMENT, "subgraph %d is not among the model's %d", options->subgraph,
              m->n_subgraphs);
  RLT_REQUIRE(err, options->threads >= 1 && options->threads <= 1024, RLT_BAD_ARGUMENT,
              "%d threads; give a number from 1 to 1024", options->threads);
  RLT_REQUIRE(err, !options->state_of || options->state_of->model == m, RLT_BAD_ARGUMENT,
              "the interpreter whose state it shall share runs another model");
  const rlt_ukernels *u = rlt_select_ukernels(options->isa);
  RLT_REQUIRE(err, u, RLT_BAD_ARGUMENT, "'%s' is no instruction set of this build", options->isa);
  size_t need = rlt_create_size(m, options);
  RLT_REQUIRE(err, block && (uintptr_t)block % RLT_BLOCK_ALIGN == 0, RLT_BAD_ARGUMENT,
              "the state block is not aligned to %d bytes", (int32_t)RLT_BLOCK_ALIGN);
  RLT_REQUIRE(err, block_size >= need, RLT_NO_MEMORY, "the state block has %u bytes, the interpreter needs %u",
              (uint64_t)block_size, (uint64_t)need);
  __builtin_memset(block, 0, need);
  rlt_bump b = {.base = block};
  rlt_interpreter *it = lay_out(&b, m, subgraph, !options->state_of);
  it->u = u;
  it->options = *options;
  it->sizes = (rlt_sizes){.model = m->file.size, .structure = m->structure_bytes, .state = need};
  if (options->state_of) {
    it->state = options->state_of->state;
  } else {
    rlt_state_own(it->state, it);
  }
  *out = it;
  return RLT_OK;
}

/* The interpreter, and the one whose state it shares. */
bool rlt_enter(rlt_interpreter *it, rlt_error *err) {
  rlt_interpreter *owner = rlt_state_owner(it->state);
  if (!atomic_flag_test_and_set_explicit(&it->busy, memory_order_acquire)) {
    if (owner == it || !atomic_flag_test_and_set_explicit(&owner->busy, memory_order_acquire)) return true;
    atomic_flag_clear_explicit(&it->busy, memory_order_release);
  }
  rlt_fail(err, RLT_BUSY, "another thread is using this interpreter; give each thread an interpreter of its own");
  return false;
}

void rlt_leave(rlt_interpreter *it) {
  rlt_interpreter *owner = rlt_state_owner(it->state);
  if (owner != it) atomic_flag_clear_explicit(&owner->busy, memory_order_release);
  atomic_flag_clear_explicit(&it->busy, memory_order_release);
}

static rlt_status resize_input(rlt_interpreter *it, int32_t tensor, int32_t rank, const int32_t *dims, rlt_error *err) {
  const rlt_subgraph_def *g = it->main->graph;
  int32_t i = 0;
  while (i < g->n_inputs && g->inputs[i] != tensor) i++;
  RLT_REQUIRE(err, i < g->n_inputs, RLT_BAD_ARGUMENT, "tensor %d is not an input; only inputs can be resized", tensor);
  RLT_REQUIRE(err, rank >= 0 && rank <= RLT_MAX_RANK, RLT_BAD_ARGUMENT,
              "a shape of %d dimensions; at most %d are allowed", rank, (int32_t)RLT_MAX_RANK);
  for (int32_t k = 0; k < rank; k++)
    RLT_REQUIRE(err, dims[k] >= 0, RLT_BAD_ARGUMENT, "dimension %d of the new shape is %d", k, dims[k]);
  for (; i < g->n_inputs; i++) {
    if (g->inputs[i] != tensor) continue;
    it->main->wishes[i].rank = rank;
    for (int32_t k = 0; k < rank; k++) it->main->wishes[i].dims[k] = dims[k];
  }
  it->stage = RLT_CREATED;
  return RLT_OK;
}

rlt_status rlt_resize_input(rlt_interpreter *it, int32_t tensor, int32_t rank, const int32_t *dims, rlt_error *err) {
  rlt_error unheard;
  if (!err) err = &unheard;
  if (!rlt_enter(it, err)) return RLT_BUSY;
  rlt_status status = resize_input(it, tensor, rank, dims, err);
  rlt_leave(it);
  return status;
}

/* Quantized variables start at the number that stands for zero, as LiteRT has it for int8. */
void rlt_clear_variables(rlt_interpreter *it) {
  for (int32_t g = 0; g < it->model->n_subgraphs; g++) {
    for (int32_t i = 0; it->frames[g] && i < it->frames[g]->graph->n_tensors; i++) {
      const rlt_tensor *t = &it->frames[g]->tensors[i];
      bool here = it->frames[g] == it->main || rlt_is_persistent(it->frames[g], t);
      if (!t->def->is_variable || !here || !t->data) continue;
      int value = t->type == RLT_TYPE_INT8 && t->def->quant.n ? rlt_zero_point(t, 0) : 0;
      __builtin_memset(t->data, value, (size_t)t->bytes);
    }
  }
}

rlt_status rlt_reset_variables(rlt_interpreter *it, rlt_error *err) {
  rlt_error unheard;
  if (!err) err = &unheard;
  if (!rlt_enter(it, err)) return RLT_BUSY;
  rlt_status status = RLT_OK;
  if (it->stage == RLT_BOUND) {
    rlt_clear_variables(it);
  } else {
    status = rlt_fail(err, RLT_BAD_STATE, "reset_variables before bind: there are no variables yet");
  }
  rlt_leave(it);
  return status;
}
