/* One pool of threads for the life of the process.
 *
 * A job is a row of phases, a phase a number of parts. Whoever is there takes parts: first its own, so that a part's memory
 * stays in one core's cache, then what nobody has begun. So nothing waits for a thread that sleeps or that another process
 * keeps from running, unless it has begun a part. Which thread ran a part changes no result.
 *
 * Threads that find nothing to do look for a while, then sleep.
 */
#define _GNU_SOURCE /* of Linux: the processors that a thread may run on */
#include "threads.h"
#include "blocks.h"
#include "retrograd.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Below this much work for each, sharing costs more than it brings. */
#define WORK_PER_PART 16384
#define PART_UNIT 16
#define CACHE_LINE 64
#define LOOKING_NS 100000 /* before a thread that finds nothing to do sleeps */
#define LOOKS 64          /* between two looks at the clock */

/* Waking takes microseconds, and some jobs end before the sleeper comes. After so many in a row that did, only one job
 * in WAKE_AGAIN wakes. */
#define LOST_WAKES 4
#define WAKE_AGAIN 16

/* Looks at the phase before a thread that has done its part takes those of others: theirs are in their caches, and so is
 * the note of who took what. */
#define PATIENCE 64

/* A phase's number, the binary logarithm of the parts that each thread owns, the number of parts and how many of them have
 * not ended are one word: a thread that ends a part moves one cache line, and that one tells the others what comes next. */
#define PARTS_BITS 10 /* for RG_MOST_THREADS */
#define OWN_BITS 2
#define LEFT_OF(word) ((word) & ((1 << PARTS_BITS) - 1))
#define PARTS_OF(word) ((int)LEFT_OF((word) >> PARTS_BITS))
#define OWN_OF(word) (1 << ((word) >> (2 * PARTS_BITS) & ((1 << OWN_BITS) - 1)))
#define PHASE_AT (2 * PARTS_BITS + OWN_BITS)
#define PHASE_OF(word) ((word) >> PHASE_AT)

static struct {
    _Alignas(CACHE_LINE) atomic_uint_fast64_t phase; /* number, parts, parts left; without parts: the job is over */
    _Alignas(CACHE_LINE) atomic_int busy;            /* with a job; what comes meanwhile runs on its caller's thread */
    rg_part *run;
    rg_next_phase *next;
    void *args;
    atomic_int helped; /* another thread than the caller took a part of the job */
    int lost_wakes, unwoken;
    int threads; /* that may take part in the job */
    int helpers; /* threads that were started; the caller is number 0 */
} pool;

/* The last phase in which each part was taken. */
static struct {
    _Alignas(CACHE_LINE) atomic_uint_fast64_t phase;
} taken[RG_MOST_THREADS];

static atomic_int threads = 1;

static _Thread_local int number; /* of a helper */

int rg_thread(void) { return number; }

void rg_set_num_threads(int n) { threads = n < RG_MOST_THREADS ? n : RG_MOST_THREADS; }

int rg_num_threads(void) { return threads; }

int rg_parts(int64_t work) {
    int most = rg_num_threads();
    int64_t paying = work / WORK_PER_PART;
    return paying >= most ? most : paying > 1 ? (int)paying : 1;
}

static inline void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

int64_t rg_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A woken thread may be put on the processor of the one that woke it, and wait there until the scheduler parts them,
 * which takes milliseconds. So who wakes a helper keeps it off its own processor; the helper undoes that. */
#ifdef __linux__
typedef struct {
    pid_t thread;
    cpu_set_t allowed;
    int known;
} place;

static void note_place(place *p) {
    p->thread = (pid_t)syscall(SYS_gettid);
    p->known = !sched_getaffinity(0, sizeof p->allowed, &p->allowed);
}

static void keep_off_this_processor(const place *p) {
    const int here = sched_getcpu();
    cpu_set_t others = p->allowed;
    if (!p->known || here < 0 || here >= CPU_SETSIZE)
        return;
    CPU_CLR((unsigned)here, &others);
    if (CPU_COUNT(&others))
        sched_setaffinity(p->thread, sizeof others, &others);
}

