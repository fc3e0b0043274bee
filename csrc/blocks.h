/* Cutting a range into parts. */
#ifndef RETROGRAD_BLOCKS_H
#define RETROGRAD_BLOCKS_H

#include <stdint.h>

static inline int64_t rg_smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t rg_larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* How many blocks of at most `size` cover n; at least one, of nothing. */
static inline int64_t rg_blocks(int64_t n, int64_t size) { return n > size ? (n + size - 1) / size : 1; }

/* How many of them sums are taken over: none of nothing. */
static inline int64_t rg_sum_blocks(int64_t n, int64_t size) { return n ? rg_blocks(n, size) : 0; }

/* Where part number `part` begins when 0..n-1 is cut into so many nearly equal parts. */
static inline int64_t rg_cut(int64_t n, int64_t part, int64_t parts) { return n * part / parts; }

#endif
