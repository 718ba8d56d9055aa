/* SPDX-License-Identifier: Apache-2.0
 * Unaligned little-endian reads, alignment, and a bump allocator over a caller's block. */
#ifndef RLT_BYTES_H
#define RLT_BYTES_H

#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the file format and the kernels are little-endian"
#endif

static inline uint16_t rlt_read_u16(const uint8_t *p) {
  uint16_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}
static inline uint32_t rlt_read_u32(const uint8_t *p) {
  uint32_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}
static inline uint64_t rlt_read_u64(const uint8_t *p) {
  uint64_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return value;
}

static inline uint64_t rlt_align(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/* A region of a block being handed out from its start. With base NULL it only counts. */
typedef struct rlt_bump {
  uint8_t *base;
  uint64_t used;
} rlt_bump;

/* n bytes aligned to 16, as the block is; NULL while counting. Sizes are rounded up, so the order of calls does not
 * change their sum. */
static inline void *rlt_take(rlt_bump *b, uint64_t n) {
  uint64_t at = b->used;
  b->used = at + rlt_align(n, 16);
  return b->base ? b->base + at : NULL;
}

#endif
