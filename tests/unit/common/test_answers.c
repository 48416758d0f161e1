/* What answers of servers are taken to mean: XML, headers, S3's errors, checksums. No network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "common/s3.h"
#include "common/xml.h"

static void xml_texts_and_entities(void **state) {
  (void)state;
  const char *xml = "<?xml version=\"1.0\"?><R xmlns=\"x\"><Part><PartNumber>1</PartNumber><ETag>&#34;ab&quot;</ETag>"
                    "<Size>5</Size></Part><Empty/><Key>a&amp;b&lt;c</Key></R>";
  text_auto struct text key = {0}, none = {0}, etag = {0};
  assert_true(xml_text(xml, strlen(xml), "Key", &key));
  assert_string_equal(text_string(&key), "a&b<c");
  assert_true(xml_text(xml, strlen(xml), "ETag", &etag));
  assert_string_equal(text_string(&etag), "\"ab\"");
  assert_false(xml_text(xml, strlen(xml), "Missing", &none));
  assert_true(xml_text(xml, strlen(xml), "Empty", &none));
  assert_string_equal(text_string(&none), "");
}

static void broken_xml_ends(void **state) {
  (void)state;
  static const char *const rows[] = {"", "<", "<Key", "<Key>", "<Key>a", "<Key>a</Ke", "<<<<Key>>", "&#", "<Key>&#</Key>",
                                     "<Key>&#99999999999;</Key>", "<Key x='"};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char *exact = malloc(strlen(rows[i]) + 1); /* so that a read too far is seen by the address sanitizer */
    assert_non_null(exact);
    strcpy(exact, rows[i]);
    text_auto struct text out = {0};
    xml_text(exact, strlen(exact), "Key", &out);
    free(exact);
  }
}

static void headers_of_an_answer(void **state) {
  (void)state;
  struct http_exchange x = {0};
  char value[64];
  text_put(&x.header, "HTTP/1.1 200 OK\r\ncontent-length: 12\r\nETag:  \"abc\" \r\nRetry-After: 7\r\n\r\n");
  assert_true(http_answer_header(&x, "ETag", value, sizeof value));
  assert_string_equal(value, "\"abc\"");
  assert_int_equal(http_length(&x), 12);
  assert_int_equal(http_retry_after_s(&x), 7);
  assert_false(http_answer_header(&x, "Content", value, sizeof value));
  http_reset(&x);
  assert_int_equal(http_length(&x), -1);
}

static void addresses_that_are_not_public(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool is_public;
  } rows[] = {
    {"93.184.216.34", true},    {"8.8.8.8", true},          {"127.0.0.1", false},        {"127.255.0.9", false},
    {"10.1.2.3", false},        {"172.16.0.1", false},      {"172.31.255.255", false},   {"172.32.0.1", true},
    {"192.168.1.1", false},     {"169.254.169.254", false}, {"100.64.0.1", false},       {"100.128.0.1", true},
    {"0.0.0.0", false},         {"224.0.0.1", false},       {"255.255.255.255", false},  {"198.18.0.1", false},
    {"::1", false},             {"::", false},              {"fe80::1", false},          {"fd00::1", false},
    {"2606:4700::1111", true},  {"::ffff:127.0.0.1", false}, {"::ffff:8.8.8.8", true},   {"64:ff9b::10.0.0.1", false},
    {"2002:7f00:1::", false},   {"2001:db8::1", false},     {"ff02::1", false},          {"2002:808:808::", true},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    union {
      struct sockaddr any;
      struct sockaddr_in v4;
      struct sockaddr_in6 v6;
    } address = {0};
    if (strchr(rows[i].text, ':')) {
      address.v6.sin6_family = AF_INET6;
      assert_int_equal(inet_pton(AF_INET6, rows[i].text, &address.v6.sin6_addr), 1);
    } else {
      address.v4.sin_family = AF_INET;
      assert_int_equal(inet_pton(AF_INET, rows[i].text, &address.v4.sin_addr), 1);
    }
    if (http_address_is_public(&address.any) != rows[i].is_public) fail_msg("%s", rows[i].text);
  }
}

static struct s3_store *some_store(struct http_client **client) {
  const char *why = "";
  *client = http_open(&(struct http_settings){0});
  assert_non_null(*client);
  struct s3_store *store = s3_open(*client, &(struct s3_settings){.endpoint = "http://127.0.0.1:9/base/", .bucket = "b-1",
                                                                 .access_key = "k", .secret_key = "s"}, &why);
  assert_non_null(store);
  return store;
}

static enum s3_outcome outcome_of(struct s3_store *store, long status, const char *body, char *problem, size_t size) {
  struct s3_call *call = calloc(1, sizeof *call);
  assert_non_null(call);
  call->store = store;
  call->x.end = HTTP_ANSWERED;
  call->x.status = status;
  text_put(&call->x.kept, body);
  s3_judge(call);
  enum s3_outcome outcome = call->outcome;
  snprintf(problem, size, "%s", call->problem);
  s3_call_clear(call);
  free(call);
  return outcome;
}

