/* One pass of a pre-norm decoder (RMSNorm, RoPE, SwiGLU, grouped-query attention) over a list of tokens, in float32.
 *
 * A token is an id, the cache row it belongs to and its position; tokens of a row come in order. So the same code
 * decodes one token of each of many sequences and reads whole prompts, without padding. A call touches only its own
 * rows of the cache: threads share nothing but the weights.
 */
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
enum { PANEL = LANES * VECTORS, BLOCK_TOKENS = 64, LINE = 16 /* floats */ };

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float quad __attribute__((vector_size(16)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    const float *input_norm, *qkv, *qkv_bias, *q_norm, *k_norm, *attention_out, *mlp_norm, *gate_up, *mlp_out;
} Layer; /* matrices in panels, see `matmul`; biases and query and key norms may be absent */

typedef struct {
    int64_t d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size;
    int64_t n_rows, max_seq_len; /* of the cache: (n_layers, n_rows, n_kv_heads, max_seq_len, head_dim) */
    float norm_eps;
    const Layer *layers;
    const float *embedding, *norm, *lm_head, *cosine, *sine; /* angles: (max_seq_len, head_dim / 2) */
    float *keys, *values;
} Model;

int64_t panel(void) { return PANEL; }

INLINE vec load(const float *p) {
    vec v;
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

/* `rows` rows of y (+)= x w for one panel of w: (k, PANEL), contiguous. */
INLINE void tile(int rows, const float *x, int64_t x_stride, const float *w, int64_t k, float *y, int64_t y_stride,
                 int64_t columns, int add) {
    vec total[TILE_ROWS][VECTORS] = {};
    for (int64_t p = 0; p < k; p++) {
        vec column[VECTORS];
        for (int j = 0; j < VECTORS; j++) column[j] = load(w + p * PANEL + j * LANES);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < VECTORS; j++) total[i][j] += x[i * x_stride + p] * column[j];
    }
    for (int i = 0; i < rows; i++) {
        float *out = y + i * y_stride;
        if (columns == PANEL) {
            for (int j = 0; j < VECTORS; j++)
                store(out + j * LANES, add ? load(out + j * LANES) + total[i][j] : total[i][j]);
        } else {
            const float *line = (const float *)total[i];
            for (int64_t j = 0; j < columns; j++) out[j] = add ? out[j] + line[j] : line[j];
        }
    }
}

/* Lay a linear layer's weight, (n, k), out as the columns from `first` on of a matrix in panels. */
void pack(const float *weight, int64_t n, int64_t k, int64_t first, float *panels) {
    for (int64_t i = 0; i < n; i++, weight += k) {
        float *column = panels + (first + i) / PANEL * PANEL * k + (first + i) % PANEL;
        for (int64_t p = 0; p < k; p++) column[p * PANEL] = weight[p];
    }
}

/* y (+)= x w; w is cut into panels of PANEL columns, each (k, PANEL) and contiguous, the last filled up with zeros. */
static void matmul(const float *x, int64_t m, int64_t x_stride, const float *w, int64_t k, int64_t n, float *y,
                   int64_t y_stride, int add) {
    for (int64_t column = 0; column < n; column += PANEL, w += k * PANEL) {
        int64_t columns = n - column < PANEL ? n - column : PANEL;
        int64_t i = 0;
        for (; i + TILE_ROWS <= m; i += TILE_ROWS)
            tile(TILE_ROWS, x + i * x_stride, x_stride, w, k, y + i * y_stride + column, y_stride, columns, add);
        for (; i + 2 <= m; i += 2)
            tile(2, x + i * x_stride, x_stride, w, k, y + i * y_stride + column, y_stride, columns, add);
        for (; i < m; i++)
            tile(1, x + i * x_stride, x_stride, w, k, y + i * y_stride + column, y_stride, columns, add);
    }
}

static void rms_norm(const float *x, const float *weight, int64_t n, float eps, float *y) {
    vec squares = {};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) squares += load(x + i) * load(x + i);
    float total = sum(squares);
    for (; i < n; i++) total += x[i] * x[i];
    float scale = 1.0f / sqrtf(total / (float)n + eps);
    for (i = 0; i < n; i++) y[i] = x[i] * scale * weight[i];
}

static void rotate(float *x, const float *cosine, const float *sine, int64_t half) {
    for (int64_t i = 0; i < half; i++) {
        float left = x[i], right = x[half + i];
        x[i] = left * cosine[i] - right * sine[i];
        x[half + i] = right * cosine[i] + left * sine[i];
    }
}

/* The values' mean, weighted by the softmax of the query's products with the n keys; head_dim is whole vectors.
 * What the next head needs is fetched meanwhile: a cache of many rows does not fit near the processor. */
