/* SPDX-License-Identifier: Apache-2.0
 * Gives a pool jobs of all sizes: pool_driver THREADS. Every tile must run once, under a thread number in range, and
 * what a job wrote must be seen when it returns; an idle pool must sleep. Prints "done", or what went wrong. */
#define _POSIX_C_SOURCE 200809L
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rillet.h"

enum { MOST_TILES = 5000, JOBS = 3000 };

typedef struct job {
  int32_t threads;
  int32_t spin;             /* rounds of work in every tile */
  int32_t runs[MOST_TILES]; /* plain: written by one thread each, read when the job is over */
  _Atomic int32_t strangers;
} job;

static void count(void *ctx, int32_t first, int32_t last, int32_t thread) {
  job *j = ctx;
  if (thread < 0 || thread >= j->threads || first >= last) atomic_fetch_add(&j->strangers, 1);
  for (int32_t i = first; i < last; i++) {
    for (volatile int32_t spin = 0; spin < j->spin;) spin = spin + 1;
    j->runs[i]++;
  }
}

static void fail(const char *what, int32_t tiles) {
  printf("%s (%d tiles)\n", what, tiles);
  exit(1);
}

static void give(rlt_pool *pool, job *j, int32_t tiles) {
  memset(j->runs, 0, sizeof j->runs);
  rlt_pool_parallel_for(pool, tiles, count, j);
  for (int32_t i = 0; i < MOST_TILES; i++)
    if (j->runs[i] != (i < tiles)) fail("a tile did not run once", tiles);
  if (atomic_load(&j->strangers)) fail("a thread or a range is wrong", tiles);
}

static void pause_ms(long ms) { nanosleep(&(struct timespec){0, ms * 1000000}, NULL); }

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  static job j;
  j.threads = argc > 1 ? atoi(argv[1]) : 2;
  rlt_pool *pool = rlt_pool_create(j.threads);
  if (!pool) fail("no pool", 0);
  for (int32_t n = 0; n < JOBS; n++) {
    j.spin = n % 50 == 0 ? 2000 : 0;
    give(pool, &j, n < 300 ? n : n % 10 == 0 ? n * 7 % MOST_TILES : n % 37);
    if (n % 100 == 0) pause_ms(1); /* so that the next one finds sleepers */
  }
  double before = cpu_seconds();
  pause_ms(400);
  if (cpu_seconds() - before > 0.1) fail("an idle pool burns a core", 0);
  rlt_pool_destroy(pool);
  puts("done");
  return 0;
}
