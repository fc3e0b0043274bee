/* Loading programs and running them: see program.h. */
#include "blocks.h"
#include "call.h"
#include "core.h"
#include "crew.h"
#include "threads.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64
#define SHORT_ROW 512 /* bytes, up to which a call for each costs more than moving it */
#define SUM_UNIT 16
/* Below this much work for each, in the units of rg_parts, threads that meet a few times a step do not pay. */
#define WORK_PER_PART 8192
/* Nor does a batch cut into parts with less work than meeting costs, and reading what other cores have changed: each
 * element summed over the batch, and the weight that it updates. Measured with two cores, Zen 5's where they are near. */
#define WORK_OF_MEETING (rg_core.near ? 8000 : 20000)
#define WORK_PER_SUM 3
#define WORK_OF_SUMS(n) (WORK_PER_SUM * (n) / (rg_core.near ? 2 : 1))
/* A thread's part of a batch is cut into so many where what that adds is little: a core that is slower, or busy with something
 * else for a while, then leaves some to the others. */
#define PARTS_PER_THREAD 4
#define WORK_OF_PART 2000
#define WORK_TO_CUT 32 /* times what one more part costs */
/* Steps of less work are now and then tried on one thread: see crew.h. */
#define WORK_TO_TRY (1 << 20)
/* Threads run the whole program together, unless calls that only one of them would run take longer than this. */
#define WORK_OF_ONE_THREAD 8192

/* No axis is longer, no stride and no offset larger: what is worked out from them does not overflow. */
#define LARGEST ((int64_t)1 << 40)

rg_prepare *rg_prepare_call[2];

/* What of the weights a thread has packed last: parts of one batch, in one step, share it. */
typedef struct {
    const void *segment;
    int64_t step;
} packed_for;

/* What a thread works with in the parts of the batch that it runs, and what a part has of its own: its sums. (Weights are
 * packed by each thread: that costs less than reading what another core has packed.) */
enum { SLICES, SCRATCH, PACKED, SUMS_OF_PART, USES };
typedef struct {
    char *memory[USES];
    int64_t bytes[USES];
} own_memory;

struct rg_workspace {
    own_memory *of; /* each thread, and each part */
    int count;
    int64_t version; /* moves when memory does */
    int64_t steps;   /* of all programs, that were begun */
};

/* Where a call's address is found anew at each step. */
typedef struct {
    int64_t operand, given, offset;
} given_operand;

/* An output that adds up over slices: each part but the first has one of its own. */
typedef struct {
    int64_t operand, elements, place;
    int dtype;
} summed_output;

typedef struct {
    int64_t first, count; /* calls */
    int64_t rows, slice_rows;
    int64_t work;
    int parts;
    int64_t first_sum, sum_count;
    int packs; /* a call has weights packed, after a packed_for */
} segment;

/* What threads do in parts between two times that they meet. */
typedef struct {
    enum { GATHER, BATCH, SUMS, SHARED, ALONE } kind;
    const segment *segment; /* whose rows are run or whose sums are added up */
    const rg_call *call;    /* SHARED: its group; SUMS: the same after the sums, or NULL */
    int64_t calls;          /* ALONE: so many from `call` on, by one thread while the others wait */
    int parts;
} phase;

struct rg_program {
    segment *segments;
    int64_t segment_count;
    rg_call *calls;
    int64_t call_count;
    given_operand *inputs, *results;
    int64_t input_count, result_count; /* operands that are */
    int64_t *input_bytes;              /* of each input of the step */
    int64_t input_number;
    int reads_own_rows; /* a part of the first segment's batch reads only the same rows of each input */
    int loss_dtype; /* of the first result, where that is a single floating number; else -1 */
    summed_output *sums;
    int64_t sum_count;
    int64_t bytes[USES]; /* of each thread, or part */
    char *arena;
    uintptr_t *fixed; /* the operands' addresses, but for those that a thread or a part has its own of */
    int64_t *local;   /* an operand's place in the slice arena, or -1 */
    int together;     /* all threads run the whole program; else each call has threads of its own */
    int threads; /* that are allowed */
    int crew;    /* those that have something to do */
    rg_crew trial; /* whether they are worth it */
    int64_t work;
    rg_workspace *workspace;
    int64_t version;     /* of the workspace, that the addresses are of */
    uintptr_t **at;      /* for each thread: where the operands are */
    uintptr_t *sums_at;  /* where each of the sums of the first part is, and of all in the end */
    phase *phases; /* of a program that threads run together; the first one is for epochs whose rows are gathered */
    int64_t phase_count;
    rg_alarm *alarm;
};

/* ---- checks */

typedef struct {
    char *text;
    int64_t bytes;
    int failed;
} complaint;

__attribute__((format(printf, 2, 3))) static int complain(complaint *c, const char *format, ...) {
    if (!c->failed) {
        va_list values;
        va_start(values, format);
        vsnprintf(c->text, (size_t)c->bytes, format, values);
        va_end(values);
    }
    c->failed = 1;
    return -1;
}

/* An opcode's operands and numbers. Letters, one for each operand: o an output of the call's type, b of truth values, a
 * any; i an input of the call's type, l of labels, t of the call's type or truth values; upper case: may be absent. */
static const struct {
    const char *name, *operands;
    int numbers;
} opcodes[RG_OPCODES] = {
    [RG_LINEAR_FORWARD] = {"linear_forward", "oiiIO", 1},
    [RG_LINEAR_BACKWARD] = {"linear_backward", "OOOiiiI", 2},
    [RG_MATMUL] = {"matmul", "oii", 0},
    [RG_POINTWISE_LOSS] = {"pointwise_loss", "OOOii", 2},
    [RG_CROSS_ENTROPY] = {"cross_entropy_loss", "OOOil", 1},
    [RG_ACTIVATION_FORWARD] = {"activation_forward", "oi", 1},
    [RG_ACTIVATION_BACKWARD] = {"activation_backward", "oii", 1},
    [RG_SUM] = {"sum", "oi", 1},
    [RG_AMAX] = {"amax", "oi", 0},
    [RG_AMIN] = {"amin", "oi", 0},
    [RG_LOGSUMEXP] = {"logsumexp", "oi", 0},
    [RG_SOFTMAX] = {"softmax", "oi", 0},
    [RG_LOG_SOFTMAX] = {"log_softmax", "oi", 0},
    [RG_SOFTMAX_BACKWARD] = {"softmax_backward", "oii", 0},
    [RG_LOG_SOFTMAX_BACKWARD] = {"log_softmax_backward", "oii", 0},
    [RG_SGD_UPDATE] = {"sgd_update", "oiO", 4},
    [RG_ADAM_UPDATE] = {"adam_update", "oiooO", 6},
    [RG_RMSPROP_UPDATE] = {"rmsprop_update", "oioOO", 5},
    [RG_GRADIENT_SUMS] = {"gradient_sums", "ooiiI", 0},
    [RG_UPDATE_SUMS] = {"update_sums", "oii", 0},
    [RG_UNIT_SUMS] = {"unit_sums", "oi", 0},
    [RG_DROPOUT] = {"dropout", "oi", 3},
    [RG_RANDOM_UNIFORM] = {"random_uniform", "o", 2},
    [RG_TAKE_ALONG_AXIS] = {"take_along_axis", "oin", 0},
    [RG_ADD_ALONG_AXIS] = {"add_along_axis", "oin", 0},
    [RG_PUT_ALONG_AXIS] = {"put_along_axis", "oin", 0},
    [RG_ARGMAX] = {"argmax", "ni", 0},
    [RG_ARGMIN] = {"argmin", "ni", 0},
    [RG_ANY] = {"any", "bt", 0},
    [RG_ALL] = {"all", "bt", 0},
    [RG_CUMSUM] = {"cumsum", "oi", 1},
    [RG_COPY] = {"copy", "aa", 0},
    [RG_NEGATIVE] = {"negative", "oi", 0},
    [RG_ABSOLUTE] = {"absolute", "oi", 0},
    [RG_SIGN] = {"sign", "oi", 0},
    [RG_SQRT] = {"sqrt", "oi", 0},
    [RG_SQUARE] = {"square", "oi", 0},
    [RG_CLAMP] = {"clamp", "oi", 2},
    [RG_ADD] = {"add", "oii", 0},
    [RG_SUBTRACT] = {"subtract", "oii", 0},
    [RG_MULTIPLY] = {"multiply", "oii", 0},
    [RG_DIVIDE] = {"divide", "oii", 0},
    [RG_POWER] = {"power", "oii", 0},
    [RG_MAXIMUM] = {"maximum", "oii", 0},
    [RG_MINIMUM] = {"minimum", "oii", 0},
    [RG_WHERE] = {"where", "otii", 0},
    [RG_REMAINDER] = {"remainder", "oii", 0},
    [RG_FLOOR_DIVIDE] = {"floor_divide", "oii", 0},
    [RG_LOGADDEXP] = {"logaddexp", "oii", 0},
#define FUNCTION(opcode, name) [opcode] = {#name, "oi", 0},
    RG_ELEMENTARY(FUNCTION)
    RG_FUNCTIONS(FUNCTION)
#define FUNCTION_OF_TWO(opcode, name) [opcode] = {#name, "oii", 0},
    RG_FUNCTIONS_OF_TWO(FUNCTION_OF_TWO)
    [RG_EQUAL] = {"equal", "btt", 0},
    [RG_NOT_EQUAL] = {"not_equal", "btt", 0},
    [RG_LESS] = {"less", "btt", 0},
    [RG_LESS_EQUAL] = {"less_equal", "btt", 0},
    [RG_GREATER] = {"greater", "btt", 0},
    [RG_GREATER_EQUAL] = {"greater_equal", "btt", 0},
    [RG_LOGICAL_AND] = {"logical_and", "btt", 0},
    [RG_LOGICAL_OR] = {"logical_or", "btt", 0},
    [RG_LOGICAL_NOT] = {"logical_not", "bt", 0},
};

