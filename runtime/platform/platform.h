/* SPDX-License-Identifier: Apache-2.0
 * What needs an operating system stands at the end of rillet.h: a thread pool to put into rlt_options, and a clock. The
 * core uses none of it. */
#ifndef RLT_PLATFORM_H
#define RLT_PLATFORM_H

#include "../include/rillet.h"

#endif
