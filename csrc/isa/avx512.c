/* AVX-512: F, DQ, VL and BW. */
#define VECTOR_BYTES 64
#define INSTALL rg_install_avx512
#include "kernels.inc"
