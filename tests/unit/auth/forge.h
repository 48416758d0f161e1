/* forge.h - tokens as an attacker or another program makes them: nothing here asks the code under test. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "auth/auth.h"
#include "base/buf.h"
#include "base/clock.h"

#define FORGE_SECRET "0123456789abcdef0123456789abcdef-secret"
/* A literal where an owned text goes that nothing writes to. */
#define TEXT(literal) ((char *)(uintptr_t)(literal))
enum { NOW_S = 1800000000 };

/* A folder of its own under TMPDIR, removed at the end, with rsa.pem, rsa.pub, ec.pem, ec.pub, p384.pem, weak.pub in
 * it. */
struct forge {
  char folder[256];
  EVP_PKEY *rsa, *ec;
  struct clock_fake clock;
};
void forge_open(struct forge *f);
void forge_close(struct forge *f);
char *forge_path(const struct forge *f, const char *name); /* owned */
void forge_write(const struct forge *f, const char *name, const char *text, unsigned mode);
char *forge_read(const struct forge *f, const char *name); /* owned */

/* base64url(header) "." base64url(payload), and a signature: HMAC with a secret, or by a key pair. Owned. */
char *forge_hs(const char *header, const char *payload, const void *secret, size_t size);
char *forge_pair(const char *header, const char *payload, EVP_PKEY *pair);
char *forge_none(const char *header, const char *payload); /* with an empty signature */
/* `{"sub":"ann","scope":"read submit","exp":...}` with `more` (`,"nbf":1`) behind it. Owned. */
char *forge_payload(const char *more);