static int is_optional(char letter) { return letter >= 'A' && letter <= 'Z'; }
static int is_elementwise(int opcode) { return opcode >= RG_NEGATIVE; }

/* The sum of how far the axes reach from the first element, downwards and upwards; -1 where it overflows. */
static int reach(const rg_operand *o, const int64_t *shape, int64_t *low, int64_t *high) {
    *low = *high = 0;
    for (int axis = 0; axis < o->axes; axis++) {
        if (shape[axis] == 0) {
            *low = 0;
            *high = -1;
            return 0;
        }
        int64_t far;
        if (__builtin_mul_overflow(shape[axis] - 1, o->strides[axis], &far) ||
            __builtin_add_overflow(far < 0 ? *low : *high, far, far < 0 ? low : high))
            return -1;
    }
    return 0;
}

/* One operand of call number n against its buffer and its segment; fills in the view. */
static int check_operand(complaint *c, const rg_program_source *source, int64_t n, int slot, const segment *s,
                         rg_view *view) {
    const rg_instruction *in = &source->instructions[n];
    const rg_operand *o = &in->operand[slot];
    const char *name = opcodes[in->opcode].name;
#define WRONG(...) complain(c, "instruction %lld, %s, operand %d: " __VA_ARGS__)
#define WHICH (long long)n, name, slot
    if (o->buffer < 0 || o->buffer >= source->buffer_count)
        return WRONG("no buffer %d of %lld", WHICH, o->buffer, (long long)source->buffer_count);
    if (o->axes < 0 || o->axes > RG_AXES)
        return WRONG("%d axes, expected 0 to %d", WHICH, o->axes, RG_AXES);
    const rg_buffer *buffer = &source->buffers[o->buffer];
    const int64_t item = rg_item_bytes(buffer->dtype);
    *view = (rg_view){.present = 1, .axes = o->axes, .row_axis = -1, .dtype = buffer->dtype, .size = 1, .contiguous = 1};
    for (int axis = 0; axis < o->axes; axis++) {
        if (o->shape[axis] < 0 || o->shape[axis] > LARGEST ||
            __builtin_mul_overflow(view->size, o->shape[axis], &view->size))
            return WRONG("axis %d has size %lld", WHICH, axis, (long long)o->shape[axis]);
        if (o->strides[axis] < -LARGEST || o->strides[axis] > LARGEST)
            return WRONG("axis %d has stride %lld", WHICH, axis, (long long)o->strides[axis]);
        view->shape[axis] = o->shape[axis];
        view->strides[axis] = o->strides[axis];
    }
    int64_t bytes, shape[RG_AXES];
    if (__builtin_mul_overflow(view->size, item, &bytes))
        return WRONG("too large", WHICH);
    memcpy(shape, view->shape, sizeof shape);
    if (s->rows && o->row_axis != -1) {
        if (o->row_axis < 0 || o->row_axis >= o->axes || shape[o->row_axis] != s->rows)
            return WRONG("axis %d is not the batch of %lld rows", WHICH, o->row_axis, (long long)s->rows);
        view->row_axis = o->row_axis;
        if (buffer->place == RG_SLICE)
            shape[o->row_axis] = s->slice_rows;
        else
            view->row_step = o->strides[o->row_axis] * item;
    }
    int64_t low, high;
    if (reach(o, shape, &low, &high) || o->offset < 0 || o->offset > LARGEST ||
        (high >= low && (high > INT64_MAX - LARGEST || o->offset + low < 0 || o->offset + high >= buffer->bytes / item)))
        return WRONG("reaches beyond the %lld elements of buffer %d", WHICH, (long long)(buffer->bytes / item),
                     o->buffer);
    int64_t step = 1;
    for (int axis = o->axes - 1; axis >= 0 && view->size; axis--) {
        if (view->shape[axis] != 1 && view->strides[axis] != step)
            view->contiguous = 0;
        step *= view->shape[axis];
    }
    if (view->size <= 1)
        view->contiguous = 1;
    if (view->row_axis > 0)
        view->contiguous = 0;
    return 0;
#undef WRONG
#undef WHICH
}

static int same_shape(const rg_view *a, const rg_view *b) {
    if (a->axes != b->axes)
        return 0;
    for (int axis = 0; axis < a->axes; axis++)
        if (a->shape[axis] != b->shape[axis])
            return 0;
    return 1;
}

static int same_but_for(const rg_view *a, const rg_view *b, int except) {
    if (a->axes != b->axes)
        return 0;
    for (int axis = 0; axis < a->axes; axis++)
        if (axis != except && a->shape[axis] != b->shape[axis])
            return 0;
    return 1;
}

static int has_shape(const rg_view *v, int axes, int64_t first, int64_t second) {
    return !v->present || (v->axes == axes && (axes < 1 || v->shape[0] == first) && (axes < 2 || v->shape[1] == second));
}

static int is_activation(int number) { return number >= 0 && number < RG_ACTIVATIONS; }

/* (modulo 2^64, where other axes are empty) */
static uint64_t product(const int64_t *sizes, int begin, int end) {
    uint64_t n = 1;
    for (int i = begin; i < end; i++)
        n *= (uint64_t)sizes[i];
    return n;
}

