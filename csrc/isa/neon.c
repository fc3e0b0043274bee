/* NEON, which every 64-bit Arm has. */
#define VECTOR_BYTES 16
#define INSTALL rg_install_neon
#define TILE_ROWS 12 /* of 2 vectors: see tile.inc */
#define EACH_TILE(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12)
#include "kernels.inc"
