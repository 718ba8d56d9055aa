/* SPDX-License-Identifier: Apache-2.0 */
#define RLT_LOOPS rlt_loops__avx2
#define RLT_LOOPS_NAME "rlt_loops__avx2"
#include "loops.inc"
