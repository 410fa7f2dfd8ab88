/* Products of a few rows with a matrix laid out in panels, so that it is read from end to end.
 *
 * For w (k, n), a panel is PANEL of its columns, contiguous, the last filled up with zeros; `tile` turns numbers
 * kept in fewer bits into factors as it reads them. One row's result does not depend on how many rows there are,
 * nor on who computes it.
 *
 *   FLOAT32   (k, PANEL)
 *   BFLOAT16  (k / 2, PANEL, 2), k rounded up to even
 *   INT8      (k / 4, PANEL, 4), k rounded up; w = code * scale of its column
 *   INT4      (k / 8, PANEL, 8 in 32 bits); w = (code - 8) * scale + middle of its column and group of rows
 *
 * For codes, rows too become whole numbers, of 16 bits, with a step for each group: 32767 steps are its largest
 * number. Within a group sums are exact; each is rounded once.
 */
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

enum { PANEL = LANES * VECTORS, LARGEST = 32767 };
enum { FLOAT32, BFLOAT16, INT8, INT4 };

int64_t panel(void) { return PANEL; }

static int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
static int64_t even(int64_t k) { return round_up(k, 2); }

/* A linear layer's weight, (n, k), as the matrix w (k, n). */
typedef struct {
    int64_t form, k, n;
    const void *panels;
    const void *scales; /* INT8: (n,) float32, whole panels; INT4: (panel, group, PANEL) of scale, middle in bfloat16 */
} Matrix;

static int64_t n_panels(const Matrix *w) { return (w->n + PANEL - 1) / PANEL; }

static int64_t panel_bytes(int64_t form, int64_t k) {
    switch (form) {
    case FLOAT32: return 4 * PANEL * k;
    case BFLOAT16: return 2 * PANEL * even(k);
    case INT8: return PANEL * round_up(k, 4);
    default: return PANEL * round_up(k, 8) / 2;
    }
}

/* Bytes that a weight (n, k) takes in panels. */
int64_t matrix_size(int64_t form, int64_t n, int64_t k) { return round_up(n, PANEL) / PANEL * panel_bytes(form, k); }

static uint16_t rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16); /* to nearest, ties to even */
}

static float widened(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float found;
    memcpy(&found, &bits, sizeof found);
    return found;
}

/* Put one row of a weight, (k,), into its column of a panel, whose unused places are zero. */
static void pack_row(int64_t form, const void *row, int64_t k, int64_t column, char *panel) {
    const uint8_t *codes = row;
    for (int64_t p = 0; p < k; p++) {
        switch (form) {
        case FLOAT32: ((float *)panel)[p * PANEL + column] = ((const float *)row)[p]; break;
        case BFLOAT16:
            ((uint16_t *)panel)[(p / 2 * PANEL + column) * 2 + p % 2] = rounded(((const float *)row)[p]);
            break;
        case INT8: /* of four, the first two are the low bytes of the pairs that `tile` takes apart */
            panel[(p / 4 * PANEL + column) * 4 + p % 2 * 2 + p / 2 % 2] = (char)codes[p];
            break;
        default: /* pair j of eight lies in bits 4 j and 16 + 4 j */
            ((uint32_t *)panel)[p / 8 * PANEL + column] |= (uint32_t)codes[p] << (p % 8 / 2 * 4 + p % 2 * 16);
        }
    }
}

/* Lay a weight (n, k) out in panels, which are zero: float32 for the first two forms, else a byte for each code. */
void pack(int64_t form, const void *weight, int64_t n, int64_t k, void *panels) {
    int64_t row_bytes = form <= BFLOAT16 ? 4 * k : k;
    for (int64_t i = 0; i < n; i++)
        pack_row(form, (const char *)weight + i * row_bytes, k, i % PANEL,
                 (char *)panels + i / PANEL * panel_bytes(form, k));
}

/* Rows that products read, each with room for a vector beyond its end. Those in fewer bits are made by `prepare`
 * where there is room for them. */
