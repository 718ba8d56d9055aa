/* SPDX-License-Identifier: Apache-2.0
 * rlt_open: the file's bytes become a verified structure in the caller's block. */
#include "internal.h"
#include "strings.h"

enum { MAX_TENSORS = 1 << 15 }; /* of one subgraph: planning is quadratic in the worst case */

static rlt_status cut_short(rlt_reading *r, const char *what) {
  return rlt_fail(r->err, RLT_BAD_MODEL, "%s lies outside the file; the file is cut short or corrupt", what);
}

/* The model's table and its vectors. */
static rlt_status read_root(rlt_reading *r, rlt_table *root, rlt_vector *subgraphs, rlt_vector *signatures) {
  RLT_REQUIRE(r->err, r->file.data && r->file.size >= 8, RLT_BAD_MODEL,
              "%u bytes are too few for a .tflite model; is the file complete?", (uint64_t)r->file.size);
  RLT_REQUIRE(r->err, __builtin_memcmp(r->file.data + 4, RLT_FILE_IDENTIFIER, 4) == 0, RLT_BAD_MODEL,
              "not a .tflite model: bytes 4 to 7 are not '" RLT_FILE_IDENTIFIER "'");
  if (!rlt_fb_root(r->file, RLT_FILE_IDENTIFIER, root)) return cut_short(r, "the model's table");
  uint32_t version = rlt_fb_u32(root, RLT_SLOT_Model_version, 0);
  RLT_REQUIRE(r->err, version == RLT_SCHEMA_VERSION, RLT_UNSUPPORTED,
              "the file has schema version %u, this runtime reads version %d; convert the model again",
              (uint64_t)version, (int32_t)RLT_SCHEMA_VERSION);
  if (!rlt_fb_vector(root, RLT_SLOT_Model_operator_codes, 4, &r->operator_codes)) return cut_short(r, "operator_codes");
  if (!rlt_fb_vector(root, RLT_SLOT_Model_buffers, 4, &r->buffers)) return cut_short(r, "buffers");
  if (!rlt_fb_vector(root, RLT_SLOT_Model_subgraphs, 4, subgraphs)) return cut_short(r, "subgraphs");
  if (!rlt_fb_vector(root, RLT_SLOT_Model_signature_defs, 4, signatures)) return cut_short(r, "signature_defs");
  RLT_REQUIRE(r->err, subgraphs->count > 0, RLT_BAD_MODEL, "the model has no subgraph");
  RLT_REQUIRE(r->err, subgraphs->count <= RLT_MAX_SUBGRAPHS, RLT_LIMIT, "the model has %u subgraphs, the limit is %d",
              (uint64_t)subgraphs->count, (int32_t)RLT_MAX_SUBGRAPHS);
  r->n_subgraphs = (int32_t)subgraphs->count;
  return RLT_OK;
}

static rlt_status read_lists(rlt_reading *r, const rlt_vector *subgraphs, uint32_t i, rlt_table *table,
                             rlt_vector *tensors, rlt_vector *operators) {
  if (!rlt_fb_table_at(r->file, subgraphs, i, table)) return cut_short(r, "a subgraph");
  if (!rlt_fb_vector(table, RLT_SLOT_SubGraph_tensors, 4, tensors)) return cut_short(r, "a subgraph's tensors");
  if (!rlt_fb_vector(table, RLT_SLOT_SubGraph_operators, 4, operators)) return cut_short(r, "a subgraph's operators");
  RLT_REQUIRE(r->err, tensors->count <= MAX_TENSORS && operators->count <= MAX_TENSORS, RLT_LIMIT,
              "subgraph %d has %u tensors and %u nodes, the limit is %d each", (int32_t)i, (uint64_t)tensors->count,
              (uint64_t)operators->count, (int32_t)MAX_TENSORS);
  return RLT_OK;
}

static rlt_status count_indices(rlt_reading *r, const rlt_table *table, int slot, rlt_bump *total) {
  rlt_vector v;
  if (!rlt_fb_vector(table, slot, 4, &v)) return cut_short(r, "a list of tensors");
  rlt_take(total, 4 * (uint64_t)v.count);
  return RLT_OK;
}

