/* SPDX-License-Identifier: Apache-2.0
 * What the core and the kernels share: decoded model, per-interpreter state, the kernel interface.
 * Kernels include this, kernels/common.h and simd/ukernels.h, nothing else of the core. */
#ifndef RLT_GRAPH_H
#define RLT_GRAPH_H

#include "../include/rillet.h"
#include "flatbuffer.h"
#include "schema_gen.h"

typedef struct rlt_ukernels rlt_ukernels; /* simd/ukernels.h: the inner loops of the chosen ISA */

/* ---- decoded and verified, immutable, shared (rlt_open) ---------------------------------------------------- */

typedef struct rlt_quant {
  int32_t n;         /* scales; 0: not quantized. Verified: finite, > 0, and n is 1 or the axis' size */
  int32_t axis;      /* verified to lie in the rank when n > 1 */
  rlt_vector scales; /* float32 */
  rlt_vector zeros;  /* int64; count n, or absent for all zero. Verified to lie in the type's range */
} rlt_quant;

typedef struct rlt_tensor_def {
  const char *name;
  int32_t type;
  int32_t rank;
  int32_t dims[RLT_MAX_RANK];      /* verified >= 0 */
  int32_t signature[RLT_MAX_RANK]; /* -1 where dynamic */
  bool is_variable;
  const uint8_t *data; /* constant's bytes in the file, possibly unaligned; NULL: computed */
  uint64_t bytes;      /* of the type and dims; equals the buffer's length for a constant */
  rlt_quant quant;
  int32_t producer; /* node that computes it; -1: none */
  bool is_input, is_output;
  int32_t input_at, output_at; /* where among those of the subgraph; RLT_LISTED_TWICE */
  bool is_overwritten;         /* an input that a node uses as its state */
} rlt_tensor_def;

struct rlt_kernel;
struct rlt_frame; /* the core's: one subgraph of an interpreter */

typedef struct rlt_node_def {
  int32_t op; /* BuiltinOperator */
  int32_t version;
  const char *op_name;
  const struct rlt_kernel *kernel;
  int32_t n_inputs, n_outputs;
  const int32_t *inputs; /* verified tensor indices; -1: optional, left out */
  const int32_t *outputs;
  rlt_table options;        /* builtin options, absent where the op has none; its union tag is verified to fit the op */
  rlt_vector intermediates; /* tensor indices, verified; -1: left out. See rlt_intermediate */
  const rlt_tensor_def *tensors; /* of the subgraph */
  int32_t calls[2];              /* subgraphs it runs; -1: none. Verified to exist and never to lead back */
  rlt_vector branches;           /* the same of an operator that chooses one of many; absent: calls has them */
  int32_t body;                  /* of one that names a subgraph and does not run it: the only operator in there, which
                                    takes its two inputs; RLT_BODY_SECOND: it gives back its second input */
  const rlt_custom_op *custom;   /* the caller's own operator; NULL: a kernel of this build */
  rlt_bytes custom_options;      /* of a custom operator, as the file has them: often a map (core/flexbuffer.h); of a
                                    composite its attributes */
  const struct rlt_kernel *composite; /* of a composite: the kernel that does what its name says; NULL: none */
} rlt_node_def;

/* How many subgraphs a node may run, and the i-th; -1: none. */
static inline int32_t rlt_call_count(const rlt_node_def *n) {
  return n->branches.count ? (int32_t)n->branches.count : 2;
}
static inline int32_t rlt_called(const rlt_node_def *n, int32_t i) {
  return n->branches.count ? rlt_vec_i32(&n->branches, (uint32_t)i) : n->calls[i];
}
enum { RLT_FORMER_BYTES = 32 };
enum { RLT_LISTED_TWICE = -1, RLT_EACH_IN_PLACE = 1 << 30 }; /* of input_at and output_at; of rlt_node.in_place */
enum { RLT_BODY_NONE = -1, RLT_BODY_SECOND = -2, RLT_BODY_OTHER = -3 }; /* of rlt_node_def.body */

/* ---- one interpreter's view of a tensor and a node --------------------------------------------------------- */

/* The core's: memory taken from the growable region. */
typedef struct rlt_piece {
  struct rlt_region_block *block; /* NULL: none taken */
  uint64_t offset, bytes;
  struct rlt_piece *next; /* in the block, by offset */
} rlt_piece;

