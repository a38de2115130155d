/* Attention over rows of unlike length. */

#include "vectors.h"

#include <math.h>
#include <stdlib.h>

/* n numbers, a multiple of LANES; half: bfloat16. */
static inline void read_row(float *to, const void *from, int64_t at, int64_t n, int half, float factor) {
    for (int64_t i = 0; i < n; i += LANES) {
        floats x = half ? widened((const uint16_t *)from + at + i) : loaded((const float *)from + at + i);
        stored(to + i, x * factor);
    }
}

static inline void write_row(void *to, int64_t at, const float *from, int64_t n, int half, float factor) {
    for (int64_t i = 0; i < n; i += LANES) {
        floats x = loaded(from + i) * factor;
        if (half) narrowed((uint16_t *)to + at + i, x);
        else stored((float *)to + at + i, x);
    }
}

/* Where the numbers of a product are that count: in causal attention half of them do not. */
typedef enum {
    ALL,
    LEFT_OF_DIAGONAL, /* c[i, j] is asked for where j <= i; behind the vector of that place nothing is written */
    LOWER, /* a[i, l] is 0 where l > i */
    UPPER, /* a[i, l] is 0 where l < i */
} part;

/* c[m, n] = a[m, k] b[k, n]; a's element (i, j) is a[i * row + j * column], n is a multiple of LANES. */
static void product(part asked, int64_t m, int64_t n, int64_t k, const float *a, int64_t row, int64_t column,
                    const float *b, int64_t ldb, float *c, int64_t ldc) {
    int64_t i = 0;
    for (; i + 4 <= m; i += 4) {
        int64_t from = asked == UPPER ? i : 0, to = asked == LOWER ? i + 4 : k, j = 0;
        int64_t end = asked == LEFT_OF_DIAGONAL ? whole(i + 4) : n;
        for (; j + 2 * LANES <= end; j += 2 * LANES) {
            floats s[4][2] = {{{0}}};
            for (int64_t l = from; l < to; l++) {
                floats left = loaded(b + l * ldb + j), right = loaded(b + l * ldb + j + LANES);
                for (int r = 0; r < 4; r++) {
                    float factor = a[(i + r) * row + l * column];
                    s[r][0] += factor * left;
                    s[r][1] += factor * right;
                }
            }
            for (int r = 0; r < 4; r++) {
                stored(c + (i + r) * ldc + j, s[r][0]);
                stored(c + (i + r) * ldc + j + LANES, s[r][1]);
            }
        }
        for (; j < end; j += LANES) {
            floats s[4] = {{0}};
            for (int64_t l = from; l < to; l++) {
                floats left = loaded(b + l * ldb + j);
                for (int r = 0; r < 4; r++) s[r] += a[(i + r) * row + l * column] * left;
            }
            for (int r = 0; r < 4; r++) stored(c + (i + r) * ldc + j, s[r]);
        }
    }
    for (; i < m; i++) {
        int64_t from = asked == UPPER ? i : 0, to = asked == LOWER ? i + 1 : k;
        int64_t end = asked == LEFT_OF_DIAGONAL ? whole(i + 1) : n;
        for (int64_t j = 0; j < end; j += LANES) {
            floats s = {0};
            for (int64_t l = from; l < to; l++) s += a[i * row + l * column] * loaded(b + l * ldb + j);
            stored(c + i * ldc + j, s);
        }
    }
}

/* to[width, ld] = from[count, width] turned; columns from count to ld are 0. */
static void turned(float *to, int64_t ld, const float *from, int64_t count, int64_t width) {
    memset(to, 0, sizeof(float) * width * ld);
    for (int64_t i = 0; i < count; i++)
        for (int64_t d = 0; d < width; d++) to[d * ld + i] = from[i * width + d];
}

typedef struct {
    const void *q, *k, *v; /* [tokens, heads * width], key and value [tokens, groups * width] */
    int64_t q_line, k_line, v_line; /* numbers from one token to the next */
    const int64_t *starts, *lengths; /* [rows] where a row begins, and its tokens */
    int64_t rows, heads, groups, width;
    float scaling;
    int causal, half;
    uint32_t threshold; /* of dropout: 2^32 times the probability to stay; 0: no dropout */
    float factor; /* what makes up for it */
    uint64_t seed;
    int64_t d_q_line, d_k_line, d_v_line; /* of the gradients */
} attention;

/* NULL where there is no memory. */
static float *scratch(int64_t numbers) { return aligned_alloc(64, whole(numbers) * sizeof(float)); }

