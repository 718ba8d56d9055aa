/* SPDX-License-Identifier: Apache-2.0
 * QUANTIZE (real to integer, and integer to integer of another scale) and DEQUANTIZE, per tensor or per channel. */
#include "common.h"
#include "quantize_math.h"

#define INTEGER_TYPES (RLT_BIT(RLT_TYPE_INT8) | RLT_BIT(RLT_TYPE_UINT8) | RLT_BIT(RLT_TYPE_INT16))

typedef struct quantize_data {
  int64_t inner; /* elements between one channel and the next; the whole tensor where there is one scale */
  int32_t channels;
  int32_t lo, hi;
  /* requantization */
  bool by_fraction; /* 8-bit fraction: ((x - in_zero) * fraction + 128) >> 8 */
  bool ties_up;     /* from 8 bits to 8 bits where the fraction does not do */
  int32_t fraction, in_zero, out_zero;
  rlt_multiplier multiplier;
  uint8_t table[256]; /* from 8 bits to 8 bits: output byte by input byte */
} quantize_data;

static void channel_layout(quantize_data *k, const rlt_tensor *shape, const rlt_tensor *quantized) {
  const rlt_quant *q = &quantized->def->quant;
  k->channels = q->n > 1 ? q->n : 1;
  k->inner = q->n > 1 ? rlt_span(shape, q->axis + 1, shape->rank) : (int64_t)shape->count;
}

/* Elements from `at` on that share one scale, up to `end`; tells their channel. */
static int64_t stretch(const quantize_data *k, int64_t at, int64_t end, int32_t *channel) {
  int64_t count = k->inner - at % k->inner;
  *channel = (int32_t)(at / k->inner % k->channels);
  return count < end - at ? count : end - at;
}

/* ---- QUANTIZE ---- */

static inline int32_t requantize(const quantize_data *k, int32_t x) {
  if (k->by_fraction)
    return rlt_clamp_i32((k->out_zero * 256 + 128 + (x - k->in_zero) * k->fraction) >> 8, k->lo, k->hi);
  int64_t centred = (int64_t)x - k->in_zero;
  int32_t narrow = centred > INT32_MAX ? INT32_MAX : (centred < INT32_MIN ? INT32_MIN : (int32_t)centred);
  int32_t scaled = (k->ties_up ? rlt_multiply_ties_up : rlt_multiply)(narrow, k->multiplier);
  int64_t y = (int64_t)scaled + k->out_zero;
  return y < k->lo ? k->lo : (y > k->hi ? k->hi : (int32_t)y);
}

static rlt_status prepare_requantize(rlt_prep *p, rlt_node *n) {
  quantize_data *k = n->data;
  const rlt_tensor *x = n->in[0], *y = n->out[0];
  RLT_TRY(rlt_check_type(p, x, INTEGER_TYPES | RLT_BIT(RLT_TYPE_INT32), "FLOAT32, INT8, UINT8, INT16 or INT32"));
  RLT_TRY(rlt_require_quantized(p, x));
  RLT_TRY(rlt_require_quantized(p, y));
  float ratio = rlt_scale(x, 0) / rlt_scale(y, 0);
  bool eight_bits = x->type == RLT_TYPE_INT8 || x->type == RLT_TYPE_UINT8;
  k->in_zero = rlt_zero_point(x, 0);
  k->out_zero = rlt_zero_point(y, 0);
  k->by_fraction = eight_bits && x->type == y->type && ratio >= 1.0f / 256 && ratio <= 128.0f;
  k->ties_up = eight_bits && y->type != RLT_TYPE_INT16;
  if (k->by_fraction) {
    k->fraction = rlt_f32_to_i32(256.0f * ratio);
  } else {
    k->multiplier = rlt_make_multiplier((double)rlt_scale(x, 0) / (double)rlt_scale(y, 0));
  }
  if (!eight_bits || y->type == RLT_TYPE_INT16) return RLT_OK;
  for (int32_t q = rlt_type_min(x->type); q <= rlt_type_max(x->type); q++)
    k->table[(uint8_t)q] = (uint8_t)requantize(k, q);
  return RLT_OK;
}

