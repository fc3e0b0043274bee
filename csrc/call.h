/* What program.c and the kernels' executors (program.inc) share. */
#ifndef RETROGRAD_CALL_H
#define RETROGRAD_CALL_H

#include "blocks.h"
#include "retrograd.h"

#include <stdatomic.h>
#include <stddef.h>

/* An operand of a loaded program. */
typedef struct {
    int present;
    int axes, row_axis;
    int dtype;
    int contiguous; /* whether a slice of it is */
    int64_t shape[RG_AXES], strides[RG_AXES];
    int64_t size;     /* elements, of all rows */
    int64_t row_step; /* bytes from a row to the next; 0 where a slice does not advance */
} rg_view;

typedef struct rg_call rg_call;

enum { RG_MEASURED = 3 }; /* calls: gradient_sums, an update and update_sums, which run as one */

/* The first fault that any thread met. */
typedef struct {
    atomic_int raised;
    rg_fault first;
} rg_alarm;

/* A step's state on one thread. */
typedef struct {
    const uintptr_t *at; /* the operands' addresses for row 0, RG_OPERANDS for each call */
    const rg_scalar *scalars;
    char *scratch; /* of this thread */
    char *packed;  /* of the program */
    int64_t start, rows; /* the slice; rows is 0 where calls run whole */
    int later;           /* what is summed over slices is added to what is there */
    int thread, threads; /* for what all threads do together */
    rg_alarm *alarm;
} rg_frame;

typedef void rg_executor(const rg_call *call, const rg_frame *frame);

enum { RG_ELEMENTWISE_OPERANDS = 4 };

/* The axes of an elementwise call, neighbours that can be walked as one made one; strides in elements. */
typedef struct {
    int axes;
    int64_t shape[RG_AXES];
    int64_t strides[RG_ELEMENTWISE_OPERANDS][RG_AXES];
} rg_walk;

/* Where element number `place`, in C order, is in each operand; returns how many there are from it to the end of the last
 * axis. */
static inline int64_t rg_walk_to(const rg_walk *w, int64_t place, int operands, int64_t *offset) {
    const int last = w->axes - 1;
    int64_t inner = place;
    for (int k = 0; k < operands; k++)
        offset[k] = 0;
    for (int axis = last; axis >= 0; axis--) {
        const int64_t i = last ? place % w->shape[axis] : place;
        place = last ? place / w->shape[axis] : 0;
        inner = axis == last ? i : inner;
        for (int k = 0; k < operands; k++)
            offset[k] += i * w->strides[k][axis];
    }
    return w->shape[last] - inner;
}

struct rg_call {
    rg_executor *run;
    rg_executor *before; /* once a step in each part, before its rows. May be NULL */
    int64_t number;      /* in the program */
    int64_t merged;      /* this call and so many that follow run as one, by this one's executor */
    int64_t group;       /* this call and so many that follow, of any kind, are shared out in the same way */
    int joins_update;      /* a linear_backward whose weights are better updated while their gradient is made */
    const rg_call *update; /* the call after this one, an update, which this one's executor runs too: of the weights, with
                            * the gradient that this call makes; or of what it sums over, with the sums after that */
    int opcode, dtype;
    int32_t option[RG_OPTIONS];
    int32_t scalar[RG_NUMBERS];
    rg_scalar constant[RG_NUMBERS];
    rg_view operand[RG_OPERANDS];
    int64_t rows;     /* of the segment's batch; 0 where the call runs whole */
    int64_t slice;    /* the most of them at a time */
    int64_t elements; /* of operand 0, for each row, or all where it runs whole */
    int64_t work;     /* as rg_parts counts it */
    int64_t scratch;  /* bytes that it needs */
    int64_t packed, packed_bytes; /* its place in frame->packed */
    int shared;                   /* all threads run it together, each its share */
    int64_t unit;                 /* of `elements` of a shared call: shares begin at multiples of so many */
    rg_walk walk;                 /* elementwise calls and copies */
};

static inline void *rg_at(const rg_call *call, const rg_frame *frame, int operand) {
    return (void *)(frame->at[call->number * RG_OPERANDS + operand] +
                    (uintptr_t)(frame->start * call->operand[operand].row_step));
}

/* Where a thread's share of n elements begins. */
static inline int64_t rg_share(int64_t n, int64_t unit, int thread, int threads) {
    return rg_smaller(rg_cut(rg_blocks(n, unit), thread, threads) * unit, n);
}

/* How many rows the call works on, of an operand whose rows are its first axis. */
static inline int64_t rg_rows(const rg_call *call, const rg_frame *frame, int operand) {
    return call->rows ? frame->rows : call->operand[operand].shape[0];
}

static inline rg_scalar rg_number(const rg_call *call, const rg_frame *frame, int n) {
    return call->scalar[n] < 0 ? call->constant[n] : frame->scalars[call->scalar[n]];
}

/* Reports an index that is not one of `size` elements. */
static inline void rg_raise(const rg_call *call, const rg_frame *frame, int64_t index, int64_t size) {
    if (!atomic_exchange(&frame->alarm->raised, 1))
        frame->alarm->first = (rg_fault){call->number, index, size};
}

/* Chooses the executor of a checked call for the instruction set in force and says what it needs: run, before, work,
 * scratch, packed_bytes, shared, unit. One for each of RG_F32 and RG_F64. */
typedef void rg_prepare(rg_call *call);
extern rg_prepare *rg_prepare_call[2];

/* copy.c: elements begin..end-1, in C order, from one strided array to another, converted. */
typedef struct {
    void *to;
    const void *from;
    int to_dtype, from_dtype;
    const rg_walk *walk; /* strides[0] of `to`, strides[1] of `from` */
} rg_copying;

void rg_copy_range(const rg_copying *copying, int64_t begin, int64_t end);
int rg_can_copy(int to_dtype, int from_dtype);
int64_t rg_item_bytes(int dtype);

/* n elements, `step` elements apart, from one type to another. */
void rg_convert(void *to, int to_dtype, int64_t to_step, const void *from, int from_dtype, int64_t from_step, int64_t n);

/* whole.c: whether a call is one on whole numbers that it runs, and what rg_prepare_call does for such a one. */
int rg_is_whole(const rg_call *call);
void rg_prepare_whole(rg_call *call);

/* The call's first `operands` operands, whose shapes are equal, as a walk. */
rg_walk rg_walk_of(const rg_call *call, const int *operands, int count);

#endif
