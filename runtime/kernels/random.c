/* SPDX-License-Identifier: Apache-2.0
 * RANDOM_UNIFORM, RANDOM_STANDARD_NORMAL and MULTINOMIAL by Philox 4x32-10, seeded as TensorFlow seeds it; and
 * STABLEHLO_RNG_BIT_GENERATOR, whose state is a tensor. "Parallel random numbers: as easy as 1, 2, 3", 2011. */
#include "move.h"

typedef struct philox {
  uint32_t counter[4], key[2];
  bool is_seeded;
} philox;
_Static_assert(sizeof(philox) <= RLT_FORMER_BYTES, "prepare finds it again in the middle of invoke");

static void philox_block(const uint32_t *counter, const uint32_t *key, uint32_t *out) {
  uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k[2] = {key[0], key[1]};
  for (int32_t round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
    for (int32_t i = 0; i < 4; i++) c[i] = next[i];
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  for (int32_t i = 0; i < 4; i++) out[i] = c[i];
}

/* The next four numbers. */
static void philox_next(philox *g, uint32_t *out) {
  philox_block(g->counter, g->key, out);
  for (int32_t i = 0; i < 4 && ++g->counter[i] == 0; i++) continue;
}

static void philox_skip(philox *g, uint64_t blocks) {
  uint64_t low = (uint64_t)g->counter[1] << 32 | g->counter[0];
  uint64_t sum = low + blocks;
  g->counter[0] = (uint32_t)sum;
  g->counter[1] = (uint32_t)(sum >> 32);
  if (sum < low && ++g->counter[2] == 0) g->counter[3]++;
}

/* In [0, 1): random bits as a fraction. */
static float unit_f32(uint32_t bits) { return rlt_bits_f32((bits & 0x7fffffu) | 0x3f800000u) - 1.0f; }
static double unit_f64(uint32_t high, uint32_t low) {
  return rlt_bits_f64(((uint64_t)(high & 0xfffffu) << 32 | low) | 0x3ff0000000000000u) - 1.0;
}

/* The node's data is its generator; it goes on from run to run, also where prepare comes between two of them. Of a seed
 * the low 32 bits count: so does LiteRT. */
static void seed(philox *g, const rlt_node *n) {
  if (n->former && ((const philox *)n->former)->is_seeded) {
    *g = *(const philox *)n->former;
    return;
  }
  uint64_t a = (uint64_t)(int32_t)rlt_fb_i64(&n->def->options, RLT_SLOT_RandomOptions_seed, 0);
  uint64_t b = (uint64_t)(int32_t)rlt_fb_i64(&n->def->options, RLT_SLOT_RandomOptions_seed2, 0);
  *g = (philox){{0, 0, (uint32_t)b, (uint32_t)(b >> 32)}, {(uint32_t)a, (uint32_t)(a >> 32)}, true};
}

/* ---- RANDOM_UNIFORM, RANDOM_STANDARD_NORMAL ---- */

static rlt_status prepare_random(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 1));
  int32_t rank, dims[RLT_MAX_RANK];
  RLT_TRY(rlt_check_type(p, n->out[0], RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_TRY(rlt_check_type(p, n->in[0], RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  RLT_REQUIRE(p->err, n->in[0]->count <= RLT_MAX_RANK, RLT_BAD_MODEL, "%T has more values than dimensions", n->in[0]);
  seed(n->data, n);
  if (n->in[0]->count > 0 && !rlt_const_data(n->in[0])) { /* run tells */
    rlt_open_shape(n->out[0]);
    return RLT_OK;
  }
  RLT_TRY(rlt_const_ints(p, n->in[0], RLT_MAX_RANK, dims, &rank));
  return rlt_set_shape(p, n->out[0], rank, dims);
}

/* Two normal numbers from two uniform ones (Box and Muller). */
static void normal_pair(uint32_t a, uint32_t b, float *to) {
  float u = unit_f32(a) < 1.0e-7f ? 1.0e-7f : unit_f32(a);
  float angle = (float)(6.283185307179586 * (double)unit_f32(b));
  float radius = rlt_sqrt(-2.0f * (float)rlt_log64((double)u));
  to[0] = rlt_sin(angle) * radius;
  to[1] = rlt_cos(angle) * radius;
}

static rlt_status run_random(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  philox *g = n->data;
  if (n->out[0]->by_run) {
    int32_t dims[RLT_MAX_RANK] = {0};
    rlt_read_ints(n->in[0], RLT_MAX_RANK, dims);
    RLT_TRY(rlt_set_output(r, n->out[0], (int32_t)n->in[0]->count, dims));
  }
  float *y = n->out[0]->data;
  for (uint64_t i = 0; i < n->out[0]->count; i += 4) {
    uint32_t bits[4];
    float values[4];
    uint64_t count = n->out[0]->count - i < 4 ? n->out[0]->count - i : 4;
    philox_next(g, bits);
    for (int32_t j = 0; j < 4; j++) values[j] = unit_f32(bits[j]);
    if (n->def->op == RLT_OP_RANDOM_STANDARD_NORMAL) {
      normal_pair(bits[0], bits[1], values);
      normal_pair(bits[2], bits[3], values + 2);
    }
    rlt_copy(y + i, values, count * sizeof *y);
  }
  return RLT_OK;
}

/* ---- MULTINOMIAL ---- */

static rlt_status prepare_multinomial(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 2, 2, 1));
  const rlt_tensor *logits = n->in[0];
  RLT_TRY(rlt_check_type(p, logits, RLT_BIT(RLT_TYPE_FLOAT32), "FLOAT32"));
  RLT_TRY(rlt_check_type(p, n->in[1], RLT_BIT(RLT_TYPE_INT32), "INT32"));
  RLT_TRY(rlt_check_type(p, n->out[0], RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_INT64), "INT32 or INT64"));
  const int32_t *samples = rlt_const_data(n->in[1]);
  RLT_REQUIRE(p->err, n->in[1]->count == 1 && (!samples || *samples >= 0), RLT_BAD_MODEL,
              "%T must be one number, not below 0", n->in[1]);
  RLT_REQUIRE(p->err, logits->rank == 2 && logits->dims[1] > 0, RLT_BAD_MODEL, "%T must be rows of some classes",
              logits);
  seed(n->data, n);
  n->scratch_bytes = (uint64_t)logits->dims[1] * sizeof(double);
  if (!samples) rlt_open_shape(n->out[0]);
  return samples ? rlt_set_shape(p, n->out[0], 2, (int32_t[]){logits->dims[0], *samples}) : RLT_OK;
}

