/* One pass of a pre-norm decoder (RMSNorm, RoPE, SwiGLU, grouped-query attention) over a list of tokens.
 *
 * Weights are float32, bfloat16 or codes of 8 or 4 bits, see `matmul.h`; all else is float32. Where the processor
 * multiplies bfloat16 and `Model.rounds` is set, what such weights are multiplied with is rounded to that; the sums
 * are not.
 *
 * A token is an id, the row of the table of blocks that says where its sequence lies in the cache, its position and
 * its adapter; tokens of a row come in order. So the same code decodes one token of each of many sequences and reads
 * whole prompts, without padding. What a token gives depends on nothing but its own sequence, bit for bit.
 */
#include "vectors.h"

#include "team.h"

#include "matmul.h"

#include "draw.h"

enum { BLOCK_TOKENS = 128, QUERIES = TILE_ROWS / 2, LINE = 16 /* floats in what the processor fetches at once */ };

typedef struct {
    const float *input_norm;
    Matrix q, k, v;
    const float *qkv_bias, *q_norm, *k_norm; /* absent where the family has none */
    Matrix attention_out;
    const float *mlp_norm;
    Matrix gate, up, mlp_out;
} Layer;

/* A thin update of one linear layer: up (down x); absent where `down` is null. */
typedef struct {
    const float *down, *up; /* (rank, in), (rank, out); the scale is part of `up` */
    int64_t rank;
} Update;

enum { Q, K, V, ATTENTION_OUT, GATE, UP, MLP_OUT, LINEARS };

