/* SPDX-License-Identifier: Apache-2.0
 * Memory for what only invoke can size: pieces in blocks that rlt_options.grow gives. Blocks stay where they are and
 * are kept until the interpreter ends, so no pointer ever has to follow. */
#include "internal.h"

#define HEADER ((uint64_t)RLT_BLOCK_ALIGN)
_Static_assert(sizeof(rlt_region_block) <= RLT_BLOCK_ALIGN, "the header of a block fits in front of its memory");

/* First gap of the block that holds the piece; links it in. false: none does. */
static bool place(rlt_region_block *block, rlt_piece *piece) {
  uint64_t end = HEADER;
  rlt_piece **link = &block->pieces;
  while (*link && (*link)->offset - end < piece->bytes) {
    end = (*link)->offset + (*link)->bytes;
    link = &(*link)->next;
  }
  if (!*link && block->bytes - end < piece->bytes) return false;
  piece->block = block;
  piece->offset = end;
  piece->next = *link;
  *link = piece;
  return true;
}

/* A block for the piece, as large as all before it together, as far as the limit allows. */
static rlt_status grow(rlt_interpreter *it, uint64_t bytes, rlt_error *err) {
  uint64_t limit = rlt_region_limit(it), have = it->sizes.region, least = bytes + HEADER;
  RLT_REQUIRE(err, it->options.grow, RLT_UNSUPPORTED,
              "only a run tells its size, for which nothing is bound; give rlt_options.grow, or convert the model with "
              "static shapes");
  RLT_REQUIRE(err, have <= limit && least <= limit - have, RLT_LIMIT,
              "tensors of unbounded size need %u bytes beyond the %u they have, the limit is %u "
              "(rlt_limits.max_region_bytes, and what rlt_limits.max_bytes leaves for them)",
              least, have, limit);
  uint64_t size = have > least ? have : least;
  if (size > limit - have) size = least;
  rlt_region_block *block = it->options.grow(it->options.grow_ctx, size);
  RLT_REQUIRE(err, block && (uintptr_t)block % RLT_BLOCK_ALIGN == 0, RLT_NO_MEMORY,
              "rlt_options.grow has no %u bytes aligned to %d", size, (int32_t)RLT_BLOCK_ALIGN);
  *block = (rlt_region_block){.next = it->region, .bytes = size};
  it->region = block;
  it->sizes.region = have + size;
  return RLT_OK;
}

rlt_status rlt_take_piece(rlt_interpreter *it, rlt_piece *piece, uint64_t bytes, void **data, rlt_error *err) {
  rlt_release_piece(piece);
  RLT_REQUIRE(err, bytes <= RLT_HARD_LIMIT, RLT_LIMIT, "%u bytes are more than any run may take", bytes);
  piece->bytes = rlt_align(bytes ? bytes : 1, RLT_BLOCK_ALIGN);
  rlt_region_block *block = it->region;
  while (block && !place(block, piece)) block = block->next;
  if (!block) {
    RLT_TRY(grow(it, piece->bytes, err));
    place(it->region, piece);
  }
  *data = (uint8_t *)piece->block + piece->offset;
  return RLT_OK;
}

void rlt_release_piece(rlt_piece *piece) {
  if (!piece->block) return;
  rlt_piece **link = &piece->block->pieces;
  while (*link != piece) link = &(*link)->next;
  *link = piece->next;
  piece->block = NULL;
}

void rlt_release_frame(rlt_frame *f) {
  rlt_release_piece(&f->piece);
  for (int32_t i = 0; i < f->graph->n_tensors; i++) rlt_release_piece(&f->tensors[i].piece);
  for (int32_t i = 0; i < f->graph->n_nodes; i++) rlt_release_piece(&f->nodes[i].piece);
}
