/* SPDX-License-Identifier: Apache-2.0
 * BUCKETIZE: how many of the sorted boundaries are not above a value. NaN lies beyond the last. */
#include "common.h"

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  const rlt_tensor *x = n->in[0];
  rlt_vector *boundaries = n->data;
  RLT_TRY(rlt_check_type(
      p, x, RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_FLOAT64) | RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64),
      "FLOAT32, FLOAT64, INT32 or INT64"));
  RLT_TRY(rlt_check_type(p, n->out[0], RLT_BIT(RLT_TYPE_INT32), "INT32"));
  *boundaries = (rlt_vector){0};
  bool read = rlt_fb_vector(&n->def->options, RLT_SLOT_BucketizeOptions_boundaries, sizeof(float), boundaries);
  RLT_REQUIRE(p->err, read && boundaries->count <= INT32_MAX, RLT_BAD_MODEL, "the boundaries lie outside the file");
  for (uint32_t i = 0; i < boundaries->count; i++) {
    float here = rlt_vec_f32(boundaries, i);
    bool sorted = here == here && (i == 0 || rlt_vec_f32(boundaries, i - 1) <= here);
    RLT_REQUIRE(p->err, sorted, RLT_BAD_MODEL, "boundary %d is not in ascending order", (int32_t)i);
  }
  n->tiles = rlt_flat_tiles(x->count);
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

#define BUCKET(suffix, type)                                                 \
  static int32_t bucket_##suffix(const rlt_vector *boundaries, type value) { \
    uint32_t from = 0, to = boundaries->count;                               \
    while (from < to) {                                                      \
      uint32_t middle = from + (to - from) / 2;                              \
      if (value < (type)rlt_vec_f32(boundaries, middle)) {                   \
        to = middle;                                                         \
      } else {                                                               \
        from = middle + 1;                                                   \
      }                                                                      \
    }                                                                        \
    return (int32_t)from;                                                    \
  }
BUCKET(f32, float)
BUCKET(f64, double)

/* Integers are compared as LiteRT does: rounded to float32. */
static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  const rlt_vector *boundaries = n->data;
  const void *x = n->in[0]->data;
  int32_t *y = n->out[0]->data;
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    switch (n->in[0]->type) {
      case RLT_TYPE_FLOAT32:
        y[i] = bucket_f32(boundaries, ((const float *)x)[i]);
        break;
      case RLT_TYPE_FLOAT64:
        y[i] = bucket_f64(boundaries, ((const double *)x)[i]);
        break;
      case RLT_TYPE_INT32:
        y[i] = bucket_f32(boundaries, (float)((const int32_t *)x)[i]);
        break;
      default:
        y[i] = bucket_f32(boundaries, (float)((const int64_t *)x)[i]);
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_bucketize = {
    .name = "BUCKETIZE", .data_size = sizeof(rlt_vector), .max_version = 1, .prepare = prepare, .run = run};
