/* URLs and media types as RFC 3986 and the registry have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mime.h"
#include "common/url.h"

static void parts_of_a_url(void **state) {
  (void)state;
  struct url url;
  const char *why = NULL;
  assert_true(url_parse("HTTPS://me:p%40ss@Example.ORG:8443/a%20b/c?x=1&y#top", &url, &why));
  assert_string_equal(url.scheme, "https");
  assert_string_equal(url.userinfo, "me:p%40ss");
  assert_string_equal(url.host, "example.org");
  assert_int_equal(url.port, 8443);
  assert_string_equal(url.path, "/a%20b/c");
  assert_string_equal(url.query, "x=1&y");
  assert_string_equal(url.fragment, "top");
  url_clear(&url);

  assert_true(url_parse("http://[2001:DB8::1]:80", &url, &why));
  assert_string_equal(url.host, "[2001:db8::1]");
  assert_int_equal(url.port, 80);
  assert_string_equal(url.path, "");
  url_clear(&url);

  assert_true(url_parse("file:///srv/clip.mp4", &url, &why));
  assert_string_equal(url.host, "");
  assert_string_equal(url.path, "/srv/clip.mp4");
  url_clear(&url);
}

static void the_last_at_sign_ends_the_user(void **state) {
  (void)state;
  struct url url;
  assert_true(url_parse("http://trusted.org@evil.org@real.org/", &url, NULL));
  assert_string_equal(url.host, "real.org");
  url_clear(&url);
}

static void malformed_urls_are_refused_with_a_reason(void **state) {
  (void)state;
  static const struct {
    const char *url, *why;
  } rows[] = {
    {"clip.mp4", "has no scheme such as https://"},
    {"http://", "has no host"},
    {"http:///x", "has no host"},
    {"http://a b/", "contains a blank or a control character"},
    {"http://a/\r\nHost: evil", "contains a blank or a control character"},
    {"http://a/%zz", "contains a broken percent escape"},
    {"http://a/%4", "contains a broken percent escape"},
    {"http://a:99999/", "has a port above 65535"},
    {"http://a:0/", "has port 0"},
    {"http://a:8x/", "has a port that is not a number"},
    {"http://[::1/", "has a malformed host"},
    {"http://[::1]x/", "has a malformed host"},
    {"http://a\\@evil/", "contains a character no URL may have"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct url url;
    const char *why = "";
    assert_false(url_parse(rows[i].url, &url, &why));
    assert_string_equal(why, rows[i].why);
  }
  char *longest = malloc(URL_SIZE_MAX + 100);
  assert_non_null(longest);
  memset(longest, 'a', URL_SIZE_MAX + 99);
  longest[URL_SIZE_MAX + 99] = '\0';
  memcpy(longest, "http://", 7);
  struct url url;
  assert_false(url_parse(longest, &url, NULL));
  free(longest);
}

static void normal_form(void **state) {
  (void)state;
  static const char *const rows[][2] = {
    {"HTTP://EXAMPLE.org:80", "http://example.org/"},
    {"https://example.org:443/%7euser/%2f%c3%a9", "https://example.org/~user/%2F%C3%A9"},
    {"http://a/b/./c/../../g", "http://a/g"},
    {"http://a/../../x", "http://a/x"},
    {"http://a/b/..", "http://a/"},
    {"http://a/b/.", "http://a/b/"},
    {"http://a//b//../c", "http://a//b/c"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct url url;
    text_auto struct text out = {0};
    assert_true(url_parse(rows[i][0], &url, NULL));
    assert_true(url_normalise(&url));
    url_format(&out, &url, 0);
    assert_string_equal(text_string(&out), rows[i][1]);
    url_clear(&url);
  }
}

/* RFC 3986 5.4.1 and 5.4.2, without the rows whose base is not hierarchical. */
static void references_resolve_as_the_rfc_says(void **state) {
  (void)state;
  static const char *const rows[][2] = {
    {"g", "http://a/b/c/g"},           {"./g", "http://a/b/c/g"},      {"g/", "http://a/b/c/g/"},
    {"/g", "http://a/g"},              {"//g", "http://g/"},           {"?y", "http://a/b/c/d;p?y"},
    {"g?y", "http://a/b/c/g?y"},       {"", "http://a/b/c/d;p?q"},     {".", "http://a/b/c/"},
    {"..", "http://a/b/"},             {"../g", "http://a/b/g"},       {"../..", "http://a/"},
    {"../../g", "http://a/g"},         {"../../../g", "http://a/g"},   {"/./g", "http://a/g"},
    {"/../g", "http://a/g"},           {"g.", "http://a/b/c/g."},      {"..g", "http://a/b/c/..g"},
    {"./../g", "http://a/b/g"},        {"g;x=1/../y", "http://a/b/c/y"}, {"g h", "http://a/b/c/g%20h"},
    {"https://other/x", "https://other/x"},
  };
  struct url base;
  assert_true(url_parse("http://a/b/c/d;p?q", &base, NULL));
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct url url;
    text_auto struct text out = {0};
    assert_true(url_resolve(&base, rows[i][0], &url, NULL));
    url_format(&out, &url, 0);
    assert_string_equal(text_string(&out), rows[i][1]);
    url_clear(&url);
  }
  url_clear(&base);
}

