/* A training step on a CPU: products of whole layers, and what stands between them (normalisation, rotation, gating,
 * attention, the loss). Everything is computed in float; `Real` is what memory holds, bfloat16 or float.
 *
 * pointwise.inc and attention.inc are included once for each type; products.inc is for bfloat16.
 */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#define LANES 16 /* floats of a vector: 64 bytes, whatever the machine's own width */
#define ROWS 6   /* rows of the register tile of `multiply` */
#define WIDE 4   /* vectors of the register tile */
#define QUERIES 24 /* queries handled together in attention, a multiple of ROWS */

typedef float Vector __attribute__((vector_size(64), aligned(4)));
typedef uint32_t Words __attribute__((vector_size(64), aligned(4)));
typedef uint16_t Bfloat16;

static inline float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

static inline float load_bf16(const Bfloat16 *at) { return float_of_bits((uint32_t)*at << 16); }

static inline void store_bf16(Bfloat16 *at, float value) { /* to nearest, ties to even; NaN is not expected */
    uint32_t bits = bits_of_float(value);
    *at = (Bfloat16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float load_f32(const float *at) { return *at; }

static inline void store_f32(float *at, float value) { *at = value; }

/* e^x to about 2 units in the last place; below -87 it is 0. Written so that loops over it vectorise. */
static inline float exponential(float x) {
    float clamped = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float n = __builtin_floorf(clamped * 1.44269504f + 0.5f);
    float r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    float scaled = p * float_of_bits((uint32_t)((int32_t)n + 127) << 23);
    return x < -87.0f ? 0.0f : scaled;
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/* Which keys a query sees: from `first` to before `gap`, and from `after` to itself. */
typedef struct {
    int32_t first, gap, after;
} Span;

/* Scores of keys that are not seen become what the exponential makes 0: rows can then be worked on in whole vectors.
 * Keys `low` to `low + width` are looked at; the query is key `own`.
 */
static inline void hide_unseen(float *scores, Span span, int64_t own, int64_t low, int64_t width) {
    for (int64_t j = 0; j < span.first - low; j++) scores[j] = -INFINITY;
    for (int64_t j = span.gap - low; j < span.after - low; j++) scores[j] = -INFINITY;
    for (int64_t j = own - low + 1; j < width; j++) scores[j] = -INFINITY;
}

/* acc + a * b, one step along the common dimension: for bfloat16 a step is a pair, held in one word. The left
 * side is one step for all lanes, the right side a step for each.
 */
#if defined(__AVX512BF16__)
typedef __m512bh Right_bf16;
static inline Right_bf16 left_bf16(uint32_t a) { return (__m512bh)_mm512_set1_epi32((int)a); }
static inline Right_bf16 right_bf16(const uint32_t *b) { return (__m512bh)_mm512_loadu_si512(b); }
static inline Vector step_bf16(Vector acc, Right_bf16 a, Right_bf16 b) {
    return (Vector)_mm512_dpbf16_ps((__m512)acc, a, b);
}
#else
typedef Words Right_bf16;
static inline Right_bf16 left_bf16(uint32_t a) { return (Words){0} + a; }
static inline Right_bf16 right_bf16(const uint32_t *b) { return *(const Words *)b; }
static inline Vector step_bf16(Vector acc, Right_bf16 a, Right_bf16 b) {
    acc += (Vector)(a << 16) * (Vector)(b << 16);
    return acc + (Vector)(a & 0xffff0000u) * (Vector)(b & 0xffff0000u);
}
#endif

typedef Vector Right_f32;
static inline Right_f32 left_f32(float a) { return (Vector){0} + a; }
static inline Right_f32 right_f32(const float *b) { return *(const Vector *)b; }
static inline Vector step_f32(Vector acc, Right_f32 a, Right_f32 b) { return acc + a * b; }

/* A loop of the register tile, over at most 6 rows or 4 vectors, that must not remain a loop. */
#define UNROLLED(i, n) _Pragma("GCC unroll 6") for (int i = 0; i < n; i++)

/* One step of two rows: both halves of a word; in float a step is one number and there is no second row. */
static inline uint32_t join_bf16(Bfloat16 even, Bfloat16 odd) { return even | (uint32_t)odd << 16; }

static inline uint32_t round_bf16(float even, float odd) {
    Bfloat16 low, high;
    store_bf16(&low, even);
    store_bf16(&high, odd);
    return join_bf16(low, high);
}

static inline float join_f32(float even, float odd) { return (void)odd, even; }

static inline float round_f32(float even, float odd) { return (void)odd, even; }

/* A loop whose turns are independent: what is written is not read in another turn. */
#define EACH(i, from, to) _Pragma("omp simd") for (int64_t i = (from); i < (to); i++)

#define JOIN_(name, suffix) name##_##suffix
#define JOIN(name, suffix) JOIN_(name, suffix)
#define NAME(name) JOIN(name, TYPE)

#define TYPE bf16
#define Real Bfloat16
#define Step uint32_t
#define PER_STEP 2
#include "pointwise.inc"
#include "attention.inc"
#undef TYPE
#undef Real
#undef Step
#undef PER_STEP

#define TYPE f32
#define Real float
#define Step float
#define PER_STEP 1
#include "pointwise.inc"
#include "attention.inc"

#if defined(__AVX512BF16__)
#include "products.inc"
#else
int has_products(void) { return 0; }
#endif
