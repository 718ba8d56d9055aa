/* SPDX-License-Identifier: Apache-2.0
 * Elementwise operators of one input: what unary.c (float and plain integer loops) and unary_table.c (8-bit
 * quantized tensors, by a table of 256 bytes) share. */
#ifndef RLT_UNARY_H
#define RLT_UNARY_H

#include "common.h"
#include "quantize_math.h"
#include "samples.h"

/* How an INT16 quantized tensor is computed. */
typedef enum rlt_short_form {
  RLT_SHORT_FIXED_LOGISTIC,
  RLT_SHORT_FIXED_TANH,
  RLT_SHORT_TABLE_LOGISTIC,
  RLT_SHORT_TABLE_TANH,
  RLT_SHORT_SAMPLES,
  RLT_SHORT_SLOPES
} rlt_short_form;

typedef struct rlt_unary_short {
  rlt_short_form form;
  int32_t x_zero, y_zero, hi;
  int32_t factor, shift;       /* logistic and tanh: to steps of the table */
  rlt_multiplier above, below; /* SLOPES */
  bool above_negated, below_negated;
  int16_t samples[RLT_SAMPLES];
} rlt_unary_short;

typedef struct rlt_unary {
  rlt_unary_loop real;                              /* FLOAT32 */
  void (*plain)(const void *x, void *y, int64_t n); /* other types; both NULL: by table, or INT16 */
  uint32_t element_bytes;
  float alpha;
  uint8_t table[256];         /* output byte by input byte */
  rlt_unary_short short_ints; /* INT16 */
} rlt_unary;

/* Whether a GELU asks for the approximation by tanh. */
static inline bool rlt_unary_gelu_by_tanh(const rlt_node *n) {
  return rlt_fb_bool(&n->def->options, RLT_SLOT_GeluOptions_approximate, false);
}

/* Fills the table for node n's op from an 8-bit quantized input to an output of the same type. UNSUPPORTED where the
 * op has no 8-bit form. */
rlt_status rlt_unary_fill_table(rlt_prep *p, const rlt_node *n, float alpha, uint8_t *table);

rlt_status rlt_unary_prepare_short(rlt_prep *p, const rlt_node *n, float alpha, rlt_unary_short *k);
void rlt_unary_run_short(const rlt_unary_short *k, const int16_t *x, int16_t *y, int64_t n);

#endif
