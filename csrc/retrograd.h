/* retrograd's C kernels: everything that the Python side may call.
 *
 * The kernels are declared in kernels.h, read here once for float (names ending in _f32) and once for double (_f64).
 * cffi reads this header through the preprocessor with RG_CDEF defined and takes the kernels for functions; they are
 * pointers, which rg_select_isa sets to the versions for the instruction set in force.
 */
#ifndef RETROGRAD_H
#define RETROGRAD_H

#ifdef RG_CDEF
#define RG_EXPORTED
#else
#include <stdint.h>
#define RG_EXPORTED __attribute__((visibility("default")))
#endif

/* Activations, by the names of the kernel vocabulary. */
typedef enum {
    RG_IDENTITY,
    RG_RELU,
    RG_TANH,
    RG_SIGMOID,
    RG_LEAKY_RELU,
    RG_GELU,
    RG_GELU_TANH,
    RG_SILU,
    RG_SOFTPLUS,
    RG_ACTIVATIONS
} rg_activation;

/* Elementwise losses. */
typedef enum { RG_MSE, RG_L1, RG_HUBER, RG_BCE_WITH_LOGITS } rg_loss;
/* The absolute value; or, of an activation's result, its derivative there over the greatest that it can be. */
typedef enum { RG_TERM_ABSOLUTE, RG_TERM_RELU, RG_TERM_TANH, RG_TERM_SIGMOID, RG_TERMS } rg_term;

/* Puts an instruction set in force: the named one, or for "" the best that this machine has. Must be called before
 * any kernel. Returns NULL, or what is wrong in words. */
const char *rg_select_isa(const char *name);
/* The instruction set in force, and all that this machine can run, best first, separated by ", ". */
const char *rg_isa(void);
const char *rg_isas(void);
const char *rg_compiler(void);
/* One core's first and second level, in words. */
const char *rg_cache_words(void);

/* Whether float32 products round their factors to bfloat16, which makes no difference to double ones; a program keeps
 * to what was so when it was loaded. */
void rg_round_products(int round);
/* Puts a unit for bfloat16 products in force: amx, dot or float32 (which rounds and multiplies floats), or for "" the
 * best for this machine. Returns -1 where the machine does not have it. Used with AVX-512 alone. */
int rg_select_bf16(const char *name);
const char *rg_bf16(void);

/* How many threads a kernel may use, at most. */
void rg_set_num_threads(int n);
RG_EXPORTED int rg_num_threads(void); /* by its name threadpoolctl knows the library */

#include "program.h"

#if defined(RG_CDEF)
#define RG_POINTER(result, name) result name
#define RG_ELEMENT(type) void /* any buffer converts to it, without a cast for each array */
#elif defined(RG_DEFINE_KERNELS)
#define RG_POINTER(result, name) result(*name)
#else
#define RG_POINTER(result, name) extern result(*name)
#endif
#ifndef RG_ELEMENT
#define RG_ELEMENT(type) type
#endif

#define real RG_ELEMENT(float)
#define RG_KERNEL(result, name) RG_POINTER(result, rg_##name##_f32)
#include "kernels.h"
#undef real
#undef RG_KERNEL

#define real RG_ELEMENT(double)
#define RG_KERNEL(result, name) RG_POINTER(result, rg_##name##_f64)
#include "kernels.h"
#undef real
#undef RG_KERNEL

#undef RG_POINTER
#undef RG_ELEMENT

#endif