/* Sizes of a call's operands against each other, and what its options may be; 0 where they do not fit. */
static int fits(const rg_call *call) {
    const rg_view *v = call->operand;
    const int first = call->option[0], last = call->option[1];
    switch (call->opcode) {
    case RG_LINEAR_FORWARD:
        return v[1].axes == 2 && v[2].axes == 2 && v[1].shape[1] == v[2].shape[1] &&
               has_shape(&v[0], 2, v[1].shape[0], v[2].shape[0]) && has_shape(&v[3], 1, v[2].shape[0], 0) &&
               has_shape(&v[4], 2, v[1].shape[0], v[2].shape[0]) && v[0].contiguous &&
               (!v[3].present || v[3].contiguous) && (!v[4].present || v[4].contiguous) && is_activation(first);
    case RG_LINEAR_BACKWARD: {
        if (v[4].axes != 2 || v[5].axes != 2)
            return 0;
        const int64_t rows = v[4].shape[0], in = v[4].shape[1], out = v[5].shape[0];
        for (int n = 0; n < 3; n++)
            if (v[n].present && !v[n].contiguous)
                return 0;
        return v[5].shape[1] == in && has_shape(&v[0], 2, rows, in) && has_shape(&v[1], 2, out, in) &&
               has_shape(&v[2], 1, out, 0) && has_shape(&v[3], 2, rows, out) && has_shape(&v[6], 2, rows, out) &&
               (v[6].present || first == RG_IDENTITY) && is_activation(first) && is_activation(last) &&
               (v[4].contiguous || last == RG_IDENTITY);
    }
    case RG_MATMUL: {
        const int axes = v[0].axes;
        if (axes < 2 || v[1].axes != axes || v[2].axes != axes || !v[0].contiguous)
            return 0;
        for (int axis = 0; axis < axes - 2; axis++)
            if (v[0].shape[axis] != v[1].shape[axis] || v[0].shape[axis] != v[2].shape[axis])
                return 0;
        return v[0].shape[axes - 2] == v[1].shape[axes - 2] && v[0].shape[axes - 1] == v[2].shape[axes - 1] &&
               v[1].shape[axes - 1] == v[2].shape[axes - 2];
    }
    case RG_POINTWISE_LOSS:
        return first >= RG_MSE && first <= RG_BCE_WITH_LOGITS && same_shape(&v[3], &v[4]) &&
               (!v[0].present || (same_shape(&v[0], &v[3]) && v[0].contiguous)) &&
               (!v[1].present || v[1].size == 1) && (!v[2].present || (same_shape(&v[2], &v[3]) && v[2].contiguous));
    case RG_CROSS_ENTROPY:
        return v[3].axes == 2 && (!v[0].present || (has_shape(&v[0], 1, v[3].shape[0], 0) && v[0].contiguous)) &&
               (!v[1].present || v[1].size == 1) && (!v[2].present || (same_shape(&v[2], &v[3]) && v[2].contiguous)) &&
               (v[4].dtype == RG_I64 ? has_shape(&v[4], 1, v[3].shape[0], 0) : same_shape(&v[4], &v[3]));
    case RG_ACTIVATION_FORWARD:
        return is_activation(first) && same_shape(&v[0], &v[1]) && v[0].contiguous;
    case RG_ACTIVATION_BACKWARD:
        return is_activation(first) && same_shape(&v[0], &v[1]) && same_shape(&v[0], &v[2]) && v[0].contiguous;
    case RG_SUM:
    case RG_AMAX:
    case RG_AMIN:
    case RG_LOGSUMEXP:
    case RG_ARGMAX:
    case RG_ARGMIN:
    case RG_ANY:
    case RG_ALL:
        if (v[1].dtype == RG_BOOL && !v[1].contiguous)
            return 0;
        return first >= 0 && last >= first && last <= v[1].axes && v[0].contiguous &&
               (uint64_t)v[0].size == product(v[1].shape, 0, first) * product(v[1].shape, last, v[1].axes);
    case RG_SOFTMAX:
    case RG_LOG_SOFTMAX:
    case RG_SOFTMAX_BACKWARD:
    case RG_LOG_SOFTMAX_BACKWARD:
        return first >= 0 && last == first + 1 && last <= v[0].axes && same_shape(&v[0], &v[1]) && v[0].contiguous &&
               (!v[2].present || same_shape(&v[0], &v[2]));
    case RG_CUMSUM:
        return first >= 0 && last == first + 1 && last <= v[0].axes && same_shape(&v[0], &v[1]) && v[0].contiguous;
    case RG_TAKE_ALONG_AXIS:
        return first >= 0 && last == first + 1 && last <= v[0].axes && same_shape(&v[0], &v[2]) &&
               same_but_for(&v[0], &v[1], first) && v[0].contiguous;
    case RG_ADD_ALONG_AXIS:
    case RG_PUT_ALONG_AXIS:
        return first >= 0 && last == first + 1 && last <= v[0].axes && same_shape(&v[1], &v[2]) &&
               same_but_for(&v[0], &v[1], first) && v[0].contiguous;
    case RG_SGD_UPDATE:
    case RG_ADAM_UPDATE:
    case RG_RMSPROP_UPDATE:
        for (int n = 0; n < 5; n++)
            if (v[n].present && (!same_shape(&v[0], &v[n]) || !v[n].contiguous))
                return 0;
        return 1;
    case RG_GRADIENT_SUMS:
    case RG_UPDATE_SUMS: {
        const int sums = call->opcode == RG_GRADIENT_SUMS ? 5 : 1;
        for (int n = 1; n < 5; n++)
            if (v[n].present && (!same_shape(&v[1], &v[n]) || !v[n].contiguous))
                return 0;
        return first > 0 && v[0].contiguous && has_shape(&v[0], 2, rg_sum_blocks(v[1].size, first), sums);
    }
    case RG_UNIT_SUMS:
        return v[1].axes == 2 && has_shape(&v[0], 1, v[1].shape[1], 0) && v[0].contiguous && first >= 0 && first < RG_TERMS;
    case RG_DROPOUT:
        return same_shape(&v[0], &v[1]) && v[0].contiguous;
    case RG_RANDOM_UNIFORM:
        return v[0].contiguous;
    case RG_COPY:
        return same_shape(&v[0], &v[1]) && rg_can_copy(v[0].dtype, v[1].dtype);
    default:
        for (int n = 1; n < RG_ELEMENTWISE_OPERANDS; n++)
            if (v[n].present && !same_shape(&v[0], &v[n]))
                return 0;
        return 1;
    }
}

/* Whether a call can run on a slice, and its operands take part in it as they must: all by their first axis, but for what
 * is the same for each slice, and what adds up. */
static int slices(const rg_call *call, const rg_operand *o) {
    const rg_view *v = call->operand;
    uint32_t rows = 0, summed = 0, reduced = 0;
    for (int n = 0; n < RG_OPERANDS; n++)
        if (v[n].present) {
            rows |= (uint32_t)(v[n].row_axis == 0) << n;
            reduced |= (uint32_t)(v[n].row_axis > 0) << n;
            summed |= (uint32_t)!!o[n].summed << n;
        }
    uint32_t present = 0;
    for (int n = 0; n < RG_OPERANDS; n++)
        present |= (uint32_t)v[n].present << n;
    switch (call->opcode) {
    case RG_LINEAR_FORWARD:
        return rows == (present & 0x13) && !reduced && !summed;
    case RG_LINEAR_BACKWARD:
        return rows == (present & 0x59) && !reduced && summed == (present & 6);
    case RG_MATMUL:
        if (v[0].axes != 2)
            return 0;
        return (rows == 3 && !reduced && !summed) || (rows == 4 && v[1].row_axis == 1 && summed == 1);
    case RG_POINTWISE_LOSS:
    case RG_CROSS_ENTROPY:
        return rows == (present & 0x1d) && !reduced && summed == (present & 2);
    case RG_SUM:
        if (v[1].row_axis < 0)
            return 0;
        if (call->option[0] <= v[1].row_axis && v[1].row_axis < call->option[1])
            return v[0].row_axis < 0 && summed == 1;
        return rows == 3 && call->option[0] > 0 && !summed;
    case RG_UNIT_SUMS:
        return rows == 2 && !reduced && summed == 1;
    case RG_TAKE_ALONG_AXIS:
        return !reduced && !summed && rows == (call->option[0] > 0 ? 7 : 5);
    case RG_ADD_ALONG_AXIS:
        return !reduced && (call->option[0] > 0 ? rows == 7 && !summed : rows == 6 && summed == 1);
    case RG_AMAX:
    case RG_AMIN:
    case RG_LOGSUMEXP:
    case RG_ARGMAX:
    case RG_ARGMIN:
    case RG_ANY:
    case RG_ALL:
    case RG_CUMSUM:
    case RG_SOFTMAX:
    case RG_LOG_SOFTMAX:
    case RG_SOFTMAX_BACKWARD:
    case RG_LOG_SOFTMAX_BACKWARD:
        return rows == present && call->option[0] > 0 && !summed;
    case RG_SGD_UPDATE:
    case RG_ADAM_UPDATE:
    case RG_RMSPROP_UPDATE:
    case RG_GRADIENT_SUMS:
    case RG_UPDATE_SUMS:
    case RG_RANDOM_UNIFORM:
    case RG_PUT_ALONG_AXIS:
        return 0;
    default:
        return rows == present && !summed;
    }
}

static int dtype_fits(char letter, int dtype, int call_dtype) {
    switch (letter) {
    case 'a':
        return 1;
    case 'b':
        return dtype == RG_BOOL;
    case 't':
        return dtype == call_dtype || dtype == RG_BOOL;
    case 'l':
        return dtype == call_dtype || dtype == RG_I64;
    case 'n':
        return dtype == RG_I64;
    default:
        return dtype == call_dtype;
    }
}

/* Whether a call moves elements as they are: one of floating numbers does so for all types of their size. */
static int moves_only(int opcode) { return opcode == RG_TAKE_ALONG_AXIS || opcode == RG_PUT_ALONG_AXIS; }

