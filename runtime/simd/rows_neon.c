/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

RLT_ROW_LOOPS(neon)
