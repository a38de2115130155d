/* Shingles of texts, their minima, and what sets of them share: `lathe.corpus.shingles` and `near` define each in numpy,
   and the results are the same, bit for bit. One thread: whoever has more texts has more processes. */

#include "vectors.h"

#define BASE 0x9E3779B97F4A7C15u
enum { BREAK, LETTER, ALONE };
typedef uint64_t quads __attribute__((vector_size(64)));
#define QUADS 8
#define LATIN 256
#define SHORT 32 /* characters of a word whose powers are at hand */

typedef struct {
    uint64_t latin[LATIN], power[SHORT];
} tables;

static inline uint64_t mixed_word(uint64_t x) { /* splitmix64 */
    uint64_t z = x + 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Hashes of the words between `at` and `stop`, one after another; returns how many. */
static int64_t words_of(const uint32_t *codes, int64_t at, int64_t stop, const uint8_t *kinds, const tables *known,
                        uint64_t *words) {
    int64_t found = 0;
    while (at < stop) {
        uint32_t code = codes[at++];
        int kind = code > 0xFFFF ? ALONE : kinds[code];
        if (kind == BREAK) continue;
        uint64_t hash = code < LATIN ? known->latin[code] : mixed_word(code), power = 1;
        int64_t start = at - 1;
        while (kind == LETTER && at < stop && (code = codes[at]) <= 0xFFFF && kinds[code] == LETTER) {
            int64_t place = at++ - start;
            power = place < SHORT ? known->power[place] : power * BASE;
            hash += (code < LATIN ? known->latin[code] : mixed_word(code)) * power;
        }
        words[found++] = mixed_word(hash);
    }
    return found;
}

/* codes: texts one after another, text t up to ends[t]; what is ASCII in any case, the rest in lower case. values: room for as many numbers as there are codes. */
void shingles(const uint32_t *codes, const int64_t *ends, int64_t texts, const uint8_t *kinds, int64_t most,
              uint64_t *values, int64_t *counts) {
    tables known = {.power = {1}};
    for (int code = 0; code < LATIN; code++) known.latin[code] = mixed_word(code >= 'A' && code <= 'Z' ? code + 32 : code);
    for (int place = 1; place < SHORT; place++) known.power[place] = known.power[place - 1] * BASE;
    int64_t at = 0;
    for (int64_t t = 0; t < texts; t++) {
        int64_t words = words_of(codes, at, ends[t], kinds, &known, values);
        int64_t size = words < most ? words : most;
        counts[t] = words ? words - size + 1 : 0;
        for (int64_t i = 0; i < counts[t]; i++) {
            uint64_t total = 0;
            for (int64_t j = 0; j < size; j++) total = total * BASE + values[i + j];
            values[i] = mixed_word(total); /* its word is not needed any more */
        }
        values += counts[t];
        at = ends[t];
    }
}

/* out [texts, 64]: for each factor the upper half of the least product, 0 for a text without shingles. */
void minima(const uint64_t *values, const int64_t *counts, int64_t texts, const uint64_t *factors, uint32_t *out) {
    quads factor[64 / QUADS], least[64 / QUADS];
    memcpy(factor, factors, sizeof factor);
    for (int64_t t = 0; t < texts; t++, out += 64) {
        for (int q = 0; q < 64 / QUADS; q++) least[q] = (quads){} - (counts[t] > 0);
        for (int64_t i = 0; i < counts[t]; i++) {
            quads value = (quads){} + *values++;
            for (int q = 0; q < 64 / QUADS; q++) {
                quads product = value * factor[q], lower = (quads)(product < least[q]);
                least[q] = (product & lower) | (least[q] & ~lower);
            }
        }
        for (int q = 0; q < 64 / QUADS; q++)
            for (int l = 0; l < QUADS; l++) out[q * QUADS + l] = least[q][l] >> 32;
    }
}

/* shared [pairs]: how many values two sets have in common; set s is sorted, at values[starts[s]] .. starts[s] + sizes[s]. */
void shared_values(const uint64_t *values, const int64_t *starts, const int64_t *sizes, const int64_t *pairs,
                   int64_t count, int64_t *shared) {
    for (int64_t p = 0; p < count; p++, pairs += 2) {
        const uint64_t *a = values + starts[pairs[0]], *end_a = a + sizes[pairs[0]];
        const uint64_t *b = values + starts[pairs[1]], *end_b = b + sizes[pairs[1]];
        int64_t found = 0;
        while (a < end_a && b < end_b) {
            uint64_t x = *a, y = *b;
            found += x == y;
            a += x <= y;
            b += y <= x;
        }
        shared[p] = found;
    }
}
