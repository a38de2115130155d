/* AdamW in one pass over gradient, weight and moments, and the norm of all gradients. */

#include "vectors.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define ROWS 64 /* of a table, that one thread works on at a time */

/* A parameter; `PART` in optimizer.py. With `alive` it is a table of `rows` of `width` numbers, and where a row is not
   alive, its gradient and both moments are 0. Without, it is one row. */
typedef struct {
    float *weight;
    const float *gradient;
    float *mean, *square;
    const uint8_t *alive;
    int64_t rows, width;
    float keep;           /* 1 - rate * decay */
    float share1, share2; /* 1 - beta1, 1 - beta2 */
    float size;           /* rate / (1 - beta1^t) */
    float root;           /* 1 / sqrt(1 - beta2^t) */
    float epsilon;
} part;

static inline floats square_root(floats x) {
#ifdef __AVX512F__ /* of the loop below, compilers make halves */
    return (floats)_mm512_sqrt_ps((__m512)x);
#else
    for (int i = 0; i < LANES; i++) x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}

/* Numbers start .. stop: the gradient times factor moves the moments, and these move the weight. */
static void update(const part *p, int64_t start, int64_t stop, float factor) {
    for (int64_t i = start; i < stop; i += LANES) {
        floats gradient = read_vector(p->gradient, i, stop, 0) * factor;
        floats mean = read_vector(p->mean, i, stop, 0), square = read_vector(p->square, i, stop, 0);
        mean += p->share1 * (gradient - mean);
        square += p->share2 * (gradient * gradient - square);
        floats move = p->size * mean / (square_root(square) * p->root + p->epsilon);
        write_vector(p->weight, i, stop, 0, read_vector(p->weight, i, stop, 0) * p->keep - move);
        write_vector(p->mean, i, stop, 0, mean);
        write_vector(p->square, i, stop, 0, square);
    }
}

/* What `update` does where gradient and moments are 0, to the bit: the weight decays, if it does. */
static void decay(const part *p, int64_t start, int64_t stop) {
    if (p->keep == 1.0f) return;
    for (int64_t i = start; i < stop; i += LANES)
        write_vector(p->weight, i, stop, 0, read_vector(p->weight, i, stop, 0) * p->keep);
}

static void update_rows(const part *p, int64_t first, int64_t last, float factor) {
    for (int64_t row = first; row < last; row++) {
        if (p->alive[row]) update(p, row * p->width, (row + 1) * p->width, factor);
        else decay(p, row * p->width, (row + 1) * p->width);
    }
}

/* Every number is one thread's alone: which one, changes nothing. */
void adamw(const part *parts, int64_t count, float factor) {
#pragma omp parallel
    for (const part *p = parts; p < parts + count; p++) {
        if (p->alive) {
#pragma omp for schedule(dynamic) nowait
            for (int64_t row = 0; row < p->rows; row += ROWS) /* those that are alive lie together */
                update_rows(p, row, p->rows - row < ROWS ? p->rows : row + ROWS, factor);
        } else {
#pragma omp for schedule(static) nowait
            for (int64_t start = 0; start < p->width; start += LINE)
                update(p, start, p->width - start < LINE ? p->width : start + LINE, factor);
        }
    }
}

typedef float eight_floats __attribute__((vector_size(32)));
typedef double eight_doubles __attribute__((vector_size(64)));

/* The sum of the squares of up to LINE numbers, in double: no finite gradient has an infinite norm. */
static double sum_of_line(const float *from, int64_t count) {
    eight_doubles sums[4] = {{0}}; /* independent, so that one need not wait for the other */
    int64_t i = 0;
    for (; i + 32 <= count; i += 32)
        for (int k = 0; k < 4; k++) {
            eight_floats x;
            memcpy(&x, from + i + 8 * k, sizeof x);
            eight_doubles wide = __builtin_convertvector(x, eight_doubles);
            sums[k] += wide * wide;
        }
    eight_doubles all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    double sum = 0;
    for (int k = 0; k < 8; k++) sum += all[k];
    for (; i < count; i++) sum += (double)from[i] * from[i];
    return sum;
}

/* *sum = the sum of the squares of all tensors, `sizes` numbers each. Lines are summed by any thread, into `lines`, and
   added up in their order. */
void sum_of_squares(const float *const *tensors, const int64_t *sizes, int64_t count, double *lines, double *sum) {
    int64_t number = 0;
#pragma omp parallel firstprivate(number)
    for (int64_t t = 0; t < count; number += (sizes[t] + LINE - 1) / LINE, t++) {
#pragma omp for schedule(static) nowait
        for (int64_t start = 0; start < sizes[t]; start += LINE)
            lines[number + start / LINE] =
                sum_of_line(tensors[t] + start, sizes[t] - start < LINE ? sizes[t] - start : LINE);
    }
    for (int64_t t = 0; t < count; t++) number += (sizes[t] + LINE - 1) / LINE;
    *sum = 0;
    for (int64_t line = 0; line < number; line++) *sum += lines[line];
}