typedef struct {
    int64_t d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff, vocab_size;
    int64_t n_blocks, block_size; /* of the cache, see `Pages`: (n_layers, n_kv_heads, n_blocks) blocks */
    int64_t max_seq_len;
    int64_t rounds;
    int64_t group; /* numbers that share a step where weights are codes; 0 where none are */
    int64_t embedding_form;
    float norm_eps;
    const void *embedding; /* (vocab_size, d_model) */
    const float *embedding_scales, *norm;
    const Layer *layers;
    Matrix lm_head;
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

/* Keys and values of one head of one sequence: those of position t lie in block `blocks[t / block_size]`. Values lie one
 * position after the other; of keys a block holds the first number of all its positions, then the second, and so on,
 * so that what a query makes of many positions is found without adding across a vector. */
typedef struct {
    const float *keys, *values;
    const int32_t *blocks;
} Pages;

/* One head's queries of tokens that follow one another: what is read for one serves all. */
typedef struct {
    const float *x; /* (queries, stride) */
    int64_t stride, weights_stride, out_stride;
    int64_t seen; /* positions that the first of them sees; each further one sees one more */
} Queries;

/* What queries make of `count` vectors of positions of a block; `after` is fetched meanwhile: a cache of many rows
 * does not fit near the processor. What one query gives does not depend on how many there are. */
INLINE void score(int queries, int count, Queries q, const float *keys, const float *after, int64_t block_size,
                  int64_t head_dim, float scale, float *weights) {
    vec even[QUERIES][VECTORS] = {}, odd[QUERIES][VECTORS] = {};
    for (int64_t i = 0; i < head_dim; i += 2, keys += 2 * block_size, after += 2 * block_size)
        for (int j = 0; j < count; j++) {
            __builtin_prefetch(after + j * LANES, 0, 2);
            __builtin_prefetch(after + block_size + j * LANES, 0, 2);
            vec first = load(keys + j * LANES), second = load(keys + block_size + j * LANES);
            for (int r = 0; r < queries; r++) {
                even[r][j] += q.x[r * q.stride + i] * first;
                odd[r][j] += q.x[r * q.stride + i + 1] * second;
            }
        }
    for (int r = 0; r < queries; r++)
        for (int j = 0; j < count; j++)
            store(weights + r * q.weights_stride + j * LANES, (even[r][j] + odd[r][j]) * scale);
}

/* Add `count` positions' values, an even number, by the queries' weights; `n` vectors of each. */
INLINE void mix(int queries, int n, int64_t count, const float *w, int64_t w_stride, const float *values,
                const float *after, int64_t head_dim, vec even[QUERIES][4], vec odd[QUERIES][4]) {
    for (int64_t t = 0; t < count; t += 2, values += 2 * head_dim, after += 2 * head_dim)
        for (int i = 0; i < n; i++) {
            __builtin_prefetch(after + i * LANES, 0, 2);
            __builtin_prefetch(after + head_dim + i * LANES, 0, 2);
            vec first = load(values + i * LANES), second = load(values + head_dim + i * LANES);
            for (int r = 0; r < queries; r++) {
                even[r][i] += w[r * w_stride + t] * first;
                odd[r][i] += w[r * w_stride + t + 1] * second;
            }
        }
}

/* `n` vectors, from number `i` on, of the values' means by the queries' weights. */
INLINE void average(int queries, int n, int64_t i, Queries q, Pages p, Pages next, int64_t block_size,
                    int64_t head_dim, const float *weights, const float *shares, float *out) {
    vec even[QUERIES][4] = {}, odd[QUERIES][4] = {};
    int64_t block_floats = block_size * head_dim, common = q.seen & ~(int64_t)1;
    for (int64_t start = 0, b = 0; start < common; start += block_size, b++) {
        int64_t left = common - start;
        mix(queries, n, left < block_size ? left : block_size, weights + start, q.weights_stride,
            p.values + p.blocks[b] * block_floats + i, next.values + next.blocks[b] * block_floats + i, head_dim, even,
            odd);
    }
    for (int r = 0; r < queries; r++) {
        for (int64_t t = common; t < q.seen + r; t++) {
            const float *values = p.values + p.blocks[t / block_size] * block_floats + t % block_size * head_dim + i;
            vec *sums = t % 2 ? odd[r] : even[r];
            for (int j = 0; j < n; j++) sums[j] += weights[r * q.weights_stride + t] * load(values + j * LANES);
        }
        for (int j = 0; j < n; j++) store(out + r * q.out_stride + i + j * LANES, (even[r][j] + odd[r][j]) * shares[r]);
    }
}

/* Turn the products of a query with n keys into weights; returns one over their sum. */
static float soften(float *weights, int64_t n) {
    for (int64_t t = n; t % LANES; t++) weights[t] = -INFINITY;
    vec highest_of = (vec){} - INFINITY;
    for (int64_t t = 0; t < n; t += LANES) {
        vec w = load(weights + t);
        ivec higher = w > highest_of;
        highest_of = (vec)(((ivec)w & higher) | ((ivec)highest_of & ~higher));
    }
    float highest = -INFINITY;
    for (int j = 0; j < LANES; j++) highest = highest_of[j] > highest ? highest_of[j] : highest;
    vec totals = {};
    for (int64_t t = 0; t < n; t += LANES) {
        vec w = exponential(load(weights + t) - highest);
        store(weights + t, w);
        totals += w;
    }
    return 1.0f / sum(totals);
}

/* For each query the values' mean, weighted by the softmax of its products with the keys; head_dim and block_size are
 * whole vectors. `next` is what the next head needs. */
INLINE void attend(int queries, Queries q, Pages p, Pages next, int64_t block_size, int64_t head_dim, float *weights,
                   float *out) {
    float scale = 1.0f / sqrtf((float)head_dim), shares[QUERIES];
    int64_t block_floats = block_size * head_dim, n = q.seen + queries - 1;
    for (int64_t start = 0, b = 0; start < n; start += block_size, b++) {
        const float *keys = p.keys + p.blocks[b] * block_floats, *after = next.keys + next.blocks[b] * block_floats;
        int64_t end = round_up(n - start < block_size ? n - start : block_size, LANES), t = 0;
        for (; t + PANEL <= end; t += PANEL)
            score(queries, VECTORS, q, keys + t, after + t, block_size, head_dim, scale, weights + start + t);
        for (; t < end; t += LANES)
            score(queries, 1, q, keys + t, after + t, block_size, head_dim, scale, weights + start + t);
    }
    for (int r = 0; r < queries; r++) shares[r] = soften(weights + r * q.weights_stride, q.seen + r);
    int64_t i = 0;
    enum { MANY = 16 / QUERIES / 2 };
    if (queries == 1)
        for (; i + 4 * LANES <= head_dim; i += 4 * LANES)
            average(1, 4, i, q, p, next, block_size, head_dim, weights, shares, out);
    for (; i + MANY * LANES <= head_dim; i += MANY * LANES)
        average(queries, MANY, i, q, p, next, block_size, head_dim, weights, shares, out);
    for (; i < head_dim; i += LANES)
        average(queries, 1, i, q, p, next, block_size, head_dim, weights, shares, out);
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
    int64_t inside = position % m->block_size, block = p.blocks[position / m->block_size] * m->block_size * d;
    for (int64_t h = 0; h < m->n_kv_heads; h++, block += head) {
        const float *k = qkv + (m->n_heads + h) * d;
        for (int64_t i = 0; i < d; i++) ((float *)p.keys)[block + i * m->block_size + inside] = k[i];
        memcpy((float *)p.values + block + inside * d, k + m->n_kv_heads * d, d * sizeof(float));
    }
}

/* Where a call works; rows are padded by one vector, so that a width which is a power of two does not put every row
 * into the same set of the processor's cache. */
typedef struct {
    int64_t x_stride, wide_stride;
    float *x, *wide;    /* BLOCK_TOKENS rows: residual stream, what a matrix wrote */
    Rows h, gated;      /* what a matrix reads: the first lies beside x, the second in `wide` */
    float *weights;     /* of each member's QUERIES queries, max_seq_len rounded up to vectors */
    int64_t weights_stride;
    int64_t size; /* floats in all */
} Room;

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* The next n floats of what is being laid out; null while only its size is asked for. */
static float *reserve(float *scratch, int64_t *size, int64_t n) {
    float *found = scratch ? scratch + *size : 0;
    *size += round_up(n, LINE);
    return found;
}

static Room lay_out(const Model *m, int64_t n_members, float *scratch) {
    int64_t q_width = m->n_heads * m->head_dim, qkv_width = q_width + 2 * m->n_kv_heads * m->head_dim;
    int64_t narrow = round_up(larger(larger(q_width, m->d_model), m->d_ff), PANEL) + 2 * LANES;
    int64_t n_groups = m->group ? narrow / m->group + 1 : 0;
    Room w = {.x_stride = round_up(larger(q_width, m->d_model), PANEL) + LANES,
              .wide_stride = larger(round_up(qkv_width, PANEL), 2 * round_up(m->d_ff, PANEL)) + LANES,
              .weights_stride = round_up(m->max_seq_len, LANES) + LINE};
    w.x = reserve(scratch, &w.size, BLOCK_TOKENS * w.x_stride);
    w.wide = reserve(scratch, &w.size, BLOCK_TOKENS * w.wide_stride);
    w.weights = reserve(scratch, &w.size, n_members * QUERIES * w.weights_stride);
    w.h = (Rows){.x = reserve(scratch, &w.size, BLOCK_TOKENS * w.x_stride),
                 .stride = w.x_stride,
                 .narrow_stride = narrow,
                 .group = m->group,
                 .n_groups = n_groups};
    if (m->rounds) w.h.bf16 = (uint16_t *)reserve(scratch, &w.size, BLOCK_TOKENS * narrow / 2);
    if (m->group) {
        w.h.codes = (int16_t *)reserve(scratch, &w.size, BLOCK_TOKENS * narrow / 2);
        w.h.steps = reserve(scratch, &w.size, BLOCK_TOKENS * n_groups);
        w.h.totals = (int32_t *)reserve(scratch, &w.size, BLOCK_TOKENS * n_groups);
    }
    w.gated = w.h;
    w.gated.x = w.wide;
    w.gated.stride = w.wide_stride;
    return w;
}

/* How many floats a call of `forward` needs to work in. */
int64_t scratch_size(const Model *m, int64_t n_members) { return lay_out(m, n_members, 0).size; }

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

/* What a call runs: at most BLOCK_TOKENS tokens. */
typedef struct {
    const Model *m;
    const Tokens *tokens;
    int64_t n;
    Room w;
    float *logits;
    int64_t n_runs, runs[BLOCK_TOKENS + 1]; /* where each run of tokens that attend together begins; the end */
} Pass;

/* Phases: first EMBED, then those from NORM_INPUT to MLP_OUT for each layer, at the end NORM_LAST and LM_HEAD. The
 * items of products are panels, those of ATTEND the heads of each run, all others have one for each token. */
enum {
    NORM_INPUT, MULTIPLY_QKV, FINISH_QKV, ATTEND, PREPARE_OUT, MULTIPLY_OUT, NORM_MLP, MULTIPLY_GATE_UP, FINISH_GATE,
    MULTIPLY_MLP_OUT, LAYER_PHASES,
    EMBED = LAYER_PHASES, NORM_LAST, MULTIPLY_LOGITS
};

static void embed(const Model *m, int64_t id, float *x) {
    int64_t d = m->d_model;
    const float *plain = (const float *)m->embedding + id * d;
    const uint16_t *bf16 = (const uint16_t *)m->embedding + id * d;
    const int8_t *codes = (const int8_t *)m->embedding + id * d;
    if (m->embedding_form == FLOAT32)
        memcpy(x, plain, d * sizeof(float));
    else if (m->embedding_form == BFLOAT16)
        for (int64_t i = 0; i < d; i++) x[i] = widened(bf16[i]);
    else
        for (int64_t i = 0; i < d; i++) x[i] = (float)codes[i] * m->embedding_scales[id];
}

/* What an adapter adds to what the products named `which` gave, then a norm of the residual stream. */
static void normalise_row(const Pass *p, int64_t i, const float *norm, int64_t layer, int which) {
    const Model *m = p->m;
    float *x = p->w.x + i * p->w.x_stride, *h = p->w.h.x + i * p->w.x_stride;
    if (which == ATTENTION_OUT) update(p->tokens, i, layer, which, h, m->n_heads * m->head_dim, x, m->d_model);
    if (which == MLP_OUT && layer >= 0)
        update(p->tokens, i, layer, which, p->w.wide + i * p->w.wide_stride, m->d_ff, x, m->d_model);
    rms_norm(x, norm, m->d_model, m->norm_eps, h);
    prepare(&p->w.h, i, m->d_model);
}

/* The bias and what an adapter adds to one token's queries, keys and values, which then are `enter`ed. */
static void finish_qkv(const Pass *p, int64_t layer, int64_t i) {
    const Model *m = p->m;
    const Layer *l = m->layers + layer;
    int64_t q_width = m->n_heads * m->head_dim, kv_width = m->n_kv_heads * m->head_dim;
    float *x = p->w.h.x + i * p->w.x_stride, *qkv = p->w.wide + i * p->w.wide_stride;
    for (int64_t j = 0; l->qkv_bias && j < q_width + 2 * kv_width; j++) qkv[j] += l->qkv_bias[j];
    update(p->tokens, i, layer, Q, x, m->d_model, qkv, q_width);
    update(p->tokens, i, layer, K, x, m->d_model, qkv + q_width, kv_width);
    update(p->tokens, i, layer, V, x, m->d_model, qkv + q_width + kv_width, kv_width);
    enter(m, l, qkv, p->tokens->positions[i], pages_of(m, layer, p->tokens, i));
}

/* Divide tokens into runs of at most QUERIES that follow one another in a sequence. */
static void divide(Pass *p) {
    const Tokens *t = p->tokens;
    for (int64_t i = 0; i < p->n; i++) {
        int follows = i && t->rows[i] == t->rows[i - 1] && t->positions[i] == t->positions[i - 1] + 1;
        if (!follows || i - p->runs[p->n_runs - 1] == QUERIES) p->runs[p->n_runs++] = i;
    }
    p->runs[p->n_runs] = p->n;
}

/* One head of one run of tokens; `next` is the item that this member is likely to do then. */
static void attend_run(const Pass *p, int64_t layer, int64_t item, int64_t next, float *weights) {
    const Model *m = p->m;
    int64_t d = m->head_dim, head = m->n_blocks * m->block_size * d, group = m->n_heads / m->n_kv_heads;
    int64_t first = p->runs[item / m->n_heads], end = p->runs[item / m->n_heads + 1], h = item % m->n_heads;
    int64_t here = h / group * head, after = next % m->n_heads / group * head;
    Pages row = pages_of(m, layer, p->tokens, first);
    Pages next_row = pages_of(m, layer, p->tokens, p->runs[next / m->n_heads]);
    row.keys += here, row.values += here, next_row.keys += after, next_row.values += after;
    for (int64_t i = first; i < end; i += end - first == QUERIES ? QUERIES : 1) {
        Queries q = {p->w.wide + i * p->w.wide_stride + h * d, p->w.wide_stride, p->w.weights_stride, p->w.x_stride,
                     p->tokens->positions[i] + 1};
        float *out = p->w.h.x + i * p->w.x_stride + h * d;
        if (end - first == QUERIES)
            attend(QUERIES, q, row, next_row, m->block_size, d, weights, out);
        else
            attend(1, q, row, next_row, m->block_size, d, weights, out);
    }
}

/* What an adapter adds to one token's gate and up, and the product of up with SiLU of the gate. */
static void gate(const Pass *p, int64_t layer, int64_t i) {
    const Model *m = p->m;
    float *x = p->w.h.x + i * p->w.x_stride, *gate = p->w.wide + i * p->w.wide_stride;
    float *up = gate + round_up(m->d_ff, PANEL);
    update(p->tokens, i, layer, GATE, x, m->d_model, gate, m->d_ff);
    update(p->tokens, i, layer, UP, x, m->d_model, up, m->d_ff);
    for (int64_t j = 0; j < m->d_ff; j += LANES) {
        vec g = load(gate + j);
        store(gate + j, g / (1.0f + exponential(-g)) * load(up + j));
    }
    prepare(&p->w.gated, i, m->d_ff);
}

/* The kind of a phase, and its layer. */
static int kind_of(const Pass *p, int64_t phase, int64_t *layer) {
    int64_t n_layers = p->m->n_layers;
    *layer = (phase - 1) / LAYER_PHASES;
    if (phase == 0) return EMBED;
    if (*layer < n_layers) return (int)((phase - 1) % LAYER_PHASES);
    *layer = n_layers - 1;
    return phase == 1 + n_layers * LAYER_PHASES ? NORM_LAST : MULTIPLY_LOGITS;
}

static int64_t n_of_phase(const void *job, int64_t phase) {
    const Pass *p = job;
    int64_t layer;
    int kind = kind_of(p, phase, &layer);
    const Layer *l = p->m->layers + layer;
    switch (kind) {
    case MULTIPLY_QKV: return n_panels(&l->q) + n_panels(&l->k) + n_panels(&l->v);
    case ATTEND: return p->n_runs * p->m->n_heads;
    case MULTIPLY_OUT: return n_panels(&l->attention_out);
    case MULTIPLY_GATE_UP: return n_panels(&l->gate) + n_panels(&l->up);
    case MULTIPLY_MLP_OUT: return n_panels(&l->mlp_out);
    case MULTIPLY_LOGITS: return n_panels(&p->m->lm_head);
    default: return p->n;
    }
}

static void multiply_some(const Pass *p, int kind, const Layer *l, int64_t panel) {
    const Model *m = p->m;
    const Room *w = &p->w;
    int64_t q_width = m->n_heads * m->head_dim, kv_width = m->n_kv_heads * m->head_dim;
    Product qkv[] = {{&l->q, w->wide}, {&l->k, w->wide + q_width}, {&l->v, w->wide + q_width + kv_width}};
    Product gate_up[] = {{&l->gate, w->wide}, {&l->up, w->wide + round_up(m->d_ff, PANEL)}};
    Product out = {&l->attention_out, w->x}, mlp_out = {&l->mlp_out, w->x}, logits = {&m->lm_head, p->logits};
    switch (kind) {
    case MULTIPLY_QKV: multiply_panel(&w->h, p->n, qkv, panel, w->wide_stride, 0); break;
    case MULTIPLY_OUT: multiply_panel(&w->h, p->n, &out, panel, w->x_stride, 1); break;
    case MULTIPLY_GATE_UP: multiply_panel(&w->h, p->n, gate_up, panel, w->wide_stride, 0); break;
    case MULTIPLY_MLP_OUT: multiply_panel(&w->gated, p->n, &mlp_out, panel, w->x_stride, 1); break;
    default: multiply_panel(&w->h, p->n, &logits, panel, m->vocab_size, 0);
    }
}

static void run_item(const void *job, int64_t phase, int64_t item, int64_t next, int64_t member) {
    const Pass *p = job;
    const Model *m = p->m;
    int64_t layer;
    int kind = kind_of(p, phase, &layer);
    const Layer *l = m->layers + layer;
    switch (kind) {
    case EMBED: embed(m, p->tokens->ids[item], p->w.x + item * p->w.x_stride); break;
    case NORM_INPUT: normalise_row(p, item, l->input_norm, layer - 1, MLP_OUT); break;
    case FINISH_QKV: finish_qkv(p, layer, item); break;
    case ATTEND: attend_run(p, layer, item, next, p->w.weights + member * QUERIES * p->w.weights_stride); break;
    case PREPARE_OUT: prepare(&p->w.h, item, m->n_heads * m->head_dim); break;
    case NORM_MLP: normalise_row(p, item, l->mlp_norm, layer, ATTENTION_OUT); break;
    case FINISH_GATE: gate(p, layer, item); break;
    case NORM_LAST: normalise_row(p, item, m->norm, layer, MLP_OUT); break;
    default: multiply_some(p, kind, l, item);
    }
}

/* Read n tokens; with `logits`, (n, vocab_size), also say what follows each of them. */
void forward(const Model *m, const Tokens *all, int64_t n, float *scratch, float *logits, Team *team) {
    Room w = lay_out(m, team->n, scratch);
    int64_t n_phases = 1 + m->n_layers * LAYER_PHASES + (logits ? 2 : 0);
    for (int64_t start = 0; start < n; start += BLOCK_TOKENS) {
        int64_t count = n - start < BLOCK_TOKENS ? n - start : BLOCK_TOKENS;
        Tokens tokens = {all->ids + start, all->rows + start, all->positions + start,
                         all->updates ? all->updates + start : 0, all->tables, all->table_width};
        Pass p = {m, &tokens, count, w, logits ? logits + start * m->vocab_size : 0, 0, {0}};
        divide(&p);
        together(team, (Call){n_phases, n_of_phase, run_item, &p});
    }
}
