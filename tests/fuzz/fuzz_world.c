/*
 * A small PKI made of the input, and what is said in it about revocation: base,
 * delta and indirect CRLs, delegated responders, rolled-over keys.  Everything
 * is signed, so that the input gets past the signatures.  The properties of
 * tests/property/ must hold in it.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static world w;
    world_view view;
    world_outcome out = {.num_stored = 0};

    world_make(&w, 1, data, len);
    world_view_all(&w, &view);
    world_check(&w, &view, &out);
    for (size_t i = 0; i < WORLD_NUM_PROPERTIES; i++) {
        int holds;
        const char *name = world_property(&w, &view, &out, i, &holds);
        if (!holds) {
            world_print(&w);
            printf("broken: %s\n", name);
            fflush(stdout);
            abort();
        }
    }
    aid_end(NULL);
    return 0;
}
