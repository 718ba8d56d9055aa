/* SPDX-License-Identifier: Apache-2.0
 * Rows times weights, plus bias, clamped: what FULLY_CONNECTED and CONV_2D have in common. An op describes its product
 * in prepare and in run supplies pointers to rows of k activations; checks of types and scales, packing, cutting into
 * tiles and the epilogues are here.
 *
 *   family      activations   weights                     bias            output
 *   FLOAT       FLOAT32       FLOAT32, FLOAT16            FLOAT32         FLOAT32
 *   INT8        INT8          INT8, INT4, zero point 0    INT32           INT8
 *   HYBRID      FLOAT32       INT8, INT4, zero point 0    FLOAT32         FLOAT32; rows are quantized as they come
 *   FIXED       UINT8         UINT8                       INT32           UINT8
 *               INT8          INT4, zero point 0          INT32           INT8
 *               INT16         INT8, INT4, zero point 0    INT32, INT64    INT16
 * FIXED rounds as LiteRT's own kernels do (fixed_output.h). UINT8 rows become int8 by subtracting 128; where the
 * weights have one zero point their products are finished as those of INT8 (is_unsigned). INT16 rows are split into two
 * of int8, x = 256 high + low + 128, and multiplied one after the other. */
#ifndef RLT_MATRIX_H
#define RLT_MATRIX_H

#include "../core/graph.h"
#include "../simd/ukernels.h"
#include "fixed_output.h"
#include "weights.h"

typedef enum rlt_family { RLT_FAMILY_FLOAT, RLT_FAMILY_INT8, RLT_FAMILY_HYBRID, RLT_FAMILY_FIXED } rlt_family;

/* What an op with weights computes on, and what its output passes through. */
typedef struct rlt_weighted {
  rlt_family family;
  float lo, hi;      /* FLOAT, HYBRID */
  bool is_symmetric; /* HYBRID: rows are quantized around 0; set by the op */
  rlt_requant q;     /* INT8, is_unsigned */
  rlt_fixed fixed;
} rlt_weighted;

/* How a row of floats became int8: real = (q - zero) * scale. */
typedef struct rlt_row_quant {
  float scale;
  int32_t zero;
} rlt_row_quant;

/* A block of rows that the op presents. */
typedef struct rlt_rows {
  const void **at; /* one pointer per row, to k float32 (FLOAT) or int8 values; INT16: then as many to low halves */
  void *space;     /* where rows can be built: row_block rows, each space_stride bytes */
  rlt_row_quant *quant; /* HYBRID: one per row */
  int32_t *sums;        /* UINT8: one per row, of its values less 128; is_unsigned: what that adds to its products */
  void *extra;          /* the op's own scratch */
  const rlt_ukernels *u;
} rlt_rows;

/* Presents rows [first, first + count) of a group. `fresh` is false when extra holds what this thread's last call left
 * in it during the same run. */
typedef void (*rlt_fill_rows)(const rlt_node *n, int32_t group, int32_t first, int32_t count, bool fresh,
                              rlt_rows *rows);

typedef struct rlt_matrix {
  rlt_weighted w;
  int32_t rows;      /* of activations, over all images */
  int32_t groups, n; /* n columns in each of `groups` independent products */
  int32_t k;
  bool builds_rows;     /* the op fills rows.space */
  uint64_t extra_bytes; /* for rows.extra */
  /* rlt_matrix_plan's */
  int32_t mr, nr;                               /* of the loop chosen */
  int32_t panels;                               /* of one group */
  uint64_t panel_bytes, at_columns, pack_bytes; /* packed: panels by group, then HYBRID's columns */
  uint64_t space_stride;
  int32_t planes;                /* 2 for INT16, else 1 */
  bool is_unsigned;              /* UINT8 by the loops that give bytes */
  int32_t weight_zero, zero_sum; /* is_unsigned: the weights' zero point, and k times the input's, both less 128 */
  int32_t row_block;             /* rows of a tile */
  int32_t col_block;             /* panels of a tile */
  int32_t col_tiles;             /* 1 when groups > 1 */
  bool pack_at_run;              /* weights or bias are computed: the only tile packs them into scratch */
  uint64_t at_pointers, at_quant, at_row_sums, at_space, at_sums, at_extra; /* parts of scratch, after pack_at_run's */
} rlt_matrix;

/* UNSUPPORTED where a sum of k products of INT16 could overflow its halves. */
rlt_status rlt_check_depth(rlt_prep *p, const rlt_node *n, int32_t k);

/* What of FIXED depends on the operator: how it rounds. */
typedef struct rlt_roundings {
  rlt_rounding int4, wide; /* wide: INT16 with a bias of INT64 */
  bool is_dense;           /* FULLY_CONNECTED: INT16 without a bias is not wide; one scale, one product */
} rlt_roundings;

