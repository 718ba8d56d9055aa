/* SPDX-License-Identifier: Apache-2.0
 * Operators on types that have no loops of their own. */
#ifndef RLT_WIDEN_H
#define RLT_WIDEN_H

#include "graph.h"

/* Runs a node's own kernel on tensors of wider types. Whether that is wanted, the types of the node's tensors tell. */
extern const rlt_kernel rlt_kernel_widen;
bool rlt_is_widened(const rlt_node_def *n);
uint64_t rlt_data_bytes(const rlt_node_def *n); /* of rlt_node.data */

#endif
