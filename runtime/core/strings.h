/* SPDX-License-Identifier: Apache-2.0
 * What the rest of the core asks of tensors of strings (strings.c) and of tables (hashtable.c). */
#ifndef RLT_STRINGS_H
#define RLT_STRINGS_H

#include "internal.h"

static inline bool rlt_holds_strings(const rlt_table *tensor) {
  return rlt_fb_i8(tensor, RLT_SLOT_Tensor_type, 0) == RLT_TYPE_STRING;
}
/* Room for the elements of a constant of strings; 0 for one that is refused later. */
uint64_t rlt_string_constant_bytes(uint64_t bytes_of_shape, uint64_t bytes_of_buffer);
/* Verifies a buffer of strings and lays out its elements, which point into it. */
rlt_status rlt_read_strings(rlt_reading *r, const uint8_t *data, uint64_t bytes, rlt_tensor_def *out);
/* Inputs of strings start empty: what lies in a fresh arena is no string. */
void rlt_clear_string_inputs(const rlt_frame *f);

typedef struct rlt_tables rlt_tables;
/* The part of the state that holds tables, taken from the block; counted where the block has no base. */
rlt_tables *rlt_tables_lay_out(rlt_bump *b, const rlt_model *m);
rlt_tables *rlt_state_tables(rlt_state *s); /* of state.c */

#endif
