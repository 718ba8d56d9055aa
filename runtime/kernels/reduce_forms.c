/* SPDX-License-Identifier: Apache-2.0 */
#include "reduce.h"

/* start, add_block, add_run: sums of type `sum` take in elements of type `type`; s is the sum, v the element. */
#define ACCUMULATE(name, type, sum, first, expression)                                                           \
  static void start_##name(void *sums, int64_t n) {                                                              \
    for (int64_t i = 0; i < n; i++) ((sum *)sums)[i] = (first);                                                  \
  }                                                                                                              \
  static void block_##name(const reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n) { \
    (void)k, (void)loops;                                                                                        \
    for (int64_t i = 0; i < n; i++) {                                                                            \
      sum s = ((sum *)sums)[i];                                                                                  \
      type v = ((const type *)x)[i];                                                                             \
      ((sum *)sums)[i] = (expression);                                                                           \
    }                                                                                                            \
  }                                                                                                              \
  static void run_##name(const reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n) {   \
    (void)k, (void)loops;                                                                                        \
    sum s = *(sum *)sums;                                                                                        \
    for (int64_t i = 0; i < n; i++) {                                                                            \
      type v = ((const type *)x)[i];                                                                             \
      s = (expression);                                                                                          \
    }                                                                                                            \
    *(sum *)sums = s;                                                                                            \
  }
#define FINISH(name, type, sum, expression)                                               \
  static void finish_##name(const reduce_data *k, const void *sums, void *y, int64_t n) { \
    (void)k;                                                                              \
    for (int64_t i = 0; i < n; i++) {                                                     \
      sum s = ((const sum *)sums)[i];                                                     \
      ((type *)y)[i] = (type)(expression);                                                \
    }                                                                                     \
  }

/* Real sums run in float64: their error does not grow with the count. Integers wrap around. */
ACCUMULATE(prod_f32, float, double, 1.0, s *(double)v)

static void start_sum_f32(void *sums, int64_t n) {
  for (int64_t i = 0; i < n; i++) ((double *)sums)[i] = 0.0;
}
static void block_sum_f32(const reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n) {
  (void)k;
  loops->add_f32_f64(x, sums, n);
}
static void run_sum_f32(const reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n) {
  (void)k;
  *(double *)sums += loops->sum(x, n);
}

static void start_max_f32(void *sums, int64_t n) {
  for (int64_t i = 0; i < n; i++) ((float *)sums)[i] = -__builtin_inff();
}
static void block_max_f32(const reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n) {
  (void)k;
  loops->max_f32(x, sums, n);
}
static void run_max_f32(const reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n) {
  (void)k;
  float most = loops->largest(x, n);
  loops->max_f32(&most, sums, 1);
}

static void start_min_f32(void *sums, int64_t n) {
  for (int64_t i = 0; i < n; i++) ((float *)sums)[i] = __builtin_inff();
}
static void block_min_f32(const reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n) {
  (void)k;
  loops->binary[RLT_LOOP_MINIMUM](sums, 1, x, 1, sums, n, -__builtin_inff(), __builtin_inff());
}
static void run_min_f32(const reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n) {
  float least = loops->smallest(x, n);
  block_min_f32(k, loops, sums, &least, 1);
}

FINISH(sum_f32, float, double, k->is_mean ? s / (double)k->reduced_count : s)
FINISH(same_f32, float, float, s)

#define BYTE_SUMS(suffix, type)                                                                                        \
  static void start_sum_##suffix(void *sums, int64_t n) {                                                              \
    for (int64_t i = 0; i < n; i++) ((int32_t *)sums)[i] = 0;                                                          \
  }                                                                                                                    \
  static void block_sum_##suffix(const reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n) { \
    (void)k;                                                                                                           \
    loops->add_##suffix##_i32(x, sums, n);                                                                             \
  }                                                                                                                    \
  static void run_sum_##suffix(const reduce_data *k, const rlt_loops *loops, void *sums, const void *x, int64_t n) {   \
    (void)k, (void)loops;                                                                                              \
    int32_t total = 0;                                                                                                 \
    for (int64_t i = 0; i < n; i++) total += ((const type *)x)[i];                                                     \
    *(int32_t *)sums += total;                                                                                         \
  }
BYTE_SUMS(i8, int8_t)
BYTE_SUMS(u8, uint8_t)
FINISH(sum_i8, int8_t, int32_t, rlt_round_clamped((float)s * k->scale + k->offset, k->lo, k->hi))
FINISH(sum_u8, uint8_t, int32_t, rlt_round_clamped((float)s * k->scale + k->offset, k->lo, k->hi))

