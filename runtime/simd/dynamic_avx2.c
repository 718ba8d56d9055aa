/* SPDX-License-Identifier: Apache-2.0 */
#include "dynamic.h"

RLT_DYNAMIC(avx2)
