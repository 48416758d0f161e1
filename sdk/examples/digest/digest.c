/* digest.c - a whole stage plugin: the checksum of a file. */
#include <stagemill/stage.h>

#include <openssl/evp.h>
#include <unistd.h>

static const sm_param params[] = {
  SM_CHOICE("algorithm", "sha256", "sha256|sha1|md5", "digest to compute"), SM_PARAMS_END};
static const sm_port inputs[] = {SM_INPUT("file", "*/*", "what to digest"), SM_PORTS_END};
static const sm_port outputs[] = {SM_OUTPUT("digest", "text/plain", "hex digest"), SM_PORTS_END};
static const sm_result results[] = {SM_RESULT_TEXT("hex", SM_AT_END, "the digest"), SM_RESULTS_END};

static sm_status hash(sm_task *task, int fd, EVP_MD_CTX *md) {
  sm_input input = {0};
  char block[65536];
  int64_t done = 0;
  ssize_t n;
  sm_input_info(task, "file", 0, &input);
  while ((n = read(fd, block, sizeof block)) > 0) {
    EVP_DigestUpdate(md, block, (size_t)n);
    done += n;
    sm_progress(task, input.size_bytes > 0 ? (double)done / (double)input.size_bytes : 0, NULL);
    if (sm_cancelled(task)) return SM_CANCELLED;
  }
  return n == 0 ? SM_OK : sm_fail(task, SM_RETRY, "read", "'%s' cannot be read to its end", input.name);
}

static sm_status publish(sm_task *task, EVP_MD_CTX *md) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
  unsigned size = 0;
  EVP_DigestFinal_ex(md, bytes, &size);
  for (unsigned i = 0; i < size; i++) snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
  FILE *file = fopen(sm_output_path(task, "digest", "digest.txt"), "w");
  int written = file ? fprintf(file, "%s\n", hex) : -1;
  if (!file || fclose(file) != 0 || written < 0)
    return sm_fail(task, SM_RETRY, "write", "digest.txt cannot be written: is the disk full?");
  sm_result_text(task, "hex", hex);
  return sm_output(task, "digest", "digest.txt", NULL, NULL);
}

static sm_status digest_run(sm_task *task) {
  int fd = sm_input_open(task, "file", 0);
  if (fd < 0) return sm_fail(task, SM_FAIL, NULL, "the input cannot be opened: give the job a file");
  EVP_MD_CTX *md = EVP_MD_CTX_new();
  EVP_DigestInit_ex(md, EVP_get_digestbyname(sm_param_text(task, "algorithm")), NULL);
  sm_status status = hash(task, fd, md);
  if (status == SM_OK) status = publish(task, md);
  EVP_MD_CTX_free(md);
  close(fd);
  return status;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("digest", "checksum of a file", params, inputs, outputs, results, digest_run), SM_STAGES_END};
SM_PLUGIN("org.example.digest", "1.0.0", "MIT", stages);
