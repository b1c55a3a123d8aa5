// Forces inlining: the loops of a kernel must become part of the function that names the
// instruction set, or they would be compiled for the baseline processor.
#pragma once

#if defined(__GNUC__) || defined(__clang__)
#define MINISIM_INLINE inline __attribute__((always_inline))
#else
#define MINISIM_INLINE inline
#endif