/* Checks instruction n and makes a call of it. */
static int load_call(complaint *c, const rg_program_source *source, int64_t n, const segment *s, rg_call *call) {
    const rg_instruction *in = &source->instructions[n];
    const long long which = n;
    if (in->opcode < 0 || in->opcode >= RG_OPCODES)
        return complain(c, "instruction %lld: no opcode %d", which, in->opcode);
    const char *name = opcodes[in->opcode].name, *letters = opcodes[in->opcode].operands;
    *call = (rg_call){.number = n, .merged = 1, .group = 1, .opcode = in->opcode, .dtype = RG_F32, .rows = s->rows};
    memcpy(call->option, in->option, sizeof call->option);
    int known = 0;
    for (int slot = 0; slot < RG_OPERANDS; slot++) {
        const char letter = slot < (int)strlen(letters) ? letters[slot] : 0;
        if (in->operand[slot].buffer == -1 && (!letter || is_optional(letter)))
            continue;
        if (!letter || in->operand[slot].buffer == -1)
            return complain(c, "instruction %lld, %s: operand %d is %s", which, name, slot,
                            letter ? "missing" : "one too many");
        rg_view *v = &call->operand[slot];
        if (check_operand(c, source, n, slot, s, v))
            return -1;
        if (!known && (v->dtype == RG_F32 || v->dtype == RG_F64)) {
            call->dtype = v->dtype;
            known = 1;
        }
    }
    const int whole = rg_is_whole(call), moves = moves_only(in->opcode);
    const int own = moves ? call->operand[0].dtype : call->dtype;
    if (moves && rg_item_bytes(own) == (int64_t)sizeof(double))
        call->dtype = RG_F64;
    for (int slot = 0; slot < (int)strlen(letters); slot++)
        if (call->operand[slot].present && !whole &&
            (!dtype_fits(letters[slot], call->operand[slot].dtype, own) || (moves && rg_item_bytes(own) == 1)))
            return complain(c, "instruction %lld, %s: operand %d has element type %d", which, name, slot,
                            call->operand[slot].dtype);
    if (!fits(call))
        return complain(c, "instruction %lld, %s: operands or options do not fit each other", which, name);
    if (s->rows && !slices(call, in->operand))
        return complain(c, "instruction %lld, %s: does not run on slices of the batch in this way", which, name);
    for (int k = 0; k < RG_NUMBERS; k++) {
        if (in->scalar[k] < -1 || in->scalar[k] >= source->scalar_count)
            return complain(c, "instruction %lld, %s: no scalar %d of %lld", which, name, in->scalar[k],
                            (long long)source->scalar_count);
        call->scalar[k] = in->scalar[k];
        const int counts = (in->opcode == RG_ADAM_UPDATE && k == 5) || (in->opcode == RG_DROPOUT && k > 0) ||
                           in->opcode == RG_RANDOM_UNIFORM;
        if (!counts)
            call->constant[k].number = in->number[k];
        else if (in->number[k] >= 0 && in->number[k] < 0x1p63)
            call->constant[k].whole = (int64_t)in->number[k];
        else
            return complain(c, "instruction %lld, %s: number %d is %g, expected a whole one", which, name, k,
                            in->number[k]);
    }
    const rg_view *made = &call->operand[0];
    for (int slot = 0; slot < RG_OPERANDS && !made->present; slot++)
        made = &call->operand[slot];
    call->slice = s->slice_rows;
    call->elements = s->rows ? made->size / s->rows : made->size;
    if (is_elementwise(call->opcode) || call->opcode == RG_COPY) {
        int operands[RG_ELEMENTWISE_OPERANDS], count = 0;
        for (int slot = 0; slot < RG_ELEMENTWISE_OPERANDS; slot++)
            if (call->operand[slot].present)
                operands[count++] = slot;
        call->walk = rg_walk_of(call, operands, count);
    }
    (whole ? rg_prepare_whole : rg_prepare_call[call->dtype])(call);
    return 0;
}

static int check_buffers(complaint *c, const rg_program_source *source) {
    for (int64_t n = 0; n < source->buffer_count; n++) {
        const rg_buffer *b = &source->buffers[n];
        const long long which = n;
        if (b->dtype < 0 || b->dtype >= RG_DTYPES)
            return complain(c, "buffer %lld: no element type %d", which, b->dtype);
        if (b->place < 0 || b->place >= RG_PLACES)
            return complain(c, "buffer %lld: no place %d", which, b->place);
        const int64_t most = b->place == RG_ARENA ? source->arena_bytes : source->slice_bytes;
        if (b->bytes < 0 || b->where < 0)
            return complain(c, "buffer %lld: %lld bytes at %lld", which, (long long)b->bytes, (long long)b->where);
        if ((b->place == RG_ARENA || b->place == RG_SLICE) && (b->bytes > most || b->where > most - b->bytes))
            return complain(c, "buffer %lld: %lld bytes at %lld of an arena of %lld", which, (long long)b->bytes,
                            (long long)b->where, (long long)most);
        if (b->place <= RG_SLICE && b->where % rg_item_bytes(b->dtype))
            return complain(c, "buffer %lld: not aligned to its elements", which);
        if (b->place == RG_FIXED && !b->where && b->bytes)
            return complain(c, "buffer %lld: no address", which);
        if ((b->place == RG_INPUT && b->where >= source->input_count) ||
            (b->place == RG_RESULT && b->where >= source->result_count))
            return complain(c, "buffer %lld: no such argument", which);
    }
    return 0;
}

/* ---- loading */

static void *zeroed(int64_t count, int64_t size) { return calloc((size_t)(count ? count : 1), (size_t)size); }

static char *aligned(int64_t bytes) {
    const int64_t rounded = rg_blocks(bytes, CACHE_LINE) * CACHE_LINE;
    char *memory = aligned_alloc(CACHE_LINE, (size_t)rounded);
    if (memory)
        memset(memory, 0, (size_t)rounded);
    return memory;
}

static int load_segments(complaint *c, const rg_program_source *source, rg_program *p) {
    int64_t first = 0;
    for (int64_t n = 0; n < source->segment_count; n++) {
        const rg_segment *from = &source->segments[n];
        segment *s = &p->segments[n];
        *s = (segment){.first = first, .count = from->instructions, .rows = from->rows, .slice_rows = from->slice_rows};
        if (s->count < 0 || s->count > source->instruction_count - first)
            return complain(c, "segment %lld: %lld instructions from %lld of %lld", (long long)n, (long long)s->count,
                            (long long)first, (long long)source->instruction_count);
        if (s->rows < 0 || (s->rows && (s->slice_rows < 1 || s->slice_rows > s->rows)))
            return complain(c, "segment %lld: slices of %lld of %lld rows", (long long)n, (long long)s->slice_rows,
                            (long long)s->rows);
        first += s->count;
    }
    return first == source->instruction_count ? 0 : complain(c, "instructions after the last segment");
}

/* The addresses of call n's operands, as far as they are known, and what has to be found at each step. */
static void place_operands(const rg_program_source *source, rg_program *p, segment *s, int64_t n) {
    for (int slot = 0; slot < RG_OPERANDS; slot++) {
        const int64_t number = n * RG_OPERANDS + slot;
        const rg_view *v = &p->calls[n].operand[slot];
        const rg_operand *o = &source->instructions[n].operand[slot];
        p->local[number] = -1;
        if (!v->present)
            continue;
        const rg_buffer *b = &source->buffers[o->buffer];
        const int64_t offset = o->offset * rg_item_bytes(b->dtype);
        switch (b->place) {
        case RG_FIXED:
            p->fixed[number] = (uintptr_t)(b->where + offset);
            break;
        case RG_ARENA:
            p->fixed[number] = (uintptr_t)p->arena + (uintptr_t)(b->where + offset);
            break;
        case RG_SLICE:
            p->local[number] = b->where + offset;
            break;
        case RG_INPUT:
            p->inputs[p->input_count++] = (given_operand){number, b->where, offset};
            break;
        default:
            p->results[p->result_count++] = (given_operand){number, b->where, offset};
        }
        if (s->rows && o->summed) {
            p->sums[p->sum_count++] = (summed_output){number, v->size, p->bytes[SUMS_OF_PART], v->dtype};
            p->bytes[SUMS_OF_PART] += rg_blocks(v->size * rg_item_bytes(v->dtype), CACHE_LINE) * CACHE_LINE;
            s->sum_count++;
        }
    }
}

