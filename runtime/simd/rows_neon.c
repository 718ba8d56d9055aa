/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

RLT_ROW_LOOPS(neon)
/* Every CPU of this build has these vectors, so the compiler makes the same of the plain C. */
RLT_ROW_LOOPS(scalar)
