/* Which instruction set runs. */
#define RG_DEFINE_KERNELS
#include "retrograd.h"
#include "isa/isa.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    const char *name;
    int (*present)(void);
    void (*install)(void);
} isa;

static int always(void) { return 1; }

#if defined(RG_HAVE_AVX512) || defined(RG_HAVE_AVX2)
/* __builtin_cpu_supports also asks whether the operating system saves the registers */
static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}

static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif

/* Best first. */
static const isa compiled[] = {
#ifdef RG_HAVE_AVX512
    {"avx512", has_avx512, rg_install_avx512},
#endif
#ifdef RG_HAVE_AVX2
    {"avx2", has_avx2, rg_install_avx2},
#endif
#ifdef RG_HAVE_NEON
    {"neon", always, rg_install_neon},
#endif
    {"plain", always, rg_install_plain},
};

enum { COMPILED = sizeof compiled / sizeof *compiled };

static const char *in_force = "";

const char *rg_isas(void) {
    static char names[64];
    names[0] = 0;
    for (int i = 0; i < COMPILED; i++)
        if (compiled[i].present()) {
            if (names[0])
                strcat(names, ", ");
            strcat(names, compiled[i].name);
        }
    return names;
}

const char *rg_select_isa(const char *name) {
    for (int i = 0; i < COMPILED; i++)
        if (compiled[i].present() && (!*name || !strcmp(name, compiled[i].name))) {
            compiled[i].install();
            in_force = compiled[i].name;
            rg_select_bf16("");
            return NULL;
        }
    static char complaint[160];
    snprintf(complaint, sizeof complaint, "no instruction set '%.32s' here; this machine and build have: %s", name,
             rg_isas());
    return complaint;
}

const char *rg_isa(void) { return in_force; }

const char *rg_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}
