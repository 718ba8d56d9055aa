/* SPDX-License-Identifier: Apache-2.0
 * Elementwise operators of two inputs with broadcasting: what binary.c (float and plain integers),
 * binary_quantized.c (8-bit) and compare.c share. */
#ifndef RLT_BINARY_H
#define RLT_BINARY_H

#include "common.h"
#include "quantize_math.h"

typedef struct rlt_binary {
  rlt_walk walk;
  rlt_row row;
  uint32_t in_bytes, out_bytes; /* of an element */
  float lo, hi;                 /* fused activation: real */
  int32_t q_lo, q_hi;           /* and in integers */
  rlt_binary_loop loop;         /* what the row of real numbers calls */
  rlt_byte_loop byte_loop;      /* what the short form's row calls */
  /* quantized */
  rlt_byte_terms terms;
  int32_t left_shift; /* long form: both inputs << left_shift, times a_long, b_long; the result times out_long */
  rlt_multiplier a_long, b_long, out_long;
} rlt_binary;

/* What a row function gets. */
typedef struct rlt_binary_run {
  const rlt_binary *k;
  const uint8_t *a, *b;
  uint8_t *y;
  bool *divided_by_zero;
} rlt_binary_run;

/* Defines a row: u and v are the elements, k the node's rlt_binary. */
#ifdef RLT_SELECTION
/* This defines RLT_HAS_ of every type: 0 where no model has it, and the row is never reached. */
#include "selected_types.h"
#define RLT_BINARY_ROW(name, type, out_type, expression) \
  RLT_BINARY_ROW_CHOSEN(RLT_HAS_##type, name, type, out_type, expression)
#define RLT_BINARY_ROW_CHOSEN(has, ...) RLT_BINARY_ROW_PASTED(has, __VA_ARGS__)
#define RLT_BINARY_ROW_PASTED(has, ...) RLT_BINARY_ROW_##has(__VA_ARGS__)
#define RLT_BINARY_ROW_0(name, type, out_type, expression)                       \
  static void name(const void *ctx, int64_t out, const int64_t *in, int64_t n) { \
    (void)ctx, (void)out, (void)in, (void)n;                                     \
  }
#else
#define RLT_BINARY_ROW(name, type, out_type, expression) RLT_BINARY_ROW_1(name, type, out_type, expression)
#endif
#define RLT_BINARY_ROW_1(name, type, out_type, expression)                       \
  static void name(const void *ctx, int64_t out, const int64_t *in, int64_t n) { \
    const rlt_binary_run *run_ = (const rlt_binary_run *)ctx;                    \
    const rlt_binary *k = run_->k;                                               \
    const type *a_ = (const type *)(const void *)run_->a + in[0];                \
    const type *b_ = (const type *)(const void *)run_->b + in[1];                \
    out_type *y_ = (out_type *)(void *)run_->y + out;                            \
    int64_t step_a_ = k->walk.step[0][k->walk.rank - 1];                         \
    int64_t step_b_ = k->walk.step[1][k->walk.rank - 1];                         \
    (void)k;                                                                     \
    if (step_a_ == 1 && step_b_ == 1) {                                          \
      for (int64_t i_ = 0; i_ < n; i_++) {                                       \
        type u = a_[i_], v = b_[i_];                                             \
        y_[i_] = (out_type)(expression);                                         \
      }                                                                          \
    } else if (step_a_ == 1) {                                                   \
      type v = *b_;                                                              \
      for (int64_t i_ = 0; i_ < n; i_++) {                                       \
        type u = a_[i_];                                                         \
        y_[i_] = (out_type)(expression);                                         \
      }                                                                          \
    } else {                                                                     \
      type u = *a_;                                                              \
      for (int64_t i_ = 0; i_ < n; i_++) {                                       \
        type v = b_[i_];                                                         \
        y_[i_] = (out_type)(expression);                                         \
      }                                                                          \
    }                                                                            \
  }

/* Shapes, walk, tiles and in-place choice, common to all; element sizes are filled by the caller. */
rlt_status rlt_binary_shapes(rlt_prep *p, rlt_node *n);
rlt_status rlt_binary_run_tiles(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last);
/* Row and constants of an 8-bit quantized ADD, SUB, MUL, DIV, SQUARED_DIFFERENCE or PRELU; UNSUPPORTED for other ops.
 */
rlt_status rlt_binary_quantized(rlt_prep *p, rlt_node *n, int32_t activation);

#endif
