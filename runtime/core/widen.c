/* SPDX-License-Identifier: Apache-2.0
 * Operators on types that have no loops of their own: FLOAT16 is computed as FLOAT32 and rounded once, to nearest even;
 * integers of less than a byte become INT8 or UINT8 and saturate on their way back. The operator's own kernel runs on
 * widened copies of its tensors, which lie in scratch, constants that it packs beside what it packs. */
#include "widen.h"
#include "../simd/loops.h"
#include "../simd/ukernels.h"
#include "math.h"

#define NONE UINT64_MAX

/* One tensor of the node as the kernel sees it. */
typedef struct wide_tensor {
  rlt_tensor_def def;
  rlt_tensor tensor;
  rlt_tensor *narrow;
  uint64_t at; /* in scratch, or behind what the kernel packs; NONE: the tensor itself is used */
  bool is_packed;
} wide_tensor;

/* Behind it lie the tensors, inputs first, links to them, and the kernel's own data. */
typedef struct widen_data {
  rlt_node node; /* as the kernel sees it */
  wide_tensor *wide;
  uint64_t at_constants, at_scratch; /* behind the kernel's own packed bytes and scratch */
} widen_data;

/* ---- which ---- */

#define BIT(type) ((uint64_t)1 << (type))
#define HALVES BIT(RLT_TYPE_FLOAT16)
#define NIBBLES (BIT(RLT_TYPE_INT4) | BIT(RLT_TYPE_UINT4))
#define PACKED_TYPES (NIBBLES | BIT(RLT_TYPE_INT2))

typedef struct widen_row {
  int32_t op;
  uint64_t types;  /* that the kernel does not take itself */
  uint32_t halves; /* inputs it takes as FLOAT16 all the same */
} widen_row;

static const widen_row ROWS[] = {
    {RLT_OP_ATAN2, HALVES, 0},
    {RLT_OP_AVERAGE_POOL_2D, HALVES, 0},
    {RLT_OP_BATCH_MATMUL, HALVES, 0},
    {RLT_OP_BROADCAST_TO, PACKED_TYPES, 0},
    {RLT_OP_CAST, PACKED_TYPES, 0},
    {RLT_OP_CONCATENATION, PACKED_TYPES, 0},
    {RLT_OP_CONV_2D, HALVES, RLT_INPUT_BIT(1)},
    {RLT_OP_DEPTHWISE_CONV_2D, HALVES, RLT_INPUT_BIT(1)},
    {RLT_OP_DEQUANTIZE, HALVES | PACKED_TYPES, RLT_INPUT_BIT(0)},
    {RLT_OP_DILATE, PACKED_TYPES, 0},
    {RLT_OP_DYNAMIC_UPDATE_SLICE, PACKED_TYPES, 0},
    {RLT_OP_EMBEDDING_LOOKUP, PACKED_TYPES, 0},
    {RLT_OP_FAKE_QUANT, HALVES, 0},
    {RLT_OP_FULLY_CONNECTED, HALVES, RLT_INPUT_BIT(1)},
    {RLT_OP_GATHER, PACKED_TYPES, 0},
    {RLT_OP_GREATER, BIT(RLT_TYPE_BFLOAT16), 0},
    {RLT_OP_LESS, BIT(RLT_TYPE_BFLOAT16), 0},
    {RLT_OP_MATRIX_DIAG, PACKED_TYPES, 0},
    {RLT_OP_MATRIX_SET_DIAG, PACKED_TYPES, 0},
    {RLT_OP_QUANTIZE, HALVES | PACKED_TYPES, 0},
    {RLT_OP_SLICE, PACKED_TYPES, 0},
    {RLT_OP_SOFTMAX, HALVES, 0},
    {RLT_OP_TRANSPOSE, PACKED_TYPES, 0},
    {RLT_OP_TRANSPOSE_CONV, HALVES, 0},
};

static const widen_row *row_of(int32_t op) {
  for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++)
    if (ROWS[i].op == op) return &ROWS[i];
  return NULL;
}

static bool is_widened(const widen_row *row, int32_t i, int32_t type) {
  bool itself = type == RLT_TYPE_FLOAT16 && i < 32 && (row->halves >> i & 1u);
  return !itself && (row->types & BIT(type)) != 0;
}

/* Rows of INT4 become FLOAT32 by a loop of EMBEDDING_LOOKUP's own. */
static bool is_int4_embedding(const rlt_node_def *n) {
  return n->op == RLT_OP_EMBEDDING_LOOKUP && n->n_inputs == 2 && n->inputs[1] >= 0 && n->n_outputs == 1 &&
         n->tensors[n->inputs[1]].type == RLT_TYPE_INT4 && n->tensors[n->outputs[0]].type == RLT_TYPE_FLOAT32;
}