static void attend(const float *q, const float *keys, const float *values, int64_t n, int64_t head_dim,
                   int64_t to_next, float *weights, float *out) {
    float scale = 1.0f / sqrtf((float)head_dim), highest = -INFINITY;
    for (int64_t t = 0; t < n; t++) {
        vec product = {};
        for (int64_t i = 0; i < head_dim; i += LINE) __builtin_prefetch(keys + to_next + t * head_dim + i, 0, 2);
        for (int64_t i = 0; i < head_dim; i += LANES) product += load(q + i) * load(keys + t * head_dim + i);
        weights[t] = sum(product) * scale;
        if (weights[t] > highest) highest = weights[t];
    }
    vec totals = {};
    for (int64_t t = n; t % LANES; t++) weights[t] = -INFINITY;
    for (int64_t t = 0; t < n; t += LANES) {
        vec w = exponential(load(weights + t) - highest);
        store(weights + t, w);
        totals += w;
    }
    float share = 1.0f / sum(totals);
    for (int64_t i = 0; i < head_dim; i += LANES) {
        vec even = {}, odd = {};
        int64_t t = 0;
        for (; t + 2 <= n; t += 2) {
            __builtin_prefetch(values + to_next + t * head_dim + i, 0, 2);
            __builtin_prefetch(values + to_next + (t + 1) * head_dim + i, 0, 2);
            even += weights[t] * load(values + t * head_dim + i);
            odd += weights[t + 1] * load(values + (t + 1) * head_dim + i);
        }
        if (t < n) even += weights[t] * load(values + t * head_dim + i);
        store(out + i, (even + odd) * share);
    }
}

/* Turn one token's queries and keys, put its key and value into the cache. */
static void enter(const Model *m, const Layer *l, float *qkv, int64_t position, float *keys, float *values) {
    int64_t d = m->head_dim, half = d / 2;
    const float *cosine = m->cosine + position * half, *sine = m->sine + position * half;
    for (int64_t h = 0; h < m->n_heads + m->n_kv_heads; h++) {
        const float *norm = h < m->n_heads ? l->q_norm : l->k_norm;
        if (norm) rms_norm(qkv + h * d, norm, d, m->norm_eps, qkv + h * d);
        rotate(qkv + h * d, cosine, sine, half);
    }
    for (int64_t h = 0; h < m->n_kv_heads; h++) {
        int64_t place = (h * m->max_seq_len + position) * d;
        memcpy(keys + place, qkv + (m->n_heads + h) * d, d * sizeof(float));
        memcpy(values + place, qkv + (m->n_heads + m->n_kv_heads + h) * d, d * sizeof(float));
    }
}

static int64_t up(int64_t n) { return (n + PANEL - 1) / PANEL * PANEL; }

/* Rows are padded by one vector, so that a power-of-two width does not put every row into the same cache set. */
static int64_t qkv_stride(const Model *m) { return up((m->n_heads + 2 * m->n_kv_heads) * m->head_dim) + LANES; }
static int64_t mlp_stride(const Model *m) { return 2 * up(m->d_ff) + LANES; }
static int64_t hidden_stride(const Model *m) {
    int64_t q_width = m->n_heads * m->head_dim;
    return up(q_width > m->d_model ? q_width : m->d_model) + LANES;
}
static int64_t wide_stride(const Model *m) {
    return qkv_stride(m) > mlp_stride(m) ? qkv_stride(m) : mlp_stride(m);
}

/* How many floats a call of `forward` needs to work in. */
int64_t scratch_size(const Model *m) {
    return BLOCK_TOKENS * (2 * hidden_stride(m) + wide_stride(m)) + m->max_seq_len + LANES;
}

static void attention(const Model *m, int64_t layer, const int64_t *rows, const int64_t *positions, int64_t n,
                      float *x, float *h, float *qkv, float *weights) {
    const Layer *l = m->layers + layer;
    int64_t d = m->head_dim, width = (m->n_heads + 2 * m->n_kv_heads) * d, stride = qkv_stride(m);
    int64_t head = m->max_seq_len * d, line = m->n_kv_heads * head, group = m->n_heads / m->n_kv_heads;
    int64_t x_stride = hidden_stride(m);
    for (int64_t i = 0; i < n; i++)
        rms_norm(x + i * x_stride, l->input_norm, m->d_model, m->norm_eps, h + i * x_stride);
    for (int64_t i = 0; l->qkv_bias && i < n; i++) memcpy(qkv + i * stride, l->qkv_bias, width * sizeof(float));
    matmul(h, n, x_stride, l->qkv, m->d_model, width, qkv, stride, l->qkv_bias != 0);
    for (int64_t i = 0; i < n; i++) {
        int64_t start = (layer * m->n_rows + rows[i]) * line;
        enter(m, l, qkv + i * stride, positions[i], m->keys + start, m->values + start);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t start = (layer * m->n_rows + rows[i]) * line;
        int64_t next_row = i + 1 < n ? (rows[i + 1] - rows[i]) * line : 0;
        for (int64_t q = 0; q < m->n_heads; q++) {
            int64_t shared = q / group * head, next = (q + 1) / group * head;
            if (q + 1 == m->n_heads) next = next_row;
            attend(qkv + i * stride + q * d, m->keys + start + shared, m->values + start + shared, positions[i] + 1,
                   d, next - shared, weights, h + i * x_stride + q * d);
        }
    }
    matmul(h, n, x_stride, l->attention_out, m->n_heads * d, m->d_model, x, x_stride, 1);
}

