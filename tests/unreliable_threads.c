/* pthread_create as it is on a machine that is short of threads or busy: it refuses some, and others begin late. Linked
 * instead of the real one with -Wl,--wrap=pthread_create, or, as a shared library, loaded before libc. */
#define _GNU_SOURCE
#include "unreliable_threads.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

typedef void *(*routine)(void *);
typedef int (*creator)(pthread_t *, const pthread_attr_t *, routine, void *);

enum { MOST_THREADS = 64 };

typedef struct {
    routine start;
    void *argument;
    int held, late;
} thread;

static thread threads[MOST_THREADS]; /* since the last plan */
static int granted = INT_MAX, microseconds_late;
static uint64_t held_threads;
static atomic_int asked, created, ended;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static int is_open;

void plan_threads(int grants, uint64_t held, int late) {
    granted = grants, held_threads = held, microseconds_late = late;
    asked = created = ended = 0;
    pthread_mutex_lock(&guard);
    is_open = 0;
    pthread_mutex_unlock(&guard);
}

void release_threads(void) {
    pthread_mutex_lock(&guard);
    is_open = 1;
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&guard);
}

int threads_asked(void) { return asked; }
int threads_created(void) { return created; }
int threads_ended(void) { return ended; }

void pause_for(int microseconds) {
    const struct timespec time = {0, 1000L * microseconds};
    nanosleep(&time, NULL);
}

void await_threads(void) {
    while (ended < created) pause_for(50);
}

static void *begin(void *argument) {
    const thread *const t = argument;
    if (t->held) {
        pthread_mutex_lock(&guard);
        while (!is_open) pthread_cond_wait(&opened, &guard);
        pthread_mutex_unlock(&guard);
    }
    if (t->late > 0) pause_for(t->late);
    void *const result = t->start(t->argument);
    ended++;
    return result;
}

static int create(creator real, pthread_t *handle, const pthread_attr_t *attributes, routine start, void *argument) {
    const int number = asked++;
    if (granted == INT_MAX) return real(handle, attributes, start, argument); /* nothing is planned yet */
    if (number >= granted || number == MOST_THREADS) return EAGAIN;
    threads[number] = (thread){start, argument, (int)(held_threads >> number & 1), number * microseconds_late};
    const int error = real(handle, attributes, begin, &threads[number]);
    created += error == 0;
    return error;
}

#ifdef WRAPPED
int __real_pthread_create(pthread_t *handle, const pthread_attr_t *attributes, routine start, void *argument);
int __wrap_pthread_create(pthread_t *handle, const pthread_attr_t *attributes, routine start, void *argument) {
    return create(__real_pthread_create, handle, attributes, start, argument);
}
#else
int pthread_create(pthread_t *handle, const pthread_attr_t *attributes, routine start, void *argument) {
    creator real;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return create(real, handle, attributes, start, argument);
}
#endif
