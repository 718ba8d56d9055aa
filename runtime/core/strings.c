/* SPDX-License-Identifier: Apache-2.0
 * String tensors. An element is an rlt_string, 16 bytes that say where the characters lie, so that a tensor of strings
 * is as large as its shape says and whoever moves elements moves strings too. No operator makes characters: all lie in
 * the file, in a table (hashtable.c) or with the caller, and stay there while a run needs them.
 *
 * In the file a constant of strings is an int32 count, count + 1 int32 offsets into the buffer, and the characters. */
#include "strings.h"

_Static_assert(sizeof(rlt_string) == 16, "an element has as many bytes as rlt_type_bytes says");

enum { WORD = 4 };

int rlt_compare_strings(const rlt_string *a, const rlt_string *b) {
  const uint8_t *x = a->data, *y = b->data;
  uint64_t common = a->size < b->size ? a->size : b->size;
  for (uint64_t i = 0; i < common; i++)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return a->size == b->size ? 0 : (a->size < b->size ? -1 : 1);
}

uint64_t rlt_string_constant_bytes(uint64_t bytes_of_shape, uint64_t bytes_of_buffer) {
  uint64_t count = bytes_of_shape / sizeof(rlt_string);
  return count + 2 <= bytes_of_buffer / WORD ? bytes_of_shape : 0;
}

rlt_status rlt_read_strings(rlt_reading *r, const uint8_t *data, uint64_t bytes, rlt_tensor_def *out) {
  uint64_t count = out->bytes / sizeof(rlt_string);
  RLT_REQUIRE(r->err, count + 2 <= bytes / WORD, RLT_BAD_MODEL,
              "its shape has %u strings, its buffer of %u bytes is too short for their offsets", count, bytes);
  RLT_REQUIRE(r->err, rlt_read_u32(data) == count, RLT_BAD_MODEL, "its shape has %u strings, its buffer %u", count,
              (uint64_t)rlt_read_u32(data));
  rlt_string *elements = rlt_take(&r->block, out->bytes);
  uint64_t begin = rlt_read_u32(data + WORD);
  RLT_REQUIRE(r->err, begin >= WORD * (count + 2) && begin <= bytes, RLT_BAD_MODEL,
              "its first string begins at byte %u of %u, wanted %u or later", begin, bytes, WORD * (count + 2));
  for (uint64_t i = 0; i < count; i++) {
    uint64_t end = rlt_read_u32(data + WORD * (i + 2));
    RLT_REQUIRE(r->err, end >= begin && end <= bytes, RLT_BAD_MODEL,
                "its string %u lies from byte %u to byte %u of the %u in its buffer", i, begin, end, bytes);
    elements[i] = (rlt_string){.data_bits = 0, .size = end - begin};
    elements[i].data = data + begin;
    begin = end;
  }
  out->data = (const uint8_t *)elements;
  return RLT_OK;
}

void rlt_clear_string_inputs(const rlt_frame *f) {
  for (int32_t i = 0; i < f->graph->n_inputs; i++) {
    const rlt_tensor *t = &f->tensors[f->graph->inputs[i]];
    if (t->type == RLT_TYPE_STRING && t->bytes) __builtin_memset(t->data, 0, (size_t)t->bytes);
  }
}
