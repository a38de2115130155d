/* Shingles of texts, their minima, and what sets of them share: `lathe.corpus.duplicates` defines each in numpy too,
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

#define MIX(z) /* splitmix64, of a number or of eight */ \
    z += 0x9E3779B97F4A7C15u; \
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u; \
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu; \
    z ^= z >> 31;

static inline uint64_t mixed_word(uint64_t z) {
    MIX(z)
    return z;
}

/* Hashes, to be mixed, of the words between `at` and `stop`, one after another; returns how many. */
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
        words[found++] = hash;
    }
    return found;
}

static void mix_all(uint64_t *values, int64_t count) {
    int64_t i = 0;
    for (quads some; i + QUADS <= count; i += QUADS) {
        memcpy(&some, values + i, sizeof some);
        MIX(some)
        memcpy(values + i, &some, sizeof some);
    }
    for (; i < count; i++) values[i] = mixed_word(values[i]);
}

/* Of each `size` words in a row their hash, in place of the first one, which is not needed any more. */
static void grams_of(uint64_t *values, int64_t count, int64_t size) {
    int64_t i = 0;
    for (quads total, some; i + QUADS <= count; i += QUADS) {
        total = (quads){};
        for (int64_t j = 0; j < size; j++) {
            memcpy(&some, values + i + j, sizeof some);
            total = total * BASE + some;
        }
        MIX(total)
        memcpy(values + i, &total, sizeof total);
    }
    for (; i < count; i++) {
        uint64_t total = 0;
        for (int64_t j = 0; j < size; j++) total = total * BASE + values[i + j];
        values[i] = mixed_word(total);
    }
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
        mix_all(values, words);
        grams_of(values, counts[t], size);
        values += counts[t];
        at = ends[t];
    }
}

/* out [texts, 64]: for each factor the least product with the upper half of a value, 0 for a text without any. */
void minima(const uint64_t *values, const int64_t *counts, int64_t texts, const uint32_t *factors, uint32_t *out) {
    words factor[64 / LANES], least[64 / LANES];
    memcpy(factor, factors, sizeof factor);
    for (int64_t t = 0; t < texts; t++, out += 64) {
        for (int v = 0; v < 64 / LANES; v++) least[v] = (words){} - (counts[t] > 0);
        for (int64_t i = 0; i < counts[t]; i++) {
            words value = (words){} + (uint32_t)(*values++ >> 32);
            for (int v = 0; v < 64 / LANES; v++) {
                words product = value * factor[v], lower = (words)(product < least[v]);
                least[v] = (product & lower) | (least[v] & ~lower);
            }
        }
        memcpy(out, least, sizeof least);
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
