/* Threads that are started for one call of the library and sent home at its end: nothing idles between calls, and a
 * forked child finds no thread missing. Between two jobs, and at a barrier, they spin for a while and then sleep. A
 * thread can take milliseconds to begin, on a virtual machine for one, so work that any number of threads can do is not
 * held up by it, nor is the end of the team: a member that has not begun finds out for itself that it is not needed. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* for affinity */
#elif !defined(_WIN32) && !defined(_POSIX_C_SOURCE)
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
static int shared_exchange(shared *value, int64_t old, int64_t new) {
    return InterlockedCompareExchange64(value, new, old) == old;
}
#else
#include <pthread.h>
#include <sched.h>
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
static int shared_exchange(shared *value, int64_t old, int64_t new) {
    return atomic_compare_exchange_strong(value, &old, new);
}
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
static void pause_briefly(void) { _mm_pause(); }
#else
static void pause_briefly(void) {}
#endif

enum { MOST_THREADS = 256, PAUSES = 16 };
static const double SPIN_SECONDS = 250e-6;

/* A team's jobs are one number, so that a member reads at once which it is and whether it may still begin: the threads
 * that are in it, of which the caller is the first to come and then waits for the others, and how many there were
 * before, from JOB on. */
static const int64_t JOB = 1 << 16, ALL_DONE = (int64_t)1 << 62;
static int64_t threads_in(int64_t jobs) { return jobs % JOB; }
static int64_t number_of(int64_t jobs) { return jobs / JOB; }

typedef struct {
    fastnn_team *team;
    int64_t thread;
    shared has_begun;
    thread_handle handle;
} member;

struct fastnn_team {
    fastnn_work work;
    void *context;
    int needs_all;
    int64_t size;
    mutex guard;
    condition changed;
    shared sleepers;
    shared jobs;
    shared arrived, generation; /* at the barrier */
    shared users; /* threads that may still read this: the last one frees it */
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

/* Add to a value that others may wait for. Who is about to sleep has either been counted or sees the new value. */
static void change(fastnn_team *team, shared *value, int64_t n) {
    shared_add(value, n);
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
        change(team, &team->generation, 1);
    } else {
        wait_for(team, &team->generation, generation);
    }
}

static void leave_job(fastnn_team *team) {
    if (team->needs_all) fastnn_team_wait(team);
    change(team, &team->jobs, -1);
}

static void release(fastnn_team *team) {
    if (shared_add(&team->users, -1) > 0) return;
    tear_down(team);
    free(team);
}

/* Wait for another job than the last one, and take part in it unless it is over. */
static int64_t take_part(const member *m, int64_t jobs) {
    fastnn_team *team = m->team;
    const int64_t last = number_of(jobs);
    while (number_of(jobs = shared_read(&team->jobs)) == last) wait_for(team, &team->jobs, jobs);
    while (threads_in(jobs) > 0) {
        if (shared_exchange(&team->jobs, jobs, jobs + 1)) {
            team->work(team->context, team, m->thread);
            leave_job(team);
            return jobs;
        }
        jobs = shared_read(&team->jobs);
    }
    return jobs;
}

#if defined(_WIN32)
static DWORD WINAPI run_member(void *argument) {
#else
static void *run_member(void *argument) {
#endif
    member *const m = argument;
    shared_add(&m->has_begun, 1);
    for (int64_t jobs = 0; jobs < ALL_DONE;) jobs = take_part(m, jobs);
    release(m->team);
    return 0;
}

#if defined(_WIN32)
static int start(member *m) {
    m->handle = CreateThread(NULL, 0, run_member, m, 0, NULL);
    return m->handle != NULL;
}
static void detach(member *m) { CloseHandle(m->handle); }
static void join(member *m) {
    WaitForSingleObject(m->handle, INFINITE);
    CloseHandle(m->handle);
}
#else
/* Linux may queue a new thread behind the one that made it, for up to 4 ms, while another processor idles. So have it
 * moved to any other, and then let it run wherever it likes. */
static void move_away(pthread_t thread) {
#if defined(__linux__) && !defined(__ANDROID__)
    cpu_set_t all, others;
    const int here = sched_getcpu();
    if (here < 0 || pthread_getaffinity_np(pthread_self(), sizeof all, &all) != 0) return;
    others = all;
    CPU_CLR((unsigned)here, &others);
    if (CPU_COUNT(&others) == 0 || pthread_setaffinity_np(thread, sizeof others, &others) != 0) return;
    pthread_setaffinity_np(thread, sizeof all, &all);
#else
    (void)thread;
#endif
}
static int start(member *m) {
    if (pthread_create(&m->handle, NULL, run_member, m) != 0) return 0;
    move_away(m->handle);
    return 1;
}
static void detach(member *m) { pthread_detach(m->handle); }
static void join(member *m) { pthread_join(m->handle, NULL); }
#endif

fastnn_team *fastnn_team_start(int64_t n_threads) {
    fastnn_team *team = n_threads > 1 ? calloc(1, sizeof(fastnn_team)) : NULL;
    if (!team) return NULL;
    set_up(team);
    shared_add(&team->users, 1);
    for (team->size = 1; team->size < n_threads && team->size < MOST_THREADS; team->size++) {
        member *const m = &team->members[team->size];
        m->team = team;
        m->thread = team->size;
        shared_add(&team->users, 1);
        if (start(m)) continue;
        shared_add(&team->users, -1);
        break;
    }
    return team;
}

static void give_out(fastnn_team *team, fastnn_work work, void *context, int needs_all) {
    if (fastnn_team_size(team) == 1) {
        work(context, team, 0);
        return;
    }
    team->work = work;
    team->context = context;
    team->needs_all = needs_all;
    change(team, &team->jobs, JOB + 1);
    work(context, team, 0);
    leave_job(team);
    for (int64_t jobs; threads_in(jobs = shared_read(&team->jobs)) > 0;) wait_for(team, &team->jobs, jobs);
}

void fastnn_team_run(fastnn_team *team, fastnn_work work, void *context) { give_out(team, work, context, 1); }

void fastnn_team_share(fastnn_team *team, fastnn_work work, void *context) { give_out(team, work, context, 0); }

void fastnn_team_stop(fastnn_team *team) {
    if (!team) return;
    change(team, &team->jobs, ALL_DONE);
    for (int64_t i = 1; i < team->size; i++) {
        member *const m = &team->members[i];
        if (shared_read(&m->has_begun))
            join(m);
        else
            detach(m);
    }
    release(team);
}
