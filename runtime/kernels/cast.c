/* SPDX-License-Identifier: Apache-2.0
 * CAST between number types. Real to integer truncates and saturates, NaN gives 0; integer to narrower integer keeps
 * the low bits; anything to BOOL tells whether it differs from zero. */
#include "common.h"
#include "quantize_math.h"

#define CAST_TYPES                                                                                              \
  (RLT_BIT(RLT_TYPE_FLOAT32) | RLT_BIT(RLT_TYPE_FLOAT16) | RLT_BIT(RLT_TYPE_FLOAT64) | RLT_BIT(RLT_TYPE_INT8) | \
   RLT_BIT(RLT_TYPE_UINT8) | RLT_BIT(RLT_TYPE_INT16) | RLT_BIT(RLT_TYPE_UINT16) | RLT_BIT(RLT_TYPE_INT32) |     \
   RLT_BIT(RLT_TYPE_UINT32) | RLT_BIT(RLT_TYPE_INT64) | RLT_BIT(RLT_TYPE_BOOL) | RLT_BIT(RLT_TYPE_COMPLEX64))
#define CAST_NAMES "FLOAT32, FLOAT16, FLOAT64, INT8, UINT8, INT16, UINT16, INT32, UINT32, INT64, BOOL or COMPLEX64"

static bool is_real(int32_t type) {
  return type == RLT_TYPE_FLOAT32 || type == RLT_TYPE_FLOAT16 || type == RLT_TYPE_FLOAT64 ||
         type == RLT_TYPE_BFLOAT16 || type == RLT_TYPE_COMPLEX64;
}

static double load_real(int32_t type, const void *x, int64_t i) {
  switch (type) {
    case RLT_TYPE_FLOAT32:
      return (double)((const float *)x)[i];
    case RLT_TYPE_FLOAT64:
      return ((const double *)x)[i];
    case RLT_TYPE_BFLOAT16:
      return (double)rlt_bits_f32((uint32_t)((const uint16_t *)x)[i] << 16);
    case RLT_TYPE_COMPLEX64: /* the real part */
      return (double)((const float *)x)[2 * i];
    default:
      return (double)rlt_f16_to_f32(((const uint16_t *)x)[i]);
  }
}

static int64_t load_int(int32_t type, const void *x, int64_t i) {
  switch (type) {
    case RLT_TYPE_INT8:
      return ((const int8_t *)x)[i];
    case RLT_TYPE_UINT8:
      return ((const uint8_t *)x)[i];
    case RLT_TYPE_BOOL:
      return ((const uint8_t *)x)[i] != 0;
    case RLT_TYPE_INT16:
      return ((const int16_t *)x)[i];
    case RLT_TYPE_UINT16:
      return ((const uint16_t *)x)[i];
    case RLT_TYPE_INT32:
      return ((const int32_t *)x)[i];
    case RLT_TYPE_UINT32:
      return ((const uint32_t *)x)[i];
    default:
      return ((const int64_t *)x)[i];
  }
}

static void store_int(int32_t type, void *y, int64_t i, int64_t v) {
  switch (type) {
    case RLT_TYPE_INT8:
    case RLT_TYPE_UINT8:
      ((uint8_t *)y)[i] = (uint8_t)v;
      break;
    case RLT_TYPE_BOOL:
      ((uint8_t *)y)[i] = v != 0;
      break;
    case RLT_TYPE_INT16:
    case RLT_TYPE_UINT16:
      ((uint16_t *)y)[i] = (uint16_t)v;
      break;
    case RLT_TYPE_INT32:
    case RLT_TYPE_UINT32:
      ((uint32_t *)y)[i] = (uint32_t)v;
      break;
    case RLT_TYPE_INT64:
      ((int64_t *)y)[i] = v;
      break;
    case RLT_TYPE_FLOAT32:
      ((float *)y)[i] = (float)v;
      break;
    case RLT_TYPE_FLOAT64:
      ((double *)y)[i] = (double)v;
      break;
    case RLT_TYPE_COMPLEX64:
      ((float *)y)[2 * i] = (float)v;
      ((float *)y)[2 * i + 1] = 0.0f;
      break;
    default:
      ((uint16_t *)y)[i] = rlt_f32_to_f16((float)v);
      break;
  }
}

static void store_real(int32_t type, void *y, int64_t i, double v) {
  const double highest[] = {127, 255, 32767, 65535, 2147483647, 4294967295, 9223372036854774784.0};
  const double lowest[] = {-128, 0, -32768, 0, -2147483648.0, 0, -9223372036854775808.0};
  int32_t bound;
  switch (type) {
    case RLT_TYPE_FLOAT32:
      ((float *)y)[i] = (float)v;
      return;
    case RLT_TYPE_FLOAT64:
      ((double *)y)[i] = v;
      return;
    case RLT_TYPE_COMPLEX64:
      ((float *)y)[2 * i] = (float)v;
      ((float *)y)[2 * i + 1] = 0.0f;
      return;
    case RLT_TYPE_FLOAT16:
      ((uint16_t *)y)[i] = rlt_f32_to_f16((float)v);
      return;
    case RLT_TYPE_BOOL:
      ((uint8_t *)y)[i] = v != 0;
      return;
    case RLT_TYPE_INT8:
      bound = 0;
      break;
    case RLT_TYPE_UINT8:
      bound = 1;
      break;
    case RLT_TYPE_INT16:
      bound = 2;
      break;
    case RLT_TYPE_UINT16:
      bound = 3;
      break;
    case RLT_TYPE_INT32:
      bound = 4;
      break;
    case RLT_TYPE_UINT32:
      bound = 5;
      break;
    default:
      bound = 6;
      break;
  }
  v = v == v ? v : 0.0;
  v = v > highest[bound] ? highest[bound] : (v < lowest[bound] ? lowest[bound] : v);
  store_int(type, y, i, (int64_t)v);
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  RLT_TRY(rlt_check_type(p, n->in[0], CAST_TYPES | RLT_BIT(RLT_TYPE_BFLOAT16), CAST_NAMES " (or BFLOAT16)"));
  RLT_TRY(rlt_check_type(p, n->out[0], CAST_TYPES, CAST_NAMES));
  n->tiles = rlt_flat_tiles(n->in[0]->count);
  n->in_place = n->in[0]->type == n->out[0]->type ? 0 : -1;
  return rlt_set_shape(p, n->out[0], n->in[0]->rank, n->in[0]->dims);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  int32_t from = n->in[0]->type, to = n->out[0]->type;
  const void *x = n->in[0]->data;
  void *y = n->out[0]->data;
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  if (from == RLT_TYPE_FLOAT16 && to == RLT_TYPE_FLOAT32) {
    for (int64_t i = begin; i < end; i++) ((float *)y)[i] = rlt_f16_to_f32(((const uint16_t *)x)[i]);
  } else if (from == RLT_TYPE_UINT8 && to == RLT_TYPE_FLOAT32) {
    for (int64_t i = begin; i < end; i++) ((float *)y)[i] = (float)((const uint8_t *)x)[i];
  } else if (from == to) {
    uint64_t bytes = rlt_type_bytes(from);
    rlt_copy((char *)y + (uint64_t)begin * bytes, (const char *)x + (uint64_t)begin * bytes,
             (uint64_t)(end - begin) * bytes);
  } else if (is_real(from)) {
    for (int64_t i = begin; i < end; i++) store_real(to, y, i, load_real(from, x, i));
  } else {
    for (int64_t i = begin; i < end; i++) store_int(to, y, i, load_int(from, x, i));
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_cast = {"CAST", 0, 9, false, prepare, NULL, run};
