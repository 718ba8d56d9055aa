/* SPDX-License-Identifier: Apache-2.0
 * Layout: https://flatbuffers.dev/flatbuffers_internals/#flexbuffers */
#include "flexbuffer.h"

#include "bytes.h"

enum {
  NOTHING = 0,
  INT = 1,
  UINT = 2,
  FLOAT = 3,
  KEY = 4,
  STRING = 5,
  INDIRECT_INT = 6,
  INDIRECT_UINT = 7,
  INDIRECT_FLOAT = 8,
  MAP = 9,
  VECTOR = 10,
  VECTOR_INT = 11, /* typed vectors of INT, UINT, FLOAT, KEY follow */
  VECTOR_KEY = 14,
  VECTOR_INT2 = 16, /* fixed ones of 2, 3 and 4 numbers follow */
  VECTOR_FLOAT4 = 24,
  BOOL = 26,
  VECTOR_BOOL = 36,
};

static bool fits(rlt_bytes buf, uint64_t pos, uint64_t n) { return pos <= buf.size && n <= buf.size - pos; }

static bool is_width(uint64_t width) { return width == 1 || width == 2 || width == 4 || width == 8; }

/* An unsigned number of `width` bytes; 0 outside the buffer. */
static uint64_t read_unsigned(rlt_bytes buf, uint64_t pos, uint8_t width) {
  if (!fits(buf, pos, width)) return 0;
  const uint8_t *p = buf.data + pos;
  return width == 1 ? *p : (width == 2 ? rlt_read_u16(p) : (width == 4 ? rlt_read_u32(p) : rlt_read_u64(p)));
}

static int64_t read_signed(rlt_bytes buf, uint64_t pos, uint8_t width) {
  uint64_t value = read_unsigned(buf, pos, width);
  return width == 1 ? (int8_t)value : (width == 2 ? (int16_t)value : (width == 4 ? (int32_t)value : (int64_t)value));
}

static double read_float(rlt_bytes buf, uint64_t pos, uint8_t width) {
  float single;
  double value = 0.0;
  if (!fits(buf, pos, width)) return 0.0;
  if (width == 8) __builtin_memcpy(&value, buf.data + pos, sizeof value);
  if (width != 4) return value;
  __builtin_memcpy(&single, buf.data + pos, sizeof single);
  return (double)single;
}

/* Where the offset at pos leads: backwards. false: outside the buffer. */
static bool follow(rlt_bytes buf, uint64_t pos, uint8_t width, uint64_t *target) {
  uint64_t back = read_unsigned(buf, pos, width);
  if (back == 0 || back > pos) return false;
  *target = pos - back;
  return true;
}

bool rlt_flex_root(rlt_bytes buf, rlt_flex *out) {
  *out = (rlt_flex){0};
  if (!buf.data || buf.size < 3) return false;
  uint8_t width = buf.data[buf.size - 1], packed = buf.data[buf.size - 2];
  if (!is_width(width) || buf.size < (size_t)width + 2) return false;
  *out = (rlt_flex){buf, buf.size - 2 - width, packed >> 2, width, (uint8_t)(1u << (packed & 3))};
  return true;
}

/* ---- vectors and maps ---- */

typedef struct elements {
  uint64_t at, count; /* checked: count elements of f->inner bytes lie in the buffer */
  uint8_t type;       /* of every element; NOTHING: a byte each tells, after the elements */
} elements;

static bool open_elements(const rlt_flex *f, elements *out) {
  bool fixed = f->type >= VECTOR_INT2 && f->type <= VECTOR_FLOAT4;
  bool typed = f->type >= VECTOR_INT && f->type <= VECTOR_KEY;
  if (!fixed && !typed && f->type != VECTOR && f->type != MAP && f->type != VECTOR_BOOL) return false;
  if (!follow(f->buf, f->pos, f->width, &out->at)) return false;
  if (!fixed && out->at < f->inner) return false;
  out->count = fixed ? (uint64_t)(f->type - VECTOR_INT2) / 3 + 2 : read_unsigned(f->buf, out->at - f->inner, f->inner);
  out->type = NOTHING;
  if (fixed) out->type = (uint8_t)((f->type - VECTOR_INT2) % 3 + INT);
  if (typed) out->type = (uint8_t)(f->type - VECTOR_INT + INT);
  if (f->type == VECTOR_BOOL) out->type = BOOL;
  uint64_t each = (uint64_t)f->inner + (out->type == NOTHING);
  return out->count <= f->buf.size / each && fits(f->buf, out->at, out->count * each);
}

