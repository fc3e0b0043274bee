#include "crew.h"
#include "blocks.h"
#include "threads.h"

#include <string.h>

/* A trial: samples of the way that is in use, some steps of the other that do not count, while threads wake and caches
 * fill, and samples of that. */
enum { GOING_ON, BEFORE, CHANGED, AFTER };
#define STEPS_TO_FIRST_TRIAL 256
#define STEPS_TO_TRIAL 8192  /* of which a trial is less than a hundredth */
#define STEPS_TO_REVISE 1024 /* after a change of ways, which may have been one for the worse; then twice as many each time */
#define STEPS_OF_SAMPLE 4
#define STEPS_TO_WAKE 32
#define GAIN 0.97 /* what a change of ways has to bring */

rg_crew rg_crew_new(void) { return (rg_crew){.left = STEPS_TO_FIRST_TRIAL, .pause = STEPS_TO_REVISE}; }

static int is_sampled(const rg_crew *c) { return c->stage == BEFORE || c->stage == AFTER; }

/* Of the samples, which it sorts: what interrupts some of them is no matter. */
static double median(int64_t ns[RG_CREW_SAMPLES]) {
    for (int i = 1; i < RG_CREW_SAMPLES; i++)
        for (int k = i; k > 0 && ns[k] < ns[k - 1]; k--) {
            const int64_t larger = ns[k - 1];
            ns[k - 1] = ns[k];
            ns[k] = larger;
        }
    return (double)ns[RG_CREW_SAMPLES / 2];
}

static void begin_stage(rg_crew *c, int stage, int64_t steps) {
    c->stage = stage;
    c->left = steps;
    c->samples = 0;
}

static void end_stage(rg_crew *c) {
    switch (c->stage) {
    case GOING_ON:
        memset(c->ns, 0, sizeof c->ns);
        begin_stage(c, BEFORE, STEPS_OF_SAMPLE);
        break;
    case BEFORE:
        c->alone = !c->alone;
        begin_stage(c, CHANGED, STEPS_TO_WAKE);
        break;
    case CHANGED:
        begin_stage(c, AFTER, STEPS_OF_SAMPLE);
        break;
    default:
        if (median(c->ns[1]) > GAIN * median(c->ns[0])) {
            c->alone = !c->alone;
            c->pause = rg_smaller(2 * c->pause, STEPS_TO_TRIAL);
        } else
            c->pause = STEPS_TO_REVISE;
        begin_stage(c, GOING_ON, c->pause);
    }
}

int64_t rg_crew_begin(rg_crew *c, int64_t steps) {
    if (is_sampled(c))
        c->begun = rg_now_ns();
    return rg_smaller(steps, c->left);
}

void rg_crew_end(rg_crew *c, int64_t steps) {
    if (is_sampled(c))
        c->ns[c->stage == AFTER][c->samples] += rg_now_ns() - c->begun;
    c->left -= steps;
    if (c->left > 0)
        return;
    if (is_sampled(c) && ++c->samples < RG_CREW_SAMPLES)
        c->left = STEPS_OF_SAMPLE;
    else
        end_stage(c);
}
