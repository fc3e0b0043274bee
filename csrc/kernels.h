/* The kernels, declared over the element type `real`; retrograd.h includes this file once per type.
 *
 * Sizes and strides are in elements, scalars are double whatever the type. Arrays are contiguous where no stride is
 * given, and outputs overlap no input.
 * Every pointer is aligned to its element. A kernel that needs working memory returns 0, or -1 where there is none.
 */

/* Every kernel below, for those who install them. */
#define RG_KERNELS(X)                                                                                                  \
    X(accumulate)                                                                                                      \
    X(activation_forward) X(activation_backward) X(elementary)                                                         \
    X(matmul) X(linear_forward) X(linear_backward) X(linear_jvp)                                                       \
    X(sum) X(amax) X(amin) X(logsumexp)                                                                                \
    X(softmax) X(softmax_backward) X(log_softmax) X(log_softmax_backward)                                              \
    X(pointwise_loss) X(cross_entropy_loss)                                                                            \
    X(sgd_update) X(adam_update) X(rmsprop_update)                                                                     \
    X(gradient_sums) X(update_sums) X(unit_sums)                                                                       \
    X(random_bits) X(random_uniform) X(permute) X(dropout)                                                             \
    X(peak_multiply_adds) X(peak_triad) X(peak_read)

/* a[i] += b[i], i < n */
RG_KERNEL(void, accumulate)(real *a, const real *b, int64_t n);

/* Activations (rg_activation) of n elements; `saved` is the output for those whose derivative is a function of it
 * (identity, relu, tanh, sigmoid), else the input. alpha: leaky_relu's slope, softplus's sharpness. */
RG_KERNEL(void, activation_forward)(real *y, const real *x, int64_t n, int activation, double alpha);
RG_KERNEL(void, activation_backward)(real *dx, const real *g, const real *saved, int64_t n, int activation,
                                     double alpha);

/* y[i] = f(x[i]), i < n; f is the function of RG_ELEMENTARY with the opcode. */
RG_KERNEL(void, elementary)(real *y, const real *x, int64_t n, int opcode);

/* c[i] = a[i] @ b[i], i < batch: (m, k) times (k, n) gives (m, n), contiguous. Element (r, q) of a[i] is
 * a[i * a_batch + r * a_row + q * a_column], likewise b. */
RG_KERNEL(int, matmul)(real *c, const real *a, int64_t a_batch, int64_t a_row, int64_t a_column, const real *b,
                       int64_t b_batch, int64_t b_row, int64_t b_column, int64_t batch, int64_t m, int64_t n, int64_t k);

/* y = activation(z), z = x @ w.T + bias: x (rows, in), w (out, in), bias (out) or NULL, y (rows, out), z the same or
 * NULL where it is not wanted. */
RG_KERNEL(int, linear_forward)(real *y, real *z, const real *x, int64_t x_row, int64_t x_column, const real *w,
                               int64_t w_row, int64_t w_column, const real *bias, int64_t rows, int64_t in,
                               int64_t out, int activation, double alpha);

/* With d = g * activation'(z): dx = d @ w, dw = d.T @ x, db = d summed over rows; each may be NULL, as may `saved`, as in
 * activation_backward, for the identity. Shapes as in linear_forward. Unless x_activation is the identity, x is
 * contiguous, and dx goes through that activation's backward, with x for its output. */
RG_KERNEL(int, linear_backward)(real *dx, real *dw, real *db, const real *g, const real *saved, const real *x,
                                int64_t x_row, int64_t x_column, const real *w, int64_t w_row, int64_t w_column,
                                int64_t rows, int64_t in, int64_t out, int activation, double alpha,
                                int x_activation, double x_alpha);

/* y as of linear_forward, and its tangent t = (tx @ w.T + x @ tw.T + tb) * activation'(z): shapes as there; bias, tx, tw and
 * tb may be NULL, but not tx and tw both. The activation's derivative is a function of y. y may be NULL: then it is not
 * wanted, and `saved` is as in activation_backward, of any activation, NULL for the identity. */
RG_KERNEL(int, linear_jvp)(real *y, real *t, const real *x, int64_t x_row, int64_t x_column, const real *w, int64_t w_row,
                           int64_t w_column, const real *bias, const real *saved, const real *tx, int64_t tx_row,
                           int64_t tx_column, const real *tw, int64_t tw_row, int64_t tw_column, const real *tb,
                           int64_t rows, int64_t in, int64_t out, int activation, double alpha);

