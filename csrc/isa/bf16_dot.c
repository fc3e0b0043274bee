/* bfloat16 products by AVX512-BF16's dot product of pairs. */
#include "bf16_pack.inc"

#include <string.h>

static int present(void) { return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw"); }

static void nothing(void) {}

/* Eight rows of C and all columns. */
static void eight_rows(float *sums, const uint16_t *a, const uint16_t *b, int64_t squares) {
    __m512 sum[8][2];
    UNROLL
    for (int i = 0; i < 8; i++)
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (int64_t p = 0; p < squares; p++, a += 2 * RG_BF16_SQUARE, b += 2 * RG_BF16_SQUARE)
        for (int pair = 0; pair < RG_BF16_DEPTH / 2; pair++) {
            const __m512bh left = (__m512bh)_mm512_loadu_si512(b + pair * RG_BF16_DEPTH);
            const __m512bh right = (__m512bh)_mm512_loadu_si512(b + RG_BF16_SQUARE + pair * RG_BF16_DEPTH);
            UNROLL
            for (int i = 0; i < 8; i++) {
                int32_t both;
                memcpy(&both, a + i * RG_BF16_DEPTH + 2 * pair, sizeof both);
                const __m512bh x = (__m512bh)_mm512_set1_epi32(both);
                sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, left);
                sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, right);
            }
        }
    UNROLL
    for (int i = 0; i < 8; i++)
        UNROLL
        for (int v = 0; v < 2; v++)
            _mm512_storeu_ps(sums + i * RG_BF16_TILE + v * RG_BF16_LINES, sum[i][v]);
}

static void tile(float sums[RG_BF16_TILE * RG_BF16_TILE], const uint16_t *a, const uint16_t *b, int64_t squares) {
    for (int i = 0; i < RG_BF16_TILE; i += 8)
        eight_rows(sums + i * RG_BF16_TILE, a + i / RG_BF16_LINES * RG_BF16_SQUARE + i % RG_BF16_LINES * RG_BF16_DEPTH, b,
                   squares);
}

const rg_bf16_unit rg_bf16_dot = {"dot", present, nothing, nothing, pack, tile};
