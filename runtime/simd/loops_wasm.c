/* SPDX-License-Identifier: Apache-2.0 */
#include "loops.inc"

RLT_LOOPS_OF(wasm)
/* Every CPU of this build has these vectors, so the compiler makes the same of the plain C. */
RLT_LOOPS_OF(scalar)
