/* Comparisons of whole numbers, one by one: labels and indices are few beside what is calculated of them. */
#include "blocks.h"
#include "call.h"
#include "threads.h"

typedef struct {
    const rg_call *call;
    const void *a, *b;
    uint8_t *truth;
} comparing;

static int holds(int opcode, int64_t a, int64_t b) {
    switch (opcode) {
    case RG_EQUAL:
        return a == b;
    case RG_NOT_EQUAL:
        return a != b;
    case RG_LESS:
        return a < b;
    case RG_LESS_EQUAL:
        return a <= b;
    case RG_GREATER:
        return a > b;
    default:
        return a >= b;
    }
}

static int64_t number_at(const void *numbers, int dtype, int64_t offset) {
    return dtype == RG_BOOL ? ((const uint8_t *)numbers)[offset] : ((const int64_t *)numbers)[offset];
}

static void compare_range(void *args, int64_t begin, int64_t end, int part) {
    const comparing *o = args;
    const rg_walk *w = &o->call->walk;
    (void)part;
    for (int64_t place = begin; place < end; place++) {
        int64_t offset[3] = {0}, rest = place;
        for (int axis = w->axes - 1; axis >= 0; axis--) {
            for (int n = 0; n < 3; n++)
                offset[n] += rest % w->shape[axis] * w->strides[n][axis];
            rest /= w->shape[axis];
        }
        o->truth[offset[0]] = (uint8_t)holds(o->call->opcode, number_at(o->a, o->call->operand[1].dtype, offset[1]),
                                             number_at(o->b, o->call->operand[2].dtype, offset[2]));
    }
}

static void run_comparison(const rg_call *call, const rg_frame *frame) {
    comparing o = {call, rg_at(call, frame, 1), rg_at(call, frame, 2), rg_at(call, frame, 0)};
    if (call->rows)
        compare_range(&o, 0, call->elements * frame->rows, 0);
    else
        rg_parallel(compare_range, &o, call->elements, rg_parts(call->work));
}

static int is_whole(const rg_view *v) { return v->dtype == RG_I64 || v->dtype == RG_BOOL; }

int rg_compares_whole(const rg_call *call) {
    const rg_view *a = &call->operand[1], *b = &call->operand[2];
    return call->opcode >= RG_EQUAL && call->opcode <= RG_GREATER_EQUAL && is_whole(a) && is_whole(b) &&
           (a->dtype == RG_I64 || b->dtype == RG_I64);
}

void rg_prepare_comparison(rg_call *call) {
    call->run = run_comparison;
    call->work = call->operand[0].size * 4;
}
