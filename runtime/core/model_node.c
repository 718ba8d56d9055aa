/* SPDX-License-Identifier: Apache-2.0
 * Decodes and verifies one node of the file: its operator, tensors, options and place in the order. */
#include "internal.h"
#include "widen.h"

static const _Alignas(RLT_BLOCK_ALIGN) uint8_t nothing[RLT_BLOCK_ALIGN];

/* Operator, version and name; the kernel is looked up by the caller. */
static rlt_status read_operator(rlt_reading *r, const rlt_table *table, rlt_node_def *out) {
  rlt_table code;
  uint32_t index = rlt_fb_u32(table, RLT_SLOT_Operator_opcode_index, 0);
  RLT_REQUIRE(r->err, rlt_fb_table_at(r->file, &r->operator_codes, index, &code), RLT_BAD_MODEL,
              "it names operator code %u, the file has %u readable ones at most", (uint64_t)index,
              (uint64_t)r->operator_codes.count);
  /* Files before 2020 have only the first field, which ends at 127; later ones have the larger number in the second. */
  int32_t old = rlt_fb_i8(&code, RLT_SLOT_OperatorCode_deprecated_builtin_code, 0);
  int32_t new = rlt_fb_i32(&code, RLT_SLOT_OperatorCode_builtin_code, 0);
  out->op = old > new ? old : new;
  out->version = rlt_fb_i32(&code, RLT_SLOT_OperatorCode_version, 1);
  RLT_REQUIRE(r->err, out->op >= 0 && out->version >= 1, RLT_BAD_MODEL, "operator number %d, version %d", out->op,
              out->version);
  RLT_REQUIRE(r->err, out->op < RLT_OP_COUNT, RLT_UNSUPPORTED, "operator number %d is newer than this runtime",
              out->op);
  out->op_name = rlt_op_name(out->op);
  if (out->op != RLT_OP_CUSTOM) return RLT_OK;
  RLT_REQUIRE(r->err, rlt_fb_string(&code, RLT_SLOT_OperatorCode_custom_code, &out->op_name), RLT_BAD_MODEL,
              "the name of its custom operator lies outside the file");
  return RLT_OK;
}

/* Bytes in a vector or, in files over 2 GB, at an offset of the file. */
static rlt_status read_custom_options(rlt_reading *r, const rlt_table *table, rlt_node_def *out) {
  rlt_vector bytes;
  uint64_t offset = rlt_fb_u64(table, RLT_SLOT_Operator_large_custom_options_offset, 0);
  uint64_t size = rlt_fb_u64(table, RLT_SLOT_Operator_large_custom_options_size, 0);
  bool inside = rlt_fb_vector(table, RLT_SLOT_Operator_custom_options, 1, &bytes);
  RLT_REQUIRE(r->err, inside && offset <= r->file.size && size <= r->file.size - offset, RLT_BAD_MODEL,
              "its custom options lie outside the file");
  bool apart = offset > 1;
  out->custom_options = (rlt_bytes){apart ? r->file.data + offset : bytes.data, apart ? (size_t)size : bytes.count};
  return RLT_OK;
}

static rlt_status read_options(rlt_reading *r, const rlt_table *table, rlt_node_def *out) {
  uint8_t want = rlt_op_options_tag(out->op), want2 = rlt_op_options_tag2(out->op);
  uint8_t tag = rlt_fb_u8(table, RLT_SLOT_Operator_builtin_options_type, 0);
  uint8_t tag2 = rlt_fb_u8(table, RLT_SLOT_Operator_builtin_options_2_type, 0);
  bool readable = true;
  out->options = (rlt_table){0};
  if (want) {
    RLT_REQUIRE(r->err, tag == 0 || tag == want, RLT_BAD_MODEL, "its options have tag %d, this operator's have %d",
                (int32_t)tag, (int32_t)want);
    if (tag) readable = rlt_fb_table(table, RLT_SLOT_Operator_builtin_options, &out->options);
  } else if (want2) {
    RLT_REQUIRE(r->err, tag2 == 0 || tag2 == want2, RLT_BAD_MODEL, "its options have tag %d, this operator's have %d",
                (int32_t)tag2, (int32_t)want2);
    if (tag2) readable = rlt_fb_table(table, RLT_SLOT_Operator_builtin_options_2, &out->options);
  }
  RLT_REQUIRE(r->err, readable, RLT_BAD_MODEL, "its options lie outside the file");
  return read_custom_options(r, table, out);
}

