/* SPDX-License-Identifier: Apache-2.0 */
#include "binary.h"

/* ---- rows ---- */

#define INT_ROW(name, suffix, type, expression) RLT_BINARY_ROW(name##_##suffix, type, type, expression)

/* Real numbers: the loop of this ISA. */
static void real_row(const void *ctx, int64_t out, const int64_t *in, int64_t n) {
  const rlt_binary_run *run = (const rlt_binary_run *)ctx;
  const rlt_binary *k = run->k;
  int32_t inner = k->walk.rank - 1;
  k->loop((const float *)(const void *)run->a + in[0], k->walk.step[0][inner],
          (const float *)(const void *)run->b + in[1], k->walk.step[1][inner], (float *)(void *)run->y + out, n, k->lo,
          k->hi);
}

/* FLOAT16 through the same loop, a block at a time. */
#define BLOCK 256
static void widen(const uint16_t *x, int64_t step, int64_t n, float *y) {
  for (int64_t i = 0; i < (step ? n : 1); i++) y[i] = rlt_f16_to_f32(x[i * step]);
}
static void half_row(const void *ctx, int64_t out, const int64_t *in, int64_t n) {
  const rlt_binary_run *run = (const rlt_binary_run *)ctx;
  const rlt_binary *k = run->k;
  int32_t inner = k->walk.rank - 1;
  int64_t a_step = k->walk.step[0][inner], b_step = k->walk.step[1][inner];
  const uint16_t *a = (const uint16_t *)(const void *)run->a + in[0];
  const uint16_t *b = (const uint16_t *)(const void *)run->b + in[1];
  uint16_t *y = (uint16_t *)(void *)run->y + out;
  float u[BLOCK], v[BLOCK], w[BLOCK];
  for (int64_t at = 0; at < n; at += BLOCK) {
    int64_t count = n - at < BLOCK ? n - at : BLOCK;
    widen(a + at * a_step, a_step, count, u);
    widen(b + at * b_step, b_step, count, v);
    k->loop(u, a_step, v, b_step, w, count, k->lo, k->hi);
    for (int64_t i = 0; i < count; i++) y[at + i] = rlt_f32_to_f16(w[i]);
  }
}

RLT_BINARY_ROW(floor_div_f32, float, float, rlt_floor(u / v))

/* |u| mod |v| for finite |u| >= |v| > 0, exact: the quotient's bits in steps of 40. */
static float remainder_of_large(float u, float v) {
  uint32_t a = rlt_f32_bits(u) & 0x7fffffffu, b = rlt_f32_bits(v) & 0x7fffffffu;
  int32_t a_exponent = a >> 23 ? (int32_t)(a >> 23) : 1, b_exponent = b >> 23 ? (int32_t)(b >> 23) : 1;
  uint64_t divisor = (b & 0x7fffffu) | (b >> 23 ? 0x800000u : 0u);
  uint64_t left = ((a & 0x7fffffu) | (a >> 23 ? 0x800000u : 0u)) % divisor;
  for (int32_t shift = a_exponent - b_exponent, step; shift > 0; shift -= step) {
    step = shift < 40 ? shift : 40;
    left = (left << step) % divisor;
  }
  return (float)((double)left * rlt_bits_f64((uint64_t)(b_exponent - 150 + 1023) << 52));
}

/* The remainder with the divisor's sign, rounded once; a remainder of 0 has the dividend's. */
static inline float floor_mod_of(float u, float v) {
  double quotient = (double)u / (double)v, remainder;
  if (quotient != quotient || u - u != 0.0f || v == 0.0f) return rlt_bits_f32(0x7fc00000u);
  if (quotient < 1.0 && quotient > -1.0) {
    remainder = (double)u;
  } else if (quotient < 0x1p29 && quotient > -0x1p29) { /* the product has at most 53 bits */
    remainder = (double)u - (double)(int64_t)quotient * (double)v;
  } else {
    remainder = (double)remainder_of_large(u, v) * (u < 0.0f ? -1.0 : 1.0);
  }
  if (remainder == 0.0) return 0.0f * u;
  if ((remainder < 0.0) != (v < 0.0f)) remainder += (double)v;
  return (float)remainder;
}
RLT_BINARY_ROW(floor_mod_f32, float, float, floor_mod_of(u, v))

