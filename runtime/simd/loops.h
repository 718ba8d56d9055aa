/* SPDX-License-Identifier: Apache-2.0
 * Loops over flat arrays, written once in plain C (loops.inc) and compiled for every ISA. They hold no intrinsics but
 * for tables (look_up.h), and multiply-adds are never fused, so every ISA gives the same bits. An output may lie
 * exactly over an input, and overlaps none otherwise. */
#ifndef RLT_LOOPS_H
#define RLT_LOOPS_H

#include <stdint.h>

typedef enum rlt_unary_op {
  RLT_LOOP_RELU,
  RLT_LOOP_RELU6,
  RLT_LOOP_RELU_N1_TO_1,
  RLT_LOOP_RELU_0_TO_1,
  RLT_LOOP_LEAKY_RELU,
  RLT_LOOP_ELU,
  RLT_LOOP_LOGISTIC,
  RLT_LOOP_TANH,
  RLT_LOOP_HARD_SWISH,
  RLT_LOOP_EXP,
  RLT_LOOP_LOG,
  RLT_LOOP_SQRT,
  RLT_LOOP_RSQRT,
  RLT_LOOP_NEG,
  RLT_LOOP_ABS,
  RLT_LOOP_SQUARE,
  RLT_LOOP_FLOOR,
  RLT_LOOP_CEIL,
  RLT_LOOP_ROUND,
  RLT_LOOP_SIGN,
  RLT_LOOP_GELU,
  RLT_LOOP_GELU_BY_TANH,
  RLT_LOOP_SIN,
  RLT_LOOP_COS,
  RLT_UNARY_LOOPS
} rlt_unary_op;

typedef enum rlt_binary_op {
  RLT_LOOP_ADD,
  RLT_LOOP_SUB,
  RLT_LOOP_MUL,
  RLT_LOOP_DIV,
  RLT_LOOP_MAXIMUM,
  RLT_LOOP_MINIMUM,
  RLT_LOOP_SQUARED_DIFFERENCE,
  RLT_LOOP_PRELU, /* b is the slope below zero */
  RLT_LOOP_POW,   /* has no bounds */
  RLT_BINARY_LOOPS
} rlt_binary_op;

/* Sums and products of 8-bit values: clamp(((bias + u a_mul + v b_mul) >> shift) + zero), or
 * clamp(nearest_even(float((u - a_zero) (v - b_zero)) * scale) + zero). */
typedef struct rlt_byte_terms {
  int32_t a_mul, b_mul, bias, shift;
  int32_t a_zero, b_zero;
  float scale;
  int32_t zero, lo, hi;
} rlt_byte_terms;

/* y[i] = f(x[i]); alpha is LEAKY_RELU's slope. */
typedef void (*rlt_unary_loop)(const float *x, float *y, int64_t n, float alpha);
/* y[i] = clamp(f(a[i * a_step], b[i * b_step]), lo, hi); a step is 0 or 1, and not both are 0. */
typedef void (*rlt_binary_loop)(const float *a, int64_t a_step, const float *b, int64_t b_step, float *y, int64_t n,
                                float lo, float hi);
typedef void (*rlt_byte_loop)(const void *a, int64_t a_step, const void *b, int64_t b_step, void *y, int64_t n,
                              const rlt_byte_terms *terms);
/* y[i] = nearest_even(clamp(x[i] * inverse, lo, hi)) + zero */
typedef void (*rlt_quantize_loop)(const float *x, void *y, int64_t n, float inverse, int32_t zero, float lo, float hi);
/* y[i] = float(x[i] - zero) * scale */
typedef void (*rlt_dequantize_loop)(const void *x, float *y, int64_t n, int32_t zero, float scale);
/* y[i] takes in x[i] */
typedef void (*rlt_into_loop)(const void *x, void *y, int64_t n);

/* Place of an output column or row between two of the input's: where these start, in elements, and how far it lies from
 * the first: as a part of their distance, and as that times 2^11. Of rows only the parts are used. */
