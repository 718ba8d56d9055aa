/* SPDX-License-Identifier: Apache-2.0
 * Mutants of a .tflite file that keep most of its structure: one value, count, offset or vtable entry becomes another,
 * a vector grows or shrinks, a node takes another's place; besides plain noise. It reads files that are broken too. */
#ifndef MUTATE_H
#define MUTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "schema_walk.h"

static uint64_t noise_state = 0x853c49e6748fea9bu;

static uint32_t noise(void) {
  noise_state = noise_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(noise_state >> 33);
}

static uint32_t below(size_t n) { return n ? (uint32_t)(noise() % n) : 0; }

/* ---- the walk ---- */

/* Values are chosen by their role; then come counts of vectors, offsets and vtable entries. */
enum { COUNTS = WALK_ROLES, OFFSETS, ENTRIES, CLASSES };
enum { AS_INT, AS_FLOAT, AS_ENUM };

typedef struct site {
  size_t pos;
  size_t from; /* COUNTS: the offset that leads here */
  uint16_t of; /* members of an enum; the table an offset leads to */
  uint8_t width, form;
} site;

/* One site of each class, each equally likely, is kept in a walk over all of them. */
typedef struct walker {
  const uint8_t *data;
  size_t size;
  uint32_t left; /* sites it may still look at: offsets of a broken file may lead in circles */
  uint32_t seen[CLASSES];
  site kept[CLASSES];
  /* a second offset to the same kind of table, which one at `like_after` could hold too */
  uint16_t like_of;
  size_t like_after;
  uint32_t likes;
  size_t like;
  /* all sites that are values, for those who want each */
  site *values;
  size_t n_values, room;
} walker;

static uint32_t read_word(const uint8_t *data, size_t width) {
  uint32_t value = 0;
  memcpy(&value, data, width > 4 ? 4 : width);
  return value;
}

static bool in_file(const walker *w, size_t pos, size_t bytes) { return pos <= w->size && bytes <= w->size - pos; }

static void meet(walker *w, int class, site s) {
  if (w->left > 0) w->left--;
  if (!in_file(w, s.pos, s.width)) return;
  if (below(++w->seen[class]) == 0) w->kept[class] = s;
  if (class < WALK_ROLES && w->n_values < w->room) w->values[w->n_values++] = s;
}

static void walk_table_at(walker *w, size_t from, uint16_t table, int depth);

static void meet_offset(walker *w, size_t pos, uint16_t table) {
  meet(w, OFFSETS, (site){.pos = pos, .of = table, .width = 4});
  if (table != w->like_of || !in_file(w, pos, 4)) return;
  size_t target = pos + read_word(w->data + pos, 4);
  if (target > w->like_after && below(++w->likes) == 0) w->like = target;
}

/* Numbers in a buffer are met as the type they probably have. */
static void walk_numbers(walker *w, size_t at, size_t count, const walk_field *f, uint8_t role) {
  bool bytes = role == OF_BUFFER;
  uint8_t width = bytes && count % 4 == 0 ? 4 : f->width, form = f->kind == WALK_FLOATS ? AS_FLOAT : AS_INT;
  size_t n = count * f->width / width, most = bytes ? 16 : 64;
  for (size_t i = 0; i < n && i < most; i++) {
    size_t k = n > most ? below(n) : i;
    meet(w, role, (site){.pos = at + k * width, .width = width, .form = bytes && noise() % 2 ? AS_FLOAT : form});
  }
}

static void walk_vector(walker *w, size_t from, const walk_field *f, uint8_t role, int depth) {
  size_t at = from + read_word(w->data + from, 4);
  meet_offset(w, from, 0xffff);
  if (!in_file(w, at, 4)) return;
  size_t count = read_word(w->data + at, 4), width = f->kind == WALK_TABLES ? 4 : f->width;
  meet(w, COUNTS, (site){.pos = at, .from = from, .width = 4, .of = f->kind == WALK_TABLES ? 0 : (uint16_t)width});
  if (count > w->size / width || !in_file(w, at + 4, count * width)) return;
  if (f->kind != WALK_TABLES) {
    walk_numbers(w, at + 4, count, f, role);
    return;
  }
  for (size_t i = 0; i < count && w->left > 0; i++) walk_table_at(w, at + 4 + 4 * i, f->of, depth);
}

static void walk_one_field(walker *w, size_t pos, const walk_field *f, uint8_t role, uint32_t tag, int depth) {
  switch (f->kind) {
    case WALK_INT:
      meet(w, role, (site){.pos = pos, .width = f->width, .form = AS_INT});
      break;
    case WALK_FLOAT:
      meet(w, role, (site){.pos = pos, .width = 4, .form = AS_FLOAT});
      break;
    case WALK_ENUM:
      meet(w, role, (site){.pos = pos, .width = f->width, .form = AS_ENUM, .of = f->of});
      break;
    case WALK_STRING:
      meet_offset(w, pos, 0xffff);
      break;
    case WALK_TABLE:
      walk_table_at(w, pos, f->of, depth);
      break;
    case WALK_UNION:
      if (tag > 0 && tag < walk_unions[f->of]) walk_table_at(w, pos, walk_unions[f->of + tag], depth);
      break;
    default:
      walk_vector(w, pos, f, role, depth);
  }
}