/* Everything that fill_subgraph and what it calls take from the block, in any order. */
static rlt_status count_subgraph(rlt_reading *r, const rlt_vector *subgraphs, uint32_t i, rlt_bump *total) {
  rlt_table table, item;
  rlt_vector tensors, operators;
  RLT_TRY(read_lists(r, subgraphs, i, &table, &tensors, &operators));
  rlt_take(total, tensors.count * sizeof(rlt_tensor_def));
  rlt_take(total, operators.count * sizeof(rlt_node_def));
  RLT_TRY(count_indices(r, &table, RLT_SLOT_SubGraph_inputs, total));
  RLT_TRY(count_indices(r, &table, RLT_SLOT_SubGraph_outputs, total));
  for (uint32_t k = 0; k < operators.count; k++) {
    if (!rlt_fb_table_at(r->file, &operators, k, &item)) return cut_short(r, "a node");
    RLT_TRY(count_indices(r, &item, RLT_SLOT_Operator_inputs, total));
    RLT_TRY(count_indices(r, &item, RLT_SLOT_Operator_outputs, total));
  }
  uint64_t copies = 0;
  for (uint32_t k = 0; k < tensors.count; k++) {
    if (!rlt_fb_table_at(r->file, &tensors, k, &item)) return cut_short(r, "a tensor");
    uint64_t copy = rlt_constant_copy_bytes(r, &item);
    copies += rlt_is_sparse(&item) || rlt_holds_strings(&item) ? 0 : copy;
    RLT_REQUIRE(r->err, copies <= r->file.size, RLT_LIMIT,
                "subgraph %d shares misaligned constants among tensors, more than the file has bytes", (int32_t)i);
    RLT_REQUIRE(r->err, copy <= r->limits.max_tensor_bytes, RLT_LIMIT,
                "a sparse constant, or one of strings, has %u bytes, the limit is %u", copy,
                r->limits.max_tensor_bytes);
    rlt_take(total, copy);
  }
  return RLT_OK;
}

static rlt_status count_structure(rlt_reading *r, rlt_table *root, rlt_vector *subgraphs, rlt_vector *signatures,
                                  uint64_t *need) {
  rlt_bump total = {0};
  RLT_TRY(read_root(r, root, subgraphs, signatures));
  rlt_take(&total, sizeof(rlt_model));
  rlt_take(&total, subgraphs->count * sizeof(rlt_subgraph_def));
  rlt_take(&total, subgraphs->count * sizeof(int32_t)); /* call_order */
  rlt_take(&total, signatures->count * sizeof(rlt_signature_def));
  uint64_t most = 64 * (uint64_t)r->file.size < SIZE_MAX / 2 ? 64 * (uint64_t)r->file.size : SIZE_MAX / 2;
  for (uint32_t i = 0; i < subgraphs->count; i++) {
    RLT_TRY(count_subgraph(r, subgraphs, i, &total));
    RLT_REQUIRE(r->err, total.used <= most, RLT_LIMIT,
                "the structure needs more than %u bytes: far too many for such a file, which must repeat its parts",
                most);
  }
  *need = total.used;
  return RLT_OK;
}

static rlt_status fill_subgraph(rlt_reading *r, const rlt_vector *subgraphs, uint32_t i, rlt_subgraph_def *g) {
  rlt_table table, item;
  rlt_vector tensors, operators;
  r->subgraph = (int32_t)i;
  RLT_TRY(read_lists(r, subgraphs, i, &table, &tensors, &operators));
  g->n_tensors = (int32_t)tensors.count;
  g->n_nodes = (int32_t)operators.count;
  g->tensors = rlt_take(&r->block, tensors.count * sizeof *g->tensors);
  g->nodes = rlt_take(&r->block, operators.count * sizeof *g->nodes);
  for (uint32_t k = 0; k < tensors.count; k++) {
    if (!rlt_fb_table_at(r->file, &tensors, k, &item)) return cut_short(r, "a tensor");
    RLT_TRY(rlt_read_tensor(r, &item, (int32_t)k, &g->tensors[k]));
  }
  RLT_TRY(rlt_read_ends(r, &table, g));
  for (uint32_t k = 0; k < operators.count; k++) {
    if (!rlt_fb_table_at(r->file, &operators, k, &item)) return cut_short(r, "a node");
    RLT_TRY(rlt_read_node(r, &item, g, (int32_t)k, &g->nodes[k]));
  }
  return rlt_check_outputs(r, g);
}

