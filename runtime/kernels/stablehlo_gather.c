/* SPDX-License-Identifier: Apache-2.0
 * STABLEHLO_GATHER: slices of one size from where indices say, moved to lie inside, put along chosen dimensions. */
#include "move.h"

typedef struct hlo_gather_data {
  int32_t vector_dim;                /* of the indices; their rank: indices are single numbers */
  int32_t named;                     /* numbers of an index */
  int32_t dim_of[RLT_MAX_RANK];      /* input dimension each of them positions */
  int32_t sizes[RLT_MAX_RANK];       /* of a slice, by input dimension */
  int32_t offset_from[RLT_MAX_RANK]; /* output dimension -> input dimension it walks through; -1: a batch one */
  int64_t batch_step[RLT_MAX_RANK];  /* of the indices, by output dimension; 0 for the others */
  int64_t vector_step;               /* between the numbers of an index */
} hlo_gather_data;

static rlt_status read_sizes(rlt_prep *p, const rlt_node *n) {
  hlo_gather_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  rlt_vector v = {0};
  bool read = rlt_fb_vector(&n->def->options, RLT_SLOT_StablehloGatherOptions_slice_sizes, 8, &v);
  RLT_REQUIRE(p->err, read && v.count == (uint32_t)x->rank, RLT_BAD_MODEL,
              "slice_sizes do not give one size per dimension of %T", x);
  for (int32_t d = 0; d < x->rank; d++) {
    int64_t size = rlt_vec_i64(&v, (uint32_t)d);
    RLT_REQUIRE(p->err, size >= 0 && size <= x->dims[d], RLT_BAD_MODEL, "a slice is larger than dimension %d of %T", d,
                x);
    k->sizes[d] = (int32_t)size;
  }
  return RLT_OK;
}

/* Output dimensions: those of offset_dims walk through the slice's that are not collapsed, the others through the
 * indices'. */
static rlt_status set_output(rlt_prep *p, rlt_node *n) {
  hlo_gather_data *k = n->data;
  const rlt_tensor *x = n->in[0], *indices = n->in[1];
  int32_t collapsed[RLT_MAX_RANK], collapsed_count, offset[RLT_MAX_RANK], offsets, dims[RLT_MAX_RANK];
  int64_t step[RLT_MAX_RANK];
  RLT_TRY(rlt_option_dims(p, n, RLT_SLOT_StablehloGatherOptions_collapsed_slice_dims, x->rank, true, collapsed,
                          &collapsed_count));
  RLT_TRY(rlt_option_dims(p, n, RLT_SLOT_StablehloGatherOptions_offset_dims, RLT_MAX_RANK, true, offset, &offsets));
  int32_t batches = indices->rank - (k->vector_dim < indices->rank), rank = batches + offsets;
  RLT_REQUIRE(p->err, offsets == x->rank - collapsed_count && rank <= RLT_MAX_RANK, RLT_BAD_MODEL,
              "%d offset_dims and %d collapsed_slice_dims do not make up the dimensions of %T", offsets,
              collapsed_count, x);
  for (int32_t i = 0; i < collapsed_count; i++) {
    RLT_REQUIRE(p->err, k->sizes[collapsed[i]] <= 1, RLT_BAD_MODEL, "dimension %d is collapsed, its slices are larger",
                collapsed[i]);
  }
  RLT_REQUIRE(p->err, offsets == 0 || offset[offsets - 1] < rank, RLT_BAD_MODEL, "offset_dims lie beyond %d", rank);
  rlt_steps(indices, step);
  int32_t from = 0, batch = 0;
  for (int32_t d = 0; d < rank; d++) {
    k->offset_from[d] = -1;
    k->batch_step[d] = 0;
    if (rlt_contains(offset, offsets, d)) {
      while (rlt_contains(collapsed, collapsed_count, from)) from++;
      k->offset_from[d] = from;
      dims[d] = k->sizes[from++];
    } else {
      if (batch == k->vector_dim) batch++;
      k->batch_step[d] = step[batch];
      dims[d] = indices->dims[batch++];
    }
  }
  k->vector_step = k->vector_dim < indices->rank ? step[k->vector_dim] : 0;
  return rlt_set_shape(p, n->out[0], rank, dims);
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  hlo_gather_data *k = n->data;
  const rlt_tensor *x = n->in[0], *indices = n->in[1];
  RLT_TRY(rlt_check_moved(p, x, n->out[0]));
  RLT_TRY(rlt_check_type(p, indices, RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  int64_t vector_dim = rlt_fb_i64(&n->def->options, RLT_SLOT_StablehloGatherOptions_index_vector_dim, 0);
  RLT_REQUIRE(p->err, vector_dim >= 0 && vector_dim <= indices->rank, RLT_BAD_MODEL,
              "index_vector_dim is no dimension of %T", indices);
  k->vector_dim = (int32_t)vector_dim;
  RLT_TRY(read_sizes(p, n));
  RLT_TRY(rlt_option_dims(p, n, RLT_SLOT_StablehloGatherOptions_start_index_map, x->rank, false, k->dim_of, &k->named));
  int32_t numbers = k->vector_dim < indices->rank ? indices->dims[k->vector_dim] : 1;
  RLT_REQUIRE(p->err, k->named == numbers, RLT_BAD_MODEL, "start_index_map names %d dimensions, %T holds %d", k->named,
              indices, numbers);
  RLT_TRY(set_output(p, n));
  n->tiles = rlt_flat_tiles(n->out[0]->count);
  return RLT_OK;
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const hlo_gather_data *k = n->data;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  uint32_t bytes = rlt_type_bytes(y->type);
  int64_t step[RLT_MAX_RANK], begin, end;
  rlt_steps(x, step);
  rlt_part(n, (int64_t)y->count, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    int64_t rest = i, index = 0, from = 0;
    for (int32_t d = y->rank - 1; d >= 0; d--) {
      int64_t at = rest % y->dims[d];
      rest /= y->dims[d];
      index += at * k->batch_step[d];
      if (k->offset_from[d] >= 0) from += at * step[k->offset_from[d]];
    }
    for (int32_t j = 0; j < k->named; j++) {
      int32_t d = k->dim_of[j];
      int64_t at = rlt_index_at(n->in[1], index + j * k->vector_step), most = x->dims[d] - k->sizes[d];
      from += (at < 0 ? 0 : (at > most ? most : at)) * step[d];
    }
    rlt_copy((uint8_t *)y->data + (uint64_t)i * bytes, (const uint8_t *)x->data + (uint64_t)from * bytes, bytes);
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_stablehlo_gather = {
    .name = "STABLEHLO_GATHER", .data_size = sizeof(hlo_gather_data), .max_version = 1, .prepare = prepare, .run = run};
