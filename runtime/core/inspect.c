/* SPDX-License-Identifier: Apache-2.0
 * The questions of rillet.h: what a model holds, and what an interpreter made of it. */
#include "internal.h"

int32_t rlt_subgraph_count(const rlt_model *m) { return m->n_subgraphs; }

static const rlt_subgraph_def *subgraph(const rlt_model *m, int32_t index) {
  static const rlt_subgraph_def none;
  return index >= 0 && index < m->n_subgraphs ? &m->subgraphs[index] : &none;
}

int32_t rlt_tensor_count(const rlt_model *m, int32_t index) { return subgraph(m, index)->n_tensors; }
int32_t rlt_node_count(const rlt_model *m, int32_t index) { return subgraph(m, index)->n_nodes; }
int32_t rlt_input_count(const rlt_model *m, int32_t index) { return subgraph(m, index)->n_inputs; }
int32_t rlt_output_count(const rlt_model *m, int32_t index) { return subgraph(m, index)->n_outputs; }

int32_t rlt_input_tensor(const rlt_model *m, int32_t index, int32_t i) {
  const rlt_subgraph_def *g = subgraph(m, index);
  return i >= 0 && i < g->n_inputs ? g->inputs[i] : -1;
}

int32_t rlt_output_tensor(const rlt_model *m, int32_t index, int32_t i) {
  const rlt_subgraph_def *g = subgraph(m, index);
  return i >= 0 && i < g->n_outputs ? g->outputs[i] : -1;
}

int32_t rlt_tensor_quantization(const rlt_model *m, int32_t index, int32_t tensor, float *scales, int64_t *zero_points,
                                int32_t cap) {
  const rlt_subgraph_def *g = subgraph(m, index);
  if (tensor < 0 || tensor >= g->n_tensors) return 0;
  const rlt_quant *q = &g->tensors[tensor].quant;
  for (int32_t i = 0; i < q->n && i < cap; i++) {
    scales[i] = rlt_vec_f32(&q->scales, (uint32_t)i);
    zero_points[i] = q->zeros.count ? rlt_vec_i64(&q->zeros, (uint32_t)i) : 0;
  }
  return q->n;
}

int32_t rlt_signature_count(const rlt_model *m) { return m->n_signatures; }

const char *rlt_signature_key(const rlt_model *m, int32_t signature) {
  return signature >= 0 && signature < m->n_signatures ? m->signatures[signature].key : NULL;
}

int32_t rlt_signature_subgraph(const rlt_model *m, int32_t signature) {
  return signature >= 0 && signature < m->n_signatures ? m->signatures[signature].subgraph : -1;
}

const char *rlt_signature_tensor(const rlt_model *m, int32_t signature, bool outputs, int32_t i, int32_t *tensor) {
  rlt_table map;
  const char *name;
  if (signature < 0 || signature >= m->n_signatures || i < 0) return NULL;
  if (!rlt_fb_table_at(m->file, &m->signatures[signature].maps[outputs], (uint32_t)i, &map)) return NULL;
  if (!rlt_fb_string(&map, RLT_SLOT_TensorMap_name, &name)) return NULL;
  *tensor = (int32_t)rlt_fb_u32(&map, RLT_SLOT_TensorMap_tensor_index, 0);
  return name;
}

/* Frame of a subgraph that runs here, once it is prepared; NULL: none. */
static const rlt_frame *prepared_frame(const rlt_interpreter *it, int32_t index) {
  if (it->stage == RLT_CREATED || index < 0 || index >= it->model->n_subgraphs) return NULL;
  return it->frames[index] && it->frames[index]->is_prepared ? it->frames[index] : NULL;
}

/* Shape asked for by rlt_resize_input and not yet prepared; NULL: none. */
static const rlt_shape_wish *wish_for(const rlt_interpreter *it, int32_t tensor) {
  for (int32_t i = 0; i < it->main->graph->n_inputs; i++)
    if (it->main->graph->inputs[i] == tensor && it->main->wishes[i].rank >= 0) return &it->main->wishes[i];
  return NULL;
}

rlt_status rlt_get_tensor_info(const rlt_interpreter *it, int32_t index, int32_t tensor, rlt_tensor_info *info) {
  const rlt_subgraph_def *g = subgraph(it->model, index);
  if (tensor < 0 || tensor >= g->n_tensors) return RLT_BAD_ARGUMENT;
  const rlt_tensor_def *def = &g->tensors[tensor];
  bool computed_ahead = false;
  *info = (rlt_tensor_info){.name = def->name,
                            .type = def->type,
                            .rank = def->rank,
                            .bytes = def->bytes,
                            .is_variable = def->is_variable,
                            .quantized = def->quant.n,
                            .quantized_axis = def->quant.axis,
                            .offset = RLT_NO_OFFSET};
  __builtin_memcpy(info->dims, def->dims, sizeof info->dims);
  __builtin_memcpy(info->signature, def->signature, sizeof info->signature);
  const rlt_shape_wish *wish = g == it->main->graph ? wish_for(it, tensor) : NULL;
  if (wish) {
    rlt_size size;
    info->rank = wish->rank;
    __builtin_memcpy(info->dims, wish->dims, sizeof info->dims);
    info->bytes = rlt_tensor_size(def->type, wish->rank, wish->dims, &size) ? size.bytes : UINT64_MAX;
  }
  const rlt_frame *f = prepared_frame(it, index);
  if (f) {
    const rlt_tensor *t = &f->tensors[tensor];
    info->rank = t->rank;
    info->bytes = t->bytes;
    info->offset = t->offset;
    __builtin_memcpy(info->dims, t->dims, sizeof info->dims);
    info->extent = t->extent;
    computed_ahead = t->is_const;
  }
  info->is_constant = def->data != NULL || computed_ahead;
  return RLT_OK;
}

rlt_status rlt_get_node_info(const rlt_interpreter *it, int32_t index, int32_t node, rlt_node_info *info) {
  const rlt_subgraph_def *g = subgraph(it->model, index);
  if (node < 0 || node >= g->n_nodes) return RLT_BAD_ARGUMENT;
  const rlt_node_def *def = &g->nodes[node];
  *info = (rlt_node_info){.op = def->op_name,
                          .version = def->version,
                          .n_inputs = def->n_inputs,
                          .n_outputs = def->n_outputs,
                          .inputs = def->inputs,
                          .outputs = def->outputs};
  const rlt_frame *f = prepared_frame(it, index);
  if (f) {
    const rlt_node *n = &f->nodes[node];
    info->loop = n->loop;
    info->macs = n->macs;
    info->scratch = n->scratch_bytes;
    info->packed = n->packed_bytes;
  }
  return RLT_OK;
}

void *rlt_tensor_data(const rlt_interpreter *it, int32_t index, int32_t tensor) {
  const rlt_subgraph_def *g = subgraph(it->model, index);
  if (g != it->main->graph || it->stage != RLT_BOUND || tensor < 0 || tensor >= g->n_tensors) return NULL;
  return it->main->tensors[tensor].data;
}
