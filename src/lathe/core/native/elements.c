/* Operations on each number alone: dropout without a stored mask, and activations. */

#include "vectors.h"

#include <stddef.h>

/* to = from with each number zeroed with probability 1 - threshold / 2^32, the others times factor. The same seed zeroes
   the same places: its own gradient. */
void dropout(void *to, const void *from, int64_t count, int half, uint32_t threshold, float factor, uint64_t seed) {
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < count; start += LINE) {
        uint32_t key = key_of(seed, start / LINE);
        int64_t stop = count - start < LINE ? count : start + LINE;
        for (int64_t i = start; i < stop; i += LANES) {
            floats x = read_vector(from, i, stop, half);
            write_vector(to, i, stop, half, chosen(x * factor, kept(key, i - start, threshold)));
        }
    }
}

/* x times the logistic function of 2u, u = sqrt(2 / pi) (x + 0.044715 x^3): GELU by its tanh approximation. With a
   gradient: that times the derivative. */
static inline floats gelu_of(floats x, const floats *gradient) {
    const float first = 1.5957691216f, third = first * 0.044715f; /* 2 sqrt(2 / pi) */
    floats square = x * x, twice_u = x * (first + third * square);
    words negative = (words)(twice_u < 0);
    floats small = exponential((floats)((words)twice_u | 0x80000000u)); /* exp(-|2u|) */
    floats near_one = 1.0f / (1.0f + small);
    floats share = chosen(near_one, ~negative) + chosen(small * near_one, negative);
    if (!gradient) return x * share;
    return *gradient * (share + x * share * (1.0f - share) * (first + 3.0f * third * square));
}

/* to = gelu(from), or, with a gradient, gradient * gelu'(from). */
void gelu(void *to, const void *from, const void *gradient, int64_t count, int half) {
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < count; start += LINE) {
        int64_t stop = count - start < LINE ? count : start + LINE;
        for (int64_t i = start; i < stop; i += LANES) {
            floats x = read_vector(from, i, stop, half);
            if (gradient) {
                floats g = read_vector(gradient, i, stop, half);
                write_vector(to, i, stop, half, gelu_of(x, &g));
            } else write_vector(to, i, stop, half, gelu_of(x, NULL));
        }
    }
}
