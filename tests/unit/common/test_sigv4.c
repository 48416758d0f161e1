/* The signatures Amazon publishes: its SigV4 test suite (20150830, region us-east-1, service "service") and the examples
 * of the S3 API Reference, "Signature Calculations for the Authorization Header" and "Authenticating Requests: Using
 * Query Parameters" (20130524, examplebucket). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/checksum.h"
#include "common/sigv4.h"

static const struct sigv4_keys suite = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", NULL, "us-east-1",
                                        "service"};
static const struct sigv4_keys s3 = {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", NULL,
                                     "us-east-1", "s3"};
enum { SUITE_AT = 1440938160, S3_AT = 1369353600 };

static void expect(const struct sigv4_request *request, const struct sigv4_keys *keys, const char *signed_headers,
                   const char *signature) {
  text_auto struct text out = {0};
  assert_true(sigv4_authorization(&out, request, keys));
  const char *names = strstr(text_string(&out), "SignedHeaders=");
  assert_non_null(names);
  assert_memory_equal(names + 14, signed_headers, strlen(signed_headers));
  assert_string_equal(strstr(text_string(&out), "Signature=") + 10, signature);
}

static struct sigv4_request suite_request(const char *method) {
  return (struct sigv4_request){.method = method, .host = "example.amazonaws.com", .path = "/",
                                .payload_sha256 = SIGV4_EMPTY_SHA256, .at = SUITE_AT};
}

static void plain_requests_of_the_suite(void **state) {
  (void)state;
  struct sigv4_request get = suite_request("GET"), post = suite_request("POST");
  expect(&get, &suite, "host;x-amz-date,", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  expect(&post, &suite, "host;x-amz-date,", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

static void the_whole_authorization_header(void **state) {
  (void)state;
  text_auto struct text out = {0};
  struct sigv4_request get = suite_request("GET");
  assert_true(sigv4_authorization(&out, &get, &suite));
  assert_string_equal(text_string(&out),
                      "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                      "SignedHeaders=host;x-amz-date, "
                      "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

static void queries_are_sorted(void **state) {
  (void)state;
  struct sigv4_request get = suite_request("GET");
  get.query = (const struct sigv4_field[]){{"Param2", "value2"}, {"Param1", "value1"}};
  get.query_count = 2;
  expect(&get, &suite, "host;x-amz-date,", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

static void header_values_are_trimmed_and_folded(void **state) {
  (void)state;
  struct sigv4_request get = suite_request("GET");
  get.headers = (const struct sigv4_field[]){{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}};
  get.header_count = 2;
  expect(&get, &suite, "host;my-header1;my-header2;x-amz-date,",
         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
}

static struct sigv4_request s3_request(const char *method, const char *path) {
  return (struct sigv4_request){.method = method, .host = "examplebucket.s3.amazonaws.com", .path = path,
                                .payload_sha256 = SIGV4_EMPTY_SHA256, .at = S3_AT};
}

static void s3_get_of_a_range(void **state) {
  (void)state;
  struct sigv4_request get = s3_request("GET", "/test.txt");
  get.headers = (const struct sigv4_field[]){{"Range", "bytes=0-9"}, {"x-amz-content-sha256", SIGV4_EMPTY_SHA256}};
  get.header_count = 2;
  expect(&get, &s3, "host;range;x-amz-content-sha256;x-amz-date,",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void s3_put_with_a_payload_and_a_dollar_in_the_key(void **state) {
  (void)state;
  char sha256[SHA256_HEX_SIZE];
  assert_true(checksum_sha256_hex("Welcome to Amazon S3.", 21, sha256));
  struct sigv4_request put = s3_request("PUT", "/test$file.text");
  put.payload_sha256 = sha256;
  put.headers = (const struct sigv4_field[]){{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                                             {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
                                             {"x-amz-content-sha256", sha256}};
  put.header_count = 3;
  expect(&put, &s3, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void s3_queries_without_value_and_with_values(void **state) {
  (void)state;
  struct sigv4_request get = s3_request("GET", "/");
  get.headers = (const struct sigv4_field[]){{"x-amz-content-sha256", SIGV4_EMPTY_SHA256}};
  get.header_count = 1;
  get.query = (const struct sigv4_field[]){{"lifecycle", ""}};
  get.query_count = 1;
  expect(&get, &s3, "host;x-amz-content-sha256;x-amz-date,",
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  get.query = (const struct sigv4_field[]){{"prefix", "J"}, {"max-keys", "2"}};
  get.query_count = 2;
  expect(&get, &s3, "host;x-amz-content-sha256;x-amz-date,",
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void s3_presigned_url(void **state) {
  (void)state;
  text_auto struct text out = {0};
  struct sigv4_request get = s3_request("GET", "/test.txt");
  get.payload_sha256 = SIGV4_UNSIGNED;
  assert_true(sigv4_presign(&out, &get, &s3, 86400));
  assert_string_equal(text_string(&out),
                      "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
                      "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
                      "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
                      "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

static void presigned_lifetime_is_bounded(void **state) {
  (void)state;
  text_auto struct text out = {0};
  struct sigv4_request get = s3_request("GET", "/test.txt");
  get.payload_sha256 = SIGV4_UNSIGNED;
  assert_true(sigv4_presign(&out, &get, &s3, 1000000000));
  assert_non_null(strstr(text_string(&out), "X-Amz-Expires=604800&"));
}

static void a_line_break_in_a_header_is_refused(void **state) {
  (void)state;
  text_auto struct text out = {0};
  struct sigv4_request get = suite_request("GET");
  get.headers = (const struct sigv4_field[]){{"cache-control", "max-age=1\r\nx-amz-acl: public-read"}};
  get.header_count = 1;
  assert_false(sigv4_authorization(&out, &get, &suite));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(plain_requests_of_the_suite),
    cmocka_unit_test(the_whole_authorization_header),
    cmocka_unit_test(queries_are_sorted),
    cmocka_unit_test(header_values_are_trimmed_and_folded),
    cmocka_unit_test(s3_get_of_a_range),
    cmocka_unit_test(s3_put_with_a_payload_and_a_dollar_in_the_key),
    cmocka_unit_test(s3_queries_without_value_and_with_values),
    cmocka_unit_test(s3_presigned_url),
    cmocka_unit_test(presigned_lifetime_is_bounded),
    cmocka_unit_test(a_line_break_in_a_header_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