/* Tensor indices in [lowest, n_tensors), copied to the block, where they are aligned. */
static rlt_status read_indices(rlt_reading *r, const rlt_table *table, int slot, int32_t lowest, int32_t n_tensors,
                               const int32_t **out, int32_t *count) {
  rlt_vector v;
  RLT_REQUIRE(r->err, rlt_fb_vector(table, slot, 4, &v), RLT_BAD_MODEL, "its list of tensors lies outside the file");
  int32_t *indices = rlt_take(&r->block, 4 * (uint64_t)v.count);
  for (uint32_t i = 0; i < v.count; i++) {
    indices[i] = rlt_vec_i32(&v, i);
    RLT_REQUIRE(r->err, indices[i] >= lowest && indices[i] < n_tensors, RLT_BAD_MODEL,
                "it names tensor %d, the subgraph has %d", indices[i], n_tensors);
  }
  *out = indices;
  *count = (int32_t)v.count;
  return RLT_OK;
}

/* Tensors that hold no values, only the quantization of what the op computes inside. */
static rlt_status read_intermediates(rlt_reading *r, const rlt_table *table, const rlt_subgraph_def *g,
                                     rlt_node_def *out) {
  out->tensors = g->tensors;
  RLT_REQUIRE(r->err, rlt_fb_vector(table, RLT_SLOT_Operator_intermediates, 4, &out->intermediates), RLT_BAD_MODEL,
              "its list of intermediate tensors lies outside the file");
  for (uint32_t i = 0; i < out->intermediates.count; i++) {
    int32_t index = rlt_vec_i32(&out->intermediates, i);
    RLT_REQUIRE(r->err, index >= -1 && index < g->n_tensors, RLT_BAD_MODEL,
                "its intermediate %d is tensor %d, the subgraph has %d", (int32_t)i, index, g->n_tensors);
  }
  return RLT_OK;
}

/* A node may write a variable, once in a run; what reads it earlier reads what the run before has left. */
static rlt_status check_written(rlt_reading *r, const rlt_tensor_def *t, int32_t tensor, const rlt_node_def *n) {
  RLT_REQUIRE(r->err, t->producer < 0, RLT_BAD_MODEL, "node %d computes its output %n already", t->producer, t->name);
  RLT_REQUIRE(r->err, !t->data && !t->is_input, RLT_BAD_MODEL, "its output %n is a constant or an input", t->name);
  for (int32_t i = 0; i < n->n_inputs && t->is_variable; i++)
    RLT_REQUIRE(r->err, n->inputs[i] != tensor, RLT_UNSUPPORTED,
                "it writes the variable %n, which it reads: write a value of its own, and copy that to the variable",
                t->name);
  return RLT_OK;
}

/* Inputs must exist before the node, outputs must not. */
static rlt_status check_order(rlt_reading *r, const rlt_subgraph_def *g, int32_t index, const rlt_node_def *n) {
  for (int32_t i = 0; i < n->n_inputs; i++) {
    if (n->inputs[i] < 0) continue;
    rlt_tensor_def *t = &g->tensors[n->inputs[i]];
    if (t->data || t->is_input || t->is_variable || t->producer >= 0) continue;
    RLT_REQUIRE(r->err, t->bytes == 0 && rlt_type_bytes(t->type), RLT_BAD_MODEL,
                "its input %n is neither constant, input nor variable, and no earlier node computes it", t->name);
    t->data = nothing; /* a constant of no elements, which files write without a buffer */
  }
  /* The basic LSTM overwrites its former output and state, be they variables or not. */
  for (int32_t i = 1; i < 5 && n->op == RLT_OP_LSTM && n->n_inputs == 5; i += 3)
    if (n->inputs[i] >= 0) g->tensors[n->inputs[i]].is_overwritten = true;
  for (int32_t i = 0; i < n->n_outputs; i++) {
    rlt_tensor_def *t = &g->tensors[n->outputs[i]];
    RLT_TRY(check_written(r, t, n->outputs[i], n));
    t->producer = index;
  }
  return RLT_OK;
}

extern const rlt_kernel rlt_kernel_custom;

