/* SPDX-License-Identifier: Apache-2.0
 * Operators that move elements without looking at them: checks and copies they share. */
#ifndef RLT_MOVE_H
#define RLT_MOVE_H

#include "common.h"
#include "quantize_math.h"

/* Element i of an INT16, INT32 or INT64 tensor, at run time. */
static inline int64_t rlt_index_at(const rlt_tensor *t, int64_t i) {
  if (t->type == RLT_TYPE_INT16) return ((const int16_t *)t->data)[i];
  return t->type == RLT_TYPE_INT32 ? ((const int32_t *)t->data)[i] : ((const int64_t *)t->data)[i];
}

/* Output and input have one type, of whole bytes, and one quantization: the integers mean the same on both sides. */
rlt_status rlt_check_moved(rlt_prep *p, const rlt_tensor *x, const rlt_tensor *y);

/* Output elements gathered from the input along steps: base[0] is the input element under output element 0. */
typedef struct rlt_strided {
  rlt_walk walk; /* one input */
  int64_t base;
} rlt_strided;

/* Copies output elements [begin, end), each of `bytes` bytes (1, 2, 4, 8 or 16). */
void rlt_strided_copy(const rlt_strided *s, const void *x, void *y, uint32_t bytes, int64_t begin, int64_t end);

/* Runs a node whose data is an rlt_strided. */
rlt_status rlt_run_strided(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last);

/* Elements between neighbours along each dimension. */
void rlt_steps(const rlt_tensor *t, int64_t *step);

/* Writes `count` copies of one element. */
void rlt_repeat(void *to, const void *element, uint32_t bytes, int64_t count);

/* Zero as the tensor's type and scale write it, into 16 zeroed bytes. UNSUPPORTED if it has several scales. */
rlt_status rlt_zero_element(rlt_prep *p, const rlt_tensor *y, uint8_t *zero);

/* Dimensions that an option lists, distinct and below `limit` (at most RLT_MAX_RANK); ascending where asked. */
rlt_status rlt_option_dims(rlt_prep *p, const rlt_node *n, int slot, int32_t limit, bool ascending, int32_t *dims,
                           int32_t *count);
static inline bool rlt_contains(const int32_t *dims, int32_t count, int32_t d) {
  for (int32_t i = 0; i < count; i++) {
    if (dims[i] == d) return true;
  }
  return false;
}

#endif
