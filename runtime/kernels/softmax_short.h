/* SPDX-License-Identifier: Apache-2.0
 * SOFTMAX of INT16, by LiteRT's tables of e^x and 1 / (1 + x). */
#ifndef RLT_SOFTMAX_SHORT_H
#define RLT_SOFTMAX_SHORT_H

#include "quantize_math.h"
#include "samples.h"

typedef struct rlt_softmax_short {
  rlt_multiplier to_steps; /* of differences, to steps of 10 / 65535 */
  int16_t exponentials[RLT_SAMPLES];
  int16_t reciprocals[RLT_SAMPLES];
} rlt_softmax_short;

void rlt_softmax_short_fill(rlt_softmax_short *k, float scale, float beta);
void rlt_softmax_short_row(const rlt_softmax_short *k, const int16_t *x, int16_t *y, int64_t n);

#endif
