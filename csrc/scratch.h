/* Working memory of kernels. */
#ifndef RETROGRAD_SCRATCH_H
#define RETROGRAD_SCRATCH_H

#include <stddef.h>

/* At least so many bytes, aligned to a cache line, for the calling thread until its next call; NULL where there is no
 * memory. The same memory is handed out every time and grows to the largest amount asked for, so that a kernel
 * that runs again allocates nothing. */
void *rg_scratch(size_t bytes);

#endif