typedef struct rlt_tensor {
  const rlt_tensor_def *def;
  int32_t type;
  int32_t rank;
  int32_t dims[RLT_MAX_RANK];
  uint64_t count; /* elements */
  uint64_t bytes;
  void *data;      /* aligned to 64 in the arena, to 16 where the file's own plan puts it; a constant is aligned to its
                      element at least. NULL before bind */
  bool is_const;   /* values never change: they can be packed. rlt_const_data tells whether prepare may read them */
  bool is_passing; /* the core's: computed at bind for those who pack it, then forgotten; data is NULL afterwards */
  bool is_known;   /* the core's: data holds the values already while those who read it prepare */
  bool is_here;    /* the core's: data holds the values while a node is prepared in the middle of invoke */
  bool by_run;     /* the core's: the node's run tells the shape */
  rlt_extent extent;
  void *slot; /* the core's: room in the state block for RLT_KNOWN_BYTES of values that follow from shapes; or NULL */
  void *kept; /* the core's: place in the prepared block of what is computed at bind */
  rlt_piece piece;
  /* the planner's */
  int32_t first_use, last_use; /* node positions; first_use -1: alive from the start */
  int32_t last_read;           /* last node that reads it; -1: none */
  int32_t alias_of;            /* tensor whose memory this one reuses in place; -1: none */
  bool is_of_state;            /* of a loop's body: it may take the memory of the state that it leads to */
  bool is_apart;               /* an output of a loop's body, alone in its memory: it changes places with the state */
  uint64_t offset, planned;    /* place in the arena, and the bytes that were planned there */
} rlt_tensor;

/* When a node's values come to be. */
typedef enum rlt_when {
  RLT_AT_INVOKE,
  RLT_AT_BIND,    /* once: all it comes from is constant */
  RLT_AT_PREPARE, /* once: a few numbers that follow from constants and shapes */
  RLT_LATE        /* at invoke, prepared anew: shapes or values it depends on are known only then */
} rlt_when;

typedef struct rlt_node {
  const rlt_node_def *def;
  rlt_tensor **in; /* NULL entries: optional inputs left out */
  rlt_tensor **out;
  void *data;       /* kernel->data_size bytes, zeroed before prepare, 16-byte aligned */
  void *packed;     /* this node's part of the prepared block, 64-byte aligned; NULL before bind */
  const char *loop; /* name of the inner loop chosen, for people */
  /* prepare's requests */
  uint64_t packed_bytes;
  uint64_t scratch_bytes; /* per thread */
  uint64_t macs;          /* multiply-accumulates of one run */
  int32_t tiles;          /* >= 1; how the work is cut, never dependent on the thread count */
  uint32_t packed_inputs; /* bit i: run does not read in[i], because pack has put it into packed */
  int32_t in_place;       /* output 0 may share the memory of this input; -1: may not; RLT_EACH_IN_PLACE: every output
                             that of the input of its number */
  const void *former;     /* while it is prepared in the middle of invoke: the first RLT_FORMER_BYTES of data as they
                             were before, for what goes on from run to run; else NULL */
  /* the core's */
  rlt_when when;
  uint64_t bound_packed; /* packed_bytes as rlt_bind found them */
  uint64_t nested_bytes; /* arena of the subgraphs it runs */
  bool is_decomposed;    /* a composite whose kernel, if it has one, does not do what is asked of it */
  uint64_t scratch_offset, planned_scratch;
  uint8_t *scratch;
  rlt_piece piece;
} rlt_node;

/* ---- the kernel interface ---------------------------------------------------------------------------------- */

typedef struct rlt_prep {
  const rlt_ukernels *u;
  const rlt_limits *limits;
  rlt_error *err;
  int32_t threads;
  struct rlt_frame *frame; /* the core's */
} rlt_prep;

typedef struct rlt_run {
  const rlt_ukernels *u;
  void *scratch;           /* this thread's, scratch_bytes long, 64-byte aligned */
  rlt_error *err;          /* only thread 0's failures are reported in words; others return a status */
  struct rlt_frame *frame; /* the core's */
} rlt_run;

/* prepare: check counts, types, shapes, scales and options; set output shapes; ask for packed_bytes,
 *          scratch_bytes, tiles, macs; fill node->data. Strict: after it, run trusts everything but values
 *          that only run time knows. It is called again after a resize and must not depend on its former self.
 *          RLT_LATER: values are missing (rlt_const_data is NULL); it is called again in the middle of invoke, where
 *          they are there, and until then the shapes of the outputs count as unknown.
 *          What is packed may depend on the model and the ISA only, never on activation shapes.
 * pack:    fill node->packed from constant inputs, once. NULL where packed_bytes is always 0.
 * run:     compute tiles [first, last). May be called from several threads with disjoint ranges. */
