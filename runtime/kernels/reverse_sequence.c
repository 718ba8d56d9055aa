/* SPDX-License-Identifier: Apache-2.0
 * REVERSE_SEQUENCE: for every position of one dimension, the first few elements along another in reverse order. */
#include "move.h"

typedef struct reverse_data {
  int32_t sequence, batch; /* dimensions */
} reverse_data;

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  reverse_data *k = n->data;
  const rlt_tensor *x = n->in[0], *lengths = n->in[1];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_check_type(p, lengths, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  k->sequence = rlt_fb_i32(&n->def->options, RLT_SLOT_ReverseSequenceOptions_seq_dim, 0);
  k->batch = rlt_fb_i32(&n->def->options, RLT_SLOT_ReverseSequenceOptions_batch_dim, 0);
  RLT_TRY(rlt_check_axis(p, &k->sequence, x->rank));
  RLT_TRY(rlt_check_axis(p, &k->batch, x->rank));
  RLT_REQUIRE(p->err, k->sequence != k->batch, RLT_BAD_MODEL, "seq_dim and batch_dim are both %d", k->batch);
  RLT_REQUIRE(p->err, lengths->rank == 1 && lengths->dims[0] == x->dims[k->batch], RLT_BAD_MODEL,
              "%T does not give one length per element of dimension %d of %T", lengths, k->batch, x);
  n->tiles = rlt_flat_tiles(x->count);
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const reverse_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  int32_t last_of = k->sequence > k->batch ? k->sequence : k->batch;
  int64_t run = rlt_span(x, last_of + 1, x->rank), begin, end;
  int64_t batch_step = rlt_span(x, k->batch + 1, x->rank), sequence_step = rlt_span(x, k->sequence + 1, x->rank);
  uint64_t bytes = (uint64_t)run * rlt_type_bytes(x->type);
  if (x->count == 0) return RLT_OK;
  rlt_part(n, (int64_t)x->count / run, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t to = i * run, from = to;
    int64_t length = rlt_index_at(n->in[1], to / batch_step % x->dims[k->batch]);
    int64_t at = to / sequence_step % x->dims[k->sequence];
    RLT_REQUIRE(r->err, length >= 0 && length <= x->dims[k->sequence], RLT_BAD_VALUE,
                "a sequence is longer than dimension %d of %T, or its length is negative", k->sequence, x);
    if (at < length) from += (length - 1 - 2 * at) * sequence_step;
    rlt_copy((uint8_t *)n->out[0]->data + (uint64_t)i * bytes,
             (const uint8_t *)x->data + (uint64_t)from * rlt_type_bytes(x->type), bytes);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_reverse_sequence = {
    .name = "REVERSE_SEQUENCE", .data_size = sizeof(reverse_data), .max_version = 1, .prepare = prepare, .run = run};
