/* What stands between the matrix products of an encoder layer: bias and activation; bias, dropout, residual and norm.

   Tensors are [tokens, width], width a multiple of LANES. Gradients of biases and norms are sums over tokens: first over
   blocks of rows, then over blocks, in one order. */

#include "activations.h"

#include <math.h>
#include <stdlib.h>

#define BLOCK 16 /* rows */

static inline int64_t blocks_of(int64_t tokens) { return (tokens + BLOCK - 1) / BLOCK; }

static inline int64_t end_of(int64_t block, int64_t tokens) {
    return (block + 1) * BLOCK < tokens ? (block + 1) * BLOCK : tokens;
}

static float *aligned(int64_t numbers) { return aligned_alloc(64, whole(numbers) * sizeof(float)); }

static INLINED floats read16(const void *from, int64_t at, int half) {
    return half ? widened((const uint16_t *)from + at) : loaded((const float *)from + at);
}

static INLINED void write16(void *to, int64_t at, int half, floats x) {
    if (half) narrowed((uint16_t *)to + at, x);
    else stored((float *)to + at, x);
}

static inline void add_to(float *sum, floats x) { stored(sum, loaded(sum) + x); }

static inline float total(floats x) {
    float part[LANES];
    stored(part, x);
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) part[l] += part[l + half];
    return part[0];
}

/* to[width] = the sum of parts[blocks, line] over its blocks. */
static void add_blocks(float *to, const float *parts, int64_t blocks, int64_t line, int64_t width) {
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < width; j += LANES) {
        floats sum = {0};
        for (int64_t b = 0; b < blocks; b++) sum += loaded(parts + b * line + j);
        stored(to + j, sum);
    }
}

static INLINED void activate_rows(void *to, const void *from, const float *bias, int64_t row, int64_t stop,
                                  int64_t width, int half, int kind) {
    for (; row < stop; row++)
        for (int64_t j = 0; j < width; j += LANES) {
            int64_t at = row * width + j;
            write16(to, at, half, activated(kind, read16(from, at, half) + loaded(bias + j), half));
        }
}

/* to = f(from + bias) */
void bias_activate(void *to, const void *from, const float *bias, int64_t tokens, int64_t width, int half, int kind) {
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < blocks_of(tokens); block++)
        WITH_KIND(activate_rows, half, kind, to, from, bias, block * BLOCK, end_of(block, tokens), width);
}

static INLINED void activate_rows_backward(void *d_from, float *sum, const void *from, const float *bias,
                                           const void *gradient, int64_t row, int64_t stop, int64_t width, int half,
                                           int kind) {
    for (; row < stop; row++)
        for (int64_t j = 0; j < width; j += LANES) {
            int64_t at = row * width + j;
            floats d = read16(gradient, at, half) * derivative(kind, read16(from, at, half) + loaded(bias + j), half);
            write16(d_from, at, half, d);
            add_to(sum + j, d);
        }
}

/* d_from = gradient * f'(from + bias), which may take the gradient's place; d_bias [width] is its sum. */
void bias_activate_backward(void *d_from, float *d_bias, const void *from, const float *bias, const void *gradient,
                            int64_t tokens, int64_t width, int half, int kind) {
    int64_t blocks = blocks_of(tokens);
    float *sums = aligned(blocks * width);
    memset(sums, 0, sizeof(float) * blocks * width);
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++)
        WITH_KIND(activate_rows_backward, half, kind, d_from, sums + b * width, from, bias, gradient, b * BLOCK,
                  end_of(b, tokens), width);
    add_blocks(d_bias, sums, blocks, width, width);
    free(sums);
}

typedef struct {
    const void *x, *residual; /* [tokens, width] */
    const float *bias, *gamma, *beta; /* [width] */
    int64_t tokens, width;
    float epsilon;
    int half;
    uint32_t threshold; /* of dropout: 2^32 times the probability to stay; 0: no dropout */
    float factor; /* what makes up for it */
    uint64_t seed;
} addition;

/* What one thread needs for its rows. */
typedef struct {
    uint32_t *places; /* [width] for dropout */
    float *row, *second; /* [width] */
} space;

static space space_for(int64_t width) {
    float *all = aligned(3 * width);
    space own = {(uint32_t *)all, all + width, all + 2 * width};
    for (int64_t j = 0; j < width; j += LANES) {
        words place = place_of(j);
        memcpy(own.places + j, &place, sizeof place);
    }
    return own;
}

static void release(space own) { free(own.places); }

/* All bits for numbers that dropout keeps. */
static INLINED words mask_of(const addition *a, const space *own, uint32_t key, int64_t j) {
    if (!a->threshold) return ~(words){0};
    words place;
    memcpy(&place, own->places + j, sizeof place);
    return kept_at(place, key, a->threshold);
}

/* residual + dropout(x + bias) */
static INLINED floats added(const addition *a, const space *own, uint32_t key, int64_t row, int64_t j, int half) {
    int64_t at = row * a->width + j;
    floats x = (read16(a->x, at, half) + loaded(a->bias + j)) * a->factor;
    return read16(a->residual, at, half) + chosen(x, mask_of(a, own, key, j));
}

