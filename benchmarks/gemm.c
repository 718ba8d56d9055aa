/* SPDX-License-Identifier: Apache-2.0
 * Matrix products of the runtime against the core's peak: rows "isa type m n k peak reached", in 10^9 operations per
 * second, best of interleaved rounds on one thread. benchmarks/gemm.py builds, runs and prints it. */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../runtime/kernels/matrix.h"

/* ---- the peak: loops that touch registers only, with enough independent sums to hide the latency. The instructions
 * are spelled out, so that no compiler adds a copy or takes one away. ---- */

typedef struct peak_loop {
  const char *isa, *type;
  double (*run)(int32_t rounds); /* returns the operations done; a multiply and an add are two */
} peak_loop;

/* Twelve sums, %0 to %11; operands %12, a place for products, and %13, %14, what is multiplied. */
#define PEAK_LOOP(name, isa, vector, operations, op)                                                               \
  __attribute__((target(isa), noinline)) static double name(int32_t rounds) {                                      \
    vector s0 = {0}, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0, s10 = s0,    \
           s11 = s0, product = s0, a = s0, b = s0;                                                                 \
    for (int32_t r = 0; r < rounds; r++)                                                                           \
      __asm__ volatile(op("0") op("1") op("2") op("3") op("4") op("5") op("6") op("7") op("8") op("9") op("10")    \
                           op("11")                                                                                \
                       : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7), "+v"(s8), \
                         "+v"(s9), "+v"(s10), "+v"(s11), "+v"(product)                                             \
                       : "v"(a), "v"(b));                                                                          \
    return 12.0 * (operations) * rounds;                                                                           \
  }

#define FMA(sum) "vfmadd231ps %14, %13, %" sum "\n\t"
#define DOT2(sum) "vpmaddwd %14, %13, %12\n\tvpaddd %12, %" sum ", %" sum "\n\t"
#define DOT4(sum) "vpdpbusd %14, %13, %" sum "\n\t"

PEAK_LOOP(peak_f32_avx2, "avx2,fma", __m256, 16, FMA)
PEAK_LOOP(peak_s8_avx2, "avx2", __m256i, 32, DOT2)
PEAK_LOOP(peak_f32_avx512, "avx512f", __m512, 32, FMA)
PEAK_LOOP(peak_s8_avx512, "avx512f,avx512vnni", __m512i, 128, DOT4)

static const peak_loop peak_loops[] = {
    {"avx2", "f32", peak_f32_avx2},
    {"avx2", "s8", peak_s8_avx2},
    {"avx512", "f32", peak_f32_avx512},
    {"avx512", "s8", peak_s8_avx512},
};

/* ---- the products ---- */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *block(size_t bytes) {
  void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!p) exit(1);
  memset(p, 1, bytes);
  return p;
}

static void fill_rows(const rlt_node *n, int32_t group, int32_t first, int32_t count, bool fresh, rlt_rows *rows) {
  (void)group, (void)fresh;
  const rlt_matrix *m = n->data;
  size_t row = (size_t)m->k * (m->w.family == RLT_FAMILY_FLOAT ? 4 : 1);
  for (int32_t i = 0; i < count; i++) rows->at[i] = (const char *)n->in[0]->data + (size_t)(first + i) * row;
}

/* A node m x k times k x n as the interpreter would hold it. */
typedef struct product {
  rlt_matrix matrix;
  rlt_tensor_def defs[3];
  rlt_tensor x, weights, out;
  rlt_tensor *in[2], *outs[1];
  rlt_node_def def;
  rlt_node node;
  float one;
  void *scratch;
} product;

