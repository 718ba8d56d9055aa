/* SPDX-License-Identifier: Apache-2.0
 * rlt_create, rlt_invoke and the calls around them. */
#include "../simd/ukernels.h"
#include "internal.h"

/* Every part of the state block, in order; with base NULL it only counts. */
static rlt_interpreter *lay_out(rlt_bump *b, const rlt_subgraph_def *g) {
  uint64_t tensors = (uint64_t)g->n_tensors, nodes = (uint64_t)g->n_nodes;
  rlt_interpreter *it = rlt_take(b, sizeof *it);
  rlt_tensor *t = rlt_take(b, tensors * sizeof *t);
  rlt_node *n = rlt_take(b, nodes * sizeof *n);
  rlt_shape_wish *wishes = rlt_take(b, (uint64_t)g->n_inputs * sizeof *wishes);
  rlt_span *spans = rlt_take(b, (tensors + nodes) * sizeof *spans);
  int32_t *order = rlt_take(b, (tensors + nodes) * sizeof *order);
  uint64_t *live = rlt_take(b, (nodes + 2) * sizeof *live);
  for (int32_t i = 0; i < g->n_nodes; i++) {
    const rlt_node_def *def = &g->nodes[i];
    rlt_tensor **links = rlt_take(b, ((uint64_t)def->n_inputs + (uint64_t)def->n_outputs) * sizeof *links);
    void *data = rlt_take(b, def->kernel->data_size);
    if (b->base) n[i] = (rlt_node){.def = def, .in = links, .out = links + def->n_inputs, .data = data};
  }
  if (b->base) {
    *it = (rlt_interpreter){.graph = g,
                            .tensors = t,
                            .nodes = n,
                            .wishes = wishes,
                            .busy = ATOMIC_FLAG_INIT,
                            .spans = spans,
                            .order = order,
                            .live = live};
  }
  return it;
}

static void link_tensors(rlt_interpreter *it) {
  const rlt_subgraph_def *g = it->graph;
  for (int32_t i = 0; i < g->n_tensors; i++) it->tensors[i].def = &g->tensors[i];
  for (int32_t i = 0; i < g->n_inputs; i++) it->wishes[i].rank = -1;
  for (int32_t i = 0; i < g->n_nodes; i++) {
    const rlt_node_def *def = &g->nodes[i];
    for (int32_t k = 0; k < def->n_inputs; k++)
      it->nodes[i].in[k] = def->inputs[k] < 0 ? NULL : &it->tensors[def->inputs[k]];
    for (int32_t k = 0; k < def->n_outputs; k++) it->nodes[i].out[k] = &it->tensors[def->outputs[k]];
  }
}

static int32_t subgraph_of(const rlt_model *m, const rlt_options *options) {
  int32_t subgraph = options ? options->subgraph : 0;
  return subgraph >= 0 && subgraph < m->n_subgraphs ? subgraph : -1;
}

size_t rlt_create_size(const rlt_model *m, const rlt_options *options) {
  rlt_bump count = {0};
  int32_t subgraph = subgraph_of(m, options);
  if (subgraph < 0) return 0;
  lay_out(&count, &m->subgraphs[subgraph]);
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
  const rlt_ukernels *u = rlt_select_ukernels(options->isa);
  RLT_REQUIRE(err, u, RLT_BAD_ARGUMENT, "'%s' is no instruction set of this build", options->isa);
  size_t need = rlt_create_size(m, options);
  RLT_REQUIRE(err, block && (uintptr_t)block % RLT_BLOCK_ALIGN == 0, RLT_BAD_ARGUMENT,
              "the state block is not aligned to %d bytes", (int32_t)RLT_BLOCK_ALIGN);
  RLT_REQUIRE(err, block_size >= need, RLT_NO_MEMORY, "the state block has %u bytes, the interpreter needs %u",
              (uint64_t)block_size, (uint64_t)need);
  __builtin_memset(block, 0, need);
  rlt_bump b = {.base = block};
  rlt_interpreter *it = lay_out(&b, &m->subgraphs[subgraph]);
  it->model = m;
  it->u = u;
  it->options = *options;
  it->sizes = (rlt_sizes){.model = m->file.size, .structure = m->structure_bytes, .state = need};
  link_tensors(it);
  *out = it;
  return RLT_OK;
}

bool rlt_enter(rlt_interpreter *it, rlt_error *err) {
  if (!atomic_flag_test_and_set_explicit(&it->busy, memory_order_acquire)) return true;
  rlt_fail(err, RLT_BUSY, "another thread is using this interpreter; give each thread an interpreter of its own");
  return false;
}

void rlt_leave(rlt_interpreter *it) { atomic_flag_clear_explicit(&it->busy, memory_order_release); }

