// Forces inlining: the loops of a kernel must become part of the function that names the
// instruction set, or they would be compiled for the baseline processor. Where nothing is optimised
// (the tests under sanitizers) there is nothing to gain, and the copies take most of the compiler's time.
#pragma once

#if defined(__OPTIMIZE__) && (defined(__GNUC__) || defined(__clang__))
#define MINISIM_INLINE inline __attribute__((always_inline))
#else
#define MINISIM_INLINE inline
#endif
