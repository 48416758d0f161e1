#include "common/http_curl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER_MAX = 64 * 1024, KEEP_DEFAULT = 64 * 1024 };

/* ---- addresses ------------------------------------------------------------------------------------------------ */

static bool public_v4(uint32_t a) {
  static const struct {
    uint32_t net;
    int bits;
  } reserved[] = {
    /* IANA IPv4 Special-Purpose Address Registry (RFC 6890), and multicast. */
    {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16}, {0xac100000, 12},
    {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16}, {0xc6120000, 15}, {0xc6336400, 24},
    {0xcb007100, 24}, {0xe0000000, 4},  {0xf0000000, 4},
  };
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if ((a & (0xffffffffu << (32 - reserved[i].bits))) == reserved[i].net) return false;
  return true;
}

static uint32_t word_at(const unsigned char *b) {
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Global unicast is 2000::/3; addresses that carry an IPv4 one inside are as public as that one. */
static bool public_v6(const unsigned char *b) {
  static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b};
  if (memcmp(b, mapped, 12) == 0 || memcmp(b, nat64, 12) == 0) return public_v4(word_at(b + 12));
  if ((b[0] & 0xe0) != 0x20) return false;
  if (b[0] == 0x20 && b[1] == 0x02) return public_v4(word_at(b + 2));         /* 6to4 */
  if (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0) return false;   /* Teredo */
  return !(b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0d && b[3] == 0xb8);     /* documentation */
}

bool http_address_is_public(const struct sockaddr *address) {
  if (address->sa_family == AF_INET)
    return public_v4(ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
  if (address->sa_family == AF_INET6)
    return public_v6(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
  return false;
}

static void note_address(struct http_exchange *x, const struct sockaddr *address) {
  const void *bytes = NULL;
  if (address->sa_family == AF_INET) bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
  if (address->sa_family == AF_INET6) bytes = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
  if (!bytes || !inet_ntop(address->sa_family, bytes, x->address, sizeof x->address)) x->address[0] = '\0';
  x->address_public = http_address_is_public(address);
}

static bool public_only(const struct http_slot *slot) {
  return slot->x->public_only || slot->client->settings.networks == HTTP_PUBLIC_ONLY;
}

/* Last gate before connect(): the address is the resolved one, so a name cannot point elsewhere afterwards. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
  struct http_slot *slot = context;
  (void)purpose;
  note_address(slot->x, &address->addr);
  if (public_only(slot) && !slot->x->address_public) {
    slot->forbidden = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

static size_t read_body(char *to, size_t size, size_t count, void *context) {
  struct http_slot *slot = context;
  struct http_exchange *x = slot->x;
  size_t want = size * count;
  int64_t left = x->body_size - slot->body_at;
  if (left <= 0) return 0;
  if ((int64_t)want > left) want = (size_t)left;
  if (!x->has_body_fd) {
    memcpy(to, (const char *)x->body + slot->body_at, want);
  } else {
    ssize_t got;
    do got = pread(x->body_fd, to, want, x->body_offset + slot->body_at);
    while (got < 0 && errno == EINTR);
    if (got <= 0) {
      snprintf(x->problem, sizeof x->problem, "the file to send %s", got ? strerror(errno) : "became shorter meanwhile");
      slot->unread = true;
      return CURL_READFUNC_ABORT;
    }
    want = (size_t)got;
  }
  slot->body_at += (int64_t)want;
  x->sent = slot->body_at;
  return want;
}

/* curl sends the body again when a kept connection turns out to be dead. */
static int seek_body(void *context, curl_off_t offset, int origin) {
  struct http_slot *slot = context;
  if (origin != SEEK_SET || offset < 0 || offset > slot->x->body_size) return CURL_SEEKFUNC_CANTSEEK;
  slot->body_at = offset;
  return CURL_SEEKFUNC_OK;
}

static size_t take_header(char *data, size_t size, size_t count, void *context) {
  struct http_slot *slot = context;
  struct http_exchange *x = slot->x;
  size_t bytes = size * count;
  if (bytes > 5 && memcmp(data, "HTTP/", 5) == 0) text_reset(&x->header); /* 100, then the real one */
  if (x->header.size + bytes > HEADER_MAX) {
    snprintf(x->problem, sizeof x->problem, "the answer's header is larger than 64 KiB");
    slot->unread = true;
    return 0;
  }
  text_add(&x->header, data, bytes);
  return bytes;
}

static enum http_take decide(struct http_slot *slot) {
  struct http_exchange *x = slot->x;
  curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &x->status);
  if (x->head) return x->head(x);
  return x->sink && x->status >= 200 && x->status < 300 ? HTTP_TAKE_SINK : HTTP_TAKE_KEEP;
}

static size_t take_body(char *data, size_t size, size_t count, void *context) {
  struct http_slot *slot = context;
  struct http_exchange *x = slot->x;
  size_t bytes = size * count;
  if (!slot->take) slot->take = decide(slot);
  x->received += (int64_t)bytes;
  if (slot->take == HTTP_TAKE_KEEP) {
    size_t limit = x->keep_limit ? x->keep_limit : KEEP_DEFAULT;
    size_t room = x->kept.size < limit ? limit - x->kept.size : 0;
    text_add(&x->kept, data, bytes < room ? bytes : room);
    return bytes;
  }
  if (slot->take == HTTP_TAKE_SINK && x->sink(x, data, bytes)) return bytes;
  slot->stopped = true;
  return 0;
}

/* ---- the handle ----------------------------------------------------------------------------------------------- */

static bool add_headers(struct http_slot *slot) {
  static const char *const own[] = {"Expect:", "Content-Type:", "Accept-Encoding: identity",
                                    "User-Agent: stagemill/1"};
  const size_t own_count = sizeof own / sizeof *own;
  for (size_t i = 0; i < own_count + slot->x->header_count; i++) {
    const char *line = i < own_count ? own[i] : slot->x->headers[i - own_count];
    struct curl_slist *longer = curl_slist_append(slot->headers, line);
    if (!longer) return false;
    slot->headers = longer;
  }
  return true;
}

static void set_method(struct http_slot *slot) {
  const struct http_exchange *x = slot->x;
  CURL *easy = slot->easy;
  if (strcmp(x->method, "PUT") == 0) {
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->body_size);
  } else if (strcmp(x->method, "POST") == 0) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body_size);
  } else if (strcmp(x->method, "HEAD") == 0) {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (strcmp(x->method, "GET") != 0) {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, x->method);
  }
}