/* Whether, in the first segment, row i of each operand lies in row i of its input. */
static int reads_own_rows(const rg_program *p) {
    const segment *s = p->segments;
    int own = p->segment_count > 0 && s->rows > 0;
    for (int64_t k = 0; own && k < p->input_count; k++) {
        const int64_t call = p->inputs[k].operand / RG_OPERANDS - s->first;
        const rg_view *v = &p->calls[s->first + call].operand[p->inputs[k].operand % RG_OPERANDS];
        if (call >= 0 && call < s->count)
            own = v->row_axis == 0 && v->row_step * s->rows == p->input_bytes[p->inputs[k].given];
    }
    return own;
}

/* What rg_program_run_steps must know of inputs and results. */
static void place_arguments(const rg_program_source *source, rg_program *p) {
    p->input_number = source->input_count;
    p->loss_dtype = -1;
    for (int64_t n = 0; n < source->buffer_count; n++) {
        const rg_buffer *b = &source->buffers[n];
        if (b->place == RG_INPUT && b->bytes > p->input_bytes[b->where])
            p->input_bytes[b->where] = b->bytes;
        if (b->place == RG_RESULT && b->where == 0 && (b->dtype == RG_F32 || b->dtype == RG_F64) &&
            b->bytes == rg_item_bytes(b->dtype))
            p->loss_dtype = b->dtype;
    }
}

static int same_numbers(const rg_call *a, const rg_call *b) {
    /* but for adam's step, which each parameter counts by itself */
    const int count = a->opcode == RG_ADAM_UPDATE ? 5 : RG_NUMBERS;
    for (int k = 0; k < count; k++)
        if (a->scalar[k] != b->scalar[k] || a->constant[k].bits != b->constant[k].bits)
            return 0;
    return 1;
}

static int same_operand(const rg_operand *a, const rg_operand *b) {
    return a->buffer == b->buffer && a->offset == b->offset && a->axes == b->axes &&
           !memcmp(a->shape, b->shape, (size_t)a->axes * sizeof *a->shape) &&
           !memcmp(a->strides, b->strides, (size_t)a->axes * sizeof *a->strides);
}

static int is_update(int opcode) { return opcode >= RG_SGD_UPDATE && opcode <= RG_RMSPROP_UPDATE; }

/* Whether no calls but two touch what call n makes as its operand 1, nor anybody after the step. */
static int nobody_else_reads(const rg_program_source *source, int64_t n) {
    const int32_t buffer = source->instructions[n].operand[1].buffer;
    int readers = 0;
    for (int64_t k = 0; k < source->instruction_count; k++)
        for (int slot = 0; slot < RG_OPERANDS; slot++)
            readers += source->instructions[k].operand[slot].buffer == buffer;
    return source->buffers[buffer].place == RG_ARENA && readers == 2;
}

/* Whether an update is that of call n's weights with the gradient that it makes, as one contiguous matrix. */
static int updates_weights(const rg_program_source *source, const rg_program *p, int64_t n) {
    const rg_call *call = &p->calls[n];
    const rg_operand *own = source->instructions[n].operand, *next = source->instructions[n + 1].operand;
    return call->opcode == RG_LINEAR_BACKWARD && call->joins_update && is_update(call[1].opcode) &&
           call->operand[1].present && call->operand[5].contiguous && same_operand(&next[0], &own[5]) &&
           same_operand(&next[1], &own[1]) && nobody_else_reads(source, n);
}

/* Whether call n sums over a parameter and its gradient, the next updates the one with the other, and the one after that
 * sums over the change. */
static int measures_update(const rg_program_source *source, const rg_program *p, int64_t n) {
    const rg_call *call = &p->calls[n];
    const rg_instruction *in = &source->instructions[n];
    const rg_operand *own = in[0].operand, *update = in[1].operand, *after = in[2].operand;
    return call[0].opcode == RG_GRADIENT_SUMS && is_update(call[1].opcode) && call[2].opcode == RG_UPDATE_SUMS &&
           same_operand(&update[0], &own[2]) && same_operand(&update[1], &own[3]) && same_operand(&after[1], &own[2]) &&
           same_operand(&after[2], &own[1]) && in[0].option[0] == in[2].option[0] && nobody_else_reads(source, n);
}

/* A product that makes a gradient, and the update with it, become one; so do an update and the sums around it. */
static void join_updates(const rg_program_source *source, rg_program *p, const segment *s) {
    for (int64_t n = s->first, last = s->first + s->count - 1; !s->rows && n < last; n++) {
        rg_call *call = &p->calls[n];
        if (updates_weights(source, p, n)) {
            call->update = call + 1;
            call->merged = call->group = 2;
        } else if (n + 1 < last && measures_update(source, p, n)) {
            call->update = call + 1;
            call->merged = RG_MEASURED;
            call->work /= 4; /* most of what adds up is done while the update waits */
            call[2].work = 0;
        }
    }
}

static int same_options(const rg_call *a, const rg_call *b) {
    return a->opcode == b->opcode && a->dtype == b->dtype && same_numbers(a, b) &&
           !memcmp(a->option, b->option, sizeof a->option);
}

/* Whether one run of an executor can do for both. */
static int run_alike(const rg_call *a, const rg_call *b) {
    return same_options(a, b) && !a->update == !b->update && (!a->update || same_options(a->update, b->update));
}

/* Shared calls whose shares can begin at the same places become a group, those of them with the same numbers one. */
static void merge_calls(rg_program *p, const segment *s) {
    const rg_call *const end = p->calls + s->first + s->count;
    for (rg_call *call = p->calls + s->first; call < end; call += call->merged)
        while (call->shared && call + call->merged < end && run_alike(call, call + call->merged))
            call->merged += call[call->merged].merged;
    for (rg_call *call = p->calls + s->first; call < end; call += call->group) {
        int64_t unit = call->unit;
        while (call->shared && call + call->group < end) {
            const rg_call *next = call + call->group;
            if (!next->shared || (unit % next->unit && next->unit % unit))
                break;
            unit = next->unit > unit ? next->unit : unit;
            call->group++;
        }
        for (int64_t k = 0; k < call->group; k++)
            call[k].unit = unit;
    }
}

static int plan_threads(rg_program *p, int threads);

rg_program *rg_program_load(const rg_program_source *source, rg_workspace *workspace, char *text, int64_t bytes,
                            int64_t *instruction) {
    complaint c = {text, bytes, 0};
    *instruction = -1;
    rg_program *p = NULL;
    if (source->buffer_count < 0 || source->instruction_count < 0 || source->segment_count < 0 ||
        source->arena_bytes < 0 || source->slice_bytes < 0 || source->input_count < 0 || source->result_count < 0) {
        complain(&c, "a negative size");
        return NULL;
    }
    if (check_buffers(&c, source))
        return NULL;
    const int64_t calls = source->instruction_count, operands = calls * RG_OPERANDS;
    p = zeroed(1, sizeof *p);
    if (p) {
        p->workspace = workspace;
        p->segments = zeroed(source->segment_count, sizeof *p->segments);
        p->calls = zeroed(calls, sizeof *p->calls);
        p->inputs = zeroed(operands, sizeof *p->inputs);
        p->results = zeroed(operands, sizeof *p->results);
        p->sums = zeroed(operands, sizeof *p->sums);
        p->sums_at = zeroed(operands, sizeof *p->sums_at);
        p->fixed = zeroed(operands, sizeof *p->fixed);
        p->local = zeroed(operands, sizeof *p->local);
        p->arena = aligned(source->arena_bytes);
        p->input_bytes = zeroed(source->input_count, sizeof *p->input_bytes);
        p->phases = zeroed(1 + 3 * source->segment_count + calls, sizeof *p->phases);
        p->alarm = zeroed(1, sizeof *p->alarm);
    }
    if (!p || !p->input_bytes || !p->segments || !p->calls || !p->inputs || !p->results || !p->sums || !p->sums_at || !p->fixed ||
        !p->local || !p->arena || !p->phases || !p->alarm)
        complain(&c, "no memory");
    else {
        p->segment_count = source->segment_count;
        p->call_count = calls;
        p->bytes[SLICES] = source->slice_bytes;
        p->bytes[PACKED] = CACHE_LINE; /* a packed_for */
        place_arguments(source, p);
        load_segments(&c, source, p);
    }
    int64_t of_one_thread = 0;
    for (int64_t i = 0; !c.failed && i < p->segment_count; i++) {
        segment *s = &p->segments[i];
        s->first_sum = p->sum_count;
        for (int64_t n = s->first; n < s->first + s->count; n++) {
            rg_call *call = &p->calls[n];
            if (load_call(&c, source, n, s, call)) {
                *instruction = n;
                break;
            }
            place_operands(source, p, s, n);
            call->packed = p->bytes[PACKED];
            p->bytes[PACKED] += rg_blocks(call->packed_bytes, CACHE_LINE) * CACHE_LINE * (call->packed_bytes > 0);
            if (call->scratch > p->bytes[SCRATCH])
                p->bytes[SCRATCH] = call->scratch;
            s->packs |= call->before != NULL;
            s->work += call->work;
            p->work += call->work;
            if (!s->rows && !call->shared)
                of_one_thread += call->work;
        }
        if (!c.failed) {
            join_updates(source, p, s);
            merge_calls(p, s);
        }
    }
    if (!c.failed) {
        p->together = of_one_thread <= WORK_OF_ONE_THREAD;
        p->reads_own_rows = reads_own_rows(p);
        if (plan_threads(p, rg_num_threads()))
            complain(&c, "no memory");
    }
    if (c.failed) {
        rg_program_free(p);
        return NULL;
    }
    return p;
}

