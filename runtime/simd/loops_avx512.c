/* SPDX-License-Identifier: Apache-2.0 */
#define RLT_LOOPS rlt_loops__avx512
#define RLT_LOOPS_NAME "rlt_loops__avx512"
#include "loops.inc"
