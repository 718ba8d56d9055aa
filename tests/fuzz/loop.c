/* SPDX-License-Identifier: Apache-2.0
 * Fuzzes without libFuzzer: a child process mutates and runs, its parent watches, saves what ended it and starts the
 * next child behind it. Made to be built with sanitizers.
 *
 *   loop run MODEL...                                       each file as it is, once
 *   loop each MODEL...                                      each value of the files' tables as 0, -1, one too many, ...
 *   loop fuzz COUNT SECONDS FIRST FINDINGS MODEL...         mutants number FIRST, FIRST + 1, ... of the models in turn
 *
 * Ends after COUNT mutants or SECONDS, whichever is first; prints how many gave which status. A mutant's number and the
 * list of models decide what it is. Exit code 1: findings, which lie in the folder FINDINGS. */
#define _DEFAULT_SOURCE
#include "target.c"

#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STATUSES = 11, SECONDS_PER_CASE = 20, ROOM = 1 << 16, MOST_FINDINGS = 20 };

typedef struct seed_file {
  const char *path;
  uint8_t *data;
  size_t size;
} seed_file;

/* What child and parent share. */
typedef struct shared_state {
  uint64_t done, counts[STATUSES];
  size_t case_size;
  uint8_t bytes[];
} shared_state;

static seed_file *seeds;
static size_t n_seeds, largest;
static shared_state *shared;

static void read_seeds(int count, char **paths) {
  seeds = calloc((size_t)count + 1, sizeof *seeds);
  for (int i = 0; seeds && i < count; i++) {
    FILE *file = fopen(paths[i], "rb");
    if (!file) perror(paths[i]), exit(2);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(size + 1);
    if (!data || fread(data, 1, size, file) != size) perror(paths[i]), exit(2);
    fclose(file);
    seeds[n_seeds++] = (seed_file){paths[i], data, size};
    if (size > largest) largest = size;
  }
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Tensors of the main graph. */
static int32_t tensors_of(const uint8_t *data, size_t size) {
  size_t need;
  const rlt_model *m;
  rlt_error err;
  if (rlt_open_size(data, size, &need, &err) != RLT_OK) return 0;
  void *structure = block(need);
  bool opens = rlt_open(data, size, NULL, NULL, 0, structure, need, &m, &err) == RLT_OK;
  int32_t count = opens ? rlt_tensor_count(m, 0) : 0;
  free(structure);
  return count;
}

static void run_case(void) {
  setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = SECONDS_PER_CASE}, NULL); /* of this process alone */
  LLVMFuzzerTestOneInput(shared->bytes, shared->case_size);
  setitimer(ITIMER_PROF, &(struct itimerval){0}, NULL);
  shared->counts[fuzz_status]++;
  shared->done++;
}

/* Every number as 0, -1, the count of tensors and the ends of its type; every float as 0, NaN, infinite, negative. */
static void run_each_value(const seed_file *seed) {
  enum { ROOM_FOR_SITES = 1 << 14 };
  static site sites[ROOM_FOR_SITES];
  static const float floats[] = {0.0f, -1.0f, 1e-45f, 3.0e38f, __builtin_inff(), __builtin_nanf("")};
  walker w = {.like_of = 0xfffe, .values = sites, .room = ROOM_FOR_SITES};
  walk_file(&w, seed->data, seed->size);
  const int64_t ints[] = {0, -1, 1, tensors_of(seed->data, seed->size), INT32_MAX, INT32_MIN, INT64_MAX};
  for (size_t i = 0; i < w.n_values; i++) {
    bool is_float = sites[i].form == AS_FLOAT && sites[i].width == 4;
    for (size_t k = 0; k < (is_float ? sizeof floats / sizeof *floats : sizeof ints / sizeof *ints); k++) {
      memcpy(shared->bytes, seed->data, shared->case_size = seed->size);
      memcpy(shared->bytes + sites[i].pos, is_float ? (const void *)&floats[k] : &ints[k], sites[i].width);
      run_case();
    }
  }
}

static void make_mutant(uint64_t number) {
  const seed_file *s = &seeds[number % n_seeds];
  memcpy(shared->bytes, s->data, s->size);
  shared->case_size = LLVMFuzzerCustomMutator(shared->bytes, s->size, largest + ROOM, (unsigned)(number / n_seeds));
}

static void fuzz_until(uint64_t first, uint64_t count, double end) {
  while (shared->done < count && now() < end) {
    make_mutant(first + shared->done);
    run_case();
  }
}

static void print_counts(double seconds) {
  printf("%llu mutants in %.0f s (%.0f/s):", (unsigned long long)shared->done, seconds,
         (double)shared->done / (seconds > 0.0 ? seconds : 1.0));
  for (int i = 0; i < STATUSES; i++)
    if (shared->counts[i]) printf(" %s %llu", rlt_status_name((rlt_status)i), (unsigned long long)shared->counts[i]);
  printf("\n");
  fflush(stdout);
}

static void save_finding(const char *folder, uint64_t first, int status) {
  char path[4096];
  uint64_t number = first + shared->done;
  snprintf(path, sizeof path, "%s/%llu.tflite", folder, (unsigned long long)number);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(shared->bytes, 1, shared->case_size, file) != shared->case_size) perror(path), exit(2);
  fclose(file);
  bool slow = WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF;
  printf("FINDING: mutant %llu of %s %s; saved as %s\n", (unsigned long long)number, seeds[number % n_seeds].path,
         slow ? "takes too long" : "ended the process", path);
}

/* One child after the other; returns how many findings there were. */
static int fuzz(uint64_t count, double seconds, uint64_t first, const char *folder) {
  double start = now(), end = start + seconds;
  int findings = 0;
  while (shared->done < count && now() < end && findings < MOST_FINDINGS) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      double told = now();
      while (shared->done < count && now() < end) {
        fuzz_until(first, count, told + 10.0 < end ? told + 10.0 : end);
        print_counts((told = now()) - start);
      }
      exit(0); /* with the leak sanitizer's verdict */
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) perror("fork"), exit(2);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    save_finding(folder, first, status);
    findings++;
    shared->done++;
  }
  print_counts(now() - start);
  return findings;
}

int main(int argc, char **argv) {
  bool fuzzes = argc > 6 && !strcmp(argv[1], "fuzz"), runs = argc > 2 && !strcmp(argv[1], "run");
  bool each = argc > 2 && !strcmp(argv[1], "each");
  if (!fuzzes && !runs && !each)
    return fprintf(stderr, "usage: loop fuzz COUNT SECONDS FIRST FINDINGS MODEL... | loop run|each MODEL...\n"), 2;
  read_seeds(argc - (fuzzes ? 6 : 2), argv + (fuzzes ? 6 : 2));
  shared = mmap(NULL, sizeof *shared + largest + ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return perror("mmap"), 2;
  int findings = 0;
  if (fuzzes) findings = fuzz(strtoull(argv[2], NULL, 10), atof(argv[3]), strtoull(argv[4], NULL, 10), argv[5]);
  for (size_t i = 0; runs && i < n_seeds; i++) {
    memcpy(shared->bytes, seeds[i].data, shared->case_size = seeds[i].size);
    run_case();
  }
  for (size_t i = 0; each && i < n_seeds; i++) run_each_value(&seeds[i]);
  if (runs || each) print_counts(0.0);
  for (size_t i = 0; i < n_seeds; i++) free(seeds[i].data);
  free(seeds);
  return findings > 0;
}
