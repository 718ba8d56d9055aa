/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"
#include "../core/math.h"
#include "quantize_math.h"

static double away(double x) { return (double)rlt_f64_round_away(x < -1e9 ? -1e9 : (x > 1e9 ? 1e9 : x)); }

static int16_t sample(double x) { return (int16_t)(x < -32768.0 ? -32768.0 : (x > 32767.0 ? 32767.0 : x)); }

/* A number as float32 holds it, where the arithmetic is to be float32's. */
static double held(double x, bool single) { return single ? (double)(float)x : x; }

/* The function's value in units of the output. */
static double value_at(const rlt_sampled *f, float x) {
  double y = f->function((double)x);
  if (y >= RLT_NO_VALUE) y = (double)f->y_most;
  if (y <= -RLT_NO_VALUE) y = (double)f->y_least;
  double inverse = (double)(65536.0f / (f->y_most - f->y_least));
  return held(held(y, f->single) * inverse, f->single);
}

void rlt_fill_samples(const rlt_sampled *f, int16_t *samples) {
  float step = (f->most - f->least) / 512.0f, half = step / 2.0f;
  for (int32_t i = 0; i < 512; i++) {
    double value = away(value_at(f, f->least + (float)i * step));
    double middle = away(value_at(f, f->least + (float)i * step + half));
    double next = value_at(f, f->least + (float)(i + 1) * step);
    double line = away(held(next + value, f->single) / 2.0);
    samples[i] = sample(value - away((line - middle) / 2.0));
  }
  samples[512] = sample(away(value_at(f, f->most)));
}