/* Reductions of x (outer, n, inner) along its middle axis to y (outer, inner). */
RG_KERNEL(void, sum)(real *y, const real *x, int64_t outer, int64_t n, int64_t inner, double scale);
RG_KERNEL(void, amax)(real *y, const real *x, int64_t outer, int64_t n, int64_t inner);
RG_KERNEL(void, amin)(real *y, const real *x, int64_t outer, int64_t n, int64_t inner);
RG_KERNEL(void, logsumexp)(real *y, const real *x, int64_t outer, int64_t n, int64_t inner);

/* Softmax and its logarithm along the middle axis of (outer, n, inner); y in a backward kernel is the output. */
RG_KERNEL(void, softmax)(real *y, const real *x, int64_t outer, int64_t n, int64_t inner);
RG_KERNEL(void, softmax_backward)(real *dx, const real *g, const real *y, int64_t outer, int64_t n, int64_t inner);
RG_KERNEL(void, log_softmax)(real *y, const real *x, int64_t outer, int64_t n, int64_t inner);
RG_KERNEL(void, log_softmax_backward)(real *dx, const real *g, const real *y, int64_t outer, int64_t n, int64_t inner);

/* An elementwise loss (rg_loss) of n predictions x. Each output may be NULL: the losses (n), their sum over `count` in
 * total[0], the derivatives by x over `count` in dx (n). delta is Huber's. */
RG_KERNEL(void, pointwise_loss)(real *losses, real *total, real *dx, const real *x, const real *target, int64_t n,
                                int loss, double count, double delta);

/* The cross-entropy of logits x (rows, classes) with labels (rows) in [0, classes), or else with probabilities (rows,
 * classes); the one that is not given is NULL. Outputs as above, a loss for each row. Returns -1; or the first row whose
 * label is out of range, with nothing done. */
RG_KERNEL(int64_t, cross_entropy_loss)(real *losses, real *total, real *dx, const real *x,
                                       const RG_ELEMENT(int64_t) *labels, const real *probabilities, int64_t rows,
                                       int64_t classes, double count);

/* Optimizer updates of n elements in place; states that are not used are NULL. */
RG_KERNEL(void, sgd_update)(real *p, const real *g, real *velocity, int64_t n, double lr, double momentum,
                            double dampening, double weight_decay, int nesterov, int first);
RG_KERNEL(void, adam_update)(real *p, const real *g, real *m, real *v, real *v_max, int64_t n, double lr, double beta1,
                             double beta2, double eps, double weight_decay, int decoupled, int64_t step);
RG_KERNEL(void, rmsprop_update)(real *p, const real *g, real *v, real *velocity, real *g_mean, int64_t n, double lr,
                                double alpha, double eps, double weight_decay, double momentum, int accumulate);

/* Sums over each block of `block` of n elements, the last having what is left, to sums: p^2, g^2, |p g|, before^2 and
 * g before (blocks, 5), and p is copied to kept; before may be NULL. (p - kept)^2 (blocks). */
RG_KERNEL(void, gradient_sums)(real *sums, real *kept, const real *p, const real *g, const real *before, int64_t n,
                               int64_t block);
RG_KERNEL(void, update_sums)(real *sums, const real *p, const real *kept, int64_t n, int64_t block);
/* The sum over the rows of a term (rg_term) of each element of x (rows, units), contiguous, to sums (units). */
RG_KERNEL(void, unit_sums)(real *sums, const real *x, int64_t rows, int64_t units, int term);

/* Philox4x32-10: n words, n numbers in [0, 1), and x with the elements whose words are below p 2^32 zeroed, the rest
 * divided by 1 - p. */
RG_KERNEL(void, random_bits)(RG_ELEMENT(uint32_t) *y, int64_t n, uint64_t key, uint64_t offset);
RG_KERNEL(void, random_uniform)(real *y, int64_t n, uint64_t key, uint64_t offset);
/* order is made of 0 to n-1: number i takes place floor(numbers[i] * (i + 1)), whose owner moves to place i. */
RG_KERNEL(void, permute)(RG_ELEMENT(int64_t) *order, const real *numbers, int64_t n);
RG_KERNEL(void, dropout)(real *y, const real *x, int64_t n, double p, uint64_t key, uint64_t offset, int64_t first);

/* What the machine can do at most, on `threads` threads. peak_multiply_adds makes `rounds` of independent multiply-adds on
 * each, returns how many floating-point operations that is and leaves an element for each thread in results; peak_triad
 * does a = b + c/2 (n) and peak_read adds up b (n), into an element for each thread, `rounds` times. */
RG_KERNEL(double, peak_multiply_adds)(real *results, int64_t rounds, int threads);
RG_KERNEL(void, peak_triad)(real *a, const real *b, const real *c, int64_t n, int64_t rounds, int threads);
RG_KERNEL(void, peak_read)(real *results, const real *b, int64_t n, int64_t rounds, int threads);
