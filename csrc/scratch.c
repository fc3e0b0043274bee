#include "scratch.h"

#include <pthread.h>
#include <stdlib.h>

#define ALIGNMENT 64

static _Thread_local void *memory;
static _Thread_local size_t capacity;

/* Frees a thread's memory when the thread ends. */
static pthread_key_t owner;

__attribute__((constructor)) static void make_owner(void) { pthread_key_create(&owner, free); }

void *rg_scratch(size_t bytes) {
    if (bytes > capacity) {
        size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        void *larger = aligned_alloc(ALIGNMENT, rounded);
        if (!larger)
            return NULL;
        free(memory);
        pthread_setspecific(owner, larger);
        memory = larger;
        capacity = rounded;
    }
    return memory;
}
