/* Threads that are started for one call and end with it: nothing idles between calls, and a forked child finds no thread
 * missing. Starting one takes some tens of microseconds, so the caller brings milliseconds of work. */
#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include "fastnn.h"

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

static int64_t shared_add(shared *value, int64_t n) { return atomic_fetch_add(value, n) + n; }
static int64_t shared_read(shared *value) { return atomic_load_explicit(value, memory_order_acquire); }
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
static void pause_briefly(void) { _mm_pause(); }
#else
static void pause_briefly(void) {}
#endif

enum { MOST_THREADS = 256, SPINS = 20000 };

struct fastnn_team {
    void (*work)(void *context, fastnn_team *team, int64_t thread);
    void *context;
    mutex guard;
    condition changed;
    shared size; /* 0 until all threads are there */
    shared arrived, generation;
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

typedef struct {
    fastnn_team *team;
    int64_t thread;
    thread_handle handle;
} member;

int64_t fastnn_team_size(const fastnn_team *team) { return shared_read(&((fastnn_team *)team)->size); }

/* Spin, for the others come soon; then sleep, for they may need this very processor. */
static void wait_for(fastnn_team *team, shared *value, int64_t old) {
    for (int spins = 0; spins < SPINS; spins++) {
        if (shared_read(value) != old) return;
        pause_briefly();
    }
    lock(team);
    while (shared_read(value) == old) sleep_unlocked(team);
    unlock(team);
}

/* Change a value that others may wait for. */
static void change(fastnn_team *team, shared *value, int64_t n) {
    lock(team);
    shared_add(value, n);
    wake_all(team);
    unlock(team);
}

void fastnn_team_wait(fastnn_team *team) {
    const int64_t size = fastnn_team_size(team), generation = shared_read(&team->generation);
    if (size == 1) return;
    if (shared_add(&team->arrived, 1) == size) {
        shared_add(&team->arrived, -size);
        change(team, &team->generation, 1);
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
    wait_for(m->team, &m->team->size, 0);
    m->team->work(m->team->context, m->team, m->thread);
    return 0;
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

void fastnn_team_run(void (*work)(void *context, fastnn_team *team, int64_t thread), void *context, int64_t n_threads) {
    fastnn_team team = {.work = work, .context = context};
    member members[MOST_THREADS];
    int64_t size = 1;
    set_up(&team);
    for (; size < n_threads && size < MOST_THREADS; size++) {
        members[size] = (member){.team = &team, .thread = size};
        if (!start(&members[size])) break;
    }
    change(&team, &team.size, size);
    work(context, &team, 0);
    for (int64_t i = 1; i < size; i++) join(&members[i]);
    tear_down(&team);
}
