#include "core.h"

#include "retrograd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif
#ifdef __x86_64__
#include <cpuid.h>
#endif

rg_core_sizes rg_core = {.l1 = 49152, .way = 4096, .l2 = 2097152, .unit_bytes = 64};

/* A larger second level than this is shared by several cores. */
#define MOST_L2 (4 << 20)

#ifdef __APPLE__
static int64_t read_size(const char *name) {
    int64_t size = 0;
    size_t bytes = sizeof size;
    return sysctlbyname(name, &size, &bytes, NULL, 0) == 0 ? size : 0;
}
#define L1_SIZE read_size("hw.l1dcachesize")
#define L1_WAYS 8
#define L2_SIZE read_size("hw.l2cachesize")
#elif defined(_SC_LEVEL1_DCACHE_SIZE)
#define L1_SIZE sysconf(_SC_LEVEL1_DCACHE_SIZE)
#define L1_WAYS sysconf(_SC_LEVEL1_DCACHE_ASSOC)
#define L2_SIZE sysconf(_SC_LEVEL2_CACHE_SIZE)
#else
#define L1_SIZE 0
#define L1_WAYS 0
#define L2_SIZE 0
#endif

#ifdef __x86_64__
/* Zen 3 and 4, which make AVX-512's vectors by halves. */
#define AMD_FAMILY_OF_HALVES 0x19
/* From Zen on, and what describes its caches: cache number 3 is the third level. */
#define AMD_FAMILY_OF_COMPLEXES 0x17
#define AMD_CACHE 0x8000001D
#define THIRD_LEVEL 3

/* AMD's number for this design; 0 for a processor of others. */
static unsigned amd_family(void) {
    unsigned model, vendor[3], rest;
    if (!__get_cpuid(0, &rest, &vendor[0], &vendor[2], &vendor[1]) || !__get_cpuid(1, &model, &rest, &rest, &rest))
        return 0;
    if (memcmp(vendor, "AuthenticAMD", sizeof vendor))
        return 0;
    return (model >> 8 & 15) + (model >> 20 & 255); /* the base family and the extended one */
}

/* How many of a machine's processors share a third level of cache with this one. */
static long amd_complex(void) {
    unsigned cache, rest;
    if (!__get_cpuid_count(AMD_CACHE, THIRD_LEVEL, &cache, &rest, &rest, &rest) || (cache >> 5 & 7) != THIRD_LEVEL)
        return 0;
    return (cache >> 14 & 4095) + 1;
}

static void read_amd(void) {
    const unsigned family = amd_family();
    if (family == AMD_FAMILY_OF_HALVES)
        rg_core.unit_bytes = 32;
    if (family >= AMD_FAMILY_OF_COMPLEXES)
        rg_core.near = sysconf(_SC_NPROCESSORS_CONF) <= amd_complex();
}
#else
static void read_amd(void) {}
#endif

__attribute__((constructor)) static void read_sizes(void) {
    const int64_t l1 = L1_SIZE, ways = L1_WAYS, l2 = L2_SIZE;
    if (l1 >= 1 << 13 && l1 <= 1 << 20) {
        const int64_t way = ways > 0 && ways <= 64 ? l1 / ways : rg_core.way;
        rg_core.l1 = l1;
        rg_core.way = way & -way;
    }
    if (l2 >= 1 << 18)
        rg_core.l2 = l2 < MOST_L2 ? l2 : MOST_L2;
    read_amd();
}

const char *rg_cache_words(void) {
    static char words[64];
    snprintf(words, sizeof words, "%d KiB in %d ways, %d KiB", (int)(rg_core.l1 >> 10),
             (int)(rg_core.l1 / rg_core.way), (int)(rg_core.l2 >> 10));
    return words;
}
