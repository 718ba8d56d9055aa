/* SPDX-License-Identifier: Apache-2.0
 * Decodes and verifies one tensor of the file. */
#include "internal.h"
#include "strings.h"

static rlt_status broken(rlt_reading *r, const char *what) {
  return rlt_fail(r->err, RLT_BAD_MODEL, "its %s lies outside the file; the file is cut short or corrupt", what);
}

rlt_status rlt_read_buffer(rlt_reading *r, uint32_t index, const uint8_t **data, uint64_t *bytes) {
  rlt_table buffer;
  rlt_vector inside;
  *data = NULL;
  *bytes = 0;
  if (index == 0 && r->buffers.count == 0) return RLT_OK;
  RLT_REQUIRE(r->err, index < r->buffers.count, RLT_BAD_MODEL, "it names buffer %u, the file has %u", (uint64_t)index,
              (uint64_t)r->buffers.count);
  if (!rlt_fb_table_at(r->file, &r->buffers, index, &buffer)) return broken(r, "buffer");
  uint64_t offset = rlt_fb_u64(&buffer, RLT_SLOT_Buffer_offset, 0), size = rlt_fb_u64(&buffer, RLT_SLOT_Buffer_size, 0);
  if (offset > 1) {
    if (offset > r->file.size || size > r->file.size - offset) return broken(r, "buffer");
    *data = size ? r->file.data + offset : NULL;
    *bytes = size;
    return RLT_OK;
  }
  if (!rlt_fb_vector(&buffer, RLT_SLOT_Buffer_data, 1, &inside)) return broken(r, "buffer");
  *data = inside.count ? inside.data : NULL;
  *bytes = inside.count;
  return RLT_OK;
}

/* Whether values of `type` at `data` must be copied before they can be read as an array. */
static bool misaligned(const uint8_t *data, int32_t type) {
  uint32_t element = rlt_type_bytes(type);
  return element > 1 && (uintptr_t)data % (element < 8 ? element : 8) != 0;
}

bool rlt_is_sparse(const rlt_table *tensor) {
  rlt_table sparsity;
  return rlt_fb_table(tensor, RLT_SLOT_Tensor_sparsity, &sparsity) && sparsity.pos;
}

/* Of the shape that the file declares; 0 for one that is refused later. */
static uint64_t dense_bytes(const rlt_table *tensor) {
  rlt_vector shape;
  rlt_size size;
  int32_t dims[RLT_MAX_RANK];
  if (!rlt_fb_vector(tensor, RLT_SLOT_Tensor_shape, 4, &shape) || shape.count > RLT_MAX_RANK) return 0;
  for (uint32_t i = 0; i < shape.count; i++) dims[i] = rlt_vec_i32(&shape, i);
  return rlt_tensor_size(rlt_fb_i8(tensor, RLT_SLOT_Tensor_type, 0), (int32_t)shape.count, dims, &size) ? size.bytes
                                                                                                        : 0;
}

uint64_t rlt_constant_copy_bytes(rlt_reading *r, const rlt_table *tensor) {
  const uint8_t *data;
  uint64_t bytes;
  uint32_t index = rlt_fb_u32(tensor, RLT_SLOT_Tensor_buffer, 0);
  if (rlt_is_sparse(tensor)) return dense_bytes(tensor);
  if (rlt_read_buffer(r, index, &data, &bytes) != RLT_OK || !data) return 0;
  if (rlt_holds_strings(tensor)) return rlt_string_constant_bytes(dense_bytes(tensor), bytes);
  return misaligned(data, rlt_fb_i8(tensor, RLT_SLOT_Tensor_type, 0)) ? bytes : 0;
}

