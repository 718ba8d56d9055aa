/* SPDX-License-Identifier: Apache-2.0
 * Bounds-checked reading of FlatBuffers. A view holds offsets that were checked against `size` when it was made,
 * so the getters below cannot read outside the bytes; values they return still have to be judged. */
#ifndef RLT_FLATBUFFER_H
#define RLT_FLATBUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rlt_bytes {
  const uint8_t *data;
  size_t size;
} rlt_bytes;

typedef struct rlt_table {
  rlt_bytes buf;
  size_t pos;            /* of the table; 0: absent, every field has its default */
  size_t vtable;         /* of its vtable */
  uint16_t vtable_bytes; /* both lengths checked to lie in buf */
  uint16_t table_bytes;
} rlt_table;

typedef struct rlt_vector {
  const uint8_t *data; /* NULL: absent. Elements may be unaligned: use the getters. */
  uint32_t count;
} rlt_vector;

/* Root table of a file that carries `identifier` (4 characters). false: not such a file, or cut short. */
bool rlt_fb_root(rlt_bytes buf, const char *identifier, rlt_table *out);

/* Scalars: the default where the field is absent or does not fit in its table. */
int8_t rlt_fb_i8(const rlt_table *t, int slot, int8_t dflt);
uint8_t rlt_fb_u8(const rlt_table *t, int slot, uint8_t dflt);
bool rlt_fb_bool(const rlt_table *t, int slot, bool dflt);
int32_t rlt_fb_i32(const rlt_table *t, int slot, int32_t dflt);
uint32_t rlt_fb_u32(const rlt_table *t, int slot, uint32_t dflt);
int64_t rlt_fb_i64(const rlt_table *t, int slot, int64_t dflt);
uint64_t rlt_fb_u64(const rlt_table *t, int slot, uint64_t dflt);
float rlt_fb_f32(const rlt_table *t, int slot, float dflt);

/* Offsets: false where the offset is broken; an absent field gives true and an absent view. */
bool rlt_fb_table(const rlt_table *t, int slot, rlt_table *out);
bool rlt_fb_vector(const rlt_table *t, int slot, size_t element_bytes, rlt_vector *out);
bool rlt_fb_string(const rlt_table *t, int slot, const char **out); /* NUL-terminated in the file; "" where absent */
bool rlt_fb_table_at(rlt_bytes buf, const rlt_vector *tables, uint32_t i, rlt_table *out);

int32_t rlt_vec_i32(const rlt_vector *v, uint32_t i);
int64_t rlt_vec_i64(const rlt_vector *v, uint32_t i);
float rlt_vec_f32(const rlt_vector *v, uint32_t i);

#endif
