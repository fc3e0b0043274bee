/* What each instruction set's file exports: the function that points every kernel of retrograd.h at its version. */
#ifndef RETROGRAD_ISA_H
#define RETROGRAD_ISA_H

void rg_install_avx512(void);
void rg_install_avx2(void);
void rg_install_neon(void);
void rg_install_plain(void);

#endif