static bool is_finite(float x) { return (rlt_f32_bits(x) & 0x7fffffffu) < 0x7f800000u; }

/* Sums of the classes' odds up to each one; infinite and NaN logits have none. */
static double cumulate(const float *logits, int64_t classes, double *sums) {
  float most = -3.40282347e38f;
  double total = 0.0;
  for (int64_t i = 0; i < classes; i++) most = is_finite(logits[i]) && logits[i] > most ? logits[i] : most;
  for (int64_t i = 0; i < classes; i++) {
    if (is_finite(logits[i])) total += rlt_exp64((double)logits[i] - (double)most);
    sums[i] = total;
  }
  return total;
}

/* First class whose sum is above `value`. */
static int64_t class_of(const double *sums, int64_t classes, double value) {
  int64_t from = 0, to = classes - 1;
  while (from < to) {
    int64_t middle = from + (to - from) / 2;
    if (sums[middle] > value) {
      to = middle;
    } else {
      from = middle + 1;
    }
  }
  return from;
}

static rlt_status run_multinomial(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)first, (void)last;
  const rlt_tensor *logits = n->in[0], *y = n->out[0];
  if (y->by_run) {
    RLT_TRY(rlt_set_output(r, n->out[0], 2, (int32_t[]){logits->dims[0], *(const int32_t *)n->in[1]->data}));
  }
  philox *g = n->data, own = *g;
  double *sums = r->scratch;
  int64_t classes = logits->dims[1], samples = y->dims[1];
  uint32_t bits[4];
  philox_skip(g, (uint64_t)y->dims[0] * (uint64_t)((samples + 3) / 4 * 4) * 2 * 256); /* as TensorFlow reserves */
  int32_t used = 4;
  for (int64_t i = 0; i < y->dims[0]; i++) {
    double total = cumulate((const float *)logits->data + i * classes, classes, sums);
    for (int64_t j = 0; j < samples; j++) {
      if (used == 4) philox_next(&own, bits);
      used = used == 4 ? 0 : used;
      int64_t found = class_of(sums, classes, unit_f64(bits[used], bits[used + 1]) * total);
      used += 2;
      if (y->type == RLT_TYPE_INT32) {
        ((int32_t *)y->data)[i * samples + j] = (int32_t)found;
      } else {
        ((int64_t *)y->data)[i * samples + j] = found;
      }
    }
  }
  return RLT_OK;
}

/* ---- STABLEHLO_RNG_BIT_GENERATOR ---- */

enum { DEFAULT, PHILOX, THREEFRY };

