/* SPDX-License-Identifier: Apache-2.0
 * What reduce.c (which elements meet) and reduce_forms.c (what is done with them) share. */
#ifndef RLT_REDUCE_H
#define RLT_REDUCE_H

#include "common.h"
#include "quantize_math.h"

#define REDUCE_BLOCK 256

struct reduce_data;

/* One operator over one type. An accumulator takes 8 bytes. */
typedef struct reduce_form {
  int32_t op, type;
  void (*start)(void *sums, int64_t n);
  /* sums[i] takes in x[i]; sums[0] takes in all of x */
  void (*add_block)(const struct reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n);
  void (*add_run)(const struct reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n);
  void (*finish)(const struct reduce_data *k, const void *sums, void *y, int64_t n);
} reduce_form;

typedef struct reduce_data {
  const reduce_form *form;
  bool is_mean, inner_kept;
  bool is_scaled;                  /* REDUCE_PROD of small integers */
  int32_t kept_rank, reduced_rank; /* outer dimensions, the innermost merged one left out */
  int64_t kept_dims[RLT_MAX_RANK], kept_step[RLT_MAX_RANK];
  int64_t reduced_dims[RLT_MAX_RANK], reduced_step[RLT_MAX_RANK];
  int64_t inner_size;    /* of the innermost merged dimension */
  int64_t block, blocks; /* how it is cut when it is kept */
  int64_t run;           /* neighbouring elements summed at once when it is reduced, else 1 */
  int64_t reduced_count; /* elements that make one output */
  int64_t units;
  float scale, offset, lo, hi; /* quantized MEAN and SUM; of REDUCE_PROD what an empty product is, and the type */
  rlt_multiplier factor;       /* INT16 MEAN; quantized REDUCE_PROD */
  int32_t x_zero, y_zero;
} reduce_data;

/* NULL: there is none. */
const reduce_form *rlt_reduce_form(int32_t op, int32_t type);

#endif
