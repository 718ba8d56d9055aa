/* SPDX-License-Identifier: Apache-2.0 */
#include "flatbuffer.h"

#include "bytes.h"

/* n bytes at pos lie in buf. */
static bool fits(rlt_bytes buf, uint64_t pos, uint64_t n) { return pos <= buf.size && n <= buf.size - pos; }

/* Position an unsigned 32-bit offset at `pos` leads to; 0: outside the bytes, or back on itself. */
static size_t follow(rlt_bytes buf, size_t pos) {
  if (!fits(buf, pos, 4)) return 0;
  uint32_t offset = rlt_read_u32(buf.data + pos);
  uint64_t target = (uint64_t)pos + offset;
  return offset != 0 && target < buf.size ? (size_t)target : 0;
}

static bool open_table(rlt_bytes buf, size_t pos, rlt_table *out) {
  *out = (rlt_table){0};
  if (pos == 0 || !fits(buf, pos, 4)) return false;
  int64_t vtable = (int64_t)pos - (int32_t)rlt_read_u32(buf.data + pos);
  if (vtable < 0 || !fits(buf, (uint64_t)vtable, 4)) return false;
  uint16_t vtable_bytes = rlt_read_u16(buf.data + vtable), table_bytes = rlt_read_u16(buf.data + vtable + 2);
  if (vtable_bytes < 4 || !fits(buf, (uint64_t)vtable, vtable_bytes) || !fits(buf, pos, table_bytes)) return false;
  *out = (rlt_table){buf, pos, (size_t)vtable, vtable_bytes, table_bytes};
  return true;
}

/* Position of a field of n bytes; 0: absent, or outside its table. */
static size_t field(const rlt_table *t, int slot, size_t n) {
  size_t entry = 4 + 2 * (size_t)slot;
  if (t->pos == 0 || entry + 2 > t->vtable_bytes) return 0;
  uint16_t offset = rlt_read_u16(t->buf.data + t->vtable + entry);
  return offset != 0 && offset + n <= t->table_bytes ? t->pos + offset : 0;
}

bool rlt_fb_root(rlt_bytes buf, const char *identifier, rlt_table *out) {
  *out = (rlt_table){0};
  if (buf.size < 8 || __builtin_memcmp(buf.data + 4, identifier, 4) != 0) return false;
  return open_table(buf, follow(buf, 0), out);
}

#define SCALAR(name, type, read)                       \
  type name(const rlt_table *t, int slot, type dflt) { \
    size_t pos = field(t, slot, sizeof(type));         \
    return pos ? (type)read(t->buf.data + pos) : dflt; \
  }
SCALAR(rlt_fb_i8, int8_t, *)
SCALAR(rlt_fb_u8, uint8_t, *)
SCALAR(rlt_fb_i32, int32_t, rlt_read_u32)
SCALAR(rlt_fb_u32, uint32_t, rlt_read_u32)
SCALAR(rlt_fb_i64, int64_t, rlt_read_u64)
SCALAR(rlt_fb_u64, uint64_t, rlt_read_u64)

bool rlt_fb_bool(const rlt_table *t, int slot, bool dflt) { return rlt_fb_u8(t, slot, dflt) != 0; }

float rlt_fb_f32(const rlt_table *t, int slot, float dflt) {
  size_t pos = field(t, slot, sizeof(float));
  if (!pos) return dflt;
  float value;
  __builtin_memcpy(&value, t->buf.data + pos, sizeof value);
  return value;
}

bool rlt_fb_table(const rlt_table *t, int slot, rlt_table *out) {
  *out = (rlt_table){0};
  size_t pos = field(t, slot, 4);
  return pos == 0 || open_table(t->buf, follow(t->buf, pos), out);
}

static bool open_vector(rlt_bytes buf, size_t pos, size_t element_bytes, rlt_vector *out) {
  if (pos == 0 || !fits(buf, pos, 4)) return false;
  uint32_t count = rlt_read_u32(buf.data + pos);
  if (!fits(buf, (uint64_t)pos + 4, (uint64_t)count * element_bytes)) return false;
  *out = (rlt_vector){buf.data + pos + 4, count};
  return true;
}

bool rlt_fb_vector(const rlt_table *t, int slot, size_t element_bytes, rlt_vector *out) {
  *out = (rlt_vector){0};
  size_t pos = field(t, slot, 4);
  return pos == 0 || open_vector(t->buf, follow(t->buf, pos), element_bytes, out);
}

bool rlt_fb_string(const rlt_table *t, int slot, const char **out) {
  rlt_vector chars;
  *out = "";
  if (!rlt_fb_vector(t, slot, 1, &chars)) return false;
  if (!chars.data) return true;
  size_t end = (size_t)(chars.data - t->buf.data) + chars.count;
  if (!fits(t->buf, end, 1) || t->buf.data[end] != 0) return false;
  *out = (const char *)chars.data;
  return true;
}

bool rlt_fb_table_at(rlt_bytes buf, const rlt_vector *tables, uint32_t i, rlt_table *out) {
  *out = (rlt_table){0};
  if (i >= tables->count) return false;
  size_t entry = (size_t)(tables->data - buf.data) + 4 * (size_t)i;
  return open_table(buf, follow(buf, entry), out);
}

int32_t rlt_vec_i32(const rlt_vector *v, uint32_t i) { return (int32_t)rlt_read_u32(v->data + 4 * (size_t)i); }
int64_t rlt_vec_i64(const rlt_vector *v, uint32_t i) { return (int64_t)rlt_read_u64(v->data + 8 * (size_t)i); }

float rlt_vec_f32(const rlt_vector *v, uint32_t i) {
  float value;
  __builtin_memcpy(&value, v->data + 4 * (size_t)i, sizeof value);
  return value;
}
