/* AVX2 with fused multiply-add. */
#define VECTOR_BYTES 32
#define INSTALL rg_install_avx2
#include "kernels.inc"
