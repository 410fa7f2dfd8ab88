/* From logits to tokens: one row for each draw, and how likely the model held what was drawn. */

/* How one token is drawn, and from what. */
typedef struct {
    const float *logits;  /* (vocab_size,) */
    const float *offsets; /* added to them, or null */
    float uniform;        /* in [0, 1); decides the token */
    float temperature;    /* 0 takes the likeliest */
    float top_p, min_p;   /* 1 and 0 are no limit */
    int64_t top_k;        /* 0 is no limit */
    const uint32_t *allowed; /* (vocab_size / 32 rounded up,), a bit for each token that may come, or null */
} Wish;

typedef struct {
    float weight;
    int32_t id;
} Candidate;

/* The largest of x + offsets. */
static float maximum(const float *x, const float *offsets, int64_t n) {
    vec highest = (vec){} - INFINITY;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec v = offsets ? load(x + i) + load(offsets + i) : load(x + i);
        ivec higher = v > highest;
        highest = (vec)(((ivec)v & higher) | ((ivec)highest & ~higher));
    }
    float found = -INFINITY;
    for (int j = 0; j < LANES; j++) found = highest[j] > found ? highest[j] : found;
    for (; i < n; i++) {
        float v = offsets ? x[i] + offsets[i] : x[i];
        found = v > found ? v : found;
    }
    return found;
}

/* The sum of e^((x + offsets - highest) / temperature), each of which goes into `weights` if that is not null. */
static float softmax_weights(const float *x, const float *offsets, int64_t n, float highest, float temperature,
                             float *weights) {
    vec totals = {};
    float rest = 0, share = 1.0f / temperature;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec v = offsets ? load(x + i) + load(offsets + i) : load(x + i);
        vec w = exponential((v - highest) * share);
        if (weights) store(weights + i, w);
        totals += w;
    }
    for (; i < n; i++) {
        float w = expf(((offsets ? x[i] + offsets[i] : x[i]) - highest) * share);
        if (weights) weights[i] = w;
        rest += w;
    }
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

static int before(Candidate a, Candidate b) { return a.weight > b.weight || (a.weight == b.weight && a.id < b.id); }

static void sift(Candidate *heap, int64_t n, int64_t i) {
    Candidate moved = heap[i];
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], moved)) break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

/* Those whose weight is at least `lowest`, in the order of their ids. */
static int64_t gather(const float *weights, int64_t n, float lowest, Candidate *found) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        found[count] = (Candidate){weights[i], (int32_t)i};
        count += weights[i] >= lowest;
    }
    return count;
}

/* Few tokens hold most of what there is: those above a bound that surely include what `top_k` or `top_p` keep. */
static int64_t gather_enough(const float *weights, int64_t n, const Wish *wish, float total, Candidate *found) {
    for (float lowest = 0x1p-6f; lowest > 0x1p-40f; lowest *= 0x1p-8f) {
        int64_t count = gather(weights, n, lowest, found);
        float mass = 0;
        for (int64_t i = 0; i < count; i++) mass += found[i].weight;
        int enough = mass >= wish->top_p * total || lowest <= wish->min_p;
        if (wish->top_k ? count >= wish->top_k : enough) return count;
    }
    return gather(weights, n, 0x1p-149f, found);
}

/* A token among the likeliest: first the `top_k`, of those as many as hold `top_p` of their sum, of those all at
 * least `min_p` times as likely as the likeliest, whose weight is 1. `room` is for 2 n candidates. */
static int64_t locate_truncated(const float *weights, int64_t n, const Wish *wish, float total, Candidate *room) {
    Candidate *heap = room, *kept = room + n;
    int64_t size = gather_enough(weights, n, wish, total, heap), count = 0, end = 0;
    for (int64_t i = size / 2; i-- > 0;) sift(heap, size, i);
    float sum = 0, mass = total, among = 0;
    while (size && (!wish->top_k || count < wish->top_k)) {
        if (!wish->top_k && count && (sum >= wish->top_p * total || heap[0].weight < wish->min_p)) break;
        kept[count] = heap[0];
        sum += kept[count++].weight;
        heap[0] = heap[--size];
        sift(heap, size, 0);
    }
    if (wish->top_k) mass = sum;
    for (sum = 0; end < count && (!end || sum < wish->top_p * mass) && kept[end].weight >= wish->min_p; end++)
        sum += kept[end].weight;
    float target = wish->uniform * sum;
    for (int64_t i = 0; i < end; i++)
        if ((among += kept[i].weight) > target) return kept[i].id;
    return end ? kept[end - 1].id : -1;
}

