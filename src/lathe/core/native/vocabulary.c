/* Words of texts as numbers: 0 is an unknown word, 1 begins a text, 2 ends it, and the words themselves follow. */

#include <stdint.h>
#include <string.h>

enum { UNKNOWN, BEGIN, END, FIRST };

#define AHEAD 32
#define EACH 0x0101010101010101ULL
#define ODD 0x9e3779b97f4a7c15ULL

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first bytes of a number are its lowest");

typedef struct {
    uint64_t hash;
    uint32_t name; /* where its name begins */
    int32_t word;  /* its number; UNKNOWN where there is none */
} slot;

typedef struct {
    const uint8_t *text; /* texts, a space behind each, and 8 bytes */
    const int64_t *ends; /* [texts] behind these spaces */
    int64_t texts, done; /* how many there are, and have been read */
    int32_t *stream;     /* their words */
    int64_t written;     /* how many */
    uint8_t *names;      /* of the known words, a space behind each */
    int64_t named;       /* bytes of them */
    int64_t known;       /* how many there are; half as many as slots at most */
    int64_t learns;      /* 1: a new word is learnt, 0: it is unknown */
    slot *slots;
    int64_t size; /* a power of two */
} reading;

typedef struct {
    const uint8_t *at;
    int64_t length;
    uint64_t hash;
} spelling;

/* Bytes of the white space at `at`, as Python's str.split() sees it. */
static inline int space(const uint8_t *at) {
    if (*at <= 0x20) return *at == 0x20 || (*at >= 9 && *at <= 13) || *at >= 0x1c;
    if (*at == 0xc2) return at[1] == 0x85 || at[1] == 0xa0 ? 2 : 0;
    if (*at == 0xe1) return at[1] == 0x9a && at[2] == 0x80 ? 3 : 0;
    if (*at == 0xe3) return at[1] == 0x80 && at[2] == 0x80 ? 3 : 0;
    if (*at != 0xe2) return 0;
    if (at[1] == 0x81) return at[2] == 0x9f ? 3 : 0;
    return at[1] == 0x80 && (at[2] <= 0x8a || at[2] == 0xa8 || at[2] == 0xa9 || at[2] == 0xaf) ? 3 : 0;
}

/* 1 to 8 bytes as a number; 8 are read. */
static inline uint64_t bytes(const uint8_t *at, int64_t count) {
    uint64_t read;
    memcpy(&read, at, 8);
    return read & ~0ULL >> (64 - 8 * count);
}

/* The end of the word that begins at `at`. Letters and marks of ASCII are passed by eights. */
static inline const uint8_t *end_of_word(const uint8_t *at) {
    for (;;) {
        uint64_t eight = bytes(at, 8), others = ((eight - 0x21 * EACH) | eight) & 0x80 * EACH;
        if (!others) {
            at += 8;
            continue;
        }
        at += __builtin_ctzll(others) / 8;
        if (space(at)) return at;
        at++;
    }
}

static inline uint64_t mixed(uint64_t hash, uint64_t part) {
    hash = (hash ^ part) * ODD;
    return hash ^ hash >> 32;
}

static inline spelling spelt(const uint8_t *at, int64_t length) {
    spelling word = {at, length, (uint64_t)length};
    for (; length > 8; at += 8, length -= 8) word.hash = mixed(word.hash, bytes(at, 8));
    word.hash = mixed(word.hash, bytes(at, length));
    return word;
}

static inline int is_named(const uint8_t *name, const spelling *word) {
    int64_t left = word->length;
    const uint8_t *at = word->at;
    if (name[left] != ' ') return 0;
    for (; left > 8; at += 8, name += 8, left -= 8)
        if (bytes(at, 8) != bytes(name, 8)) return 0;
    return bytes(at, left) == bytes(name, left);
}

static inline slot *slot_of(const reading *of, const spelling *word) {
    for (int64_t at = (int64_t)word->hash & (of->size - 1);; at = (at + 1) & (of->size - 1)) {
        slot *found = &of->slots[at];
        if (!found->word || (found->hash == word->hash && is_named(of->names + found->name, word))) return found;
    }
}

/* The next words of a text; their slots are on their way from the memory before the first of them is looked at. */
static int next_words(const reading *of, const uint8_t **text, const uint8_t *end, spelling *words) {
    const uint8_t *at = *text;
    int count = 0;
    while (count < AHEAD) {
        for (int skip; at < end && (skip = space(at));) at += skip;
        if (at == end) break;
        const uint8_t *start = at;
        at = end_of_word(at);
        words[count] = spelt(start, at - start);
        __builtin_prefetch(&of->slots[words[count++].hash & (uint64_t)(of->size - 1)]);
    }
    *text = at;
    return count;
}

static void learn(reading *of, slot *into, const spelling *word) {
    *into = (slot){word->hash, (uint32_t)of->named, (int32_t)(FIRST + of->known++)};
    memcpy(of->names + of->named, word->at, (size_t)word->length);
    of->named += word->length;
    of->names[of->named++] = ' ';
}

/* Read texts until the end, or until there is no room for the new words of one: `done` says how far. */
void read_words(reading *of) {
    spelling words[AHEAD];
    for (; of->done < of->texts; of->done++) {
        const uint8_t *at = of->text + (of->done ? of->ends[of->done - 1] : 0), *end = of->text + of->ends[of->done];
        int32_t *out = of->stream + of->written;
        *out++ = BEGIN;
        for (int count; (count = next_words(of, &at, end, words));) {
            for (int i = 0; i < count; i++) {
                slot *found = slot_of(of, &words[i]);
                if (!found->word && of->learns) {
                    if (of->known == of->size / 2) return;
                    learn(of, found, &words[i]);
                }
                *out++ = found->word;
            }
        }
        *out++ = END;
        of->written = out - of->stream;
    }
}

void move_words(const slot *from, int64_t size, slot *to, int64_t new_size) {
    for (const slot *one = from; one < from + size; one++) {
        int64_t at = (int64_t)one->hash & (new_size - 1);
        while (to[at].word) at = (at + 1) & (new_size - 1);
        if (one->word) to[at] = *one;
    }
}