static void mlp(const Model *m, const Layer *l, int64_t n, float *x, float *h, float *wide) {
    int64_t stride = mlp_stride(m), half = up(m->d_ff), x_stride = hidden_stride(m);
    for (int64_t i = 0; i < n; i++)
        rms_norm(x + i * x_stride, l->mlp_norm, m->d_model, m->norm_eps, h + i * x_stride);
    matmul(h, n, x_stride, l->gate_up, m->d_model, 2 * half, wide, stride, 0);
    for (int64_t i = 0; i < n; i++) {
        float *gate = wide + i * stride;
        for (int64_t j = 0; j < half; j += LANES) {
            vec g = load(gate + j);
            store(gate + j, g / (1.0f + exponential(-g)) * load(gate + half + j));
        }
    }
    matmul(wide, n, stride, l->mlp_out, m->d_ff, m->d_model, x, x_stride, 1);
}

/* Read n tokens; with `logits`, (n, vocab_size), also say what follows each of them. */
void forward(const Model *m, const int64_t *ids, const int64_t *rows, const int64_t *positions, int64_t n,
             float *scratch, float *logits) {
    int64_t stride = hidden_stride(m);
    float *x = scratch, *h = x + BLOCK_TOKENS * stride, *wide = h + BLOCK_TOKENS * stride;
    float *weights = wide + BLOCK_TOKENS * wide_stride(m);
    for (int64_t start = 0; start < n; start += BLOCK_TOKENS) {
        int64_t count = n - start < BLOCK_TOKENS ? n - start : BLOCK_TOKENS;
        for (int64_t i = 0; i < count; i++)
            memcpy(x + i * stride, m->embedding + ids[start + i] * m->d_model, m->d_model * sizeof(float));
        for (int64_t layer = 0; layer < m->n_layers; layer++) {
            attention(m, layer, rows + start, positions + start, count, x, h, wide, weights);
            mlp(m, m->layers + layer, count, x, h, wide);
        }
        if (!logits) continue;
        for (int64_t i = 0; i < count; i++)
            rms_norm(x + i * stride, m->norm, m->d_model, m->norm_eps, h + i * stride);
        matmul(h, count, stride, m->lm_head, m->d_model, m->vocab_size, logits + start * m->vocab_size,
               m->vocab_size, 0);
    }
}

static float maximum(const float *x, int64_t n) {
    vec highest = (vec){} - INFINITY;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec v = load(x + i);
        ivec higher = v > highest;
        highest = (vec)(((ivec)v & higher) | ((ivec)highest & ~higher));
    }
    float found = -INFINITY;
    for (int j = 0; j < LANES; j++) found = highest[j] > found ? highest[j] : found;
    for (; i < n; i++) found = x[i] > found ? x[i] : found;
    return found;
}

/* Turn logits into weights e^((logit - highest) / temperature) and return their sum. */
static float softmax_weights(float *x, int64_t n, float highest, float temperature) {
    vec totals = {};
    float rest = 0, share = 1.0f / temperature;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec w = exponential((load(x + i) - highest) * share);
        store(x + i, w);
        totals += w;
    }
    for (; i < n; i++) rest += x[i] = expf((x[i] - highest) * share);
    return sum(totals) + rest;
}

/* The first index at which the running sum of weights exceeds the target; whole panels are skipped by their sum. */
static int64_t locate(const float *weights, int64_t n, float target) {
    float before = 0;
    int64_t i = 0;
    for (; i + PANEL <= n; i += PANEL) {
        vec panel_sum = {};
        for (int j = 0; j < PANEL; j += LANES) panel_sum += load(weights + i + j);
        float after = before + sum(panel_sum);
        if (after > target) break;
        before = after;
    }
    for (; i < n; i++)
        if ((before += weights[i]) > target) return i;
    /* Rounding let the target lie beyond the end: the last token that has any weight. */
    for (i = n - 1; i > 0 && !(weights[i] > 0); i--) {}
    return i;
}

/* Draw a token from each row of logits as `choose` does without top_k and top_p; the logits become weights. */
void draw(float *logits, int64_t n, int64_t vocab_size, const float *uniform, const float *temperature,
          int64_t *ids, float *logprobs) {
    for (int64_t row = 0; row < n; row++, logits += vocab_size) {
        int greedy = temperature[row] == 0;
        float highest = maximum(logits, vocab_size);
        int64_t best = 0;
        while (greedy && logits[best] < highest) best++;
        float total = softmax_weights(logits, vocab_size, highest, greedy ? 1.0f : temperature[row]);
        ids[row] = greedy ? best : locate(logits, vocab_size, uniform[row] * total);
        logprobs[row] = logf(logits[ids[row]] / total);
    }
}
