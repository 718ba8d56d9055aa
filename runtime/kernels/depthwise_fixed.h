/* SPDX-License-Identifier: Apache-2.0
 * Depthwise convolution in the integers that XNNPACK does not take: UINT8, INT16, and INT8 with INT4 weights. */
#ifndef RLT_DEPTHWISE_FIXED_H
#define RLT_DEPTHWISE_FIXED_H

#include "fixed_output.h"

typedef struct rlt_depthwise_fixed {
  const rlt_fixed *fixed;
  int32_t type; /* of x and y */
  int32_t zero; /* of x */
  int32_t channels, taps;
} rlt_depthwise_fixed;

/* Packed: columns of `channels` rlt_column, then taps rows of int16 weights without their zero points. */
uint64_t rlt_depthwise_fixed_bytes(int32_t channels, int32_t taps);
void rlt_depthwise_fixed_pack(const rlt_node *n, const rlt_depthwise_fixed *d, void *packed);

/* As the loops of ukernels.h: `pixels` outputs from pointers to taps, in steps of elements. */
void rlt_depthwise_fixed_run(const rlt_depthwise_fixed *d, const void *packed, int32_t pixels, const void *const *tap,
                             size_t tap_step, size_t step, void *out);

#endif
