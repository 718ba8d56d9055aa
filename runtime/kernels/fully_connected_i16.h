/* SPDX-License-Identifier: Apache-2.0
 * Two forms of FULLY_CONNECTED with outputs of INT16 that the products of matrix.h do not know:
 *   INT16 activations with INT16 weights, bias INT32 or INT64: exact sums of 64 bits;
 *   UINT8 activations with weights in the order SHUFFLED4x16INT8, bias INT32: blocks of 4 units by 16 values, as int8.
 *   Both zero points are 128 then, and the node has a second output, where LiteRT keeps activations in that order. */
#ifndef RLT_FULLY_CONNECTED_I16_H
#define RLT_FULLY_CONNECTED_I16_H

#include "common.h"
#include "fixed_output.h"

typedef struct rlt_dense_i16 {
  bool is_shuffled;
  int32_t rows, units, k;
  rlt_fixed fixed;
} rlt_dense_i16;

/* Checks types, scales and sizes of a node whose weights are [d->units, d->k], for d->rows rows; asks for room and
 * tiles. The caller has set those fields and is_shuffled. */
rlt_status rlt_dense_i16_prepare(rlt_prep *p, rlt_node *n, int32_t activation, rlt_dense_i16 *d);
void rlt_dense_i16_pack(const rlt_node *n, const rlt_dense_i16 *d);
void rlt_dense_i16_run(const rlt_node *n, const rlt_dense_i16 *d, int32_t first, int32_t last);

#endif
