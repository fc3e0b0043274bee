#include "bf16.h"
#include "retrograd.h"

#include <string.h>

int rg_rounds_products = 0;
const rg_bf16_unit *rg_bf16_in_force = NULL;

/* Best first. The dot product of pairs is last: Intel's processors with the matrix unit run it at half the speed of a
 * float's multiply-add, so that it is only taken on those of another make. */
static const rg_bf16_unit *const compiled[] = {
#ifdef RG_HAVE_BF16_AMX
    &rg_bf16_amx,
#endif
#ifdef RG_HAVE_BF16_DOT
    &rg_bf16_dot,
#endif
    NULL,
};

static int pays(const rg_bf16_unit *unit) {
#if defined(RG_HAVE_BF16_DOT)
    return unit != &rg_bf16_dot || !__builtin_cpu_is("intel");
#else
    (void)unit;
    return 1;
#endif
}

int rg_select_bf16(const char *name) {
    for (int i = 0; compiled[i]; i++)
        if ((*name ? !strcmp(name, compiled[i]->name) : pays(compiled[i])) && compiled[i]->present()) {
            rg_bf16_in_force = compiled[i];
            return 0;
        }
    rg_bf16_in_force = NULL;
    return *name && strcmp(name, "float32") ? -1 : 0;
}

const char *rg_bf16(void) { return rg_bf16_in_force ? rg_bf16_in_force->name : "float32"; }

void rg_round_products(int round) { rg_rounds_products = round; }
