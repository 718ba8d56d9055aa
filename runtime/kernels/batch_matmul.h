/* SPDX-License-Identifier: Apache-2.0
 * BATCH_MATMUL: products of matrices x [rows, depth] and y [depth, columns], or either of them transposed, whose
 * leading dimensions broadcast. */
#ifndef RLT_BATCH_MATMUL_H
#define RLT_BATCH_MATMUL_H

#include "common.h"
#include "matrix.h"
#include "quantize_math.h"

typedef enum rlt_product {
  RLT_PRODUCT_FLOAT,
  RLT_PRODUCT_HYBRID,    /* FLOAT32 times INT8: rows become int8 by themselves */
  RLT_PRODUCT_INT8,      /* as XNNPACK rounds: y has zero point 0 */
  RLT_PRODUCT_INT8_AWAY, /* as LiteRT's own kernel rounds */
  RLT_PRODUCT_INT32,     /* INT8 times INT8 as they are stored */
  RLT_PRODUCT_INT16      /* INT16 times INT16 or INT8 */
} rlt_product;

typedef struct rlt_batch_matmul {
  rlt_product kind;
  bool transposed_x, transposed_y; /* x is [depth, rows]; y is [columns, depth] */
  int32_t rows, columns, depth;
  int64_t batches;
  int32_t batch_rank;
  int64_t batch_dims[RLT_MAX_RANK]; /* with the steps of x and y along them, in matrices */
  int64_t x_step[RLT_MAX_RANK], y_step[RLT_MAX_RANK];
  int32_t panels;                /* of one y */
  uint64_t panel_bytes, at_sums; /* packed: panels of every y; HYBRID: sums and scales of their columns; spare */
  uint64_t at_spare, pack_bytes;
  bool pack_at_run;    /* y is computed: a tile packs each panel as it comes to it */
  uint64_t row_stride; /* of rows that are built */
  uint64_t at_rows, at_quant, at_row_sums, at_line, at_product; /* in scratch, after a panel and its spare */
  rlt_requant q;                                                /* INT8 */
  rlt_multiplier multiplier;                                    /* INT8_AWAY, INT16 */
} rlt_batch_matmul;

/* Matrix of x and of y that output matrix `batch` is the product of. */
static inline void rlt_batch_operands(const rlt_batch_matmul *d, int64_t batch, int64_t *x, int64_t *y) {
  *x = *y = 0;
  for (int32_t i = d->batch_rank - 1; i >= 0; i--) {
    int64_t at = batch % d->batch_dims[i];
    *x += at * d->x_step[i];
    *y += at * d->y_step[i];
    batch /= d->batch_dims[i];
  }
}

/* The INT16 form's tiles [first, last). */
void rlt_batch_matmul_i16(const rlt_node *n, const rlt_batch_matmul *d, int32_t first, int32_t last);

#endif
