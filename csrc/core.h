/* The core that products are cut to, and how long they take there. */
#ifndef RETROGRAD_CORE_H
#define RETROGRAD_CORE_H

#include <stdint.h>

/* Sizes of one core, in bytes. Lines of the first level that are a multiple of `way` apart, a power of two, compete for the
 * same places, l1 / way of them. A vector of more than unit_bytes takes each of the two multiply-add units twice. Where the
 * system does not tell, sizes that are usual. `near`: all of the machine's cores hand lines on within one complex of
 * AMD's, which takes half as long as elsewhere. */
typedef struct {
    int64_t l1, way, l2;
    int unit_bytes, near;
} rg_core_sizes;

extern rg_core_sizes rg_core;

#endif