/* Logits with their offsets, -inf for what is not allowed. */
static void admit(const Wish *wish, int64_t n, float *admitted) {
    for (int64_t start = 0; start < n; start += 32) {
        uint32_t bits = wish->allowed[start / 32];
        int64_t size = n - start < 32 ? n - start : 32;
        for (int64_t i = 0; i < size; i++) {
            float v = wish->logits[start + i] + (wish->offsets ? wish->offsets[start + i] : 0);
            admitted[start + i] = bits >> i & 1 ? v : -INFINITY;
        }
    }
}

/* How many floats a call of `draw` needs to work in. */
int64_t draw_scratch_size(int64_t vocab_size, int64_t n_members) { return n_members * (6 * vocab_size + PANEL); }

/* A call of one phase with an item for each row. */
typedef struct {
    const float *logits; /* (n, vocab_size), or a wish for each row */
    const Wish *wishes;
    int64_t n, vocab_size;
    float *highest, *log_sums; /* (n,), what `normalise` finds */
    float *scratch;
    int64_t *ids; /* (n,), as the log-probabilities */
    float *logprobs;
} Rating;

static int64_t n_rated(const void *job, int64_t phase) { return phase ? 0 : ((const Rating *)job)->n; }

static void normalise_one(const void *job, int64_t phase, int64_t row, int64_t next, int64_t member) {
    const Rating *r = job;
    const float *logits = r->logits + row * r->vocab_size;
    (void)phase, (void)next, (void)member;
    r->highest[row] = maximum(logits, 0, r->vocab_size);
    r->log_sums[row] = logf(softmax_weights(logits, 0, r->vocab_size, r->highest[row], 1.0f, 0));
}

/* Highest logit of each row and the logarithm of the sum of e^(logit - highest): log p(i) = logit - highest - log_sum. */
void normalise(const float *logits, int64_t n, int64_t vocab_size, float *highest, float *log_sums, Team *team) {
    Rating r = {.logits = logits, .n = n, .vocab_size = vocab_size, .highest = highest, .log_sums = log_sums};
    together(team, (Call){1, n_rated, normalise_one, &r});
}

static void draw_one(const void *job, int64_t phase, int64_t row, int64_t next, int64_t member) {
    const Rating *r = job;
    int64_t vocab_size = r->vocab_size, id = 0;
    float *weights = r->scratch + member * draw_scratch_size(vocab_size, 1);
    Candidate *room = (Candidate *)(weights + vocab_size + PANEL);
    const Wish *wish = r->wishes + row;
    const float *x = wish->logits, *offsets = wish->offsets;
    if (wish->allowed) {
        float *admitted = (float *)(room + 2 * vocab_size);
        admit(wish, vocab_size, admitted);
        x = admitted, offsets = 0;
    }
    int greedy = wish->temperature == 0;
    float temperature = greedy ? 1.0f : wish->temperature, highest = maximum(x, offsets, vocab_size);
    float total = softmax_weights(x, offsets, vocab_size, highest, temperature, weights);
    (void)phase, (void)next;
    if (!(highest > -INFINITY)) {
        id = -1;
    } else if (greedy) {
        while ((offsets ? x[id] + offsets[id] : x[id]) < highest) id++;
    } else if (wish->top_k || wish->top_p < 1 || wish->min_p > 0) {
        id = locate_truncated(weights, vocab_size, wish, total, room);
    } else {
        id = locate(weights, vocab_size, wish->uniform * total);
    }
    r->ids[row] = id;
    r->logprobs[row] = id < 0 ? -INFINITY
                              : ((offsets ? x[id] + offsets[id] : x[id]) - highest) / temperature - logf(total);
}

/* Draw a token for each wish, as `choose` does; -1 where nothing may be drawn.
 *
 * The log-probability of each is at its temperature, 1 if that is 0, over the whole vocabulary, offsets included. */
void draw(const Wish *wishes, int64_t n, int64_t vocab_size, float *scratch, int64_t *ids, float *logprobs, Team *team) {
    Rating r = {.wishes = wishes, .n = n, .vocab_size = vocab_size, .scratch = scratch, .ids = ids, .logprobs = logprobs};
    together(team, (Call){1, n_rated, draw_one, &r});
}
