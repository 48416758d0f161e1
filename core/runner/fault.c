#include "runner/fault.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "wire/message.h"

enum { TRACE_MAX = 3000, FRAMES_MAX = 48, ALT_STACK = 64 * 1024, STAGE_UNSET = -2, ALARM_S = 3 };

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

/* The FAULT message, packed in advance; the handler patches signal, stage and text in place. */
static struct {
  int socket;
  unsigned char *packet;
  size_t size;
  unsigned char *signal_at;
  char *trace_at;
} ready = {.socket = -1};

static __thread int32_t thread_stage = STAGE_UNSET;

/* ---- in the handler: nothing that allocates, locks or formats through stdio ---- */

struct text {
  char *at, *end;
};

static void put(struct text *t, const char *s) {
  while (*s && t->at < t->end) *t->at++ = *s++;
}

static void put_hex(struct text *t, uintptr_t n) {
  char digits[sizeof(n) * 2 + 1];
  size_t i = sizeof(digits) - 1;
  digits[i] = '\0';
  do digits[--i] = "0123456789abcdef"[n & 15];
  while (n >>= 4);
  put(t, "0x");
  put(t, digits + i);
}

static const char *last_part(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* "plugin.so+0x1234": _dl_find_object is documented as async-signal-safe, dladdr is not. */
static void put_address(struct text *t, void *address) {
  struct dl_find_object object;
  if (_dl_find_object(address, &object) == 0) {
    const char *name = object.dlfo_link_map->l_name;
    put(t, name && *name ? last_part(name) : "stagemill-runner");
    put(t, "+");
    put_hex(t, (uintptr_t)address - (uintptr_t)object.dlfo_link_map->l_addr);
  } else {
    put_hex(t, (uintptr_t)address);
  }
  put(t, "\n");
}

/* Threads that a stage opened itself carry only the name they inherited: "sm3 poster". */
static int32_t stage_by_name(void) {
  char name[17] = "";
  if (prctl(PR_GET_NAME, name) != 0 || name[0] != 's' || name[1] != 'm') return -1;
  if (name[2] < '0' || name[2] > '9') return -1;
  int32_t stage = 0;
  for (const char *c = name + 2; *c >= '0' && *c <= '9'; c++) stage = stage * 10 + (*c - '0');
  return stage;
}

static void send_fault(void) {
  ssize_t ignored = send(ready.socket, ready.packet, ready.size, MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)ignored;
}

static void fault_handler(int signal_number, siginfo_t *info, void *context) {
  static volatile sig_atomic_t entered;
  (void)context;
  signal(signal_number, SIG_DFL);
  if (!entered) {
    entered = 1;
    struct message_header header;
    memcpy(&header, ready.packet, sizeof(header));
    header.stage = thread_stage != STAGE_UNSET ? thread_stage : stage_by_name();
    memcpy(ready.packet, &header, sizeof(header));
    memcpy(ready.signal_at, &(int64_t){signal_number}, 8);
    send_fault(); /* first without a backtrace: walking a broken stack may end this process at once, or never */
    signal(SIGALRM, SIG_DFL);
    alarm(ALARM_S);
    struct text t = {ready.trace_at, ready.trace_at + TRACE_MAX};
    if (signal_number != SIGABRT && info) {
      put(&t, "address ");
      put_hex(&t, (uintptr_t)info->si_addr);
      put(&t, "\n");
    }
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);
    for (int i = 2; i < count; i++) put_address(&t, frames[i]); /* behind this handler and the kernel's trampoline */
    send_fault();
  }
  raise(signal_number); /* blocked until the handler returns, then fatal: the wait status says the truth */
}

/* ---- before anything can crash ---- */

static void pack_template(void) {
  static const int64_t mark = 0x5afec0de1badd00d;
  char blank[TRACE_MAX + 1];
  memset(blank, ' ', TRACE_MAX);
  blank[TRACE_MAX] = '\0';
  struct value *body = value_map();
  value_set_int(body, "signal", mark);
  value_set_text(body, "backtrace", blank);
  struct buf packed = {0};
  value_pack(&packed, body);
  value_free(&body);
  struct message_header header = {MESSAGE_MAGIC, MESSAGE_FAULT, -1, (uint32_t)packed.size};
  ready.size = sizeof(header) + packed.size;
  ready.packet = mem_alloc(ready.size);
  memcpy(ready.packet, &header, sizeof(header));
  memcpy(ready.packet + sizeof(header), packed.data, packed.size);
  buf_free(&packed);
  ready.signal_at = memmem(ready.packet, ready.size, &mark, sizeof(mark));
  ready.trace_at = memmem(ready.packet, ready.size, blank, TRACE_MAX);
}

void fault_init(int socket) {
  pack_template();
  if (!ready.signal_at || !ready.trace_at) return; /* packed otherwise than we think: no reporter, no harm */
  ready.socket = socket;
  void *warm[1];
  backtrace(warm, 1); /* the first call loads libgcc, which the handler must not do */
  struct sigaction action = {.sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < sizeof(fatal_signals) / sizeof(*fatal_signals); i++)
    sigaction(fatal_signals[i], &action, NULL);
}

static pthread_key_t stack_key;
static pthread_once_t stack_once = PTHREAD_ONCE_INIT;

static void stack_release(void *stack) {
  stack_t none = {.ss_flags = SS_DISABLE};
  sigaltstack(&none, NULL);
  munmap(stack, ALT_STACK);
}

static void stack_key_make(void) { pthread_key_create(&stack_key, stack_release); }

static void give_stack(void) {
  pthread_once(&stack_once, stack_key_make);
  if (pthread_getspecific(stack_key)) return;
  void *memory = mmap(NULL, ALT_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  stack_t stack = {.ss_sp = memory, .ss_size = ALT_STACK};
  if (sigaltstack(&stack, NULL) != 0) {
    munmap(memory, ALT_STACK);
    return;
  }
  pthread_setspecific(stack_key, memory);
}

void fault_thread(int32_t stage, const char *id) {
  char name[16];
  if (stage >= 0) snprintf(name, sizeof(name), "sm%d %s", stage, id ? id : "");
  else snprintf(name, sizeof(name), "stagemill");
  prctl(PR_SET_NAME, name);
  thread_stage = stage;
  give_stack();
}