static void errors_become_verdicts_with_a_cure(void **state) {
  (void)state;
  static const struct {
    long status;
    const char *body;
    enum s3_outcome outcome;
    const char *says;
  } rows[] = {
    {200, "", S3_DONE, ""},
    {200, "<Error><Code>InternalError</Code></Error>", S3_TRANSIENT, "internal error"},
    {404, "<Error><Code>NoSuchBucket</Code></Error>", S3_REFUSED, "the bucket does not exist"},
    {404, "<Error><Code>NoSuchKey</Code></Error>", S3_ABSENT, "no such object"},
    {404, "", S3_ABSENT, "404"},
    {403, "<Error><Code>SignatureDoesNotMatch</Code></Error>", S3_REFUSED, "check secret-key"},
    {403, "", S3_REFUSED, "check endpoint, bucket"},
    {400, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>", S3_REFUSED, "eu-west-3"},
    {503, "<Error><Code>SlowDown</Code></Error>", S3_TRANSIENT, "slow down"},
    {503, "<html>", S3_TRANSIENT, "503"},
    {500, "<Error><Code>NeverHeardOf</Code><Message>what</Message></Error>", S3_TRANSIENT, "NeverHeardOf: what"},
    {418, "<Error><Code>NeverHeardOf</Code></Error>", S3_REFUSED, "NeverHeardOf"},
    {301, "", S3_REFUSED, "lives elsewhere"},
  };
  struct http_client *client;
  struct s3_store *store = some_store(&client);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char problem[512];
    assert_int_equal(outcome_of(store, rows[i].status, rows[i].body, problem, sizeof problem), rows[i].outcome);
    assert_non_null(strstr(problem, rows[i].says));
    if (rows[i].outcome != S3_DONE) assert_non_null(strstr(problem, "http://127.0.0.1:9"));
  }
  s3_close(&store);
  http_close(&client);
}

static void endpoints_that_make_no_sense(void **state) {
  (void)state;
  static const char *const rows[][2] = {
    {"ftp://h", "is neither http nor https"},
    {"http://u:p@h", "carries a user name: use access-key and secret-key"},
    {"http://h/?x", "has a query or fragment, which an endpoint cannot have"},
    {"h:7480", "has no host"},
  };
  struct http_client *client = http_open(&(struct http_settings){0});
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *why = "";
    assert_null(s3_open(client, &(struct s3_settings){.endpoint = rows[i][0], .bucket = "bucket", .access_key = "k",
                                                      .secret_key = "s"}, &why));
    assert_string_equal(why, rows[i][1]);
  }
  http_close(&client);
}

static void object_urls_are_path_style_and_encoded(void **state) {
  (void)state;
  struct http_client *client;
  struct s3_store *store = some_store(&client);
  text_auto struct text url = {0};
  assert_true(s3_url(store, "a b/+=(x)'*!/\xc3\xa9.ts", &url));
  assert_string_equal(text_string(&url), "http://127.0.0.1:9/base/b-1/a%20b/%2B%3D%28x%29%27%2A%21/%C3%A9.ts");
  s3_close(&store);
  http_close(&client);
}

static void checksums_of_a_range(void **state) {
  (void)state;
  char path[] = "/tmp/stagemill-checksum-XXXXXX", hex[SHA256_HEX_SIZE], base64[32];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  unlink(path);
  assert_int_equal(write(fd, "xxabcyy", 7), 7);
  struct checksum sum;
  assert_int_equal(checksum_of_range(fd, 2, 3, NULL, NULL, &sum), 0);
  checksum_hex(sum.sha256, SHA256_SIZE, hex); /* FIPS 180-2 B.1 */
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  checksum_hex(sum.md5, MD5_SIZE, hex); /* RFC 1321 A.5 */
  assert_string_equal(hex, "900150983cd24fb0d6963f7d28e17f72");
  checksum_base64(sum.md5, MD5_SIZE, base64);
  assert_string_equal(base64, "kAFQmDzST7DWlj99KOF/cg==");
  assert_int_not_equal(checksum_of_range(fd, 2, 30, NULL, NULL, &sum), 0);
  close(fd);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(xml_texts_and_entities),
    cmocka_unit_test(broken_xml_ends),
    cmocka_unit_test(headers_of_an_answer),
    cmocka_unit_test(addresses_that_are_not_public),
    cmocka_unit_test(errors_become_verdicts_with_a_cure),
    cmocka_unit_test(endpoints_that_make_no_sense),
    cmocka_unit_test(object_urls_are_path_style_and_encoded),
    cmocka_unit_test(checksums_of_a_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
