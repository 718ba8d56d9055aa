/* SPDX-License-Identifier: Apache-2.0 */
#if !defined(__ARM_NEON) && !defined(__wasm_simd128__) /* they have it in theirs */
#include "rows.h"

RLT_ROW_LOOPS(scalar)
#endif
