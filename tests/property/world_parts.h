/* What the files that make a world share. */
#ifndef STLS_PROPERTY_WORLD_PARTS_H
#define STLS_PROPERTY_WORLD_PARTS_H

#include "world.h"

enum {
    ROOT_NAME = 0,
    CA_NAME = 1,
    OTHER_ROOT_NAME = 5,
    CRL_ISSUER_NAME = 7,
    RESPONDER_NAME = 8,
    LEAF_NAME_ID = 9
};
enum {
    ROOT_KEY = 0,
    ROOT_NEW_KEY = 1,
    CA_KEY = 2,
    OTHER_ROOT_KEY = 5,
    CA_NEW_KEY = 6,
    CRL_ISSUER_KEY = 9,
    RESPONDER_KEY = 10,
    LEAF_KEY = 11,
    CRL_KEY = 12,
    EVIL_KEY = 13,
    FORGER_KEY = 14
};

#define CRL_URL "http://c.test/%d"
#define DELTA_URL "http://d.test/%d"

/* One general name: GEN_URI, or GEN_DIRNAME with this common name. */
GENERAL_NAMES *world_names_of(int type, const char *text);
/* A distribution point with this URL, and this CRL issuer if there is one. */
CRL_DIST_POINTS *world_points_of(const char *url, int crl_issuer);

/* world_say.c: each adds a statement, or none where it does not fit. */
void world_say_by_crl(world *w);
void world_say_by_delta(world *w);
void world_say_by_ocsp(world *w);

#endif
