/* Products of numbers rounded to bfloat16 (the upper half of a float's bits), summed up in float32. */
#ifndef RETROGRAD_BF16_H
#define RETROGRAD_BF16_H

#include <stdint.h>

/* Whether float32 products round their factors. */
extern int rg_rounds_products;

/* A unit works on squares of RG_BF16_LINES lines by RG_BF16_DEPTH terms of a sum, and on tiles of C of 2 by 2 squares. */
enum { RG_BF16_LINES = 16, RG_BF16_DEPTH = 32, RG_BF16_SQUARE = RG_BF16_LINES * RG_BF16_DEPTH, RG_BF16_TILE = 32 };

/* What multiplies bfloat16 numbers. */
typedef struct {
    const char *name;
    int (*present)(void); /* also asks the operating system for what the unit needs */
    void (*begin)(void);  /* on each thread, before tiles and after them */
    void (*end)(void);
    /* A square: element (i, p) is from[i * i_step + p * p_step], i < count, p < depth, the others 0. Line by line for
     * factors on the left; for those on the right pair by pair of terms, the pairs of all lines side by side. */
    void (*pack)(uint16_t *square, const float *from, int64_t i_step, int64_t p_step, int64_t count, int64_t depth,
                 int by_pairs);
    /* sums = A B; of A and B two squares for each of `squares` steps of RG_BF16_DEPTH. */
    void (*tile)(float sums[RG_BF16_TILE * RG_BF16_TILE], const uint16_t *a, const uint16_t *b, int64_t squares);
} rg_bf16_unit;

/* The one in force; NULL where factors are rounded and multiplied as floats. */
extern const rg_bf16_unit *rg_bf16_in_force;

extern const rg_bf16_unit rg_bf16_amx, rg_bf16_dot;

#endif
