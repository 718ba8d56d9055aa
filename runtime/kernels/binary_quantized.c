/* SPDX-License-Identifier: Apache-2.0
 * ADD, SUB, MUL, DIV, SQUARED_DIFFERENCE and PRELU over INT8, UINT8 and INT16, by the formulas of LiteRT's default
 * x86-64 path (docs/numerics.md): a short form for scales within its bounds, a long one for all others. */
#include "binary.h"

static inline int32_t fit(const rlt_binary *k, int32_t x) {
  int64_t y = (int64_t)x + k->terms.zero;
  return y < k->q_lo ? k->q_lo : (y > k->q_hi ? k->q_hi : (int32_t)y);
}

/* x << left_shift times m, with gemmlowp's two roundings. */
static inline int32_t lift(const rlt_binary *k, int32_t x, rlt_multiplier m) {
  return rlt_multiply(x * (1 << k->left_shift), m);
}

static int32_t long_sum(const rlt_binary *k, int32_t u, int32_t v, int32_t sign) {
  int32_t sum = lift(k, u - k->terms.a_zero, k->a_long) + sign * lift(k, v - k->terms.b_zero, k->b_long);
  return fit(k, rlt_multiply(sum, k->out_long));
}

static int32_t long_product(const rlt_binary *k, int32_t u, int32_t v) {
  return fit(k, rlt_multiply((u - k->terms.a_zero) * (v - k->terms.b_zero), k->out_long));
}

static int32_t squared_difference(const rlt_binary *k, int32_t u, int32_t v) {
  int32_t difference = lift(k, u - k->terms.a_zero, k->a_long) - lift(k, v - k->terms.b_zero, k->b_long);
  return fit(k, rlt_multiply(difference * difference, k->out_long));
}

/* a_long is the factor at and above zero, b_long the one below. */
static int32_t prelu(const rlt_binary *k, int32_t u, int32_t v) {
  int32_t x = u - k->terms.a_zero;
  return fit(k, x >= 0 ? rlt_multiply(x, k->a_long) : rlt_multiply(x * (v - k->terms.b_zero), k->b_long));
}

/* 1 / (1 + a) for a in [0, 1), both as multiples of 2^-31: three Newton steps from 48/17 - 32/17 d. */
static int32_t one_over_one_plus(int32_t a) {
  const int32_t one = 1 << 29; /* 1 with two integer bits */
  int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
  int32_t x = 1515870810 + rlt_doubling_high_mul(half, -1010580540);
  for (int32_t i = 0; i < 3; i++) {
    int32_t rest = one - rlt_doubling_high_mul(half, x);
    int64_t step = (int64_t)rlt_doubling_high_mul(x, rest) * 4;
    x += (int32_t)(step > INT32_MAX ? INT32_MAX : (step < INT32_MIN ? INT32_MIN : step));
  }
  return x > INT32_MAX / 2 ? INT32_MAX : x * 2;
}

static int32_t quotient(const rlt_binary *k, int32_t u, int32_t v, bool *divided_by_zero) {
  int32_t x = u - k->terms.a_zero, d = v - k->terms.b_zero;
  if (d == 0) *divided_by_zero = true;
  if (d == 0 || x == 0) return fit(k, 0);
  x = d < 0 ? -x : x;
  d = d < 0 ? -d : d;
  int32_t above = __builtin_clz((uint32_t)d); /* leading zeros: d is 2^(31 - above) (1 + fraction) */
  int32_t inverse = one_over_one_plus((int32_t)(((uint32_t)d << above) - (1u << 31)));
  int32_t headroom = x > 0 ? __builtin_clz((uint32_t)x) - 1 : __builtin_clz(2 * (uint32_t)-x - 1);
  rlt_multiplier m = {k->out_long.value, k->out_long.shift - (31 - above) - headroom};
  if (m.shift < -31) return fit(k, 0);
  return fit(k, rlt_multiply(rlt_doubling_high_mul((int32_t)((uint32_t)x << headroom), inverse), m));
}