/* The caller's own operators come first: they may replace a kernel of this build. */
static const rlt_kernel *find_custom(const rlt_reading *r, rlt_node_def *n) {
  for (int32_t i = 0; i < r->n_custom; i++) {
    if (!rlt_same_text(r->custom[i].name, n->op_name)) continue;
    n->custom = &r->custom[i];
    return &rlt_kernel_custom;
  }
  return rlt_find_custom_kernel(n->op_name);
}

static rlt_status find_kernel(rlt_reading *r, rlt_node_def *n) {
  n->kernel = n->op == RLT_OP_CUSTOM ? find_custom(r, n) : rlt_find_kernel(n->op);
  RLT_TRY(rlt_check_selected(r->err, n));
  if (!n->kernel && n->op == RLT_OP_CUSTOM)
    return rlt_fail(r->err, RLT_UNSUPPORTED,
                    "this runtime has no kernel for the custom operator '%s'; register one "
                    "(rlt_custom_op, or Interpreter(custom_ops=...)), or replace it by builtin operators before "
                    "converting",
                    n->op_name);
  RLT_REQUIRE(r->err, n->kernel, RLT_UNSUPPORTED,
              "this build of the runtime has no kernel for %s (version %d); build "
              "one that has it, or express the layer by other operators before converting",
              n->op_name, n->version);
  RLT_REQUIRE(r->err, n->version <= n->kernel->max_version, RLT_UNSUPPORTED,
              "it needs version %d of %s, this runtime knows up to %d; update the runtime, or convert for an older one",
              n->version, n->op_name, n->kernel->max_version);
  n->kernel = rlt_widened(n);
  return RLT_OK;
}

static rlt_status read_node(rlt_reading *r, const rlt_table *table, const rlt_subgraph_def *g, int32_t index,
                            rlt_node_def *out) {
  RLT_TRY(read_operator(r, table, out));
  RLT_TRY(read_indices(r, table, RLT_SLOT_Operator_inputs, -1, g->n_tensors, &out->inputs, &out->n_inputs));
  RLT_TRY(read_indices(r, table, RLT_SLOT_Operator_outputs, 0, g->n_tensors, &out->outputs, &out->n_outputs));
  RLT_TRY(read_options(r, table, out));
  RLT_TRY(read_intermediates(r, table, g, out));
  RLT_TRY(find_kernel(r, out));
  RLT_TRY(rlt_read_calls(r, out));
  return check_order(r, g, index, out);
}

rlt_status rlt_read_node(rlt_reading *r, const rlt_table *table, const rlt_subgraph_def *g, int32_t index,
                         rlt_node_def *out) {
  *out = (rlt_node_def){0};
  if (read_node(r, table, g, index, out) == RLT_OK) return RLT_OK;
  return rlt_at_node(r->err, g, r->subgraph, index);
}

rlt_status rlt_read_ends(rlt_reading *r, const rlt_table *table, rlt_subgraph_def *g) {
  RLT_TRY(read_indices(r, table, RLT_SLOT_SubGraph_inputs, 0, g->n_tensors, &g->inputs, &g->n_inputs));
  RLT_TRY(read_indices(r, table, RLT_SLOT_SubGraph_outputs, 0, g->n_tensors, &g->outputs, &g->n_outputs));
  for (int32_t i = 0; i < g->n_inputs; i++) {
    rlt_tensor_def *t = &g->tensors[g->inputs[i]];
    RLT_REQUIRE(r->err, !t->data, RLT_BAD_MODEL, "its input %n is a constant", t->name);
    t->input_at = t->is_input ? RLT_LISTED_TWICE : i;
    t->is_input = true;
  }
  for (int32_t i = 0; i < g->n_outputs; i++) {
    rlt_tensor_def *t = &g->tensors[g->outputs[i]];
    t->output_at = t->is_output ? RLT_LISTED_TWICE : i;
    t->is_output = true;
  }
  return RLT_OK;
}

rlt_status rlt_check_outputs(rlt_reading *r, const rlt_subgraph_def *g) {
  for (int32_t i = 0; i < g->n_outputs; i++) {
    const rlt_tensor_def *t = &g->tensors[g->outputs[i]];
    RLT_REQUIRE(r->err, t->data || t->is_input || t->is_variable || t->producer >= 0, RLT_BAD_MODEL,
                "no node computes the output %n", t->name);
  }
  return RLT_OK;
}
