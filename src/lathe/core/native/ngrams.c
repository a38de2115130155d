/* n-grams: words of texts as numbers, positions sorted by the n-grams that start there, and their probabilities found
   in hash tables. Words of a stream are numbers; 1 begins a text, and a negative one is no word. */

#include <stdint.h>
#include <string.h>

#define BEGIN 1
#define LONGEST 32
#define BATCH 256
#define ODD 0x9e3779b97f4a7c15ULL

/* ---- words to numbers */

typedef struct {
    uint32_t tag; /* of the hash */
    int32_t word; /* its number and 1; 0 where there is none */
} slot;

typedef struct {
    const uint8_t *text; /* texts, one behind the other */
    const int64_t *ends; /* [texts] */
    int64_t texts, done; /* how many there are, and have been read */
    int32_t *ids;        /* of their words */
    int64_t *lengths;    /* [texts] words of each */
    uint8_t *names;      /* the known words, one behind the other */
    int64_t *name_ends;  /* [most + 1], the first is 0 */
    int64_t known, most; /* how many there are and may be; a new word is learnt where these differ ... */
    int64_t learns;      /* ... and this is 1; otherwise it is -1 */
    slot *slots;
    int64_t size; /* a power of two, twice `most` or more */
} reading;

/* Bytes of the white space at `at`, as Python's str.split() sees it. */
static inline int space(const uint8_t *at, const uint8_t *end) {
    if (*at <= 0x20) return *at == 0x20 || (*at >= 9 && *at <= 13) || (*at >= 0x1c);
    if (*at < 0xc2) return 0;
    if (*at == 0xc2) return end - at > 1 && (at[1] == 0x85 || at[1] == 0xa0) ? 2 : 0;
    if (*at > 0xe3 || *at < 0xe1 || end - at < 3) return 0;
    if (*at == 0xe1) return at[1] == 0x9a && at[2] == 0x80 ? 3 : 0;
    if (*at == 0xe3) return at[1] == 0x80 && at[2] == 0x80 ? 3 : 0;
    if (at[1] == 0x81) return at[2] == 0x9f ? 3 : 0;
    return at[1] == 0x80 && (at[2] <= 0x8a || at[2] == 0xa8 || at[2] == 0xa9 || at[2] == 0xaf) ? 3 : 0;
}

static inline uint64_t hash_of(const uint8_t *word, int64_t length) {
    uint64_t hash = (uint64_t)length * ODD, part;
    for (; length >= 8; word += 8, length -= 8) {
        memcpy(&part, word, 8);
        hash = (hash ^ part) * ODD;
        hash ^= hash >> 32;
    }
    part = 0;
    memcpy(&part, word, (size_t)length);
    hash = (hash ^ part) * ODD;
    return hash ^ hash >> 29;
}

static inline slot *place_of(const reading *of, const uint8_t *word, int64_t length, uint64_t hash) {
    uint32_t tag = (uint32_t)(hash >> 32);
    for (int64_t at = (int64_t)hash & (of->size - 1);; at = (at + 1) & (of->size - 1)) {
        slot *found = &of->slots[at];
        if (!found->word) return found;
        const int64_t *range = &of->name_ends[found->word - 1];
        if (found->tag == tag && range[1] - range[0] == length && !memcmp(of->names + range[0], word, (size_t)length))
            return found;
    }
}

static inline void take(slot *at, uint64_t hash, int64_t word) { *at = (slot){(uint32_t)(hash >> 32), (int32_t)word + 1}; }

/* Fill larger slots with the words that are known. */
void place_words(const reading *of) {
    for (int64_t word = 0; word < of->known; word++) {
        const uint8_t *name = of->names + of->name_ends[word];
        int64_t length = of->name_ends[word + 1] - of->name_ends[word];
        uint64_t hash = hash_of(name, length);
        take(place_of(of, name, length, hash), hash, word);
    }
}

/* Read texts until the end, or until there is no room for the new words of one: `done` says how far. */
void read_words(reading *of) {
    int32_t *out = of->ids;
    for (; of->done < of->texts; of->done++) {
        int32_t *start = out;
        const uint8_t *at = of->text + (of->done ? of->ends[of->done - 1] : 0), *end = of->text + of->ends[of->done];
        while (at < end) {
            int skip = space(at, end);
            if (skip) {
                at += skip;
                continue;
            }
            const uint8_t *word = at;
            do at++;
            while (at < end && !space(at, end));
            uint64_t hash = hash_of(word, at - word);
            slot *found = place_of(of, word, at - word, hash);
            if (!found->word && of->learns) {
                if (of->known == of->most) return;
                memcpy(of->names + of->name_ends[of->known], word, (size_t)(at - word));
                of->name_ends[of->known + 1] = of->name_ends[of->known] + (at - word);
                take(found, hash, of->known++);
            }
            *out++ = found->word - 1;
        }
        of->lengths[of->done] = out - start;
    }
}

