/* Threads that do the work of one call together: it is a list of phases, each of items that any of them may do.
 *
 * Members take items as they come, and a phase is over when its items are done, whoever did them. So a member that
 * has no processor just then delays nobody, unless it stopped in the midst of an item. Between calls members look
 * out for a moment and then sleep: tokens drawn one after another find them awake, an idle engine costs nothing.
 * Who does which item is left to chance; no result may depend on it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PATIENCE = 4000, /* looks, some 100 us, before another thread gets the processor */
    SHARES = 4,      /* of a phase for each member, if it has so many items */
    ITEM_BITS = 24   /* of `Team.place` */
};

/* What a call does. */
typedef struct {
    int64_t n_phases;
    int64_t (*n_items)(const void *job, int64_t phase); /* at least 1 */
    /* `next` is the item that the same member does then, or the same one. */
    void (*run)(const void *job, int64_t phase, int64_t item, int64_t next, int64_t member);
    const void *job;
} Call;

typedef struct {
    int64_t n; /* the caller's thread included */
    pid_t process;
    pthread_t *threads;
    pthread_mutex_t lock;
    pthread_cond_t begins;
    Call call;
    int64_t first;               /* the number of its first phase; phases are counted through all calls */
    _Alignas(64) atomic_llong place; /* number of the phase that is on, and its first item that nobody took */
    _Alignas(64) atomic_llong n_done;
    _Alignas(64) atomic_llong end;    /* number of the phase at which the call is over */
    _Alignas(64) atomic_llong inside; /* members beside the caller that may look at `call` */
    atomic_llong asleep;
    atomic_llong ended;
} Team;

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

/* After so many looks in vain. */
INLINE void wait_a_moment(int64_t looks) {
    if (looks < PATIENCE)
        pause_briefly();
    else
        sched_yield(); /* whom we wait for may not have a processor */
}

static long long phase_of(Team *team) { return atomic_load(&team->place) >> ITEM_BITS; }

/* Do what is left of a phase; who does the last item begins the next phase. */
static void help(Team *team, int64_t member, long long number) {
    const Call *call = &team->call;
    int64_t phase = number - team->first, n = call->n_items(call->job, phase);
    int64_t size = 1 + (n - 1) / (team->n > 1 ? SHARES * team->n : 1);
    for (;;) {
        long long place = atomic_load(&team->place);
        int64_t start = place & ((1 << ITEM_BITS) - 1), stop = start + size < n ? start + size : n;
        if (place >> ITEM_BITS != number || start >= n) return;
        if (!atomic_compare_exchange_weak(&team->place, &place, place + stop - start)) continue;
        for (int64_t i = start; i < stop; i++) call->run(call->job, phase, i, i + 1 < stop ? i + 1 : i, member);
        if (atomic_fetch_add(&team->n_done, stop - start) + stop - start < n) continue;
        atomic_store(&team->n_done, 0);
        atomic_store(&team->place, (number + 1) << ITEM_BITS);
        return;
    }
}

/* Until a call begins, or for good. */
static void sleep_well(Team *team) {
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->asleep, 1);
    while (phase_of(team) == atomic_load(&team->end) && !atomic_load(&team->ended))
        pthread_cond_wait(&team->begins, &team->lock);
    atomic_fetch_sub(&team->asleep, 1);
    pthread_mutex_unlock(&team->lock);
}

static void *serve(void *argument) {
    Member self = *(Member *)argument;
    Team *team = self.team;
    free(argument);
    long long last = -1;
    for (int64_t looks = 0; !atomic_load(&team->ended); looks++) {
        /* The caller changes `call` only between calls and while nobody is inside. */
        atomic_fetch_add(&team->inside, 1);
        long long number = phase_of(team), end = atomic_load(&team->end);
        if (number < end && number != last) {
            help(team, self.member, number);
            last = number;
            looks = 0;
        }
        atomic_fetch_sub(&team->inside, 1);
        while (looks < PATIENCE && phase_of(team) == number && atomic_load(&team->end) == end && ++looks)
            pause_briefly();
        if (looks < PATIENCE) continue;
        if (number < end)
            sched_yield();
        else
            sleep_well(team);
    }
    return 0;
}

static void wake(Team *team) {
    pthread_mutex_lock(&team->lock);
    pthread_cond_broadcast(&team->begins);
    pthread_mutex_unlock(&team->lock);
}

/* Do all of a call; the caller's thread is member 0. */
static void together(Team *team, Call call) {
    if (team->process != getpid()) team->n = 1, atomic_store(&team->inside, 0); /* a forked child is alone */
    team->call = call;
    team->first = phase_of(team);
    long long end = team->first + call.n_phases;
    atomic_store(&team->end, end);
    if (atomic_load(&team->asleep) && team->n > 1) wake(team);
    for (long long number = team->first; number < end; number++) {
        help(team, 0, number);
        for (int64_t looks = 0; phase_of(team) == number; looks++) wait_a_moment(looks);
    }
    for (int64_t looks = 0; atomic_load(&team->inside); looks++) wait_a_moment(looks);
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
    if (team->process != getpid()) return; /* a forked child has nobody to wait for */
    atomic_store(&team->ended, 1);
    wake(team);
    for (int64_t member = 1; member < team->n; member++) pthread_join(team->threads[member], 0);
    free(team->threads);
    free(team);
}
