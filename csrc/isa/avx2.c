/* AVX2 with fused multiply-add. */
#define VECTOR_BYTES 32
#define INSTALL rg_install_avx2
#define TILE_ROWS 6 /* of 2 vectors: see tile.inc */
#define EACH_TILE(F) F(1) F(2) F(3) F(4) F(5) F(6)
#include "kernels.inc"