static void allow_all_again(const place *p) {
    if (p->known)
        sched_setaffinity(0, sizeof p->allowed, &p->allowed);
}
#else
typedef int place;
static void note_place(place *p) { *p = 0; }
static void keep_off_this_processor(const place *p) { (void)p; }
static void allow_all_again(const place *p) { (void)p; }
#endif

/* Where each helper sleeps. */
static struct {
    atomic_int asleep;
    place place;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
} bed[RG_MOST_THREADS];

static void publish(uint64_t phase, int parts) {
    const uint64_t count = (uint64_t)parts;
    const uint64_t own = parts > pool.threads ? (uint64_t)__builtin_ctz((unsigned)(parts / pool.threads)) : 0;
    atomic_store(&pool.phase, phase << PHASE_AT | own << (2 * PARTS_BITS) | count << PARTS_BITS | count);
}

/* One part of the phase has ended. Who ends the last one is alone with the word. */
static void end_part(uint64_t phase) {
    if (LEFT_OF(atomic_load_explicit(&pool.phase, memory_order_acquire)) > 1 &&
        LEFT_OF(atomic_fetch_sub_explicit(&pool.phase, 1, memory_order_acq_rel)) > 1)
        return;
    publish(phase + 1, pool.next ? pool.next(pool.args) : 0);
}

/* Thread number `mine` runs this part of the phase unless somebody has begun it; says whether it did. */
static int take_part(uint64_t phase, int part, int parts, int mine) {
    uint64_t last = atomic_load_explicit(&taken[part].phase, memory_order_relaxed);
    if (last >= phase || !atomic_compare_exchange_strong_explicit(&taken[part].phase, &last, phase,
                                                                  memory_order_acquire, memory_order_relaxed))
        return 0;
    pool.run(pool.args, part, parts); /* the phase lasts until this part has ended */
    if (mine)
        atomic_store_explicit(&pool.helped, 1, memory_order_relaxed);
    end_part(phase);
    return 1;
}

static int is_over(uint64_t phase) {
    return PHASE_OF(atomic_load_explicit(&pool.phase, memory_order_acquire)) != phase;
}

/* The parts of a phase that nobody has begun: its own, then others', of each the last first, since their owner comes from
 * the other end. Those of a thread that is awake are left to it for a while, unless it was late the time before; says
 * whether that was so now. */
static int take_parts(uint64_t word, int mine, int late) {
    const uint64_t phase = PHASE_OF(word);
    const int parts = PARTS_OF(word), own = OWN_OF(word), owners = parts / own;
    for (int k = 0; k < own; k++)
        take_part(phase, mine * own + k, parts, mine);
    for (int looks = 0; !late && looks < PATIENCE; looks++) {
        if (is_over(phase))
            return 0;
        pause_briefly();
    }
    late = 0;
    for (int owner = mine + 1; owner < owners + mine; owner++)
        for (int k = own - 1; k >= 0 && !is_over(phase); k--)
            late |= take_part(phase, owner % owners * own + k, parts, mine);
    return late;
}

static int has_own_part(int mine, uint64_t word) { return mine * OWN_OF(word) < PARTS_OF(word); }

/* Waits until there is another phase than that of `word`, with parts of its own; sleeps when that takes long. */
static uint64_t next_for(int mine, uint64_t word) {
    int64_t begun = 0;
    for (int looks = 1;; looks++) {
        uint64_t seen = atomic_load_explicit(&pool.phase, memory_order_acquire);
        if (PHASE_OF(seen) != PHASE_OF(word) && has_own_part(mine, seen))
            return seen;
        pause_briefly();
        if (looks % LOOKS)
            continue;
        const int64_t now = rg_now_ns();
        if (!begun)
            begun = now;
        if (now - begun < LOOKING_NS)
            continue;
        pthread_mutex_lock(&bed[mine].mutex);
        note_place(&bed[mine].place);
        atomic_store(&bed[mine].asleep, 1);
        for (;;) {
            seen = atomic_load(&pool.phase);
            if (PHASE_OF(seen) != PHASE_OF(word) && has_own_part(mine, seen))
                break;
            pthread_cond_wait(&bed[mine].wake, &bed[mine].mutex);
        }
        atomic_store(&bed[mine].asleep, 0);
        allow_all_again(&bed[mine].place);
        pthread_mutex_unlock(&bed[mine].mutex);
        return seen;
    }
}

