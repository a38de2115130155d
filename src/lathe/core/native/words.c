/* Words of UTF-8 text with one space between each two: how many are of what kind, and how much of it they repeat.

   An n-gram is known by the hash of its text, a polynomial modulo 2^61 - 1 of its bytes: that of an n-gram and one more
   word is had from the two by one product, whatever their lengths. */

#include <stdint.h>
#include <string.h>

#define PRIME ((1ULL << 61) - 1)
#define BASE 0x123456789abcdefULL

static inline uint64_t reduced(uint64_t x) {
    x = (x & PRIME) + (x >> 61);
    return x >= PRIME ? x - PRIME : x;
}

static inline uint64_t product(uint64_t a, uint64_t b) {
    unsigned __int128 wide = (unsigned __int128)a * b;
    return reduced((uint64_t)(wide & PRIME) + (uint64_t)(wide >> 61));
}

typedef struct {
    uint64_t hash, power; /* of its bytes; BASE to the number of them */
    int64_t length;       /* characters */
} word;

typedef struct {
    uint64_t hash;        /* 0 where there is none */
    int64_t count, first; /* how often; at which word first */
} entry;

static inline entry *found(entry *table, int64_t size, uint64_t hash) { /* size: a power of two */
    uint64_t mixed = hash * 0x9e3779b97f4a7c15ULL;
    int64_t at = (int64_t)(mixed >> 32) & (size - 1);
    while (table[at].hash && table[at].hash != hash) at = (at + 1) & (size - 1);
    return &table[at];
}

static inline uint64_t named(uint64_t hash) { return hash ? hash : 1; }

static void read_words(const uint8_t *text, const uint8_t *end, word *words, int64_t count) {
    for (int64_t w = 0; w < count; w++, text++) {
        word read = {0, 1, 0};
        for (; text < end && *text != ' '; text++) {
            read.hash = reduced(product(read.hash, BASE) + *text + 1);
            read.power = product(read.power, BASE);
            read.length += (*text & 0xc0) != 0x80;
        }
        words[w] = read;
    }
}

/* From the hashes of the (n-1)-grams those of the n-grams: with a space before the last word, or without. */
static void lengthen(const word *words, int64_t count, int64_t n, int spaced, uint64_t *hashes) {
    for (int64_t i = 0; i + n <= count; i++) {
        const word *last = &words[i + n - 1];
        uint64_t first = spaced ? reduced(product(hashes[i], BASE) + ' ' + 1) : hashes[i];
        hashes[i] = reduced(product(first, last->power) + last->hash);
    }
}

/* How often there is the most frequent n-gram; its characters. Of several as frequent ones the first. */
static int64_t most_frequent(
    const word *words, int64_t count, int64_t n, const uint64_t *hashes, entry *table, int64_t size, int64_t *characters
) {
    entry best = {0, 0, 0};
    for (int64_t i = 0; i + n <= count; i++) {
        entry *at = found(table, size, named(hashes[i]));
        if (!at->hash) *at = (entry){named(hashes[i]), 0, i};
        at->count++;
        if (at->count > best.count || (at->count == best.count && at->first < best.first)) best = *at;
    }
    *characters = 0;
    for (int64_t i = best.first; best.count && i < best.first + n; i++) *characters += words[i].length;
    return best.count;
}

/* Characters of the n-grams that were there before; one that was is skipped as a whole. */
static int64_t repeated(const word *words, int64_t count, int64_t n, const uint64_t *hashes, entry *table, int64_t size) {
    int64_t characters = 0;
    for (int64_t i = 0; i + n <= count;) {
        entry *at = found(table, size, named(hashes[i]));
        if (!at->hash) at->hash = named(hashes[i++]);
        else for (int64_t end = i + n; i < end; i++) characters += words[i].length;
    }
    return characters;
}

typedef struct {
    const uint8_t *text;
    int64_t bytes, words, most; /* words in the text; the largest n */
    int64_t *repeated;          /* [most + 1] by n: 1 where it is asked for, which the answer replaces */
    int64_t *frequent;          /* [most + 1] */
    int64_t *characters;        /* [most + 1] of the most frequent n-gram */
    word *read;                 /* [words] */
    uint64_t *hashes;           /* [words] */
    entry *table;               /* [size] */
    int64_t size;               /* a power of two, more than the words */
} repeats;

void repeated_ngrams(const repeats *of) {
    read_words(of->text, of->text + of->bytes, of->read, of->words);
    for (int spaced = 0; spaced < 2; spaced++) { /* "a bc" is not "ab c", but repeats it where words are joined */
        int64_t *asked = spaced ? of->frequent : of->repeated;
        for (int64_t w = 0; w < of->words; w++) of->hashes[w] = of->read[w].hash;
        for (int64_t n = 2; n <= of->most; n++) {
            lengthen(of->read, of->words, n, spaced, of->hashes);
            if (!asked[n]) continue;
            memset(of->table, 0, (size_t)of->size * sizeof *of->table);
            asked[n] = spaced ? most_frequent(of->read, of->words, n, of->hashes, of->table, of->size, &of->characters[n])
                              : repeated(of->read, of->words, n, of->hashes, of->table, of->size);
        }
    }
}

/* One character: its code point, and behind it. Half surrogates may come, encoded as other characters are. */
static inline const uint8_t *read_character(const uint8_t *text, uint32_t *code) {
    if (*text < 0x80) return *code = *text, text + 1;
    int more = *text >= 0xf0 ? 3 : *text >= 0xe0 ? 2 : 1;
    *code = *text & (0x3f >> more);
    for (text++; more--; text++) *code = *code << 6 | (*text & 0x3f);
    return text;
}

/* tally: words; of these such with more than marks, and their characters; words with a letter. `kinds` has a number for
   each code point: 1 of a mark, 2 of a letter, 0 of others. */
void tally_words(const uint8_t *text, int64_t bytes, const uint8_t *kinds, int64_t *tally) {
    const uint8_t *end = text + bytes;
    int64_t words = 0, plain = 0, characters = 0, lettered = 0;
    while (text < end) {
        int64_t length = 0, marks = 0, has_letter = 0;
        for (uint32_t code; text < end && *text != ' '; length++) {
            text = read_character(text, &code);
            marks += kinds[code] == 1;
            has_letter |= kinds[code] == 2;
        }
        text++;
        words++;
        lettered += has_letter;
        if (marks < length) plain++, characters += length;
    }
    tally[0] = words, tally[1] = plain, tally[2] = characters, tally[3] = lettered;
}
