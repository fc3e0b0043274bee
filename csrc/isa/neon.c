/* NEON, which every 64-bit Arm has. */
#define VECTOR_BYTES 16
#define INSTALL rg_install_neon
#include "kernels.inc"
