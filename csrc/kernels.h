/* The kernels, declared over the element type `real`; retrograd.h includes this file once per type.
 *
 * Sizes and strides are in elements, scalars are double whatever the type. Arrays are contiguous where no stride is
 * given, and outputs overlap no input.
 * Every pointer is aligned to its element. A kernel that needs working memory returns 0, or -1 where there is none.
 */

/* Every kernel below, for those who install them. */
#define RG_KERNELS(X) X(accumulate) X(matmul) X(linear_forward) X(linear_backward)

/* a[i] += b[i], i < n */
RG_KERNEL(void, accumulate)(real *a, const real *b, int64_t n);

/* c[i] = a[i] @ b[i], i < batch: (m, k) times (k, n) gives (m, n), contiguous. Element (r, q) of a[i] is
 * a[i * a_batch + r * a_row + q * a_column], likewise b. */
RG_KERNEL(int, matmul)(real *c, const real *a, int64_t a_batch, int64_t a_row, int64_t a_column, const real *b,
                       int64_t b_batch, int64_t b_row, int64_t b_column, int64_t batch, int64_t m, int64_t n, int64_t k);

/* y = activation(x @ w.T + bias): x (rows, in), w (out, in), bias (out) or NULL, y (rows, out). The activation is one of
 * identity, relu, tanh and sigmoid. */
RG_KERNEL(int, linear_forward)(real *y, const real *x, int64_t x_row, int64_t x_column, const real *w, int64_t w_row,
                               int64_t w_column, const real *bias, int64_t rows, int64_t in, int64_t out,
                               int activation);

/* With d = g * activation'(y): dx = d @ w, dw = d.T @ x, db = d summed over rows; each may be NULL, as may y for the
 * identity. Shapes as in linear_forward. */
RG_KERNEL(int, linear_backward)(real *dx, real *dw, real *db, const real *g, const real *y, const real *x,
                                int64_t x_row, int64_t x_column, const real *w, int64_t w_row, int64_t w_column,
                                int64_t rows, int64_t in, int64_t out, int activation);