/* INT16: from the sum less its zero points. */
static int16_t short_mean(const reduce_data *k, int64_t s) {
  int64_t y = k->y_zero + rlt_multiply((int32_t)(s - k->reduced_count * k->x_zero), k->factor);
  return (int16_t)(y < INT16_MIN ? INT16_MIN : (y > INT16_MAX ? INT16_MAX : y));
}
static int16_t short_sum(const reduce_data *k, int64_t s) {
  float y = (float)s * k->scale - (float)k->x_zero * k->scale * (float)k->reduced_count;
  int64_t rounded = rlt_f64_round_away((double)rlt_clamp_f32(y, -1e6f, 1e6f)) + k->y_zero;
  return (int16_t)(rounded < INT16_MIN ? INT16_MIN : (rounded > INT16_MAX ? INT16_MAX : rounded));
}
/* FLOAT16: sums in float64, extremes in float32, where NaN stays. */
ACCUMULATE(sum_f16, uint16_t, double, 0.0, s + (double)rlt_f16_to_f32(v))
FINISH(sum_f16, uint16_t, double, rlt_f32_to_f16((float)(k->is_mean ? s / (double)k->reduced_count : s)))
static inline float larger_half(float s, float v) { return v > s || v != v ? v : s; }
static inline float smaller_half(float s, float v) { return v < s || v != v ? v : s; }
ACCUMULATE(max_f16, uint16_t, float, -__builtin_inff(), larger_half(s, rlt_f16_to_f32(v)))
ACCUMULATE(min_f16, uint16_t, float, __builtin_inff(), smaller_half(s, rlt_f16_to_f32(v)))
FINISH(same_f16, uint16_t, float, rlt_f32_to_f16(s))

ACCUMULATE(sum_i16, int16_t, uint64_t, 0, s + (uint64_t)v)
FINISH(sum_i16, int16_t, uint64_t, k->is_mean ? short_mean(k, (int64_t)s) : short_sum(k, (int64_t)s))