static rlt_status read_shape(rlt_reading *r, const rlt_table *table, rlt_tensor_def *out) {
  rlt_vector shape, signature;
  if (!rlt_fb_vector(table, RLT_SLOT_Tensor_shape, 4, &shape)) return broken(r, "shape");
  if (!rlt_fb_vector(table, RLT_SLOT_Tensor_shape_signature, 4, &signature)) return broken(r, "shape signature");
  RLT_REQUIRE(r->err, shape.count <= RLT_MAX_RANK, RLT_UNSUPPORTED, "it has %u dimensions; this build allows %d",
              (uint64_t)shape.count, (int32_t)RLT_MAX_RANK);
  RLT_REQUIRE(r->err, signature.count == 0 || signature.count == shape.count, RLT_BAD_MODEL,
              "its shape has %u dimensions, its shape signature %u", (uint64_t)shape.count, (uint64_t)signature.count);
  out->rank = (int32_t)shape.count;
  for (uint32_t i = 0; i < shape.count; i++) {
    out->dims[i] = rlt_vec_i32(&shape, i);
    out->signature[i] = signature.count ? rlt_vec_i32(&signature, i) : out->dims[i];
    RLT_REQUIRE(r->err, out->dims[i] >= 0, RLT_BAD_MODEL, "dimension %d is %d", (int32_t)i, out->dims[i]);
    RLT_REQUIRE(r->err, out->signature[i] >= -1, RLT_BAD_MODEL, "dimension %d of its shape signature is %d", (int32_t)i,
                out->signature[i]);
  }
  rlt_size size;
  RLT_REQUIRE(r->err, rlt_tensor_size(out->type, out->rank, out->dims, &size), RLT_BAD_MODEL,
              "its shape has more elements than can be addressed");
  RLT_REQUIRE(r->err, size.extent <= r->limits.max_tensor_bytes, RLT_LIMIT,
              "it has %u bytes, the limit is %u (rlt_limits.max_tensor_bytes)", size.extent,
              r->limits.max_tensor_bytes);
  out->bytes = size.bytes;
  return RLT_OK;
}

/* Range a zero point of the type may lie in. */
static void zero_point_range(int32_t type, int64_t *lo, int64_t *hi) {
  switch (type) {
    case RLT_TYPE_INT8:
      *lo = -128, *hi = 127;
      break;
    case RLT_TYPE_UINT8:
      *lo = 0, *hi = 255;
      break;
    case RLT_TYPE_INT16:
      *lo = -32768, *hi = 32767;
      break;
    case RLT_TYPE_UINT16:
      *lo = 0, *hi = 65535;
      break;
    case RLT_TYPE_INT4:
      *lo = -8, *hi = 7;
      break;
    case RLT_TYPE_UINT4:
      *lo = 0, *hi = 15;
      break;
    case RLT_TYPE_INT2:
      *lo = -2, *hi = 1;
      break;
    default:
      *lo = INT32_MIN, *hi = INT32_MAX;
      break;
  }
}

static bool is_positive_finite(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits > 0 && bits < 0x7f800000u;
}

static rlt_status read_quantization(rlt_reading *r, const rlt_table *table, rlt_tensor_def *out) {
  rlt_table q;
  rlt_vector scales, zeros;
  if (!rlt_fb_table(table, RLT_SLOT_Tensor_quantization, &q) ||
      !rlt_fb_vector(&q, RLT_SLOT_QuantizationParameters_scale, 4, &scales) ||
      !rlt_fb_vector(&q, RLT_SLOT_QuantizationParameters_zero_point, 8, &zeros)) {
    return broken(r, "quantization");
  }
  RLT_REQUIRE(r->err, rlt_fb_u8(&q, RLT_SLOT_QuantizationParameters_details_type, 0) == 0, RLT_UNSUPPORTED,
              "its custom or blockwise quantization is not supported; quantize per tensor or per axis");
  /* Old converters wrote one scale of 0 for "not quantized". */
  if (scales.count == 0 || (scales.count == 1 && rlt_vec_f32(&scales, 0) == 0.0f)) return RLT_OK;

  int32_t axis = rlt_fb_i32(&q, RLT_SLOT_QuantizationParameters_quantized_dimension, 0);
  if (scales.count > 1) {
    RLT_REQUIRE(r->err, axis >= 0 && axis < out->rank, RLT_BAD_MODEL, "its quantized dimension %d is not among its %d",
                axis, out->rank);
    RLT_REQUIRE(r->err, (uint32_t)out->dims[axis] == scales.count, RLT_BAD_MODEL,
                "it has %u scales, but dimension %d, which they belong to, has size %d", (uint64_t)scales.count, axis,
                out->dims[axis]);
  }
  RLT_REQUIRE(r->err, zeros.count == 0 || zeros.count == scales.count, RLT_BAD_MODEL,
              "it has %u scales and %u zero points", (uint64_t)scales.count, (uint64_t)zeros.count);
  int64_t lo, hi;
  zero_point_range(out->type, &lo, &hi);
  for (uint32_t i = 0; i < scales.count; i++) {
    RLT_REQUIRE(r->err, is_positive_finite(rlt_vec_f32(&scales, i)), RLT_BAD_MODEL,
                "scale %d is not a positive, finite number", (int32_t)i);
    int64_t zero = zeros.count ? rlt_vec_i64(&zeros, i) : 0;
    RLT_REQUIRE(r->err, zero >= lo && zero <= hi, RLT_BAD_MODEL, "zero point %d does not fit in %t", (int32_t)i,
                out->type);
  }
  out->quant = (rlt_quant){(int32_t)scales.count, scales.count > 1 ? axis : 0, scales, zeros};
  return RLT_OK;
}

