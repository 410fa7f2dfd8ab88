/* Products of a few rows with a matrix laid out in panels, so that it is read from end to end.
 *
 * For w (k, n), a panel is PANEL of its columns, contiguous, the last filled up with zeros: (k, PANEL) in float32,
 * (k / 2, PANEL, 2) in bfloat16, k rounded up to even. One row's result does not depend on how many rows there are.
 */
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

enum { PANEL = LANES * VECTORS };

int64_t panel(void) { return PANEL; }

static int64_t even(int64_t k) { return (k + 1) & ~INT64_C(1); }

static uint16_t rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16); /* to nearest, ties to even */
}

/* Lay a linear layer's weight, (n, k), out as the columns from `first` on of a matrix in panels. */
void pack(const float *weight, int64_t n, int64_t k, int64_t first, int64_t bf16, void *panels) {
    for (int64_t i = 0; i < n; i++, weight += k) {
        int64_t panel = (first + i) / PANEL, column = (first + i) % PANEL;
        if (bf16) {
            uint16_t *out = (uint16_t *)panels + panel * PANEL * even(k) + 2 * column;
            for (int64_t p = 0; p < k; p++) out[p / 2 * 2 * PANEL + p % 2] = rounded(weight[p]);
        } else {
            float *out = (float *)panels + panel * PANEL * k + column;
            for (int64_t p = 0; p < k; p++) out[p * PANEL] = weight[p];
        }
    }
}

/* total += x w for `rows` rows of x and one panel of w. */
INLINE void multiply(int rows, const float *x, int64_t x_stride, const float *w, int64_t k,
                     vec total[TILE_ROWS][VECTORS]) {
    for (int64_t p = 0; p < k; p++) {
        vec column[VECTORS];
        for (int j = 0; j < VECTORS; j++) column[j] = load(w + p * PANEL + j * LANES);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < VECTORS; j++) total[i][j] += x[i * x_stride + p] * column[j];
    }
}

#if defined(__AVX512BF16__)
int64_t multiplies_bf16(void) { return 1; }

INLINE void multiply_bf16(int rows, const uint16_t *x, const uint16_t *w, int64_t k, vec total[TILE_ROWS][VECTORS]) {
    for (int64_t p = 0; p < k; p += 2) {
        __m512bh column[VECTORS];
        for (int j = 0; j < VECTORS; j++)
            column[j] = (__m512bh)_mm512_loadu_si512(w + p * PANEL + j * 2 * LANES);
        for (int i = 0; i < rows; i++) {
            int32_t pair;
            memcpy(&pair, x + i * k + p, sizeof pair);
            for (int j = 0; j < VECTORS; j++)
                total[i][j] = (vec)_mm512_dpbf16_ps((__m512)total[i][j], (__m512bh)_mm512_set1_epi32(pair), column[j]);
        }
    }
}
#else
int64_t multiplies_bf16(void) { return 0; }
#define multiply_bf16(rows, x, w, k, total) (void)0
#endif

typedef struct {
    const float *x; /* (m, k) */
    int64_t m, x_stride;
    float *y; /* (m, n) */
    int64_t y_stride;
    int add;        /* to what y holds */
    uint16_t *bf16; /* room for x rounded to bfloat16, rows of even length; null to multiply in float32 */
} Product;

INLINE void tile(int rows, const Product *t, int64_t row, const void *panel, int64_t k, int64_t column,
                 int64_t columns) {
    vec total[TILE_ROWS][VECTORS] = {};
    if (t->bf16)
        multiply_bf16(rows, t->bf16 + row * even(k), panel, even(k), total);
    else
        multiply(rows, t->x + row * t->x_stride, t->x_stride, panel, k, total);
    for (int i = 0; i < rows; i++) {
        float *out = t->y + (row + i) * t->y_stride + column;
        if (columns == PANEL) {
            for (int j = 0; j < VECTORS; j++)
                store(out + j * LANES, t->add ? load(out + j * LANES) + total[i][j] : total[i][j]);
        } else {
            const float *line = (const float *)total[i];
            for (int64_t j = 0; j < columns; j++) out[j] = t->add ? out[j] + line[j] : line[j];
        }
    }
}

/* y (+)= x w, for w (k, n). */
static void matmul(Product t, const void *w, int64_t k, int64_t n) {
    for (int64_t i = 0; t.bf16 && i < t.m; i++) {
        uint16_t *out = t.bf16 + i * even(k);
        for (int64_t p = 0; p < k; p++) out[p] = rounded(t.x[i * t.x_stride + p]);
        if (k % 2) out[k] = 0;
    }
    int64_t panel_bytes = t.bf16 ? 2 * even(k) * PANEL : 4 * k * PANEL;
    for (int64_t column = 0; column < n; column += PANEL) {
        const void *here = (const char *)w + column / PANEL * panel_bytes;
        int64_t columns = n - column < PANEL ? n - column : PANEL;
        int64_t i = 0;
        for (; i + TILE_ROWS <= t.m; i += TILE_ROWS) tile(TILE_ROWS, &t, i, here, k, column, columns);
        for (; i + 2 <= t.m; i += 2) tile(2, &t, i, here, k, column, columns);
        for (; i < t.m; i++) tile(1, &t, i, here, k, column, columns);
    }
}
