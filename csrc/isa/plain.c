/* Any processor: what the compiler assumes of the architecture. */
#define VECTOR_BYTES 16
#define INSTALL rg_install_plain
#include "kernels.inc"