typedef struct rlt_kernel {
  const char *name; /* schema's operator name */
  uint32_t data_size;
  int32_t max_version; /* highest op version whose meaning this kernel implements */
  bool stateful;       /* result depends on more than the inputs: never computed ahead of invoke */
  rlt_status (*prepare)(rlt_prep *p, rlt_node *n);
  void (*pack)(const rlt_ukernels *u, const rlt_node *n);
  rlt_status (*run)(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last);
} rlt_kernel;

const rlt_kernel *rlt_find_kernel(int32_t op); /* NULL: not in this build (core/kernels.def) */
const rlt_kernel *rlt_find_custom_kernel(const char *name);
/* Of a composite, whose version is the kernel's max_version exactly. */
const rlt_kernel *rlt_find_composite_kernel(const char *name, int32_t version);
enum { RLT_COMPOSITE_DATA = 640 }; /* the most data_size of a composite's kernel */

/* ---- services for prepare ---------------------------------------------------------------------------------- */

/* Writes a sentence into err->text and returns `status`. Verbs: %s (string), %n (string: a name, quoted and cut), %d
 * (int32_t), %u (uint64_t), %t (TensorType: its name), %T (const rlt_tensor *: "'name' FLOAT32[1,2,3]"), %%. The core
 * puts the node in front. */
rlt_status rlt_fail(rlt_error *err, rlt_status status, const char *format, ...);

#define RLT_INPUT_BIT(i) (1u << (i)) /* of packed_inputs */
#define RLT_TRY(expression)                \
  do {                                     \
    rlt_status status_ = (expression);     \
    if (status_ != RLT_OK) return status_; \
  } while (0)
#define RLT_REQUIRE(err, condition, status, ...)                     \
  do {                                                               \
    if (!(condition)) return rlt_fail((err), (status), __VA_ARGS__); \
  } while (0)

/* Sets a computed tensor's shape; checked product, non-negative dims, rlt_limits. */
rlt_status rlt_set_shape(rlt_prep *p, rlt_tensor *t, int32_t rank, const int32_t *dims);
/* For outputs whose size only run knows: the most it can be, or nothing at all. run then calls rlt_set_output. */
rlt_status rlt_bound_shape(rlt_prep *p, rlt_tensor *t, int32_t rank, const int32_t *dims);
void rlt_open_shape(rlt_tensor *t);
/* Called by a run with one tile: gives such an output its shape and memory for it. What the output held is lost. */
rlt_status rlt_set_output(const rlt_run *r, rlt_tensor *t, int32_t rank, const int32_t *dims);
/* Values of a tensor that prepare may read, aligned to its element: constants of the file, the few numbers that follow
 * from shapes and constants, and in the middle of invoke all that is computed. NULL where values are not there yet,
 * also when they are computed once, at bind, because all they come from is constant: then is_const holds and pack may
 * read data. */
const void *rlt_const_data(const rlt_tensor *t);
/* Checks counts: inputs in [min_in, max_in], none of the first min_in left out; exactly n_out outputs. */
rlt_status rlt_check_arity(rlt_prep *p, const rlt_node *n, int32_t min_in, int32_t max_in, int32_t n_out);
uint32_t rlt_type_bytes(int32_t type); /* 0: a type without a fixed whole-byte size, or unknown */
int rlt_compare_strings(const rlt_string *a, const rlt_string *b); /* by their bytes: below 0, 0, above 0 */
const char *rlt_type_name(int32_t type);
const char *rlt_op_name(int32_t op); /* NULL: no such builtin operator */

/* Tensor i of those that carry only the quantization of values inside the op; NULL: left out, or the node has fewer. */
static inline const rlt_tensor_def *rlt_intermediate(const rlt_node *n, int32_t i) {
  if ((uint32_t)i >= n->def->intermediates.count) return NULL;
  int32_t index = rlt_vec_i32(&n->def->intermediates, (uint32_t)i);
  return index < 0 ? NULL : &n->def->tensors[index];
}

static inline float rlt_scale(const rlt_tensor *t, int32_t i) {
  return rlt_vec_f32(&t->def->quant.scales, (uint32_t)i);
}
static inline int32_t rlt_zero_point(const rlt_tensor *t, int32_t i) {
  return t->def->quant.zeros.count ? (int32_t)rlt_vec_i64(&t->def->quant.zeros, (uint32_t)i) : 0;
}

#endif