static rlt_status prepare_quantize(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  quantize_data *k = n->data;
  rlt_tensor *x = n->in[0], *y = n->out[0];
  uint64_t types = INTEGER_TYPES | (x->type == RLT_TYPE_INT16 ? RLT_BIT(RLT_TYPE_INT32) : 0);
  RLT_TRY(rlt_check_type(p, y, types, "INT8, UINT8, INT16 or, of INT16, INT32"));
  RLT_REQUIRE(p->err, y->def->quant.n > 0, RLT_BAD_MODEL, "%T has no scale to quantize to", y);
  RLT_TRY(rlt_set_shape(p, y, x->rank, x->dims));
  k->lo = y->type == RLT_TYPE_INT32 ? INT32_MIN : rlt_type_min(y->type);
  k->hi = y->type == RLT_TYPE_INT32 ? INT32_MAX : rlt_type_max(y->type);
  channel_layout(k, x, y);
  if (x->type != RLT_TYPE_FLOAT32) RLT_TRY(prepare_requantize(p, n));
  n->in_place = rlt_type_bytes(x->type) == rlt_type_bytes(y->type) ? 0 : -1;
  n->tiles = rlt_flat_tiles(x->count);
  n->loop = p->u->loops->name;
  return RLT_OK;
}

/* Of a tensor that the file holds as FLOAT16, LiteRT rounds the inverse scale to FLOAT16 for INT8, and adds the zero
 * point before it rounds for UINT8. */
static bool is_half(const rlt_node *n) { return n->def->tensors[n->def->inputs[0]].type == RLT_TYPE_FLOAT16; }

static float half_inverse(float inverse) {
  float half = rlt_f16_to_f32(rlt_f32_to_f16(inverse));
  return half < __builtin_inff() && half > 0.0f ? half : inverse;
}

static void half_to_u8(const float *x, uint8_t *y, int64_t n, float inverse, int32_t zero) {
  for (int64_t i = 0; i < n; i++) y[i] = (uint8_t)rlt_round_clamped(x[i] * inverse + (float)zero, 0.0f, 255.0f);
}

static void quantize_part(const rlt_loops *loops, const rlt_node *n, int64_t begin, int64_t end) {
  const quantize_data *k = n->data;
  const rlt_tensor *y = n->out[0];
  const float *x = n->in[0]->data;
  bool half = is_half(n);
  int32_t channel;
  for (int64_t at = begin, count; at < end; at += count) {
    count = stretch(k, at, end, &channel);
    float inverse = 1.0f / rlt_scale(y, channel);
    if (half && y->type == RLT_TYPE_INT8) inverse = half_inverse(inverse);
    int32_t zero = rlt_zero_point(y, channel);
    float lo = (float)(k->lo - zero), hi = (float)(k->hi - zero);
    switch (y->type) {
      case RLT_TYPE_INT8:
        loops->quantize_i8(x + at, (int8_t *)y->data + at, count, inverse, zero, lo, hi);
        break;
      case RLT_TYPE_UINT8:
        if (half) half_to_u8(x + at, (uint8_t *)y->data + at, count, inverse, zero);
        else loops->quantize_u8(x + at, (uint8_t *)y->data + at, count, inverse, zero, lo, hi);
        break;
      default:
        loops->quantize_i16(x + at, (int16_t *)y->data + at, count, inverse, zero, lo, hi);
        break;
    }
  }
}

#define REQUANTIZE_TO(in_type, out_type) \
  for (int64_t i = begin; i < end; i++) ((out_type *)to)[i] = (out_type)requantize(k, ((const in_type *)from)[i])