static void *help(void *given) {
    const int mine = number = (int)(intptr_t)given;
    int late = 0;
    for (uint64_t word = 0;;) {
        word = next_for(mine, word);
        late = take_parts(word, mine, late);
    }
    return NULL;
}

/* Starts what is missing of so many helpers; they leave signals to the threads of the program. */
static void start_helpers(int wanted) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.helpers < wanted) {
        const int next = pool.helpers + 1;
        pthread_t thread;
        pthread_mutex_init(&bed[next].mutex, NULL);
        pthread_cond_init(&bed[next].wake, NULL);
        atomic_store(&bed[next].asleep, 0);
        if (pthread_create(&thread, NULL, help, (void *)(intptr_t)next))
            break; /* the caller takes their parts */
        pthread_detach(thread);
        pool.helpers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int any_asleep(int helpers) {
    int asleep = 0;
    for (int n = 1; n <= helpers; n++)
        asleep |= atomic_load(&bed[n].asleep);
    return asleep;
}

/* Wakes the sleepers among the first helpers, unless that has not been worth it of late; says whether it did. */
static int wake_helpers(int helpers) {
    if (pool.lost_wakes >= LOST_WAKES && ++pool.unwoken % WAKE_AGAIN)
        return 0;
    for (int n = 1; n <= helpers; n++)
        if (atomic_load(&bed[n].asleep)) {
            pthread_mutex_lock(&bed[n].mutex);
            if (atomic_load(&bed[n].asleep))
                keep_off_this_processor(&bed[n].place);
            pthread_cond_signal(&bed[n].wake);
            pthread_mutex_unlock(&bed[n].mutex);
        }
    return 1;
}

void rg_parallel_phases(rg_part *run, rg_next_phase *next, void *args, int parts, int most) {
    if (most == 1 || atomic_exchange_explicit(&pool.busy, 1, memory_order_acquire)) {
        for (; parts > 0; parts = next ? next(args) : 0)
            for (int part = 0; part < parts; part++)
                run(args, part, parts);
        return;
    }
    start_helpers(most - 1);
    pool.run = run;
    pool.next = next;
    pool.args = args;
    pool.threads = most;
    atomic_store_explicit(&pool.helped, 0, memory_order_relaxed);
    uint64_t word = atomic_load_explicit(&pool.phase, memory_order_relaxed);
    publish(PHASE_OF(word) + 1, parts);
    const int helpers = (int)rg_smaller(most - 1, pool.helpers);
    int late = any_asleep(helpers);
    const int woke = late && wake_helpers(helpers);
    for (;;) {
        word = atomic_load_explicit(&pool.phase, memory_order_acquire);
        if (!PARTS_OF(word))
            break;
        late = take_parts(word, 0, late);
        for (int looks = 1; !is_over(PHASE_OF(word)); looks++)
            if (looks % (16 * LOOKS))
                pause_briefly();
            else
                sched_yield();
    }
    if (atomic_load_explicit(&pool.helped, memory_order_relaxed))
        pool.lost_wakes = 0;
    else
        pool.lost_wakes += woke;
    atomic_store_explicit(&pool.busy, 0, memory_order_release);
}

void rg_parallel_parts(rg_part *kernel, void *args, int parts) {
    rg_parallel_phases(kernel, NULL, args, parts, parts);
}

/* A forked child has none of the pool's threads, and whatever state they left; it starts threads of its own. */
static void in_child(void) {
    pool.helpers = 0;
    atomic_store(&pool.busy, 0);
    publish(PHASE_OF(atomic_load(&pool.phase)) + 1, 0);
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

typedef struct {
    rg_range *kernel;
    void *args;
    int64_t n;
} split_range;

static void run_range(void *args, int part, int parts) {
    const split_range *s = args;
    const int64_t units = rg_blocks(s->n, PART_UNIT);
    const int64_t begin = rg_cut(units, part, parts) * PART_UNIT, end = rg_cut(units, part + 1, parts) * PART_UNIT;
    s->kernel(s->args, begin, rg_smaller(end, s->n), part);
}

void rg_parallel(rg_range *kernel, void *args, int64_t n, int parts) {
    split_range s = {kernel, args, n};
    rg_parallel_parts(run_range, &s, parts);
}
