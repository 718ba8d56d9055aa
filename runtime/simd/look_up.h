/* SPDX-License-Identifier: Apache-2.0
 * y[i] = table[x[i]] for tables of 256 bytes, by the table instructions of an ISA: the one loop of loops.inc that no
 * compiler finds in plain C. */
#ifndef RLT_LOOK_UP_H
#define RLT_LOOK_UP_H

#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>

#if defined(__AVX512BW__)
typedef __m512i look_up_bytes;
#define LOOK_UP_SPREAD(part) _mm512_broadcast_i32x4(part)
#define LOOK_UP_LOAD(from) _mm512_loadu_si512(from)
#define LOOK_UP_STORE(to, bytes) _mm512_storeu_si512(to, bytes)
#define LOOK_UP_XOR(a, b) _mm512_xor_si512(a, b)
#define LOOK_UP(name) _mm512_##name
#else
typedef __m256i look_up_bytes;
#define LOOK_UP_SPREAD(part) _mm256_broadcastsi128_si256(part)
#define LOOK_UP_LOAD(from) _mm256_loadu_si256((const __m256i *)(const void *)(from))
#define LOOK_UP_STORE(to, bytes) _mm256_storeu_si256((__m256i *)(void *)(to), bytes)
#define LOOK_UP_XOR(a, b) _mm256_xor_si256(a, b)
#define LOOK_UP(name) _mm256_##name
#endif

/* vpshufb finds a byte's low half among 16 entries, and gives 0 where the byte's first bit is set. The byte, less 16
 * after each of the 16 parts of the table, has that bit clear up to its own part: from part 0 on where it is below 128,
 * else for 8 parts. Each step holds a part exclusive or the one before (from 8 on also the step 8 before), so that all
 * but the byte's own part cancel out. */
static int64_t look_up_vectors(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n) {
  const int64_t size = (int64_t)sizeof(look_up_bytes);
  look_up_bytes step[16], part = {0}, sixteen = LOOK_UP(set1_epi8)(16);
#pragma GCC unroll 16
  for (int p = 0; p < 16; p++) {
    look_up_bytes next = LOOK_UP_SPREAD(_mm_loadu_si128((const __m128i *)(const void *)(table + 16 * p)));
    step[p] = LOOK_UP_XOR(part, next);
    if (p >= 8) step[p] = LOOK_UP_XOR(step[p], step[p - 8]);
    part = next;
  }
  int64_t i = 0;
  for (; i + size <= n; i += size) {
    look_up_bytes at = LOOK_UP_LOAD(x + i), found = LOOK_UP(shuffle_epi8)(step[0], at);
#pragma GCC unroll 15
    for (int p = 1; p < 16; p++) {
      at = p <= 8 ? LOOK_UP(sub_epi8)(at, sixteen) : LOOK_UP(subs_epi8)(at, sixteen);
      found = LOOK_UP_XOR(found, LOOK_UP(shuffle_epi8)(step[p], at));
    }
    LOOK_UP_STORE(y + i, found);
  }
  return i;
}
#elif defined(__aarch64__)
#include <arm_neon.h>

/* Four parts of 64 entries: an index beyond a part leaves what was found. */
static int64_t look_up_vectors(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n) {
  uint8x16x4_t part[4];
  for (int p = 0; p < 4; p++)
    for (int v = 0; v < 4; v++) part[p].val[v] = vld1q_u8(table + 64 * p + 16 * v);
  const uint8x16_t next = vdupq_n_u8(64);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    uint8x16_t at = vld1q_u8(x + i), found = vqtbl4q_u8(part[0], at);
#pragma GCC unroll 3
    for (int p = 1; p < 4; p++) {
      at = vsubq_u8(at, next);
      found = vqtbx4q_u8(found, part[p], at);
    }
    vst1q_u8(y + i, found);
  }
  return i;
}
#else /* armv7's and WebAssembly's table instructions would take as long as single bytes do */
static int64_t look_up_vectors(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n) {
  (void)table, (void)x, (void)y, (void)n;
  return 0;
}
#endif

static void look_up(const uint8_t *table, const uint8_t *x, uint8_t *y, int64_t n) {
  for (int64_t i = n < 128 ? 0 : look_up_vectors(table, x, y, n); i < n; i++) y[i] = table[x[i]];
}

#endif
