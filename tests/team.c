/* Teams of src_c/team.c whose threads begin late or are refused, at random. What must hold does so however long anything
 * takes: a piece of work is done once, a thread does a job at most once and never one that is over, all of them do one
 * that needs all, and when the last thread has ended nothing is left. Its argument says how many teams.
 *
 * Link with -Wl,--wrap for pthread_create, calloc and free. */
#define _GNU_SOURCE
#include "fastnn.h"
#include "unreliable_threads.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_MEMBERS = 6, MOST_PIECES = 40, MOST_JOBS = 5 };

static int team_number;

static void check(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "team %d: %s\n", team_number, what);
    abort();
}

/* The blocks of memory that team.c has, and how many more it gets. */
static atomic_int blocks;
static int has_memory;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size) {
    if (!has_memory) return NULL;
    blocks++;
    return __real_calloc(n, size);
}

void __real_free(void *block);
void __wrap_free(void *block) {
    blocks--;
    __real_free(block);
}

static unsigned seed = 1;
static int below(int n) { return rand_r(&seed) % n; }
static int one_in(int n) { return below(n) == 0; }

typedef struct {
    int64_t next, pieces; /* next is claimed */
    int64_t done[MOST_PIECES], calls[MOST_MEMBERS];
    int needs_all, slow; /* microseconds per piece */
    int64_t rounds, came[MOST_MEMBERS]; /* at the barrier */
} job;

static job random_job(void) {
    job j = {0}; /* filled one by one, for the same numbers with any compiler */
    j.pieces = below(MOST_PIECES + 1);
    j.needs_all = one_in(2);
    j.slow = one_in(6) ? below(200) : 0;
    if (j.needs_all) j.rounds = below(3);
    return j;
}

static void work(void *context, fastnn_team *team, int64_t thread) {
    job *const j = context;
    j->calls[thread]++;
    for (int64_t i; (i = fastnn_team_claim(&j->next)) < j->pieces;) {
        j->done[i]++;
        if (j->slow > 0) pause_for(j->slow);
    }
    if (thread == 0 && j->needs_all) release_threads();
    for (int64_t round = 1; round <= j->rounds; round++) {
        j->came[thread]++;
        fastnn_team_wait(team);
        for (int64_t i = 0; i < fastnn_team_size(team); i++) check(j->came[i] == round, "one passed the barrier alone");
        fastnn_team_wait(team);
    }
}

/* Those in `held` have not been able to begin. */
static void check_job(const job *j, int64_t size, uint64_t held) {
    for (int64_t i = 0; i < j->pieces; i++) check(j->done[i] == 1, "a piece was not done once");
    for (int64_t i = 0; i < MOST_MEMBERS; i++) {
        check(j->calls[i] <= (i < size), "a thread did a job twice, or is none of the team's");
        if (i == 0 || j->needs_all) check(j->calls[i] == (i < size), "a thread did not do what needs all");
        if (held >> i & 1) check(j->calls[i] == 0, "a thread did a job before it began");
    }
}

/* How many members, without the caller, have done a job. */
static int workers(const job *jobs, int n_jobs) {
    int n = 0;
    for (int i = 1; i < MOST_MEMBERS; i++) {
        int64_t calls = 0;
        for (int k = 0; k < n_jobs; k++) calls += jobs[k].calls[i];
        n += calls > 0;
    }
    return n;
}

static void try_team(void) {
    job jobs[MOST_JOBS], then[MOST_JOBS];
    const int members = 1 + below(MOST_MEMBERS), grants = one_in(4) ? below(members) : members - 1;
    const int n_jobs = below(MOST_JOBS + 1);
    int released_before = one_in(3) ? n_jobs : below(n_jobs + 1); /* this job; at last the stop of the team */
    uint64_t held = one_in(2) ? 0 : (uint64_t)below(1 << grants) << 1; /* of members; the first to be created is 1 */
    has_memory = !one_in(20);
    plan_threads(grants, held >> 1, one_in(2) ? 0 : below(300));

    fastnn_team *const team = fastnn_team_start(members);
    const int64_t size = fastnn_team_size(team);
    check(size == 1 + threads_created(), "the team is not as large as threads were granted");
    check(threads_created() == (has_memory ? grants : 0), "the team did not ask for all that it needs");
    for (int i = 0; i < n_jobs; i++) {
        if (i == released_before) release_threads();
        jobs[i] = random_job();
        if (jobs[i].needs_all) released_before = i;
        if (jobs[i].needs_all)
            fastnn_team_run(team, work, &jobs[i]);
        else
            fastnn_team_share(team, work, &jobs[i]);
        check_job(&jobs[i], size, i < released_before ? held : 0);
        then[i] = jobs[i];
        if (one_in(4)) pause_for(below(500)); /* long enough to fall asleep */
    }
    fastnn_team_stop(team);
    check(threads_ended() >= workers(then, n_jobs), "a thread that had begun was not waited for");
    if (released_before == n_jobs && held && team) check(blocks == 1, "freed before a late thread has read it");
    release_threads();
    await_threads();
    check(blocks == 0, "memory was kept, or freed twice");
    check(memcmp(then, jobs, n_jobs * sizeof *jobs) == 0, "a thread did a job that was over");
}

int main(int n_arguments, char **arguments) {
    const int n_teams = n_arguments > 1 ? atoi(arguments[1]) : 0;
    for (team_number = 0; team_number < n_teams; team_number++) try_team();
    return 0;
}