/* The numbers that a token sees of a row of scores end here; what follows in their last vector is made to count
   nothing. */
static inline int64_t seen_of(float *row, int64_t i, int64_t length, int causal) {
    int64_t seen = causal ? i + 1 : length, end = whole(seen);
    for (int64_t j = seen; j < end; j++) row[j] = -INFINITY;
    return end;
}

/* Scores become probabilities, row by row; where a token does not see they are 0 as far as its last vector goes. norms:
   the greatest score of each row and its sum of exp(score - greatest), for backward; not the log of both together, which
   loses the sum beside large scores. A row of scores that are all -infinity attends to nothing, as in torch. */
static void softmax(float *s, int64_t length, int64_t ld, int causal, float *norms, int64_t line) {
    for (int64_t i = 0; i < length; i++) {
        float *row = s + i * ld;
        int64_t end = seen_of(row, i, length, causal);
        floats most = loaded(row), total = {0};
        for (int64_t j = LANES; j < end; j += LANES) most = greater(most, loaded(row + j));
        float top = greatest(most);
        int nothing = top == -INFINITY;
        if (nothing) top = 0;
        for (int64_t j = 0; j < end; j += LANES) {
            floats x = exponential(loaded(row + j) - top);
            stored(row + j, x);
            total += x;
        }
        float sum = nothing ? 1 : sum_of(total), share = 1 / sum;
        for (int64_t j = 0; j < end; j += LANES) stored(row + j, loaded(row + j) * share);
        norms[i * line] = top;
        norms[i * line + 1] = sum;
    }
}

static void forward_one(const attention *a, int64_t row, int64_t head, void *out, float *norms, float *space) {
    int64_t start = a->starts[row], n = a->lengths[row], ld = whole(n), w = a->width;
    int64_t group = head / (a->heads / a->groups);
    float *q = space, *v = q + n * w, *turn = v + n * w, *s = turn + w * ld, *o = s + n * ld;
    for (int64_t i = 0; i < n; i++) read_row(q + i * w, a->k, (start + i) * a->k_line + group * w, w, a->half, 1);
    turned(turn, ld, q, n, w);
    for (int64_t i = 0; i < n; i++) {
        read_row(q + i * w, a->q, (start + i) * a->q_line + head * w, w, a->half, a->scaling);
        read_row(v + i * w, a->v, (start + i) * a->v_line + group * w, w, a->half, 1);
    }
    product(a->causal ? LEFT_OF_DIAGONAL : ALL, n, ld, w, q, w, 1, turn, ld, s, ld);
    softmax(s, n, ld, a->causal, norms + 2 * (start * a->heads + head), 2 * a->heads);
    for (int64_t i = 0; a->threshold && i < n; i++) {
        uint32_t key = key_of(a->seed, (start + i) * a->heads + head);
        for (int64_t j = 0; j < (a->causal ? whole(i + 1) : ld); j += LANES)
            stored(s + i * ld + j, chosen(loaded(s + i * ld + j), kept(key, j, a->threshold)));
    }
    product(a->causal ? LOWER : ALL, n, w, n, s, ld, 1, v, w, o, w);
    for (int64_t i = 0; i < n; i++)
        write_row(out, (start + i) * a->heads * w + head * w, o + i * w, w, a->half, a->factor);
}