static void set_limits(struct http_slot *slot) {
  const struct http_settings *settings = &slot->client->settings;
  long stall = slot->x->stall_s ? slot->x->stall_s : settings->stall_s ? settings->stall_s : 60;
  CURL *easy = slot->easy;
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   settings->connect_timeout_ms ? settings->connect_timeout_ms : 10000L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, slot->x->total_timeout_ms);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, stall);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a resolver thread that hangs must not delay a cancellation */
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L * 1024);
  if (public_only(slot)) {
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* a proxy would connect where nobody checks */
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  }
  if (settings->ca_file) curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca_file);
}

CURL *http_curl_make(struct http_slot *slot) {
  CURL *easy = slot->easy = curl_easy_init();
  if (!easy || !add_headers(slot)) return NULL;
  if (curl_easy_setopt(easy, CURLOPT_URL, slot->x->url) != CURLE_OK) return NULL;
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* a signed path must arrive as it was signed */
  curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, slot->error);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, slot->headers);
  curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_body);
  curl_easy_setopt(easy, CURLOPT_READDATA, slot);
  curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, seek_body);
  curl_easy_setopt(easy, CURLOPT_SEEKDATA, slot);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, slot);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, slot);
  set_method(slot);
  set_limits(slot);
  return easy;
}

/* ---- the verdict ---------------------------------------------------------------------------------------------- */

