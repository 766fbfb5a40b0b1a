/* Threads that are started for one call of the library and end with it: nothing idles between calls, and a forked child
 * finds no thread missing. Between two pieces of work, and at a barrier, they spin for a while and then sleep. */
#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include "fastnn.h"

#include <stdlib.h>

#if defined(_WIN32)
#include <windows.h>

typedef HANDLE thread_handle;
typedef volatile LONG64 shared;
typedef SRWLOCK mutex;
typedef CONDITION_VARIABLE condition;

double fastnn_seconds(void) {
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (double)ticks.QuadPart / (double)frequency.QuadPart;
}

int64_t fastnn_team_claim(int64_t *counter) { return InterlockedExchangeAdd64(counter, 1); }

static int64_t shared_add(shared *value, int64_t n) { return InterlockedExchangeAdd64(value, n) + n; }
static int64_t shared_read(shared *value) { return InterlockedExchangeAdd64(value, 0); }
#else
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

typedef pthread_t thread_handle;
typedef _Atomic int64_t shared;
typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;

double fastnn_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int64_t fastnn_team_claim(int64_t *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

static int64_t shared_add(shared *value, int64_t n) { return atomic_fetch_add(value, n) + n; }
static int64_t shared_read(shared *value) { return atomic_load_explicit(value, memory_order_acquire); }
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
static void pause_briefly(void) { _mm_pause(); }
#else
static void pause_briefly(void) {}
#endif

enum { MOST_THREADS = 256, PAUSES = 16 };
static const double SPIN_SECONDS = 250e-6;

typedef struct {
    fastnn_team *team;
    int64_t thread;
    thread_handle handle;
} member;

struct fastnn_team {
    fastnn_work work; /* NULL: the members go home */
    void *context;
    int64_t size;
    mutex guard;
    condition changed;
    shared sleepers;
    shared jobs; /* given out so far */
    shared arrived, generation; /* at the barrier */
    member members[MOST_THREADS];
};

#if defined(_WIN32)
static void set_up(fastnn_team *team) {
    InitializeSRWLock(&team->guard);
    InitializeConditionVariable(&team->changed);
}
static void tear_down(fastnn_team *team) { (void)team; }
static void lock(fastnn_team *team) { AcquireSRWLockExclusive(&team->guard); }
static void unlock(fastnn_team *team) { ReleaseSRWLockExclusive(&team->guard); }
static void sleep_unlocked(fastnn_team *team) { SleepConditionVariableSRW(&team->changed, &team->guard, INFINITE, 0); }
static void wake_all(fastnn_team *team) { WakeAllConditionVariable(&team->changed); }
#else
static void set_up(fastnn_team *team) {
    pthread_mutex_init(&team->guard, NULL);
    pthread_cond_init(&team->changed, NULL);
}
static void tear_down(fastnn_team *team) {
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->guard);
}
static void lock(fastnn_team *team) { pthread_mutex_lock(&team->guard); }
static void unlock(fastnn_team *team) { pthread_mutex_unlock(&team->guard); }
static void sleep_unlocked(fastnn_team *team) { pthread_cond_wait(&team->changed, &team->guard); }
static void wake_all(fastnn_team *team) { pthread_cond_broadcast(&team->changed); }
#endif

int64_t fastnn_team_size(const fastnn_team *team) { return team ? team->size : 1; }

/* Wait until a value is no longer the old one: spin, for the others come soon; then sleep, for they may need this very
 * processor. */
static void wait_for(fastnn_team *team, shared *value, int64_t old) {
    const double end = fastnn_seconds() + SPIN_SECONDS;
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (shared_read(value) != old) return;
            pause_briefly();
        }
    } while (fastnn_seconds() < end);
    lock(team);
    shared_add(&team->sleepers, 1);
    while (shared_read(value) == old) sleep_unlocked(team);
    shared_add(&team->sleepers, -1);
    unlock(team);
}

/* Change a value that others may wait for. Who is about to sleep has either been counted or sees the new value. */
static void change(fastnn_team *team, shared *value) {
    shared_add(value, 1);
    if (shared_add(&team->sleepers, 0) == 0) return;
    lock(team);
    wake_all(team);
    unlock(team);
}

void fastnn_team_wait(fastnn_team *team) {
    if (fastnn_team_size(team) == 1) return;
    const int64_t generation = shared_read(&team->generation);
    if (shared_add(&team->arrived, 1) == team->size) {
        shared_add(&team->arrived, -team->size);
        change(team, &team->generation);
    } else {
        wait_for(team, &team->generation, generation);
    }
}

#if defined(_WIN32)
static DWORD WINAPI run_member(void *argument) {
#else
static void *run_member(void *argument) {
#endif
    const member *m = argument;
    fastnn_team *team = m->team;
    for (int64_t jobs = 0;; jobs++) {
        wait_for(team, &team->jobs, jobs);
        if (!team->work) return 0;
        team->work(team->context, team, m->thread);
        fastnn_team_wait(team);
    }
}

static int start(member *m) {
#if defined(_WIN32)
    m->handle = CreateThread(NULL, 0, run_member, m, 0, NULL);
    return m->handle != NULL;
#else
    return pthread_create(&m->handle, NULL, run_member, m) == 0;
#endif
}

static void join(member *m) {
#if defined(_WIN32)
    WaitForSingleObject(m->handle, INFINITE);
    CloseHandle(m->handle);
#else
    pthread_join(m->handle, NULL);
#endif
}

fastnn_team *fastnn_team_start(int64_t n_threads) {
    fastnn_team *team = n_threads > 1 ? calloc(1, sizeof(fastnn_team)) : NULL;
    if (!team) return NULL;
    set_up(team);
    for (team->size = 1; team->size < n_threads && team->size < MOST_THREADS; team->size++) {
        member *const m = &team->members[team->size];
        *m = (member){.team = team, .thread = team->size};
        if (!start(m)) break;
    }
    return team;
}

void fastnn_team_run(fastnn_team *team, fastnn_work work, void *context) {
    if (fastnn_team_size(team) == 1) {
        work(context, team, 0);
        return;
    }
    team->work = work;
    team->context = context;
    change(team, &team->jobs);
    work(context, team, 0);
    fastnn_team_wait(team);
}

void fastnn_team_stop(fastnn_team *team) {
    if (!team) return;
    team->work = NULL;
    change(team, &team->jobs);
    for (int64_t i = 1; i < team->size; i++) join(&team->members[i]);
    tear_down(team);
    free(team);
}
