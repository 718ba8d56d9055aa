/* SPDX-License-Identifier: Apache-2.0
 *
 * Rillet runtime: the whole public C API.
 *
 * Life of a model:
 *   rlt_open        verify every byte that matters; build an immutable structure in a block of yours
 *   rlt_create      one interpreter (one per thread of use) over that structure, in a block of yours
 *   rlt_resize_input, any number of times
 *   rlt_prepare     infer shapes, choose loops, plan memory: now rlt_get_sizes is exact
 *   rlt_bind        hand over the `prepared` and `arena` blocks; weights are packed here, once
 *   rlt_tensor_data, rlt_invoke
 * An interpreter runs one subgraph and all that it calls.
 *
 * The library allocates nothing; every block comes from the caller, 64-byte aligned, and must outlive its
 * users. Any bytes give a status or a correct run, as long as they do not change during use.
 * A call that fails says why in the caller's rlt_error and leaves the object usable for the calls before it. */
#ifndef RILLET_H
#define RILLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RLT_VERSION "0.1.0"
#define RLT_MAX_RANK 8
#define RLT_BLOCK_ALIGN 64 /* alignment, in bytes, of every block handed to the library */

#ifndef RLT_API
#define RLT_API __attribute__((visibility("default")))
#endif

typedef enum rlt_status {
  RLT_OK = 0,
  RLT_BAD_MODEL,    /* the bytes break the format, or contradict themselves */
  RLT_UNSUPPORTED,  /* a legal model needs an op, version, type or option this build lacks */
  RLT_BAD_ARGUMENT, /* the caller passed something out of range */
  RLT_NO_MEMORY,    /* a block is smaller than the size the library asked for */
  RLT_BAD_STATE,    /* a call out of order, such as invoke before bind */
  RLT_LIMIT,        /* one of rlt_limits was exceeded */
  RLT_CANCELLED,    /* the cancel callback said stop */
  RLT_BUSY,         /* two threads entered one interpreter */
  RLT_BAD_VALUE,    /* a value only run time knows is out of range, such as an index */
  RLT_LATER         /* from a custom operator's prepare: ask again when the inputs have values */
} rlt_status;

typedef struct rlt_error {
  rlt_status status;
  int32_t subgraph; /* -1 where it does not apply; so for node and tensor */
  int32_t node;
  int32_t tensor;
  char text[320]; /* one sentence, NUL-terminated */
} rlt_error;

/* What a model may take. A field of 0 stands for its default (rlt_default_limits), UINT64_MAX for no limit. */
typedef struct rlt_limits {
  uint64_t max_tensor_bytes; /* of one tensor; 2 GB */
  uint64_t max_arena_bytes;  /* 4 GB */
  uint64_t max_macs;         /* multiply-accumulates of one invoke, and elements moved by what counts none; 2^40 */
  uint64_t max_iterations;   /* of all loops, and calls of subgraphs, together in one invoke; 2^20 */
  uint64_t max_region_bytes; /* from rlt_options.grow; 4 GB */
  uint64_t max_bytes;        /* prepared block, arena and region of one interpreter together; 8 GB */
  uint64_t max_depth;        /* of calls of subgraphs in each other, which is the C stack's; 64, and never more */
} rlt_limits;

typedef struct rlt_model rlt_model;             /* immutable once open: share it freely */
typedef struct rlt_interpreter rlt_interpreter; /* mutable: one thread at a time */

/* Runs task(ctx, first, last, thread) over tiles [0, tiles) split among threads, and returns when all are
 * done. `thread` is in [0, threads). How tiles are split must not matter to the result. */
typedef void (*rlt_task)(void *ctx, int32_t first, int32_t last, int32_t thread);
typedef void (*rlt_parallel_for)(void *pool, int32_t tiles, rlt_task task, void *ctx);

/* One element of a STRING tensor: any bytes, which lie elsewhere and have no end mark. Those of an input are yours and
 * must stay until the outputs have been read; so must those that a custom operator gives. Those of an output belong to
 * an input, the model or one of its tables. */
typedef struct rlt_string {
  union {
    const void *data;   /* may be NULL where size is 0 */
    uint64_t data_bits; /* so that an element has 16 bytes on every machine */
  };
  uint64_t size;
} rlt_string;

/* How large a tensor is known to be after rlt_prepare. */
typedef enum rlt_extent {
  RLT_STATIC,   /* exactly */
  RLT_BOUNDED,  /* at most so large as planned: invoke tells its shape */
  RLT_UNBOUNDED /* invoke tells its shape, and takes memory for it from rlt_options.grow */
} rlt_extent;