/* Checks types, quantization and bias of inputs (x, weights, bias) -> output 0, for weights whose `channels` output
 * channels lie along `axis`, and reads the fused activation. Errors: BAD_MODEL, UNSUPPORTED. */
rlt_status rlt_check_product(rlt_prep *p, const rlt_node *n, int32_t axis, int32_t channels, int32_t activation,
                             const rlt_roundings *roundings, rlt_weighted *w);
/* Whether XNNPACK takes such weights of FULLY_CONNECTED: those of INT4 and INT2 in rows of whole bytes, INT2 with a
 * scale per row. LiteRT's own kernel takes the others. */
bool rlt_is_xnnpack_dense(const rlt_tensor *weights);

/* a * b, or UINT64_MAX where that is more. */
uint64_t rlt_saturating_product(uint64_t a, uint64_t b);

/* Input scale * weight scale of a channel / output scale, in float32 in this order, as XNNPACK forms it. */
float rlt_requant_scale(const rlt_node *n, int32_t channel);

/* Plans a product whose first fields are set: cuts tiles and sets the node's packed_bytes, scratch_bytes, tiles, macs
 * and loop. */
void rlt_matrix_plan(const rlt_prep *p, rlt_node *n, rlt_matrix *m);

/* Packs weights [groups * n][k] and bias, the node's inputs 1 and 2, into dst, pack_bytes long and 64-byte aligned. */
void rlt_matrix_pack(const rlt_ukernels *u, const rlt_node *n, const rlt_matrix *m, void *dst);

/* One panel (ukernels.h) of weights [columns][k], columns <= nr. Biases and scales may be NULL, for all zero; from each
 * int8 bias `offset` times the sum of its column's weights is taken, wrapping as the products do. */
void rlt_pack_f32_panel(const float *w, const float *bias, int32_t k, int32_t columns, int32_t nr, float *dst);
void rlt_pack_s8_panel(const rlt_s8_gemm *g, const int8_t *w, const int32_t *bias, const float *scale, int32_t offset,
                       int32_t k, int32_t columns, void *dst);
/* Up to nr columns of a matrix [depth][columns], or of [columns][depth] where it is transposed, from column j on. */
void rlt_pack_f32_columns(const rlt_ukernels *u, const float *y, bool transposed, int32_t columns, int32_t depth,
                          int32_t j, float *to);
/* The same of any weights (weights.h), the first at element `first`. */
void rlt_pack_f32_weights(rlt_weights w, uint64_t first, const float *bias, int32_t k, int32_t columns, int32_t nr,
                          float *dst);
void rlt_pack_s8_weights(const rlt_s8_gemm *g, rlt_weights w, uint64_t first, const int32_t *bias, const float *scale,
                         int32_t offset, int32_t k, int32_t columns, void *dst);
/* The groups of a panel that k fills, for int8 weights [columns][k]; returns the values of a column that they hold. */
int32_t rlt_pack_s8_groups(const rlt_s8_gemm *g, const int8_t *w, int32_t k, int32_t columns, int8_t *out);
uint64_t rlt_panel_bytes(const rlt_ukernels *u, rlt_family family, int32_t k); /* a multiple of 16 */
int32_t rlt_sum_s8(const int8_t *w, int32_t k);                                /* wraps */

/* Computes tiles [first, last) into output rows that are groups * n values long. */
void rlt_matrix_run(const rlt_run *r, const rlt_node *n, const rlt_matrix *m, rlt_fill_rows fill, int32_t first,
                    int32_t last);

/* Whether rows of x are not in memory as the loops want them, for any window. */
static inline bool rlt_converts_rows(const rlt_node *n, const rlt_weighted *w) {
  return w->family == RLT_FAMILY_HYBRID || (w->family == RLT_FAMILY_FIXED && n->in[0]->type != RLT_TYPE_INT8);
}
/* FIXED: presents rows [i, i + count), whose k values of x's type are at `raw`, `step` bytes apart; for UINT8 they may
 * be in the rows' own space. */
void rlt_convert_rows(const rlt_node *n, const rlt_matrix *m, rlt_rows *rows, int32_t i, int32_t count, const void *raw,
                      size_t step);

/* Quantizes `count` floats to int8 over the range of their values and 0, as XNNPACK's qd8 does. */
rlt_row_quant rlt_quantize_dynamic(const rlt_ukernels *u, const float *x, uint64_t count, int8_t *out);
/* The same around 0, as LiteRT's own kernels do: the largest magnitude becomes 127; ties go away from zero. */
rlt_row_quant rlt_quantize_symmetric(const rlt_ukernels *u, const float *x, uint64_t count, int8_t *out);
/* Whichever of the two the product wants. */
rlt_row_quant rlt_quantize_rows(const rlt_ukernels *u, const rlt_weighted *w, const float *x, uint64_t count,
                                int8_t *out);

#endif
