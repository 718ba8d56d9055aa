/* SPDX-License-Identifier: Apache-2.0
 * Opens, prepares, binds and invokes damaged models: any bytes must give a status or a correct run. Made to be built
 * with sanitizers; every mutant lies in memory of exactly its size, so that reading past it is seen.
 *
 *   fuzz_driver truncate MODEL        every prefix
 *   fuzz_driver flip MODEL            every byte, five other values each
 *   fuzz_driver mutate MODEL COUNT    COUNT mutants of several bytes, the same ones each time
 *   fuzz_driver grow MODEL            every block too small by steps of 16 bytes, then right
 *   fuzz_driver limits MODEL          every limit too low, and a caller who cancels
 * Prints how many mutants gave which status. Exit code 1: a promise was broken. */
#include "../fuzz/run_bytes.h"

enum { STATUSES = 11 };

static long counts[STATUSES];

/* The plainest run. */
static rlt_status run_bytes(const uint8_t *data, size_t size, unsigned *sum) {
  const run_choice plain = {.limits = small_limits, .threads = 1, .resize = 1};
  return run_with(data, size, &plain, sum);
}

static void count_run(const uint8_t *data, size_t size) {
  unsigned sum;
  uint8_t *exact = malloc(size ? size : 1);
  expect(exact != NULL, "the test has memory");
  memcpy(exact, data, size);
  counts[run_bytes(exact, size, &sum)]++;
  free(exact);
}

static void truncate_all(const uint8_t *data, size_t size) {
  for (size_t n = 0; n < size; n++) count_run(data, n);
}

static void flip_all(uint8_t *data, size_t size) {
  for (size_t i = 0; i < size; i++) {
    uint8_t was = data[i];
    const uint8_t others[] = {(uint8_t)~was, (uint8_t)(was ^ 1), (uint8_t)(was ^ 0x80), 0, 0xff};
    for (size_t k = 0; k < sizeof others; k++) {
      data[i] = others[k];
      count_run(data, size);
    }
    data[i] = was;
  }
}

static uint32_t next_random(void) {
  static uint64_t state = 0x853c49e6748fea9bu;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33);
}

static void mutate(const uint8_t *data, size_t size, long count) {
  uint8_t *copy = malloc(size);
  if (!copy) abort();
  for (long i = 0; i < count; i++) {
    memcpy(copy, data, size);
    for (uint32_t edits = 1 + next_random() % 4; edits > 0; edits--) {
      size_t at = next_random() % (size - 4);
      if (next_random() % 2) {
        copy[at] = (uint8_t)next_random();
      } else { /* a whole word from elsewhere: offsets that lead to the wrong table */
        memcpy(copy + at / 4 * 4, data + next_random() % (size - 4) / 4 * 4, 4);
      }
    }
    count_run(copy, size);
  }
  free(copy);
}

/* Each block too small in turn: the library must say so, and the same call must succeed with enough. */
static void grow_blocks(const uint8_t *data, size_t size) {
  const rlt_model *m = NULL;
  rlt_interpreter *it = NULL;
  rlt_error err;
  rlt_options options = {.threads = 1, .grow = grow};
  rlt_sizes sizes;
  size_t need;
  expect(rlt_open_size(data, size, &need, &err) == RLT_OK, "open_size");
  void *structure = block(need);
  for (size_t n = 0; n < need; n += 16)
    expect(judged(rlt_open(data, size, NULL, NULL, 0, structure, n, &m, &err), &err) == RLT_NO_MEMORY,
           "open took too little");
  expect(rlt_open(data, size, NULL, NULL, 0, structure, need, &m, &err) == RLT_OK, "open");
  need = rlt_create_size(m, &options);
  void *state = block(need);
  for (size_t n = 0; n < need; n += 16)
    expect(judged(rlt_create(m, &options, state, n, &it, &err), &err) == RLT_NO_MEMORY, "create took too little");
  expect(rlt_create(m, &options, state, need, &it, &err) == RLT_OK, "create");
  expect(rlt_get_sizes(it, &sizes) == RLT_BAD_STATE, "sizes before prepare");
  expect(judged(rlt_bind(it, NULL, 0, false, NULL, 0, &err), &err) == RLT_BAD_STATE, "bind before prepare");
  expect(judged(rlt_invoke(it, &err), &err) == RLT_BAD_STATE, "invoke before prepare");
  expect(rlt_prepare(it, &err) == RLT_OK, "prepare");
  expect(rlt_get_sizes(it, &sizes) == RLT_OK, "sizes");
  void *prepared = block(sizes.prepared), *arena = block(sizes.arena);
  for (size_t n = 0; n < sizes.prepared; n += 16)
    expect(judged(rlt_bind(it, prepared, n, false, arena, sizes.arena, &err), &err) == RLT_NO_MEMORY, "prepared");
  for (size_t n = 0; n < sizes.arena; n += 16)
    expect(judged(rlt_bind(it, prepared, sizes.prepared, false, arena, n, &err), &err) == RLT_NO_MEMORY, "arena");
  expect(judged(rlt_invoke(it, &err), &err) == RLT_BAD_STATE, "invoke before bind");
  expect(judged(rlt_bind(it, prepared, sizes.prepared, false, (char *)arena + 1, sizes.arena, &err), &err) ==
             RLT_BAD_ARGUMENT,
         "misaligned arena");
  expect(rlt_bind(it, prepared, sizes.prepared, false, arena, sizes.arena, &err) == RLT_OK, "bind");
  fill_inputs(m, it, 0);
  expect(rlt_invoke(it, &err) == RLT_OK, "invoke");
  unsigned first = read_outputs(m, it);
  expect(rlt_bind(it, prepared, sizes.prepared, true, arena, sizes.arena, &err) == RLT_OK, "bind what is packed");
  fill_inputs(m, it, 0);
  expect(rlt_invoke(it, &err) == RLT_OK && read_outputs(m, it) == first, "packed by the first, run by the second");
  counts[RLT_OK]++;
  free_region();
  free(prepared);
  free(arena);
  free(state);
  free(structure);
}

