/* Vectors of sixteen numbers, and random words: what every operation is written in.

   Vectors are GCC's, which clang has too: one source for every processor. Tensors are float32 or bfloat16 (`half`: the
   upper half of a float32); all sums are float32. Loops run on torch's own OpenMP threads, and each result is summed by
   one thread in one order, so that it does not depend on their number. */

#ifndef LATHE_VECTORS
#define LATHE_VECTORS

#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h> /* where the compiler's own conversions take several times as long */
#endif

#define INLINED inline __attribute__((always_inline)) /* for arguments that are constants where it is called */
#define LANES 16
typedef float floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

static inline int64_t whole(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

static inline floats loaded(const float *from) {
    floats x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline void stored(float *to, floats x) { memcpy(to, &x, sizeof x); }

static inline floats widened(const uint16_t *from) {
    halves h;
    memcpy(&h, from, sizeof h);
#ifdef __AVX512F__
    return (floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)h), 16);
#else
    return (floats)(__builtin_convertvector(h, words) << 16);
#endif
}

static inline void narrowed(uint16_t *to, floats x) { /* to the nearest, ties to even; NaN stays NaN */
#ifdef __AVX512BF16__ /* which takes numbers below 1.2e-38 for 0 */
    __m256bh half = _mm512_cvtneps_pbh((__m512)x);
    memcpy(to, &half, sizeof half);
#else
    words bits = (words)x;
    words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    ints number = x == x;
    words chosen = (rounded & (words)number) | (0x7fc0 & ~(words)number);
    halves h = __builtin_convertvector(chosen, halves);
    memcpy(to, &h, sizeof h);
#endif
}

#define LINE 4096 /* numbers that one thread works on at a time */

/* Numbers at .. at + LANES, those from `stop` on 0. */
static inline floats read_vector(const void *from, int64_t at, int64_t stop, int half) {
    if (at + LANES <= stop) return half ? widened((const uint16_t *)from + at) : loaded((const float *)from + at);
    uint16_t narrow[LANES] = {0};
    float wide[LANES] = {0};
    if (half) memcpy(narrow, (const uint16_t *)from + at, 2 * (stop - at));
    else memcpy(wide, (const float *)from + at, 4 * (stop - at));
    return half ? widened(narrow) : loaded(wide);
}

static inline void write_vector(void *to, int64_t at, int64_t stop, int half, floats x) {
    if (at + LANES <= stop) {
        if (half) narrowed((uint16_t *)to + at, x);
        else stored((float *)to + at, x);
        return;
    }
    uint16_t narrow[LANES];
    if (half) memcpy((uint16_t *)to + at, (narrowed(narrow, x), narrow), 2 * (stop - at));
    else memcpy((float *)to + at, &x, 4 * (stop - at));
}

static inline floats greater(floats x, floats y) { /* NaN is passed over where it is in y */
    words mask = (words)(y > x);
    return (floats)(((words)y & mask) | ((words)x & ~mask));
}

typedef float eight __attribute__((vector_size(32)));
typedef float four __attribute__((vector_size(16)));

/* The sum of a vector: its halves together, again and again. */
static inline float sum_of(floats x) {
    eight low, high;
    memcpy(&low, &x, sizeof low);
    memcpy(&high, (const char *)&x + sizeof low, sizeof high);
    low += high;
    four left, right;
    memcpy(&left, &low, sizeof left);
    memcpy(&right, (const char *)&low + sizeof left, sizeof right);
    left += right;
    return (left[0] + left[2]) + (left[1] + left[3]);
}

static inline float greatest(floats x) {
    float each[LANES];
    memcpy(each, &x, sizeof each);
    for (int l = 0; l < 8; l++) each[l] = each[l] > each[l + 8] ? each[l] : each[l + 8];
    for (int l = 0; l < 4; l++) each[l] = each[l] > each[l + 4] ? each[l] : each[l + 4];
    for (int l = 1; l < 4; l++) each[0] = each[0] > each[l] ? each[0] : each[l];
    return each[0];
}

/* exp(x) for x <= 0 to about 2 units in the last place; 0 below -87. */
static inline floats exponential(floats x) {
    ints alive = ~(x <= -87.0f); /* NaN is, and stays NaN */
    floats shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the nearest integer is in the lowest bits */
    floats whole_part = shifted - 12582912.0f;
    floats rest = x - whole_part * 0.693359375f + whole_part * 2.12194440e-4f;
    floats y = 1.0f + rest * (1.0f + rest * (0.5f + rest * (1.66666655e-1f + rest * (4.16657962e-2f
               + rest * (8.33345205e-3f + rest * 1.39819994e-3f)))));
    words power = ((words)shifted + 127) << 23;
    return (floats)((words)(y * (floats)power) & (words)alive);
}

/* Random words: a hash of a counter (the finalizer of Chris Wellons' search, bias 0.17). */
static inline words mixed(words x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x;
}

static inline uint32_t mixed1(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

static const words LANE = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* Key of a line of at most 2^32 numbers, each of which is then hashed with its own place in the line. */
static inline uint32_t key_of(uint64_t seed, uint64_t line) {
    uint64_t x = seed + line * 0x9e3779b97f4a7c15u;
    return mixed1((uint32_t)x + mixed1((uint32_t)(x >> 32)));
}

/* All bits where the number is kept: where its random word is below the threshold. */
static inline words kept_at(words place, uint32_t key, uint32_t threshold) {
    return (words)(mixed(place + key) < threshold);
}

/* A place in a line as `kept_at` asks for it: the same in every line. */
static inline words place_of(int64_t place) { return mixed(LANE + (uint32_t)place); }

static inline words kept(uint32_t key, int64_t place, uint32_t threshold) {
    return kept_at(place_of(place), key, threshold);
}

static inline floats chosen(floats x, words mask) { return (floats)((words)x & mask); }

#endif