typedef struct {
    float *x; /* (rows, stride) */
    int64_t stride;
    uint16_t *bf16;  /* (rows, narrow_stride), to multiply bfloat16 with */
    int16_t *codes;  /* (rows, narrow_stride), to multiply codes with */
    float *steps;    /* (rows, n_groups) of the codes */
    int32_t *totals; /* (rows, n_groups): their sums */
    int64_t narrow_stride, group, n_groups;
} Rows;

/* x, (n,) in whole vectors, as codes; returns their step, which is not a number where one of x is not finite. */
INLINE float encode(const float *x, int64_t n, int16_t *codes, int32_t *total) {
    vec highest = {}, strange = {};
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = load(x + i), size = (vec)((ivec)v & 0x7fffffff);
        ivec larger = size > highest;
        highest = (vec)(((ivec)size & larger) | ((ivec)highest & ~larger));
        strange += v * 0.0f;
    }
    float most = 0;
    for (int j = 0; j < LANES; j++) most = highest[j] > most ? highest[j] : most;
    float share = most > 1e-30f ? LARGEST / most : 0.0f;
    ivec totals = {};
    for (int64_t i = 0; i < n; i += LANES) {
        vec shifted = load(x + i) * share + 12582912.0f; /* the low bits are the rounded integer, as in `exponential` */
        ivec code = (ivec)shifted - 0x4b400000;
        half_ivec narrow = __builtin_convertvector(code, half_ivec);
        memcpy(codes + i, &narrow, sizeof narrow);
        totals += code;
    }
    *total = 0;
    for (int j = 0; j < LANES; j++) *total += totals[j];
    return most / LARGEST + sum(strange);
}

