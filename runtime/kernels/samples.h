/* SPDX-License-Identifier: Apache-2.0
 * A function of INT16 as 513 samples with lines between them, as LiteRT's lookup tables are. */
#ifndef RLT_SAMPLES_H
#define RLT_SAMPLES_H

#include <stdbool.h>
#include <stdint.h>

#define RLT_SAMPLES 513
/* What a function returns where it has no value: the output's largest, or negated its least. */
#define RLT_NO_VALUE 1e30

typedef struct rlt_sampled {
  double (*function)(double);
  float least, most;     /* inputs */
  float y_least, y_most; /* what the least and the largest INT16 stand for */
  bool single;           /* values are float32, not float64 */
} rlt_sampled;

/* Each sample is moved by half the error that the line makes in the middle of its step. */
void rlt_fill_samples(const rlt_sampled *f, int16_t *samples);

static inline int16_t rlt_look_up_sample(const int16_t *samples, int32_t x) {
  int32_t i = 256 + (x >> 7), offset = x & 127, base = samples[i];
  return (int16_t)(base + (((samples[i + 1] - base) * offset + 64) >> 7));
}

#endif