ACCUMULATE(sum_i32, int32_t, uint64_t, 0, s + (uint64_t)v)
ACCUMULATE(sum_i64, int64_t, uint64_t, 0, s + (uint64_t)v)
ACCUMULATE(prod_i32, int32_t, uint64_t, 1, s *(uint64_t)v)
ACCUMULATE(prod_i64, int64_t, uint64_t, 1, s *(uint64_t)v)
/* Products of small integers: plain ones wrap around, quantized ones are rescaled after every factor but the first. */
#define NO_FACTOR INT64_MIN /* of a product that has none yet */
static inline int64_t times(const reduce_data *k, int64_t s, int32_t v) {
  if (!k->is_scaled) return (int64_t)((s == NO_FACTOR ? 1 : (uint64_t)s) * (uint64_t)(int64_t)v) & 0xffff;
  v -= k->x_zero;
  return s == NO_FACTOR ? v : rlt_multiply_short(s * v, k->factor);
}
static int32_t small_product(const reduce_data *k, int64_t s) {
  if (!k->is_scaled) return s == NO_FACTOR ? 1 : (int32_t)s;
  int64_t y = s == NO_FACTOR ? rlt_f64_round_away((double)rlt_clamp_f32(k->scale, 0.0f, 1e6f))
                             : rlt_multiply_short(s, k->factor);
  y += k->y_zero;
  return y < (int64_t)k->lo ? (int32_t)k->lo : (y > (int64_t)k->hi ? (int32_t)k->hi : (int32_t)y);
}
#define SMALL_PRODUCTS(suffix, type)                                  \
  ACCUMULATE(prod_##suffix, type, int64_t, NO_FACTOR, times(k, s, v)) \
  FINISH(prod_##suffix, type, int64_t, small_product(k, s))
SMALL_PRODUCTS(i8, int8_t)
SMALL_PRODUCTS(u8, uint8_t)
SMALL_PRODUCTS(i16, int16_t)
#define MEAN_OR_SUM (k->is_mean && k->reduced_count > 0 ? (int64_t)s / k->reduced_count : (int64_t)s)
FINISH(sum_i32, int32_t, uint64_t, MEAN_OR_SUM)
FINISH(sum_i64, int64_t, uint64_t, MEAN_OR_SUM)

#define ORDER(suffix, type, least, most)                     \
  ACCUMULATE(max_##suffix, type, type, least, v > s ? v : s) \
  ACCUMULATE(min_##suffix, type, type, most, v < s ? v : s)  \
  FINISH(same_##suffix, type, type, s)
ORDER(i8, int8_t, INT8_MIN, INT8_MAX)
ORDER(u8, uint8_t, 0, UINT8_MAX)
ORDER(i16, int16_t, INT16_MIN, INT16_MAX)
ORDER(i32, int32_t, INT32_MIN, INT32_MAX)
ORDER(i64, int64_t, INT64_MIN, INT64_MAX)
ACCUMULATE(any, uint8_t, uint8_t, 0, s | (v != 0))
ACCUMULATE(all, uint8_t, uint8_t, 1, s &(v != 0))

#define FORM_1(op, type, add, done) {RLT_OP_##op, RLT_TYPE_##type, start_##add, block_##add, run_##add, finish_##done}
#ifdef RLT_SELECTION
#include "selected_types.h" /* which defines RLT_HAS_ of every operator and type as 0 or 1 */
#define FORM_0(op, type, add, done) {-1, -1, NULL, NULL, NULL, NULL}
#define FORM_OF(has, ...) FORM_PASTED(has, __VA_ARGS__)
#define FORM_PASTED(has, ...) FORM_##has(__VA_ARGS__)
#define FORM(op, type, add, done) FORM_OF(RLT_HAS_##op##_##type, op, type, add, done)
#else
#define FORM FORM_1
#endif
static const reduce_form FORMS[] = {
    FORM(MEAN, FLOAT32, sum_f32, sum_f32),
    FORM(MEAN, INT8, sum_i8, sum_i8),
    FORM(MEAN, UINT8, sum_u8, sum_u8),
    FORM(MEAN, FLOAT16, sum_f16, sum_f16),
    FORM(MEAN, INT16, sum_i16, sum_i16),
    FORM(MEAN, INT32, sum_i32, sum_i32),
    FORM(MEAN, INT64, sum_i64, sum_i64),
    FORM(SUM, FLOAT32, sum_f32, sum_f32),
    FORM(SUM, INT8, sum_i8, sum_i8),
    FORM(SUM, UINT8, sum_u8, sum_u8),
    FORM(SUM, FLOAT16, sum_f16, sum_f16),
    FORM(SUM, INT16, sum_i16, sum_i16),
    FORM(SUM, INT32, sum_i32, sum_i32),
    FORM(SUM, INT64, sum_i64, sum_i64),
    FORM(REDUCE_PROD, FLOAT32, prod_f32, sum_f32),
    FORM(REDUCE_PROD, INT8, prod_i8, prod_i8),
    FORM(REDUCE_PROD, UINT8, prod_u8, prod_u8),
    FORM(REDUCE_PROD, INT16, prod_i16, prod_i16),
    FORM(REDUCE_PROD, INT32, prod_i32, sum_i32),
    FORM(REDUCE_PROD, INT64, prod_i64, sum_i64),
    FORM(REDUCE_MAX, FLOAT32, max_f32, same_f32),
    FORM(REDUCE_MAX, FLOAT16, max_f16, same_f16),
    FORM(REDUCE_MAX, INT8, max_i8, same_i8),
    FORM(REDUCE_MAX, UINT8, max_u8, same_u8),
    FORM(REDUCE_MAX, INT16, max_i16, same_i16),
    FORM(REDUCE_MAX, INT32, max_i32, same_i32),
    FORM(REDUCE_MAX, INT64, max_i64, same_i64),
    FORM(REDUCE_MIN, FLOAT32, min_f32, same_f32),
    FORM(REDUCE_MIN, FLOAT16, min_f16, same_f16),
    FORM(REDUCE_MIN, INT8, min_i8, same_i8),
    FORM(REDUCE_MIN, UINT8, min_u8, same_u8),
    FORM(REDUCE_MIN, INT16, min_i16, same_i16),
    FORM(REDUCE_MIN, INT32, min_i32, same_i32),
    FORM(REDUCE_MIN, INT64, min_i64, same_i64),
    FORM(REDUCE_ANY, BOOL, any, same_u8),
    FORM(REDUCE_ALL, BOOL, all, same_u8),
};

const reduce_form *rlt_reduce_form(int32_t op, int32_t type) {
  for (size_t i = 0; i < sizeof FORMS / sizeof FORMS[0]; i++) {
    if (FORMS[i].op == op && FORMS[i].type == type) return &FORMS[i];
  }
  return NULL;
}
