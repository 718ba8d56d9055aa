/* SPDX-License-Identifier: Apache-2.0
 * Operators on types that have no loops of their own. */
#ifndef RLT_WIDEN_H
#define RLT_WIDEN_H

#include "graph.h"

#ifdef RLT_LACKS_WIDEN /* a build for models without such types */
static inline const rlt_kernel *rlt_widened(const rlt_node_def *n) { return n->kernel; }
static inline uint64_t rlt_data_bytes(const rlt_node_def *n) { return n->kernel->data_size; }
#else
/* The kernel of a node: its operator's, or the one that runs that on tensors of wider types. */
const rlt_kernel *rlt_widened(const rlt_node_def *n);
uint64_t rlt_data_bytes(const rlt_node_def *n); /* of rlt_node.data */
#endif

#endif
