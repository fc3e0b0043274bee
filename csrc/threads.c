#include "threads.h"
#include "blocks.h"
#include "retrograd.h"

#include <pthread.h>
#include <stdatomic.h>

#ifdef _OPENMP
#include <omp.h>
#endif

/* Below this much work for each, waking a thread costs more than it brings. */
#define WORK_PER_PART 16384
#define PART_UNIT 16

static atomic_int threads = 1;
static atomic_int forked = 0;

/* The OpenMP runtimes' threads do not live on in a forked child, which would wait for them for ever. */
static void in_child(void) { forked = 1; }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

void rg_set_num_threads(int n) { threads = n; }

int rg_num_threads(void) { return rg_has_openmp() && !forked ? threads : 1; }

int rg_has_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

int rg_parts(int64_t work) {
    int most = rg_num_threads();
    int64_t paying = work / WORK_PER_PART;
    return paying >= most ? most : paying > 1 ? (int)paying : 1;
}

void rg_parallel_parts(rg_part *kernel, void *args, int parts) {
#ifdef _OPENMP
    if (parts > 1 && !omp_in_parallel()) {
#pragma omp parallel for num_threads(parts) schedule(static, 1)
        for (int part = 0; part < parts; part++)
            kernel(args, part, parts);
        return;
    }
#endif
    for (int part = 0; part < parts; part++)
        kernel(args, part, parts);
}

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
