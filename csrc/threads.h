/* Splitting a kernel's work over threads. */
#ifndef RETROGRAD_THREADS_H
#define RETROGRAD_THREADS_H

#include <stdint.h>

enum { RG_MOST_THREADS = 1023 };

/* How many parts pay for so much work, at least 1: a unit of work is an element read, changed and written (about a
 * quarter of a nanosecond). Depends on the amount and on the number of threads alone, so that a kernel that adds up
 * part by part gives the same bits every time. */
int rg_parts(int64_t work);

/* One of the parts, at most RG_MOST_THREADS, that a kernel's work is cut into. */
typedef void rg_part(void *args, int part, int parts);

/* Runs all parts, on as many threads as are free; inside another parallel run, and for one part, on the caller's. */
void rg_parallel_parts(rg_part *kernel, void *args, int parts);

/* What comes between two phases, on whichever thread ended the first; the number of parts of the second, 0 after the last. */
typedef int rg_next_phase(void *args);

/* The same, phase by phase: each begins when all parts of the one before have ended. The first has `parts`. No more than
 * `most` threads take part; a phase has no more parts than that, or 2, 4 or 8 times as many; any number where `most` is
 * 1, which runs them all here. */
void rg_parallel_phases(rg_part *run, rg_next_phase *next, void *args, int parts, int most);

/* Nanoseconds, from some time in the past. */
int64_t rg_now_ns(void);

/* Which of the threads of a parallel run this is, from 0; 0 outside of one. */
int rg_thread(void);

/* A kernel's work on elements (or rows, or blocks) begin..end-1, as part number `part` of those it was split into. */
typedef void rg_range(void *args, int64_t begin, int64_t end, int part);

/* Runs the kernel on 0..n-1 in so many contiguous parts, as rg_parallel_parts does. Parts begin at multiples of 16, so
 * that no two write to one cache line. */
void rg_parallel(rg_range *kernel, void *args, int64_t n, int parts);

#endif
