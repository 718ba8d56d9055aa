/* SPDX-License-Identifier: Apache-2.0
 * One table per ISA level, complete in each; a level names the loops it beats and keeps the others of the level below.
 * The CPU is asked directly, because compiler helpers for it need a runtime library. */
#include "../include/rillet.h"
#include "ukernels.h"

static const rlt_ukernels levels[] = {
    {"scalar", &rlt_f32_gemm_4x4__scalar, &rlt_s8_gemm_4x4__scalar, &rlt_f32_depthwise_1__scalar,
     &rlt_s8_depthwise_1__scalar},
};

static bool same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

const rlt_ukernels *rlt_select_ukernels(const char *cap) {
  int best = 0;
  if (!cap) return &levels[best];
  for (int i = 0; i < (int)(sizeof levels / sizeof levels[0]); i++)
    if (same(cap, levels[i].isa)) return &levels[i < best ? i : best];
  return NULL;
}

const char *rlt_best_isa(void) { return levels[0].isa; }