static bool has_widened(const rlt_node_def *n) {
  const widen_row *row = row_of(n->op);
  bool found = false;
  if (is_int4_embedding(n)) return false;
  for (int32_t i = 0; row && i < n->n_inputs; i++)
    found = found || (n->inputs[i] >= 0 && is_widened(row, i, n->tensors[n->inputs[i]].type));
  for (int32_t i = 0; row && i < n->n_outputs; i++)
    found = found || (row->types & BIT(n->tensors[n->outputs[i]].type)) != 0;
  return found;
}

static int32_t wide_type(int32_t type) {
  if (type == RLT_TYPE_FLOAT16 || type == RLT_TYPE_BFLOAT16) return RLT_TYPE_FLOAT32;
  return type == RLT_TYPE_UINT4 ? RLT_TYPE_UINT8 : RLT_TYPE_INT8;
}

/* ---- elements ---- */

/* Integers of `bits` bits, the first in the lowest bits of a byte. */
static void unpack(const uint8_t *x, int32_t bits, bool is_signed, uint8_t *y, uint64_t n) {
  uint64_t per_byte = 8 / (uint64_t)bits;
  uint32_t mask = (1u << bits) - 1, sign = is_signed ? 1u << (bits - 1) : 0;
  for (uint64_t i = 0; i < n; i++) {
    uint32_t v = (uint32_t)x[i / per_byte] >> (i % per_byte * (uint64_t)bits) & mask;
    y[i] = (uint8_t)((v ^ sign) - sign);
  }
}

/* The bits of a last byte that no element has are 0. */
static void pack_saturating(const uint8_t *x, int32_t bits, bool is_signed, uint8_t *y, uint64_t n) {
  uint64_t per_byte = 8 / (uint64_t)bits;
  int32_t lo = is_signed ? -(1 << (bits - 1)) : 0, hi = lo + (1 << bits) - 1;
  uint32_t mask = (1u << bits) - 1;
  for (uint64_t i = 0; i < n; i++) {
    int32_t v = rlt_clamp_i32(is_signed ? (int8_t)x[i] : x[i], lo, hi);
    uint32_t shifted = ((uint32_t)v & mask) << (i % per_byte * (uint64_t)bits);
    y[i / per_byte] = (uint8_t)(i % per_byte ? y[i / per_byte] | shifted : shifted);
  }
}

static int32_t bits_of(int32_t type) { return type == RLT_TYPE_INT2 ? 2 : 4; }

static void widen(const rlt_ukernels *u, const rlt_tensor *narrow, void *to) {
  int32_t type = narrow->type;
  const uint16_t *x = narrow->data;
  if (type == RLT_TYPE_FLOAT16) u->loops->f16_to_f32(x, to, (int64_t)narrow->count);
  else if (type != RLT_TYPE_BFLOAT16) unpack(narrow->data, bits_of(type), type != RLT_TYPE_UINT4, to, narrow->count);
  else
    for (uint64_t i = 0; i < narrow->count; i++) ((float *)to)[i] = rlt_bits_f32((uint32_t)x[i] << 16);
}

static void narrow_down(const void *from, const rlt_tensor *narrow) {
  int32_t type = narrow->type;
  if (type != RLT_TYPE_FLOAT16) {
    pack_saturating(from, bits_of(type), type != RLT_TYPE_UINT4, narrow->data, narrow->count);
    return;
  }
  for (uint64_t i = 0; i < narrow->count; i++) ((uint16_t *)narrow->data)[i] = rlt_f32_to_f16(((const float *)from)[i]);
}

/* ---- the kernel ---- */

static const rlt_kernel KERNEL;

static uint64_t align64(uint64_t x) { return (x + 63) & ~(uint64_t)63; }
static uint64_t align16(uint64_t x) { return (x + 15) & ~(uint64_t)15; }
static uint64_t tensors_of(const rlt_node_def *n) { return (uint64_t)n->n_inputs + (uint64_t)n->n_outputs; }

/* Where the parts of a node's data lie: tensors, links, what the kernel itself keeps, end. */
static uint64_t at_tensors(void) { return align16(sizeof(widen_data)); }
static uint64_t at_links(const rlt_node_def *n) { return at_tensors() + tensors_of(n) * sizeof(wide_tensor); }
static uint64_t at_own(const rlt_node_def *n) { return align16(at_links(n) + tensors_of(n) * sizeof(rlt_tensor *)); }

uint64_t rlt_data_bytes(const rlt_node_def *n) {
  return n->kernel == &KERNEL ? at_own(n) + rlt_find_kernel(n->op)->data_size : n->kernel->data_size;
}

/* Puts tensor t, input or output, before the kernel as it is or widened. */
static rlt_tensor *present(rlt_tensor *t, bool is_widened, bool packs, wide_tensor *w) {
  w->narrow = t;
  w->at = NONE;
  if (!t || !is_widened) return t;
  w->def = *t->def;
  w->def.type = wide_type(t->type);
  w->def.data = NULL;
  w->tensor = *t;
  w->tensor.def = &w->def;
  w->tensor.type = w->def.type;
  w->tensor.data = NULL;
  w->tensor.bytes = t->count * rlt_type_bytes(w->def.type);
  w->tensor.is_const = w->is_packed = packs && t->is_const && t->count > 0;
  w->tensor.is_known = w->tensor.is_here = false;
  w->at = 0;
  return &w->tensor;
}

