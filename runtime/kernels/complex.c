/* SPDX-License-Identifier: Apache-2.0
 * REAL, IMAG and COMPLEX_ABS. */
#include "common.h"

static rlt_status prepare(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  const rlt_tensor *x = n->in[0];
  RLT_TRY(rlt_check_type(p, x, RLT_BIT(RLT_TYPE_COMPLEX64) | RLT_BIT(RLT_TYPE_COMPLEX128), "COMPLEX64 or COMPLEX128"));
  bool single = x->type == RLT_TYPE_COMPLEX64;
  RLT_TRY(rlt_check_type(p, n->out[0], single ? RLT_BIT(RLT_TYPE_FLOAT32) : RLT_BIT(RLT_TYPE_FLOAT64),
                         single ? "FLOAT32" : "FLOAT64"));
  n->tiles = rlt_flat_tiles(x->count);
  return rlt_set_shape(p, n->out[0], x->rank, x->dims);
}

/* By the rules of C's hypot: an infinite part wins over NaN; squares neither overflow nor vanish. */
static double magnitude(double a, double b) {
  const double infinity = rlt_bits_f64(0x7ff0000000000000u);
  a = a < 0 ? -a : a;
  b = b < 0 ? -b : b;
  if (a == infinity || b == infinity) return infinity;
  double most = a > b ? a : b, least = a > b ? b : a;
  if (most == 0.0 || a != a || b != b) return a + b;
  double ratio = least / most;
  return most * __builtin_sqrt(1.0 + ratio * ratio);
}

#define PARTS(suffix, type)                                                                        \
  static void parts_##suffix(int32_t op, const void *from, void *to, int64_t begin, int64_t end) { \
    const type *x = from;                                                                          \
    type *y = to;                                                                                  \
    for (int64_t i = begin; i < end; i++) {                                                        \
      type real = x[2 * i], imaginary = x[2 * i + 1];                                              \
      y[i] = op == RLT_OP_REAL ? real : imaginary;                                                 \
      if (op == RLT_OP_COMPLEX_ABS) y[i] = (type)magnitude((double)real, (double)imaginary);       \
    }                                                                                              \
  }
PARTS(f32, float)
PARTS(f64, double)

static rlt_status run(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  bool single = n->in[0]->type == RLT_TYPE_COMPLEX64;
  (single ? parts_f32 : parts_f64)(n->def->op, n->in[0]->data, n->out[0]->data, begin, end);
  return RLT_OK;
}

const rlt_kernel rlt_kernel_real = {.name = "REAL", .max_version = 1, .prepare = prepare, .run = run};
const rlt_kernel rlt_kernel_imag = {.name = "IMAG", .max_version = 1, .prepare = prepare, .run = run};
const rlt_kernel rlt_kernel_complex_abs = {.name = "COMPLEX_ABS", .max_version = 1, .prepare = prepare, .run = run};
