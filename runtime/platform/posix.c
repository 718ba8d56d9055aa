/* SPDX-License-Identifier: Apache-2.0
 * Thread pool and clock over pthreads.
 *
 * A job is a range of tiles, cut into chunks, of which every thread has a run of its own: so from layer to layer a
 * thread meets the same part of an image, which its cache still holds. It takes half of what is left of its run at a
 * time, then helps the others from the end of theirs. What is left of a run is one word with the job's number, claimed
 * by compare-and-swap, so a thread that wakes late finds it empty or takes part in the job it belongs to: the caller
 * waits for chunks, never for threads. */
#define _GNU_SOURCE
#include "platform.h"

#include <pthread.h>
#include <sched.h>
#ifndef _WIN32 /* where the compiler brings threads of this kind, and no signals reach them */
#include <signal.h>
#endif
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/auxv.h>
#endif

enum { MAX_THREADS = 1024, CHUNKS_PER_THREAD = 16, PAUSES = 16, CACHE_LINE = 64 };
/* An idle thread watches for work so long before it sleeps. Nodes that are not shared take less time as a rule, and to
 * be woken takes about as long. */
#define WATCH_NS 50000

/* What is left of a thread's chunks: job number << 32 | end << 16 | next. */
typedef struct run {
  _Atomic uint64_t left;
  char apart[CACHE_LINE - sizeof(uint64_t)];
} run;

typedef struct worker {
  rlt_pool *pool;
  int32_t index;
  pthread_t thread;
} worker;

struct rlt_pool {
  int32_t threads; /* the caller's included */
  int32_t started; /* workers that run */
  bool watches;
  bool quit;   /* under mutex */
  pid_t owner; /* process the workers live in: none of them survives a fork */
  worker *workers;
  pthread_mutex_t mutex;
  pthread_cond_t wake, finished;
  /* Who sleeps says so under mutex, then looks at `job` or `completed` once more; who changes those looks here then. */
  _Atomic int32_t sleepers;
  _Atomic bool caller_sleeps;
  /* The job, constant while any of its chunks is claimed and not completed. */
  _Atomic int32_t tiles, chunks;
  _Atomic(rlt_task) task;
  _Atomic(void *) ctx;
  char apart[CACHE_LINE];
  _Atomic uint32_t job; /* its number */
  char apart_too[CACHE_LINE];
  _Atomic int32_t completed; /* chunks */
  run runs[];
};

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
  __asm__ volatile("yield");
#endif
}

static void init_locks(rlt_pool *pool) {
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->finished, NULL);
  atomic_store(&pool->sleepers, 0);
  atomic_store(&pool->caller_sleeps, false);
  pool->quit = false;
  pool->started = 0;
  pool->owner = getpid();
}

static int32_t usable_cpus(void) {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
#ifdef _WIN32
  return (int32_t)pthread_num_processors_np();
#else
  return (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
#endif
}

/* Takes chunks [*first, *last): half of what is left of a run, from the front of one's own, from the end of others'. */
static bool claim(run *r, bool own, uint32_t *first, uint32_t *last) {
  uint64_t left = atomic_load_explicit(&r->left, memory_order_acquire);
  for (;;) {
    uint32_t next = (uint32_t)left & 0xffff, end = (uint32_t)left >> 16;
    if (next >= end) return false;
    uint32_t take = (end - next + 1) / 2;
    *first = own ? next : end - take;
    *last = *first + take;
    uint64_t rest = own ? left + take : left - ((uint64_t)take << 16);
    if (atomic_compare_exchange_weak_explicit(&r->left, &left, rest, memory_order_acq_rel, memory_order_acquire))
      return true;
  }
}

static int32_t first_tile(uint32_t chunk, int32_t chunks, int32_t tiles) {
  return (int32_t)((int64_t)chunk * tiles / chunks);
}

/* Runs chunks of the current job until none is left to claim. */
static void work(rlt_pool *pool, int32_t index) {
  int32_t mine = 0, chunks = 0;
  for (int32_t i = 0; i < pool->threads; i++) {
    int32_t whose = index + i < pool->threads ? index + i : index + i - pool->threads;
    uint32_t first, last;
    while (claim(&pool->runs[whose], i == 0, &first, &last)) {
      int32_t tiles = atomic_load(&pool->tiles);
      chunks = atomic_load(&pool->chunks);
      rlt_task task = atomic_load(&pool->task);
      task(atomic_load(&pool->ctx), first_tile(first, chunks, tiles), first_tile(last, chunks, tiles), index);
      mine += (int32_t)(last - first);
    }
  }
  if (mine == 0 || atomic_fetch_add(&pool->completed, mine) + mine != chunks || index == 0) return;
  if (!atomic_load(&pool->caller_sleeps)) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_signal(&pool->finished);
  pthread_mutex_unlock(&pool->mutex);
}

static bool has_job(rlt_pool *pool, uint32_t seen) { return atomic_load(&pool->job) != seen; }
static bool is_complete(rlt_pool *pool, uint32_t chunks) { return atomic_load(&pool->completed) == (int32_t)chunks; }

/* Waits for a moment until is(pool, value); whether it came about. */
static bool watch(rlt_pool *pool, bool (*is)(rlt_pool *, uint32_t), uint32_t value) {
  if (is(pool, value)) return true;
  if (!pool->watches) return false;
  uint64_t start = rlt_clock_ns();
  do {
    for (int32_t i = 0; i < PAUSES; i++) {
      if (is(pool, value)) return true;
      pause_briefly();
    }
  } while (rlt_clock_ns() - start < WATCH_NS);
  return false;
}

static void *worker_main(void *argument) {
  worker *self = argument;
  rlt_pool *pool = self->pool;
  uint32_t seen = 0;
  for (;;) {
    if (!watch(pool, has_job, seen)) {
      pthread_mutex_lock(&pool->mutex);
      atomic_fetch_add(&pool->sleepers, 1);
      while (!has_job(pool, seen) && !pool->quit) pthread_cond_wait(&pool->wake, &pool->mutex);
      atomic_fetch_sub(&pool->sleepers, 1);
      bool quit = pool->quit;
      pthread_mutex_unlock(&pool->mutex);
      if (quit) return NULL;
    }
    seen = atomic_load(&pool->job);
    work(pool, self->index);
  }
}

/* Starts the workers with all signals blocked: handlers belong to the program's own threads. A thread that cannot
 * start is work the others do. */
static void start_workers(rlt_pool *pool) {
#ifndef _WIN32
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
  while (pool->started < pool->threads - 1) {
    worker *w = &pool->workers[pool->started];
    *w = (worker){.pool = pool, .index = pool->started + 1};
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0) break;
    pool->started++;
  }
#ifndef _WIN32
  pthread_sigmask(SIG_SETMASK, &before, NULL);
#endif
}

