/* Compiled steps: a program is an array of instructions over numbered buffers, checked once when it is loaded.
 *
 * A step of a program runs in one call. It allocates nothing, and splits what pays over threads: in a segment over rows
 * each thread takes a part of the batch through all of the segment's instructions, slice by slice.
 */

#define RG_AXES 6
#define RG_OPERANDS 7
#define RG_NUMBERS 6
#define RG_OPTIONS 2

/* Element types. */
typedef enum { RG_F32, RG_F64, RG_BOOL, RG_I64, RG_I32, RG_U32, RG_U8, RG_DTYPES } rg_dtype;

/* Where a buffer's memory is: at a fixed address, in the arena, in the arena of the slice, or given at each call. */
typedef enum { RG_FIXED, RG_ARENA, RG_SLICE, RG_INPUT, RG_RESULT, RG_PLACES } rg_place;

typedef struct {
    int64_t bytes; /* of RG_SLICE: for one slice */
    int64_t where; /* the address; the first byte in its arena; which input or result */
    int32_t place; /* rg_place */
    int32_t dtype; /* rg_dtype */
} rg_buffer;

/* Element [i, j, ...] stands at offset + i * strides[0] + j * strides[1] + ... of the buffer, in elements. */
typedef struct {
    int64_t offset;
    int64_t shape[RG_AXES], strides[RG_AXES];
    int32_t buffer; /* -1: no operand here */
    int32_t axes;
    int32_t row_axis; /* the axis that is the batch, -1 where the operand has none; in a segment over rows only */
    int32_t summed;   /* adds up over the slices */
} rg_operand;

/* Neighbouring calls, from RG_SGD_UPDATE to RG_UPDATE_SUMS, run at one time: what one of them writes, another has for the
 * same element or not at all.
 *
 * What an instruction does; after each, its operands in order, those that may be absent in brackets, outputs first;
 * then its options and its numbers. Shapes as the kernel vocabulary has them. */
/* Elementwise functions of one operand that math.inc has: X(opcode, name of the function and kernel) */
#define RG_ELEMENTARY(X) \
    X(RG_EXP, exp) X(RG_EXP2, exp2) X(RG_EXPM1, expm1) X(RG_LOG, log) X(RG_LOG2, log2) X(RG_LOG1P, log1p) \
    X(RG_SIN, sin) X(RG_COS, cos) X(RG_ERF, erf)
/* Elementwise functions that are the C library's, of one operand and of two: X(opcode, name of the function and kernel) */
#define RG_FUNCTIONS(X) \
    X(RG_TAN, tan) X(RG_ASIN, asin) X(RG_ACOS, acos) X(RG_ATAN, atan) \
    X(RG_SINH, sinh) X(RG_COSH, cosh) X(RG_ASINH, asinh) X(RG_ACOSH, acosh) X(RG_ATANH, atanh) \
    X(RG_LOG10, log10) \
    X(RG_CBRT, cbrt) X(RG_FLOOR, floor) X(RG_CEIL, ceil) X(RG_TRUNC, trunc) X(RG_RINT, rint) \
    X(RG_ERFC, erfc)
#define RG_FUNCTIONS_OF_TWO(X) \
    X(RG_ATAN2, atan2) X(RG_HYPOT, hypot) X(RG_FMOD, fmod) X(RG_COPYSIGN, copysign)
#define RG_OPCODE(opcode, name) opcode,

typedef enum {
    RG_LINEAR_FORWARD,  /* y, x, w, [b], and an output: [z]; activation; alpha */
    RG_LINEAR_BACKWARD, /* [dx], [dw], [db], g, x, w, [saved]; activation, x_activation; alpha, x_alpha */
    RG_MATMUL,          /* c, a, b, of equally many axes and equal leading ones */
    RG_POINTWISE_LOSS,  /* [losses], [total], [dx], x, target; rg_loss; count, delta */
    RG_CROSS_ENTROPY,   /* [losses], [total], [dx], x, target; count */
    RG_ACTIVATION_FORWARD,  /* y, x; activation; alpha */
    RG_ACTIVATION_BACKWARD, /* dx, g, saved; activation; alpha */
    RG_SUM,       /* y, x; the first axis that is reduced, and the one after the last; scale */
    RG_AMAX,      /* y, x; likewise */
    RG_AMIN,
    RG_LOGSUMEXP,
    RG_SOFTMAX, /* y, x; the axis, and the one after it */
    RG_LOG_SOFTMAX,
    RG_SOFTMAX_BACKWARD, /* dx, g, y; likewise */
    RG_LOG_SOFTMAX_BACKWARD,
    RG_SGD_UPDATE,     /* p, g, [velocity]; nesterov, first; lr, momentum, dampening, weight_decay */
    RG_ADAM_UPDATE,    /* p, g, m, v, [v_max]; decoupled; lr, beta1, beta2, eps, weight_decay, step (whole) */
    RG_RMSPROP_UPDATE, /* p, g, v, [velocity], [g_mean]; accumulate; lr, alpha, eps, weight_decay, momentum */
    RG_GRADIENT_SUMS,  /* sums, kept, p, g, [before]; block */
    RG_UPDATE_SUMS,    /* sums, p, kept; block */
    RG_UNIT_SUMS,      /* sums, x; rg_term */
    RG_DROPOUT,        /* y, x; p, key (whole), offset (whole) */
    RG_RANDOM_UNIFORM, /* y; key (whole), offset (whole) */
    RG_TAKE_ALONG_AXIS, /* y, x, indices; the axis, and the one after it */
    RG_ADD_ALONG_AXIS,  /* y, g, indices; likewise */
    RG_PUT_ALONG_AXIS,  /* y, values, indices; likewise */
    RG_ARGMAX, /* y, x; the first axis that is reduced, and the one after the last */
    RG_ARGMIN,
    RG_ANY,
    RG_ALL,
    RG_CUMSUM, /* y, x; the axis, and the one after it; reverse */
    RG_COPY,   /* y, x: converts */
    /* elementwise: y, a, [b], [c], all of one shape */
    RG_NEGATIVE,
    RG_ABSOLUTE,
    RG_SIGN,
    RG_SQRT,
    RG_SQUARE,
    RG_CLAMP, /* low, high */
    RG_ADD,
    RG_SUBTRACT,
    RG_MULTIPLY,
    RG_DIVIDE,
    RG_POWER,
    RG_MAXIMUM,
    RG_MINIMUM,
    RG_WHERE, /* y, condition, a, b */
    RG_REMAINDER,
    RG_FLOOR_DIVIDE,
    RG_LOGADDEXP,
    RG_ELEMENTARY(RG_OPCODE)
    RG_FUNCTIONS(RG_OPCODE)
    RG_FUNCTIONS_OF_TWO(RG_OPCODE)
    /* elementwise, y of truth values */
    RG_EQUAL,
    RG_NOT_EQUAL,
    RG_LESS,
    RG_LESS_EQUAL,
    RG_GREATER,
    RG_GREATER_EQUAL,
    RG_LOGICAL_AND,
    RG_LOGICAL_OR,
    RG_LOGICAL_NOT,
    RG_OPCODES
} rg_opcode;