typedef struct rlt_options {
  int32_t threads;               /* 1 or more */
  int32_t subgraph;              /* the one to run: 0, or a signature's */
  rlt_parallel_for parallel_for; /* NULL: everything on the caller's thread */
  void *pool;
  const char *isa;           /* highest ISA to use: "scalar", "avx2", "neon_dot", ...; NULL: the best found */
  bool preserve_all_tensors; /* give every tensor memory of its own, so that all can be read after invoke */
  bool plan_only;            /* plan for export: tensors alone, none over another at any node; rlt_bind refuses */
  /* Whether to stop, with CANCELLED: asked before every node, at every turn of a loop and between parts of long nodes,
   * always on the thread that called rlt_invoke. NULL: never. */
  bool (*cancel)(void *ctx);
  void *cancel_ctx;
  uint64_t cancel_period_ns;  /* with clock_ns: ask at most so often, first so long after the start; 0: every time */
  uint64_t (*clock_ns)(void); /* with profile or cancel_period_ns: a monotonic clock */
  void (*profile)(void *ctx, int32_t subgraph, int32_t node, uint64_t ns);
  void *profile_ctx;
  /* Gives memory for unbounded tensors, 64-byte aligned, that lives as long as the interpreter; NULL: there is none.
   * It is reused from invoke to invoke. Without the callback models that have such tensors are refused. */
  void *(*grow)(void *ctx, uint64_t bytes);
  void *grow_ctx;
  /* Another interpreter of the same model, which must outlive this one: both then have the same resource variables and
   * tables, and only one of them runs at a time. NULL: they are its own. */
  rlt_interpreter *state_of;
} rlt_options;

/* Exact byte counts, known after rlt_prepare and before the blocks exist. */
typedef struct rlt_sizes {
  uint64_t model;     /* the file, used in place */
  uint64_t structure; /* rlt_open's block */
  uint64_t state;     /* rlt_create's block */
  uint64_t prepared;  /* packed weights and tables; the same for interpreters with the same ISA and shapes */
  uint64_t arena;     /* activations and scratch */
  uint64_t peak_live; /* the least any plan could need: largest sum of tensors alive at one node */
  uint64_t region;    /* given by rlt_options.grow so far */
} rlt_sizes;

typedef struct rlt_tensor_info {
  const char *name;
  int32_t type; /* TensorType of the schema */
  int32_t rank;
  int32_t dims[RLT_MAX_RANK];
  int32_t signature[RLT_MAX_RANK]; /* -1 where the size may change; equals dims where the file has none */
  uint64_t bytes;
  bool is_constant;
  bool is_variable;
  int32_t quantized; /* number of scales; 0 for none */
  int32_t quantized_axis;
  uint64_t offset; /* in the arena; UINT64_MAX: not there, or not prepared */
  rlt_extent extent;
} rlt_tensor_info;

/* One call of a custom operator. */
typedef struct rlt_custom_tensor {
  int32_t type; /* -1: an optional input left out */
  int32_t rank;
  int32_t dims[RLT_MAX_RANK];
  uint64_t bytes;
  void *data; /* in prepare: NULL where values are not known yet */
} rlt_custom_tensor;

typedef struct rlt_custom_call {
  const char *name;
  const void *options; /* as the file has them */
  size_t options_size;
  int32_t n_inputs, n_outputs;
  const rlt_custom_tensor *inputs;
  rlt_custom_tensor *outputs; /* prepare sets rank and dims, run fills data */
  char error[200];            /* what is said when the status is not RLT_OK; NUL-terminated */
} rlt_custom_call;

/* An operator of yours. Neither call may keep the pointers it gets, nor use the interpreter it is called from. */
typedef struct rlt_custom_op {
  const char *name; /* custom_code in the file */
  rlt_status (*prepare)(void *ctx, rlt_custom_call *call);
  rlt_status (*run)(void *ctx, rlt_custom_call *call);
  void *ctx;
} rlt_custom_op;

typedef struct rlt_node_info {
  const char *op; /* builtin operator's name, a custom one's code, or the name of a composite that has a kernel */
  int32_t version;
  int32_t n_inputs, n_outputs;
  const int32_t *inputs; /* tensor indices; -1: an optional one left out */
  const int32_t *outputs;
  const char *loop; /* the inner loop chosen, such as "rlt_s8_gemm_12x32__avx512"; NULL before prepare, and of a
                       composite that is run by its decomposition */
  uint64_t macs;    /* multiply-accumulates; 0 where that says nothing */
  uint64_t scratch; /* bytes per thread */
  uint64_t packed;  /* bytes in the prepared block */
} rlt_node_info;

RLT_API const char *rlt_version(void);
RLT_API const char *rlt_status_name(rlt_status status);
RLT_API rlt_limits rlt_default_limits(void);
/* Name of the best ISA this machine has and this build carries. */
RLT_API const char *rlt_best_isa(void);
/* i-th builtin operator this build has a kernel for (its schema name), NULL past the end. */
RLT_API const char *rlt_supported_op(int32_t i);

/* Bytes rlt_open needs for these model bytes. Errors: BAD_MODEL, UNSUPPORTED. */
RLT_API rlt_status rlt_open_size(const void *bytes, size_t size, size_t *need, rlt_error *err);
/* limits may be NULL for the defaults. `custom` are `n_custom` operators that stand before those of this build; they
 * must outlive the model. */