static void free_crew(rg_program *p) {
    for (int n = 0; n < p->crew; n++)
        free(p->at[n]);
    free(p->at);
    p->at = NULL;
    p->crew = 0;
}

rg_workspace *rg_workspace_new(void) { return zeroed(1, sizeof(rg_workspace)); }

void rg_workspace_free(rg_workspace *workspace) {
    if (!workspace)
        return;
    for (int n = 0; n < workspace->count; n++)
        for (int use = 0; use < USES; use++)
            free(workspace->of[n].memory[use]);
    free(workspace->of);
    free(workspace);
}

/* Makes room for so many threads and, at least as many, parts; returns 0, or -1 where there is none. */
static int make_room(rg_workspace *w, int crew, int parts, const int64_t bytes[USES]) {
    if (parts > w->count) {
        own_memory *more = realloc(w->of, (size_t)parts * sizeof *more);
        if (!more)
            return -1;
        memset(more + w->count, 0, (size_t)(parts - w->count) * sizeof *more);
        w->of = more;
        w->count = parts;
    }
    for (int n = 0; n < parts; n++)
        for (int use = 0; use < USES; use++) {
            own_memory *own = &w->of[n];
            const int has = use == SUMS_OF_PART ? n > 0 : n < crew;
            if (!has || (own->memory[use] && own->bytes[use] >= bytes[use]))
                continue;
            char *memory = aligned(bytes[use]);
            if (!memory)
                return -1;
            free(own->memory[use]);
            own->memory[use] = memory;
            own->bytes[use] = bytes[use];
            w->version++;
        }
    return 0;
}

/* Whether the addresses are those of the workspace and for the threads that are allowed now; finds them anew if not. */
static int is_ready(rg_program *p) {
    const int threads = rg_num_threads();
    return (threads == p->threads && p->version == p->workspace->version) || !plan_threads(p, threads);
}

void rg_program_free(rg_program *p) {
    if (!p)
        return;
    free_crew(p);
    free(p->sums_at);
    free(p->segments);
    free(p->calls);
    free(p->inputs);
    free(p->results);
    free(p->sums);
    free(p->fixed);
    free(p->local);
    free(p->arena);
    free(p->input_bytes);
    free(p->phases);
    free(p->alarm);
    free(p);
}

int rg_program_threads(rg_program *p, int64_t n) {
    if (!is_ready(p))
        return 0;
    return n >= 0 && n < p->segment_count ? (int)rg_smaller(p->segments[n].parts, p->crew) : 0;
}

static int paying_parts(int64_t work, int threads) {
    const int64_t paying = work / WORK_PER_PART;
    return paying >= threads ? threads : paying > 1 ? (int)paying : 1;
}

static int is_among(const given_operand *given, int64_t count, int64_t operand) {
    for (int64_t k = 0; k < count; k++)
        if (given[k].operand == operand)
            return 1;
    return 0;
}

/* Whether threads that each add up their share of the sums can go on with their share of this group at once: what its
 * calls have of the sums is shared out in the same way. The step's inputs are none of them; of its results it is not
 * known. */
static int goes_on(const rg_program *p, const segment *s, const rg_call *call) {
    for (const rg_call *last = call + call->group; call < last; call++)
        for (int slot = 0; slot < RG_OPERANDS; slot++) {
            const rg_view *v = &call->operand[slot];
            const int64_t number = call->number * RG_OPERANDS + slot;
            if (!v->present || is_among(p->inputs, p->input_count, number))
                continue;
            const uintptr_t from = p->fixed[number], bytes = (uintptr_t)(v->size * rg_item_bytes(v->dtype));
            if (!from)
                return 0;
            for (const summed_output *sum = p->sums + s->first_sum, *end = sum + s->sum_count; sum < end; sum++) {
                const uintptr_t to = p->fixed[sum->operand];
                const int same = to == from && sum->elements == call->elements && sum->dtype == v->dtype;
                if (!same && to && from < to + (uintptr_t)(sum->elements * rg_item_bytes(sum->dtype)) && to < from + bytes)
                    return 0;
            }
        }
    return 1;
}

static int64_t group_work(const rg_call *call) {
    int64_t work = 0;
    for (int64_t k = 0; k < call->group; k++)
        work += call[k].work;
    return work;
}

/* How many threads share a group out. After a batch that one thread ran, its gradients and weights are in that one's
 * cache: the others would read the gradients from there, and it their weights. */
static int sharing_parts(const rg_call *call, int threads, int one_ran) {
    const int64_t work = group_work(call);
    const int parts = paying_parts(work, threads);
    int64_t sharing = WORK_OF_MEETING;
    for (int64_t k = 0; k < call->group; k++)
        sharing += is_update(call[k].opcode) ? WORK_PER_SUM * call[k].elements : 0;
    return one_ran && work - work / parts < sharing ? 1 : parts;
}

static void plan_phases(rg_program *p, int threads) {
    phase *next = p->phases;
    const segment *first = p->segments, *end = p->segments + p->segment_count;
    *next++ = (phase){.kind = GATHER};
    int64_t done = 0; /* calls of the segment that are in a phase */
    int one_ran = 0;
    for (const segment *s = first; s < end; s++) {
        if (s->rows) {
            one_ran = s->parts == 1;
            *next++ = (phase){.kind = BATCH, .segment = s, .parts = s->parts};
            if (s->parts > 1) {
                const rg_call *after = s + 1 < end && s[1].count && !s[1].rows ? p->calls + s[1].first : NULL;
                const int on = after && after->shared && goes_on(p, s, after);
                *next++ = (phase){.kind = SUMS, .segment = s, .call = on ? after : NULL, .parts = (int)rg_smaller(s->parts, threads)};
                done = on ? after->group : 0;
            }
            continue;
        }
        for (const rg_call *call = p->calls + s->first + done, *last = p->calls + s->first + s->count; call < last;) {
            if (call->shared) {
                *next++ = (phase){.kind = SHARED, .call = call, .parts = sharing_parts(call, threads, one_ran)};
                call += call->group;
                continue;
            }
            *next = (phase){.kind = ALONE, .call = call};
            for (; call < last && !call->shared; call += call->merged)
                next->calls += call->merged;
            next++;
        }
        done = 0;
    }
    p->phase_count = next - p->phases;
}

/* How many parts the segment's batch is cut into. */
static int parts_of_batch(const rg_program *p, const segment *s, int threads) {
    int64_t sums = 0;
    for (const summed_output *sum = p->sums + s->first_sum, *end = sum + s->sum_count; sum < end; sum++)
        sums += sum->elements;
    if (!s->rows || s->work < WORK_OF_MEETING + WORK_OF_SUMS(sums))
        return 1;
    const int parts = (int)rg_smaller(paying_parts(s->work, threads), s->rows);
    const int64_t more = (int64_t)parts * PARTS_PER_THREAD;
    const int pays = s->work / more >= WORK_TO_CUT * (WORK_OF_PART + WORK_OF_SUMS(sums));
    return pays && parts == threads && parts > 1 && more <= RG_MOST_THREADS ? (int)more : parts;
}

/* The threads' parts, and their memory. Depends on shapes, on `threads` and on the machine (see rg_core), and on nothing
 * else. */
