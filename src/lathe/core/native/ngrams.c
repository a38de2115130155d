/* n-grams: places of a stream sorted by the n-grams that start there, probabilities of these, and tables where a stream
   finds them. Words of a stream are numbers; 1 begins a text, and a negative one is no word. */

#include <stdint.h>
#include <string.h>

#define BEGIN 1
#define LONGEST 32
#define BATCH 256
#define ODD 0x9e3779b97f4a7c15ULL

/* ---- n-grams of a stream */

typedef struct {
    int32_t word;    /* the last */
    int32_t context; /* all words but the last: its number among the (n-1)-grams */
    int32_t suffix;  /* all words but the first */
    int32_t count;   /* how often; of one that becomes longer how many words stand before it */
} ngram;

typedef struct {
    uint32_t at, ngram; /* where one starts in the stream, and its number */
} place;

typedef struct {
    uint32_t places, ngrams; /* of some n-grams with the same first word: how many, and then where the next ones go */
    uint32_t last;           /* (n-1)-gram in the last of them, and 1; 0 where there is none */
} bucket;

typedef struct {
    const int32_t *stream;
    const place *from; /* sorted by their (n-1)-grams; NULL: all of the stream, to be sorted by words */
    int64_t count;     /* of `from` */
    int32_t *firsts;   /* [count] the words before them; negative where no n-gram starts */
    int64_t vocabulary, parts;
    bucket *buckets; /* [parts, vocabulary] */
    int64_t *starts; /* [vocabulary + 1] where the n-grams with each first word begin in `to` */
    int64_t *heads;  /* [vocabulary + 1] the first n-gram with each first word */
    int64_t *lower;  /* [vocabulary + 1] the first (n-1)-gram */
    place *to;       /* sorted by their n-grams */
    ngram *below, *ngrams;
    uint32_t *begins; /* [(n-1)-grams] the first n-gram that has each as its context */
} lengthening;

/* Where a part of `from` begins: never inside an (n-1)-gram. */
static int64_t edge(const lengthening *of, int64_t part) {
    int64_t at = of->count * part / of->parts;
    if (of->from) while (at && at < of->count && of->from[at].ngram == of->from[at - 1].ngram) at++;
    return at;
}

static inline int32_t word_before(const lengthening *of, int64_t i) {
    if (!of->from) return of->stream[i];
    uint32_t at = of->from[i].at;
    return at && of->stream[at] != BEGIN ? of->stream[at - 1] : -1;
}

static void tally(const lengthening *of, bucket *buckets, int64_t start, int64_t end) {
    for (int64_t i = start; i < end; i++) of->firsts[i] = word_before(of, i);
    for (int64_t i = start; i < end; i++) {
        if (of->firsts[i] < 0) continue;
        bucket *into = &buckets[of->firsts[i]];
        uint32_t last = of->from ? of->from[i].ngram + 1 : 1;
        into->places++;
        into->ngrams += into->last != last;
        into->last = last;
    }
}

/* Places that are sorted by (n-1)-grams, and then by the word before each, are sorted by n-grams: a counting sort, whose
   first half this is. In a bucket the same n-grams stand together. */
void tally_ngrams(const lengthening *of) {
    int64_t size = of->vocabulary;
    memset(of->buckets, 0, (size_t)(of->parts * size) * sizeof *of->buckets);
#pragma omp parallel for
    for (int64_t part = 0; part < of->parts; part++)
        tally(of, of->buckets + part * size, edge(of, part), edge(of, part + 1));
    bucket total = {0, 0, 0};
    for (int64_t word = 0; word < size; word++) {
        of->starts[word] = total.places, of->heads[word] = total.ngrams;
        for (int64_t part = 0; part < of->parts; part++) {
            bucket *one = &of->buckets[part * size + word], next = total;
            total.places += one->places, total.ngrams += one->ngrams;
            *one = next;
        }
    }
    of->starts[size] = total.places, of->heads[size] = total.ngrams;
}

