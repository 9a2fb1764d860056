#include "cert_stack.h"

int stls_cert_index(const STACK_OF(X509) *stack, const X509 *cert)
{
    for (int i = 0; i < sk_X509_num(stack); i++) {
        if (X509_cmp(sk_X509_value(stack, i), cert) == 0) {
            return i;
        }
    }
    return -1;
}