/* The narrow outputs' shapes, and places for all widened tensors. */
static rlt_status place(rlt_prep *p, rlt_node *n, widen_data *d) {
  int32_t inputs = n->def->n_inputs, tensors = inputs + n->def->n_outputs;
  uint64_t constants = 0, scratch = 0;
  for (int32_t i = 0; i < tensors; i++) {
    wide_tensor *w = &d->wide[i];
    if (w->at == NONE) continue;
    if (i >= inputs) RLT_TRY(rlt_set_shape(p, w->narrow, w->tensor.rank, w->tensor.dims));
    uint64_t *used = w->is_packed ? &constants : &scratch;
    w->at = *used;
    *used += align64(w->tensor.bytes);
  }
  d->at_constants = align64(d->node.packed_bytes);
  d->at_scratch = align64(d->node.scratch_bytes);
  n->packed_bytes = constants ? d->at_constants + constants : d->node.packed_bytes;
  n->scratch_bytes = d->at_scratch + scratch;
  n->packed_inputs = d->node.packed_inputs;
  for (int32_t i = 0; i < inputs; i++)
    if (d->wide[i].at != NONE && d->wide[i].is_packed) n->packed_inputs |= RLT_INPUT_BIT(i);
  n->macs = d->node.macs;
  n->loop = d->node.loop;
  return RLT_OK;
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  widen_data *d = n->data;
  const rlt_node_def *def = n->def;
  const widen_row *row = row_of(def->op);
  const rlt_kernel *own = rlt_find_kernel(def->op);
  char *data = n->data;
  rlt_tensor **links = (rlt_tensor **)(void *)(data + at_links(def));
  __builtin_memset(data, 0, (size_t)rlt_data_bytes(def));
  d->wide = (wide_tensor *)(void *)(data + at_tensors());
  for (int32_t i = 0; i < def->n_inputs; i++) {
    rlt_tensor *t = n->in[i];
    links[i] = present(t, t && is_widened(row, i, t->type), own->pack != NULL, &d->wide[i]);
  }
  for (int32_t i = 0; i < def->n_outputs; i++) {
    rlt_tensor *t = n->out[i];
    links[def->n_inputs + i] = present(t, (row->types & BIT(t->type)) != 0, false, &d->wide[def->n_inputs + i]);
  }
  d->node = (rlt_node){
      .def = def, .in = links, .out = links + def->n_inputs, .data = data + at_own(def), .tiles = 1, .in_place = -1};
  RLT_TRY(own->prepare(p, &d->node));
  RLT_REQUIRE(p->err, def->op != RLT_OP_CAST || n->in[0]->type == RLT_TYPE_FLOAT32 || rlt_type_bytes(n->out[0]->type),
              RLT_UNSUPPORTED, "%T from %T: only FLOAT32 is cast to integers of less than a byte", n->out[0], n->in[0]);
  return place(p, n, d);
}

static void pack(const rlt_ukernels *u, const rlt_node *n) {
  widen_data *d = n->data;
  char *packed = n->packed;
  for (int32_t i = 0; i < n->def->n_inputs; i++) {
    wide_tensor *w = &d->wide[i];
    if (w->at == NONE || !w->is_packed) continue;
    w->tensor.data = packed + d->at_constants + w->at;
    widen(u, w->narrow, w->tensor.data);
  }
  d->node.packed = packed;
  if (d->node.packed_bytes > 0) rlt_find_kernel(n->def->op)->pack(u, &d->node);
}

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last; /* one tile */
  widen_data *d = n->data;
  int32_t inputs = n->def->n_inputs, tensors = inputs + n->def->n_outputs;
  char *scratch = (char *)r->scratch + d->at_scratch;
  for (int32_t i = 0; i < tensors; i++) {
    wide_tensor *w = &d->wide[i];
    if (w->at == NONE) continue;
    w->tensor.data = w->is_packed ? (char *)n->packed + d->at_constants + w->at : scratch + w->at;
    if (i < inputs && !w->is_packed) widen(r->u, w->narrow, w->tensor.data);
  }
  d->node.packed = n->packed;
  RLT_TRY(rlt_find_kernel(n->def->op)->run(r, &d->node, 0, d->node.tiles));
  for (int32_t i = inputs; i < tensors; i++)
    if (d->wide[i].at != NONE) narrow_down(d->wide[i].tensor.data, d->wide[i].narrow);
  return RLT_OK;
}

static const rlt_kernel KERNEL = {
    .name = "widen", .max_version = INT32_MAX, .prepare = prepare, .pack = pack, .run = run};

const rlt_kernel *rlt_widened(const rlt_node_def *n) { return has_widened(n) ? &KERNEL : n->kernel; }
