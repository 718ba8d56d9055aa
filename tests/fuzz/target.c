/* SPDX-License-Identifier: Apache-2.0
 * The entry points of libFuzzer: LLVMFuzzerTestOneInput takes any bytes through open, prepare, bind and invoke, and
 * LLVMFuzzerCustomMutator changes a model by its structure. Where clang has libFuzzer:
 *   loop.c calls both in a loop, for compilers without libFuzzer. Where clang has it, all that is missing is main:
 *   clang -fsanitize=fuzzer,address,undefined -Iruntime/include tests/fuzz/target.c OBJECTS -o target
 * with the objects of the runtime built by clang with -fsanitize=fuzzer-no-link,address,undefined; then
 *   ./target tests/fuzz/corpus */
#include "mutate.h"
#include "run_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

rlt_status fuzz_status; /* of the last input, for those who count */

/* The bytes themselves decide how they are run, so a case that was saved runs the same again. */
static run_choice choose(const uint8_t *data, size_t size) {
  static const char *const isas[] = {NULL, NULL, NULL, "scalar", "avx2"};
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < size; i++) h = (h ^ data[i]) * 16777619u;
  h ^= h >> 15;
  bool odd = h % 2; /* half of them as plain as can be */
  return (run_choice){.limits = small_limits,
                      .isa = isas[(h >> 1) % 5],
                      .threads = odd && (h >> 4) % 4 == 0 ? 3 : 1,
                      .resize = odd && (h >> 6) % 8 == 0 ? (int32_t)((h >> 9) % 4) : 1,
                      .cancel = odd && (h >> 11) % 8 == 0 ? 1 + (int32_t)((h >> 14) % 4) : 0,
                      .fill = odd ? (h >> 16) % 16 : 0,
                      .preserve = odd && (h >> 20) % 8 == 0,
                      .no_grow = odd && (h >> 23) % 8 == 0,
                      .twice = odd && (h >> 26) % 4 == 0};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  unsigned sum;
  uint8_t *exact = malloc(size ? size : 1);
  expect(exact != NULL, "the test has memory");
  memcpy(exact, data, size);
  run_choice choice = choose(data, size);
  fuzz_status = run_with(exact, size, &choice, &sum);
  free(exact);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  return mutate(data, size, max_size, seed);
}
