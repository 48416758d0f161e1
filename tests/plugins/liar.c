/* liar - breaks the attempt protocol and every promise about outputs, past the SDK where that would stop it. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <stagemill/stage.h>

/* The attempt's socket and the beginning of its messages, as anybody can find out. */
enum { SOCKET = 3, MAGIC = 0x4d47534d, RESULT = 3, OUTPUT = 4, VERDICT = 9, BYE = 11, GO = 100 };
struct header {
  uint32_t magic, type;
  int32_t stage;
  uint32_t size;
};

static const sm_param params[] = {
  SM_CHOICE("how", "none",
            "none|oversize|magic|type|short|size|garbage|descriptor|empty|early-bye|other-stage|twice|go|raw-output|"
            "flood|deep|symlink|symlink-folder|fifo|device|hardlink|absolute|dotdot|control-name|undeclared|missing|"
            "metadata|media-type|unknown-port|unknown-result|wrong-kind|no-result|second-output|backwards|beyond|"
            "many-files|deep-folders|sparse",
            "which promise to break"),
  SM_TEXT("target", "/etc/passwd", "what a link points to, what a raw message names"),
  SM_PARAMS_END,
};
static const sm_port inputs[] = {SM_PORTS_END};
static const sm_port outputs[] = {
  SM_PORT("out", SM_PORT_ARTIFACT, SM_PORT_MANY | SM_PORT_OPTIONAL, "text/plain|text/csv", "lies"),
  SM_PORT("one", SM_PORT_ARTIFACT, SM_PORT_OPTIONAL, "text/plain", "room for one"),
  SM_PORTS_END,
};
static const sm_result results[] = {
  SM_RESULT_INT("n", SM_AT_END, NULL, "a number"),
  SM_RESULTS_END,
};

/* ---- raw messages ---- */

static void raw(uint32_t magic, uint32_t type, int32_t stage, const void *body, size_t size, size_t said) {
  char *packet = calloc(1, sizeof(struct header) + size + 1);
  struct header h = {magic, type, stage, (uint32_t)said};
  memcpy(packet, &h, sizeof(h));
  if (body) memcpy(packet + sizeof(h), body, size);
  if (send(SOCKET, packet, sizeof(h) + size, MSG_NOSIGNAL) < 0) fprintf(stderr, "liar: send: %s\n", strerror(errno));
  free(packet);
}

/* Packed values, by hand: 11 a map, 5 a text, 3 an integer. */
struct packed {
  unsigned char data[8192];
  size_t size;
};
static void put(struct packed *p, const void *data, size_t size) {
  memcpy(p->data + p->size, data, size);
  p->size += size;
}
static void put_u32(struct packed *p, uint32_t n) { put(p, &n, 4); }
static void put_map(struct packed *p, uint32_t count) {
  put(p, "\x0b", 1);
  put_u32(p, count);
}
static void put_key(struct packed *p, const char *key) {
  put_u32(p, (uint32_t)strlen(key));
  put(p, key, strlen(key));
}
static void put_text(struct packed *p, const char *key, const char *text) {
  put_key(p, key);
  put(p, "\x05\0", 2);
  put_key(p, text);
}
static void put_int(struct packed *p, const char *key, int64_t n) {
  put_key(p, key);
  put(p, "\x03", 1);
  put(p, &n, 8);
}
static void raw_output(const char *name) {
  struct packed p = {.size = 0};
  put_map(&p, 3);
  put_text(&p, "port", "out");
  put_text(&p, "name", name);
  put_text(&p, "type", "text/plain");
  raw(MAGIC, OUTPUT, 0, p.data, p.size, p.size);
}
static void raw_verdict(int32_t stage) {
  struct packed p = {.size = 0};
  put_map(&p, 1);
  put_int(&p, "status", 0);
  raw(MAGIC, VERDICT, stage, p.data, p.size, p.size);
}

static void send_descriptor(void) {
  struct header h = {MAGIC, RESULT, 0, 0};
  union {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {.room = {0}};
  struct iovec part = {&h, sizeof(h)};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &(int){SOCKET}, sizeof(int));
  sendmsg(SOCKET, &m, MSG_NOSIGNAL);
}

static bool lie_in_messages(const char *how) {
  static char big[300000];
  if (strcmp(how, "oversize") == 0) {
    int room = sizeof(big) * 2;
    setsockopt(SOCKET, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
    raw(MAGIC, RESULT, 0, big, 70000, 70000);
  } else if (strcmp(how, "magic") == 0) raw(0x12345678, RESULT, 0, NULL, 0, 0);
  else if (strcmp(how, "type") == 0) raw(MAGIC, 77, 0, "\x01", 1, 1);
  else if (strcmp(how, "short") == 0) send(SOCKET, "hi", 2, MSG_NOSIGNAL);
  else if (strcmp(how, "size") == 0) raw(MAGIC, RESULT, 0, "\x01", 1, 4711);
  else if (strcmp(how, "garbage") == 0) raw(MAGIC, RESULT, 0, "\xff\xff\xff\xff garbage", 12, 12);
  else if (strcmp(how, "descriptor") == 0) send_descriptor();
  else if (strcmp(how, "empty") == 0) send(SOCKET, "", 0, MSG_NOSIGNAL);
  else if (strcmp(how, "early-bye") == 0) raw(MAGIC, BYE, -1, "\x0b\0\0\0\0", 5, 5);
  else if (strcmp(how, "other-stage") == 0) raw_verdict(7);
  else if (strcmp(how, "twice") == 0) raw_verdict(0), raw_verdict(0);
  else if (strcmp(how, "go") == 0) raw(MAGIC, GO, -1, "\x0b\0\0\0\0", 5, 5);
  else if (strcmp(how, "deep") == 0) {
    memset(big, '\x0a', 60000); /* lists of lists of lists */
    raw(MAGIC, RESULT, 0, big, 60000, 60000);
  } else if (strcmp(how, "flood") == 0) {
    for (int i = 0; i < 200000; i++) raw_output("flood.txt");
  } else return false;
  return true;
}

/* ---- outputs ---- */

static const char *place(sm_task *task, const char *name) {
  const char *path = sm_output_path(task, "out", name);
  return path ? path : "/nowhere";
}

static void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) fprintf(stderr, "liar: %s: %s\n", path, strerror(errno));
  if (fd >= 0) close(fd);
}

