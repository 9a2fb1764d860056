/* A hash table of things that carry their own node. The callers hold a lock. */
#ifndef STLS_CURL_TABLE_H
#define STLS_CURL_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* The first member of what is kept. */
typedef struct stls_node_st {
    struct stls_node_st *next;
    uint64_t hash;
} stls_node;

typedef struct {
    stls_node **buckets;
    size_t num_buckets;
    size_t num;
} stls_table;

uint64_t stls_table_hash(const void *bytes, size_t len);

/* The first node of this hash behind `after` (NULL: from the beginning), or NULL. */
stls_node *stls_table_next(const stls_table *table, uint64_t hash, const stls_node *after);

/* 0: no memory. */
int stls_table_add(stls_table *table, stls_node *node, uint64_t hash);
void stls_table_remove(stls_table *table, stls_node *node);

#endif
