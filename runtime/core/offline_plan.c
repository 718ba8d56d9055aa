/* SPDX-License-Identifier: Apache-2.0
 * The memory plan a file may carry: the metadata OfflineMemoryAllocation, in the format of TFLite Micro. It is a list
 * of int32: format version, number of subgraphs (nobody reads these two), number of tensors in the file, and for each
 * its byte offset in the arena, or -1 where the runtime shall choose.
 *
 * With several subgraphs it is left alone: releases of TFLite Micro differ in how they read it then. */
#include "internal.h"

#define NAME "OfflineMemoryAllocation"
enum { HEADER = 12, ALIGN = 16 /* of TFLite Micro's tensors */ };

static bool is_plan(const char *name) {
  const char *wanted = NAME;
  while (*name && *name == *wanted) name++, wanted++;
  return *name == *wanted;
}

static rlt_status read_offsets(rlt_reading *r, uint32_t buffer, rlt_model *m) {
  const uint8_t *data;
  uint64_t bytes, tensors = 0;
  RLT_REQUIRE(r->err, rlt_read_buffer(r, buffer, &data, &bytes) == RLT_OK && bytes >= HEADER, RLT_BAD_MODEL,
              "the memory plan (" NAME ") has no whole header in buffer %u; the file is cut short or corrupt",
              (uint64_t)buffer);
  uint32_t count = rlt_read_u32(data + 8);
  for (int32_t i = 0; i < m->n_subgraphs; i++) tensors += (uint64_t)m->subgraphs[i].n_tensors;
  RLT_REQUIRE(r->err, count == tensors && bytes / 4 - HEADER / 4 >= count, RLT_BAD_MODEL,
              "the memory plan (" NAME
              ") speaks of %u tensors and holds %u offsets, the file has %u tensors; write "
              "the file again without that plan",
              (uint64_t)count, bytes / 4 - HEADER / 4, tensors);
  if (m->n_subgraphs == 1) m->offline_plan = (rlt_vector){data + HEADER, count};
  return RLT_OK;
}

rlt_status rlt_read_offline_plan(rlt_reading *r, const rlt_table *root, rlt_model *m) {
  rlt_vector list;
  rlt_table entry;
  const char *name;
  bool whole = rlt_fb_vector(root, RLT_SLOT_Model_metadata, 4, &list);
  for (uint32_t i = 0; whole && i < list.count; i++) {
    whole = rlt_fb_table_at(r->file, &list, i, &entry) && rlt_fb_string(&entry, RLT_SLOT_Metadata_name, &name);
    if (whole && is_plan(name)) RLT_TRY(read_offsets(r, rlt_fb_u32(&entry, RLT_SLOT_Metadata_buffer, 0), m));
  }
  RLT_REQUIRE(r->err, whole, RLT_BAD_MODEL, "metadata lies outside the file; the file is cut short or corrupt");
  return RLT_OK;
}

/* The file's offset of a tensor; -1: none. */
static int32_t offset_in_file(const rlt_frame *f, int32_t tensor) {
  int32_t offset = rlt_vec_i32(&f->it->model->offline_plan, (uint32_t)tensor);
  return offset < 0 || f->tensors[tensor].def->is_variable ? -1 : offset;
}

bool rlt_follows_offline_plan(const rlt_frame *f) {
  if (f->it->model->offline_plan.count == 0 || f->it->options.preserve_all_tensors || f->it->options.plan_only)
    return false;
  for (int32_t i = 0; i < f->graph->n_tensors; i++)
    if (offset_in_file(f, i) >= 0 && f->tensors[i].bytes != f->tensors[i].def->bytes) return false;
  return true;
}

int32_t rlt_offline_offset(const rlt_frame *f, int32_t tensor) {
  return f->follows_offline_plan ? offset_in_file(f, tensor) : -1;
}

/* Last node at which the plan must keep the tensor. Here inputs outlive the run, but a plan made elsewhere may reuse
 * their memory after the last node that reads them. */
static int32_t last_needed(const rlt_frame *f, const rlt_span *span) {
  const rlt_tensor *t = &f->tensors[span->owner];
  return t->def->is_input && !t->def->is_output ? t->last_read : span->last;
}

rlt_status rlt_check_offline_span(const rlt_frame *f, const rlt_span *span, int32_t head, rlt_error *err) {
  const char *name = f->tensors[span->owner].def->name;
  RLT_REQUIRE(err, span->offset % ALIGN == 0, RLT_BAD_MODEL,
              "the file's memory plan (" NAME
              ") puts %n at byte %u, which is no multiple of %d; write the file again "
              "without that plan",
              name, span->offset, (int32_t)ALIGN);
  int32_t last = last_needed(f, span);
  for (int32_t i = head; i >= 0; i = f->it->spans[i].next) {
    const rlt_span *other = &f->it->spans[i];
    bool apart = other->offset + other->bytes <= span->offset || span->offset + span->bytes <= other->offset;
    if (apart || last < other->first || last_needed(f, other) < span->first) continue;
    return rlt_fail(err, RLT_BAD_MODEL,
                    "the file's memory plan (" NAME
                    ") puts %n over %n while both are alive; write the file again "
                    "without that plan",
                    name, f->tensors[other->owner].def->name);
  }
  return RLT_OK;
}
