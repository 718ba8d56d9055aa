/* SPDX-License-Identifier: Apache-2.0
 * What needs an operating system: a thread pool to put into rlt_options, and a clock. The core uses none of it. */
#ifndef RLT_PLATFORM_H
#define RLT_PLATFORM_H

#include "../include/rillet.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rlt_pool rlt_pool;

/* A pool of `threads` threads, the caller's among them; the others start with the first work. NULL: no memory. */
RLT_API rlt_pool *rlt_pool_create(int32_t threads);
/* Joins the threads and frees the pool; NULL is allowed. */
RLT_API void rlt_pool_destroy(rlt_pool *pool);
/* An rlt_parallel_for whose `pool` is an rlt_pool. One call at a time; tasks must not call it. */
RLT_API void rlt_pool_parallel_for(void *pool, int32_t tiles, rlt_task task, void *ctx);
/* A monotonic clock, for rlt_options.clock_ns. */
RLT_API uint64_t rlt_clock_ns(void);

#ifdef __cplusplus
}
#endif
#endif
