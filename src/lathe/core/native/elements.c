/* Operations on each number alone: dropout without a stored mask, and activations. */

#include "activations.h"

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

static INLINED void activate_line(void *to, const void *from, const void *gradient, int64_t start, int64_t stop,
                                  int half, int kind) {
    for (int64_t i = start; i < stop; i += LANES) {
        floats x = read_vector(from, i, stop, half);
        if (gradient) write_vector(to, i, stop, half, read_vector(gradient, i, stop, half) * derivative(kind, x, half));
        else write_vector(to, i, stop, half, activated(kind, x, half));
    }
}

/* to = f(from), or, with a gradient, gradient * f'(from). */
void activate(void *to, const void *from, const void *gradient, int64_t count, int half, int kind) {
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < count; start += LINE) {
        int64_t stop = count - start < LINE ? count : start + LINE;
        WITH_KIND(activate_line, half, kind, to, from, gradient, start, stop);
    }
}
