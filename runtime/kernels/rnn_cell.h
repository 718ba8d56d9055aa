/* SPDX-License-Identifier: Apache-2.0
 * What recurrent operators share: products of a few rows with weights that are packed once, rows of floats quantized
 * for int8 weights, activations, and checks of weights, biases and states. */
#ifndef RLT_RNN_CELL_H
#define RLT_RNN_CELL_H

#include "common.h"
#include "matrix.h"
#include "quantize_math.h"

#define RLT_GATES 4

static inline uint64_t rlt_align64(uint64_t x) { return (x + 63) & ~(uint64_t)63; }

/* Products of the same rows with `count` weight tensors [n][k], which are added to a row of count * n values:
 *
 *   FLOAT    float32 rows    c += x w
 *   HYBRID   int8 rows       c += float(sum of (x - zero) w) * (scale of the row * scale[gate])
 *   INT8     int8 rows       c = clamp(c + (bias + sum of (x - zero) w) ⊗ factor[gate]), c of int16, or with
 *                            `narrow` c = clamp(... + out_zero) of int8 */
typedef struct rlt_gates {
  rlt_family family;
  bool narrow;
  int32_t count;
  int32_t weights[RLT_GATES]; /* among the node's inputs */
  int32_t bias[RLT_GATES];    /* likewise, INT8 only; -1: none */
  int32_t n, k;
  int32_t first; /* row of the weights, which may have more than n, where they begin */
  int32_t zero;  /* of INT8 rows */
  int32_t out_zero;
  float scale[RLT_GATES];
  rlt_multiplier factor[RLT_GATES];
  uint64_t at; /* rlt_gates_plan's: where the panels lie among what is packed; HYBRID: then sums of weights */
} rlt_gates;

/* Gives the product its place `at`, a multiple of 64, and returns where that ends. */
uint64_t rlt_gates_plan(const rlt_ukernels *u, rlt_gates *g, uint64_t at);
void rlt_gates_pack(const rlt_ukernels *u, const rlt_node *n, const rlt_gates *g, char *packed);
/* Adds to m rows of c, c_stride values apart. `quant` is HYBRID's, one per row. */
void rlt_gates_add(const rlt_ukernels *u, const rlt_gates *g, const char *packed, int32_t m, const void *const *rows,
                   const rlt_row_quant *quant, void *c, size_t c_stride);

/* What products of a step read, over and over: pointers to rows, and HYBRID's rows as int8. */
typedef struct rlt_step_rows {
  const void **at;
  rlt_row_quant *quant;
  int8_t *space;
  size_t space_stride;
} rlt_step_rows;

/* Bytes of scratch that step rows of at most k values need, a multiple of 64. */
uint64_t rlt_step_rows_bytes(rlt_family family, int32_t rows, int32_t k);
rlt_step_rows rlt_step_rows_in(void *scratch, int32_t rows, int32_t k);
/* Presents m rows, `stride` bytes apart, to a product, and adds it to c. */
void rlt_gates_step(const rlt_ukernels *u, const rlt_gates *g, const char *packed, bool asymmetric, int32_t m,
                    const void *x, size_t stride, const rlt_step_rows *rows, void *c, size_t c_stride);

/* y[i] = f(x[i]) for any ActivationFunctionType; UNSUPPORTED for numbers that are none. */
rlt_status rlt_check_any_activation(rlt_prep *p, int32_t activation);
void rlt_activate(const rlt_ukernels *u, int32_t activation, const float *x, float *y, int64_t n);

/* ---- checks; t may be NULL, which is BAD_MODEL: `what` is missing ---- */

/* Input i of the node, NULL where there is none. */
static inline rlt_tensor *rlt_input_or_null(const rlt_node *n, int32_t i) {
  return i >= 0 && i < n->def->n_inputs ? n->in[i] : NULL;
}

rlt_status rlt_check_vector(rlt_prep *p, const rlt_tensor *t, const char *what, int32_t type, int32_t n);
/* Weights [n][k] of a family; INT8 and HYBRID ones have one scale and zero point 0. */
rlt_status rlt_check_gate_weights(rlt_prep *p, const rlt_tensor *t, const char *what, rlt_family family, int32_t n,
                                  int32_t k);
/* int8 (or, of old files, the same bits called UINT8) with one scale and zero point 0. */
rlt_status rlt_check_symmetric(rlt_prep *p, const rlt_tensor *t);
/* A variable of `count` values. */
rlt_status rlt_check_state(rlt_prep *p, const rlt_tensor *t, const char *what, int32_t type, uint64_t count);
/* FLOAT, HYBRID or INT8, from the types of input and weights. */
rlt_status rlt_check_family(rlt_prep *p, const rlt_tensor *x, const rlt_tensor *weights, rlt_family *family);

#endif
