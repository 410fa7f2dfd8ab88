/* Threads that do the work of one call together: they take shares of it as they come, and meet between its phases.
 *
 * Between calls a member waits for a moment and then sleeps, so that tokens drawn one after another find it awake
 * and an idle engine costs nothing. Who takes which share is left to chance; no result may depend on it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE = 4000 /* looks, some 100 us, before another thread gets the processor */, SHARES = 4 };

typedef struct Team Team;
typedef void Work(Team *team, int64_t member, void *job);

struct Team {
    int64_t n; /* the caller's thread included */
    pid_t process;
    pthread_t *threads;
    pthread_mutex_t lock;
    pthread_cond_t begins;
    Work *work;
    void *job;
    int ended;
    _Alignas(64) atomic_llong calls;
    _Alignas(64) atomic_llong next; /* of a phase's items, the first that nobody has taken */
    _Alignas(64) atomic_llong arrived;
    _Alignas(64) atomic_llong phase;
};

typedef struct {
    Team *team;
    int64_t member;
} Member;

INLINE void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Wait for all members. What each has written before, all see after; items can be taken anew. */
static void meet(Team *team) {
    long long phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == team->n) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->next, 0, memory_order_relaxed);
        atomic_store_explicit(&team->phase, phase + 1, memory_order_release);
        return;
    }
    for (int64_t i = 0; atomic_load_explicit(&team->phase, memory_order_acquire) == phase; i++) {
        if (i < PATIENCE)
            pause_briefly();
        else
            sched_yield(); /* whom we wait for may not have a processor */
    }
}

typedef struct {
    int64_t start, stop;
} Share;

/* Some of a phase's n items that nobody else gets; none are left when it is empty. */
static Share take(Team *team, int64_t n) {
    int64_t size = 1 + (n - 1) / (team->n > 1 ? SHARES * team->n : 1);
    int64_t start = atomic_fetch_add_explicit(&team->next, size, memory_order_relaxed);
    return (Share){start, start + size < n ? start + size : n};
}

/* For each i below n, by whoever takes it. */
#define SHARED(team, i, n)                                              \
    for (Share s = take(team, n); s.start < s.stop; s = take(team, n)) \
        for (int64_t i = s.start; i < s.stop; i++)

/* Until more calls than `done` have begun; 0 where there will be none. */
static int sleep_until(Team *team, long long done) {
    pthread_mutex_lock(&team->lock);
    while (atomic_load(&team->calls) == done && !team->ended) pthread_cond_wait(&team->begins, &team->lock);
    int ended = team->ended;
    pthread_mutex_unlock(&team->lock);
    return !ended;
}

static void *serve(void *argument) {
    Member self = *(Member *)argument;
    Team *team = self.team;
    free(argument);
    for (long long done = 0;; done++) {
        for (int i = 0; i < PATIENCE && atomic_load_explicit(&team->calls, memory_order_acquire) == done; i++)
            pause_briefly();
        if (atomic_load_explicit(&team->calls, memory_order_acquire) == done && !sleep_until(team, done)) return 0;
        team->work(team, self.member, team->job);
        meet(team);
    }
}

/* Have all members call `work`; returns when all are done. */
static void together(Team *team, Work *work, void *job) {
    if (team->process != getpid()) team->n = 1; /* a forked child has none of the others */
    if (team->n > 1) {
        pthread_mutex_lock(&team->lock);
        team->work = work;
        team->job = job;
        atomic_fetch_add(&team->calls, 1);
        pthread_cond_broadcast(&team->begins);
        pthread_mutex_unlock(&team->lock);
    }
    work(team, 0, job);
    meet(team);
}

/* A team of n threads, or as many as the system grants; null without memory. */
Team *begin_team(int64_t n) {
    Team *team = aligned_alloc(64, sizeof *team);
    pthread_t *threads = calloc((size_t)n, sizeof *threads);
    if (!team || !threads) return 0;
    memset(team, 0, sizeof *team);
    team->n = n;
    team->threads = threads;
    team->process = getpid();
    pthread_mutex_init(&team->lock, 0);
    pthread_cond_init(&team->begins, 0);
    for (int64_t member = 1; member < n; member++) {
        Member *self = malloc(sizeof *self);
        if (self) *self = (Member){team, member};
        if (!self || pthread_create(&threads[member], 0, serve, self)) {
            team->n = member;
            break;
        }
    }
    return team;
}

void end_team(Team *team) {
    int64_t n = team->process == getpid() ? team->n : 1;
    pthread_mutex_lock(&team->lock);
    team->ended = 1;
    pthread_cond_broadcast(&team->begins);
    pthread_mutex_unlock(&team->lock);
    for (int64_t member = 1; member < n; member++) pthread_join(team->threads[member], 0);
    free(team->threads);
    free(team);
}
