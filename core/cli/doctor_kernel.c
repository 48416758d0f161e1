/* doctor_kernel.c - asks the kernel for each thing an attempt's confinement is made of. Questions that change the asker
 * are asked in a child. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/doctor.h"

enum { LANDLOCK_ABI_QUERY = 1, CGROUP2_MAGIC = 0x63677270 };

/* Runs `question` in a child: its answer 0 means yes. */
static bool ask_in_child(int (*question)(void)) {
  pid_t child = fork(); /* this process has a single thread */
  if (child == 0) _exit(question() == 0 ? 0 : 1);
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int try_no_new_privs(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }
static int try_user_namespace(void) { return unshare(CLONE_NEWUSER); }
static int try_pid_namespace(void) { return unshare(CLONE_NEWPID); }

static void kernel_release(struct doctor *d) {
  struct utsname name;
  if (!uname(&name)) doctor_note(d, "kernel", HEALTH_OK, NULL, "%s %s on %s", name.sysname, name.release, name.machine);
}

static void kernel_no_new_privs(struct doctor *d) {
  if (ask_in_child(try_no_new_privs))
    doctor_note(d, "no_new_privs", HEALTH_OK, NULL, "attempts cannot gain privileges");
  else
    doctor_note(d, "no_new_privs", HEALTH_BAD, "use a kernel from 3.5 on", "the kernel refuses no_new_privs");
}

static void kernel_seccomp(struct doctor *d) {
  unsigned action = SECCOMP_RET_KILL_PROCESS;
  if (!syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action))
    doctor_note(d, "seccomp", HEALTH_OK, NULL, "system calls of attempts can be filtered");
  else
    doctor_note(d, "seccomp", HEALTH_WARN, "use a kernel with CONFIG_SECCOMP_FILTER, or allow seccomp in the container",
                "system calls of attempts cannot be filtered");
}

static void kernel_landlock(struct doctor *d) {
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_ABI_QUERY);
  if (abi > 0)
    doctor_note(d, "landlock", HEALTH_OK, NULL, "ABI %ld: attempts can be confined to their files", abi);
  else
    doctor_note(d, "landlock", HEALTH_WARN, "use a kernel from 5.13 on with `landlock` in its lsm= list",
                "not available (%s): attempts see the files of their user", strerror(errno));
}

static void kernel_namespaces(struct doctor *d) {
  bool own = ask_in_child(try_pid_namespace), user = ask_in_child(try_user_namespace);
  if (own)
    doctor_note(d, "PID namespaces", HEALTH_OK, NULL, "what an attempt leaves behind ends with it");
  else
    doctor_note(d, "PID namespaces", HEALTH_WARN,
                geteuid() ? "run it as root, or as a service" : "allow unshare in the container",
                "not available: what an attempt leaves behind is looked for and ended");
  if (user || own)
    doctor_note(d, "user namespaces", HEALTH_OK, NULL, user ? "available" : "not available; not needed as root");
  else
    doctor_note(d, "user namespaces", HEALTH_WARN, "set kernel.unprivileged_userns_clone=1, or run it as root",
                "not available: attempts share the system's process and network names");
}

static bool has_controller(const char *path, const char *word) {
  buf_auto struct buf text = {0};
  if (fs_read_file(path, 64 * 1024, &text, NULL)) return false;
  return text.data && strstr(text.data, word);
}

static void kernel_cgroup(struct doctor *d) {
  struct statfs fs;
  bool v2 = !statfs("/sys/fs/cgroup", &fs) && fs.f_type == CGROUP2_MAGIC;
  if (v2 && has_controller("/sys/fs/cgroup/cgroup.controllers", "memory"))
    doctor_note(d, "cgroup", HEALTH_OK, NULL, "version 2 with the memory controller");
  else if (!access("/sys/fs/cgroup/memory/memory.limit_in_bytes", F_OK))
    doctor_note(d, "cgroup", HEALTH_OK, NULL, "version 1 with the memory controller");
  else
    doctor_note(d, "cgroup", HEALTH_WARN,
                "boot with the memory controller (cgroup_enable=memory), or run as a service "
                "with Delegate=yes",
                "no memory controller: memory limits are watched from outside instead");
}

static void kernel_pidfd(struct doctor *d) {
  int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  if (fd >= 0) {
    close(fd);
    doctor_note(d, "pidfd", HEALTH_OK, NULL, "attempts are watched and signalled by descriptor");
  } else {
    doctor_note(d, "pidfd", HEALTH_BAD, "use a kernel from 5.3 on", "pidfd_open: %s", strerror(errno));
  }
}

static void kernel_openat2(struct doctor *d) {
  struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
  int fd = (int)syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof how);
  if (fd >= 0) {
    close(fd);
    doctor_note(d, "openat2", HEALTH_OK, NULL, "outputs are opened beneath their folder by the kernel");
  } else {
    doctor_note(d, "openat2", HEALTH_WARN, "use a kernel from 5.6 on, or allow openat2 in the container",
                "%s: outputs are opened one path component at a time", strerror(errno));
  }
}

void doctor_kernel(struct doctor *d) {
  kernel_release(d);
  kernel_no_new_privs(d);
  kernel_seccomp(d);
  kernel_landlock(d);
  kernel_namespaces(d);
  kernel_cgroup(d);
  kernel_pidfd(d);
  kernel_openat2(d);
}