/* Integers wrap around: the arithmetic is that of the unsigned type. */
#define WRAPPING_ROWS(suffix, type, unsigned_type)                        \
  INT_ROW(add, suffix, type, (type)((unsigned_type)u + (unsigned_type)v)) \
  INT_ROW(sub, suffix, type, (type)((unsigned_type)u - (unsigned_type)v)) \
  INT_ROW(mul, suffix, type, (type)((unsigned_type)u * (unsigned_type)v)) \
  INT_ROW(squared_difference, suffix, type,                               \
          (type)(((unsigned_type)u - (unsigned_type)v) * ((unsigned_type)u - (unsigned_type)v)))
WRAPPING_ROWS(i32, int32_t, uint32_t)
INT_ROW(add, i16, int16_t, (int16_t)(u + v))
INT_ROW(mul, i16, int16_t, (int16_t)(u * v))
INT_ROW(mul, u32, uint32_t, u *v)
WRAPPING_ROWS(i64, int64_t, uint64_t)

#define ORDER_ROWS(suffix, type)                \
  INT_ROW(maximum, suffix, type, u > v ? u : v) \
  INT_ROW(minimum, suffix, type, u < v ? u : v)
ORDER_ROWS(i8, int8_t)
ORDER_ROWS(u8, uint8_t)
ORDER_ROWS(i16, int16_t)
ORDER_ROWS(i32, int32_t)
ORDER_ROWS(i64, int64_t)