/* The table that the offset at `from` leads to. */
static void walk_table_at(walker *w, size_t from, uint16_t table, int depth) {
  if (!in_file(w, from, 4) || w->left == 0 || depth > 12) return;
  meet_offset(w, from, table);
  size_t at = from + read_word(w->data + from, 4);
  if (table == 0xffff || !in_file(w, at, 4)) return;
  size_t vtable = at - (size_t)(int64_t)(int32_t)read_word(w->data + at, 4);
  if (!in_file(w, vtable, 4)) return;
  size_t bytes = read_word(w->data + vtable, 2);
  if (!in_file(w, vtable, bytes)) return;
  meet(w, OFFSETS, (site){.pos = at, .of = 0xffff, .width = 4});
  const walk_table *t = &walk_tables[table];
  for (int i = 0; i < t->count; i++) {
    const walk_field *f = &walk_fields[t->first + i];
    size_t entry = vtable + 4 + 2u * f->slot;
    if (4 + 2u * f->slot + 2 > bytes) break;
    meet(w, ENTRIES, (site){.pos = entry, .width = 2});
    size_t offset = read_word(w->data + entry, 2), tag_offset = f->slot ? read_word(w->data + entry - 2, 2) : 0;
    if (!offset || !in_file(w, at + offset, f->width)) continue;
    bool has_tag = f->kind == WALK_UNION && tag_offset && in_file(w, at + tag_offset, 1);
    if (has_tag)
      meet(w, OF_NODE, (site){.pos = at + tag_offset, .width = 1, .form = AS_ENUM, .of = walk_unions[f->of]});
    walk_one_field(w, at + offset, f, t->role, has_tag ? w->data[at + tag_offset] : 0, depth + 1);
  }
}

static void walk_file(walker *w, const uint8_t *data, size_t size) {
  w->data = data;
  w->size = size;
  w->left = 100000;
  memset(w->seen, 0, sizeof w->seen);
  w->likes = 0;
  walk_table_at(w, 0, WALK_ROOT, 0);
}

/* ---- the edits ---- */

static int64_t other_int(int64_t was) {
  static const int64_t values[] = {0,     -1,     1,         2,         3,         4,         5,
                                   7,     8,      16,        127,       128,       255,       256,
                                   32767, 65535,  65536,     1 << 20,   1 << 24,   1 << 30,   -2,
                                   -128,  -32768, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, UINT32_MAX};
  switch (noise() % 8) {
    case 0:
      return was + 1;
    case 1:
      return was - 1;
    case 2:
      return (int64_t)((uint64_t)was * 2);
    case 3:
      return was / 2;
    case 4:
      return (int64_t)(0 - (uint64_t)was);
    case 5:
      return (int64_t)noise() - (1 << 30);
    default:
      return values[below(sizeof values / sizeof *values)];
  }
}

static float other_float(float was) {
  static const float values[] = {0.0f,
                                 -0.0f,
                                 1.0f,
                                 -1.0f,
                                 0.5f,
                                 1e-45f,
                                 1e-38f,
                                 1e-10f,
                                 3.0e38f,
                                 -3.0e38f,
                                 1e10f,
                                 __builtin_inff(),
                                 -__builtin_inff(),
                                 __builtin_nanf("")};
  switch (noise() % 6) {
    case 0:
      return was * 2.0f;
    case 1:
      return was * 0.5f;
    case 2:
      return -was;
    case 3:
      return was * (float)below(1000);
    default:
      return values[below(sizeof values / sizeof *values)];
  }
}

static void edit_value(uint8_t *data, const site *s) {
  if (s->form == AS_FLOAT && s->width == 4) {
    float value;
    memcpy(&value, data + s->pos, 4);
    value = other_float(value);
    memcpy(data + s->pos, &value, 4);
    return;
  }
  int64_t value = 0;
  if (s->width == 1) value = (int8_t)data[s->pos];
  if (s->width >= 4) value = (int32_t)read_word(data + s->pos, 4);
  value = s->form == AS_ENUM && noise() % 8 ? (int64_t)below(s->of) : other_int(value);
  memcpy(data + s->pos, &value, s->width);
}

