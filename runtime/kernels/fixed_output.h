/* SPDX-License-Identifier: Apache-2.0
 * From exact sums of products to integers by the fixed-point forms of LiteRT's own kernels, for what XNNPACK does not
 * take: UINT8, INT16 activations, INT4 weights. docs/numerics.md says which operator uses which. */
#ifndef RLT_FIXED_OUTPUT_H
#define RLT_FIXED_OUTPUT_H

#include "../core/graph.h"
#include "quantize_math.h"

typedef enum rlt_rounding {
  RLT_ROUND_EVEN,    /* float32 product, nearest even */
  RLT_ROUND_AWAY,    /* rlt_multiply */
  RLT_ROUND_TIES_UP, /* rlt_multiply_ties_up */
  RLT_ROUND_WIDE,    /* 64-bit sum times the multiplier, one rounding, ties up */
  RLT_ROUND_SHORT    /* 64-bit sum times the multiplier's first 16 bits, one rounding, ties up */
} rlt_rounding;

typedef struct rlt_fixed {
  rlt_rounding rounding;
  int32_t zero, lo, hi;
  bool float_product; /* multiplier from the float32 product of the scales, not from the float64 one */
} rlt_fixed;

/* What one output channel needs. */
typedef struct rlt_column {
  int64_t base; /* added to its sums */
  float scale;
  rlt_multiplier m;
  int32_t weight_zero;
} rlt_column;

/* Whether a bias of 64 bits takes part: then sums do not wrap around at 32. */
static inline bool rlt_fixed_is_wide(const rlt_fixed *f) {
  return f->rounding == RLT_ROUND_WIDE || f->rounding == RLT_ROUND_SHORT;
}

/* Fills all but base. */
void rlt_fixed_column(const rlt_node *n, const rlt_fixed *f, int32_t channel, rlt_column *column);

/* The output for a sum to which base has been added. */
int32_t rlt_fixed_value(const rlt_fixed *f, const rlt_column *c, int64_t sum);

/* Element i of y, INT8, UINT8 or INT16. */
static inline void rlt_store_fixed(int32_t type, void *y, size_t i, int32_t value) {
  if (type == RLT_TYPE_INT16) ((int16_t *)y)[i] = (int16_t)value;
  else ((uint8_t *)y)[i] = (uint8_t)value;
}

#endif
