/* One pass of a pre-norm decoder (RMSNorm, RoPE, SwiGLU, grouped-query attention) over a list of tokens.
 *
 * Everything is float32; where the processor multiplies bfloat16 and `Model.bf16` is set, the operands of the matrix
 * products are rounded to that, their sums are not.
 *
 * A token is an id, the row of the table of blocks that says where its sequence lies in the cache, its position and
 * its adapter; tokens of a row come in order. So the same code decodes one token of each of many sequences and reads
 * whole prompts, without padding. What a token gives depends on nothing but its own sequence, bit for bit. A call
 * writes only to places that its own tokens stand at: threads share weights and blocks that nobody writes to.
 */
#include "vectors.h"

#include "matmul.h"

#include "draw.h"

enum { BLOCK_TOKENS = 64, LINE = 16 /* floats in what the processor fetches at once */ };

typedef struct {
    const float *input_norm;
    const void *qkv; /* matrices in panels, see `matmul` */
    const float *qkv_bias, *q_norm, *k_norm; /* absent where the family has none */
    const void *attention_out;
    const float *mlp_norm;
    const void *gate_up, *mlp_out;
} Layer;

/* A thin update of one linear layer: up (down x); absent where `down` is null. */
typedef struct {
    const float *down, *up; /* (rank, in), (rank, out); the scale is part of `up` */
    int64_t rank;
} Update;

enum { Q, K, V, ATTENTION_OUT, GATE, UP, MLP_OUT, LINEARS };

typedef struct {
    int64_t d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size;
    int64_t n_blocks, block_size; /* of the cache: (n_layers, n_kv_heads, n_blocks, block_size, head_dim) */
    int64_t max_seq_len;
    int64_t bf16;
    float norm_eps;
    const Layer *layers;
    const float *embedding, *norm;
    const void *lm_head;
    const float *cosine, *sine; /* (max_seq_len, head_dim / 2) */
    float *keys, *values;
} Model;

/* What a call runs: each list is (tokens,). */
typedef struct {
    const int64_t *ids, *rows, *positions;
    const Update *const *updates; /* of a token's adapter, (n_layers, LINEARS), or null; the list too may be null */
    const int32_t *tables;        /* (rows, blocks of a row): which block holds positions 0 to block_size - 1, … */
    int64_t table_width;
} Tokens;

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

/* Keys or values of one head of one sequence: position t lies at [blocks[t / block_size]][t % block_size]. */
typedef struct {
    const float *keys, *values;
    const int32_t *blocks;
} Pages;

/* The values' mean, weighted by the softmax of the query's products with the n keys; head_dim is whole vectors, and a
 * block holds an even number of positions. What the `next` head needs is fetched meanwhile: a cache of many rows does
 * not fit near the processor. */
static void attend(const float *q, Pages p, Pages next, int64_t n, int64_t block_size, int64_t head_dim,
                   float *weights, float *out) {
    float scale = 1.0f / sqrtf((float)head_dim), highest = -INFINITY;
    int64_t block_floats = block_size * head_dim;
    for (int64_t start = 0, b = 0; start < n; start += block_size, b++) {
        const float *keys = p.keys + p.blocks[b] * block_floats, *after = next.keys + next.blocks[b] * block_floats;
        int64_t count = n - start < block_size ? n - start : block_size;
        for (int64_t t = 0; t < count; t++) {
            vec product = {};
            for (int64_t i = 0; i < head_dim; i += LINE) __builtin_prefetch(after + t * head_dim + i, 0, 2);
            for (int64_t i = 0; i < head_dim; i += LANES) product += load(q + i) * load(keys + t * head_dim + i);
            weights[start + t] = sum(product) * scale;
            if (weights[start + t] > highest) highest = weights[start + t];
        }
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
        for (int64_t start = 0, b = 0; start < n; start += block_size, b++) {
            const float *values = p.values + p.blocks[b] * block_floats + i, *w = weights + start;
            const float *after = next.values + next.blocks[b] * block_floats + i;
            int64_t count = n - start < block_size ? n - start : block_size, t = 0;
            for (; t + 2 <= count; t += 2) {
                __builtin_prefetch(after + t * head_dim, 0, 2);
                __builtin_prefetch(after + (t + 1) * head_dim, 0, 2);
                even += w[t] * load(values + t * head_dim);
                odd += w[t + 1] * load(values + (t + 1) * head_dim);
            }
            if (t < count) even += w[t] * load(values + t * head_dim);
        }
        store(out + i, (even + odd) * share);
    }
}

