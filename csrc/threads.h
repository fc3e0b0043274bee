/* Splitting a kernel's work over threads. */
#ifndef RETROGRAD_THREADS_H
#define RETROGRAD_THREADS_H

#include <stdint.h>

/* A kernel's work on elements (or rows, or blocks) begin..end-1, as part number `part` of those it was split into. */
typedef void rg_range(void *args, int64_t begin, int64_t end, int part);

/* How many parts pay for so much work, at least 1: a unit of work is an element read, changed and written (about a
 * quarter of a nanosecond). Depends on the amount and on the number of threads alone, so that a kernel that adds up
 * part by part gives the same bits every time. */
int rg_parts(int64_t work);

/* Runs the kernel on 0..n-1 in so many contiguous parts, one thread each; for one part no thread is asked. Parts
 * begin at multiples of 16, so that no two write to one cache line. */
void rg_parallel(rg_range *kernel, void *args, int64_t n, int parts);

#endif