/* ---- n-grams of a stream */

static void sort(uint64_t *keys, int64_t count) {
    while (count > 16) {
        uint64_t a = keys[0], b = keys[count / 2], c = keys[count - 1];
        uint64_t pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        int64_t left = 0, right = count - 1;
        for (;; left++, right--) {
            while (keys[left] < pivot) left++;
            while (keys[right] > pivot) right--;
            if (left >= right) break;
            uint64_t swapped = keys[left];
            keys[left] = keys[right], keys[right] = swapped;
        }
        sort(keys, left);
        keys += left, count -= left;
    }
    for (int64_t i = 1; i < count; i++) {
        uint64_t key = keys[i];
        int64_t at = i;
        for (; at && keys[at - 1] > key; at--) keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

typedef struct {
    const int32_t *stream;
    int64_t length, n;
    const int32_t *order;  /* positions, sorted by the (n-1)-grams that start there */
    const int64_t *starts; /* [groups + 1] where each (n-1)-gram begins in it */
    int64_t groups;
    uint64_t *keys;      /* [positions] */
    int32_t *new_order;  /* [positions] those where n-grams start, sorted by them */
    int64_t *new_starts; /* [positions + 1] */
    int32_t *contexts;   /* [positions] of each n-gram: all its words but the last, as a group */
    int32_t *words;      /* [positions] its last word */
    int32_t *at;         /* [length] the n-gram that starts at a position; -1 where none does */
    int64_t found;       /* n-grams */
} refinement;

/* n-grams from (n-1)-grams: those that start alike are sorted by their last word, and then by their position. */
void lengthen_ngrams(refinement *of) {
#pragma omp parallel for schedule(dynamic, 1024)
    for (int64_t g = 0; g < of->groups; g++) {
        int64_t start = of->starts[g], end = of->starts[g + 1];
        for (int64_t i = start; i < end; i++) {
            int64_t last = of->order[i] + of->n - 1;
            int32_t word = last < of->length ? of->stream[last] : -1;
            uint64_t key = word < 0 || word == BEGIN ? UINT32_MAX : (uint64_t)word; /* it ends before: to the back */
            of->keys[i] = key << 32 | (uint32_t)of->order[i];
        }
        if (end - start > 1) sort(of->keys + start, end - start);
    }
    int64_t kept = 0, found = 0;
    for (int64_t g = 0; g < of->groups; g++) {
        uint32_t before = UINT32_MAX;
        for (int64_t i = of->starts[g]; i < of->starts[g + 1]; i++) {
            uint32_t word = (uint32_t)(of->keys[i] >> 32), position = (uint32_t)of->keys[i];
            if (word == UINT32_MAX) break;
            if (word != before) {
                of->new_starts[found] = kept, of->contexts[found] = (int32_t)g, of->words[found] = (int32_t)word;
                found++;
                before = word;
            }
            of->new_order[kept++] = (int32_t)position;
            of->at[position] = (int32_t)(found - 1);
        }
    }
    of->new_starts[found] = kept;
    of->found = found;
}

/* ---- smoothing */

typedef struct {
    const int64_t *counts;   /* [M] adjusted */
    const int32_t *contexts; /* [M] rising */
    const int32_t *suffixes; /* [M] */
    int64_t ngrams;
    const double *discounts; /* for counts of 0, 1, 2, and 3 or more */
    const double *lower;     /* p of suffixes */
    double *p;               /* [M] */
    double *gamma;           /* of contexts */
} smoothing;

static inline double discount(const smoothing *of, int64_t i) { return of->discounts[of->counts[i] < 3 ? of->counts[i] : 3]; }

/* The first n-gram from `at` on that has another context than the one before it. */
static inline int64_t boundary(const smoothing *of, int64_t at) {
    if (at >= of->ngrams) return of->ngrams;
    while (at && at < of->ngrams && of->contexts[at] == of->contexts[at - 1]) at++;
    return at;
}

void smooth_ngrams(const smoothing *of) {
    const int64_t step = 1 << 14;
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t part = 0; part < of->ngrams; part += step) {
        int64_t stop = boundary(of, part + step);
        for (int64_t start = boundary(of, part), end; start < stop; start = end) {
            double total = 0, taken = 0;
            for (end = start; end < of->ngrams && of->contexts[end] == of->contexts[start]; end++) {
                total += (double)of->counts[end];
                taken += discount(of, end);
            }
            double gamma = of->gamma[of->contexts[start]] = taken / total;
            for (int64_t i = start; i < end; i++)
                of->p[i] = ((double)of->counts[i] - discount(of, i)) / total + gamma * of->lower[of->suffixes[i]];
        }
    }
}

/* ---- probabilities of a stream */

typedef struct {
    uint32_t context, word; /* the context: its place in the table of the order below; EMPTY where there is none */
    float log_p, log_backoff;
} entry;

#define EMPTY UINT32_MAX

static inline int64_t home(uint32_t context, uint32_t word, int64_t size) {
    uint64_t hash = ((uint64_t)context << 32 | word) * ODD;
    hash ^= hash >> 32;
    return (int64_t)(hash * ODD >> 20) & (size - 1);
}

typedef struct {
    const uint32_t *first;    /* [contexts + 1] */
    const uint32_t *places;   /* [contexts] in the table of the order below */
    const uint32_t *words;    /* [n-grams] */
    const float *log_p;       /* [n-grams] */
    const float *log_backoff; /* [n-grams], or NULL */
    int64_t contexts;
    entry *table;
    int64_t size; /* a power of two, more than the n-grams */
    uint32_t *own; /* [n-grams] their places in the table */
} indexing;

void index_ngrams(const indexing *of) {
    for (int64_t i = 0; i < of->size; i++) of->table[i].word = EMPTY;
    for (int64_t c = 0; c < of->contexts; c++) {
        for (uint32_t i = of->first[c]; i < of->first[c + 1]; i++) {
            int64_t at = home(of->places[c], of->words[i], of->size);
            while (of->table[at].word != EMPTY) at = (at + 1) & (of->size - 1);
            float backoff = of->log_backoff ? of->log_backoff[i] : 0;
            of->table[at] = (entry){of->places[c], of->words[i], of->log_p[i], backoff};
            of->own[i] = (uint32_t)at;
        }
    }
}

typedef struct {
    const int32_t *stream;
    int64_t length, order;
    float *scores;           /* [length] */
    const float *log_p;      /* [V] of words by themselves */
    const float *log_backoff;
    const entry *tables[LONGEST - 1]; /* of two words, of three, ... */
    int64_t sizes[LONGEST - 1];
} scoring;

static inline int64_t found_at(const entry *table, int64_t size, uint32_t context, uint32_t word, int64_t at) {
    for (; table[at].word != EMPTY; at = (at + 1) & (size - 1))
        if (table[at].word == word && table[at].context == context) return at;
    return -1;
}

/* log p of each word after those before it. Some at a time, order by order: what an order needs is on its way from the
   memory before the first of it is looked at. */
void score_ngrams(const scoring *of) {
    int64_t states[LONGEST + 1][BATCH + 1]; /* by order: the n-gram that ends before each word, -1 where it is not known */
    int64_t homes[BATCH];
    int which[BATCH];
    for (int64_t n = 1; n <= of->order; n++) states[n][0] = -1;
    for (int64_t start = 0; start < of->length; start += BATCH) {
        int size = (int)(of->length - start < BATCH ? of->length - start : BATCH);
        const int32_t *words = of->stream + start;
        float *scores = of->scores + start;
        for (int i = 0; i < size; i++) {
            states[1][i + 1] = words[i] < 0 ? -1 : words[i];
            scores[i] = words[i] < 0 || words[i] == BEGIN ? 0 : of->log_p[words[i]];
        }
        for (int64_t n = 2; n <= of->order; n++) {
            const entry *table = of->tables[n - 2], *below = n > 2 ? of->tables[n - 3] : 0;
            int count = 0;
            for (int i = 0; i < size; i++) {
                states[n][i + 1] = -1;
                if (states[n - 1][i] < 0 || words[i] < 0 || words[i] == BEGIN) continue;
                homes[count] = home((uint32_t)states[n - 1][i], (uint32_t)words[i], of->sizes[n - 2]);
                __builtin_prefetch(&table[homes[count]]);
                which[count++] = i;
            }
            for (int k = 0; k < count; k++) {
                int i = which[k];
                int64_t context = states[n - 1][i];
                int64_t at = found_at(table, of->sizes[n - 2], (uint32_t)context, (uint32_t)words[i], homes[k]);
                states[n][i + 1] = at;
                if (at >= 0) scores[i] = table[at].log_p;
                else scores[i] += n > 2 ? below[context].log_backoff : of->log_backoff[context];
            }
        }
        for (int64_t n = 1; n <= of->order; n++) states[n][0] = states[n][size];
    }
}
