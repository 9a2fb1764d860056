#include "table.h"

#include <stdlib.h>

#define FIRST_BUCKETS 64

/* FNV-1a, its high bits folded into those that choose the bucket. */
uint64_t stls_table_hash(const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ at[i]) * 1099511628211u;
    }
    return hash ^ hash >> 32;
}

static stls_node **bucket_of(const stls_table *table, uint64_t hash)
{
    return &table->buckets[hash & (table->num_buckets - 1)];
}

stls_node *stls_table_next(const stls_table *table, uint64_t hash, const stls_node *after)
{
    stls_node *node = NULL;

    if (after != NULL) {
        node = after->next;
    } else if (table->num_buckets > 0) {
        node = *bucket_of(table, hash);
    }
    while (node != NULL && node->hash != hash) {
        node = node->next;
    }
    return node;
}

static int grow(stls_table *table)
{
    stls_table larger = {.num_buckets = table->num_buckets > 0 ? 2 * table->num_buckets
                                                               : FIRST_BUCKETS,
                         .num = table->num};

    larger.buckets = calloc(larger.num_buckets, sizeof(*larger.buckets));
    if (larger.buckets == NULL) {
        return 0;
    }
    for (size_t i = 0; i < table->num_buckets; i++) {
        for (stls_node *node = table->buckets[i], *next; node != NULL; node = next) {
            stls_node **bucket = bucket_of(&larger, node->hash);
            next = node->next;
            node->next = *bucket;
            *bucket = node;
        }
    }
    free(table->buckets);
    *table = larger;
    return 1;
}

int stls_table_add(stls_table *table, stls_node *node, uint64_t hash)
{
    if (table->num >= table->num_buckets && !grow(table)) {
        return 0;
    }
    stls_node **bucket = bucket_of(table, hash);
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    table->num++;
    return 1;
}

void stls_table_remove(stls_table *table, stls_node *node)
{
    stls_node **place = bucket_of(table, node->hash);

    while (*place != node) {
        place = &(*place)->next;
    }
    *place = node->next;
    table->num--;
}
