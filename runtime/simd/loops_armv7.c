/* SPDX-License-Identifier: Apache-2.0 */
#define RLT_LOOPS rlt_loops__armv7
#define RLT_LOOPS_NAME "rlt_loops__armv7"
#include "loops.inc"
