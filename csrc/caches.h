/* The sizes that products are cut to. */
#ifndef RETROGRAD_CACHES_H
#define RETROGRAD_CACHES_H

#include <stdint.h>

/* Of one core, in bytes. Lines of the first level that are a multiple of `way` apart, a power of two, compete for the same
 * places, l1 / way of them. Where the system does not tell, sizes that are usual. */
typedef struct {
    int64_t l1, way, l2;
} rg_cache_sizes;

extern rg_cache_sizes rg_caches;

#endif