/* The short form: the loop of this ISA. */
static void short_row(const void *ctx, int64_t out, const int64_t *in, int64_t n) {
  const rlt_binary_run *run = (const rlt_binary_run *)ctx;
  const rlt_binary *k = run->k;
  int32_t inner = k->walk.rank - 1;
  k->byte_loop(run->a + in[0], k->walk.step[0][inner], run->b + in[1], k->walk.step[1][inner], run->y + out, n,
               &k->terms);
}

#define ROWS(suffix, type)                                                           \
  RLT_BINARY_ROW(long_add_##suffix, type, type, long_sum(k, u, v, 1))                \
  RLT_BINARY_ROW(long_sub_##suffix, type, type, long_sum(k, u, v, -1))               \
  RLT_BINARY_ROW(long_mul_##suffix, type, type, long_product(k, u, v))               \
  RLT_BINARY_ROW(prelu_##suffix, type, type, prelu(k, u, v))                         \
  RLT_BINARY_ROW(div_##suffix, type, type, quotient(k, u, v, run_->divided_by_zero)) \
  RLT_BINARY_ROW(squared_difference_##suffix, type, type, squared_difference(k, u, v))
ROWS(i8, int8_t)
ROWS(u8, uint8_t)
ROWS(i16, int16_t)

typedef struct quantized_rows {
  rlt_row long_add, long_sub, long_mul, squared_difference, prelu, div;
} quantized_rows;

static const quantized_rows SIGNED = {long_add_i8, long_sub_i8, long_mul_i8, squared_difference_i8, prelu_i8, div_i8};
static const quantized_rows UNSIGNED = {long_add_u8, long_sub_u8, long_mul_u8, squared_difference_u8, prelu_u8, div_u8};
static const quantized_rows SHORT = {long_add_i16,           long_sub_i16, long_mul_i16,
                                     squared_difference_i16, prelu_i16,    div_i16};

/* Fixed-point factors that bring a and b to twice the larger of their scales, and the result to the output's. */
static void long_form(rlt_binary *k, float a_scale, float b_scale, float out_scale, int32_t left_shift) {
  double twice = (double)(2.0f * (a_scale > b_scale ? a_scale : b_scale));
  k->left_shift = left_shift;
  k->a_long = rlt_make_multiplier((double)a_scale / twice);
  k->b_long = rlt_make_multiplier((double)b_scale / twice);
  k->out_long = rlt_make_multiplier(twice / (double)((float)(1 << left_shift) * out_scale));
}

/* Multipliers of 21 bits for the two ratios, which must lie in [2^-10, 2^8); false if they do not. */
static bool short_sum(rlt_binary *k, float a_ratio, float b_ratio, bool subtract) {
  const float least = 1.0f / 1024, most = 256.0f;
  if (!(a_ratio >= least && a_ratio < most && b_ratio >= least && b_ratio < most)) return false;
  float larger = a_ratio > b_ratio ? a_ratio : b_ratio;
  k->terms.shift = 20 - ((int32_t)(rlt_f32_bits(larger) >> 23) - 127);
  float power = rlt_bits_f32((uint32_t)(k->terms.shift + 127) << 23);
  k->terms.a_mul = rlt_f32_to_i32(a_ratio * power);
  k->terms.b_mul = rlt_f32_to_i32(b_ratio * power);
  if (subtract) k->terms.b_mul = -k->terms.b_mul;
  k->terms.bias = (1 << (k->terms.shift - 1)) - k->terms.a_mul * k->terms.a_zero - k->terms.b_mul * k->terms.b_zero;
  return true;
}

static void choose_sum(rlt_binary *k, const quantized_rows *rows, float a, float b, float out, bool subtract) {
  k->row = short_row;
  if (!short_sum(k, a / out, b / out, subtract)) {
    long_form(k, a, b, out, 20);
    k->row = subtract ? rows->long_sub : rows->long_add;
  }
}

static void choose_product(rlt_binary *k, const quantized_rows *rows, float a, float b, float out) {
  float product = a * b;
  k->terms.scale = product / out;
  k->row = short_row;
  if (k->terms.scale >= 1.0f / 65536 && k->terms.scale < 256.0f) return;
  k->out_long = rlt_make_multiplier((double)k->terms.scale);
  k->row = rows->long_mul;
}

static bool has_quantized_form(int32_t op) {
  switch (op) {
    case RLT_OP_ADD:
    case RLT_OP_SUB:
    case RLT_OP_MUL:
    case RLT_OP_DIV:
    case RLT_OP_SQUARED_DIFFERENCE:
    case RLT_OP_PRELU:
      return true;
    default:
      return false;
  }
}

/* INT16 whose scales are powers of two: the finer input is shifted to the output's scale, and that is the result's only
 * rounding. left_shift is the first input's, a_long.shift the second's; at most one is above 0. */
static int32_t shifted_sum(const rlt_binary *k, int32_t u, int32_t v, int32_t sign) {
  return fit(k, rlt_rounding_shift(u, k->left_shift) + sign * rlt_rounding_shift(v, k->a_long.shift));
}
RLT_BINARY_ROW(shifted_add, int16_t, int16_t, shifted_sum(k, u, v, 1))
RLT_BINARY_ROW(shifted_sub, int16_t, int16_t, shifted_sum(k, u, v, -1))

/* Exponent of a power of two; INT32_MAX for other numbers. */
static int32_t exact_log2(float x) {
  uint32_t bits = rlt_f32_bits(x);
  return bits & 0x7fffffu ? INT32_MAX : (int32_t)(bits >> 23) - 127;
}

static bool asks_for_shifts(const rlt_node *n) {
  const rlt_table *o = &n->def->options;
  if (n->def->op == RLT_OP_ADD) return rlt_fb_bool(o, RLT_SLOT_AddOptions_pot_scale_int16, true);
  return rlt_fb_bool(o, RLT_SLOT_SubOptions_pot_scale_int16, true);
}

static bool shifted_form(rlt_binary *k, float a_scale, float b_scale, float out_scale, bool subtract) {
  int32_t a = exact_log2(a_scale), b = exact_log2(b_scale), y = exact_log2(out_scale);
  if (a == INT32_MAX || b == INT32_MAX || y == INT32_MAX) return false;
  if (y - a < 0 || y - a > 15 || y - b < 0 || y - b > 15 || (y > a && y > b)) return false;
  k->left_shift = y - a;
  k->a_long.shift = y - b;
  k->row = subtract ? shifted_sub : shifted_add;
  return true;
}

/* INT16 by the long forms, or where the file asks for it by shifts alone. */
static rlt_status prepare_i16(rlt_prep *p, rlt_node *n, int32_t activation) {
  rlt_binary *k = n->data;
  const rlt_tensor *a = n->in[0], *b = n->in[1], *y = n->out[0];
  float a_scale = rlt_scale(a, 0), b_scale = rlt_scale(b, 0), out_scale = rlt_scale(y, 0);
  RLT_TRY(rlt_activation_away(p, activation, y, &k->q_lo, &k->q_hi));
  k->in_bytes = k->out_bytes = 2;
  k->terms = (rlt_byte_terms){0};
  bool zeros = rlt_zero_point(a, 0) == 0 && rlt_zero_point(b, 0) == 0 && rlt_zero_point(y, 0) == 0;
  RLT_REQUIRE(p->err, zeros, RLT_UNSUPPORTED, "%T, %T and %T must have zero point 0", a, b, y);
  switch (n->def->op) {
    case RLT_OP_MUL:
      k->out_long = rlt_make_multiplier((double)(a_scale * b_scale / out_scale));
      k->row = SHORT.long_mul;
      return RLT_OK;
    case RLT_OP_DIV:
      k->out_long = rlt_make_multiplier((double)(a_scale / (b_scale * out_scale)));
      k->row = SHORT.div;
      return RLT_OK;
    case RLT_OP_PRELU:
      k->a_long = rlt_make_multiplier((double)(a_scale / out_scale));
      k->b_long = rlt_make_multiplier((double)(a_scale * b_scale / out_scale));
      k->row = SHORT.prelu;
      return RLT_OK;
    default:
      if (asks_for_shifts(n) && shifted_form(k, a_scale, b_scale, out_scale, n->def->op == RLT_OP_SUB)) return RLT_OK;
      long_form(k, a_scale, b_scale, out_scale, 15);
      k->row = n->def->op == RLT_OP_SUB ? SHORT.long_sub : SHORT.long_add;
      return RLT_OK;
  }
}

rlt_status rlt_binary_quantized(rlt_prep *p, rlt_node *n, int32_t activation) {
  rlt_binary *k = n->data;
  const rlt_tensor *a = n->in[0], *b = n->in[1], *y = n->out[0];
  bool short_ints = a->type == RLT_TYPE_INT16;
  bool has_form = has_quantized_form(n->def->op) && n->def->op != RLT_OP_SQUARED_DIFFERENCE;
  bool eight_bits = a->type == RLT_TYPE_INT8 || a->type == RLT_TYPE_UINT8;
  RLT_REQUIRE(p->err, eight_bits ? has_quantized_form(n->def->op) : (short_ints && has_form), RLT_UNSUPPORTED,
              "%T: this op has no kernel for %t", a, a->type);
  RLT_TRY(rlt_require_quantized(p, a));
  RLT_TRY(rlt_require_quantized(p, b));
  RLT_TRY(rlt_require_quantized(p, y));
  if (short_ints) return prepare_i16(p, n, activation);
  RLT_TRY(rlt_activation_quantized(p, activation, y, &k->q_lo, &k->q_hi));
  k->in_bytes = k->out_bytes = 1;
  k->terms.a_zero = rlt_zero_point(a, 0);
  k->terms.b_zero = rlt_zero_point(b, 0);
  k->terms.zero = rlt_zero_point(y, 0);
  k->terms.lo = k->q_lo;
  k->terms.hi = k->q_hi;
  const rlt_loops *loops = p->u->loops;
  bool is_signed = a->type == RLT_TYPE_INT8;
  k->byte_loop = is_signed ? loops->sum_i8 : loops->sum_u8;
  if (n->def->op == RLT_OP_MUL) k->byte_loop = is_signed ? loops->product_i8 : loops->product_u8;
  float a_scale = rlt_scale(a, 0), b_scale = rlt_scale(b, 0), out_scale = rlt_scale(y, 0);
  const quantized_rows *rows = is_signed ? &SIGNED : &UNSIGNED;
  if (n->def->op == RLT_OP_MUL) {
    choose_product(k, rows, a_scale, b_scale, out_scale);
  } else if (n->def->op == RLT_OP_DIV) {
    k->out_long = rlt_make_multiplier((double)(a_scale / (b_scale * out_scale)));
    k->row = rows->div;
  } else if (n->def->op == RLT_OP_PRELU) {
    k->a_long = rlt_make_multiplier((double)(a_scale / out_scale));
    k->b_long = rlt_make_multiplier((double)(a_scale * b_scale / out_scale));
    k->row = rows->prelu;
  } else if (n->def->op == RLT_OP_SQUARED_DIFFERENCE) {
    long_form(k, a_scale, b_scale, out_scale, 7);
    double twice = (double)(2.0f * (a_scale > b_scale ? a_scale : b_scale));
    k->out_long = rlt_make_multiplier(twice * twice / (double)(16384.0f * out_scale));
    k->row = rows->squared_difference;
  } else {
    choose_sum(k, rows, a_scale, b_scale, out_scale, n->def->op == RLT_OP_SUB);
  }
  n->loop = k->row == short_row ? loops->name : NULL;
  return RLT_OK;
}
