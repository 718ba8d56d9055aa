/* SPDX-License-Identifier: Apache-2.0
 * Thread pool and clock over pthreads.
 *
 * A job is a range of tiles. Threads claim chunks of it by compare-and-swap on one ticket word that holds the job's
 * number and the next tile, so a thread that wakes late finds the ticket closed or moved on and touches nothing:
 * the caller waits for tiles, never for threads. */
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

enum { SPINS = 1000, CHUNKS_PER_THREAD = 4 };
#define CLOSED UINT32_MAX

typedef struct worker {
  rlt_pool *pool;
  int32_t index;
  pthread_t thread;
} worker;

struct rlt_pool {
  int32_t threads; /* the caller's included */
  int32_t started; /* workers that run */
  int32_t spins;
  pid_t owner; /* process the workers live in: none of them survives a fork */
  pthread_mutex_t mutex;
  pthread_cond_t wake, finished;
  int32_t sleepers; /* under mutex, as are the next two */
  bool caller_sleeps;
  bool quit;
  _Atomic uint64_t ticket; /* job number << 32 | next tile */
  _Atomic int32_t completed;
  /* The job. Atomic because a late thread may read it while the next one is written; it then claims nothing. */
  _Atomic int32_t tiles, chunk;
  _Atomic(rlt_task) task;
  _Atomic(void *) ctx;
  worker workers[];
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
  pool->sleepers = 0;
  pool->caller_sleeps = false;
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

/* Claims and runs chunks of the current job until none is left. */
static void work(rlt_pool *pool, int32_t index) {
  uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
  for (;;) {
    uint32_t next = (uint32_t)ticket;
    int32_t tiles = atomic_load_explicit(&pool->tiles, memory_order_acquire);
    int32_t chunk = atomic_load_explicit(&pool->chunk, memory_order_acquire);
    rlt_task task = atomic_load_explicit(&pool->task, memory_order_acquire);
    void *ctx = atomic_load_explicit(&pool->ctx, memory_order_acquire);
    if (next == CLOSED || next >= (uint32_t)tiles) return;
    uint32_t left = (uint32_t)tiles - next, take = (uint32_t)chunk < left ? (uint32_t)chunk : left;
    if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket + take, memory_order_acq_rel,
                                               memory_order_acquire)) {
      continue;
    }
    task(ctx, (int32_t)next, (int32_t)(next + take), index);
    int32_t before = atomic_fetch_add_explicit(&pool->completed, (int32_t)take, memory_order_acq_rel);
    if (before + (int32_t)take == tiles && index != 0) {
      pthread_mutex_lock(&pool->mutex);
      if (pool->caller_sleeps) pthread_cond_signal(&pool->finished);
      pthread_mutex_unlock(&pool->mutex);
      return;
    }
    ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
  }
}

static uint32_t job_number(rlt_pool *pool) {
  return (uint32_t)(atomic_load_explicit(&pool->ticket, memory_order_acquire) >> 32);
}

static void *worker_main(void *argument) {
  worker *self = argument;
  rlt_pool *pool = self->pool;
  uint32_t seen = 0;
  for (;;) {
    for (int32_t i = 0; i < pool->spins && job_number(pool) == seen; i++) pause_briefly();
    if (job_number(pool) == seen) {
      pthread_mutex_lock(&pool->mutex);
      pool->sleepers++;
      while (job_number(pool) == seen && !pool->quit) pthread_cond_wait(&pool->wake, &pool->mutex);
      pool->sleepers--;
      bool quit = pool->quit;
      pthread_mutex_unlock(&pool->mutex);
      if (quit) return NULL;
    }
    seen = job_number(pool);
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
  if (threads < 1 || threads > 1024) return NULL;
  rlt_pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof(worker));
  if (!pool) return NULL;
  pool->threads = threads;
  pool->spins = threads <= usable_cpus() ? SPINS : 0;
  atomic_store(&pool->ticket, CLOSED);
  init_locks(pool);
  return pool;
}

void rlt_pool_destroy(rlt_pool *pool) {
  if (!pool) return;
  if (pool->owner == getpid()) {
    pthread_mutex_lock(&pool->mutex);
    pool->quit = true;
    /* A new job number with a closed ticket ends the spinning too. */
    atomic_store(&pool->ticket, ((uint64_t)(job_number(pool) + 1u) << 32) | CLOSED);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int32_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->finished);
  }
  free(pool);
}

/* Waits until all tiles are done: spins, then sleeps. */
static void wait_for_tiles(rlt_pool *pool, int32_t tiles) {
  for (int32_t i = 0; i < pool->spins; i++) {
    if (atomic_load_explicit(&pool->completed, memory_order_acquire) == tiles) return;
    pause_briefly();
  }
  pthread_mutex_lock(&pool->mutex);
  pool->caller_sleeps = true;
  while (atomic_load_explicit(&pool->completed, memory_order_acquire) != tiles)
    pthread_cond_wait(&pool->finished, &pool->mutex);
  pool->caller_sleeps = false;
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

  int32_t chunk = tiles / (pool->threads * CHUNKS_PER_THREAD);
  uint32_t number = job_number(pool) + 1u;
  atomic_store(&pool->tiles, tiles);
  atomic_store(&pool->chunk, chunk > 0 ? chunk : 1);
  atomic_store(&pool->task, task);
  atomic_store(&pool->ctx, ctx);
  atomic_store(&pool->completed, 0);
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->ticket, (uint64_t)number << 32);
  if (pool->sleepers > 0) pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);

  work(pool, 0);
  wait_for_tiles(pool, tiles);
  /* Closed before the job's fields change, so that no late thread pairs this ticket with the next job's fields. */
  atomic_store(&pool->ticket, ((uint64_t)number << 32) | CLOSED);
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