uint64_t rlt_flex_count(const rlt_flex *vector) {
  elements e;
  return open_elements(vector, &e) ? e.count : 0;
}

bool rlt_flex_at(const rlt_flex *vector, uint64_t i, rlt_flex *out) {
  elements e;
  rlt_bytes buf = vector->buf;
  uint8_t width = vector->inner;
  *out = (rlt_flex){0};
  if (!open_elements(vector, &e) || i >= e.count) return false;
  uint8_t packed = (uint8_t)(e.type == NOTHING ? buf.data[e.at + e.count * width + i] : e.type << 2);
  *out = (rlt_flex){buf, (size_t)(e.at + i * width), packed >> 2, width, (uint8_t)(1u << (packed & 3))};
  return true;
}

/* The text at pos is `key`. */
static bool is_key(rlt_bytes buf, uint64_t pos, const char *key) {
  for (; fits(buf, pos, 1); pos++, key++) {
    if (buf.data[pos] != (uint8_t)*key) return false;
    if (*key == 0) return true;
  }
  return false;
}

bool rlt_flex_get(const rlt_flex *map, const char *key, rlt_flex *out) {
  elements e;
  uint64_t keys, text;
  *out = (rlt_flex){0};
  if (map->type != MAP || !open_elements(map, &e) || e.at < 3 * (uint64_t)map->inner) return false;
  uint64_t width = read_unsigned(map->buf, e.at - 2 * (uint64_t)map->inner, map->inner);
  if (!is_width(width) || !follow(map->buf, e.at - 3 * (uint64_t)map->inner, map->inner, &keys)) return false;
  for (uint64_t i = 0; i < e.count; i++)
    if (follow(map->buf, keys + i * width, (uint8_t)width, &text) && is_key(map->buf, text, key))
      return rlt_flex_at(map, i, out);
  return false;
}

/* ---- values ---- */

/* A number's own type and place, through the offset where it is stored apart. */
static rlt_flex direct(const rlt_flex *f) {
  uint64_t target;
  if (f->type < INDIRECT_INT || f->type > INDIRECT_FLOAT) return *f;
  if (!follow(f->buf, f->pos, f->width, &target)) return (rlt_flex){0};
  return (rlt_flex){f->buf, (size_t)target, (uint8_t)(f->type - INDIRECT_INT + INT), f->inner, 1};
}

int64_t rlt_flex_i64(const rlt_flex *f, int64_t dflt) {
  rlt_flex d = direct(f);
  if (d.type == INT) return read_signed(d.buf, d.pos, d.width);
  if (d.type == UINT || d.type == BOOL) return (int64_t)read_unsigned(d.buf, d.pos, d.width);
  if (d.type != FLOAT) return dflt;
  double value = read_float(d.buf, d.pos, d.width);
  return value > -9e18 && value < 9e18 ? (int64_t)value : dflt;
}

double rlt_flex_f64(const rlt_flex *f, double dflt) {
  rlt_flex d = direct(f);
  if (d.type == FLOAT) return read_float(d.buf, d.pos, d.width);
  if (d.type == INT) return (double)read_signed(d.buf, d.pos, d.width);
  if (d.type == UINT || d.type == BOOL) return (double)read_unsigned(d.buf, d.pos, d.width);
  return dflt;
}

bool rlt_flex_bool(const rlt_flex *f, bool dflt) { return rlt_flex_i64(f, dflt) != 0; }

const char *rlt_flex_string(const rlt_flex *f) {
  uint64_t at;
  if ((f->type != STRING && f->type != KEY) || !follow(f->buf, f->pos, f->width, &at)) return NULL;
  for (uint64_t i = at; i < f->buf.size; i++)
    if (f->buf.data[i] == 0) return (const char *)f->buf.data + at;
  return NULL;
}

int64_t rlt_flex_get_i64(const rlt_flex *map, const char *key, int64_t dflt) {
  rlt_flex value;
  return rlt_flex_get(map, key, &value) ? rlt_flex_i64(&value, dflt) : dflt;
}

double rlt_flex_get_f64(const rlt_flex *map, const char *key, double dflt) {
  rlt_flex value;
  return rlt_flex_get(map, key, &value) ? rlt_flex_f64(&value, dflt) : dflt;
}

bool rlt_flex_get_bool(const rlt_flex *map, const char *key, bool dflt) {
  rlt_flex value;
  return rlt_flex_get(map, key, &value) ? rlt_flex_bool(&value, dflt) : dflt;
}
