/* Strided copies that convert between element types. */
#include "blocks.h"
#include "call.h"

#include <string.h>

/* X(rg_dtype, its C type) */
#define TYPES(X, ...)                                                                                                  \
    X(RG_F32, float, __VA_ARGS__)                                                                                      \
    X(RG_F64, double, __VA_ARGS__)                                                                                     \
    X(RG_BOOL, _Bool, __VA_ARGS__)                                                                                     \
    X(RG_I64, int64_t, __VA_ARGS__)                                                                                    \
    X(RG_I32, int32_t, __VA_ARGS__)                                                                                    \
    X(RG_U32, uint32_t, __VA_ARGS__)                                                                                   \
    X(RG_U8, uint8_t, __VA_ARGS__)

int64_t rg_item_bytes(int dtype) {
    static const int64_t bytes[RG_DTYPES] = {
#define BYTES(id, type, unused) [id] = sizeof(type),
        TYPES(BYTES, )
#undef BYTES
    };
    return bytes[dtype];
}

static int is_floating(int dtype) { return dtype == RG_F32 || dtype == RG_F64; }

/* Floating numbers as int64 only, of the whole types: what does not fit has no value in C. */
int rg_can_copy(int to_dtype, int from_dtype) {
    return to_dtype == from_dtype || is_floating(to_dtype) || to_dtype == RG_BOOL || to_dtype == RG_I64 ||
           !is_floating(from_dtype);
}

/* truncated; the smallest int64 for what does not fit, as x86 and so NumPy have it there */
static inline int64_t whole(double x) { return x >= -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN; }

typedef void copy_run(char *to, int64_t to_step, const char *from, int64_t from_step, int64_t n);

/* steps in elements; the two common ones apart, so that they become vectors */
#define COPY_RUN(name, to_type, from_type)                                                                             \
    static void name(char *restrict to, int64_t to_step, const char *from, int64_t from_step, int64_t n) {             \
        to_type *t = (to_type *)to;                                                                                    \
        const from_type *f = (const from_type *)from;                                                                  \
        if (to_step == 1 && from_step == 1)                                                                            \
            for (int64_t i = 0; i < n; i++)                                                                            \
                t[i] = (to_type)f[i];                                                                                  \
        else                                                                                                           \
            for (int64_t i = 0; i < n; i++)                                                                            \
                t[i * to_step] = (to_type)f[i * from_step];                                                            \
    }

COPY_RUN(copy_1, uint8_t, uint8_t)
COPY_RUN(copy_4, uint32_t, uint32_t)
COPY_RUN(copy_8, uint64_t, uint64_t)

#define EACH_FROM(F, to_type)                                                                                          \
    F(to_type, float) F(to_type, double) F(to_type, _Bool) F(to_type, int64_t) F(to_type, int32_t)                     \
    F(to_type, uint32_t) F(to_type, uint8_t)
#define CONVERT(to_type, from_type) COPY_RUN(from_type##_to_##to_type, to_type, from_type)
EACH_FROM(CONVERT, float)
EACH_FROM(CONVERT, double)
EACH_FROM(CONVERT, _Bool)
#undef CONVERT
#define EACH_WHOLE(F, to_type)                                                                                         \
    F(to_type, _Bool) F(to_type, int64_t) F(to_type, int32_t) F(to_type, uint32_t) F(to_type, uint8_t)
#define CONVERT(to_type, from_type) COPY_RUN(from_type##_to_##to_type, to_type, from_type)
EACH_WHOLE(CONVERT, int64_t)
EACH_WHOLE(CONVERT, int32_t)
EACH_WHOLE(CONVERT, uint32_t)
EACH_WHOLE(CONVERT, uint8_t)
#undef CONVERT

#define TRUNCATE(from_type)                                                                                            \
    static void from_type##_to_int64_t(char *restrict to, int64_t to_step, const char *from, int64_t from_step,        \
                                       int64_t n) {                                                                    \
        for (int64_t i = 0; i < n; i++)                                                                                \
            ((int64_t *)to)[i * to_step] = whole(((const from_type *)from)[i * from_step]);                            \
    }
TRUNCATE(float)
TRUNCATE(double)

static copy_run *const conversions[RG_DTYPES][RG_DTYPES] = {
#define ANY(to_type)                                                                                                   \
    {float_to_##to_type,   double_to_##to_type,  _Bool_to_##to_type, int64_t_to_##to_type,                             \
     int32_t_to_##to_type, uint32_t_to_##to_type, uint8_t_to_##to_type}
#define WHOLE(to_type)                                                                                                 \
    {NULL, NULL, _Bool_to_##to_type, int64_t_to_##to_type, int32_t_to_##to_type, uint32_t_to_##to_type,                \
     uint8_t_to_##to_type}
    ANY(float), ANY(double), ANY(_Bool), ANY(int64_t), WHOLE(int32_t), WHOLE(uint32_t), WHOLE(uint8_t),
};

static copy_run *run_for(int to, int from) {
    if (to != from)
        return conversions[to][from];
    return rg_item_bytes(to) == 8 ? copy_8 : rg_item_bytes(to) == 4 ? copy_4 : copy_1;
}

void rg_convert(void *to, int to_dtype, int64_t to_step, const void *from, int from_dtype, int64_t from_step, int64_t n) {
    run_for(to_dtype, from_dtype)(to, to_step, from, from_step, n);
}

void rg_copy_range(const rg_copying *o, int64_t begin, int64_t end) {
    const rg_walk *w = o->walk;
    const int last = w->axes - 1;
    const int64_t to_bytes = rg_item_bytes(o->to_dtype), from_bytes = rg_item_bytes(o->from_dtype);
    copy_run *const run = run_for(o->to_dtype, o->from_dtype);
    for (int64_t n, offset[2]; begin < end; begin += n) {
        n = rg_smaller(rg_walk_to(w, begin, 2, offset), end - begin);
        run((char *)o->to + offset[0] * to_bytes, w->strides[0][last], (const char *)o->from + offset[1] * from_bytes,
            w->strides[1][last], n);
    }
}

rg_walk rg_walk_of(const rg_call *call, const int *operands, int count) {
    const rg_view *first = &call->operand[operands[0]];
    rg_walk w = {.axes = 0};
    for (int axis = 0; axis < first->axes && first->size; axis++) {
        if (first->shape[axis] == 1 && axis != first->row_axis)
            continue;
        int joins = w.axes > 0;
        for (int n = 0; n < count && joins; n++)
            joins = w.strides[n][w.axes - 1] == call->operand[operands[n]].strides[axis] * first->shape[axis];
        if (!joins)
            w.shape[w.axes++] = 1;
        w.shape[w.axes - 1] *= first->shape[axis];
        for (int n = 0; n < count; n++)
            w.strides[n][w.axes - 1] = call->operand[operands[n]].strides[axis];
    }
    if (!w.axes) {
        w.shape[0] = 1;
        for (int n = 0; n < count; n++)
            w.strides[n][0] = 0;
        w.axes = 1;
    }
    return w;
}
