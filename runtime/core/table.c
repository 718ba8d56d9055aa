/* SPDX-License-Identifier: Apache-2.0
 * Which operator has which kernel, and the facts about operators and types that come with the schema. */
#include "graph.h"
#include "internal.h"

#ifndef RLT_KERNELS_DEF
#define RLT_KERNELS_DEF "kernels.def"
#endif

#define RLT_KERNEL(op, symbol) extern const rlt_kernel symbol;
#define RLT_CUSTOM_KERNEL(name, symbol) extern const rlt_kernel symbol;
#define RLT_COMPOSITE_KERNEL(name, symbol) extern const rlt_kernel symbol;
#include RLT_KERNELS_DEF
#undef RLT_KERNEL
#undef RLT_CUSTOM_KERNEL
#undef RLT_COMPOSITE_KERNEL
#define RLT_CUSTOM_KERNEL(name, symbol)
#define RLT_COMPOSITE_KERNEL(name, symbol)

const rlt_kernel *rlt_find_kernel(int32_t op) {
  switch (op) {
#define RLT_KERNEL(op, symbol) \
  case RLT_OP_##op:            \
    return &symbol;
#include RLT_KERNELS_DEF
#undef RLT_KERNEL
    default:
      return NULL;
  }
}

#undef RLT_CUSTOM_KERNEL

