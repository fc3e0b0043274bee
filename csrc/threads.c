#include "threads.h"
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

static int64_t boundary(int64_t n, int part, int parts) {
    int64_t units = (n + PART_UNIT - 1) / PART_UNIT;
    int64_t b = units * part / parts * PART_UNIT;
    return b < n ? b : n;
}

void rg_parallel(rg_range *kernel, void *args, int64_t n, int parts) {
#ifdef _OPENMP
    if (parts > 1 && !omp_in_parallel()) {
#pragma omp parallel for num_threads(parts) schedule(static, 1)
        for (int part = 0; part < parts; part++)
            kernel(args, boundary(n, part, parts), boundary(n, part + 1, parts), part);
        return;
    }
#endif
    for (int part = 0; part < parts; part++)
        kernel(args, boundary(n, part, parts), boundary(n, part + 1, parts), part);
}