typedef struct {
    int32_t opcode;
    int32_t option[RG_OPTIONS];
    int32_t scalar[RG_NUMBERS]; /* which of the scalars the number is, read at each step; -1: the constant beside it */
    double number[RG_NUMBERS];
    rg_operand operand[RG_OPERANDS];
} rg_instruction;

typedef struct {
    int64_t instructions; /* so many, after those of the segments before */
    int64_t rows;         /* of the batch; 0 where each instruction runs whole */
    int64_t slice_rows;   /* at most so many at a time */
} rg_segment;

typedef struct {
    const rg_buffer *buffers;
    int64_t buffer_count;
    const rg_instruction *instructions;
    int64_t instruction_count;
    const rg_segment *segments;
    int64_t segment_count;
    int64_t arena_bytes, slice_bytes;
    int64_t input_count, result_count, scalar_count;
} rg_program_source;

/* A number that may change from step to step; which of the three an instruction reads is part of its definition. */
typedef union {
    double number;
    int64_t whole;
    uint64_t bits;
} rg_scalar;

typedef struct rg_program rg_program;

/* The threads' working memory for programs of which no two run at one time: what the one has left in the caches serves the
 * other. It must live as long as they. NULL where there is no memory. */
typedef struct rg_workspace rg_workspace;
rg_workspace *rg_workspace_new(void);
void rg_workspace_free(rg_workspace *workspace);

/* Checks a program and makes it ready to run; everything is copied but the memory at fixed addresses, which must stay.
 * Where something is wrong, or there is no memory, returns NULL and says in `complaint` what, and in *instruction with
 * which, or -1. */
rg_program *rg_program_load(const rg_program_source *source, rg_workspace *workspace, char *complaint,
                            int64_t complaint_bytes, int64_t *instruction);
void rg_program_free(rg_program *program);

/* What a step is given: where its inputs and results are, and the values of its scalars. */
typedef struct {
    rg_program *program;
    void *const *inputs, *const *results;
    const rg_scalar *scalars;
} rg_step;

/* An index out of range, met by a call: nothing that comes after the call is done. */
typedef struct {
    int64_t instruction, index, size;
} rg_fault;

/* One step, of an rg_step. A program runs on one thread at a time, with threads of its own. Returns 0; -1 where there is
 * no memory for more threads than before, -3 after a fault. */
int64_t rg_program_run(void *step);

/* Steps over the rows of data arrays, one for each input: row i of an input of step s is row order[s * batch + i] of its
 * data, or, without order, row first + s * batch + i. */
typedef struct {
    const void *const *data;
    const int64_t *row_bytes; /* of each input; batch of them are the input */
    int64_t rows;             /* of every data array */
    const int64_t *order;     /* steps * batch of them, or NULL */
    int64_t first, batch, steps;
    const rg_scalar *scalars; /* of step s: at scalars + s * scalars_step */
    int64_t scalars_step;
    void *const *results; /* overwritten by every step */
    void *losses;         /* of each step its first result, a single floating number, as that type; or NULL */
    const volatile int *stop; /* looked at before each step: where it is not 0 there are no more; or NULL */
} rg_epoch;

/* Returns how many steps were done; where none can be, -1 for want of memory, -2 where a row is out of range or sizes do
 * not fit the program; -3 after a fault in a step. */
int64_t rg_program_run_steps(rg_program *program, const rg_epoch *epoch);

/* How many threads share the segment's batch, of those that are allowed now; 0 for want of memory. */
int rg_program_threads(rg_program *program, int64_t segment);

/* What the last run met. */
rg_fault rg_program_fault(const rg_program *program);