static rlt_status fill_signature(rlt_reading *r, const rlt_model *m, const rlt_table *table, rlt_signature_def *out) {
  static const int slots[2] = {RLT_SLOT_SignatureDef_inputs, RLT_SLOT_SignatureDef_outputs};
  if (!rlt_fb_string(table, RLT_SLOT_SignatureDef_signature_key, &out->key)) return cut_short(r, "a signature's key");
  uint32_t subgraph = rlt_fb_u32(table, RLT_SLOT_SignatureDef_subgraph_index, 0);
  RLT_REQUIRE(r->err, subgraph < (uint32_t)m->n_subgraphs, RLT_BAD_MODEL,
              "signature '%s' names subgraph %u, the model has %d", out->key, (uint64_t)subgraph, m->n_subgraphs);
  out->subgraph = (int32_t)subgraph;
  for (int side = 0; side < 2; side++) {
    if (!rlt_fb_vector(table, slots[side], 4, &out->maps[side])) return cut_short(r, "a signature");
    for (uint32_t i = 0; i < out->maps[side].count; i++) {
      rlt_table map;
      const char *name;
      if (!rlt_fb_table_at(r->file, &out->maps[side], i, &map) || !rlt_fb_string(&map, RLT_SLOT_TensorMap_name, &name))
        return cut_short(r, "a signature's tensor");
      uint32_t tensor = rlt_fb_u32(&map, RLT_SLOT_TensorMap_tensor_index, 0);
      RLT_REQUIRE(r->err, tensor < (uint32_t)m->subgraphs[subgraph].n_tensors, RLT_BAD_MODEL,
                  "signature '%s' maps '%s' to tensor %u, the subgraph has %d", out->key, name, (uint64_t)tensor,
                  m->subgraphs[subgraph].n_tensors);
    }
  }
  return RLT_OK;
}

rlt_status rlt_open_size(const void *bytes, size_t size, size_t *need, rlt_error *err) {
  rlt_error unheard;
  rlt_reading r = {.file = {bytes, size}, .limits = rlt_default_limits(), .err = err ? err : &unheard};
  rlt_table root;
  rlt_vector subgraphs, signatures;
  uint64_t total;
  RLT_TRY(count_structure(&r, &root, &subgraphs, &signatures, &total));
  *need = (size_t)total;
  return RLT_OK;
}

rlt_status rlt_open(const void *bytes, size_t size, const rlt_limits *limits, const rlt_custom_op *custom,
                    int32_t n_custom, void *block, size_t block_size, const rlt_model **out, rlt_error *err) {
  rlt_error unheard;
  rlt_reading r = {.file = {bytes, size}, .custom = custom, .n_custom = n_custom, .err = err ? err : &unheard};
  rlt_table root, item;
  rlt_vector subgraphs, signatures;
  uint64_t total;
  r.limits = rlt_complete_limits(limits);
  RLT_TRY(count_structure(&r, &root, &subgraphs, &signatures, &total));
  RLT_REQUIRE(r.err, block && (uintptr_t)block % RLT_BLOCK_ALIGN == 0, RLT_BAD_ARGUMENT,
              "the structure block is not aligned to %d bytes", (int32_t)RLT_BLOCK_ALIGN);
  RLT_REQUIRE(r.err, block_size >= total, RLT_NO_MEMORY, "the structure block has %u bytes, the model needs %u",
              (uint64_t)block_size, total);
  __builtin_memset(block, 0, (size_t)total);
  r.block.base = block;

  rlt_model *m = rlt_take(&r.block, sizeof *m);
  *m = (rlt_model){.file = r.file, .structure_bytes = total, .limits = r.limits};
  m->n_subgraphs = (int32_t)subgraphs.count;
  m->n_signatures = (int32_t)signatures.count;
  m->subgraphs = rlt_take(&r.block, subgraphs.count * sizeof *m->subgraphs);
  m->call_order = rlt_take(&r.block, subgraphs.count * sizeof *m->call_order);
  m->signatures = rlt_take(&r.block, signatures.count * sizeof *m->signatures);
  for (uint32_t i = 0; i < subgraphs.count; i++) RLT_TRY(fill_subgraph(&r, &subgraphs, i, &m->subgraphs[i]));
  RLT_TRY(rlt_check_calls(&r, m));
  RLT_TRY(rlt_read_offline_plan(&r, &root, m));
  for (uint32_t i = 0; i < signatures.count; i++) {
    if (!rlt_fb_table_at(r.file, &signatures, i, &item)) return cut_short(&r, "a signature");
    RLT_TRY(fill_signature(&r, m, &item, &m->signatures[i]));
  }
  *out = m;
  return RLT_OK;
}