bool rlt_same_text(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

const rlt_kernel *rlt_find_custom_kernel(const char *name) {
#define RLT_KERNEL(op, symbol)
#define RLT_CUSTOM_KERNEL(custom_code, symbol) \
  if (rlt_same_text(name, custom_code)) return &symbol;
#include RLT_KERNELS_DEF
#undef RLT_CUSTOM_KERNEL
#undef RLT_COMPOSITE_KERNEL
  (void)name;
  return NULL;
}

const rlt_kernel *rlt_find_composite_kernel(const char *name, int32_t version) {
#define RLT_CUSTOM_KERNEL(custom_code, symbol)
#define RLT_COMPOSITE_KERNEL(composite, symbol) \
  if (rlt_same_text(name, composite) && version == symbol.max_version) return &symbol;
#include RLT_KERNELS_DEF
#undef RLT_KERNEL
#undef RLT_CUSTOM_KERNEL
#undef RLT_COMPOSITE_KERNEL
  (void)name, (void)version;
  return NULL;
}

const char *rlt_supported_op(int32_t i) {
  for (int32_t op = 0; op < RLT_OP_COUNT; op++)
    if (rlt_find_kernel(op) && i-- == 0) return rlt_op_name(op);
  return NULL;
}

/* Names in one text and their places in it, because 200 pointers would be 200 relocations. */
static const char op_names[] =
#define ROW(name, tag, tag2) #name "\0"
    RLT_FOR_EACH_OP(ROW)
#undef ROW
    ;

enum {
#define ROW(name, tag, tag2) AT_##name, END_##name = AT_##name + sizeof #name - 1,
  RLT_FOR_EACH_OP(ROW)
#undef ROW
};

typedef struct op_facts {
  uint16_t name; /* place in op_names */
  uint8_t tag, tag2;
} op_facts;

static const op_facts ops[] = {
#define ROW(name, tag, tag2) {AT_##name, tag, tag2},
    RLT_FOR_EACH_OP(ROW)
#undef ROW
};

const char *rlt_op_name(int32_t op) { return op >= 0 && op < RLT_OP_COUNT ? op_names + ops[op].name : NULL; }
uint8_t rlt_op_options_tag(int32_t op) { return ops[op].tag; }
uint8_t rlt_op_options_tag2(int32_t op) { return ops[op].tag2; }

bool rlt_op_grows_with_inputs(int32_t op) {
  switch (op) {
    case RLT_OP_ABS:
    case RLT_OP_CAST:
    case RLT_OP_CEIL:
    case RLT_OP_CONCATENATION:
    case RLT_OP_DEQUANTIZE:
    case RLT_OP_ELU:
    case RLT_OP_EXP:
    case RLT_OP_FLOOR:
    case RLT_OP_FULLY_CONNECTED:
    case RLT_OP_GATHER:
    case RLT_OP_GATHER_ND:
    case RLT_OP_GELU:
    case RLT_OP_HARD_SWISH:
    case RLT_OP_LEAKY_RELU:
    case RLT_OP_LOG:
    case RLT_OP_LOGICAL_NOT:
    case RLT_OP_LOGISTIC:
    case RLT_OP_LOG_SOFTMAX:
    case RLT_OP_MEAN:
    case RLT_OP_NEG:
    case RLT_OP_PACK:
    case RLT_OP_PAD:
    case RLT_OP_QUANTIZE:
    case RLT_OP_REDUCE_ALL:
    case RLT_OP_REDUCE_ANY:
    case RLT_OP_REDUCE_MAX:
    case RLT_OP_REDUCE_MIN:
    case RLT_OP_REDUCE_PROD:
    case RLT_OP_RELU:
    case RLT_OP_RELU6:
    case RLT_OP_ROUND:
    case RLT_OP_RSQRT:
    case RLT_OP_SOFTMAX:
    case RLT_OP_SQRT:
    case RLT_OP_SQUARE:
    case RLT_OP_SUM:
    case RLT_OP_TANH:
    case RLT_OP_TRANSPOSE:
    case RLT_OP_ZEROS_LIKE:
      return true;
    default:
      return false;
  }
}

const char *rlt_type_name(int32_t type) {
  static const char *const names[] = {
#define ROW(name) #name,
      RLT_FOR_EACH_TYPE(ROW)
#undef ROW
  };
  return type >= 0 && type < RLT_TYPE_COUNT ? names[type] : "an unknown type";
}

uint32_t rlt_type_bytes(int32_t type) {
  switch (type) {
    case RLT_TYPE_BOOL:
    case RLT_TYPE_INT8:
    case RLT_TYPE_UINT8:
    case RLT_TYPE_FLOAT8_E4M3FN:
    case RLT_TYPE_FLOAT8_E5M2:
      return 1;
    case RLT_TYPE_INT16:
    case RLT_TYPE_UINT16:
    case RLT_TYPE_FLOAT16:
    case RLT_TYPE_BFLOAT16:
      return 2;
    case RLT_TYPE_FLOAT32:
    case RLT_TYPE_INT32:
    case RLT_TYPE_UINT32:
    case RLT_TYPE_RESOURCE: /* the number of a variable or table */
      return 4;
    case RLT_TYPE_FLOAT64:
    case RLT_TYPE_INT64:
    case RLT_TYPE_UINT64:
    case RLT_TYPE_COMPLEX64:
      return 8;
    case RLT_TYPE_COMPLEX128:
    case RLT_TYPE_STRING: /* an rlt_string */
      return 16;
    default:
      return 0;
  }
}

/* Elements that share one byte; 1 for types of whole bytes. */
static uint32_t elements_per_byte(int32_t type) {
  switch (type) {
    case RLT_TYPE_INT4:
    case RLT_TYPE_UINT4:
      return 2;
    case RLT_TYPE_INT2:
      return 4;
    default:
      return 1;
  }
}

bool rlt_tensor_size(int32_t type, int32_t rank, const int32_t *dims, rlt_size *out) {
  uint64_t n = 1;
  bool empty = false;
  for (int32_t i = 0; i < rank; i++) {
    if (dims[i] < 0) return false;
    empty = empty || dims[i] == 0;
    if (dims[i] > 0 && n > UINT64_MAX / 32 / (uint32_t)dims[i]) return false;
    if (dims[i] > 0) n *= (uint32_t)dims[i];
  }
  uint32_t packed = elements_per_byte(type), bytes = rlt_type_bytes(type);
  out->extent = packed > 1 ? (n + packed - 1) / packed : n * bytes;
  out->count = empty ? 0 : n;
  out->bytes = empty ? 0 : out->extent;
  if (packed == 1 && bytes == 0) out->extent = n; /* at least a byte each, whatever they are */
  return true;
}