/* Gradients of one key head: all query heads of its group, so that nobody else adds to them. */
static void backward_one(const attention *a, int64_t row, int64_t group, const float *norms, const void *d_out,
                         void *d_q, void *d_k, void *d_v, float *space) {
    int64_t start = a->starts[row], n = a->lengths[row], ld = whole(n), w = a->width, each = a->heads / a->groups;
    float *k = space, *v = k + n * w, *k_turn = v + n * w, *v_turn = k_turn + w * ld, *q = v_turn + w * ld;
    float *g = q + n * w, *s = g + n * w, *p = s + n * ld, *one = p + n * ld, *sum_k = one + n * w, *sum_v = sum_k + n * w;
    for (int64_t i = 0; i < n; i++) {
        read_row(k + i * w, a->k, (start + i) * a->k_line + group * w, w, a->half, 1);
        read_row(v + i * w, a->v, (start + i) * a->v_line + group * w, w, a->half, a->factor);
    }
    turned(k_turn, ld, k, n, w);
    turned(v_turn, ld, v, n, w);
    memset(sum_k, 0, sizeof(float) * 2 * n * w);
    part scores = a->causal ? LEFT_OF_DIAGONAL : ALL, by_query = a->causal ? LOWER : ALL, by_key = a->causal ? UPPER : ALL;
    for (int64_t head = group * each; head < (group + 1) * each; head++) {
        for (int64_t i = 0; i < n; i++) {
            read_row(q + i * w, a->q, (start + i) * a->q_line + head * w, w, a->half, a->scaling);
            read_row(g + i * w, d_out, (start + i) * a->heads * w + head * w, w, a->half, 1);
        }
        product(scores, n, ld, w, q, w, 1, k_turn, ld, s, ld);
        product(scores, n, ld, w, g, w, 1, v_turn, ld, p, ld); /* gradient of the weights, before dropout looks at it */
        for (int64_t i = 0; i < n; i++) {
            const float *norm = norms + 2 * ((start + i) * a->heads + head);
            float top = norm[0], share = 1 / norm[1], *s_i = s + i * ld, *p_i = p + i * ld;
            int64_t end = seen_of(s_i, i, n, a->causal);
            uint32_t key = key_of(a->seed, (start + i) * a->heads + head);
            floats total = {0};
            for (int64_t j = 0; j < end; j += LANES) {
                floats x = exponential(loaded(s_i + j) - top) * share, d = loaded(p_i + j);
                words mask = a->threshold ? kept(key, j, a->threshold) : ~(words){0};
                d = chosen(d, mask);
                total += x * d;
                stored(p_i + j, d);
                stored(s_i + j, x);
            }
            float dot = sum_of(total);
            for (int64_t j = 0; j < end; j += LANES) {
                floats x = loaded(s_i + j);
                words mask = a->threshold ? kept(key, j, a->threshold) : ~(words){0};
                stored(p_i + j, x * (loaded(p_i + j) - dot)); /* gradient of the scores */
                stored(s_i + j, chosen(x, mask)); /* weights as they were used */
            }
        }
        product(by_query, n, w, n, p, ld, 1, k, w, one, w);
        for (int64_t i = 0; i < n; i++)
            write_row(d_q, (start + i) * a->d_q_line + head * w, one + i * w, w, a->half, a->scaling);
        product(by_key, n, w, n, p, 1, ld, q, w, one, w);
        for (int64_t i = 0; i < n * w; i += LANES) stored(sum_k + i, loaded(sum_k + i) + loaded(one + i));
        product(by_key, n, w, n, s, 1, ld, g, w, one, w);
        for (int64_t i = 0; i < n * w; i += LANES) stored(sum_v + i, loaded(sum_v + i) + loaded(one + i));
    }
    for (int64_t i = 0; i < n; i++) {
        write_row(d_k, (start + i) * a->d_k_line + group * w, sum_k + i * w, w, a->half, 1);
        write_row(d_v, (start + i) * a->d_v_line + group * w, sum_v + i * w, w, a->half, a->factor);
    }
}

static int64_t longest(const attention *a) {
    int64_t most = 1;
    for (int64_t r = 0; r < a->rows; r++) most = a->lengths[r] > most ? a->lengths[r] : most;
    return most;
}

/* out: [tokens, heads * width]; norms: [tokens, heads, 2] see softmax. Not 0 where memory was short: then it is not done. */
int attention_forward(const attention *a, void *out, float *norms) {
    int64_t n = longest(a), ld = whole(n), w = a->width;
    int failed = 0;
#pragma omp parallel reduction(| : failed)
    {
        float *space = scratch(3 * n * w + w * ld + n * ld);
        failed = !space;
#pragma omp for schedule(dynamic, 4)
        for (int64_t one = 0; one < a->rows * a->heads; one++)
            if (space) forward_one(a, one / a->heads, one % a->heads, out, norms, space);
        free(space);
    }
    return failed;
}

/* d_q as q, d_k as k, d_v as v, with lines of their own; every token of a row is written. Returns as attention_forward
   does. */
int attention_backward(const attention *a, const float *norms, const void *d_out, void *d_q, void *d_k, void *d_v) {
    int64_t n = longest(a), ld = whole(n), w = a->width;
    int failed = 0;
#pragma omp parallel reduction(| : failed)
    {
        float *space = scratch(7 * n * w + 2 * w * ld + 2 * n * ld);
        failed = !space;
#pragma omp for schedule(dynamic, 2)
        for (int64_t one = 0; one < a->rows * a->groups; one++)
            if (space) backward_one(a, one / a->groups, one % a->groups, norms, d_out, d_q, d_k, d_v, space);
        free(space);
    }
    return failed;
}