static INLINED void add_norm_row(const addition *a, const space *own, int64_t row, void *out, float *moments, int half) {
    uint32_t key = key_of(a->seed, row);
    floats sum = {0}, squares = {0};
    for (int64_t j = 0; j < a->width; j += LANES) {
        floats s = added(a, own, key, row, j, half);
        stored(own->row + j, s);
        sum += s;
    }
    float mean = total(sum) / a->width;
    for (int64_t j = 0; j < a->width; j += LANES) {
        floats away = loaded(own->row + j) - mean;
        squares += away * away;
    }
    float scale = 1 / sqrtf(total(squares) / a->width + a->epsilon);
    moments[2 * row] = mean;
    moments[2 * row + 1] = scale;
    for (int64_t j = 0; j < a->width; j += LANES) {
        floats normal = (loaded(own->row + j) - mean) * scale;
        write16(out, row * a->width + j, half, normal * loaded(a->gamma + j) + loaded(a->beta + j));
    }
}

/* out = norm(residual + dropout(x + bias)); moments [tokens, 2]: mean and 1 / deviation of each row, for backward. */
void add_norm(const addition *a, void *out, float *moments) {
#pragma omp parallel
    {
        space own = space_for(a->width);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < a->tokens; row++)
            if (a->half) add_norm_row(a, &own, row, out, moments, 1);
            else add_norm_row(a, &own, row, out, moments, 0);
        release(own);
    }
}

typedef struct {
    const float *moments;
    const void *gradient, *more; /* the gradient of the output is the sum of both; more may be NULL */
    void *d_x, *d_residual; /* d_x NULL: without dropout both are the same */
    float *d_bias, *d_gamma, *d_beta; /* [width] */
} gradients;

static INLINED void add_norm_row_backward(const addition *a, const gradients *g, const space *own, int64_t row,
                                          float *sums, int half) {
    int64_t width = a->width;
    uint32_t key = key_of(a->seed, row);
    float mean = g->moments[2 * row], scale = g->moments[2 * row + 1];
    float *d_bias = sums, *d_gamma = sums + width, *d_beta = sums + 2 * width;
    floats plain = {0}, along = {0};
    for (int64_t j = 0; j < width; j += LANES) {
        floats normal = (added(a, own, key, row, j, half) - mean) * scale;
        floats d = read16(g->gradient, row * width + j, half);
        if (g->more) d += read16(g->more, row * width + j, half);
        add_to(d_gamma + j, d * normal);
        add_to(d_beta + j, d);
        d *= loaded(a->gamma + j);
        stored(own->row + j, normal);
        stored(own->second + j, d);
        plain += d;
        along += d * normal;
    }
    float shift = total(plain) / width, slope = total(along) / width;
    for (int64_t j = 0; j < width; j += LANES) {
        floats d = (loaded(own->second + j) - shift - loaded(own->row + j) * slope) * scale;
        write16(g->d_residual, row * width + j, half, d);
        d = chosen(d * a->factor, mask_of(a, own, key, j));
        if (g->d_x) write16(g->d_x, row * width + j, half, d);
        add_to(d_bias + j, d);
    }
}

void add_norm_backward(const addition *a, const gradients *g) {
    int64_t blocks = blocks_of(a->tokens), line = 3 * a->width;
    float *sums = aligned(blocks * line);
    memset(sums, 0, sizeof(float) * blocks * line);
#pragma omp parallel
    {
        space own = space_for(a->width);
#pragma omp for schedule(static)
        for (int64_t b = 0; b < blocks; b++)
            for (int64_t row = b * BLOCK; row < end_of(b, a->tokens); row++)
                if (a->half) add_norm_row_backward(a, g, &own, row, sums + b * line, 1);
                else add_norm_row_backward(a, g, &own, row, sums + b * line, 0);
        release(own);
    }
    add_blocks(g->d_bias, sums, blocks, line, a->width);
    add_blocks(g->d_gamma, sums + a->width, blocks, line, a->width);
    add_blocks(g->d_beta, sums + 2 * a->width, blocks, line, a->width);
    free(sums);
}

static INLINED void sum_rows(float *sum, const void *x, int64_t row, int64_t stop, int64_t width, int half) {
    for (; row < stop; row++)
        for (int64_t j = 0; j < width; j += LANES) add_to(sum + j, read16(x, row * width + j, half));
}

/* to[width] = the sum of x over its tokens. */
void sum_tokens(float *to, const void *x, int64_t tokens, int64_t width, int half) {
    int64_t blocks = blocks_of(tokens);
    float *sums = aligned(blocks * width);
    memset(sums, 0, sizeof(float) * blocks * width);
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++)
        if (half) sum_rows(sums + b * width, x, b * BLOCK, end_of(b, tokens), width, 1);
        else sum_rows(sums + b * width, x, b * BLOCK, end_of(b, tokens), width, 0);
    add_blocks(to, sums, blocks, width, width);
    free(sums);
}
