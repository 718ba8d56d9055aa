/* SPDX-License-Identifier: Apache-2.0
 * Loops that make the rows of a product and finish them: copying patches, quantizing activations for int8 weights
 * (dynamic range). Plain C that compilers vectorize: each ISA includes this file and is compiled with its own flags.
 * The results are the same bits everywhere. */
#ifndef RLT_ROWS_H
#define RLT_ROWS_H

#include "scalar.h"
#include "transpose.h"

#if defined(__AVX512F__)
#define RLT_PIECE 64
#elif defined(__AVX__)
#define RLT_PIECE 32
#else
#define RLT_PIECE 16
#endif

/* Copies of known size, one per run; a last piece may overlap the one before. */
#define RLT_EACH for (int32_t i = 0; i < count; i++, to += to_step, from += from_step)
#define RLT_MOVE(size, at) __builtin_memcpy(to + (at), from + (at), size)

/* `count` runs of `bytes` bytes, from_step and to_step apart. They are short: calling memcpy would cost more. */
static void rlt_copy_runs(char *to, size_t to_step, const char *from, size_t from_step, int32_t count, size_t bytes) {
  if (bytes > 3 * RLT_PIECE) {
    RLT_EACH {
      for (size_t at = 0; at + RLT_PIECE < bytes; at += RLT_PIECE) RLT_MOVE(RLT_PIECE, at);
      RLT_MOVE(RLT_PIECE, bytes - RLT_PIECE);
    }
  } else if (bytes > 2 * RLT_PIECE) {
    RLT_EACH { RLT_MOVE(RLT_PIECE, 0), RLT_MOVE(RLT_PIECE, RLT_PIECE), RLT_MOVE(RLT_PIECE, bytes - RLT_PIECE); }
  } else if (bytes >= RLT_PIECE) {
    RLT_EACH { RLT_MOVE(RLT_PIECE, 0), RLT_MOVE(RLT_PIECE, bytes - RLT_PIECE); }
  } else if (bytes >= 32) {
    RLT_EACH { RLT_MOVE(32, 0), RLT_MOVE(32, bytes - 32); }
  } else if (bytes >= 16) {
    RLT_EACH { RLT_MOVE(16, 0), RLT_MOVE(16, bytes - 16); }
  } else if (bytes >= 8) {
    RLT_EACH { RLT_MOVE(8, 0), RLT_MOVE(8, bytes - 8); }
  } else if (bytes >= 4) {
    RLT_EACH { RLT_MOVE(4, 0), RLT_MOVE(4, bytes - 4); }
  } else {
    RLT_EACH {
      for (size_t at = 0; at < bytes; at++) to[at] = from[at];
    }
  }
}

enum { RLT_LANES = 32 };

