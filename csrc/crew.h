/* Whether a program's threads are worth it, found out while it runs.
 *
 * What threads hand to each other may take four times as long as it did a second ago: a virtual machine's processors move
 * among the cores of its host, which have caches in common or not, and others work there too. So now and then some steps
 * of a small program are run the other way, by one thread alone or by all, and the faster way goes on. The parts are the
 * same, and so are the bits. While another program's run has the threads, all steps run alone and there is nothing to
 * choose: then the two ways take the same time, and what goes on is as good as the other. */
#ifndef RETROGRAD_CREW_H
#define RETROGRAD_CREW_H

#include <stdint.h>

#define RG_CREW_SAMPLES 5

typedef struct {
    int alone; /* how steps are run now */
    int stage;
    int64_t left;  /* steps of the stage, or of its sample */
    int64_t pause; /* steps between the latest trial and the next */
    int64_t begun; /* ns */
    int samples;   /* of the stage that are complete */
    int64_t ns[2][RG_CREW_SAMPLES]; /* before the change of ways, and after it */
} rg_crew;

rg_crew rg_crew_new(void);

/* How many of so many steps, 1 or more, to run before rg_crew_end. */
int64_t rg_crew_begin(rg_crew *crew, int64_t steps);

void rg_crew_end(rg_crew *crew, int64_t steps);

#endif
