/* Calls on whole numbers and truth values alone. They are few beside the floating numbers that are calculated: all are
 * brought to int64, a chunk at a time, and what is made of them is cut to its type, which wraps around as NumPy's does. */
#include "blocks.h"
#include "call.h"
#include "threads.h"

#include <string.h>

enum { CHUNK = 256 };

static int64_t quotient(int64_t a, int64_t b) {
    if (b == 0)
        return 0;
    if (b == -1)
        return (int64_t)(0 - (uint64_t)a); /* the smallest number has no opposite */
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t modulo(int64_t a, int64_t b) {
    return b == 0 ? 0 : (int64_t)((uint64_t)a - (uint64_t)quotient(a, b) * (uint64_t)b);
}

/* A limit of clamp(), without its fraction. */
static int64_t limit(double x) { return x >= 0x1p63 ? INT64_MAX : x > -0x1p63 ? (int64_t)x : INT64_MIN; }

#define WRAPPED(a, sign, b) (int64_t)((uint64_t)(a) sign (uint64_t)(b))
/* X(opcode, its value of a, b and c) */
#define ARITHMETIC(X)                                                                                                  \
    X(RG_NEGATIVE, WRAPPED(0, -, a))                                                                                   \
    X(RG_ABSOLUTE, a < 0 ? WRAPPED(0, -, a) : a)                                                                       \
    X(RG_SIGN, (a > 0) - (a < 0))                                                                                      \
    X(RG_SQUARE, WRAPPED(a, *, a))                                                                                     \
    X(RG_SUBTRACT, WRAPPED(a, -, b))                                                                                   \
    X(RG_REMAINDER, modulo(a, b))                                                                                      \
    X(RG_FLOOR_DIVIDE, quotient(a, b))                                                                                 \
    X(RG_CLAMP, rg_smaller(a > b ? a : b, c))
/* what truth values have too */
#define CHOICES(X)                                                                                                     \
    X(RG_ADD, WRAPPED(a, +, b))                                                                                        \
    X(RG_MULTIPLY, WRAPPED(a, *, b))                                                                                   \
    X(RG_MAXIMUM, a > b ? a : b)                                                                                       \
    X(RG_MINIMUM, rg_smaller(a, b))                                                                                    \
    X(RG_WHERE, a ? b : c)
#define PREDICATES(X)                                                                                                  \
    X(RG_EQUAL, a == b)                                                                                                \
    X(RG_NOT_EQUAL, a != b)                                                                                            \
    X(RG_LESS, a < b)                                                                                                  \
    X(RG_LESS_EQUAL, a <= b)                                                                                           \
    X(RG_GREATER, a > b)                                                                                               \
    X(RG_GREATER_EQUAL, a >= b)                                                                                        \
    X(RG_LOGICAL_AND, a && b)                                                                                          \
    X(RG_LOGICAL_OR, a || b)                                                                                           \
    X(RG_LOGICAL_NOT, !a)

static void calculate(int opcode, int64_t *y, int64_t in[][CHUNK], int64_t n) {
    switch (opcode) {
#define CASE(name, value)                                                                                              \
    case name:                                                                                                         \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            const int64_t a = in[0][i], b = in[1][i], c = in[2][i];                                                    \
            (void)b, (void)c;                                                                                          \
            y[i] = value;                                                                                              \
        }                                                                                                              \
        break;
        ARITHMETIC(CASE) CHOICES(CASE) PREDICATES(CASE)
#undef CASE
    }
}

typedef struct {
    const rg_call *call;
    const rg_walk *walk;
    int operands;
    char *at[RG_ELEMENTWISE_OPERANDS];
    int64_t low, high;
} working;

/* The elements of operand k from `offset` on along the walk's last axis, as int64. */
static void load_chunk(const working *o, int k, int64_t *to, int64_t offset, int64_t n) {
    const int dtype = o->call->operand[k].dtype;
    rg_convert(to, RG_I64, 1, o->at[k] + offset * rg_item_bytes(dtype), dtype, o->walk->strides[k][o->walk->axes - 1], n);
}

