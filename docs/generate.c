/* Prints the tables of the reference pages from the core's own: `generate keys`, `generate reasons`. */
#include <stdio.h>
#include <string.h>

#include "strict_tls/strict_tls.h"

static void print_keys(void)
{
    static const char *const types[] = {"one word", "number", "list", "text"};
    const stls_key_info *keys = stls_policy_keys();

    puts("| key | type | values | default | meaning |\n|---|---|---|---|---|");
    for (size_t i = 0; i < STLS_NUM_KEYS; i++) {
        char def[64] = "none";
        if (keys[i].def[0] != '\0') {
            snprintf(def, sizeof(def), "`%s`", keys[i].def);
        }
        printf("| `%s` | %s | `%s` | %s | %s |\n", keys[i].name, types[keys[i].type],
               keys[i].values, def, keys[i].doc);
    }
}

static void print_reasons(void)
{
    size_t num;
    const stls_reason_info *reasons = stls_reasons(&num);

    puts("| id | number | meaning | source | who must act | what to do "
         "|\n|---|---|---|---|---|---|");
    for (size_t i = 0; i < num; i++) {
        printf("| `%s` | %d | %s | %s | %s | %s |\n", reasons[i].id, (int)reasons[i].reason,
               reasons[i].text, reasons[i].rfc, reasons[i].who, reasons[i].remedy);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "keys") == 0) {
        print_keys();
    } else if (argc == 2 && strcmp(argv[1], "reasons") == 0) {
        print_reasons();
    } else {
        fputs("usage: generate keys|reasons\n", stderr);
        return 3;
    }
    return 0;
}
