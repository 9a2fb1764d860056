/*
 * properties [WORLDS [SECONDS]]: so many random worlds, or as many as there is
 * time for.  properties --seed N tells all about one.  The last line is
 * "N passed, N failed", a property each.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct {
    const char *name;
    long num_broken;
    uint64_t first_seed;
} tally[WORLD_NUM_PROPERTIES];

static int try_world(uint64_t seed, int is_told)
{
    static world w;
    world_view view;
    world_outcome out = {.num_stored = 0};

    world_make(&w, seed, NULL, 0);
    world_view_all(&w, &view);
    world_check(&w, &view, &out);
    if (is_told) {
        world_print(&w);
        printf("verdict %d, %s, valid for %lld s; may accept %d, must reject %d; openssl %d\n",
               out.verdict, stls_reason_id(out.reason), (long long)(out.valid_until_s - w.now_s),
               world_may_accept(&w, w.now_s), world_must_reject(&w, w.now_s),
               world_openssl(&w, &view));
    }
    for (size_t i = 0; i < WORLD_NUM_PROPERTIES; i++) {
        int holds;
        tally[i].name = world_property(&w, &view, &out, i, &holds);
        if (!holds) {
            tally[i].first_seed = tally[i].num_broken++ == 0 ? seed : tally[i].first_seed;
            if (is_told || tally[i].num_broken <= 3) {
                printf("seed %llu breaks: %s\n", (unsigned long long)seed, tally[i].name);
            }
        }
    }
    aid_end(NULL);
    return out.verdict == STLS_ACCEPT;
}

int main(int argc, char **argv)
{
    long num_accepted = 0, num_worlds = 0, failed = 0, most = argc > 1 ? atol(argv[1]) : 20000;
    time_t end = time(NULL) + (argc > 2 ? atol(argv[2]) : 60);

    if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
        num_accepted = try_world(strtoull(argv[2], NULL, 10), 1);
        num_worlds = 1;
    } else {
        for (; num_worlds < most && time(NULL) < end; num_worlds++) {
            num_accepted += try_world((uint64_t)num_worlds + 1, 0);
        }
        printf("%ld worlds, %ld accepted\n", num_worlds, num_accepted);
        failed = num_accepted == 0 || num_accepted == num_worlds; /* nothing was asked of it */
    }
    for (size_t i = 0; i < WORLD_NUM_PROPERTIES && num_worlds > 0; i++) {
        printf("%-36s %ld broken, first by seed %llu\n", tally[i].name, tally[i].num_broken,
               (unsigned long long)tally[i].first_seed);
        failed += tally[i].num_broken != 0;
    }
    printf("%ld passed, %ld failed\n", WORLD_NUM_PROPERTIES - failed, failed);
    return failed != 0;
}
