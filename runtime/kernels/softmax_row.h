/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RLT_SOFTMAX_ROW_H
#define RLT_SOFTMAX_ROW_H

#include "../simd/loops.h"

/* y[i] = e^((x[i] - the largest) beta); returns 1 / their sum, which makes them probabilities. n >= 1; y may be x. */
static inline float rlt_softmax_terms(const rlt_loops *loops, const float *x, float *y, int64_t n, float beta) {
  loops->exp_of_difference(x, y, n, loops->largest(x, n), beta);
  return (float)(1.0 / loops->sum(y, n));
}

#endif