RLT_API rlt_status rlt_open(const void *bytes, size_t size, const rlt_limits *limits, const rlt_custom_op *custom,
                            int32_t n_custom, void *block, size_t block_size, const rlt_model **out, rlt_error *err);

RLT_API int32_t rlt_subgraph_count(const rlt_model *m);
RLT_API int32_t rlt_tensor_count(const rlt_model *m, int32_t subgraph);
RLT_API int32_t rlt_node_count(const rlt_model *m, int32_t subgraph);
RLT_API int32_t rlt_input_count(const rlt_model *m, int32_t subgraph);
RLT_API int32_t rlt_output_count(const rlt_model *m, int32_t subgraph);
RLT_API int32_t rlt_input_tensor(const rlt_model *m, int32_t subgraph, int32_t i); /* tensor index, -1 out of range */
RLT_API int32_t rlt_output_tensor(const rlt_model *m, int32_t subgraph, int32_t i);
/* Copies up to `cap` scales and zero points; returns how many the tensor has. */
RLT_API int32_t rlt_tensor_quantization(const rlt_model *m, int32_t subgraph, int32_t tensor, float *scales,
                                        int64_t *zero_points, int32_t cap);
RLT_API int32_t rlt_signature_count(const rlt_model *m);
RLT_API const char *rlt_signature_key(const rlt_model *m, int32_t signature);
RLT_API int32_t rlt_signature_subgraph(const rlt_model *m, int32_t signature);
/* i-th input (outputs: true for outputs) of a signature: its name, and its tensor index in *tensor. NULL past the end.
 */
RLT_API const char *rlt_signature_tensor(const rlt_model *m, int32_t signature, bool outputs, int32_t i,
                                         int32_t *tensor);

RLT_API size_t rlt_create_size(const rlt_model *m, const rlt_options *options);
RLT_API rlt_status rlt_create(const rlt_model *m, const rlt_options *options, void *block, size_t block_size,
                              rlt_interpreter **out, rlt_error *err);
/* `tensor` is an input's tensor index of the subgraph that runs. Takes effect at rlt_prepare. */
RLT_API rlt_status rlt_resize_input(rlt_interpreter *it, int32_t tensor, int32_t rank, const int32_t *dims,
                                    rlt_error *err);
/* Obeys the memory plan a file may carry (OfflineMemoryAllocation) while its shapes are the file's. */
RLT_API rlt_status rlt_prepare(rlt_interpreter *it, rlt_error *err);
RLT_API rlt_status rlt_get_sizes(const rlt_interpreter *it, rlt_sizes *sizes);
/* prepared_is_packed: the block was filled by another interpreter of the same subgraph, ISA and input shapes. */
RLT_API rlt_status rlt_bind(rlt_interpreter *it, void *prepared, size_t prepared_size, bool prepared_is_packed,
                            void *arena, size_t arena_size, rlt_error *err);
RLT_API rlt_status rlt_get_tensor_info(const rlt_interpreter *it, int32_t subgraph, int32_t tensor,
                                       rlt_tensor_info *info);
RLT_API rlt_status rlt_get_node_info(const rlt_interpreter *it, int32_t subgraph, int32_t node, rlt_node_info *info);
/* Where the tensor's values lie (arena, or the model bytes for a constant); NULL before bind and for subgraphs that
 * this interpreter does not run. After invoke only
 * inputs, outputs and constants hold their values, unless preserve_all_tensors. */
RLT_API void *rlt_tensor_data(const rlt_interpreter *it, int32_t subgraph, int32_t tensor);
RLT_API rlt_status rlt_invoke(rlt_interpreter *it, rlt_error *err);
/* Ends the invoke that runs now, with CANCELLED: for other threads and for signal handlers. Without one it does
 * nothing. The interpreter is usable afterwards; its outputs and variables hold what was computed until then. */
RLT_API void rlt_cancel(rlt_interpreter *it);
/* Sets variable tensors back to zero. */
RLT_API rlt_status rlt_reset_variables(rlt_interpreter *it, rlt_error *err);

/* ---- threads and a clock, where there is an operating system (not in WebAssembly) ---- */

typedef struct rlt_pool rlt_pool;

/* A pool of `threads` threads, the caller's among them; the others start with the first work. NULL: no memory. */
RLT_API rlt_pool *rlt_pool_create(int32_t threads);
/* Joins the threads and frees the pool; NULL is allowed. */
RLT_API void rlt_pool_destroy(rlt_pool *pool);
/* An rlt_parallel_for for rlt_options, whose `pool` is an rlt_pool. One call at a time; tasks must not call it. */
RLT_API void rlt_pool_parallel_for(void *pool, int32_t tiles, rlt_task task, void *ctx);
/* A monotonic clock, for rlt_options.clock_ns. */
RLT_API uint64_t rlt_clock_ns(void);

#ifdef __cplusplus
}
#endif
#endif
