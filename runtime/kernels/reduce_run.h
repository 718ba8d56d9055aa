/* SPDX-License-Identifier: Apache-2.0
 * Neighbouring values taken into one, by the functions that windows and scatters name. Integers wrap around, NaN stays,
 * FLOAT16 is computed as FLOAT32 and rounded every time. */
#ifndef RLT_REDUCE_RUN_H
#define RLT_REDUCE_RUN_H

#include "common.h"

/* Takes n elements of `from`, `step` apart, into *to; function is an RLT_REDUCE_WINDOW_FUNCTION_. */
typedef void (*rlt_reduce_run)(int32_t function, const void *from, int64_t step, int64_t n, void *to);
rlt_reduce_run rlt_reduce_run_of(int32_t type); /* NULL: a type without one */

/* The function that the body of a STABLEHLO_ operator (rlt_node_def.body) stands for, on tensors of x's type.
 * UNSUPPORTED where it is none. */
rlt_status rlt_body_function(rlt_prep *p, int32_t body, const rlt_tensor *x, int32_t *function);
/* A sum of truth values is their or. */
static inline int32_t rlt_function_on(int32_t type, int32_t function) {
  bool is_sum = type == RLT_TYPE_BOOL && function == RLT_REDUCE_WINDOW_FUNCTION_ADD;
  return is_sum ? RLT_REDUCE_WINDOW_FUNCTION_ANY : function;
}

#endif
