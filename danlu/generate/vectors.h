/* Vectors of the widest kind that the processor has, by the compiler's own extension: no instruction set is named. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16, VECTORS = 2, TILE_ROWS = 8 };
#elif defined(__AVX__)
enum { LANES = 8, VECTORS = 2, TILE_ROWS = 4 };
#else
enum { LANES = 4, VECTORS = 4, TILE_ROWS = 4 };
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float quad __attribute__((vector_size(16)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef int16_t pairs __attribute__((vector_size(4 * LANES)));
typedef int16_t half_ivec __attribute__((vector_size(2 * LANES)));
#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE ivec load_whole(const void *p) {
    ivec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, vec v) { memcpy(p, &v, sizeof v); }

INLINE float sum(vec v) {
    quad parts[LANES / 4];
    memcpy(parts, &v, sizeof v);
    for (int i = 1; i < LANES / 4; i++) parts[0] += parts[i];
    return (parts[0][0] + parts[0][1]) + (parts[0][2] + parts[0][3]);
}

/* e^x to about 2 units in the last place; 0 below -87. */
INLINE vec exponential(vec x) {
    const vec lowest = (vec){} - 87.0f, highest = (vec){} + 88.0f;
    ivec below = x < lowest;
    x = (vec)(((ivec)x & ~below) | ((ivec)lowest & below));
    ivec above = x > highest;
    x = (vec)(((ivec)x & ~above) | ((ivec)highest & above));
    vec shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum's low bits are the rounded integer */
    vec n = shifted - 12582912.0f;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts (Cody and Waite 1980) */
    vec y = r * 1.9875691500e-4f + 1.3981999507e-3f;   /* minimax polynomial of Cephes' expf */
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    ivec power = (__builtin_convertvector(n, ivec) + 127) << 23;
    return (vec)((ivec)(y * (vec)power) & ~below);
}