#define REQUANTIZE_FROM(in_type)       \
  switch (n->out[0]->type) {           \
    case RLT_TYPE_INT8:                \
      REQUANTIZE_TO(in_type, int8_t);  \
      break;                           \
    case RLT_TYPE_UINT8:               \
      REQUANTIZE_TO(in_type, uint8_t); \
      break;                           \
    case RLT_TYPE_INT32:               \
      REQUANTIZE_TO(in_type, int32_t); \
      break;                           \
    default:                           \
      REQUANTIZE_TO(in_type, int16_t); \
      break;                           \
  }

static rlt_status run_quantize(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const quantize_data *k = n->data;
  const void *from = n->in[0]->data;
  void *to = n->out[0]->data;
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  if (rlt_type_bytes(n->in[0]->type) == 1 && rlt_type_bytes(n->out[0]->type) == 1) {
    r->u->loops->look_up(k->table, (const uint8_t *)from + begin, (uint8_t *)to + begin, end - begin);
    return RLT_OK;
  }
  switch (n->in[0]->type) {
    case RLT_TYPE_FLOAT32:
      quantize_part(r->u->loops, n, begin, end);
      break;
    case RLT_TYPE_INT8:
      REQUANTIZE_FROM(int8_t) break;
    case RLT_TYPE_UINT8:
      REQUANTIZE_FROM(uint8_t) break;
    case RLT_TYPE_INT16:
      REQUANTIZE_FROM(int16_t) break;
    default:
      REQUANTIZE_FROM(int32_t) break;
  }
  return RLT_OK;
}

/* ---- DEQUANTIZE ---- */

static rlt_status prepare_dequantize(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  quantize_data *k = n->data;
  rlt_tensor *x = n->in[0], *y = n->out[0];
  RLT_TRY(rlt_check_type(p, x, INTEGER_TYPES | RLT_BIT(RLT_TYPE_FLOAT16), "INT8, UINT8, INT16 or FLOAT16"));
  RLT_TRY(rlt_check_type(p, y, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_REQUIRE(p->err, x->type == RLT_TYPE_FLOAT16 || x->def->quant.n > 0, RLT_BAD_MODEL,
              "%T has no scale to dequantize by", x);
  RLT_TRY(rlt_set_shape(p, y, x->rank, x->dims));
  channel_layout(k, x, x);
  n->tiles = rlt_flat_tiles(x->count);
  n->loop = p->u->loops->name;
  return RLT_OK;
}

static rlt_status run_dequantize(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const quantize_data *k = n->data;
  const rlt_tensor *x = n->in[0];
  float *y = n->out[0]->data;
  int64_t begin, end;
  rlt_part(n, (int64_t)x->count, first, last, &begin, &end);
  if (x->type == RLT_TYPE_FLOAT16) {
    r->u->loops->f16_to_f32((const uint16_t *)x->data + begin, y + begin, end - begin);
    return RLT_OK;
  }
  int32_t channel;
  for (int64_t at = begin, count; at < end; at += count) {
    count = stretch(k, at, end, &channel);
    float scale = rlt_scale(x, channel);
    int32_t zero = rlt_zero_point(x, channel);
    switch (x->type) {
      case RLT_TYPE_INT8:
        r->u->loops->dequantize_i8((const int8_t *)x->data + at, y + at, count, zero, scale);
        break;
      case RLT_TYPE_UINT8:
        r->u->loops->dequantize_u8((const uint8_t *)x->data + at, y + at, count, zero, scale);
        break;
      default:
        r->u->loops->dequantize_i16((const int16_t *)x->data + at, y + at, count, zero, scale);
        break;
    }
  }
  return RLT_OK;
}

const rlt_kernel rlt_kernel_quantize = {"QUANTIZE", sizeof(quantize_data), 6, false, prepare_quantize,
                                        NULL,       run_quantize};
const rlt_kernel rlt_kernel_dequantize = {"DEQUANTIZE", sizeof(quantize_data), 9, false, prepare_dequantize,
                                          NULL,         run_dequantize};