typedef struct rlt_place {
  int64_t first, second;
  float part;
  int32_t part_q11;
} rlt_place;
/* sums[i] = a[i] + (b[i] - a[i]) * part in float32, or a[i] * (2^11 - part_q11) + b[i] * part_q11 in int32 */
typedef void (*rlt_between_loop)(const void *a, const void *b, void *sums, int64_t n, const rlt_place *row);
/* The same between columns of the sums, for `pixels` of `channels` each, rounded half up to integers. `limit` elements
 * of the sums can be read. */
typedef void (*rlt_across_loop)(const void *sums, int64_t limit, const rlt_place *columns, int64_t pixels,
                                int64_t channels, void *y);
/* Both at once, for rows of which few columns are wanted. */
typedef void (*rlt_resize_loop)(const void *a, const void *b, int64_t limit, const rlt_place *row,
                                const rlt_place *columns, int64_t pixels, int64_t channels, void *y);

typedef struct rlt_loops {
  const char *name;
  rlt_unary_loop unary[RLT_UNARY_LOOPS];
  rlt_binary_loop binary[RLT_BINARY_LOOPS];
  rlt_byte_loop sum_i8, sum_u8, product_i8, product_u8;
  rlt_quantize_loop quantize_i8, quantize_u8, quantize_i16;
  rlt_dequantize_loop dequantize_i8, dequantize_u8, dequantize_i16;
  void (*f16_to_f32)(const uint16_t *x, float *y, int64_t n);
  void (*look_up)(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n); /* y[i] = table[x[i]] */
  rlt_into_loop max_f32, max_i8, max_u8, add_f32;    /* into y of the same type; NaN is kept */
  rlt_into_loop add_i32;                             /* wraps */
  rlt_into_loop add_f32_f64, add_i8_i32, add_u8_i32; /* into wider sums */
  /* `rows` rows of n values, `step` apart, into float64 or int32 sums, in order; the sum of n values */
  void (*add_rows_f32)(const void *x, int64_t step, int64_t rows, void *sums, int64_t n);
  void (*add_rows_i8)(const void *x, int64_t step, int64_t rows, void *sums, int64_t n);
  void (*add_rows_u8)(const void *x, int64_t step, int64_t rows, void *sums, int64_t n);
  int32_t (*total_i8)(const void *x, int64_t n);
  int32_t (*total_u8)(const void *x, int64_t n);
  float (*largest)(const float *x, int64_t n); /* n >= 1; NaN is kept */
  float (*smallest)(const float *x, int64_t n);
  double (*sum)(const float *x, int64_t n); /* sixteen interleaved float64 sums, added up in halves */
  void (*exp_of_difference)(const float *x, float *y, int64_t n, float subtract, float factor); /* e^((x - s) f) */
  double (*sum_of_squares)(const float *x, int64_t n, float centre); /* of x - centre, as `sum` adds */
  /* y[i] = (x[i] - centre) * factor * gain[i] + shift[i]; gain and shift may be NULL, for 1 and 0 */
  void (*normalize)(const float *x, float *y, int64_t n, float centre, float factor, const float *gain,
                    const float *shift);
  /* y[i] = nearest_even(clamp(float(sums[i]) * scales[i], lo, hi)) + zero */
  void (*requantize_i8)(const int32_t *sums, const float *scales, int8_t *y, int64_t n, int32_t zero, float lo,
                        float hi);
  /* 16-bit fixed point of 3, or of integer_bits, in and none out (fixed16.h) */
  void (*fixed_logistic)(const int16_t *x, int16_t *y, int64_t n);
  void (*fixed_tanh)(const int16_t *x, int16_t *y, int64_t n, int32_t integer_bits);
  rlt_between_loop between_f32, between_i8, between_u8;
  rlt_across_loop across_f32, across_i8, across_u8;
  rlt_resize_loop resize_f32, resize_i8, resize_u8;
} rlt_loops;

extern const rlt_loops rlt_loops__scalar, rlt_loops__avx2, rlt_loops__avx512;
extern const rlt_loops rlt_loops__neon, rlt_loops__armv7, rlt_loops__wasm;

#endif
