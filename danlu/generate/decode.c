/* One pass of a pre-norm decoder (RMSNorm, RoPE, SwiGLU, grouped-query attention) over a list of tokens.
 *
 * Everything is float32; where the processor multiplies bfloat16 and `Model.bf16` is set, the operands of the matrix
 * products are rounded to that, their sums are not.
 *
 * A token is an id, the cache row it belongs to and its position; tokens of a row come in order. So the same code
 * decodes one token of each of many sequences and reads whole prompts, without padding. A call touches only its own
 * rows of the cache: threads share nothing but the weights.
 */
#include "vectors.h"

#include "matmul.h"

enum { BLOCK_TOKENS = 64, LINE = 16 /* floats in what the processor fetches at once */ };

typedef struct {
    const float *input_norm;
    const void *qkv; /* matrices in panels, see `matmul` */
    const float *qkv_bias, *q_norm, *k_norm; /* absent where the family has none */
    const void *attention_out;
    const float *mlp_norm;
    const void *gate_up, *mlp_out;
} Layer;

typedef struct {
    int64_t d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size;
    int64_t n_rows, max_seq_len; /* of the cache: (n_layers, n_rows, n_kv_heads, max_seq_len, head_dim) */
    int64_t bf16;
    float norm_eps;
    const Layer *layers;
    const float *embedding, *norm;
    const void *lm_head;
    const float *cosine, *sine; /* (max_seq_len, head_dim / 2) */
    float *keys, *values;
} Model;

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

/* Where a call works; rows are padded by one vector, so that a width which is a power of two does not put every row
 * into the same set of the processor's cache. */
typedef struct {
    int64_t x_stride, wide_stride;
    float *x, *h, *wide; /* BLOCK_TOKENS rows: residual stream, what a matrix reads, what it wrote */
    float *weights;      /* of one query, max_seq_len rounded up to vectors */
    uint16_t *bf16;
    int64_t size; /* floats in all */
} Work;

static int64_t up(int64_t n) { return (n + PANEL - 1) / PANEL * PANEL; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static Work lay_out(const Model *m, float *scratch) {
    int64_t q_width = m->n_heads * m->head_dim, qkv_width = q_width + 2 * m->n_kv_heads * m->head_dim;
    Work w = {.x_stride = up(larger(q_width, m->d_model)) + LANES,
              .wide_stride = larger(up(qkv_width), 2 * up(m->d_ff)) + LANES};
    int64_t rows = BLOCK_TOKENS * (2 * w.x_stride + w.wide_stride), weights = m->max_seq_len + LANES;
    w.size = rows + weights + BLOCK_TOKENS * larger(w.x_stride, w.wide_stride) / 2;
    if (scratch) {
        w.x = scratch;
        w.h = w.x + BLOCK_TOKENS * w.x_stride;
        w.wide = w.h + BLOCK_TOKENS * w.x_stride;
        w.weights = scratch + rows;
        w.bf16 = m->bf16 ? (uint16_t *)(w.weights + weights) : 0;
    }
    return w;
}

/* How many floats a call of `forward` needs to work in. */
int64_t scratch_size(const Model *m) { return lay_out(m, 0).size; }

static void attention(const Model *m, int64_t layer, const int64_t *rows, const int64_t *positions, int64_t n,
                      Work w) {
    const Layer *l = m->layers + layer;
    int64_t d = m->head_dim, width = (m->n_heads + 2 * m->n_kv_heads) * d;
    int64_t head = m->max_seq_len * d, line = m->n_kv_heads * head, group = m->n_heads / m->n_kv_heads;
    for (int64_t i = 0; i < n; i++) {
        rms_norm(w.x + i * w.x_stride, l->input_norm, m->d_model, m->norm_eps, w.h + i * w.x_stride);
        if (l->qkv_bias) memcpy(w.wide + i * w.wide_stride, l->qkv_bias, width * sizeof(float));
    }
    matmul((Product){w.h, n, w.x_stride, w.wide, w.wide_stride, l->qkv_bias != 0, w.bf16}, l->qkv, m->d_model, width);
    for (int64_t i = 0; i < n; i++) {
        int64_t start = (layer * m->n_rows + rows[i]) * line;
        enter(m, l, w.wide + i * w.wide_stride, positions[i], m->keys + start, m->values + start);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t start = (layer * m->n_rows + rows[i]) * line;
        int64_t next_row = i + 1 < n ? (rows[i + 1] - rows[i]) * line : 0;
        for (int64_t q = 0; q < m->n_heads; q++) {
            int64_t shared = q / group * head, next = (q + 1) / group * head;
            if (q + 1 == m->n_heads) next = next_row;
            attend(w.wide + i * w.wide_stride + q * d, m->keys + start + shared, m->values + start + shared,
                   positions[i] + 1, d, next - shared, w.weights, w.h + i * w.x_stride + q * d);
        }
    }
    matmul((Product){w.h, n, w.x_stride, w.x, w.x_stride, 1, w.bf16}, l->attention_out, m->n_heads * d, m->d_model);
}

static void mlp(const Model *m, const Layer *l, int64_t n, Work w) {
    int64_t half = up(m->d_ff);
    for (int64_t i = 0; i < n; i++)
        rms_norm(w.x + i * w.x_stride, l->mlp_norm, m->d_model, m->norm_eps, w.h + i * w.x_stride);
    matmul((Product){w.h, n, w.x_stride, w.wide, w.wide_stride, 0, w.bf16}, l->gate_up, m->d_model, 2 * half);
    for (int64_t i = 0; i < n; i++) {
        float *gate = w.wide + i * w.wide_stride;
        for (int64_t j = 0; j < half; j += LANES) {
            vec g = load(gate + j);
            store(gate + j, g / (1.0f + exponential(-g)) * load(gate + half + j));
        }
    }
    matmul((Product){w.wide, n, w.wide_stride, w.x, w.x_stride, 1, w.bf16}, l->mlp_out, m->d_ff, m->d_model);
}

/* Read n tokens; with `logits`, (n, vocab_size), also say what follows each of them. */
void forward(const Model *m, const int64_t *ids, const int64_t *rows, const int64_t *positions, int64_t n,
             float *scratch, float *logits) {
    Work w = lay_out(m, scratch);
    for (int64_t start = 0; start < n; start += BLOCK_TOKENS) {
        int64_t count = n - start < BLOCK_TOKENS ? n - start : BLOCK_TOKENS, vocab = m->vocab_size;
        for (int64_t i = 0; i < count; i++)
            memcpy(w.x + i * w.x_stride, m->embedding + ids[start + i] * m->d_model, m->d_model * sizeof(float));
        for (int64_t layer = 0; layer < m->n_layers; layer++) {
            attention(m, layer, rows + start, positions + start, count, w);
            mlp(m, m->layers + layer, count, w);
        }
        if (!logits) continue;
        for (int64_t i = 0; i < count; i++)
            rms_norm(w.x + i * w.x_stride, m->norm, m->d_model, m->norm_eps, w.h + i * w.x_stride);
        matmul((Product){w.h, count, w.x_stride, logits + start * vocab, vocab, 0, w.bf16}, m->lm_head, m->d_model,
               vocab);
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