static rlt_status resize_input(rlt_interpreter *it, int32_t tensor, int32_t rank, const int32_t *dims, rlt_error *err) {
  const rlt_subgraph_def *g = it->graph;
  int32_t i = 0;
  while (i < g->n_inputs && g->inputs[i] != tensor) i++;
  RLT_REQUIRE(err, i < g->n_inputs, RLT_BAD_ARGUMENT, "tensor %d is not an input; only inputs can be resized", tensor);
  RLT_REQUIRE(err, rank >= 0 && rank <= RLT_MAX_RANK, RLT_BAD_ARGUMENT,
              "a shape of %d dimensions; at most %d are allowed", rank, (int32_t)RLT_MAX_RANK);
  for (int32_t k = 0; k < rank; k++)
    RLT_REQUIRE(err, dims[k] >= 0, RLT_BAD_ARGUMENT, "dimension %d of the new shape is %d", k, dims[k]);
  for (; i < g->n_inputs; i++) {
    if (g->inputs[i] != tensor) continue;
    it->wishes[i].rank = rank;
    for (int32_t k = 0; k < rank; k++) it->wishes[i].dims[k] = dims[k];
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

/* ---- running ---- */

/* Work below this many multiply-accumulates and bytes is done sooner by one thread than handed to another. */
#define SMALL_WORK 65536

typedef struct parallel_run {
  rlt_interpreter *it;
  const rlt_node *node;
  rlt_error *err;
  _Atomic int32_t status;
} parallel_run;

static void run_tiles(void *ctx, int32_t first, int32_t last, int32_t thread) {
  parallel_run *p = ctx;
  rlt_error unheard;
  uint64_t scratch = rlt_align(p->node->scratch_bytes, RLT_BLOCK_ALIGN) * (uint32_t)thread;
  rlt_run r = {p->it->u, p->it->arena + p->node->scratch_offset + scratch, thread == 0 ? p->err : &unheard};
  rlt_status status = p->node->def->kernel->run(&r, p->node, first, last);
  int32_t ok = RLT_OK;
  if (status != RLT_OK) atomic_compare_exchange_strong(&p->status, &ok, (int32_t)status);
}

static bool is_small(const rlt_node *n) {
  uint64_t work = n->macs;
  for (int32_t i = 0; i < n->def->n_outputs; i++) work += n->out[i]->bytes;
  return work < SMALL_WORK;
}

rlt_status rlt_run_node(rlt_interpreter *it, int32_t node, rlt_error *err) {
  const rlt_node *n = &it->nodes[node];
  parallel_run p = {.it = it, .node = n, .err = err, .status = RLT_OK};
  if (n->tiles == 1 || it->options.threads == 1 || !it->options.parallel_for || is_small(n)) {
    run_tiles(&p, 0, n->tiles, 0);
  } else {
    it->options.parallel_for(it->options.pool, n->tiles, run_tiles, &p);
  }
  rlt_status status = (rlt_status)atomic_load(&p.status);
  if (status == RLT_OK) return RLT_OK;
  if (err->status != status) rlt_fail(err, status, "it failed with %s", rlt_status_name(status));
  return rlt_at_node(err, it->graph, it->options.subgraph, node);
}

static rlt_status invoke(rlt_interpreter *it, rlt_error *err) {
  const rlt_options *o = &it->options;
  bool timed = o->profile && o->clock_ns;
  for (int32_t i = 0; i < it->graph->n_nodes; i++) {
    if (it->nodes[i].ahead) continue;
    if (o->cancel && o->cancel(o->cancel_ctx)) return rlt_fail(err, RLT_CANCELLED, "cancelled before node %d", i);
    uint64_t start = timed ? o->clock_ns() : 0;
    RLT_TRY(rlt_run_node(it, i, err));
    if (timed) o->profile(o->profile_ctx, o->subgraph, i, o->clock_ns() - start);
  }
  return RLT_OK;
}

rlt_status rlt_invoke(rlt_interpreter *it, rlt_error *err) {
  rlt_error unheard;
  if (!err) err = &unheard;
  if (!rlt_enter(it, err)) return RLT_BUSY;
  err->status = RLT_OK;
  rlt_status status = it->stage == RLT_BOUND
                          ? invoke(it, err)
                          : rlt_fail(err, RLT_BAD_STATE, "invoke before bind: prepare and bind the interpreter first");
  rlt_leave(it);
  return status;
}

/* Quantized variables start at the number that stands for zero, as LiteRT has it for int8. */
void rlt_clear_variables(rlt_interpreter *it) {
  for (int32_t i = 0; i < it->graph->n_tensors; i++) {
    const rlt_tensor *t = &it->tensors[i];
    if (!t->def->is_variable || !t->data) continue;
    int value = t->type == RLT_TYPE_INT8 && t->def->quant.n ? rlt_zero_point(t, 0) : 0;
    __builtin_memset(t->data, value, (size_t)t->bytes);
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