static const struct {
  CURLcode code;
  enum http_end end;
  const char *clause;
} verdicts[] = {
  {CURLE_COULDNT_RESOLVE_HOST, HTTP_UNREACHABLE, "the host name cannot be resolved"},
  {CURLE_COULDNT_RESOLVE_PROXY, HTTP_UNREACHABLE, "the proxy's name cannot be resolved"},
  {CURLE_COULDNT_CONNECT, HTTP_UNREACHABLE, "the connection was refused or there is no route"},
  {CURLE_PARTIAL_FILE, HTTP_BROKEN, "the connection ended in the middle of the answer"},
  {CURLE_GOT_NOTHING, HTTP_BROKEN, "the server closed the connection without an answer"},
  {CURLE_SEND_ERROR, HTTP_BROKEN, "the connection broke while sending"},
  {CURLE_RECV_ERROR, HTTP_BROKEN, "the connection broke while receiving"},
  {CURLE_WEIRD_SERVER_REPLY, HTTP_BROKEN, "the answer is not HTTP"},
  {CURLE_UNSUPPORTED_PROTOCOL, HTTP_IMPOSSIBLE, "the protocol is not http or https"},
  {CURLE_URL_MALFORMAT, HTTP_IMPOSSIBLE, "the URL is malformed"},
  {CURLE_PEER_FAILED_VERIFICATION, HTTP_UNTRUSTED, "the server's certificate is not trusted"},
  {CURLE_SSL_CACERT_BADFILE, HTTP_UNTRUSTED, "the file of trusted certificates cannot be read"},
  {CURLE_SSL_CONNECT_ERROR, HTTP_BROKEN, "the TLS handshake failed"},
  {CURLE_OUT_OF_MEMORY, HTTP_IMPOSSIBLE, "memory ran out"},
};

static void say(struct http_exchange *x, const char *clause) {
  if (!x->problem[0]) snprintf(x->problem, sizeof x->problem, "%s", clause);
}

static void judge_timeout(struct http_slot *slot) {
  curl_off_t connected = 0;
  curl_easy_getinfo(slot->easy, CURLINFO_CONNECT_TIME_T, &connected);
  slot->x->end = connected ? HTTP_STALLED : HTTP_UNREACHABLE;
  say(slot->x, connected ? "nothing moved for too long" : "no connection was made in time");
}

/* The peer of a connection that was made, also of a kept one. */
static void note_peer(struct http_slot *slot) {
  const char *ip = NULL;
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  if (curl_easy_getinfo(slot->easy, CURLINFO_PRIMARY_IP, &ip) != CURLE_OK || !ip || !ip[0]) return;
  if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1) note_address(slot->x, (struct sockaddr *)(void *)&v4);
  if (inet_pton(AF_INET6, ip, &v6.sin6_addr) == 1) note_address(slot->x, (struct sockaddr *)(void *)&v6);
}

void http_curl_judge(struct http_slot *slot, CURLcode code) {
  struct http_exchange *x = slot->x;
  note_peer(slot);
  curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &x->status);
  if (code == CURLE_OK && !slot->take) { /* an answer without a body */
    slot->take = decide(slot);
    slot->stopped = slot->take == HTTP_TAKE_STOP;
  }
  if (slot->forbidden && code != CURLE_OK) {
    x->end = HTTP_FORBIDDEN;
    snprintf(x->problem, sizeof x->problem, "its address %s is not a public one", x->address);
  } else if (slot->stopped) {
    x->end = HTTP_STOPPED;
  } else if (slot->unread) {
    x->end = HTTP_IMPOSSIBLE;
  } else if (code == CURLE_OK) {
    x->end = x->header.failed || x->kept.failed ? HTTP_IMPOSSIBLE : HTTP_ANSWERED;
  } else if (code == CURLE_OPERATION_TIMEDOUT) {
    judge_timeout(slot);
  } else {
    x->end = HTTP_BROKEN;
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
      if (verdicts[i].code != code) continue;
      x->end = verdicts[i].end;
      say(x, verdicts[i].clause);
    }
    say(x, slot->error[0] ? slot->error : curl_easy_strerror(code));
  }
}