static rlt_status read_sparse(rlt_reading *r, const rlt_table *table, const uint8_t *data, uint64_t bytes,
                              rlt_tensor_def *out) {
  rlt_table sparsity;
  bool plain = rlt_type_bytes(out->type) > 0 && out->type != RLT_TYPE_STRING;
  RLT_REQUIRE(r->err, plain && !out->is_variable && out->rank > 0, RLT_UNSUPPORTED,
              "it is sparse and of type %t, or a variable, or a scalar; convert with dense weights", out->type);
  uint8_t *dense = rlt_take(&r->block, out->bytes);
  if (out->bytes > 0) __builtin_memset(dense, 0, (size_t)out->bytes);
  out->data = dense;
  return rlt_fb_table(table, RLT_SLOT_Tensor_sparsity, &sparsity) ? rlt_densify(r, &sparsity, data, bytes, out, dense)
                                                                  : broken(r, "sparsity");
}

static rlt_status read_constant(rlt_reading *r, const rlt_table *table, rlt_tensor_def *out) {
  const uint8_t *data;
  uint64_t bytes;
  RLT_TRY(rlt_read_buffer(r, rlt_fb_u32(table, RLT_SLOT_Tensor_buffer, 0), &data, &bytes));
  if (rlt_is_sparse(table)) return read_sparse(r, table, data, bytes, out);
  if (!data) return RLT_OK;
  RLT_REQUIRE(r->err, !out->is_variable, RLT_UNSUPPORTED, "it is a variable with an initial value in the file");
  if (out->type == RLT_TYPE_STRING) return rlt_read_strings(r, data, bytes, out);
  if (rlt_type_bytes(out->type) || out->bytes) {
    RLT_REQUIRE(r->err, bytes == out->bytes, RLT_BAD_MODEL, "its shape needs %u bytes, its buffer has %u", out->bytes,
                bytes);
  }
  out->bytes = bytes;
  out->data = data;
  if (misaligned(data, out->type)) {
    uint8_t *copy = rlt_take(&r->block, bytes);
    __builtin_memcpy(copy, data, (size_t)bytes);
    out->data = copy;
  }
  return RLT_OK;
}

rlt_status rlt_read_tensor(rlt_reading *r, const rlt_table *table, int32_t index, rlt_tensor_def *out) {
  rlt_table sparsity;
  *out = (rlt_tensor_def){.name = "", .producer = -1};
  rlt_status status = RLT_OK;
  if (!rlt_fb_string(table, RLT_SLOT_Tensor_name, &out->name)) status = broken(r, "name");
  out->type = rlt_fb_i8(table, RLT_SLOT_Tensor_type, RLT_DEFAULT_Tensor_type);
  out->is_variable = rlt_fb_bool(table, RLT_SLOT_Tensor_is_variable, false);
  if (status == RLT_OK && (out->type < 0 || out->type >= RLT_TYPE_COUNT))
    status = rlt_fail(r->err, RLT_UNSUPPORTED, "its type has number %d, which is newer than this runtime", out->type);
  if (status == RLT_OK) status = read_shape(r, table, out);
  if (status == RLT_OK && !rlt_fb_table(table, RLT_SLOT_Tensor_sparsity, &sparsity)) status = broken(r, "sparsity");
  if (status == RLT_OK && rlt_fb_u32(table, RLT_SLOT_Tensor_external_buffer, 0))
    status = rlt_fail(r->err, RLT_UNSUPPORTED, "its values lie in another file; put all weights into the model");
  if (status == RLT_OK) status = read_quantization(r, table, out);
  if (status == RLT_OK) status = read_constant(r, table, out);
  return status == RLT_OK ? RLT_OK : rlt_at_tensor(r->err, out->name, r->subgraph, index);
}
