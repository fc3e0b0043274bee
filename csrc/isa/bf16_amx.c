/* bfloat16 products by the matrix unit: AMX-BF16. */
#include "bf16_pack.inc"

#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

static int present(void) {
    unsigned a = 7, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    const unsigned bf16 = 1u << 22, tile = 1u << 24;
    return __builtin_cpu_supports("avx512bf16") && (d & bf16) && (d & tile) &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

#define EIGHT(n) {n, n, n, n, n, n, n, n}

/* All eight tiles are squares. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} shape = {.palette = 1, .row_bytes = EIGHT(64), .rows = EIGHT(RG_BF16_LINES)};

static void begin(void) { _tile_loadconfig(&shape); }

static void end(void) { _tile_release(); }

static void tile(float sums[RG_BF16_TILE * RG_BF16_TILE], const uint16_t *a, const uint16_t *b, int64_t squares) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t p = 0; p < squares; p++, a += 2 * RG_BF16_SQUARE, b += 2 * RG_BF16_SQUARE) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + RG_BF16_SQUARE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + RG_BF16_SQUARE, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    enum { ROW = RG_BF16_TILE * sizeof(float), LOWER_HALF = RG_BF16_LINES * RG_BF16_TILE };
    _tile_stored(0, sums, ROW);
    _tile_stored(1, sums + RG_BF16_LINES, ROW);
    _tile_stored(2, sums + LOWER_HALF, ROW);
    _tile_stored(3, sums + LOWER_HALF + RG_BF16_LINES, ROW);
}

const rg_bf16_unit rg_bf16_amx = {"amx", present, begin, end, pack, tile};
