/* SPDX-License-Identifier: Apache-2.0
 * What the files of core/ share and kernels do not see. */
#ifndef RLT_INTERNAL_H
#define RLT_INTERNAL_H

#include <stdatomic.h>

#include "bytes.h"
#include "graph.h"

typedef struct rlt_subgraph_def {
  int32_t n_tensors, n_nodes, n_inputs, n_outputs;
  rlt_tensor_def *tensors;
  rlt_node_def *nodes;
  const int32_t *inputs, *outputs;
} rlt_subgraph_def;

typedef struct rlt_signature_def {
  const char *key;
  int32_t subgraph;
  rlt_vector maps[2]; /* TensorMap tables, verified: inputs, outputs */
} rlt_signature_def;

struct rlt_model {
  rlt_bytes file;
  uint64_t structure_bytes;
  rlt_limits limits;
  int32_t n_subgraphs, n_signatures;
  rlt_subgraph_def *subgraphs;
  rlt_signature_def *signatures;
  rlt_vector offline_plan; /* offset in the arena, or -1, of every tensor of the only subgraph; absent: none */
};

typedef enum rlt_stage { RLT_CREATED, RLT_PREPARED, RLT_BOUND } rlt_stage;

/* A shape asked for by rlt_resize_input; rank -1: none. */
typedef struct rlt_shape_wish {
  int32_t rank;
  int32_t dims[RLT_MAX_RANK];
} rlt_shape_wish;

/* Memory the planner places: a tensor with all that alias it, or a node's scratch. */
typedef struct rlt_span {
  uint64_t bytes, offset;
  int32_t first, last; /* nodes, both inclusive; -1: before the first */
  int32_t owner;       /* tensor, or -1 - node */
  int32_t next;        /* span placed after this one, by offset; -1: none */
  bool is_fixed;       /* the file's own plan says where */
} rlt_span;

#define RLT_HARD_LIMIT ((uint64_t)1 << 40) /* bytes: no sum over tensors or nodes can overflow below this */
#define RLT_NO_OFFSET UINT64_MAX           /* of a tensor that is not in the arena */

struct rlt_interpreter {
  const rlt_model *model;
  const rlt_subgraph_def *graph;
  const rlt_ukernels *u;
  rlt_options options;
  atomic_flag busy;
  rlt_stage stage;
  rlt_sizes sizes;
  bool follows_offline_plan;
  rlt_tensor *tensors;
  rlt_node *nodes;
  rlt_shape_wish *wishes; /* one per input */
  uint8_t *arena;
  /* the planner's: one span per tensor and node, their order, and bytes alive per node */
  rlt_span *spans;
  int32_t *order;
  uint64_t *live;
};

/* ---- table.c ---- */
uint8_t rlt_op_options_tag(int32_t op); /* of BuiltinOptions; 0: the op reads none */
uint8_t rlt_op_options_tag2(int32_t op);
/* How large a shape is. `bytes` is 0 for types without a fixed size. `extent` is the bytes with dims of 0 taken as 1:
 * limiting it keeps products of an empty tensor's other dims small too. */
typedef struct rlt_size {
  uint64_t count, bytes, extent;
} rlt_size;
/* false: a negative dim, or more than 64 bits can count. */
bool rlt_tensor_size(int32_t type, int32_t rank, const int32_t *dims, rlt_size *out);

/* ---- error.c: put where it happened in front of what err->text says; return err->status ---- */
rlt_status rlt_at_node(rlt_error *err, const rlt_subgraph_def *g, int32_t subgraph, int32_t node);
rlt_status rlt_at_tensor(rlt_error *err, const char *name, int32_t subgraph, int32_t tensor);

/* ---- model_tensor.c, model_node.c: decode and verify one part of the file into *out ---- */
typedef struct rlt_reading {
  rlt_bytes file;
  rlt_limits limits;
  rlt_vector buffers, operator_codes;
  rlt_bump block;
  int32_t subgraph;
  rlt_error *err;
} rlt_reading;

rlt_status rlt_read_tensor(rlt_reading *r, const rlt_table *table, int32_t index, rlt_tensor_def *out);
rlt_status rlt_read_node(rlt_reading *r, const rlt_table *table, const rlt_subgraph_def *g, int32_t index,
                         rlt_node_def *out);
rlt_status rlt_read_ends(rlt_reading *r, const rlt_table *table,
                         rlt_subgraph_def *g);                           /* a subgraph's in- and outputs */
rlt_status rlt_check_outputs(rlt_reading *r, const rlt_subgraph_def *g); /* after the nodes: something computes them */
/* The bytes of a buffer, which lie in a vector or, in files over 2 GB, at an offset of the file; NULL where empty. */
rlt_status rlt_read_buffer(rlt_reading *r, uint32_t index, const uint8_t **data, uint64_t *bytes);
/* Bytes a misaligned constant needs in the block; 0 where it can be used in place. */
uint64_t rlt_constant_copy_bytes(rlt_reading *r, const rlt_table *tensor);

/* ---- offline_plan.c: the plan a file may carry ---- */
rlt_status rlt_read_offline_plan(rlt_reading *r, const rlt_table *root, rlt_model *m);
/* Whether there is one and it is of the shapes that were prepared. */
bool rlt_follows_offline_plan(const rlt_interpreter *it);
/* Where the plan that is followed puts the tensor; -1: nowhere. */
int32_t rlt_offline_offset(const rlt_interpreter *it, int32_t tensor);
/* Refuses a fixed span that lies over one of the list from `head` while both are alive. */
rlt_status rlt_check_offline_span(const rlt_interpreter *it, const rlt_span *span, int32_t head, rlt_error *err);

/* ---- prepare.c, plan.c, bind.c, invoke.c ---- */
/* Lifetimes, in-place sharing, offsets in the arena; fills sizes.arena and sizes.peak_live. */
rlt_status rlt_plan(rlt_interpreter *it, rlt_error *err);
/* Runs one node, on all threads if it is worth it. */
rlt_status rlt_run_node(rlt_interpreter *it, int32_t node, rlt_error *err);
void rlt_clear_variables(rlt_interpreter *it);

/* Marks the interpreter as entered; false: another thread is in it, and err says so. */
bool rlt_enter(rlt_interpreter *it, rlt_error *err);
void rlt_leave(rlt_interpreter *it);

#endif
