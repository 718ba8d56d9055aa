/* SPDX-License-Identifier: Apache-2.0
 * y[j][i] = x[i][j]: matrices of elements of 1, 2 or 4 bytes are turned in squares of 16-byte vectors, which
 * compilers make of the shuffles below on every ISA that has such vectors. */
#ifndef RLT_TRANSPOSE_H
#define RLT_TRANSPOSE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__)
#define RLT_SQUARES 1
#define LOW_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#define LOW_4 0, 4, 1, 5
#define HIGH_4 2, 6, 3, 7

/* Interleaving the first half of the rows with the second turns the square after log2(side) times. */
#define SQUARE(type, side)                                                                 \
  static inline void square_##side(const char *x, size_t x_step, char *y, size_t y_step) { \
    typedef type vector __attribute__((vector_size(16)));                                  \
    vector a[side], b[side];                                                               \
    _Pragma("GCC unroll 16") for (int i = 0; i < (side); i++)                              \
        __builtin_memcpy(&a[i], x + (size_t)i * x_step, sizeof a[i]);                      \
    _Pragma("GCC unroll 4") for (int pass = 1; pass < (side); pass *= 2) {                 \
      _Pragma("GCC unroll 8") for (int i = 0; i < (side) / 2; i++) {                       \
        b[2 * i] = __builtin_shufflevector(a[i], a[i + (side) / 2], LOW_##side);           \
        b[2 * i + 1] = __builtin_shufflevector(a[i], a[i + (side) / 2], HIGH_##side);      \
      }                                                                                    \
      _Pragma("GCC unroll 16") for (int i = 0; i < (side); i++) a[i] = b[i];               \
    }                                                                                      \
    _Pragma("GCC unroll 16") for (int i = 0; i < (side); i++)                              \
        __builtin_memcpy(y + (size_t)i * y_step, &a[i], sizeof a[i]);                      \
  }
SQUARE(uint8_t, 16)
SQUARE(uint16_t, 8)
SQUARE(uint32_t, 4)
#else
#define RLT_SQUARES 0
#define square_16(x, x_step, y, y_step)
#define square_8(x, x_step, y, y_step)
#define square_4(x, x_step, y, y_step)
#endif

#if defined(__clang__) /* gathering into vectors makes them longer, not faster */
#define ONE_BY_ONE _Pragma("clang loop vectorize(disable) unroll(disable)")
#else
#define ONE_BY_ONE
#endif

/* Rows [i0, i1) and columns [j0, j1) one by one. */
#define SINGLES(type)                                                                                        \
  static __attribute__((noinline)) void singles_##type(const type *x, size_t x_step, type *y, size_t y_step, \
                                                       size_t i0, size_t i1, size_t j0, size_t j1) {         \
    for (size_t j = j0; j < j1; j++) {                                                                       \
      ONE_BY_ONE for (size_t i = i0; i < i1; i++) y[j * y_step + i] = x[i * x_step + j];                     \
    }                                                                                                        \
  }
#define TRANSPOSE(type, side)                                                                                       \
  SINGLES(type)                                                                                                     \
  static void transpose_##type(const type *x, size_t x_step, type *y, size_t y_step, size_t rows, size_t columns) { \
    size_t whole_rows = RLT_SQUARES ? rows / (side) * (side) : 0, whole = columns / (side) * (side);                \
    for (size_t i = 0; i < whole_rows; i += (side))                                                                 \
      for (size_t j = 0; j < whole; j += (side)) {                                                                  \
        square_##side((const char *)(x + i * x_step + j), x_step * sizeof(type), (char *)(y + j * y_step + i),      \
                      y_step * sizeof(type));                                                                       \
      }                                                                                                             \
    singles_##type(x, x_step, y, y_step, 0, whole_rows, whole, columns);                                            \
    singles_##type(x, x_step, y, y_step, whole_rows, rows, 0, columns);                                             \
  }
TRANSPOSE(uint8_t, 16)
TRANSPOSE(uint16_t, 8)
TRANSPOSE(uint32_t, 4)
SINGLES(uint64_t)

/* Elements of 1, 2, 4 or 8 bytes; steps, from row to row, are in elements. */
static void rlt_transpose(const void *x, size_t x_step, void *y, size_t y_step, size_t rows, size_t columns,
                          uint32_t bytes) {
  if (bytes == 1) transpose_uint8_t(x, x_step, y, y_step, rows, columns);
  else if (bytes == 2) transpose_uint16_t(x, x_step, y, y_step, rows, columns);
  else if (bytes == 4) transpose_uint32_t(x, x_step, y, y_step, rows, columns);
  else singles_uint64_t(x, x_step, y, y_step, 0, rows, 0, columns);
}

#endif
