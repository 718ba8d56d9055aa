/* SPDX-License-Identifier: Apache-2.0
 * Bounds-checked reading of FlexBuffers, the schemaless form in which custom operators keep their options. A view's
 * place was checked when it was made; what lies outside the bytes reads as absent. */
#ifndef RLT_FLEXBUFFER_H
#define RLT_FLEXBUFFER_H

#include "flatbuffer.h"

typedef struct rlt_flex {
  rlt_bytes buf;
  size_t pos;    /* of the value, or of the offset to it */
  uint8_t type;  /* 0: null or absent */
  uint8_t width; /* bytes of the value at pos: 1, 2, 4 or 8 */
  uint8_t inner; /* bytes of each number inside what the offset leads to */
} rlt_flex;

/* The value a whole buffer holds; false: not a FlexBuffer. */
bool rlt_flex_root(rlt_bytes buf, rlt_flex *out);
/* Value under `key` of a map. false, and a null view: no map, or no such key. */
bool rlt_flex_get(const rlt_flex *map, const char *key, rlt_flex *out);
/* Elements of a vector or map; 0 for anything else. */
uint64_t rlt_flex_count(const rlt_flex *vector);
/* i-th element of a vector, or value of a map. false, and a null view: out of range. */
bool rlt_flex_at(const rlt_flex *vector, uint64_t i, rlt_flex *out);

/* A number or bool of any width as the type asked for; the default where it is none. */
int64_t rlt_flex_i64(const rlt_flex *f, int64_t dflt);
double rlt_flex_f64(const rlt_flex *f, double dflt);
bool rlt_flex_bool(const rlt_flex *f, bool dflt);
/* NUL-terminated in the buffer; NULL where it is no string. */
const char *rlt_flex_string(const rlt_flex *f);

/* The same for the value under `key`. */
int64_t rlt_flex_get_i64(const rlt_flex *map, const char *key, int64_t dflt);
double rlt_flex_get_f64(const rlt_flex *map, const char *key, double dflt);
bool rlt_flex_get_bool(const rlt_flex *map, const char *key, bool dflt);

#endif