/* Make what products read of a row of k numbers. */
static void prepare(const Rows *r, int64_t row, int64_t k) {
    float *x = r->x + row * r->stride;
    int64_t end = round_up(k, LANES);
    for (int64_t p = k; p < end; p++) x[p] = 0;
    uint16_t *bf16 = r->bf16 + row * r->narrow_stride;
    for (int64_t p = 0; r->bf16 && p < end; p++) bf16[p] = rounded(x[p]);
    for (int64_t start = 0, g = row * r->n_groups; r->codes && start < k; start += r->group, g++) {
        int64_t n = end - start < r->group ? end - start : r->group;
        r->steps[g] = encode(x + start, n, r->codes + row * r->narrow_stride + start, r->totals + g);
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

/* The same for w in bfloat16, and x as it is. */
INLINE void multiply_widened(int rows, const float *x, int64_t x_stride, const uint16_t *w, int64_t k,
                             vec total[TILE_ROWS][VECTORS]) {
    for (int64_t p = 0; p < k; p += 2) {
        vec first[VECTORS], second[VECTORS];
        for (int j = 0; j < VECTORS; j++) {
            ivec pairs = load_whole(w + p * PANEL + j * 2 * LANES);
            first[j] = (vec)(pairs << 16);
            second[j] = (vec)(pairs & (int32_t)0xffff0000);
        }
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < VECTORS; j++) {
                total[i][j] += x[i * x_stride + p] * first[j];
                total[i][j] += x[i * x_stride + p + 1] * second[j]; /* beyond an odd k, zero times zero */
            }
    }
}

INLINE ivec pair_at(const void *two) {
    int32_t pair;
    memcpy(&pair, two, sizeof pair);
    return (ivec){} + pair;
}

#if defined(__AVX512BF16__)
int64_t multiplies_bf16(void) { return 1; }

INLINE void multiply_bf16(int rows, const uint16_t *x, int64_t x_stride, const uint16_t *w, int64_t k,
                          vec total[TILE_ROWS][VECTORS]) {
    for (int64_t p = 0; p < k; p += 2) {
        __m512bh column[VECTORS];
        for (int j = 0; j < VECTORS; j++) column[j] = (__m512bh)load_whole(w + p * PANEL + j * 2 * LANES);
        for (int i = 0; i < rows; i++) {
            __m512bh pair = (__m512bh)pair_at(x + i * x_stride + p);
            for (int j = 0; j < VECTORS; j++)
                total[i][j] = (vec)_mm512_dpbf16_ps((__m512)total[i][j], pair, column[j]);
        }
    }
}
#else
int64_t multiplies_bf16(void) { return 0; }
#define multiply_bf16(rows, x, x_stride, w, k, total) (void)0
#endif

/* total + the products of two pairs of 16-bit numbers in each lane. */
INLINE ivec add_pairs(ivec total, ivec x, ivec w) {
#if defined(__AVX512VNNI__)
    return (ivec)_mm512_dpwssd_epi32((__m512i)total, (__m512i)x, (__m512i)w);
#elif defined(__AVX512BW__)
    return total + (ivec)_mm512_madd_epi16((__m512i)x, (__m512i)w);
#elif defined(__AVX2__) && !defined(__AVX512F__)
    return total + (ivec)_mm256_madd_epi16((__m256i)x, (__m256i)w);
#else
    return total + ((x << 16) >> 16) * ((w << 16) >> 16) + (x >> 16) * (w >> 16);
#endif
}

/* The sums of x w over the rows `from` to `to` of w, in codes of which four have 32 bits. A row that is alone keeps two
 * sums in turn, so that neither waits for the other. */
INLINE void multiply_int8(int rows, const int16_t *x, int64_t x_stride, const char *w, int64_t from, int64_t to,
                          ivec total[TILE_ROWS][VECTORS]) {
    ivec second[VECTORS] = {};
    for (int64_t p = from; p < to; p += 4)
        for (int j = 0; j < VECTORS; j++) {
            ivec four = load_whole(w + p * PANEL + j * 4 * LANES);
            ivec low = (ivec)((pairs)((pairs)four << 8) >> 8), high = (ivec)((pairs)four >> 8);
            for (int i = 0; i < rows; i++) {
                const int16_t *here = x + i * x_stride + p;
                total[i][j] = add_pairs(total[i][j], pair_at(here), low);
                ivec *other = rows == 1 ? second + j : total[i] + j;
                *other = add_pairs(*other, pair_at(here + 2), high);
            }
        }
    for (int j = 0; j < VECTORS; j++) total[0][j] += second[j];
}

/* The same in codes of which eight have 32 bits. For a row that is alone, taking codes apart costs most: every second
 * pair stays where it lies, 16 times too large, and what was added of these is divided at the end, exactly. */
INLINE void multiply_int4(int rows, const int16_t *x, int64_t x_stride, const char *w, int64_t from, int64_t to,
                          ivec total[TILE_ROWS][VECTORS]) {
    ivec second[VECTORS] = {};
    for (int64_t p = from; p < to; p += 8)
        for (int j = 0; j < VECTORS; j++) {
            ivec eight = load_whole(w + p * PANEL / 2 + j * 4 * LANES);
            for (int t = 0; t < 4; t++) {
                int stays = rows == 1 && t % 2;
                ivec two = stays ? (eight >> 4 * (t - 1)) & 0x00f000f0 : (eight >> 4 * t) & 0x000f000f;
                for (int i = 0; i < rows; i++) {
                    ivec *sum = stays ? second + j : total[i] + j;
                    *sum = add_pairs(*sum, pair_at(x + i * x_stride + p + 2 * t), two);
                }
            }
        }
    for (int j = 0; j < VECTORS; j++) total[0][j] += second[j] >> 4;
}

INLINE void multiply_codes(int form, int rows, const Rows *r, int64_t row, const Matrix *w, int64_t panel,
                           vec total[TILE_ROWS][VECTORS]) {
    const char *numbers = (const char *)w->panels + panel * panel_bytes(form, w->k);
    const int16_t *x = r->codes + row * r->narrow_stride;
    int64_t groups = (w->k + r->group - 1) / r->group, line = groups * PANEL;
    const uint32_t *scales = (const uint32_t *)w->scales + panel * (form == INT4 ? line : PANEL);
    for (int64_t g = 0; g < groups; g++) {
        ivec whole[TILE_ROWS][VECTORS] = {};
        int64_t from = g * r->group, to = from + r->group < w->k ? from + r->group : w->k;
        if (form == INT8)
            multiply_int8(rows, x, r->narrow_stride, numbers, from, to, whole);
        else
            multiply_int4(rows, x, r->narrow_stride, numbers, from, to, whole);
        for (int i = 0; i < rows; i++) {
            float step = r->steps[(row + i) * r->n_groups + g];
            int32_t sum_x = r->totals[(row + i) * r->n_groups + g];
            for (int j = 0; j < VECTORS; j++) {
                if (form == INT8) {
                    total[i][j] += __builtin_convertvector(whole[i][j], vec) * step;
                } else {
                    ivec both = load_whole(scales + g * PANEL + j * LANES);
                    vec scale = (vec)(both << 16), middle = (vec)(both & (int32_t)0xffff0000);
                    total[i][j] += __builtin_convertvector(whole[i][j] - 8 * sum_x, vec) * step * scale;
                    total[i][j] += (float)sum_x * step * middle;
                }
            }
        }
    }
    for (int j = 0; form == INT8 && j < VECTORS; j++)
        for (int i = 0; i < rows; i++) total[i][j] *= load((const float *)scales + j * LANES);
}

/* One panel's columns of y (+)= x w for a few rows. */
INLINE void tile(int rows, const Rows *r, int64_t row, const Matrix *w, int64_t panel, float *y, int64_t y_stride,
                 int add) {
    vec total[TILE_ROWS][VECTORS] = {};
    const char *numbers = (const char *)w->panels + panel * panel_bytes(w->form, w->k);
    const float *x = r->x + row * r->stride;
    if (w->form == INT8)
        multiply_codes(INT8, rows, r, row, w, panel, total);
    else if (w->form == INT4)
        multiply_codes(INT4, rows, r, row, w, panel, total);
    else if (w->form == FLOAT32)
        multiply(rows, x, r->stride, (const float *)numbers, w->k, total);
    else if (r->bf16)
        multiply_bf16(rows, r->bf16 + row * r->narrow_stride, r->narrow_stride, (const uint16_t *)numbers, w->k, total);
    else
        multiply_widened(rows, x, r->stride, (const uint16_t *)numbers, w->k, total);
    int64_t column = panel * PANEL, columns = w->n - column < PANEL ? w->n - column : PANEL;
    for (int i = 0; i < rows; i++) {
        float *out = y + (row + i) * y_stride + column;
        if (columns == PANEL) {
            for (int j = 0; j < VECTORS; j++)
                store(out + j * LANES, add ? load(out + j * LANES) + total[i][j] : total[i][j]);
        } else {
            const float *line = (const float *)total[i];
            for (int64_t j = 0; j < columns; j++) out[j] = add ? out[j] + line[j] : line[j];
        }
    }
}

/* A product's matrix, and where its first row goes. */
typedef struct {
    const Matrix *w;
    float *y;
} Product;

/* The columns of y (+)= x w for m prepared rows that one of the products' panels, counted through, stands for. */
static void multiply_panel(const Rows *r, int64_t m, const Product *products, int64_t panel, int64_t y_stride, int add) {
    const Product *p = products;
    int64_t i = 0;
    for (; panel >= n_panels(p->w); p++) panel -= n_panels(p->w);
    for (; i + TILE_ROWS <= m; i += TILE_ROWS) tile(TILE_ROWS, r, i, p->w, panel, p->y, y_stride, add);
    for (; i + 4 <= m; i += 4) tile(4, r, i, p->w, panel, p->y, y_stride, add);
    for (; i + 2 <= m; i += 2) tile(2, r, i, p->w, panel, p->y, y_stride, add);
    for (; i < m; i++) tile(1, r, i, p->w, panel, p->y, y_stride, add);
}