void place_words(const lengthening *of) {
#pragma omp parallel for
    for (int64_t part = 0; part < of->parts; part++) {
        bucket *buckets = of->buckets + part * of->vocabulary;
        for (int64_t i = edge(of, part), end = edge(of, part + 1); i < end; i++)
            if (of->firsts[i] >= 0)
                of->to[buckets[of->firsts[i]].places++] = (place){(uint32_t)i, (uint32_t)of->firsts[i]};
    }
}

/* The second half, for some of the (n-1)-grams. Contexts are those of the suffixes, for the time being. */
static void place_ngrams(const lengthening *of, bucket *buckets, int64_t start, int64_t end) {
    int64_t last = -1;
    for (int64_t i = start; i < end; i++) {
        if (of->firsts[i] < 0) continue;
        bucket *into = &buckets[of->firsts[i]];
        uint32_t suffix = of->from[i].ngram;
        ngram *below = &of->below[suffix];
        if (last != suffix) below->count = 0, last = suffix;
        if (into->last != suffix + 1) {
            into->last = suffix + 1;
            below->count++;
            of->ngrams[into->ngrams++] = (ngram){below->word, below->context, (int32_t)suffix, 0};
        }
        of->ngrams[into->ngrams - 1].count++;
        of->to[into->places++] = (place){of->from[i].at - 1, into->ngrams - 1};
    }
}

/* The contexts of n-grams with one first word, which are sorted by their suffixes: (n-1)-grams with this first word. */
static void find_contexts(const lengthening *of, int64_t word) {
    int64_t context = of->lower[word], end = of->lower[word + 1];
    if (context == end) return;
    of->begins[context] = (uint32_t)of->heads[word];
    for (int64_t i = of->heads[word]; i < of->heads[word + 1]; i++) {
        while (of->below[context].suffix != of->ngrams[i].context) of->begins[++context] = (uint32_t)i;
        of->ngrams[i].context = (int32_t)context;
    }
    while (++context < end) of->begins[context] = (uint32_t)of->heads[word + 1];
}

void lengthen_ngrams(const lengthening *of) {
#pragma omp parallel
    {
#pragma omp for
        for (int64_t part = 0; part < of->parts; part++)
            place_ngrams(of, of->buckets + part * of->vocabulary, edge(of, part), edge(of, part + 1));
#pragma omp for schedule(dynamic, 64)
        for (int64_t word = 0; word < of->vocabulary; word++) find_contexts(of, word);
    }
}

/* ---- smoothing */

/* How many n-grams have the counts 1, 2, 3 and 4. */
void tally_counts(const ngram *ngrams, int64_t size, int64_t *tally) {
    int64_t one = 0, two = 0, three = 0, four = 0;
#pragma omp parallel for reduction(+ : one, two, three, four)
    for (int64_t i = 0; i < size; i++) {
        int32_t count = ngrams[i].count;
        one += count == 1, two += count == 2, three += count == 3, four += count == 4;
    }
    tally[0] = one, tally[1] = two, tally[2] = three, tally[3] = four;
}

typedef struct {
    const ngram *ngrams;    /* [M] */
    const uint32_t *begins; /* [contexts + 1] */
    int64_t contexts;
    const double *discounts; /* for counts of 0, 1, 2, and 3 or more */
    const float *lower;      /* p of suffixes */
    float *p;                /* [M] */
    float *gamma;            /* [contexts] */
} smoothing;

static inline double discount(const smoothing *of, int64_t i) {
    return of->discounts[of->ngrams[i].count < 3 ? of->ngrams[i].count : 3];
}

static inline void smooth(const smoothing *of, int64_t context) {
    int64_t start = of->begins[context], end = of->begins[context + 1];
    double total = 0, taken = 0;
    for (int64_t i = start; i < end; i++) {
        total += of->ngrams[i].count;
        taken += discount(of, i);
    }
    double gamma = start < end ? taken / total : 1;
    of->gamma[context] = (float)gamma;
    for (int64_t i = start; i < end; i++)
        of->p[i] = (float)((of->ngrams[i].count - discount(of, i)) / total + gamma * of->lower[of->ngrams[i].suffix]);
}

void smooth_ngrams(const smoothing *of) {
#pragma omp parallel for schedule(dynamic, 256)
    for (int64_t context = 0; context < of->contexts; context++) smooth(of, context);
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