/* A zero divisor is noted for run to report; the least integer over -1 wraps around. */
#define DIVISION_FUNCTIONS(suffix, type, unsigned_type)                           \
  static inline type truncated_##suffix(type u, type v, bool *bad) {              \
    if (v == 0) *bad = true;                                                      \
    if (v == 0) return 0;                                                         \
    if (v == -1) return (type)(0 - (unsigned_type)u);                             \
    return (type)(u / v);                                                         \
  }                                                                               \
  static inline type modulo_##suffix(type u, type v, bool *bad) {                 \
    if (v == 0) *bad = true;                                                      \
    if (v == 0 || v == -1) return 0;                                              \
    type rest = (type)(u % v);                                                    \
    return (type)(rest != 0 && (rest < 0) != (v < 0) ? rest + v : rest);          \
  }                                                                               \
  static inline type floored_##suffix(type u, type v, bool *bad) {                \
    type quotient = truncated_##suffix(u, v, bad);                                \
    if (v == 0 || v == -1) return quotient;                                       \
    return (type)(u % v != 0 && (u < 0) != (v < 0) ? quotient - 1 : quotient);    \
  }                                                                               \
  INT_ROW(floor_div, suffix, type, floored_##suffix(u, v, run_->divided_by_zero)) \
  INT_ROW(floor_mod, suffix, type, modulo_##suffix(u, v, run_->divided_by_zero))
DIVISION_FUNCTIONS(i8, int8_t, uint32_t)
DIVISION_FUNCTIONS(i16, int16_t, uint32_t)
DIVISION_FUNCTIONS(i32, int32_t, uint32_t)
DIVISION_FUNCTIONS(i64, int64_t, uint64_t)
INT_ROW(div, i32, int32_t, truncated_i32(u, v, run_->divided_by_zero))
INT_ROW(div, i64, int64_t, truncated_i64(u, v, run_->divided_by_zero))

/* u^v by squaring, wrapping around; a negative v leaves 1, -1 or 0. */
static inline int32_t pow_of(int32_t u, int32_t v, bool *bad) {
  if (v < 0) {
    if (u == 0) *bad = true;
    return u == 1 ? 1 : (u == -1 ? ((v & 1) ? -1 : 1) : 0);
  }
  uint32_t result = 1, base = (uint32_t)u;
  for (; v; v >>= 1, base *= base) result = (v & 1) ? result * base : result;
  return (int32_t)result;
}
INT_ROW(pow, i32, int32_t, pow_of(u, v, run_->divided_by_zero))

/* A fused activation on integers: the exact result, clamped; of 64 bits it saturates first. */
#define CLAMPED_ROWS(name, expression)                 \
  RLT_BINARY_ROW(name##_clamped_i32, int32_t, int32_t, \
                 (expression) < k->q_lo ? k->q_lo : ((expression) > k->q_hi ? k->q_hi : (expression)))
CLAMPED_ROWS(add, (int64_t)u + v)
CLAMPED_ROWS(sub, (int64_t)u - v)
CLAMPED_ROWS(mul, (int64_t)u *v)
INT_ROW(div_clamped, i32, int32_t, rlt_clamp_i32(truncated_i32(u, v, run_->divided_by_zero), k->q_lo, k->q_hi))

static inline int64_t saturated(bool overflows, bool negative, uint64_t wrapped) {
  if (overflows) return negative ? INT64_MIN : INT64_MAX;
  return (int64_t)wrapped;
}
static inline int64_t sum_i64(int64_t u, int64_t v) {
  uint64_t y = (uint64_t)u + (uint64_t)v;
  return saturated((((uint64_t)u ^ y) & ((uint64_t)v ^ y)) >> 63, u < 0, y);
}
static inline int64_t difference_i64(int64_t u, int64_t v) {
  uint64_t y = (uint64_t)u - (uint64_t)v;
  return saturated(((uint64_t)(u ^ v) & ((uint64_t)u ^ y)) >> 63, u < 0, y);
}
static inline int64_t product_i64(int64_t u, int64_t v) {
  int64_t y = (int64_t)((uint64_t)u * (uint64_t)v);
  bool least = (u == -1 && v == INT64_MIN) || (v == -1 && u == INT64_MIN);
  return saturated(least || (v != 0 && v != -1 && y / v != u), (u < 0) != (v < 0), (uint64_t)y);
}
/* Bounds of a fused activation, where int32's stands for none. */
static inline int64_t clamp_wide(const rlt_binary *k, int64_t y) {
  int64_t hi = k->q_hi == INT32_MAX ? INT64_MAX : k->q_hi;
  return y < k->q_lo ? k->q_lo : (y > hi ? hi : y);
}
INT_ROW(add_clamped, i64, int64_t, clamp_wide(k, sum_i64(u, v)))
INT_ROW(sub_clamped, i64, int64_t, clamp_wide(k, difference_i64(u, v)))
INT_ROW(mul_clamped, i64, int64_t, clamp_wide(k, product_i64(u, v)))
INT_ROW(div_clamped, i64, int64_t, clamp_wide(k, truncated_i64(u, v, run_->divided_by_zero)))

/* COMPLEX64: pairs of a real and an imaginary part. */
static void mul_c64(const void *ctx, int64_t out, const int64_t *in, int64_t n) {
  const rlt_binary_run *run = (const rlt_binary_run *)ctx;
  const rlt_walk *w = &run->k->walk;
  const float *a = (const float *)(const void *)run->a + 2 * in[0],
              *b = (const float *)(const void *)run->b + 2 * in[1];
  float *y = (float *)(void *)run->y + 2 * out;
  for (int64_t i = 0; i < n; i++, y += 2, a += 2 * w->step[0][w->rank - 1], b += 2 * w->step[1][w->rank - 1]) {
    float real = a[0] * b[0] - a[1] * b[1], imaginary = a[0] * b[1] + a[1] * b[0];
    y[0] = real, y[1] = imaginary;
  }
}

/* ---- one row per (op, type) ---- */

typedef struct binary_row {
  int32_t op, type;
  uint32_t bytes;
  rlt_row row, clamped; /* clamped: for integers with a fused activation; NULL: refused */
} binary_row;

#define ROW_1(op, type, ...) {RLT_OP_##op, RLT_TYPE_##type, __VA_ARGS__},
#ifdef RLT_SELECTION /* selected_types.h defines RLT_HAS_ of every operator and type as 0 or 1 */
#define ROW_0(op, type, ...)
#define ROW_OF(has, ...) ROW_PASTED(has, __VA_ARGS__)
#define ROW_PASTED(has, ...) ROW_##has(__VA_ARGS__)
#define ROW(op, type, ...) ROW_OF(RLT_HAS_##op##_##type, op, type, __VA_ARGS__)
#else
#define ROW ROW_1
#endif
/* clang-format off */
static const binary_row ROWS[] = {
    ROW(ADD, FLOAT32, 4, real_row, NULL)
    ROW(ADD, FLOAT16, 2, half_row, NULL)
    ROW(ADD, INT32, 4, add_i32, add_clamped_i32)
    ROW(ADD, INT64, 8, add_i64, add_clamped_i64)
    ROW(ADD, INT16, 2, add_i16, NULL)
    ROW(SUB, FLOAT32, 4, real_row, NULL)
    ROW(SUB, FLOAT16, 2, half_row, NULL)
    ROW(SUB, INT32, 4, sub_i32, sub_clamped_i32)
    ROW(SUB, INT64, 8, sub_i64, sub_clamped_i64)
    ROW(MUL, FLOAT32, 4, real_row, NULL)
    ROW(MUL, FLOAT16, 2, half_row, NULL)
    ROW(MUL, INT32, 4, mul_i32, mul_clamped_i32)
    ROW(MUL, INT64, 8, mul_i64, mul_clamped_i64)
    ROW(MUL, COMPLEX64, 8, mul_c64, NULL)
    ROW(MUL, UINT32, 4, mul_u32, NULL)
    ROW(MUL, INT16, 2, mul_i16, NULL)
    ROW(DIV, FLOAT32, 4, real_row, NULL)
    ROW(DIV, FLOAT16, 2, half_row, NULL)
    ROW(DIV, INT32, 4, div_i32, div_clamped_i32)
    ROW(DIV, INT64, 8, div_i64, div_clamped_i64)
    ROW(FLOOR_DIV, FLOAT32, 4, floor_div_f32, NULL)
    ROW(FLOOR_DIV, INT32, 4, floor_div_i32, NULL)
    ROW(FLOOR_DIV, INT16, 2, floor_div_i16, NULL)
    ROW(FLOOR_DIV, INT8, 1, floor_div_i8, NULL)
    ROW(FLOOR_DIV, INT64, 8, floor_div_i64, NULL)
    ROW(FLOOR_MOD, FLOAT32, 4, floor_mod_f32, NULL)
    ROW(FLOOR_MOD, INT32, 4, floor_mod_i32, NULL)
    ROW(FLOOR_MOD, INT16, 2, floor_mod_i16, NULL)
    ROW(FLOOR_MOD, INT8, 1, floor_mod_i8, NULL)
    ROW(FLOOR_MOD, INT64, 8, floor_mod_i64, NULL)
    ROW(POW, FLOAT32, 4, real_row, NULL)
    ROW(POW, INT32, 4, pow_i32, NULL)
    ROW(SQUARED_DIFFERENCE, FLOAT32, 4, real_row, NULL)
    ROW(SQUARED_DIFFERENCE, FLOAT16, 2, half_row, NULL)
    ROW(SQUARED_DIFFERENCE, INT32, 4, squared_difference_i32, NULL)
    ROW(SQUARED_DIFFERENCE, INT64, 8, squared_difference_i64, NULL)
    ROW(PRELU, FLOAT32, 4, real_row, NULL)
    ROW(PRELU, FLOAT16, 2, half_row, NULL)
    ROW(MAXIMUM, FLOAT32, 4, real_row, NULL)
    ROW(MAXIMUM, FLOAT16, 2, half_row, NULL)
    ROW(MAXIMUM, INT8, 1, maximum_i8, NULL)
    ROW(MAXIMUM, UINT8, 1, maximum_u8, NULL)
    ROW(MAXIMUM, INT16, 2, maximum_i16, NULL)
    ROW(MAXIMUM, INT32, 4, maximum_i32, NULL)
    ROW(MAXIMUM, INT64, 8, maximum_i64, NULL)
    ROW(MINIMUM, FLOAT32, 4, real_row, NULL)
    ROW(MINIMUM, FLOAT16, 2, half_row, NULL)
    ROW(MINIMUM, INT8, 1, minimum_i8, NULL)
    ROW(MINIMUM, UINT8, 1, minimum_u8, NULL)
    ROW(MINIMUM, INT16, 2, minimum_i16, NULL)
    ROW(MINIMUM, INT32, 4, minimum_i32, NULL)
    ROW(MINIMUM, INT64, 8, minimum_i64, NULL)
    {.op = -1}, /* not empty, whatever is left out */
};
/* clang-format on */

static int32_t activation_of(const rlt_node_def *def) {
  const rlt_table *o = &def->options;
  switch (def->op) {
    case RLT_OP_ADD:
      return rlt_fb_i8(o, RLT_SLOT_AddOptions_fused_activation_function, RLT_ACT_NONE);
    case RLT_OP_SUB:
      return rlt_fb_i8(o, RLT_SLOT_SubOptions_fused_activation_function, RLT_ACT_NONE);
    case RLT_OP_MUL:
      return rlt_fb_i8(o, RLT_SLOT_MulOptions_fused_activation_function, RLT_ACT_NONE);
    case RLT_OP_DIV:
      return rlt_fb_i8(o, RLT_SLOT_DivOptions_fused_activation_function, RLT_ACT_NONE);
    default:
      return RLT_ACT_NONE;
  }
}

rlt_status rlt_binary_shapes(rlt_prep *p, rlt_node *n) {
  rlt_binary *k = n->data;
  int32_t rank, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_broadcast(p, n->in, 2, &rank, dims));
  RLT_TRY(rlt_set_shape(p, n->out[0], rank, dims));
  rlt_walk_broadcast(&k->walk, n->in, 2, rank, dims);
  n->tiles = rlt_flat_tiles(n->out[0]->count);
  n->in_place = -1;
  if (k->in_bytes == k->out_bytes) {
    if (n->in[1]->count == n->out[0]->count) n->in_place = 1;
    if (n->in[0]->count == n->out[0]->count) n->in_place = 0;
  }
  return RLT_OK;
}

static rlt_binary_op loop_of(int32_t op) {
  switch (op) {
    case RLT_OP_ADD:
      return RLT_LOOP_ADD;
    case RLT_OP_SUB:
      return RLT_LOOP_SUB;
    case RLT_OP_MUL:
      return RLT_LOOP_MUL;
    case RLT_OP_DIV:
      return RLT_LOOP_DIV;
    case RLT_OP_MAXIMUM:
      return RLT_LOOP_MAXIMUM;
    case RLT_OP_MINIMUM:
      return RLT_LOOP_MINIMUM;
    case RLT_OP_PRELU:
      return RLT_LOOP_PRELU;
    case RLT_OP_POW:
      return RLT_LOOP_POW;
    default:
      return RLT_LOOP_SQUARED_DIFFERENCE;
  }
}

/* Ops whose results depend on what the scales are: rows of small integers are for plain ones. */
static bool means_scales(int32_t op) {
  return op == RLT_OP_ADD || op == RLT_OP_MUL || op == RLT_OP_FLOOR_DIV || op == RLT_OP_FLOOR_MOD;
}

static rlt_status choose_row(rlt_prep *p, rlt_node *n, int32_t activation) {
  rlt_binary *k = n->data;
  int32_t type = n->in[0]->type;
  for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
    if (ROWS[i].op != n->def->op || ROWS[i].type != type) continue;
    if (ROWS[i].bytes <= 2 && n->in[0]->def->quant.n > 0 && means_scales(n->def->op)) continue;
    k->row = ROWS[i].row;
    k->loop = p->u->loops->binary[loop_of(n->def->op)];
    n->loop = k->row == real_row || k->row == half_row ? p->u->loops->name : NULL;
    k->in_bytes = k->out_bytes = ROWS[i].bytes;
    RLT_TRY(rlt_activation_f32(p, activation, &k->lo, &k->hi));
    if (type == RLT_TYPE_FLOAT32 || type == RLT_TYPE_FLOAT16) return RLT_OK;
    RLT_TRY(rlt_activation_i32(p, activation, &k->q_lo, &k->q_hi));
    if (activation != RLT_ACT_NONE) {
      k->row = ROWS[i].clamped;
      RLT_REQUIRE(p->err, k->row, RLT_UNSUPPORTED, "a fused activation on %t: make it a node of its own", type);
    }
    RLT_TRY(rlt_require_same_quantization(p, n->in[0], n->in[1]));
    return rlt_require_same_quantization(p, n->in[0], n->out[0]);
  }
  return rlt_binary_quantized(p, n, activation);
}

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  RLT_TRY(rlt_check_same_type(p, n->in[0], n->in[1]));
  RLT_TRY(rlt_check_same_type(p, n->in[0], n->out[0]));
  RLT_TRY(choose_row(p, n, activation_of(n->def)));
  RLT_TRY(rlt_binary_shapes(p, n));
  RLT_REQUIRE(p->err, n->def->op != RLT_OP_PRELU || n->out[0]->count == n->in[0]->count, RLT_BAD_MODEL,
              "%T has slopes for more than %T", n->in[1], n->in[0]);
  return RLT_OK;
}

rlt_status rlt_binary_run_tiles(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  const rlt_binary *k = n->data;
  bool divided_by_zero = false;
  rlt_binary_run c = {k, n->in[0]->data, n->in[1]->data, n->out[0]->data, &divided_by_zero};
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  rlt_walk_run(&k->walk, NULL, begin, end, k->row, &c);
  if (divided_by_zero) return rlt_fail(r->err, RLT_BAD_VALUE, "division by zero");
  return RLT_OK;
}

#define KERNEL(symbol, op, version) \
  const rlt_kernel rlt_kernel_##symbol = {#op, sizeof(rlt_binary), version, false, prepare, NULL, rlt_binary_run_tiles};

KERNEL(add, ADD, 6)
KERNEL(sub, SUB, 5)
KERNEL(mul, MUL, 8)
KERNEL(div, DIV, 2)
KERNEL(floor_div, FLOOR_DIV, 3)
KERNEL(floor_mod, FLOOR_MOD, 2)
KERNEL(pow, POW, 1)
KERNEL(squared_difference, SQUARED_DIFFERENCE, 2)
KERNEL(prelu, PRELU, 1)
KERNEL(maximum, MAXIMUM, 4)
KERNEL(minimum, MINIMUM, 4)
