/* SPDX-License-Identifier: Apache-2.0
 * Weights as they lie in the file, read element by element while they are packed: INT8, UINT8 (less 128, so that it is
 * int8 too), INT4 (two to a byte, the first in the low half), INT2, FLOAT32 and FLOAT16. */
#ifndef RLT_WEIGHTS_H
#define RLT_WEIGHTS_H

#include "../core/graph.h"
#include "../core/math.h"

typedef struct rlt_weights {
  const void *data;
  int32_t type;
} rlt_weights;

static inline rlt_weights rlt_weights_of(const rlt_tensor *t) { return (rlt_weights){t->data, t->type}; }

/* Element i of integer weights, as int8. */
static inline int8_t rlt_weight_s8(rlt_weights w, uint64_t i) {
  switch (w.type) {
    case RLT_TYPE_UINT8:
      return (int8_t)(((const uint8_t *)w.data)[i] - 128);
    case RLT_TYPE_INT4: {
      uint32_t pair = ((const uint8_t *)w.data)[i / 2], nibble = i % 2 ? pair >> 4 : pair & 15u;
      return (int8_t)((int32_t)(nibble ^ 8u) - 8);
    }
    case RLT_TYPE_INT2: {
      uint32_t four = ((const uint8_t *)w.data)[i / 4], field = four >> (i % 4 * 2) & 3u;
      return (int8_t)((int32_t)(field ^ 2u) - 2);
    }
    default:
      return ((const int8_t *)w.data)[i];
  }
}

/* Element i of real weights. */
static inline float rlt_weight_f32(rlt_weights w, uint64_t i) {
  if (w.type == RLT_TYPE_FLOAT16) return rlt_f16_to_f32(((const uint16_t *)w.data)[i]);
  return ((const float *)w.data)[i];
}

/* Value c of a bias, INT32 or INT64; NULL: none. */
static inline int64_t rlt_bias_at(const rlt_tensor *bias, int32_t c) {
  if (!bias) return 0;
  return bias->type == RLT_TYPE_INT64 ? ((const int64_t *)bias->data)[c] : ((const int32_t *)bias->data)[c];
}

/* Zero point of output channel c among what rlt_weight_s8 gives. */
static inline int32_t rlt_weight_zero(const rlt_tensor *t, int32_t c) {
  int32_t zero = rlt_zero_point(t, t->def->quant.zeros.count > 1 ? c : 0);
  return t->type == RLT_TYPE_UINT8 ? zero - 128 : zero;
}

#endif
