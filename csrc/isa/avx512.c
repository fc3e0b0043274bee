/* AVX-512: F, DQ, VL and BW. */
#define VECTOR_BYTES 64
#define INSTALL rg_install_avx512
#define TILE_ROWS 14 /* of 2 vectors: see tile.inc */
#define EACH_TILE(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14)
#include "kernels.inc"
