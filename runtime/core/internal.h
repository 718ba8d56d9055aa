/* SPDX-License-Identifier: Apache-2.0
 * What the files of core/ share and kernels do not see. */
#ifndef RLT_INTERNAL_H
#define RLT_INTERNAL_H

#include <stdatomic.h>

#include "bytes.h"
#include "float_mode.h"
#include "graph.h"

typedef struct rlt_subgraph_def {
  int32_t n_tensors, n_nodes, n_inputs, n_outputs;
  rlt_tensor_def *tensors;
  rlt_node_def *nodes;
  const int32_t *inputs, *outputs;
  int32_t callers, depth; /* nodes that call it; most calls that lead to it */
  bool is_called_once;    /* by one node */
  bool is_loop_body;      /* of one WHILE, which alone calls it */
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
  int32_t *call_order;     /* of all subgraphs: callers before what they call */
  rlt_vector offline_plan; /* offset in the arena, or -1, of every tensor of the only subgraph; absent: none */
};

typedef enum rlt_stage { RLT_CREATED, RLT_PREPARED, RLT_BOUND } rlt_stage;

/* A shape asked for by rlt_resize_input, or by a caller; rank -1: none. */
typedef struct rlt_shape_wish {
  int32_t rank;
  int32_t dims[RLT_MAX_RANK];
  const void *values; /* of a caller's constant; NULL: known when it is called */
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

/* One subgraph of an interpreter. A subgraph that several nodes call has one frame, prepared for the shapes of the
 * last call; where the next call's differ it is prepared again. */
typedef struct rlt_frame {
  rlt_interpreter *it;
  const rlt_subgraph_def *graph;
  int32_t index; /* of the subgraph */
  rlt_tensor *tensors;
  rlt_node *nodes;
  rlt_shape_wish *wishes; /* one per input: what the caller asks for */
  bool is_prepared, has_late, follows_offline_plan;
  uint64_t arena_bytes, macs;
  uint8_t *arena;
  rlt_piece piece; /* its arena, where the caller had none planned for it */
} rlt_frame;

/* A block that rlt_options.grow gave: this header, then memory in which pieces come and go. */
typedef struct rlt_region_block {
  struct rlt_region_block *next;
  uint64_t bytes;
  rlt_piece *pieces; /* by offset */
} rlt_region_block;

typedef struct rlt_state rlt_state; /* state.c: resource variables and what else lasts from invoke to invoke */

struct rlt_interpreter {
  const rlt_model *model;
  const rlt_ukernels *u;
  rlt_options options;
  atomic_flag busy;
  rlt_stage stage;
  rlt_sizes sizes;
  rlt_frame **frames; /* one per subgraph; NULL: none that runs here */
  rlt_frame *main;
  uint8_t *arena;
  rlt_region_block *region;
  rlt_state *state;
  uint64_t iterations, macs; /* of this invoke, or prepare, so far */
  uint64_t next_question;    /* when rlt_options.cancel is asked again, with cancel_period_ns */
  atomic_bool is_cancelled;
  /* the planner's: one span per tensor and node of the largest subgraph, their order, and bytes alive per node */
  rlt_span *spans;
  int32_t *order;
  uint64_t *live;
};

enum { RLT_KNOWN_BYTES = 128, RLT_MAX_CALL_DEPTH = 64, RLT_MAX_SUBGRAPHS = 4096 };

/* ---- table.c ---- */
bool rlt_same_text(const char *a, const char *b);
/* Whether its outputs never become smaller when inputs become larger, so that a bound on these is one on those. */
bool rlt_op_grows_with_inputs(int32_t op);
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
  const rlt_custom_op *custom;
  int32_t n_custom, n_subgraphs;
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
/* Bytes a misaligned or sparse constant needs in the block; 0 where it can be used in place. */
uint64_t rlt_constant_copy_bytes(rlt_reading *r, const rlt_table *tensor);
/* sparse.c: writes the values of a sparse constant into t->bytes zeros. */
#ifdef RLT_LACKS_SPARSE /* a build for models without them */
static inline rlt_status rlt_densify(rlt_reading *r, const rlt_table *sparsity, const uint8_t *values, uint64_t bytes,
                                     const rlt_tensor_def *t, uint8_t *to) {
  (void)sparsity, (void)values, (void)bytes, (void)t, (void)to;
  return rlt_fail(r->err, RLT_UNSUPPORTED, "this build lacks sparse constants; rebuild with --ops and this model");
}
#else
rlt_status rlt_densify(rlt_reading *r, const rlt_table *sparsity, const uint8_t *values, uint64_t bytes,
                       const rlt_tensor_def *t, uint8_t *to);
#endif
/* Whether a tensor's constant is sparse, and dense bytes of its shape. */
bool rlt_is_sparse(const rlt_table *tensor);

/* ---- selected.c ---- */
/* UNSUPPORTED where this is a build for a few models and none of them has the operator with these types. */
rlt_status rlt_check_selected(rlt_error *err, const rlt_node_def *n);

/* ---- offline_plan.c: the plan a file may carry ---- */
rlt_status rlt_read_offline_plan(rlt_reading *r, const rlt_table *root, rlt_model *m);
/* Whether there is one and it is of the shapes that were prepared. */
bool rlt_follows_offline_plan(const rlt_frame *f);
/* Where the plan that is followed puts the tensor; -1: nowhere. */
int32_t rlt_offline_offset(const rlt_frame *f, int32_t tensor);
/* Refuses a fixed span that lies over one of the list from `head` while both are alive. */
rlt_status rlt_check_offline_span(const rlt_frame *f, const rlt_span *span, int32_t head, rlt_error *err);

/* ---- calls.c: which nodes run which subgraphs ---- */
rlt_status rlt_read_calls(rlt_reading *r, rlt_node_def *n);
/* Refuses subgraphs that call themselves, directly or by others. */
rlt_status rlt_check_calls(rlt_reading *r, const rlt_model *m);
/* Marks the subgraph and all that running it can run. */
void rlt_find_reached(const rlt_model *m, int32_t from, bool *reached);
/* Whether the body of this WHILE gives back value i as it was given. */
bool rlt_passes_on(const rlt_frame *f, const rlt_node_def *n, int32_t i);
/* Makes the frame ready for arguments of these shapes; notes the arena it needs in n->nested_bytes. */
rlt_status rlt_prepare_call(rlt_prep *p, rlt_node *n, int32_t subgraph, rlt_tensor *const *args, int32_t count);
/* Runs the subgraph on the arguments, of a WHILE on its outputs but for what is passed on; its outputs hold until the
 * next call. */
rlt_status rlt_call(const rlt_run *r, const rlt_node *n, int32_t subgraph, rlt_tensor *const *args, int32_t count);
rlt_tensor *rlt_call_output(const rlt_frame *f, int32_t subgraph, int32_t i);

/* ---- prepare.c, plan.c ---- */
/* Shapes of a whole subgraph, and its plan. */
rlt_status rlt_prepare_frame(rlt_prep *p, rlt_frame *f);
void rlt_reset_node(rlt_node *n);
/* The core can hold no values of some types. */
rlt_status rlt_check_output_types(rlt_prep *p, const rlt_node *n);
/* late.c: prepares one node in the middle of invoke, and finds memory for what it asks for. */
rlt_status rlt_prepare_late(rlt_frame *f, int32_t node, rlt_error *err);
rlt_status rlt_prepare_node(rlt_prep *p, rlt_frame *f, int32_t node);
/* A variable of a subgraph that others call: it lasts from call to call, so it lies beside the main arena. */
static inline bool rlt_is_persistent(const rlt_frame *f, const rlt_tensor *t) {
  return f != f->it->main && t->def->is_variable && !t->def->is_input;
}
/* Whether a called subgraph reads this input where the caller has it, instead of a copy. Variables and states are
 * written; what becomes another value of a loop is overwritten before it is read. */
static inline bool rlt_is_borrowed(const rlt_frame *f, const rlt_tensor_def *t) {
  bool stays = !t->is_output || (t->input_at == t->output_at && t->input_at != RLT_LISTED_TWICE);
  return f != f->it->main && t->is_input && !t->is_variable && !t->is_overwritten && stays;
}
/* Lifetimes, in-place sharing, offsets in the arena; fills arena_bytes and, of the main frame, sizes.peak_live. */
rlt_status rlt_plan(rlt_frame *f, rlt_error *err);
/* Memory a node asks for besides its tensors, in bytes; UINT64_MAX: more than any limit. */
uint64_t rlt_node_memory(const rlt_node *n, int32_t threads);

/* ---- run.c ---- */
/* Sets where the frame's tensors and scratch lie. */
void rlt_set_pointers(rlt_frame *f, uint8_t *arena);
/* Runs one node, on all threads if it is worth it. */
rlt_status rlt_run_node(rlt_frame *f, int32_t node, rlt_error *err);
rlt_status rlt_run_frame(rlt_frame *f, rlt_error *err);

/* ---- limits.c ---- */
/* The limits asked for, with defaults in place of zeros. */
rlt_limits rlt_complete_limits(const rlt_limits *asked);
/* What a node counts: multiply-accumulates, or elements moved where they are more. */
uint64_t rlt_node_work(const rlt_node *n);
/* Adds work to what this invoke, or prepare, took so far; LIMIT. */
rlt_status rlt_spend(rlt_interpreter *it, uint64_t work, rlt_error *err);
/* One more iteration or call; LIMIT, CANCELLED. */
rlt_status rlt_count_iteration(rlt_interpreter *it, rlt_error *err);
/* Whether prepared block and arena are small enough together; LIMIT. */
rlt_status rlt_check_total(const rlt_interpreter *it, rlt_error *err);
/* Bytes that the region may have. */
uint64_t rlt_region_limit(const rlt_interpreter *it);
void rlt_start_cancelling(rlt_interpreter *it);
bool rlt_is_cancelled(rlt_interpreter *it);

/* ---- region.c ---- */
/* Memory for what only invoke can size. NO_MEMORY, LIMIT, or UNSUPPORTED without rlt_options.grow. */
rlt_status rlt_take_piece(rlt_interpreter *it, rlt_piece *piece, uint64_t bytes, void **data, rlt_error *err);
void rlt_release_piece(rlt_piece *piece);
void rlt_release_frame(rlt_frame *f);

/* ---- state.c ---- */
/* Takes the state from the block; counts where it has no base. */
rlt_state *rlt_state_lay_out(rlt_bump *b, const rlt_model *m);
void rlt_state_own(rlt_state *s, rlt_interpreter *owner);
rlt_interpreter *rlt_state_owner(const rlt_state *s);
/* Whether the subgraph, which CALL_ONCE runs, has run; set by true. */
bool *rlt_state_once(rlt_state *s, int32_t subgraph);

void rlt_clear_variables(rlt_interpreter *it);

/* Marks the interpreter as entered; false: another thread is in it, and err says so. */
bool rlt_enter(rlt_interpreter *it, rlt_error *err);
void rlt_leave(rlt_interpreter *it);

#endif
