/* SPDX-License-Identifier: Apache-2.0 */
#include "loops.inc"

RLT_LOOPS_OF(avx2)