/* Another count in place, or the vector anew at the end of the file, longer or shorter. */
static size_t edit_count(uint8_t *data, size_t size, size_t most, const site *s) {
  static const uint32_t counts[] = {0, 1, 2, 3, 7, 8, 9, 255, 65536, 1u << 28, 1u << 30, UINT32_MAX};
  uint32_t count = read_word(data + s->pos, 4), other;
  switch (noise() % 4) {
    case 0:
      other = count - 1;
      break;
    case 1:
      other = counts[below(sizeof counts / sizeof *counts)];
      break;
    case 2:
      other = count + 1 + noise() % 8;
      break;
    default:
      other = count + 1;
  }
  size_t width = s->of, start = (size + 7) / 8 * 8 + 4, bytes = (size_t)other * width;
  bool fits = width > 0 && other <= 65536 && start + 4 + bytes + 8 <= most && count <= size / width &&
              s->pos + 4 + count * width <= size;
  if (!fits || noise() % 4 == 0) {
    memcpy(data + s->pos, &other, 4);
    return size;
  }
  memset(data + size, 0, start + 4 + bytes + 8 - size);
  memcpy(data + start, &other, 4);
  for (size_t i = 0; i < other && count > 0; i++)
    memcpy(data + start + 4 + i * width, data + s->pos + 4 + (i < count ? i : below(count)) * width, width);
  uint32_t offset = (uint32_t)(start - s->from);
  memcpy(data + s->from, &offset, 4);
  return start + 4 + bytes + 8;
}

/* The offset leads to another table of the kind (a node or tensor twice, or out of order), or astray. */
static void edit_offset(walker *w, uint8_t *data, size_t size, const site *s) {
  uint32_t offset = read_word(data + s->pos, 4);
  if (s->of != 0xffff && noise() % 4) {
    w->like_of = s->of;
    w->like_after = s->pos;
    walk_file(w, data, size);
    w->like_of = 0xfffe;
    if (w->likes) offset = (uint32_t)(w->like - s->pos);
  } else {
    const uint32_t others[] = {0, 1, offset + 4, offset - 4, offset + 1, offset ^ 0x80000000u, noise(), below(size)};
    offset = others[below(8)];
  }
  memcpy(data + s->pos, &offset, 4);
}

static void edit_entry(uint8_t *data, size_t size, const site *s) {
  uint16_t was = (uint16_t)read_word(data + s->pos, 2);
  const uint16_t others[] = {0, 0, 0, (uint16_t)(was + 4), (uint16_t)(was - 4), (uint16_t)(was + 1), 4, 0xffff};
  uint16_t value = others[below(8)];
  if (noise() % 4 == 0 && s->pos + 4 <= size) value = (uint16_t)read_word(data + s->pos + 2, 2);
  memcpy(data + s->pos, &value, 2);
}

static size_t edit_bytes(uint8_t *data, size_t size) {
  if (size < 16) return size;
  size_t at = below(size - 4), run = 1 + below(8);
  switch (noise() % 16) {
    case 0:
      return below(size); /* cut short */
    case 1:
      return (memmove(data + at, data + at + 4, size - at - 4), size - 4); /* four bytes fewer */
    case 2:
      return (memset(data + at, noise() % 2 ? 0 : 0xff, size - at < 64 ? 4 : 64), size);
    case 3:
    case 4:
    case 5:
    case 6:
      return (memcpy(data + at / 4 * 4, data + below(size - 4) / 4 * 4, 4), size); /* a word from elsewhere */
    case 7:
    case 8:
      return (data[at] ^= (uint8_t)(1u << noise() % 8), size);
    default:
      for (size_t i = 0; i < run && at + i < size; i++) data[at + i] = (uint8_t)noise();
      return size;
  }
}

/* Changes data[0, size), of which up to `most` bytes may be used; returns the new size. */
static size_t mutate_once(uint8_t *data, size_t size, size_t most) {
  static const uint8_t weights[] = {OF_OPTIONS, OF_OPTIONS, OF_OPTIONS,      OF_TENSOR, OF_TENSOR, OF_TENSOR, OF_NODE,
                                    OF_NODE,    OF_NODE,    OF_QUANTIZATION, OF_BUFFER, OF_BUFFER, OF_BUFFER, OF_FILE,
                                    COUNTS,     COUNTS,     COUNTS,          OFFSETS,   OFFSETS,   ENTRIES};
  if (noise() % 8 == 0) return edit_bytes(data, size);
  walker w = {.like_of = 0xfffe};
  walk_file(&w, data, size);
  int class = weights[below(sizeof weights)];
  if (!w.seen[class]) return edit_bytes(data, size);
  site s = w.kept[class];
  if (class == COUNTS) return edit_count(data, size, most, &s);
  if (class == OFFSETS) {
    edit_offset(&w, data, size, &s);
  } else if (class == ENTRIES) {
    edit_entry(data, size, &s);
  } else {
    edit_value(data, &s);
  }
  return size;
}

/* One to four such changes; `seed` decides all. */
static size_t mutate(uint8_t *data, size_t size, size_t most, uint64_t seed) {
  noise_state = seed * 0x9e3779b97f4a7c15u + 1;
  noise();
  for (uint32_t edits = 1 + (noise() % 2 ? 0 : below(4)); edits > 0; edits--) size = mutate_once(data, size, most);
  return size;
}

#endif