static int32_t questions;
static bool cancel_at_second(void *ctx) {
  (void)ctx;
  return ++questions == 2;
}

/* Opens and prepares under limits: the first status that is not OK. */
static rlt_status prepare_under(const uint8_t *data, size_t size, rlt_limits limits, rlt_error *err) {
  const rlt_model *m;
  rlt_interpreter *it;
  size_t need;
  expect(rlt_open_size(data, size, &need, err) == RLT_OK, "open_size");
  void *structure = block(need), *state = NULL;
  rlt_status status = judged(rlt_open(data, size, &limits, NULL, 0, structure, need, &m, err), err);
  if (status == RLT_OK) {
    need = rlt_create_size(m, NULL);
    state = block(need);
    status = judged(rlt_create(m, NULL, state, need, &it, err), err);
    if (status == RLT_OK) status = judged(rlt_prepare(it, err), err);
  }
  free(structure);
  free(state);
  return status;
}

static void check_limits(const uint8_t *data, size_t size) {
  rlt_error err;
  rlt_limits limits = rlt_default_limits();
  expect(prepare_under(data, size, limits, &err) == RLT_OK, "the defaults are enough");
  limits.max_tensor_bytes = 4;
  expect(prepare_under(data, size, limits, &err) == RLT_LIMIT && err.tensor >= 0, "max_tensor_bytes");
  limits = rlt_default_limits();
  limits.max_arena_bytes = 64;
  expect(prepare_under(data, size, limits, &err) == RLT_LIMIT, "max_arena_bytes");
  limits = rlt_default_limits();
  limits.max_macs = 3;
  expect(prepare_under(data, size, limits, &err) == RLT_LIMIT && err.node >= 0, "max_macs");
  limits = (rlt_limits){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
  expect(prepare_under(data, size, limits, &err) == RLT_OK, "no limits");
}

static void check_cancel(const uint8_t *data, size_t size) {
  const rlt_model *m;
  rlt_interpreter *it;
  rlt_error err;
  rlt_sizes sizes;
  size_t need;
  rlt_options options = {.threads = 1, .cancel = cancel_at_second};
  expect(rlt_open_size(data, size, &need, &err) == RLT_OK, "open_size");
  void *structure = block(need);
  expect(rlt_open(data, size, NULL, NULL, 0, structure, need, &m, &err) == RLT_OK, "open");
  need = rlt_create_size(m, &options);
  void *state = block(need);
  expect(rlt_create(m, &options, state, need, &it, &err) == RLT_OK, "create");
  expect(rlt_prepare(it, &err) == RLT_OK && rlt_get_sizes(it, &sizes) == RLT_OK, "prepare");
  void *prepared = block(sizes.prepared), *arena = block(sizes.arena);
  expect(rlt_bind(it, prepared, sizes.prepared, false, arena, sizes.arena, &err) == RLT_OK, "bind");
  fill_inputs(m, it, 0);
  expect(judged(rlt_invoke(it, &err), &err) == RLT_CANCELLED, "the second node was not cancelled");
  expect(rlt_invoke(it, &err) == RLT_OK, "invoke after a cancelled one");
  counts[RLT_OK]++;
  free(prepared);
  free(arena);
  free(state);
  free(structure);
}

/* The model at an odd address gives the same status and outputs. */
static void check_misaligned(const uint8_t *data, size_t size) {
  unsigned even = 0, odd = 0;
  uint8_t *copy = malloc(size + 1);
  if (!copy) abort();
  memcpy(copy + 1, data, size);
  rlt_status status = run_bytes(data, size, &even);
  expect(run_bytes(copy + 1, size, &odd) == status && even == odd, "at an odd address the outputs differ");
  free(copy);
}

int main(int argc, char **argv) {
  FILE *file = argc > 2 ? fopen(argv[2], "rb") : NULL;
  if (!file) return fprintf(stderr, "usage: fuzz_driver truncate|flip|mutate|grow|limits MODEL [COUNT]\n"), 2;
  fseek(file, 0, SEEK_END);
  size_t size = (size_t)ftell(file);
  rewind(file);
  uint8_t *data = malloc(size + 1);
  if (!data || fread(data, 1, size, file) != size) return 2;
  fclose(file);
  check_misaligned(data, size);
  if (!strcmp(argv[1], "truncate")) truncate_all(data, size);
  if (!strcmp(argv[1], "flip")) flip_all(data, size);
  if (!strcmp(argv[1], "mutate")) mutate(data, size, argc > 3 ? atol(argv[3]) : 1000);
  if (!strcmp(argv[1], "grow")) grow_blocks(data, size);
  if (!strcmp(argv[1], "limits")) check_limits(data, size), check_cancel(data, size);
  for (int i = 0; i < STATUSES; i++)
    if (counts[i]) printf("%s %ld\n", rlt_status_name((rlt_status)i), counts[i]);
  free(data);
  return 0;
}