/* Turn one token's queries and keys, put its key and value into the cache. */
static void enter(const Model *m, const Layer *l, float *qkv, int64_t position, Pages p) {
    int64_t d = m->head_dim, half = d / 2, head = m->n_blocks * m->block_size * d;
    const float *cosine = m->cosine + position * half, *sine = m->sine + position * half;
    for (int64_t h = 0; h < m->n_heads + m->n_kv_heads; h++) {
        const float *norm = h < m->n_heads ? l->q_norm : l->k_norm;
        if (norm) rms_norm(qkv + h * d, norm, d, m->norm_eps, qkv + h * d);
        rotate(qkv + h * d, cosine, sine, half);
    }
    int64_t place = (p.blocks[position / m->block_size] * m->block_size + position % m->block_size) * d;
    for (int64_t h = 0; h < m->n_kv_heads; h++, place += head) {
        memcpy((float *)p.keys + place, qkv + (m->n_heads + h) * d, d * sizeof(float));
        memcpy((float *)p.values + place, qkv + (m->n_heads + m->n_kv_heads + h) * d, d * sizeof(float));
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

/* y += up (down x), of the token's adapter. */
static void update(const Tokens *tokens, int64_t token, int64_t layer, int which, const float *x, int64_t in, float *y,
                   int64_t out) {
    const Update *updates = tokens->updates ? tokens->updates[token] : 0;
    if (!updates) return;
    Update u = updates[layer * LINEARS + which];
    for (int64_t r = 0; u.down && r < u.rank; r++) {
        const float *down = u.down + r * in, *up = u.up + r * out;
        vec products = {};
        int64_t i = 0;
        for (; i + LANES <= in; i += LANES) products += load(down + i) * load(x + i);
        float inner = sum(products);
        for (; i < in; i++) inner += down[i] * x[i];
        for (i = 0; i + LANES <= out; i += LANES) store(y + i, load(y + i) + inner * load(up + i));
        for (; i < out; i++) y[i] += inner * up[i];
    }
}

static Pages pages_of(const Model *m, int64_t layer, const Tokens *tokens, int64_t token) {
    int64_t start = layer * m->n_kv_heads * m->n_blocks * m->block_size * m->head_dim;
    return (Pages){m->keys + start, m->values + start, tokens->tables + tokens->rows[token] * tokens->table_width};
}

static void attention(const Model *m, int64_t layer, const Tokens *tokens, int64_t n, Work w) {
    const Layer *l = m->layers + layer;
    int64_t d = m->head_dim, q_width = m->n_heads * d, kv_width = m->n_kv_heads * d, width = q_width + 2 * kv_width;
    int64_t head = m->n_blocks * m->block_size * d, group = m->n_heads / m->n_kv_heads;
    for (int64_t i = 0; i < n; i++) {
        rms_norm(w.x + i * w.x_stride, l->input_norm, m->d_model, m->norm_eps, w.h + i * w.x_stride);
        if (l->qkv_bias) memcpy(w.wide + i * w.wide_stride, l->qkv_bias, width * sizeof(float));
    }
    matmul((Product){w.h, n, w.x_stride, w.wide, w.wide_stride, l->qkv_bias != 0, w.bf16}, l->qkv, m->d_model, width);
    for (int64_t i = 0; i < n; i++) {
        float *x = w.h + i * w.x_stride, *qkv = w.wide + i * w.wide_stride;
        update(tokens, i, layer, Q, x, m->d_model, qkv, q_width);
        update(tokens, i, layer, K, x, m->d_model, qkv + q_width, kv_width);
        update(tokens, i, layer, V, x, m->d_model, qkv + q_width + kv_width, kv_width);
        enter(m, l, qkv, tokens->positions[i], pages_of(m, layer, tokens, i));
    }
    for (int64_t i = 0; i < n; i++) {
        Pages row = pages_of(m, layer, tokens, i), next_row = i + 1 < n ? pages_of(m, layer, tokens, i + 1) : row;
        for (int64_t q = 0; q < m->n_heads; q++) {
            int64_t here = q / group * head, after = (q + 1) / group * head;
            Pages p = {row.keys + here, row.values + here, row.blocks};
            Pages next = {row.keys + after, row.values + after, row.blocks};
            attend(w.wide + i * w.wide_stride + q * d, p, q + 1 < m->n_heads ? next : next_row,
                   tokens->positions[i] + 1, m->block_size, d, w.weights, w.h + i * w.x_stride + q * d);
        }
    }
    matmul((Product){w.h, n, w.x_stride, w.x, w.x_stride, 1, w.bf16}, l->attention_out, q_width, m->d_model);
    for (int64_t i = 0; i < n; i++)
        update(tokens, i, layer, ATTENTION_OUT, w.h + i * w.x_stride, q_width, w.x + i * w.x_stride, m->d_model);
}

static void mlp(const Model *m, int64_t layer, const Tokens *tokens, int64_t n, Work w) {
    const Layer *l = m->layers + layer;
    int64_t half = up(m->d_ff);
    for (int64_t i = 0; i < n; i++)
        rms_norm(w.x + i * w.x_stride, l->mlp_norm, m->d_model, m->norm_eps, w.h + i * w.x_stride);
    matmul((Product){w.h, n, w.x_stride, w.wide, w.wide_stride, 0, w.bf16}, l->gate_up, m->d_model, 2 * half);
    for (int64_t i = 0; i < n; i++) {
        float *gate = w.wide + i * w.wide_stride;
        update(tokens, i, layer, GATE, w.h + i * w.x_stride, m->d_model, gate, m->d_ff);
        update(tokens, i, layer, UP, w.h + i * w.x_stride, m->d_model, gate + half, m->d_ff);
        for (int64_t j = 0; j < half; j += LANES) {
            vec g = load(gate + j);
            store(gate + j, g / (1.0f + exponential(-g)) * load(gate + half + j));
        }
    }
    matmul((Product){w.wide, n, w.wide_stride, w.x, w.x_stride, 1, w.bf16}, l->mlp_out, m->d_ff, m->d_model);
    for (int64_t i = 0; i < n; i++)
        update(tokens, i, layer, MLP_OUT, w.wide + i * w.wide_stride, m->d_ff, w.x + i * w.x_stride, m->d_model);
}

/* Read the n tokens from `first` on; with `logits`, (n, vocab_size), also say what follows each of them. */
void forward(const Model *m, const Tokens *all, int64_t first, int64_t n, float *scratch, float *logits) {
    Work w = lay_out(m, scratch);
    for (int64_t start = 0; start < n; start += BLOCK_TOKENS) {
        int64_t count = n - start < BLOCK_TOKENS ? n - start : BLOCK_TOKENS, vocab = m->vocab_size, at = first + start;
        Tokens tokens = {all->ids + at,     all->rows + at, all->positions + at, all->updates ? all->updates + at : 0,
                         all->tables, all->table_width};
        for (int64_t i = 0; i < count; i++)
            memcpy(w.x + i * w.x_stride, m->embedding + tokens.ids[i] * m->d_model, m->d_model * sizeof(float));
        for (int64_t layer = 0; layer < m->n_layers; layer++) {
            attention(m, layer, &tokens, count, w);
            mlp(m, layer, &tokens, count, w);
        }
        if (!logits) continue;
        for (int64_t i = 0; i < count; i++)
            rms_norm(w.x + i * w.x_stride, m->norm, m->d_model, m->norm_eps, w.h + i * w.x_stride);
        matmul((Product){w.h, count, w.x_stride, logits + start * vocab, vocab, 0, w.bf16}, m->lm_head, m->d_model,
               vocab);
    }
}