static int plan_threads(rg_program *p, int threads) {
    int parts = 1;
    for (int64_t i = 0; i < p->segment_count; i++) {
        segment *s = &p->segments[i];
        s->parts = parts_of_batch(p, s, threads);
        if (s->parts > parts)
            parts = s->parts;
    }
    if (p->together) {
        plan_phases(p, threads);
        for (int64_t n = 0; n < p->phase_count; n++)
            if (p->phases[n].parts > parts)
                parts = p->phases[n].parts;
        p->phases[0].parts = (int)rg_smaller(parts, threads);
    }
    const int crew = (int)rg_smaller(parts, threads);
    free_crew(p);
    p->trial = rg_crew_new();
    p->threads = 0;
    p->at = zeroed(crew, sizeof *p->at);
    if (!p->at || make_room(p->workspace, crew, parts, p->bytes))
        return -1;
    p->crew = crew;
    const int64_t operands = p->call_count * RG_OPERANDS;
    for (int n = 0; n < crew; n++) {
        uintptr_t *at = p->at[n] = zeroed(operands, sizeof *at);
        if (!at)
            return -1;
        const uintptr_t slices = (uintptr_t)p->workspace->of[n].memory[SLICES];
        for (int64_t k = 0; k < operands; k++)
            at[k] = p->local[k] >= 0 ? slices + (uintptr_t)p->local[k] : p->fixed[k];
    }
    for (int64_t k = 0; k < p->sum_count; k++)
        p->sums_at[k] = p->fixed[p->sums[k].operand];
    p->threads = threads;
    p->version = p->workspace->version;
    return 0;
}

/* ---- running */

static rg_frame frame_of(const rg_program *p, int thread, const rg_scalar *scalars) {
    const own_memory *own = &p->workspace->of[thread];
    return (rg_frame){.at = p->at[thread],
                      .scalars = scalars,
                      .scratch = own->memory[SCRATCH],
                      .packed = own->memory[PACKED],
                      .threads = 1,
                      .alarm = p->alarm};
}

static int has_fault(const rg_program *p) { return atomic_load_explicit(&p->alarm->raised, memory_order_relaxed); }

/* Where a part has this one of the program's sums. */
static uintptr_t sums_of(const rg_program *p, int64_t sum, int part) {
    if (!part)
        return p->sums_at[sum];
    return (uintptr_t)p->workspace->of[part].memory[SUMS_OF_PART] + (uintptr_t)p->sums[sum].place;
}

static void pack_weights(const rg_program *p, const segment *s, const rg_frame *frame, int64_t step) {
    packed_for *last = (packed_for *)frame->packed;
    if (last->segment == s && last->step == step)
        return;
    for (const rg_call *call = p->calls + s->first, *end = call + s->count; call < end; call++)
        if (call->before)
            call->before(call, frame);
    *last = (packed_for){s, step};
}

/* Part number `part` of the segment's rows, slice by slice; `step` is the workspace's number of the step. */
static void run_part(const rg_program *p, const segment *s, int part, const rg_scalar *scalars, int64_t step) {
    const int thread = rg_thread();
    const int64_t begin = rg_cut(s->rows, part, s->parts), end = rg_cut(s->rows, part + 1, s->parts);
    const int64_t slices = rg_blocks(end - begin, s->slice_rows);
    rg_frame frame = frame_of(p, thread, scalars);
    for (int64_t sum = s->first_sum; sum < s->first_sum + s->sum_count; sum++)
        p->at[thread][p->sums[sum].operand] = sums_of(p, sum, part);
    if (s->packs)
        pack_weights(p, s, &frame, step);
    for (int64_t slice = 0; slice < slices; slice++) {
        frame.start = begin + rg_cut(end - begin, slice, slices);
        frame.rows = begin + rg_cut(end - begin, slice + 1, slices) - frame.start;
        frame.later = slice > 0;
        for (const rg_call *call = p->calls + s->first, *last = call + s->count; call < last; call++)
            call->run(call, &frame);
    }
}

#define ADD_SUMS(type)                                                                                                 \
    do {                                                                                                               \
        type *restrict to = (type *)sums_of(p, n, 0);                                                                  \
        for (int part = 1; part < s->parts; part++) {                                                                  \
            const type *restrict from = (const type *)sums_of(p, n, part);                                             \
            for (int64_t i = begin; i < end; i++)                                                                      \
                to[i] += from[i];                                                                                      \
        }                                                                                                              \
    } while (0)

/* What is summed over the segment's rows: this thread's share of the parts' sums. */
static void add_sums(const rg_program *p, const segment *s, int64_t unit, int thread, int threads) {
    for (int64_t n = s->first_sum; n < s->first_sum + s->sum_count; n++) {
        const summed_output *sum = &p->sums[n];
        const int64_t begin = rg_share(sum->elements, unit, thread, threads);
        const int64_t end = rg_share(sum->elements, unit, thread + 1, threads);
        if (sum->dtype == RG_F32)
            ADD_SUMS(float);
        else if (sum->dtype == RG_F64)
            ADD_SUMS(double);
        else
            ADD_SUMS(uint64_t);
    }
}

typedef struct {
    rg_program *program;
    const segment *segment;
    const rg_call *call;
    const rg_scalar *scalars;
    int64_t step;
} run_args;

static void part_alone(void *args, int part, int parts) {
    const run_args *o = args;
    (void)parts;
    run_part(o->program, o->segment, part, o->scalars, o->step);
}

static void sums_alone(void *args, int part, int parts) {
    const run_args *o = args;
    add_sums(o->program, o->segment, SUM_UNIT, part, parts);
}

static void run_shared(const rg_program *p, const rg_call *call, const rg_scalar *scalars, int part, int parts) {
    rg_frame frame = frame_of(p, 0, scalars);
    frame.thread = part;
    frame.threads = parts;
    for (const rg_call *last = call + call->group; call < last; call += call->merged)
        call->run(call, &frame);
}

static void shared_alone(void *args, int part, int parts) {
    const run_args *o = args;
    run_shared(o->program, o->call, o->scalars, part, parts);
}

/* One step, each segment and each call with threads of its own. */
static void run_apart(rg_program *p, const rg_scalar *scalars) {
    run_args args = {.program = p, .scalars = scalars, .step = p->workspace->steps++};
    for (int64_t i = 0; i < p->segment_count; i++) {
        const segment *s = args.segment = &p->segments[i];
        if (s->rows) {
            const int threads = (int)rg_smaller(s->parts, p->crew);
            rg_parallel_phases(part_alone, NULL, &args, s->parts, threads);
            if (has_fault(p))
                return;
            if (s->parts > 1)
                rg_parallel_parts(sums_alone, &args, threads);
            continue;
        }
        rg_frame frame = frame_of(p, 0, scalars);
        for (int64_t n = s->first; n < s->first + s->count; n += p->calls[n].group) {
            const rg_call *call = args.call = &p->calls[n];
            if (call->shared) {
                rg_parallel_parts(shared_alone, &args, rg_parts(group_work(call)));
                continue;
            }
            if (call->before)
                call->before(call, &frame);
            call->run(call, &frame);
            if (has_fault(p))
                return;
        }
    }
}

static void place(const rg_program *p, const given_operand *given, int64_t count, void *const *memory) {
    for (int thread = 0; thread < p->crew; thread++)
        for (int64_t k = 0; k < count; k++)
            p->at[thread][given[k].operand] = (uintptr_t)memory[given[k].given] + (uintptr_t)given[k].offset;
}

static void place_inputs(const rg_program *p, void *const *inputs, void *const *results) {
    place(p, p->inputs, p->input_count, inputs);
    place(p, p->results, p->result_count, results);
    for (int64_t k = 0; k < p->sum_count; k++)
        if (!p->fixed[p->sums[k].operand])
            p->sums_at[k] = p->at[0][p->sums[k].operand];
}

/* A step, or steps, on their way. */
typedef struct {
    rg_program *program;
    const rg_scalar *scalars; /* of this step */
    const rg_epoch *epoch;    /* NULL for a single step */
    void **inputs;            /* of an epoch's step: in the data, or gathered */
    int64_t done;             /* steps */
    int64_t until;            /* so many are done */
    int64_t first;            /* the workspace's number of the first step */
    int64_t phase;
} progress;

/* Of 16 bytes or more; the last move may overlap the one before. */
static inline void copy_row(char *to, const char *from, int64_t bytes) {
    for (int64_t i = 0; i < bytes - 16; i += 16)
        memcpy(to + i, from + i, 16);
    memcpy(to + bytes - 16, from + bytes - 16, 16);
}

