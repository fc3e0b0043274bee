/* The kernels, declared over the element type `real`; retrograd.h includes this file once per type.
 *
 * Sizes and strides are in elements, scalars are double whatever the type. Arrays are contiguous where no stride is
 * given, and outputs overlap no input.
 * Every pointer is aligned to its element. A kernel that needs working memory returns 0, or -1 where there is none.
 */

/* Every kernel below, for those who install them. */
#define RG_KERNELS(X) X(accumulate)

/* a[i] += b[i], i < n */
RG_KERNEL(void, accumulate)(real *a, const real *b, int64_t n);