rlt_pool *rlt_pool_create(int32_t threads) {
  if (threads < 1 || threads > MAX_THREADS) return NULL;
  size_t runs = (size_t)threads * sizeof(run);
  rlt_pool *pool = calloc(1, sizeof *pool + runs + (size_t)threads * sizeof(worker));
  if (!pool) return NULL;
  pool->threads = threads;
  pool->workers = (worker *)(void *)((char *)pool->runs + runs);
  pool->watches = threads <= usable_cpus();
  init_locks(pool);
  return pool;
}

void rlt_pool_destroy(rlt_pool *pool) {
  if (!pool) return;
  if (pool->owner == getpid()) {
    pthread_mutex_lock(&pool->mutex);
    pool->quit = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int32_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->finished);
  }
  free(pool);
}

static void wait_for_chunks(rlt_pool *pool, uint32_t chunks) {
  if (watch(pool, is_complete, chunks)) return;
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->caller_sleeps, true);
  while (!is_complete(pool, chunks)) pthread_cond_wait(&pool->finished, &pool->mutex);
  atomic_store(&pool->caller_sleeps, false);
  pthread_mutex_unlock(&pool->mutex);
}

void rlt_pool_parallel_for(void *opaque, int32_t tiles, rlt_task task, void *ctx) {
  rlt_pool *pool = opaque;
  if (tiles <= 0) return;
  if (pool->threads == 1 || tiles == 1) {
    task(ctx, 0, tiles, 0);
    return;
  }
  if (pool->owner != getpid()) init_locks(pool);
  if (pool->started < pool->threads - 1) start_workers(pool);

  int32_t threads = pool->threads, most = threads * CHUNKS_PER_THREAD, chunks = tiles < most ? tiles : most;
  atomic_store(&pool->tiles, tiles);
  atomic_store(&pool->chunks, chunks);
  atomic_store(&pool->task, task);
  atomic_store(&pool->ctx, ctx);
  atomic_store(&pool->completed, 0);
  uint32_t job = atomic_load(&pool->job) + 1;
  for (int32_t i = 0; i < threads; i++) {
    uint32_t next = (uint32_t)(i * chunks / threads), end = (uint32_t)((i + 1) * chunks / threads);
    atomic_store_explicit(&pool->runs[i].left, (uint64_t)job << 32 | end << 16 | next, memory_order_release);
  }
  atomic_store(&pool->job, job);
  if (atomic_load(&pool->sleepers) > 0) {
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
  }
  work(pool, 0);
  wait_for_chunks(pool, (uint32_t)chunks);
}

uint64_t rlt_clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* For the core, which declares it in simd/ukernels.h. */
uint64_t rlt_hwcap(void);
uint64_t rlt_hwcap(void) {
#ifdef __linux__
  return getauxval(AT_HWCAP);
#else
  return 0;
#endif
}