/* to[i] = from[rows[i]], i < n, the rows being so many bytes; short ones are moved without a call for each. */
static void gather_rows(char *to, const char *from, const int64_t *rows, int64_t n, int64_t bytes) {
#define ROWS_OF(size)                                                                                                  \
    case size:                                                                                                         \
        for (int64_t i = 0; i < n; i++)                                                                                \
            memcpy(to + i * (size), from + rows[i] * (size), size);                                                    \
        break;
    switch (bytes) {
        ROWS_OF(4)
        ROWS_OF(8)
        ROWS_OF(12)
    default:
        for (int64_t i = 0; i < n; i++)
            if (bytes >= 16 && bytes <= SHORT_ROW)
                copy_row(to + i * bytes, from + rows[i] * bytes, bytes);
            else
                memcpy(to + i * bytes, from + rows[i] * bytes, (size_t)bytes);
    }
#undef ROWS_OF
}

/* This part's share of the rows of each input. */
static void gather(const progress *o, int part, int parts) {
    const rg_epoch *e = o->epoch;
    const int64_t *order = e->order + o->done * e->batch;
    const int64_t begin = rg_cut(e->batch, part, parts), end = rg_cut(e->batch, part + 1, parts);
    for (int64_t n = 0; n < o->program->input_number; n++)
        gather_rows((char *)o->inputs[n] + begin * e->row_bytes[n], e->data[n], order + begin, end - begin,
                    e->row_bytes[n]);
}

static int gathers(const progress *o) { return o->epoch && o->epoch->order; }

/* Whether the parts of the first batch gather its rows, each its own, so that threads need not meet in between. */
static int gathers_in_batch(const progress *o) {
    const rg_program *p = o->program;
    return gathers(o) && p->reads_own_rows && o->epoch->batch == p->segments->rows;
}

/* Makes an epoch's next step ready, but for what is gathered; 0 where there is none. */
static int begin_step(progress *o) {
    const rg_epoch *e = o->epoch;
    if (o->done == o->until || (e->stop && *e->stop))
        return 0;
    o->scalars = e->scalars + o->done * e->scalars_step;
    if (!e->order) {
        for (int64_t n = 0; n < o->program->input_number; n++)
            o->inputs[n] = (char *)e->data[n] + (e->first + o->done * e->batch) * e->row_bytes[n];
        place_inputs(o->program, o->inputs, e->results);
    }
    return 1;
}

static void end_step(progress *o) {
    const rg_epoch *e = o->epoch;
    if (e && e->losses) {
        const size_t bytes = (size_t)rg_item_bytes(o->program->loss_dtype);
        memcpy((char *)e->losses + (size_t)o->done * bytes, e->results[0], bytes);
    }
    o->done++;
}

static void run_calls(const rg_program *p, const rg_call *call, int64_t calls, const rg_scalar *scalars) {
    const rg_frame frame = frame_of(p, 0, scalars);
    for (const rg_call *last = call + calls; call < last && !has_fault(p); call += call->merged) {
        if (call->before)
            call->before(call, &frame);
        call->run(call, &frame);
    }
}

static void run_phase(void *args, int part, int parts) {
    const progress *o = args;
    const rg_program *p = o->program;
    const phase *f = &p->phases[o->phase];
    switch (f->kind) {
    case GATHER:
        gather(o, part, parts);
        break;
    case BATCH:
        if (f->segment == p->segments && gathers_in_batch(o))
            gather(o, part, parts);
        run_part(p, f->segment, part, o->scalars, o->first + o->done);
        break;
    case SUMS:
        add_sums(p, f->segment, f->call ? f->call->unit : SUM_UNIT, part, parts);
        if (!f->call)
            break; /* fall through */
    default:
        run_shared(p, f->call, o->scalars, part, parts);
    }
}

/* The parts of the phase at `o->phase`, or of the next that has any; 0 where the step, or the last one, is done. */
static int reach_phase(progress *o) {
    const rg_program *p = o->program;
    for (;; o->phase++) {
        if (has_fault(p))
            return 0;
        if (o->phase == p->phase_count) {
            end_step(o);
            if (!o->epoch || !begin_step(o))
                return 0;
            o->phase = 0;
        }
        const phase *f = &p->phases[o->phase];
        if (f->kind == ALONE)
            run_calls(p, f->call, f->calls, o->scalars);
        else if (f->kind != GATHER || (gathers(o) && !gathers_in_batch(o)))
            return f->parts;
    }
}

static int next_phase(void *args) {
    progress *o = args;
    o->phase++;
    return reach_phase(o);
}

/* Runs the step that was begun, and of those to come as many as there are up to `until`; the whole crew or, for a trial,
 * one thread. */
static void run_together(progress *o, int crew) {
    o->phase = 0;
    rg_parallel_phases(run_phase, next_phase, o, reach_phase(o), crew);
}

/* The same for so many steps, some at a time, where threads are on trial; begins all but the first. */
static void run_on_trial(progress *o, int64_t steps) {
    rg_crew *const trial = &o->program->trial;
    do {
        const int64_t before = o->done;
        o->until = before + rg_crew_begin(trial, steps - before);
        run_together(o, trial->alone ? 1 : o->program->crew);
        rg_crew_end(trial, o->done - before);
        o->until = steps;
    } while (!has_fault(o->program) && o->epoch && begin_step(o));
}

static void run_steps(progress *o, int64_t steps) {
    rg_program *const p = o->program;
    o->until = steps;
    o->first = p->workspace->steps;
    p->workspace->steps += steps;
    if (p->crew > 1 && p->work < WORK_TO_TRY)
        run_on_trial(o, steps);
    else
        run_together(o, p->crew);
}

int64_t rg_program_run(void *of) {
    const rg_step *step = of;
    rg_program *p = step->program;
    if (!is_ready(p))
        return -1;
    place_inputs(p, step->inputs, step->results);
    atomic_store_explicit(&p->alarm->raised, 0, memory_order_relaxed);
    if (p->together)
        run_steps(&(progress){.program = p, .scalars = step->scalars}, 1);
    else
        run_apart(p, step->scalars);
    return has_fault(p) ? -3 : 0;
}

static void gather_part(void *args, int part, int parts) { gather(args, part, parts); }

static void run_epoch(progress *o) {
    o->until = o->epoch->steps;
    if (!begin_step(o))
        return;
    if (o->program->together) {
        run_steps(o, o->epoch->steps);
        return;
    }
    do {
        if (gathers(o))
            rg_parallel_parts(gather_part, o, rg_num_threads());
        run_apart(o->program, o->scalars);
        if (has_fault(o->program))
            return;
        end_step(o);
    } while (begin_step(o));
}

/* Whether all rows that the epoch reads are there, and make inputs of the program's sizes. */
static int epoch_fits(const rg_program *p, const rg_epoch *e) {
    int64_t rows;
    if ((e->losses && p->loss_dtype < 0) || e->batch < 0 || e->steps < 0 || e->rows < 0 || __builtin_mul_overflow(e->batch, e->steps, &rows))
        return 0;
    for (int64_t n = 0; n < p->input_number; n++) {
        int64_t bytes;
        if (e->row_bytes[n] < 0 || __builtin_mul_overflow(e->batch, e->row_bytes[n], &bytes) || bytes != p->input_bytes[n])
            return 0;
    }
    if (!e->order)
        return rows == 0 || (e->first >= 0 && e->first <= e->rows && rows <= e->rows - e->first);
    int inside = 1;
    for (int64_t i = 0; i < rows; i++)
        inside &= e->order[i] >= 0 && e->order[i] < e->rows;
    return inside;
}

int64_t rg_program_run_steps(rg_program *p, const rg_epoch *e) {
    if (!epoch_fits(p, e))
        return -2;
    if (!is_ready(p))
        return -1;
    int64_t bytes = 0;
    for (int64_t n = 0; n < p->input_number; n++)
        bytes += rg_blocks(p->input_bytes[n], CACHE_LINE) * CACHE_LINE;
    char *const staging = aligned(e->order ? bytes : 0), *at = staging;
    progress o = {.program = p, .epoch = e, .inputs = zeroed(p->input_number, sizeof *o.inputs)};
    if (staging && o.inputs) {
        for (int64_t n = 0; n < p->input_number; n++) {
            o.inputs[n] = at;
            at += e->order ? rg_blocks(p->input_bytes[n], CACHE_LINE) * CACHE_LINE : 0;
        }
        place_inputs(p, o.inputs, e->results);
        atomic_store_explicit(&p->alarm->raised, 0, memory_order_relaxed);
        run_epoch(&o);
        o.done = has_fault(p) ? -3 : o.done;
    } else
        o.done = -1;
    free(staging);
    free(o.inputs);
    return o.done;
}

rg_fault rg_program_fault(const rg_program *p) { return p->alarm->first; }