static void make(sm_task *task, const char *how, const char *target) {
  const char *path = place(task, "lie.txt");
  int failed = 0;
  if (strcmp(how, "symlink") == 0) failed = symlink(target, path);
  else if (strcmp(how, "fifo") == 0) failed = mkfifo(path, 0600);
  else if (strcmp(how, "device") == 0) failed = mknod(path, S_IFCHR | 0600, 0x103);
  else if (strcmp(how, "hardlink") == 0) failed = link(target, path);
  else if (strcmp(how, "symlink-folder") == 0) failed = symlink("/etc", place(task, "folder"));
  if (failed) fprintf(stderr, "liar: %s: %s\n", how, strerror(errno));
  raw_output(strcmp(how, "symlink-folder") == 0 ? "folder/passwd" : "lie.txt");
}

static void make_many(sm_task *task) {
  char name[64];
  for (int i = 0; i < 20000 && !sm_cancelled(task); i++) {
    snprintf(name, sizeof(name), "many/%d.txt", i);
    write_file(place(task, name), "");
    if (i % 100 == 0) sm_progress(task, 0, NULL);
  }
}

static void make_deep(sm_task *task) {
  char path[4096];
  snprintf(path, sizeof(path), "%s", place(task, "d/x.txt"));
  *strrchr(path, '/') = '\0';
  for (int i = 0; i < 60; i++) {
    mkdir(path, 0755);
    strncat(path, "/d", sizeof(path) - strlen(path) - 1);
  }
}

static void make_sparse(sm_task *task) {
  int fd = open(place(task, "sparse.txt"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd >= 0 && ftruncate(fd, (off_t)1 << 40) != 0) fprintf(stderr, "liar: sparse: %s\n", strerror(errno));
  if (fd >= 0) close(fd);
  raw_output("sparse.txt");
}

static bool lie_in_files(sm_task *task, const char *how, const char *target) {
  static const char *const kinds[] = {"symlink", "symlink-folder", "fifo", "device", "hardlink"};
  for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
    if (strcmp(how, kinds[i]) == 0) return make(task, how, target), true;
  if (strcmp(how, "absolute") == 0) raw_output("/etc/passwd");
  else if (strcmp(how, "dotdot") == 0) raw_output("../../escape.txt");
  else if (strcmp(how, "control-name") == 0) raw_output("a\nb.txt");
  else if (strcmp(how, "undeclared") == 0) write_file(place(task, "nobody-knows.txt"), "hidden");
  else if (strcmp(how, "missing") == 0) raw_output("never-written.txt");
  else if (strcmp(how, "raw-output") == 0) raw_output(target);
  else if (strcmp(how, "many-files") == 0) make_many(task);
  else if (strcmp(how, "deep-folders") == 0) make_deep(task);
  else if (strcmp(how, "sparse") == 0) make_sparse(task);
  else return false;
  return true;
}

/* ---- promises the SDK looks after ---- */

static void two_outputs(sm_task *task) {
  for (int i = 0; i < 2; i++) {
    const char *name = i ? "second.txt" : "first.txt";
    write_file(sm_output_path(task, "one", name), "text");
    sm_output(task, "one", name, NULL, NULL);
  }
}

static void lie_to_the_sdk(sm_task *task, const char *how) {
  struct timespec nap = {0, 150 * 1000 * 1000};
  write_file(place(task, "lie.txt"), "a small text");
  if (strcmp(how, "metadata") == 0) sm_output(task, "out", "lie.txt", "text/plain", "{\"a\": }");
  else if (strcmp(how, "media-type") == 0) sm_output(task, "out", "lie.txt", "image/png", NULL);
  else if (strcmp(how, "unknown-port") == 0) sm_output(task, "elsewhere", "lie.txt", "text/plain", NULL);
  else if (strcmp(how, "unknown-result") == 0) sm_result_int(task, "unheard", 1);
  else if (strcmp(how, "wrong-kind") == 0) sm_result_text(task, "n", "seven");
  else if (strcmp(how, "second-output") == 0) two_outputs(task);
  for (int i = 0; i < 4 && strcmp(how, "backwards") == 0; i++) {
    sm_progress(task, 0.9 - i * 0.2, "backwards");
    nanosleep(&nap, NULL);
  }
  if (strcmp(how, "beyond") == 0) {
    sm_progress_items(task, 17.5, 9, 3, "beyond");
    nanosleep(&nap, NULL);
  }
}

static sm_status liar_run(sm_task *task) {
  const char *how = sm_param_text(task, "how"), *target = sm_param_text(task, "target");
  if (!how) how = "none";
  if (!lie_in_messages(how) && !lie_in_files(task, how, target ? target : "/etc/passwd")) lie_to_the_sdk(task, how);
  if (strcmp(how, "no-result") != 0) sm_result_int(task, "n", 1);
  return SM_OK;
}

static const sm_stage stages[] = {
  SM_TASK_STAGE("liar", "breaks promises", params, inputs, outputs, results, liar_run),
  SM_STAGES_END,
};
SM_PLUGIN("test.liar", "1.0.0", "MIT", stages);