static void elementwise_range(void *args, int64_t begin, int64_t end, int part) {
    const working *o = args;
    const int last = o->walk->axes - 1, made = o->call->operand[0].dtype;
    int64_t in[RG_ELEMENTWISE_OPERANDS - 1][CHUNK], y[CHUNK], offset[RG_ELEMENTWISE_OPERANDS], n;
    (void)part;
    memset(in, 0, sizeof in);
    if (o->call->opcode == RG_CLAMP)
        for (int i = 0; i < CHUNK; i++) {
            in[1][i] = o->low;
            in[2][i] = o->high;
        }
    for (; begin < end; begin += n) {
        n = rg_smaller(rg_smaller(rg_walk_to(o->walk, begin, o->operands, offset), end - begin), CHUNK);
        for (int k = 1; k < o->operands; k++)
            load_chunk(o, k, in[k - 1], offset[k], n);
        calculate(o->call->opcode, y, in, n);
        rg_convert(o->at[0] + offset[0] * rg_item_bytes(made), made, o->walk->strides[0][last], y, RG_I64, 1, n);
    }
}

static void run_elementwise(const rg_call *call, const rg_frame *frame) {
    working o = {.call = call, .walk = &call->walk};
    for (; o.operands < RG_ELEMENTWISE_OPERANDS && call->operand[o.operands].present; o.operands++)
        o.at[o.operands] = rg_at(call, frame, o.operands);
    if (call->opcode == RG_CLAMP) {
        o.low = limit(rg_number(call, frame, 0).number);
        o.high = limit(rg_number(call, frame, 1).number);
    }
    if (call->rows)
        elementwise_range(&o, 0, call->elements * frame->rows, 0);
    else
        rg_parallel(elementwise_range, &o, call->elements, rg_parts(call->work));
}

/* Each element is added to the one of y that it belongs to, which the walk does not leave along what is summed over. */
static void run_sum(const rg_call *call, const rg_frame *frame) {
    const rg_view *made = &call->operand[0], *x = &call->operand[1];
    rg_walk walk = call->walk;
    const working o = {.call = call, .walk = &walk, .at = {rg_at(call, frame, 0), rg_at(call, frame, 1)}};
    const int64_t sums = made->row_axis < 0 ? made->size : made->size / call->rows * frame->rows;
    int64_t in[CHUNK], offset[RG_ELEMENTWISE_OPERANDS], n, size = 1;
    uint64_t *const y = (uint64_t *)o.at[0];
    if (!frame->later || made->row_axis >= 0)
        memset(y, 0, (size_t)sums * sizeof *y);
    if (x->row_axis >= 0)
        walk.shape[x->row_axis] = frame->rows;
    for (int axis = 0; axis < walk.axes; axis++)
        size *= walk.shape[axis];
    for (int64_t begin = 0; begin < size; begin += n) {
        n = rg_smaller(rg_smaller(rg_walk_to(&walk, begin, 2, offset), size - begin), CHUNK);
        load_chunk(&o, 1, in, offset[1], n);
        for (int64_t i = 0; i < n; i++)
            y[offset[0] + i * walk.strides[0][walk.axes - 1]] += (uint64_t)in[i];
    }
}

/* The walk over all elements of x, and y's places for them. */
static rg_walk walk_of_sum(const rg_call *call) {
    const rg_view *x = &call->operand[1];
    rg_walk w = {.axes = x->axes ? x->axes : 1, .shape = {1}};
    int64_t step = 1;
    for (int axis = x->axes - 1; axis >= 0; axis--) {
        const int summed = axis >= call->option[0] && axis < call->option[1];
        w.shape[axis] = x->shape[axis];
        w.strides[0][axis] = summed ? 0 : step;
        w.strides[1][axis] = x->strides[axis];
        step *= summed ? 1 : x->shape[axis];
    }
    return w;
}

static int makes(int opcode, int dtype) {
    switch (opcode) {
#define CASE(name, value) case name:
        ARITHMETIC(CASE) return dtype != RG_BOOL;
        CHOICES(CASE) return 1;
        PREDICATES(CASE) return dtype == RG_BOOL;
#undef CASE
    case RG_SUM:
        return dtype == RG_I64;
    default:
        return 0;
    }
}

int rg_is_whole(const rg_call *call) {
    int truths = 1;
    for (int k = 0; k < RG_OPERANDS; k++) {
        const rg_view *v = &call->operand[k];
        if (v->present && (v->dtype == RG_F32 || v->dtype == RG_F64))
            return 0;
        truths &= !v->present || v->dtype == RG_BOOL;
    }
    const int vectors = truths && call->opcode >= RG_EQUAL; /* the kernels of floating numbers are quicker there */
    return !vectors && makes(call->opcode, call->operand[0].dtype);
}

void rg_prepare_whole(rg_call *call) {
    if (call->opcode == RG_SUM)
        call->walk = walk_of_sum(call);
    call->run = call->opcode == RG_SUM ? run_sum : run_elementwise;
    call->work = call->operand[call->opcode == RG_SUM].size * 2;
}