static void encoding_leaves_only_unreserved_characters(void **state) {
  (void)state;
  text_auto struct text out = {0};
  const char *key = "a b+c=(d)'*!/\xc3\xa9~.txt";
  url_encode(&out, key, strlen(key), URL_KEEP_SLASHES);
  assert_string_equal(text_string(&out), "a%20b%2Bc%3D%28d%29%27%2A%21/%C3%A9~.txt");
  char *back = url_decode(text_string(&out));
  assert_string_equal(back, key);
  free(back);
  assert_null(url_decode("a%00b"));
  assert_null(url_decode("a%q0b"));
}

static void credentials_never_show(void **state) {
  (void)state;
  static const char *const rows[][2] = {
    {"https://me:pass@h.org/x?a=1", "https://***@h.org/x?a=1"},
    {"https://h.org/x?X-Amz-Signature=abc&X-Amz-Credential=k&part=2",
     "https://h.org/x?X-Amz-Signature=***&X-Amz-Credential=***&part=2"},
    {"https://h.org/x?token=abc;API_KEY=z#frag", "https://h.org/x?token=***;API_KEY=***"},
    {"https://me:pa ss@h.org/", "https://***"},
    {"/srv/plain path", "/srv/plain path"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char out[256];
    assert_string_equal(url_redact(rows[i][0], out, sizeof out), rows[i][1]);
  }
}

static void media_types_by_name(void **state) {
  (void)state;
  assert_string_equal(mime_of_name("a/b.M3U8"), "application/vnd.apple.mpegurl");
  assert_string_equal(mime_of_name("seg_000.ts"), "video/mp2t");
  assert_string_equal(mime_of_name("init.m4s"), "video/iso.segment");
  assert_string_equal(mime_of_name("x.tar/plain"), "application/octet-stream");
  assert_string_equal(mime_extension("video/mp4; codecs=\"avc1\""), ".mp4");
  assert_string_equal(mime_extension("video/unheard-of"), "");
  assert_true(mime_is_playlist("application/x-mpegURL"));
  assert_false(mime_is_playlist("video/mp2t"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(parts_of_a_url),
    cmocka_unit_test(the_last_at_sign_ends_the_user),
    cmocka_unit_test(malformed_urls_are_refused_with_a_reason),
    cmocka_unit_test(normal_form),
    cmocka_unit_test(references_resolve_as_the_rfc_says),
    cmocka_unit_test(encoding_leaves_only_unreserved_characters),
    cmocka_unit_test(credentials_never_show),
    cmocka_unit_test(media_types_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