/* Smallest and largest of `count` values and 0; NaN is passed over. */
static void rlt_range(const float *x, uint64_t count, float *least, float *most) {
  float lo[RLT_LANES] = {0}, hi[RLT_LANES] = {0};
  uint64_t i = 0;
  for (; i + RLT_LANES <= count; i += RLT_LANES)
    for (int j = 0; j < RLT_LANES; j++) {
      lo[j] = x[i + (uint64_t)j] < lo[j] ? x[i + (uint64_t)j] : lo[j];
      hi[j] = x[i + (uint64_t)j] > hi[j] ? x[i + (uint64_t)j] : hi[j];
    }
  /* what is left over goes by itself: an array indexed by a variable would have to lie in memory */
  float low = 0.0f, high = 0.0f;
  for (; i < count; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
#define RLT_HALVE(half)                                        \
  do {                                                         \
    for (int j = 0; j < (half); j++) {                         \
      lo[j] = lo[j + (half)] < lo[j] ? lo[j + (half)] : lo[j]; \
      hi[j] = hi[j + (half)] > hi[j] ? hi[j + (half)] : hi[j]; \
    }                                                          \
  } while (0)
  RLT_HALVE(16);
  RLT_HALVE(8);
  RLT_HALVE(4);
  RLT_HALVE(2);
  RLT_HALVE(1);
#undef RLT_HALVE
  *least = lo[0] < low ? lo[0] : low;
  *most = hi[0] > high ? hi[0] : high;
}

/* Nearest even of x * inverse + zero, clamped to int8; NaN gives -128. */
static void rlt_to_s8(const float *x, uint64_t count, float inverse, int32_t zero, int8_t *out) {
  float offset = (float)zero;
  for (uint64_t i = 0; i < count; i++) {
    float q = x[i] * inverse + offset;
    q = q > -128.0f ? q : -128.0f;
    q = q < 127.0f ? q : 127.0f;
    float shifted = q + 12582912.0f; /* 1.5 * 2^23: the addition rounds to integers */
    int32_t bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    out[i] = (int8_t)(bits - 0x4B400000);
  }
}

/* Sums back to real numbers: clamp((sums - zero * weight_sums) * (scale * weight_scales) + bias, lo, hi). */
static void rlt_from_sums(const int32_t *sums, int32_t n, int32_t zero, float scale, const int32_t *weight_sums,
                          const float *weight_scales, const float *bias, float lo, float hi, float *out) {
  for (int32_t j = 0; j < n; j++) {
    int32_t sum = (int32_t)((uint32_t)sums[j] - (uint32_t)zero * (uint32_t)weight_sums[j]);
    out[j] = rlt_clamp_f32((float)sum * (scale * weight_scales[j]) + bias[j], lo, hi);
  }
}

/* To int8 by offset + x * inverse, ties away from zero, and back by unit; NaN becomes -128 first. */
static void rlt_through_s8(const float *x, uint64_t count, float inverse, float offset, float unit, float *out) {
  for (uint64_t i = 0; i < count; i++) {
    float q = offset + x[i] * inverse;
    q = q > -128.0f ? q : -128.0f;
    q = q < 127.0f ? q : 127.0f;
    /* the float below one half, because 0.49999997 + 0.5 would round to 1 */
    int32_t rounded = (int32_t)(q < 0.0f ? q - 0.49999997f : q + 0.49999997f);
    out[i] = ((float)rounded - offset) * unit;
  }
}

/* `count` rows of `bytes` uint8 values, from_step and to_step apart, less 128, and what each row adds up to then. A row
 * may lie over itself. */
static void rlt_turn(const uint8_t *from, size_t from_step, int8_t *to, size_t to_step, int32_t count, size_t bytes,
                     int32_t *sums) {
  const uint64_t turn = 0x8080808080808080u, even = 0x00ff00ff00ff00ffu;
  for (int32_t i = 0; i < count; i++, from += from_step, to += to_step) {
    uint32_t part[RLT_LANES] = {0}, sum = 0;
    size_t at = 0;
    if (bytes >= RLT_LANES) {
      for (; at + RLT_LANES <= bytes; at += RLT_LANES) {
        uint8_t block[RLT_LANES];
        __builtin_memcpy(block, from + at, RLT_LANES);
        for (int j = 0; j < RLT_LANES; j++) part[j] += block[j];
        for (int j = 0; j < RLT_LANES; j++) block[j] ^= 0x80;
        __builtin_memcpy(to + at, block, RLT_LANES);
      }
      for (int j = 0; j < RLT_LANES; j++) sum += part[j];
    }
    /* eight bytes as one number: pairs of them, then the four sums of pairs */
    ONE_BY_ONE for (; at + 8 <= bytes; at += 8) {
      uint64_t eight;
      __builtin_memcpy(&eight, from + at, 8);
      uint64_t pairs = (eight & even) + (eight >> 8 & even);
      sum += (uint32_t)(pairs * 0x0001000100010001u >> 48);
      eight ^= turn;
      __builtin_memcpy(to + at, &eight, 8);
    }
    ONE_BY_ONE for (; at < bytes; at++) {
      sum += from[at];
      to[at] = (int8_t)(from[at] ^ 0x80);
    }
    sums[i] = (int32_t)(sum - 128u * (uint32_t)bytes);
  }
}

#define RLT_ROW_LOOPS(isa)                                                                                  \
  const rlt_row_loops rlt_row_loops__##isa = {"rlt_row_loops__" #isa, rlt_copy_runs,  rlt_range, rlt_to_s8, \
                                              rlt_from_sums,          rlt_through_s8, rlt_turn,  rlt_transpose};

#endif
