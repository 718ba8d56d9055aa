/* SPDX-License-Identifier: Apache-2.0
 * MediaPipe's custom operators. Their options are C structures of LiteRT as they lie in memory: little-endian int32
 * fields, with what the file leaves out taken as 0. */
#ifndef RLT_MEDIAPIPE_H
#define RLT_MEDIAPIPE_H

#include "../core/bytes.h"
#include "common.h"

static inline int32_t rlt_options_field(const rlt_node *n, uint32_t i) {
  const rlt_bytes *o = &n->def->custom_options;
  return 4 * (size_t)(i + 1) <= o->size ? (int32_t)rlt_read_u32(o->data + 4 * (size_t)i) : 0;
}

/* LiteRT's enumeration of paddings (1 SAME, 2 VALID) as the schema's. UNSUPPORTED for others. */
static inline rlt_status rlt_options_padding(rlt_prep *p, int32_t padding, int32_t *out) {
  RLT_REQUIRE(p->err, padding == 1 || padding == 2, RLT_UNSUPPORTED,
              "padding %d of its options is neither SAME (1) nor VALID (2)", padding);
  *out = padding == 1 ? RLT_PADDING_SAME : RLT_PADDING_VALID;
  return RLT_OK;
}

#endif