static rlt_status prepare_bits(rlt_prep *p, rlt_node *n) {
  RLT_TRY(rlt_check_arity(p, n, 1, 1, 2));
  const rlt_tensor *state = n->in[0];
  int32_t *algorithm = n->data;
  *algorithm = rlt_fb_i8(&n->def->options, RLT_SLOT_StablehloRngBitGeneratorOptions_algorithm, DEFAULT);
  RLT_REQUIRE(p->err, *algorithm >= DEFAULT && *algorithm <= THREEFRY, RLT_UNSUPPORTED,
              "algorithm %d is none of DEFAULT (0), PHILOX (1) and THREEFRY (2)", *algorithm);
  RLT_TRY(rlt_check_type(p, state, RLT_BIT(RLT_TYPE_UINT64), "UINT64"));
  RLT_TRY(rlt_check_same_type(p, state, n->out[0]));
  RLT_TRY(rlt_check_type(
      p, n->out[1],
      RLT_BIT(RLT_TYPE_INT32) | RLT_BIT(RLT_TYPE_UINT32) | RLT_BIT(RLT_TYPE_INT64) | RLT_BIT(RLT_TYPE_UINT64),
      "INT32, UINT32, INT64 or UINT64"));
  bool fits = state->rank == 1 && (state->dims[0] == 2 || (state->dims[0] == 3 && *algorithm != THREEFRY));
  RLT_REQUIRE(p->err, fits, RLT_BAD_MODEL, "%T is no state of this algorithm", state);
  RLT_TRY(rlt_set_shape(p, n->out[0], 1, state->dims));
  const rlt_tensor_def *bits = n->out[1]->def; /* no input tells its shape */
  for (int32_t d = 0; d < bits->rank; d++) {
    RLT_REQUIRE(p->err, bits->signature[d] >= 0, RLT_UNSUPPORTED, "%T: the file must declare its shape", n->out[1]);
  }
  return rlt_set_shape(p, n->out[1], bits->rank, bits->dims);
}

static uint32_t turn(uint32_t x, int32_t by) { return x << by | x >> (32 - by); }

static void threefry_block(const uint32_t *counter, const uint32_t *key, uint32_t *out) {
  static const uint8_t turns[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  uint32_t k[3] = {key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDAu};
  uint32_t a = counter[0] + k[0], b = counter[1] + k[1];
  for (uint32_t round = 0; round < 5; round++) {
    for (int32_t i = 0; i < 4; i++) {
      a += b;
      b = turn(b, turns[round % 2][i]) ^ a;
    }
    a += k[(round + 1) % 3];
    b += k[(round + 2) % 3] + round + 1;
  }
  out[0] = a;
  out[1] = b;
}

/* The state is a key, a counter of 64 bits and, of three numbers, the upper half of a counter of 128; a state of two
 * repeats the key there. */
static rlt_status run_bits(const rlt_run *r, const rlt_node *n, int32_t first, int32_t last) {
  (void)r, (void)first, (void)last;
  bool threefry = *(const int32_t *)n->data == THREEFRY;
  const rlt_tensor *state = n->in[0];
  uint32_t s[6] = {0}, block[4];
  __builtin_memcpy(s, state->data, (size_t)state->bytes);
  uint32_t *upper = state->dims[0] == 3 ? s + 4 : s;
  uint32_t counter[4] = {s[2], s[3], upper[0], upper[1]};
  uint64_t words = n->out[1]->bytes / 4, size = threefry ? 2 : 4;
  for (uint64_t i = 0; i < words; i += size) {
    if (threefry) {
      threefry_block(counter, s, block);
    } else {
      philox_block(counter, s, block);
    }
    rlt_copy((uint32_t *)n->out[1]->data + i, block, (words - i < size ? words - i : size) * 4);
    if (++counter[0] == 0) counter[1]++;
  }
  s[2] = counter[0];
  s[3] = counter[1];
  __builtin_memcpy(n->out[0]->data, s, (size_t)state->bytes);
  return RLT_OK;
}

#define KERNEL(symbol, op, size, is_stateful, prepare_fn, run_fn)  \
  const rlt_kernel rlt_kernel_##symbol = {.name = #op,             \
                                          .data_size = size,       \
                                          .max_version = 1,        \
                                          .stateful = is_stateful, \
                                          .prepare = prepare_fn,   \
                                          .run = run_fn};

KERNEL(random_uniform, RANDOM_UNIFORM, sizeof(philox), true, prepare_random, run_random)
KERNEL(random_standard_normal, RANDOM_STANDARD_NORMAL, sizeof(philox), true, prepare_random, run_random)
KERNEL(multinomial, MULTINOMIAL, sizeof(philox), true, prepare_multinomial, run_multinomial)
KERNEL(stablehlo_rng_bit_generator, STABLEHLO_RNG_BIT_GENERATOR, sizeof(int32_t), false, prepare_bits, run_bits)
