/* SPDX-License-Identifier: Apache-2.0 */
#include "move.h"

rlt_status rlt_check_moved(rlt_prep *p, const rlt_tensor *x, const rlt_tensor *y) {
  RLT_TRY(rlt_check_same_type(p, x, y));
  RLT_REQUIRE(p->err, rlt_type_bytes(x->type) > 0, RLT_UNSUPPORTED, "%T: this op moves elements of whole bytes only",
              x);
  return rlt_require_same_quantization(p, x, y);
}

typedef struct element16 {
  uint64_t half[2];
} element16;

typedef struct strided_run {
  const uint8_t *x;
  uint8_t *y;
  int64_t step;
} strided_run;

#define STRIDED_ROW(bytes, type)                                                        \
  static void row_##bytes(const void *ctx, int64_t out, const int64_t *in, int64_t n) { \
    const strided_run *c = (const strided_run *)ctx;                                    \
    const type *x = (const type *)(const void *)c->x + in[0];                           \
    type *y = (type *)(void *)c->y + out;                                               \
    if (c->step == 1) {                                                                 \
      rlt_copy(y, x, (uint64_t)n * sizeof(type));                                       \
    } else {                                                                            \
      for (int64_t i = 0; i < n; i++) y[i] = x[i * c->step];                            \
    }                                                                                   \
  }
STRIDED_ROW(1, uint8_t)
STRIDED_ROW(2, uint16_t)
STRIDED_ROW(4, uint32_t)
STRIDED_ROW(8, uint64_t)
STRIDED_ROW(16, element16)

void rlt_strided_copy(const rlt_strided *s, const void *x, void *y, uint32_t bytes, int64_t begin, int64_t end) {
  strided_run c = {x, y, s->walk.step[0][s->walk.rank - 1]};
  rlt_row row = bytes == 1 ? row_1 : (bytes == 2 ? row_2 : (bytes == 4 ? row_4 : (bytes == 8 ? row_8 : row_16)));
  rlt_walk_run(&s->walk, &s->base, begin, end, row, &c);
}

rlt_status rlt_run_strided(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r;
  int64_t begin, end;
  rlt_part(n, (int64_t)n->out[0]->count, first, last, &begin, &end);
  rlt_strided_copy(n->data, n->in[0]->data, n->out[0]->data, rlt_type_bytes(n->out[0]->type), begin, end);
  return RLT_OK;
}

void rlt_steps(const rlt_tensor *t, int64_t *step) {
  int64_t size = 1;
  for (int32_t d = t->rank - 1; d >= 0; d--) {
    step[d] = size;
    size *= t->dims[d];
  }
}

#define REPEAT(type)                                             \
  {                                                              \
    type value;                                                  \
    __builtin_memcpy(&value, element, sizeof value);             \
    for (int64_t i = 0; i < count; i++) ((type *)to)[i] = value; \
  }

void rlt_repeat(void *to, const void *element, uint32_t bytes, int64_t count) {
  switch (bytes) {
    case 1:
      REPEAT(uint8_t) break;
    case 2:
      REPEAT(uint16_t) break;
    case 4:
      REPEAT(uint32_t) break;
    case 8:
      REPEAT(uint64_t) break;
    default:
      REPEAT(element16) break;
  }
}

rlt_status rlt_zero_element(rlt_prep *p, const rlt_tensor *y, uint8_t *zero) {
  if (y->def->quant.n == 0 || y->type == RLT_TYPE_FLOAT32) return RLT_OK;
  RLT_REQUIRE(p->err, y->def->quant.n == 1, RLT_UNSUPPORTED, "%T: padding a tensor of several scales", y);
  int32_t value = rlt_zero_point(y, 0);
  if (rlt_type_bytes(y->type) == 1) zero[0] = (uint8_t)value;
  if (y->type == RLT_TYPE_INT16) __builtin_memcpy(zero, &(int16_t){(int16_t)value}, 2);
  if (y->type == RLT_TYPE_INT32) __builtin_memcpy(zero, &value, 4);
  return RLT_OK;
}

rlt_status rlt_option_dims(rlt_prep *p, const rlt_node *n, int slot, int32_t limit, bool ascending, int32_t *dims,
                           int32_t *count) {
  rlt_vector v = {0};
  bool read = rlt_fb_vector(&n->def->options, slot, 8, &v) && v.count <= (uint32_t)limit;
  RLT_REQUIRE(p->err, read, RLT_BAD_MODEL, "an option lists more dimensions than the %d there are", limit);
  *count = (int32_t)v.count;
  for (int32_t i = 0; i < *count; i++) {
    int64_t d = rlt_vec_i64(&v, (uint32_t)i);
    bool fits = d >= 0 && d < limit && (!ascending || i == 0 || d > dims[i - 1]);
    for (int32_t j = 0; j < i && fits; j++) fits = dims[j] != d;
    RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "an option lists a dimension twice, out of order or beyond %d", limit);
    dims[i] = (int32_t)d;
  }
  return RLT_OK;
}