static void make(product *p, const rlt_ukernels *u, bool is_float, int32_t m, int32_t n, int32_t k) {
  size_t element = is_float ? 4 : 1;
  memset(p, 0, sizeof *p);
  p->one = 1.0f;
  rlt_tensor *tensors[] = {&p->x, &p->weights, &p->out};
  for (int i = 0; i < 3; i++) {
    tensors[i]->def = &p->defs[i];
    tensors[i]->is_const = i == 1;
    p->defs[i].quant.n = 1;
    p->defs[i].quant.scales = (rlt_vector){(const uint8_t *)&p->one, 1};
  }
  p->x.data = block((size_t)m * (size_t)k * element);
  p->weights.data = block((size_t)n * (size_t)k * element);
  p->out.data = block((size_t)m * (size_t)n * element);
  p->in[0] = &p->x, p->in[1] = &p->weights, p->outs[0] = &p->out;
  p->def.n_inputs = 2;
  p->node.def = &p->def, p->node.in = p->in, p->node.out = p->outs, p->node.data = &p->matrix;
  rlt_matrix *t = &p->matrix;
  t->w = (rlt_weighted){is_float ? RLT_FAMILY_FLOAT : RLT_FAMILY_INT8, -1e30f, 1e30f, {0, -128, 127}};
  t->rows = m, t->groups = 1, t->n = n, t->k = k;
  rlt_prep prep = {u, NULL, NULL, 1};
  rlt_matrix_plan(&prep, &p->node, t);
  p->node.packed = block(p->node.packed_bytes);
  p->scratch = block(p->node.scratch_bytes);
  rlt_matrix_pack(u, &p->node, t, p->node.packed);
}

static void drop(product *p) {
  free(p->x.data), free(p->weights.data), free(p->out.data), free(p->node.packed), free(p->scratch);
}

/* 10^9 operations per second of one run, repeated for about a millisecond: short, so that some round meets an idle
 * core. */
static double speed(product *p, const rlt_ukernels *u) {
  rlt_run run = {u, p->scratch, NULL};
  int32_t rounds = 0;
  double start = now(), taken = 0;
  for (; taken < 0.001; rounds++) {
    rlt_matrix_run(&run, &p->node, &p->matrix, fill_rows, 0, p->node.tiles);
    taken = now() - start;
  }
  return 2e-9 * (double)p->node.macs * rounds / taken;
}

static double peak(const peak_loop *loop) {
  double start = now();
  double done = loop->run(100000);
  return 1e-9 * done / (now() - start);
}

static void measure(const char *isa, bool is_float, int32_t m, int32_t n, int32_t k) {
  const rlt_ukernels *u = rlt_select_ukernels(isa);
  const char *type = is_float ? "f32" : "s8";
  const peak_loop *loop = NULL;
  for (size_t i = 0; i < sizeof peak_loops / sizeof peak_loops[0]; i++)
    if (!strcmp(peak_loops[i].isa, isa) && !strcmp(peak_loops[i].type, type)) loop = &peak_loops[i];
  product p;
  make(&p, u, is_float, m, n, k);
  double best = 0, best_peak = 0;
  for (int i = 0; i < 100; i++) {
    double s = speed(&p, u), t = loop ? peak(loop) : 0;
    if (s > best) best = s;
    if (t > best_peak) best_peak = t;
  }
  printf("%s\t%s\t%d\t%d\t%d\t%.1f\t%.1f\t%s\n", isa, type, m, n, k, best_peak, best, p.node.loop);
  drop(&p);
}

int main(int argc, char **argv) {
  static const char *const isas[] = {"scalar", "avx2", "avx512"};
  int32_t sizes[][3] = {{512, 512, 512}, {3136, 96, 16}, {784, 32, 192},
                        {196, 384, 64},  {49, 960, 160}, {1, 1024, 1024}};
  for (size_t i = 0; i < 3; i++) {
    const rlt_ukernels *u = rlt_select_ukernels(isas[i]);
    if (!u || strcmp(u->isa, isas[i]) != 0) continue;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0] && (s == 0 || argc > 1 + 0 * (argv != NULL)); s++)
      for (int f = 1; f >= 0; f--) measure(isas[i], f, sizes[s][0], sizes[s][1], sizes[s][2]);
  }
  return 0;
}
